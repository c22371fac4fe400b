"""Disks over time: places whose alarms come back in frame after frame, and how early an emergence was warned of.

Positions are Carrington's, so that a place that turns with the Sun keeps its own. What differs from that, differential
rotation and the peak of the map that wanders, is up to `link_mm`.
"""

from collections.abc import Callable, Iterable

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from astropy.time import Time
from scipy.optimize import linear_sum_assignment

from hearjax.forecast.disk_alarms import separation_mm
from hearjax.forecast.disk_maps import DiskMap, sample_disk
from hearjax.forecast.disk_settings import HistorySettings

NO_TIME = '-'
COMPARED_DEG = (-40.0, -30.0, -20.0, 20.0, 30.0, 40.0)  # Our choice: beyond what an emerging region changes.


def link_alarms(alarms: Table, settings: HistorySettings) -> Table:
  """Gives the alarms of all frames the numbers of their places, from 1, in the order of time.

  Within a frame every place has one alarm at most; alarms and places are matched at the least sum of distances.

  Args:
    alarms: Rows of `find_alarms` of several frames, in any order.
    settings: What is one place.

  Returns:
    The rows in the order of time, then of probability, with `place` set.
  """
  mjd = mjd_of(alarms)
  order = np.lexsort((-np.asarray(alarms['probability']), np.asarray(alarms['file'], str), mjd))
  alarms, mjd = alarms[order], mjd[order]
  last = np.zeros(0, int)  # Row of the last alarm of each place.
  for rows in _frames(alarms, mjd):
    open_ = np.flatnonzero(mjd[rows[0]] - mjd[last] <= settings.gap_hours / 24)
    number = np.full(len(rows), -1)
    if len(open_):
      apart = separation_mm(alarms[rows], alarms[last[open_]])
      # Farther ones cost more than all that are allowed together: as many as can be are linked.
      cost = np.where(apart <= settings.link_mm, apart, settings.link_mm * (len(rows) + 1))
      for row, place in zip(*linear_sum_assignment(cost), strict=True):
        if apart[row, place] <= settings.link_mm:
          number[row] = open_[place]
    new = number < 0
    number[new] = len(last) + np.arange(new.sum())
    last = np.concatenate([last, np.zeros(new.sum(), int)])
    last[number] = rows
    alarms['place'][rows] = number + 1
  return alarms


def place_table(alarms: Table) -> Table:
  """Returns a row for each place of alarms that `link_alarms` returned.

  Columns: `place`, mean `longitude` and `latitude` [deg], `alarms` (how many), `first_alarm`, `last_alarm` (ISO, UTC),
  `peak` (largest probability), `peak_time`, `outside` (alarms outside the training domain), `noaa` (the first number
  that one of its alarms has, else 0).
  """
  rows = []
  for place in np.unique(np.asarray(alarms['place'])):
    own = alarms[np.asarray(alarms['place']) == place]
    best = own[np.argmax(own['probability'])]
    east = (np.asarray(own['longitude']) - own['longitude'][0] + 180) % 360 - 180
    named = np.asarray(own['noaa'])[np.asarray(own['noaa']) > 0]
    rows.append(
      {
        'place': int(place),
        'longitude': float((own['longitude'][0] + east.mean()) % 360),
        'latitude': float(np.mean(own['latitude'])),
        'alarms': len(own),
        'first_alarm': own['time'][0],
        'last_alarm': own['time'][-1],
        'peak': float(best['probability']),
        'peak_time': best['time'],
        'outside': int(np.sum(np.asarray(own['outside'], str) != '')),
        'noaa': int(named[0]) if len(named) else 0,
      }
    )
  table = Table(rows) if rows else Table({name: [] for name in PLACE_COLUMNS})
  for name in ('longitude', 'latitude'):
    table[name].unit = u.deg
  return table


PLACE_COLUMNS = (
  'place',
  'longitude',
  'latitude',
  'alarms',
  'first_alarm',
  'last_alarm',
  'peak',
  'peak_time',
  'outside',
  'noaa',
)


def history_table(places: Table, frames: Iterable[tuple[str, str, DiskMap]], key: str = 'place') -> Table:
  """Reads the maps of all frames at places: also where there was no alarm.

  Args:
    places: Columns `longitude`, `latitude` [deg] and `key`.
    frames: Name of the file, time (ISO, UTC) and map of each frame, in any order.
    key: The column that names a place.

  Returns:
    A row for each place and frame that forecasts there, by place and time: `key`, `file`, `time`, `probability`,
    `probability_std`.
  """
  parts = []
  for file, time, drawn in frames:
    probability, spread = sample_disk(drawn, places['longitude'], places['latitude'])
    told = np.isfinite(probability)
    parts.append(
      Table(
        {
          key: np.asarray(places[key])[told],
          'file': np.full(told.sum(), file),
          'time': np.full(told.sum(), time),
          'probability': probability[told],
          'probability_std': spread[told],
        }
      )
    )
  table = vstack([part for part in parts if len(part)] or parts[:1])
  return table[np.lexsort((table['time'], table[key]))] if len(table) else table


def warnings_of(
  emergences: Table, alarms: Table, frames: Callable[[], Iterable[tuple[str, str, DiskMap]]], settings: HistorySettings
) -> Table:
  """Tells when each known emergence was first warned of, and how often that happens where none is known.

  Args:
    emergences: Columns `noaa`, `longitude`, `latitude` [deg], `mjd` (UTC).
    alarms: What `link_alarms` returned.
    frames: Returns name, time and map of each frame, as `history_table` takes them; called twice.
    settings: How near an alarm must be, and when.

  Returns:
    The columns of `warning_table` and `by_chance` (`chance_of_warning`).
  """
  warned = warning_table(emergences, alarms, history_table(emergences, frames(), 'noaa'), settings)
  compared = compared_places(emergences)
  other = warning_table(compared, alarms, history_table(compared, frames(), 'number'), settings, 'number')
  warned['by_chance'] = chance_of_warning(warned, compared, other)
  return warned


def warning_table(
  emergences: Table, alarms: Table, looks: Table, settings: HistorySettings, key: str = 'noaa'
) -> Table:
  """Tells when each known emergence was first warned of.

  Args:
    emergences: Columns `key`, `longitude`, `latitude` [deg], `mjd` (UTC).
    alarms: What `link_alarms` returned.
    looks: What `history_table` returned for the emergences, by `key`.
    settings: How near an alarm must be, and when.
    key: The column that names an emergence.

  Returns:
    A row for each emergence: `key`, `longitude`, `latitude`, `emergence_time`, `looks` (frames before it that show the
    place), `first_look`, `first_alarm` (`-` for none), `lead_hours` (from the first alarm to the emergence, negative
    where it came later, NaN where none did), `place`, `distance_mm` and `outside` of the first alarm, `peak_before`
    (the largest probability at the very place before the emergence).
  """
  rows, when, looked = [], mjd_of(alarms), mjd_of(looks)
  for row in emergences:
    own = np.asarray(looks[key] == row[key]) & (np.abs(looked - row['mjd']) * 24 <= settings.lead_hours)
    before = own & (looked <= row['mjd'])
    apart = separation_mm(Table(row), alarms)[0] if len(alarms) else np.zeros(0)
    near = np.flatnonzero((apart <= settings.link_mm) & (np.abs(when - row['mjd']) * 24 <= settings.lead_hours))
    first = near[np.argmin(when[near])] if len(near) else None
    rows.append(
      {
        key: int(row[key]),
        'longitude': float(row['longitude']),
        'latitude': float(row['latitude']),
        'emergence_time': Time(row['mjd'], format='mjd').isot,
        'looks': int(before.sum()),
        'first_look': str(min(looks['time'][own])) if own.any() else NO_TIME,
        'first_alarm': str(alarms['time'][first]) if first is not None else NO_TIME,
        'lead_hours': float(row['mjd'] - when[first]) * 24 if first is not None else np.nan,
        'place': int(alarms['place'][first]) if first is not None else 0,
        'distance_mm': float(apart[first]) if first is not None else np.nan,
        'outside': str(alarms['outside'][first]) if first is not None else '',
        'peak_before': float(np.max(looks['probability'][before])) if before.any() else np.nan,
      }
    )
  table = Table(rows)
  for name, unit in {'longitude': u.deg, 'latitude': u.deg, 'lead_hours': u.hour, 'distance_mm': u.Mm}.items():
    table[name].unit = unit
  return table


def compared_places(emergences: Table) -> Table:
  """Returns places at the latitude and time of each emergence, `COMPARED_DEG` to the east and west of it.

  What is said of alarms before an emergence is worth what it is more than at places where nothing is known to emerge.
  Columns: `noaa` of the emergence, `number` of the place, `longitude`, `latitude` [deg], `mjd`.
  """
  table = vstack([emergences[['noaa', 'longitude', 'latitude', 'mjd']]] * len(COMPARED_DEG))
  table['longitude'] = (table['longitude'] + np.repeat(COMPARED_DEG, len(emergences))) % 360
  table['number'] = np.arange(len(table)) + 1
  return table


def chance_of_warning(warned: Table, compared: Table, other: Table) -> np.ndarray:
  """Returns `[n]` the share of compared places that had an alarm before, too; NaN where none was looked at enough.

  Args:
    warned: What `warning_table` returned for emergences.
    compared: What `compared_places` returned for them.
    other: What `warning_table` returned for those, by `number`; of each that counts which was looked at half as often
      as the emergence.
  """
  shares = []
  for row in warned:
    enough = (np.asarray(compared['noaa']) == row['noaa']) & (np.asarray(other['looks']) >= max(1, row['looks'] / 2))
    shares.append(np.mean(np.asarray(other['lead_hours'])[enough] > 0) if enough.any() and row['looks'] else np.nan)
  return np.array(shares)


def mjd_of(table: Table) -> np.ndarray:
  """Returns `[n]` modified Julian dates of the column `time` (ISO, UTC)."""
  return Time(np.asarray(table['time'], str), format='isot', scale='utc').mjd if len(table) else np.zeros(0)


def _frames(alarms: Table, mjd: np.ndarray) -> list[np.ndarray]:
  """Returns the rows of each frame, one after the other: of one file and time."""
  names = np.char.add(mjd.astype(str), np.asarray(alarms['file'], str))
  _, first = np.unique(names, return_index=True)
  return np.split(np.arange(len(alarms)), np.sort(first)[1:]) if len(alarms) else []
