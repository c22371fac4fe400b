"""The predictions table: what a model says about each magnetogram, and all that the scoring reads.

One row is one forecast of one member (a fold and a seed) for one magnetogram of its test fold. Tables of other
programs are read as well, as long as the columns and meta keys of the format are there; others are kept and ignored.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.special import expit, logit

from hearjax.checks import UserError
from hearjax.files import read_table, write_table
from hearjax.survey.intervals import check_hours
from hearjax.survey.survey import Survey, checksum

PREDICTIONS = 'predictions'  # Folder of all tables of a work directory.
STRINGS = ('region_id', 'pair_id')
INTEGERS = ('label', 'interval', 'fold', 'seed')
FLOATS = ('hours', 'logit', 'probability', 'threshold')
COLUMNS = ('region_id', 'pair_id', 'label', 'interval', 'hours', 'fold', 'seed', 'logit', 'probability', 'threshold')
META = ('model', 'settings', 'survey_checksum')
TOLERANCE = 1e-3  # Between the probability and the logistic function of the logit: three digits may be written.


def build_predictions(
  survey: Survey, columns: Mapping[str, np.ndarray], model: str, settings: Mapping[str, Any]
) -> Table:
  """Builds a predictions table from the forecasts of all members.

  Args:
    survey: The whole survey.
    columns: For `n` forecasts `row` (of the survey), `fold`, `seed`, `logit` (log odds of PE) and `threshold` (the
      probability at or above which emergence is forecast, chosen on the fold's training part), `[n]` each.
    model: Name of the model (`cnn`, `da_linear`, …).
    settings: What the model was built and fitted with; plain numbers, strings, lists and dictionaries.

  Raises:
    UserError: The table breaks a rule of the format.
  """
  row = columns['row']
  table = Table()
  table['region_id'] = survey.region_names()[row]
  table['pair_id'] = survey.pair_names()[row]
  for name in ('label', 'interval', 'hours'):
    table[name] = np.asarray(getattr(survey, name))[row]
  for name in ('fold', 'seed', 'logit'):
    table[name] = columns[name]
  table['probability'] = expit(np.asarray(columns['logit'], np.float64))
  table['threshold'] = columns['threshold']
  table['hours'].unit = u.hour
  table.meta = {
    'model': model,
    'settings': dict(settings),
    'survey_checksum': checksum(survey),
    'survey_source': survey.source,
  }
  return check_predictions(table, f'The predictions of {model}')


def write_predictions(path: str | os.PathLike, table: Table) -> None:
  """Checks and writes a predictions table as ECSV, whole or not at all.

  Raises:
    UserError: The table breaks a rule of the format.
    OSError: The file cannot be written.
  """
  write_table(pathlib.Path(path), check_predictions(table, 'The table to write'))


def read_predictions(path: str | os.PathLike) -> Table:
  """Reads a predictions table and checks it.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is no table, or breaks a rule of the format.
  """
  return check_predictions(read_table(path, 'predictions table', STRINGS), str(path))


def check_predictions(table: Table, name: str) -> Table:
  """Checks a table against the format.

  Args:
    table: What should be a predictions table.
    name: What to call it in a message.

  Returns:
    A copy with the types of the format, `hours` in hours.

  Raises:
    UserError: The table breaks a rule of the format; the sentence says which and where.
  """
  absent = [column for column in COLUMNS if column not in table.colnames]
  if absent:
    raise UserError(f'{name} lacks the columns {", ".join(absent)}; a predictions table has {", ".join(COLUMNS)}.')
  absent = [key for key in META if key not in table.meta]
  if absent:
    raise UserError(f'{name} lacks the meta keys {", ".join(absent)}; a predictions table has {", ".join(META)}.')
  if not (isinstance(table.meta['model'], str) and table.meta['model']):
    raise UserError(f'{name} has the meta key model = {table.meta["model"]!r}; the name of the model is needed.')
  if not len(table):
    raise UserError(f'{name} has no rows: there is nothing to score.')
  table = table.copy()
  _convert_columns(name, table)
  _check_values(name, table)
  _check_rows(name, table)
  return table


def average_seeds(table: Table) -> Table:
  """Averages the members of each magnetogram: the mean logit over the seeds is the logit of the ensemble.

  Args:
    table: A predictions table.

  Returns:
    One row for each region and interval, sorted by pair, region and interval, without `seed`. `threshold` is
    averaged as log odds, too.
  """
  grouped = table.group_by(['pair_id', 'region_id', 'interval'])
  starts = grouped.groups.indices[:-1]
  n_members = np.diff(grouped.groups.indices)
  averaged = grouped[starts]
  averaged.keep_columns([column for column in COLUMNS if column != 'seed'])
  averaged['logit'] = np.add.reduceat(np.asarray(grouped['logit']), starts) / n_members
  averaged['probability'] = expit(averaged['logit'])
  averaged['threshold'] = expit(np.add.reduceat(_log_odds(grouped['threshold']), starts) / n_members)
  return averaged


def interval_hours(table: Table) -> dict[int, float]:
  """Returns interval -> mean hours of its rows [h], ascending; to 1e-4, since they may come as float32."""
  intervals, place = np.unique(table['interval'], return_inverse=True)
  hours = np.bincount(place, table['hours']) / np.bincount(place)
  return dict(zip(intervals.tolist(), hours.round(4).tolist(), strict=True))


def tuned_name(model: str) -> str:
  """Returns the name under which copies of a model that are tuned to each interval forecast."""
  return f'{model}_tuned'


def mean_threshold(table: Table) -> float:
  """Returns the threshold of a predictions table, averaged as log odds over its members: for what no fold holds out."""
  _, first = np.unique(list(zip(table['fold'], table['seed'], strict=True)), axis=0, return_index=True)
  return float(expit(np.mean(_log_odds(table['threshold'][first]))))


def _log_odds(probability: np.ndarray) -> np.ndarray:
  """Returns log odds; thresholds of exactly 0 or 1 count as the nearest numbers that have finite ones."""
  probability = np.asarray(probability, np.float64)
  return logit(np.clip(probability, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg))


def _convert_columns(name: str, table: Table) -> None:
  for column in STRINGS:
    if np.ma.is_masked(table[column]) or np.any(np.asarray(table[column], str) == ''):
      raise UserError(f'Column {column} of {name} has empty entries; every forecast needs its {column}.')
    table.replace_column(column, np.asarray(table[column], str))
  for column in (*INTEGERS, *FLOATS):
    values = table[column]
    if np.ma.is_masked(values) or values.dtype.kind not in 'iufb' or not np.all(np.isfinite(values)):
      raise UserError(f'Column {column} of {name} has entries that are not finite numbers; all rows need one.')
    unit = u.hour if column == 'hours' else u.dimensionless_unscaled
    try:
      values = values.quantity.to_value(unit) if values.unit else np.asarray(values)
    except u.UnitConversionError as error:
      raise UserError(f'Column {column} of {name} is in {values.unit}; {unit or "a pure number"} is needed.') from error
    if column in INTEGERS and np.any(values != np.round(values)):
      raise UserError(
        f'Column {column} of {name} must hold whole numbers, got {values[values != np.round(values)][0]}.'
      )
    table.replace_column(column, values.astype(np.int64 if column in INTEGERS else np.float64))
  table['hours'].unit = u.hour


def _check_values(name: str, table: Table) -> None:
  check_hours(name, table['interval'], table['hours'])
  label, probability = table['label'], table['probability']
  for wrong, complaint in (
    (~np.isin(label, (0, 1)), 'has the label {label}; it is 1 for a region that emerges and 0 for its control'),
    ((probability < 0) | (probability > 1), 'has the probability {probability}; it must lie between 0 and 1'),
    ((table['threshold'] < 0) | (table['threshold'] > 1), 'has the threshold {threshold}; it is a probability'),
    (
      np.abs(expit(table['logit']) - probability) > TOLERANCE,
      'has the logit {logit} and the probability {probability}; the probability is 1 / (1 + exp(-logit))',
    ),
  ):
    if np.any(wrong):
      row = table[int(np.argmax(wrong))]
      details = complaint.format(**{column: row[column] for column in COLUMNS})
      raise UserError(f'{name}: region {row["region_id"]}, interval {row["interval"]} {details}.')


def _check_rows(name: str, table: Table) -> None:
  for column, value, several in (
    ('region_id', 'label', 'both labels'),
    ('region_id', 'pair_id', 'two pairs'),
    ('pair_id', 'fold', 'two folds'),
  ):
    found = dict(zip(table[column], table[value], strict=True))
    for row in table[column, value]:
      if found[row[column]] != row[value]:
        raise UserError(
          f'{name}: {column} {row[column]} is in {several} ({found[row[column]]} and {row[value]}); '
          'a region has one label and one pair, and a pair is tested in one fold.'
        )
  seen = set()
  for key in zip(*(table[column] for column in ('region_id', 'interval', 'fold', 'seed')), strict=True):
    if key in seen:
      raise UserError(f'{name}: region {key[0]} has interval {key[1]} twice for fold {key[2]} and seed {key[3]}.')
    seen.add(key)
