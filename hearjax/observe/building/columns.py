"""Columns of a user's catalogue: which there must be, and what their cells may hold."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.files import read_table
from hearjax.observe.times import FIRST_MJD, LAST_MJD, parse_time

# NOAA numbers have four digits in the reports: after 9999 came 0000, on 2002 June 14. About 250 are given a year, so
# that the time tells which of the numbers with the same last four digits is meant, until about 2040.
NUMBER_10000_MJD = 52439.0
NUMBERS_PER_DAY = 250 / 365.25


def read_columns(path: str | os.PathLike, what: str, needed: Sequence[str], optional: Sequence[str]) -> Table:
  """Reads a table and keeps the columns that are known; of a column that is not, it warns.

  Args:
    path: ECSV, else CSV.
    what: What to call it in a message.
    needed: Columns that must be there; of `a|b` at least one.
    optional: Columns that may be there.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It cannot be read, has no rows, or lacks a column.
  """
  table = read_table(path, what)
  known = [name for names in needed for name in names.split('|')] + list(optional)
  unknown = [name for name in table.colnames if name not in known]
  absent = [names for names in needed if not set(names.split('|')) & set(table.colnames)]
  if absent:
    lacking = ', '.join(names.replace('|', ' or ') for names in absent)
    also = f'; it does not know {", ".join(unknown)}' if unknown else ''
    raise UserError(f'{path} lacks the columns {lacking}: a {what} knows {", ".join(known)}{also}; name them so.')
  if not len(table):
    raise UserError(f'{path} has no rows; a {what} was expected.')
  if unknown:
    warnings.warn(
      f'{path}: the columns {", ".join(unknown)} are ignored; a {what} knows {", ".join(known)}.', stacklevel=3
    )
  table.remove_columns(unknown)
  return table


def numbers(
  path: str | os.PathLike, table: Table, name: str, limits: tuple[float, float], unit: u.Unit | None = None
) -> np.ndarray:
  """Returns `[n]` float64 numbers of a column, NaN where a cell is empty.

  Args:
    path: To be named in a message.
    table: With the column.
    name: Of the column.
    limits: Least and largest number that may be.
    unit: Of the result, and of a column that names none.

  Raises:
    UserError: A cell holds no number, or one outside the limits; or the column has another unit.
  """
  column = table[name]
  empty = np.ma.getmaskarray(column)
  try:
    factor = float((column.unit or unit).to(unit)) if unit else 1.0
    values = np.array([np.nan if empty[row] else factor * float(column[row]) for row in range(len(table))])
  except u.UnitConversionError as error:
    raise UserError(f'Column {name} of {path} is in {column.unit}; {unit} is needed.') from error
  except (TypeError, ValueError) as error:
    raise UserError(f'Column {name} of {path} holds what is no number ({error}).') from error
  bad = np.flatnonzero(~empty & ~((values >= limits[0]) & (values <= limits[1])))  # What is NaN is bad, too.
  if bad.size:
    raise UserError(
      f'{path}, row {bad[0] + 1}: {name} is {values[bad[0]]:.10g}; it must lie between {limits[0]:g} and {limits[1]:g}.'
    )
  return values


def julian_dates(path: str | os.PathLike, table: Table, name: str) -> np.ndarray:
  """Returns `[n]` modified Julian dates (UTC) of a column of such dates, NaN where a cell is empty.

  Raises:
    UserError: A cell holds no such date of our time.
  """
  try:
    return numbers(path, table, name, (FIRST_MJD, LAST_MJD))
  except UserError as error:
    raise UserError(f'{error} A modified Julian date (UTC) is needed.') from error


def times(path: str | os.PathLike, table: Table, name: str) -> np.ndarray:
  """Returns `[n]` modified Julian dates (UTC) of a column of times (ISO, or as JSOC writes), NaN where a cell is empty.

  Raises:
    UserError: A cell holds no time with a time of day, or none of our time.
  """
  column = table[name]
  values = np.full(len(table), np.nan)
  if isinstance(column, Time):
    there = np.broadcast_to(~column.mask, len(table))
    values[there] = column[there].utc.mjd
  else:
    for row in np.flatnonzero(~np.ma.getmaskarray(column)):
      try:
        values[row] = parse_time(str(column[row])).mjd
      except UserError as error:
        raise UserError(f'{path}, row {row + 1}, {name}: {error}') from error
  bad = np.flatnonzero((values < FIRST_MJD) | (values > LAST_MJD))
  if bad.size:
    raise UserError(
      f'{path}, row {bad[0] + 1}: {name} is {Time(values[bad[0]], format="mjd").isot}, which is not of our time.'
    )
  return values


def no_empty_cell(path: str | os.PathLike, name: str, values: np.ndarray) -> np.ndarray:
  """Returns the values of a column, once it is certain that none of its cells is empty (NaN); else raises UserError."""
  empty = np.flatnonzero(np.isnan(values))
  if empty.size:
    raise UserError(f'{path}, row {empty[0] + 1}: {name} is empty; fill in the cell.')
  return values


def noaa_numbers(path: str | os.PathLike, table: Table) -> np.ndarray:
  """Returns `[n]` the NOAA numbers of the column `noaa`.

  Raises:
    UserError: A cell is empty, or holds no such number.
  """
  values = no_empty_cell(path, 'noaa', numbers(path, table, 'noaa', (1, 99999)))
  broken = np.flatnonzero(values != np.round(values))
  if broken.size:
    raise UserError(f'{path}, row {broken[0] + 1}: noaa is {values[broken[0]]:g}; a whole number is needed.')
  return values.astype(int)


def full_number(number: np.ndarray | int, mjd: np.ndarray | float) -> np.ndarray:
  """Returns NOAA numbers of which the last four digits are known, by the time at which they were in use.

  Args:
    number: `[...]` numbers; digits above the fourth do not count.
    mjd: `[...]` modified Julian dates.
  """
  expected = np.round(10000 + NUMBERS_PER_DAY * (np.asarray(mjd) - NUMBER_10000_MJD)).astype(int)
  return expected + (np.asarray(number) - expected + 5000) % 10000 - 5000
