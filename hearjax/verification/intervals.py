"""How far a skill may be off: other pairs, other folds, models fitted to other pairs; tests and a learning curve.

The plain bootstrap draws pairs while the fitted models stay what they are. In cross-validation a pair that one model is
tested on is what the others learnt from: the folds are not independent, and no unbiased estimate of the variance can be
had from one deal of the folds (Bengio & Grandvalet 2004, JMLR 5, 1089). The 95 % intervals of the plain bootstrap hold
0 in 85-89 % of draws without signal, and the TSS in 86-96 % of those with some. Two remedies:

  several deals   The cross-validation is done again with the pairs dealt into other folds. The variance of the mean
                  skill is that within a deal (pairs) plus that between the deals (folds and training). With five deals
                  it holds what it says (93-97 % without signal, 91-96 % with some), and with skill is hardly
                  wider than the plain one.
  one deal        The deviations of the bootstrap are widened as Nadeau & Bengio (2003, Machine Learning 52, 239) widen
                  those of folds. It holds what it says without signal (95-98 %), and is too wide with some (96-100 %).

`hearjax study --of=coverage` measures this, for linear discriminant analyses. BCa intervals (Efron 1987, JASA 82, 171)
leave out the same variance and hold hardly more than those of percentiles (85-95 %); they are not here.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.progress import Progress, silent
from hearjax.survey.folds import Fold, Splits
from hearjax.survey.survey import Survey
from hearjax.verification.calibration import EACH, calibrate, forecast
from hearjax.verification.predictions import interval_hours
from hearjax.verification.resampling import CONFIDENCE, draw_counts
from hearjax.verification.scores import contingency, tss

RESAMPLES = 1000  # For the standard deviation of the learning curve.
ROUNDING = 1e-12  # Of a TSS: below that, two are equal.

# From a survey and its folds to a predictions table, as `functools.partial(discriminant_analysis, model='da_flux')`.
Analysis = Callable[[Survey, Splits], Table]


# --- Samples --------------------------------------------------------------------------------------------------------


def pair_counts(averaged: Table, rule: str = EACH) -> np.ndarray:
  """Returns `[pair, interval, 4]` contingency counts, pairs and intervals sorted by name and number.

  Args:
    averaged: What `calibrate` returns.
    rule: One of `calibration.RULES`.
  """
  pairs, pair = np.unique(averaged['pair_id'], return_inverse=True)
  intervals, interval = np.unique(averaged['interval'], return_inverse=True)
  counts = np.zeros((len(pairs), len(intervals), 4), int)
  np.add.at(counts, (pair, interval), contingency(averaged['label'], forecast(averaged, rule)))
  return counts


def bootstrap_tss(counts: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the TSS `[...]` of `[pair, ..., 4]` counts, and that of resampled pairs `[resample, ...]`."""
  n_drawn = draw_counts(len(counts), resamples, seed)
  return tss(counts.sum(axis=0)), tss(np.tensordot(n_drawn, counts, axes=1))


def widen(value: np.ndarray, samples: np.ndarray, n_folds: int) -> np.ndarray:
  """Widens the samples of one cross-validation for what other folds and training pairs would change.

  For J folds Nadeau & Bengio (2003) put (1/J + n_test/n_train) s^2 for the naive s^2/J: the variance is 1 + J/(J - 1)
  times as large. The same factor is taken for the variance over pairs, of which there are more than folds. Without
  cross-validation, in one fold, the models are given and nothing is widened.

  Args:
    value: `[...]` what was found.
    samples: `[resample, ...]` the same of resampled pairs, or differences of such.
    n_folds: Number of folds J.
  """
  factor = np.sqrt(1 + n_folds / (n_folds - 1)) if n_folds > 1 else 1.0
  return value + factor * (samples - value)


def pool_deals(values: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Pools the bootstrap samples of several cross-validations of the same pairs, dealt into other folds each.

  The variance of all samples together is the mean variance within a deal plus the variance between deals.

  Args:
    values: `[deal, ...]` what was found; two deals at least.
    samples: `[deal, resample, ...]` the same of resampled pairs.

  Returns:
    The mean `[...]` over the deals, and `[deal * resample, ...]` samples around it.
  """
  n_deals, mean = len(values), values.mean(axis=0)
  # The deals are few: their own mean is nearer to them than the truth is.
  centre = mean + np.sqrt(n_deals / (n_deals - 1)) * (values - mean)
  pooled = centre[:, None] + samples - values[:, None]
  return mean, pooled.reshape(-1, *mean.shape)


def skill_samples(deals: Sequence[Table], rule: str, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the TSS of a model, and samples whose percentiles bound it (`resampling.confidence_interval`).

  Means over intervals of such samples, and differences between those of two models with as many deals (or folds, where
  there is one deal), are samples of the mean and of the difference. Samples may lie beyond ±1, where TSS ends.

  Args:
    deals: What `calibrate` returns, for each deal of the pairs into folds: several are pooled, one is widened.
    rule: One of `calibration.RULES`.
    resamples, seed: Of the bootstrap of the pairs, for each deal.

  Returns:
    `[interval]` TSS, the mean over the deals; `[sample, interval]`.

  Raises:
    UserError: The deals are none, of several models, of other magnetograms, or two are the same.
  """
  _check_deals(deals)
  found = [bootstrap_tss(pair_counts(averaged, rule), resamples, seed) for averaged in deals]
  values, samples = (np.stack(parts) for parts in zip(*found, strict=True))
  if len(deals) > 1:
    return pool_deals(values, samples)
  return values[0], widen(values[0], samples[0], len(set(deals[0]['fold'])))


def simultaneous_band(value: np.ndarray, samples: np.ndarray) -> np.ndarray:
  """Returns `[2, interval]` bounds that hold at all intervals at once, with 95 % confidence.

  The largest deviation over the intervals, in standard deviations, of 95 % of the samples (max-T; Westfall & Young
  1993) is taken to either side. A difference of two models whose band leaves out 0 at some lead times is one there,
  corrected for the number of lead times; since they resemble each other, the band is narrower than Bonferroni's.

  Args:
    value: `[interval]` skill or difference; NaN where there is none.
    samples: `[sample, interval]`, from `skill_samples`.
  """
  defined = np.isfinite(value)
  deviation = (samples - value)[:, defined]
  spread = np.sqrt(np.nanmean(deviation**2, axis=0))
  largest = np.nanmax(np.abs(deviation) / np.where(spread, spread, 1), axis=1, initial=0)
  half = np.full(len(value), np.nan)
  half[defined] = np.percentile(largest, np.ptp(CONFIDENCE)) * spread
  return np.stack([value - half, value + half])


# --- With the model fitted again ------------------------------------------------------------------------------------


def permutation_table(
  analyse: Analysis, survey: Survey, splits: Splits, permutations: int, seed: int, progress: Progress = silent
) -> Table:
  """Tests at each interval whether an analysis has no skill: its TSS against those of exchanged labels.

  Without any difference between EARs and CRs the labels of a pair's two regions may be exchanged, at all intervals
  together. The analysis is fitted and calibrated anew with each set of labels, so that all that it does is in the test.

  Args:
    analyse: From survey and folds to a predictions table; quick, with its features at hand.
    survey: The survey.
    splits: Its folds.
    permutations: How often labels are exchanged at random.
    seed: Seed of the exchanges.
    progress: Goes through the exchanges, and may show how far it is.

  Returns:
    A row for each interval: `tss` (rule `each`); `p_value`, (1 + exchanges with that TSS or more) / (1 + exchanges)
    (Phipson & Smyth 2010, SAGMB 9, 39); `p_corrected`, the same of the largest TSS of all intervals in an exchange,
    corrected for their number (max-T).

  Raises:
    UserError: There is to be no exchange, or what the analysis raises.
  """
  if permutations < 1:
    raise UserError(f'A test needs at least one exchange of the labels, got {permutations}.')
  rng = np.random.default_rng(seed)
  averaged = calibrate(analyse(survey, splits))
  observed = _tss(averaged)
  exchanged = []
  for _ in progress(range(permutations)):
    turned = rng.integers(0, 2, len(survey.pair_ids))[survey.pair]
    other = survey.replace(label=np.where(turned, 1 - survey.label, survey.label).astype(survey.label.dtype))
    exchanged.append(_tss(calibrate(analyse(other, splits))))
  exchanged = np.array(exchanged)
  reached, largest = (values >= observed - ROUNDING for values in (exchanged, exchanged.max(axis=1, keepdims=True)))
  table = _intervals_of(averaged)
  table['tss'] = observed
  table['p_value'], table['p_corrected'] = ((1 + one.sum(axis=0)) / (1 + permutations) for one in (reached, largest))
  return table


def learning_curve(
  analyse: Analysis,
  survey: Survey,
  splits: Splits,
  training_pairs: Sequence[int],
  draws: int,
  seed: int,
  progress: Progress = silent,
) -> Table:
  """Scores an analysis that is fitted to fewer pairs, on the same test pairs.

  In each draw the pairs of every fold's training and validation part are put in random order, and the first of them
  are learnt from. The calibration learns, as always, from the forecasts of all other folds.

  Args:
    analyse: From survey and folds to a predictions table; quick, with its features at hand.
    survey: The survey.
    splits: Its folds.
    training_pairs: How many pairs to learn from.
    draws: Random orders.
    seed: Seed of the orders.
    progress: Goes through the draws, and may show how far it is.

  Returns:
    A row for each number and interval: `tss` (rule `each`), the mean over the draws, and `tss_std` between them, NaN
    for one draw; `sampling_std`, the standard deviation that the test pairs allow for the models as they are, which no
    training makes smaller.

  Raises:
    UserError: A number is more than a fold has, there is to be no draw, or what the analysis raises.
  """
  learnt = [fold.train + fold.validation for fold in splits.folds]
  most = min(map(len, learnt))
  if not training_pairs or min(training_pairs) < 1 or max(training_pairs) > most:
    raise UserError(f'The numbers of training pairs must lie between 1 and {most}, got {list(training_pairs)}.')
  if draws < 1:
    raise UserError(f'A learning curve needs at least one draw, got {draws}.')
  rng = np.random.default_rng(seed)
  found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {number: [] for number in training_pairs}
  for _ in progress(range(draws)):
    orders = [rng.permutation(len(pairs)) for pairs in learnt]
    for number in found:
      folds = tuple(
        Fold(fold.test, (), tuple(pairs[place] for place in order[:number]))
        for fold, pairs, order in zip(splits.folds, learnt, orders, strict=True)
      )
      averaged = calibrate(analyse(survey, dataclasses.replace(splits, folds=folds)))
      value, samples = bootstrap_tss(pair_counts(averaged), RESAMPLES, seed)
      found[number].append((value, np.nanstd(samples, axis=0)))
  rows = []
  for number, scores in found.items():
    values, spreads = (np.stack(parts) for parts in zip(*scores, strict=True))
    between = values.std(axis=0, ddof=1) if draws > 1 else np.full(values.shape[1], np.nan)
    for index, row in enumerate(_intervals_of(averaged)):
      scored = {'tss': values[:, index].mean(), 'tss_std': between[index], 'sampling_std': spreads[:, index].mean()}
      rows.append({**dict(row), 'training_pairs': number, **scored})
  table = Table(rows)
  table['hours'].unit = u.hour
  return table


def _tss(averaged: Table) -> np.ndarray:
  """Returns `[interval]` TSS by the rule `each`."""
  return tss(pair_counts(averaged).sum(axis=0))


def _intervals_of(averaged: Table) -> Table:
  """Returns a row for each interval, with the name of the model and the mean hours."""
  hours = interval_hours(averaged)
  columns = {'interval': list(hours), 'hours': list(hours.values())}
  table = Table({'model': [averaged.meta['model']] * len(hours), **columns})
  table['hours'].unit = u.hour
  return table


def _check_deals(deals: Sequence[Table]) -> None:
  if not deals:
    raise UserError('There are no predictions to bound the skill of.')
  names = sorted({averaged.meta['model'] for averaged in deals})
  if len(names) > 1:
    raise UserError(f'Deals of one model are pooled, these are of {", ".join(names)}; give those of one.')
  forecasts = [set(zip(one['region_id'], one['interval'], one['label'], strict=True)) for one in deals]
  if any(one != forecasts[0] for one in forecasts[1:]):
    raise UserError(f'The deals of {names[0]} forecast other magnetograms; give those of one survey, all of them.')
  together = [frozenset(map(frozenset, _tested(averaged))) for averaged in deals]
  if len(set(together)) < len(deals):
    raise UserError(f'Two deals of {names[0]} have the same folds; deal the pairs anew, with another split seed.')


def _tested(averaged: Table) -> list[np.ndarray]:
  """Returns the pairs of each fold."""
  return [averaged['pair_id'][averaged['fold'] == fold].tolist() for fold in np.unique(averaged['fold'])]
