"""Forecasts of other programs that are time series: one value for a region every so often.

Recurrent networks and transformers that follow a region give such series (for example Kasapis et al. 2024,
arXiv:2402.08890, of the continuum intensity, from acoustic power). To be scored beside models that look at the
intervals of a survey, a series is read at each of them: its last value that was issued while the interval lasted, so
that it knows nothing later than what a magnetogram of that interval may show.
"""

import os
import pathlib
from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from scipy.special import logit

from hearjax.checks import UserError
from hearjax.files import read_table
from hearjax.survey.survey import Survey
from hearjax.verification.predictions import build_predictions

CLOSEST = 1e-9  # Probabilities of 0 and 1 count as this far from them, so that their log odds are finite.


def read_series(path: str | os.PathLike) -> Table:
  """Reads a table of time series (ECSV, else CSV): a row for each value.

  Columns: `region_id`; `time` of issue (ISO, UTC), or `hours` of it relative to the emergence time, negative before;
  `probability` of emergence, or `score`, any number that is the larger the likelier emergence is.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is no such table.
  """
  table = read_table(path, 'table of time series', ('region_id',))
  for names in (('region_id',), ('time', 'hours'), ('probability', 'score')):
    if not set(names) & set(table.colnames):
      raise UserError(
        f'{path} has no column {" or ".join(names)}; time series have region_id, time (ISO, UTC) or hours (relative to '
        'emergence), and probability or score.'
      )
  if not len(table):
    raise UserError(f'{path} has no rows.')
  table.meta['model'] = pathlib.Path(path).stem
  table.meta['path'] = str(path)
  return table


def predictions_of_series(series: Table, survey: Survey, fold_of_pair: Mapping[str, int] | None = None) -> Table:
  """Makes a predictions table of time series.

  A `score` becomes log odds by its mean and standard deviation over the values that are read, which keeps their order;
  where the threshold lies is found when they are calibrated (`calibration.calibrate`).

  Args:
    series: From `read_series`; its meta key `model` names the model.
    survey: The survey with the regions; others in the series are ignored.
    fold_of_pair: Fold in which each pair was tested; one fold for None.

  Returns:
    A predictions table of the magnetograms whose interval holds a value.

  Raises:
    UserError: A value or a time is missing or impossible, no magnetogram has one, or a pair has no fold.
  """
  name = series.meta.get('path', 'The time series')
  value = _values(series, name)
  region = np.asarray(series['region_id'], str)
  rows, found = [], []
  for row, (region_id, start, end) in enumerate(
    zip(survey.region_names(), survey.hours_start, survey.hours_end, strict=True)
  ):
    of_region = np.flatnonzero(region == region_id)
    if not len(of_region):
      continue
    hours = _hours(series[of_region], survey, row, name)
    inside = np.flatnonzero((hours >= start) & (hours <= end))
    if len(inside):
      rows.append(row)
      found.append(value[of_region[inside[np.argmax(hours[inside])]]])
  if not rows:
    raise UserError(
      f'{name} has no value within an interval of the survey; check the names of its regions, and that its times are '
      'in UTC, or hours relative to emergence.'
    )
  rows, found = np.array(rows), np.array(found)
  if 'probability' in series.colnames:
    log_odds = logit(np.clip(found, CLOSEST, 1 - CLOSEST))
  else:
    log_odds = (found - found.mean()) / (found.std() or 1.0)
  pairs = survey.pair_names()[rows]
  absent = sorted(set(pairs.tolist()) - set(fold_of_pair)) if fold_of_pair is not None else []
  if absent:
    raise UserError(f'{name} forecasts the pair {absent[0]}, of which no fold is known; score it without the others.')
  fold = np.array([fold_of_pair[pair] for pair in pairs]) if fold_of_pair is not None else np.zeros(len(rows), int)
  n = len(rows)
  columns = {'row': rows, 'fold': fold, 'seed': np.zeros(n, int), 'logit': log_odds, 'threshold': np.full(n, 0.5)}
  return build_predictions(survey, columns, series.meta['model'], {'series': pathlib.Path(name).name})


def _values(series: Table, name: str) -> np.ndarray:
  column = 'probability' if 'probability' in series.colnames else 'score'
  value = np.ma.filled(np.ma.asarray(series[column]).astype(float), np.nan)
  wrong = ~np.isfinite(value)
  if column == 'probability':
    wrong |= (value < 0) | (value > 1)
  if wrong.any():
    at = int(np.argmax(wrong))
    needed = 'between 0 and 1' if column == 'probability' else 'a finite number'
    raise UserError(f'{name}: region {series["region_id"][at]} has the {column} {value[at]}; it must be {needed}.')
  return value


def _hours(series: Table, survey: Survey, row: int, name: str) -> np.ndarray:
  """Returns `[n]` when the values of one region were issued, relative to its emergence time [h]."""
  if 'hours' in series.colnames:
    hours = series['hours']
    hours = np.ma.filled(np.ma.asarray(hours.quantity.to_value(u.hour) if hours.unit else hours).astype(float), np.nan)
  else:
    try:
      time = Time(np.asarray(series['time'], str), scale='utc')
    except ValueError as error:
      raise UserError(f'{name} has a time that cannot be read ({error}); write ISO times in UTC.') from error
    hours = float(survey.hours[row]) + (time.mjd - float(survey.mjd[row])) * 24
  if not np.isfinite(hours).all():
    raise UserError(f'{name}: region {series["region_id"][0]} has a value without its time.')
  return hours
