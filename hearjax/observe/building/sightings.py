"""Sightings: where a numbered region stood in a daily report, NOAA's Solar Region Summary (SRS) or a user's table."""

import datetime
import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from astropy.time import Time
from sunpy.coordinates import sun
from sunpy.io.special.srs import read_srs

from hearjax.checks import UserError
from hearjax.files import visible_files
from hearjax.observe.building.columns import (
  full_number,
  julian_dates,
  no_empty_cell,
  noaa_numbers,
  numbers,
  read_columns,
  times,
)
from hearjax.solar import wrap_degrees

SECTIONS = ('I', 'IA', 'II')  # With spots, plages without spots, due to return over the east limb.
REPORT_NAME = re.compile(r'.*SRS.*\.txt', re.IGNORECASE)
SAME_PLACE_DEG = 5.0  # Our choice: that much the two longitudes of a row may differ; both are in whole degrees.
SAME_CLOCK_DAYS = 1 / 86400  # Less than UTC and TAI are apart.
LATEST_ISSUE_DAYS = 5  # Our choice: a report is issued at most so long after the day of its locations.
_VALID_DAY = re.compile(r'VALID AT\s+(\d\d)/2400Z', re.IGNORECASE)
_RETURNING = re.compile(r'\d{4}\s+[NS]\d\d\s+\d{1,3}\s*')


def read_sightings(path: str | os.PathLike) -> Table:
  """Reads where numbered regions were, report by report.

  Args:
    path: A folder of Solar Region Summaries (names with SRS that end in .txt, also in folders below it), one of them,
      or a table (ECSV, else CSV). Its columns: `noaa`; `mjd` (UTC) or `time` (ISO, UTC, with its time of day), for
      which the position holds; `latitude` [deg]; `longitude` (Carrington) or `cmd` (from the central meridian, west
      positive) [deg]; optional `area` [millionths of the hemisphere] and `section` (I, IA or II; I where it is not
      told). Other columns are ignored with a warning. A table counts as complete between its first day and its last.

  Returns:
    A row for each region and report, sorted by time and number: `noaa` (five digits), `mjd`, `latitude`, `longitude`
    (Carrington, 0 to 360), `cmd`, `area`, `section`. `meta['reports']`: mjd of all reports, those of no region, too.

  Raises:
    FileNotFoundError: It is not there.
    UserError: It cannot be read, or two of its entries contradict each other. A report of a folder that cannot be read
      is left out with a warning, as is a row of one.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    reports = [file for file in visible_files(path, '**/*') if REPORT_NAME.fullmatch(file.name)]
    if not reports:
      raise UserError(f'{path} holds no Solar Region Summary (a name with SRS that ends in .txt).')
  elif path.is_file() and REPORT_NAME.fullmatch(path.name):
    reports = [path]
  else:
    return _read_table(path)
  return _read_reports(path, reports)


def disk_centre(mjd: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[...]` each Carrington longitude L0 and latitude B0 of the centre of the disk [deg], for the Earth."""
  time = Time(mjd, format='mjd', scale='utc')
  return sun.L0(time).to_value(u.deg), sun.B0(time).to_value(u.deg)


# --- NOAA's reports -------------------------------------------------------------------------------------------------


def _read_reports(path: pathlib.Path, reports: Sequence[pathlib.Path]) -> Table:
  """Returns the sightings of all reports that can be read, and warns of the others."""
  tables, file_of_day, problems = [], {}, []
  for file in reports:
    try:
      mjd, rows = _read_report(file)
    except Exception as error:  # sunpy's reader raises many types, for reports that are not as it expects.
      problems.append(f'{file} ({str(error).strip().partition(chr(10))[0]})')
      continue
    if mjd in file_of_day:
      raise UserError(f'{file_of_day[mjd]} and {file} are reports of one day; remove one of them.')
    file_of_day[mjd] = file
    tables.append(rows)
  if not tables:
    raise UserError(f'None of the Solar Region Summaries in {path} can be read; the first is {problems[0]}.')
  table = _sightings(vstack(tables), sorted(file_of_day))
  is_wrong = _contradicts(table)
  if np.any(is_wrong):
    row = table[is_wrong][0]
    problems.append(f'NOAA {row["noaa"]} in {file_of_day[row["mjd"]]} (its longitudes contradict each other)')
  if problems:
    number = len(problems) - bool(np.any(is_wrong)) + np.sum(is_wrong)
    warnings.warn(
      f'{number} reports or rows of {path} cannot be used and are left out, such as {problems[-1]}; regions may seem '
      'to appear later than they did: mend or replace the files.',
      stacklevel=3,
    )
  return table[~is_wrong]


def _read_report(file: pathlib.Path) -> tuple[float, Table]:
  """Returns the time for which a report holds (mjd) and its rows.

  Raises:
    UserError: The report does not say for which day it holds, or names a region twice.
    Exception: What sunpy's reader raises.
  """
  report = _parse(file)
  mjd = _valid_mjd(report.meta)
  number, latitude, longitude, cmd, area = (
    np.ma.filled(np.ma.asarray(report[name]).astype(float), np.nan)
    for name in ('Number', 'Latitude', 'Carrington Longitude', 'Longitude', 'Area')
  )
  section = np.asarray(report['ID'], str)
  cmd = np.where(section == 'II', wrap_degrees(longitude - disk_centre(mjd)[0]), cmd)
  whole = np.isfinite(number) & (np.abs(latitude) <= 90) & np.isfinite(longitude) & np.isfinite(cmd)
  rows = Table(
    {
      'noaa': full_number(number[whole].astype(int), mjd),  # sunpy adds 10000 to 9997 in the reports of June 2002.
      'mjd': np.full(np.sum(whole), mjd),
      'latitude': latitude[whole],
      'longitude': longitude[whole] % 360,
      'cmd': cmd[whole],
      'area': np.nan_to_num(area[whole]),
      'section': section[whole],
    }
  )
  _check_once(file, rows)
  return mjd, rows


def _parse(file: pathlib.Path) -> Table:
  """Returns what sunpy reads in a report, without the rows of regions due to return that lack their longitude."""
  lines = file.read_text(errors='replace').splitlines(keepends=True)
  last = next((number for number, line in enumerate(lines) if line.startswith('II.')), len(lines))
  whole = lines[:last] + [line for line in lines[last:] if not line[:4].isdigit() or _RETURNING.fullmatch(line)]
  if whole == lines:
    return Table(read_srs(file))
  with tempfile.TemporaryDirectory() as folder:
    mended = pathlib.Path(folder) / file.name
    mended.write_text(''.join(whole))
    return Table(read_srs(mended))


def _valid_mjd(meta: dict) -> float:
  """Returns when the positions of a report hold: at the end of the day that it names without its month and year."""
  match = _VALID_DAY.search('\n'.join(meta['header']))
  issued = meta['issued'].date()
  days = [issued - datetime.timedelta(days) for days in range(LATEST_ISSUE_DAYS + 1)]
  day = next((day for day in days if match and day.day == int(match[1])), None)
  if day is None:
    raise UserError(f'it was issued on {issued}, and does not say for which day before that it holds')
  return float(Time(day.isoformat(), scale='utc').mjd) + 1


# --- A user's table -------------------------------------------------------------------------------------------------


def _read_table(path: pathlib.Path) -> Table:
  table = read_columns(
    path, 'table of sightings', ('noaa', 'mjd|time', 'latitude', 'longitude|cmd'), ('area', 'section')
  )
  n = len(table)
  mjd = _moments(path, table)
  latitude = no_empty_cell(path, 'latitude', numbers(path, table, 'latitude', (-90, 90), u.deg))
  angles = {
    name: no_empty_cell(path, name, numbers(path, table, name, limits, u.deg))
    for name, limits in (('longitude', (-360, 720)), ('cmd', (-180, 180)))
    if name in table.colnames
  }
  l0 = disk_centre(mjd)[0]
  number = noaa_numbers(path, table)
  sightings = Table(
    {
      'noaa': np.where(number < 10000, full_number(number, mjd), number),
      'mjd': mjd,
      'latitude': latitude,
      'longitude': (angles['longitude'] if 'longitude' in angles else angles['cmd'] + l0) % 360,
      'cmd': angles['cmd'] if 'cmd' in angles else wrap_degrees(angles['longitude'] - l0),
      'area': np.nan_to_num(numbers(path, table, 'area', (0, 1e6))) if 'area' in table.colnames else np.zeros(n),
      'section': _sections(path, table),
    }
  )
  _check_once(path, sightings)
  is_wrong = _contradicts(sightings)
  if np.any(is_wrong):
    row = sightings[is_wrong][0]
    raise UserError(
      f'{path}: NOAA {row["noaa"]} at {_iso(row["mjd"])} has the longitude {row["longitude"]:g} deg and stands '
      f'{row["cmd"]:g} deg west of the central meridian, which was at {disk_centre(row["mjd"])[0]:.1f} deg; look at '
      'the sign (west is positive) and the time (UTC).'
    )
  first, last = np.floor(mjd.min()), mjd.max()
  return _sightings(sightings, sorted({*mjd.tolist(), *np.arange(first, last).tolist()}))


def _moments(path: pathlib.Path, table: Table) -> np.ndarray:
  """Returns `[n]` mjd of the rows of a table, which has one of two clocks, or both, which then must agree."""
  told = {
    name: no_empty_cell(path, name, read(path, table, name))
    for name, read in (('mjd', julian_dates), ('time', times))
    if name in table.colnames
  }
  if len(told) == 2 and np.any(np.abs(told['mjd'] - told['time']) > SAME_CLOCK_DAYS):
    row = int(np.argmax(np.abs(told['mjd'] - told['time'])))
    raise UserError(
      f'{path}, row {row + 1}: mjd is {_iso(told["mjd"][row])} and time is {_iso(told["time"][row])}; both must be the '
      'same UTC: remove the wrong column.'
    )
  return next(iter(told.values()))


def _sections(path: pathlib.Path, table: Table) -> np.ndarray:
  if 'section' not in table.colnames:
    return np.full(len(table), 'I')
  sections = np.array([str(section) for section in np.ma.filled(np.ma.asarray(table['section']).astype(str), 'I')])
  unknown = sorted(set(sections.tolist()) - set(SECTIONS))
  if unknown:
    raise UserError(f'{path}: section is {unknown[0]!r}; known are {", ".join(SECTIONS)}.')
  return sections


# --- Both -----------------------------------------------------------------------------------------------------------


def _check_once(path: pathlib.Path, table: Table) -> None:
  """Raises UserError where a region is on the disk twice on one day."""
  on_disk = table[table['section'] != 'II']
  keys = np.column_stack([np.asarray(on_disk['noaa'], float), np.floor(on_disk['mjd'])]).reshape(-1, 2)
  found, count = np.unique(keys, axis=0, return_counts=True)
  if np.any(count > 1):
    number, day = found[count > 1][0]
    raise UserError(f'{path} has NOAA {number:.0f} twice on one day, {_iso(day)[:10]}; remove one of the rows.')


def _contradicts(table: Table) -> np.ndarray:
  """Returns `[n]` whether the two longitudes of a row are those of different places."""
  if not len(table):
    return np.zeros(0, bool)
  mjd, row = np.unique(np.asarray(table['mjd']), return_inverse=True)
  l0 = disk_centre(mjd)[0][row]
  return np.abs(wrap_degrees(np.asarray(table['longitude'] - table['cmd']) - l0)) > SAME_PLACE_DEG


def _sightings(table: Table, reports: Sequence[float]) -> Table:
  """Returns the rows in order, with units, and the times of all reports."""
  table = table[np.lexsort((table['noaa'], table['mjd']))]
  for name in ('latitude', 'longitude', 'cmd'):
    table[name].unit = u.deg
  table.meta = {'reports': [float(mjd) for mjd in reports]}
  return table


def _iso(mjd: float) -> str:
  return str(Time(mjd, format='mjd', scale='utc', precision=0).isot)
