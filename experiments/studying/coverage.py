"""How often 95 % intervals of the skill hold the truth: a linear discriminant analysis, cross-validated on many draws.

Regions are drawn as features, without maps: normal, the first of them shifted in EARs by a known distance. The analysis
is fitted in each fold, with the threshold at even odds or after the calibration of every model; the truth is the mean
TSS of the procedure over all draws, 0 where nothing is shifted. The intervals:

  plain    percentiles of the bootstrap of the pairs, the models as they are
  bca      the same, bias-corrected and accelerated (Efron 1987)
  folds    t of the TSS of the folds, with the variance of Nadeau & Bengio (2003)
  widened  `intervals.widen`, of one deal
  dealt    `intervals.pool_deals`, of five
"""

import itertools
import time

import numpy as np
from scipy import stats

from hearjax.progress import meter, say
from hearjax.verification.calibration import fit_calibration
from hearjax.verification.intervals import bootstrap_tss, pool_deals, widen
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import contingency, tss

from ..flags import Flags
from .kept import KeptRows

DRAWS, DEALS, FOLDS, RESAMPLES = 400, 5, 10, 1000
PAIRS, FEATURES = (50, 100, 182), (1, 10)
DISTANCES = (0.0, 1.05, 2.56)  # In standard deviations; the best TSS is 0, 0.4 and 0.8.
CALIBRATED_PAIRS = 100  # Calibrating takes most of the time: it is done for one number of pairs and of features.
METHODS = ('plain', 'bca', 'folds', 'widened', 'dealt')


def run(flags: Flags) -> None:
  """Makes the study, or goes on with it."""
  numbers = (flags.pairs,) if flags.pairs else PAIRS
  settings = {'draws': DRAWS, 'deals': DEALS, 'folds': FOLDS, 'resamples': RESAMPLES}
  kept = KeptRows(flags.out, settings, flags.overwrite)
  done = {(row['pairs'], row['features'], row['distance'], row['calibrated']) for row in kept.rows}
  cells = [(*cell, False) for cell in itertools.product(numbers, FEATURES, DISTANCES)]
  cells += [(flags.pairs or CALIBRATED_PAIRS, max(FEATURES), distance, True) for distance in DISTANCES]
  for cell in meter('drawing', 'cell')([cell for cell in cells if cell not in done]):
    started = time.monotonic()
    row = coverage(*cell)
    kept.add([row])
    told = ', '.join(f'{method} {row[method]:.3f}' for method in METHODS)
    say(f'{cell} ({time.monotonic() - started:.0f} s): {told}')
  print_markdown(kept.rows)


def coverage(pairs: int, features: int, distance: float, calibrated: bool) -> dict[str, float]:
  """Returns in which share of the draws each interval holds the truth, and its mean width."""
  rng = np.random.default_rng([pairs, features, round(100 * distance)])
  values, bounds = [], []
  for number in range(DRAWS):
    drawn = rng.standard_normal((pairs, 2, features))
    drawn[:, 1, 0] += distance
    folds = [rng.permutation(pairs) % FOLDS for _ in range(DEALS)]
    counts = np.stack([contingency_of(log_odds(drawn, fold, calibrated)) for fold in folds], axis=1)
    value, found = intervals(counts, folds[0], number)
    values.append(value)
    bounds.append(found)
  bounds = np.array(bounds)
  truth = np.mean(values) if distance else 0.0
  holds = np.mean((bounds[..., 0] <= truth) & (truth <= bounds[..., 1]), axis=0)
  widths = np.mean(bounds[..., 1] - bounds[..., 0], axis=0)
  row = {'pairs': pairs, 'features': features, 'distance': distance, 'calibrated': calibrated, 'tss': truth}
  row |= dict(zip(METHODS, holds.tolist(), strict=True))
  return row | {f'{method}_width': width for method, width in zip(METHODS, widths.tolist(), strict=True)}


def log_odds(drawn: np.ndarray, fold: np.ndarray, calibrated: bool) -> np.ndarray:
  """Returns `[pair, class]` log odds of `[pair, class, feature]` by linear discriminant analysis (Fisher 1936)."""
  found = np.empty(drawn.shape[:2])
  for number in range(FOLDS):
    training, test = drawn[fold != number], drawn[fold == number]
    middle = training.mean(axis=0)
    residual = (training - middle).reshape(-1, drawn.shape[2])
    weight = np.linalg.solve(residual.T @ residual / len(residual), middle[1] - middle[0])
    found[fold == number] = (test - middle.mean(axis=0)) @ weight
  if not calibrated:
    return found
  fair = np.empty_like(found)
  for number in range(FOLDS):
    others = found[fold != number]
    fitted = fit_calibration(others.ravel(), np.zeros(others.size, int), np.tile([0, 1], len(others)))
    logit = found[fold == number]
    fair[fold == number] = fitted(logit.ravel(), np.zeros(logit.size, int)).reshape(logit.shape) - 0.5
  return fair


def contingency_of(forecast: np.ndarray) -> np.ndarray:
  """Returns `[pair, 4]` counts of `[pair, class]` forecasts, those from 0 on being warnings."""
  label = np.tile([0, 1], len(forecast))
  return contingency(label, forecast.ravel() >= 0).reshape(-1, 2, 4).sum(axis=1)


def intervals(counts: np.ndarray, fold: np.ndarray, seed: int) -> tuple[float, list[np.ndarray]]:
  """Returns the mean TSS over the deals of `[pair, deal, 4]` counts, and the interval of each method.

  Args:
    counts: Contingency counts.
    fold: `[pair]` of the first deal, which is all that the methods of one deal see.
    seed: Of the bootstrap.
  """
  values, samples = bootstrap_tss(counts, RESAMPLES, seed)
  mean, pooled = pool_deals(values, samples.T)
  hits, _, false_alarms, _ = counts[:, 0].T
  skill = hits - false_alarms  # Of a pair: its mean is the TSS.
  plain = confidence_interval(samples[:, 0])
  bca = plain
  if np.ptp(skill):
    options = {'method': 'BCa', 'n_resamples': RESAMPLES, 'random_state': np.random.default_rng(seed)}
    bca = np.array(stats.bootstrap((skill,), np.mean, **options).confidence_interval)
  of_folds = [tss(counts[fold == number, 0].sum(axis=0)) for number in range(FOLDS)]
  error = np.sqrt(1 / FOLDS + 1 / (FOLDS - 1)) * np.std(of_folds, ddof=1)
  by_folds = values[0] + stats.t.ppf((0.025, 0.975), FOLDS - 1) * error
  widened = confidence_interval(widen(values[0], samples[:, 0], FOLDS))
  return float(mean), [plain, bca, by_folds, widened, confidence_interval(pooled)]


def print_markdown(rows: list[dict[str, float]]) -> None:
  """Prints the table as the manual shows it: coverage in per cent, and the mean width."""
  heads = ('pairs', 'features', 'threshold', 'true TSS', *METHODS)
  print(f'| {" | ".join(heads)} |\n{"|---" * len(heads)}|')
  for row in rows:
    cells = [f'{row[method]:.1%} ({row[f"{method}_width"]:.2f})' for method in METHODS]
    threshold = 'calibrated' if row['calibrated'] else 'even odds'
    print(f'| {row["pairs"]} | {row["features"]} | {threshold} | {row["tss"]:.2f} | {" | ".join(cells)} |')
