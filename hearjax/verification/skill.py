"""Skill of forecasts, computed from predictions tables and nothing else.

Contingency counts are summed first and a score is computed from the sums, so that no score is an average of ratios
over batches or folds (the two columns that say `fold`, and the mean over the intervals, apart). The unit of
resampling is the pair: its two regions, and all their intervals, are drawn together. Where a model has several seeds,
the ensemble is scored: the mean logit over the seeds.

There are two intervals. `low` to `high` says what other pairs would have given the same fitted models; without signal
it holds 0 too seldom. `refit_low` to `refit_high` allows for models fitted to other pairs in other folds as well
(`intervals.widen`): it holds what it says without signal, and more with skill.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table
from sklearn.metrics import brier_score_loss, roc_auc_score

from hearjax.checks import UserError
from hearjax.verification.calibration import EACH, RULES, calibrate, forecast
from hearjax.verification.intervals import bootstrap_tss, pair_counts, simultaneous_band, widen
from hearjax.verification.predictions import interval_hours
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import contingency, hss, pod, pofd, tss

SURVEY_KEYS = ('survey_checksum', 'survey_source')  # Of a predictions table, as far as it has them.
HOURS_TOLERANCE = 0.5  # Between tables of one survey [h]; the intervals are 5.3 h apart.


def common_rows(tables: Sequence[Table]) -> list[Table]:
  """Brings predictions tables to the magnetograms that all of them forecast.

  Warns where a table loses rows by that.

  Raises:
    UserError: There is no table, two have one model name, they belong to different surveys, disagree about a label or
      an hour, or share no magnetogram.
  """
  names = [table.meta['model'] for table in tables]
  if not tables:
    raise UserError('There is no predictions table to score.')
  if len(set(names)) < len(names):
    raise UserError(f'Two predictions tables carry the same model name, among {", ".join(names)}; rename one.')
  if len({table.meta['survey_checksum'] for table in tables}) > 1:
    raise UserError(
      f'The predictions of {", ".join(names)} were made for different surveys (their checksums differ); '
      'score tables of one survey together.'
    )
  keys = [list(zip(table['region_id'], table['interval'], strict=True)) for table in tables]
  shared = set(keys[0]).intersection(*keys[1:])
  if not shared:
    raise UserError(f'The predictions of {", ".join(names)} have no magnetogram in common: nothing can be compared.')
  first: dict[tuple[str, int], tuple[str, int]] = {}
  hours_of: dict[tuple[str, int], float] = {}
  result = []
  for name, table, key in zip(names, tables, keys, strict=True):
    for magnetogram, pair, label in zip(key, table['pair_id'], table['label'], strict=True):
      if first.setdefault(magnetogram, (pair, label)) != (pair, label):
        raise UserError(
          f'{name} has region {magnetogram[0]} with pair {pair} and label {label}, '
          f'{names[0]} or another table with {first[magnetogram]}; they must agree.'
        )
    for magnetogram, hours in zip(key, table['hours'], strict=True):
      if abs(hours_of.setdefault(magnetogram, hours) - hours) > HOURS_TOLERANCE:
        raise UserError(
          f'{name} has interval {magnetogram[1]} of region {magnetogram[0]} at {hours:+g} h, {names[0]} or another '
          f'table at {hours_of[magnetogram]:+g} h; they must agree: hours are negative before emergence.'
        )
    if len(set(key)) > len(shared):
      warnings.warn(
        f'{name} has {len(set(key))} magnetograms, of which {len(shared)} are in all tables; only these are scored.',
        stacklevel=2,
      )
    result.append(table[[magnetogram in shared for magnetogram in key]])
  return result


def skill_table(tables: Sequence[Table], resamples: int, seed: int) -> Table:
  """Scores each model at each interval, with all threshold rules (`calibration.RULES`).

  Args:
    tables: Predictions tables, as `read_predictions` returns them.
    resamples: Bootstrap samples of the pairs.
    seed: Seed of the bootstrap; models of the same pairs see the same samples.

  Returns:
    One row for each model, threshold rule and interval. `tss_low` and `tss_high` bound the 95 % interval over pairs,
    `tss_refit_low` and `tss_refit_high` that over pairs, folds and training;
    `tss_fold_mean` and `tss_fold_std` are over the folds; `auc` and `brier` pool the folds, the latter of the
    calibrated probability for the rule `each`; `bss` is the skill of `brier` over the constant forecast of the scored
    magnetograms' own share of events. Its meta keys say which survey it is of.

  Raises:
    UserError: `resamples` is not positive, or a model has both classes at no interval.
  """
  rows = []
  for table in tables:
    averaged = calibrate(table)
    _check_classes(table.meta['model'], averaged)
    for rule in RULES:
      bounds = _bounds('tss', *bootstrap_tss(pair_counts(averaged, rule), resamples, seed), averaged)
      for index, interval in enumerate(np.unique(averaged['interval'])):
        part = averaged[averaged['interval'] == interval]
        counts = contingency(part['label'], forecast(part, rule)).sum(axis=0)
        rows.append(
          {
            'model': table.meta['model'],
            **_describe_interval(part),
            'tss': tss(counts),
            **{name: values[index] for name, values in bounds.items()},
            **_fold_scores(part, rule),
            'pod': pod(counts),
            'pofd': pofd(counts),
            'hss': hss(counts),
            **_probability_scores(part, rule),
            'threshold_rule': rule,
          }
        )
  skill = _with_hours(rows)
  # For figures: whether it is simulated.
  skill.meta = {key: tables[0].meta[key] for key in SURVEY_KEYS if tables and key in tables[0].meta}
  return skill


def skill_mean_table(tables: Sequence[Table], resamples: int, seed: int) -> Table:
  """Averages the TSS of each model over the intervals before emergence (hours < 0), with all threshold rules.

  Arguments as for `skill_table`. A pair is drawn with all its intervals, so that the bounds allow for how the
  intervals of one region go together. An interval without both classes does not count.
  """
  rows = []
  for table in tables:
    averaged = calibrate(table)
    for rule in RULES:
      value, samples = bootstrap_tss(pair_counts(averaged, rule), resamples, seed)
      value, samples, described = _mean_before_emergence(averaged, value, samples)
      scored = {'tss': value, **_bounds('tss', value, samples, averaged)}
      rows.append({'model': table.meta['model'], **described, **scored, 'threshold_rule': rule})
  return Table(rows)


def difference_tables(tables: Sequence[Table], reference: str, resamples: int, seed: int) -> tuple[Table, Table]:
  """Compares the TSS of one model with that of each other, on the same resampled pairs.

  Args:
    tables: Predictions tables of the same magnetograms (see `common_rows`).
    reference: Name of the model that the others are subtracted from.
    resamples, seed: As for `skill_table`.

  Returns:
    The differences reference - baseline for each interval, and those of the means over the intervals before
    emergence, with their 95 % intervals as in `skill_table`. `band_low` and `band_high` hold at all intervals at once.

  Raises:
    UserError: No table is that of the reference.
  """
  averaged = {table.meta['model']: calibrate(table) for table in tables}
  if reference not in averaged:
    raise UserError(f'No predictions table is of the model {reference}; there are {", ".join(averaged)}.')
  rows, mean_rows = [], []
  for baseline in averaged:
    if baseline == reference:
      continue
    for rule in RULES:
      minuend, subtrahend = (
        bootstrap_tss(pair_counts(averaged[name], rule), resamples, seed) for name in (reference, baseline)
      )
      value, samples = (a - b for a, b in zip(minuend, subtrahend, strict=True))
      names = {'model': reference, 'baseline': baseline}
      found = {'difference': value, **_bounds('', value, samples, averaged[baseline])}
      n_folds = len(set(averaged[baseline]['fold']))
      found['band_low'], found['band_high'] = simultaneous_band(value, widen(value, samples, n_folds))
      for index, interval in enumerate(np.unique(averaged[baseline]['interval'])):
        part = averaged[baseline][averaged[baseline]['interval'] == interval]
        of_interval = {name: values[index] for name, values in found.items()}
        rows.append({**names, **_describe_interval(part), **of_interval, 'threshold_rule': rule})
      value, samples, described = _mean_before_emergence(averaged[baseline], value, samples)
      scored = {'difference': value, **_bounds('', value, samples, averaged[baseline])}
      mean_rows.append({**names, **described, **scored, 'threshold_rule': rule})
  return _with_hours(rows), Table(mean_rows)


def _bounds(name: str, value: np.ndarray, samples: np.ndarray, averaged: Table) -> dict[str, np.ndarray]:
  """Returns both 95 % intervals of `[...]` what was found, a TSS or a difference, from `[resample, ...]` samples."""
  prefix, limit = (f'{name}_', 1) if name else ('', 2)
  wide = np.clip(widen(value, samples, len(set(averaged['fold']))), -limit, limit)
  bounds = {}
  for kind, each in (('', samples), ('refit_', wide)):
    bounds[f'{prefix}{kind}low'], bounds[f'{prefix}{kind}high'] = confidence_interval(each)
  return bounds


def _mean_before_emergence(
  averaged: Table, value: np.ndarray, samples: np.ndarray
) -> tuple[float, np.ndarray, dict[str, int]]:
  """Averages `[interval]` and `[resample, interval]` over the intervals before emergence that have a value."""
  intervals, hours = (np.array(values) for values in zip(*interval_hours(averaged).items(), strict=True))
  chosen = np.isfinite(value) & (hours < 0)
  if not chosen.any():
    return np.nan, np.full(len(samples), np.nan), {'n_intervals': 0, 'n_pairs': 0}
  n_pairs = len(np.unique(averaged['pair_id'][np.isin(averaged['interval'], intervals[chosen])]))
  described = {'n_intervals': int(chosen.sum()), 'n_pairs': n_pairs}
  return float(value[chosen].mean()), samples[:, chosen].mean(axis=1), described


def _describe_interval(part: Table) -> dict[str, float]:
  ((interval, hours),) = interval_hours(part).items()
  return {'interval': interval, 'hours': hours, 'n_pairs': len(np.unique(part['pair_id']))}


def _fold_scores(part: Table, rule: str) -> dict[str, float]:
  folds, fold = np.unique(part['fold'], return_inverse=True)
  counts = np.zeros((len(folds), 4))
  np.add.at(counts, fold, contingency(part['label'], forecast(part, rule)))
  scores = tss(counts)
  scores = scores[np.isfinite(scores)]
  return {
    'tss_fold_mean': np.mean(scores) if len(scores) else np.nan,
    'tss_fold_std': np.std(scores, ddof=1) if len(scores) > 1 else np.nan,
  }


def _probability_scores(part: Table, rule: str) -> dict[str, float]:
  label, probability = (np.asarray(part[name]) for name in ('label', 'calibrated' if rule == EACH else 'probability'))
  brier = brier_score_loss(label, probability, pos_label=1)
  share = np.mean(label)
  if share in (0, 1):
    return {'auc': np.nan, 'brier': brier, 'bss': np.nan}
  # Of the model as it came: calibrating moves folds against each other, and within a fold it ranks as before.
  return {'auc': roc_auc_score(label, part['logit']), 'brier': brier, 'bss': 1 - brier / (share * (1 - share))}


def _check_classes(model: str, averaged: Table) -> None:
  """Raises UserError where there is nothing to score or to draw, warns where an interval has one class."""
  if len(set(averaged['pair_id'])) < 2:
    raise UserError(
      f'{model} forecasts a single pair, {averaged["pair_id"][0]}: no interval can be given; forecast more.'
    )
  intervals = np.unique(averaged['interval']).tolist()
  single = [interval for interval in intervals if len(set(averaged['label'][averaged['interval'] == interval])) < 2]
  if single == intervals:
    raise UserError(f'{model} has only one class at every interval: nothing can be scored.')
  if single:
    warnings.warn(f'{model} has only one class at the intervals {single}: their skill is not defined.', stacklevel=3)


def _with_hours(rows: list[dict]) -> Table:
  table = Table(rows)
  if rows:
    table['hours'].unit = u.hour
  return table
