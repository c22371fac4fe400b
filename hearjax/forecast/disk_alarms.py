"""Alarms of a disk: where the map of emergence probability peaks above a threshold, and which region is there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from hearjax.checks import UserError, check_positive
from hearjax.forecast.domain import outside_domain
from hearjax.solar import SOLAR_RADIUS_MM, direction, separation

REPORT_HOURS = 24.0  # Reports of regions are daily: one is good for a day before and after.

ALARM_COLUMNS = (
  'file',
  'time',
  'place',
  'longitude',
  'latitude',
  'cmd',
  'mu',
  'probability',
  'probability_std',
  'unsigned_flux',
  'peak_field',
  'missing',
  'outside',
  'noaa',
)
MEASURED = ALARM_COLUMNS[3:12]


def find_alarms(
  places: Table, threshold: float, distance_mm: float, domain: Mapping[str, Any], file: str = '', time: str = ''
) -> Table:
  """Returns the local maxima of the probability at or above a threshold, the highest first.

  Args:
    places: What `forecast_disk` returned.
    threshold: Least probability of an alarm.
    distance_mm: An alarm is the highest place within this distance [Mm]: two alarms are never nearer to one another.
    domain: What the network was trained on (`training_domain`).
    file: Name of the magnetogram's file.
    time: Of the observation, ISO, UTC.

  Returns:
    One row for each alarm, with `ALARM_COLUMNS`; `outside` in words (`outside_domain`), `place` and `noaa` 0.

  Raises:
    UserError: The threshold is none between 0 and 1, or the distance is not positive.
  """
  check_threshold(threshold)
  check_positive('The distance of alarms', distance_mm)
  probability = np.asarray(places['probability'])
  points = direction(np.asarray(places['longitude']), np.asarray(places['latitude']))
  radius = chord(distance_mm)
  tree = cKDTree(points)
  open_ = probability >= threshold
  found = []
  for place in np.argsort(-probability, kind='stable')[: np.sum(open_)]:
    if open_[place]:
      near = tree.query_ball_point(points[place], radius)
      open_[near] = False
      if probability[place] >= probability[near].max():  # Else it lies on the slope of a peak just taken.
        found.append(place)
  alarms = places[MEASURED][found]
  alarms['file'], alarms['time'] = np.full(len(found), file or '-'), np.full(len(found), time or '-')
  alarms['place'], alarms['noaa'] = np.zeros(len(found), int), np.zeros(len(found), int)
  alarms['outside'] = np.array([outside_domain(domain, row) for row in alarms], dtype=str)
  alarms.meta = {'prior': places.meta['prior'], 'threshold': threshold, 'distance_mm': distance_mm}
  return alarms[ALARM_COLUMNS]


def check_threshold(threshold: float) -> None:
  """Raises UserError where a threshold is no probability between 0 and 1."""
  if not 0 < threshold < 1:
    raise UserError(f'The threshold is a probability between 0 and 1, both excluded; got {threshold}.')


def chord(distance_mm: float) -> float:
  """Returns the length of the chord of the unit sphere under a distance along the Sun's surface [Mm]."""
  return 2 * np.sin(min(distance_mm / SOLAR_RADIUS_MM, np.pi) / 2)


def regions_at(sightings: Table, mjd: float) -> Table:
  """Returns the regions that were reported on the disk about a time, each where it was reported nearest to that time.

  Args:
    sightings: Columns `noaa`, `mjd`, `longitude`, `latitude` [deg] and `section` (`observe.building.sightings`); those
      of section II, which are due to return, are left out.
    mjd: The time, modified Julian date in UTC.
  """
  late = np.abs(np.asarray(sightings['mjd']) - mjd) * 24
  rows = np.flatnonzero((late <= REPORT_HOURS) & (np.asarray(sightings['section']) != 'II'))
  rows = rows[np.argsort(late[rows], kind='stable')]
  _, first = np.unique(np.asarray(sightings['noaa'])[rows], return_index=True)
  return sightings[rows[first]]


def name_regions(alarms: Table, regions: Table, distance_mm: float) -> np.ndarray:
  """Returns `[n]` the number (`noaa`) of the region nearest to each alarm, 0 where none lies within a distance [Mm]."""
  names = np.zeros(len(alarms), int)
  if len(alarms) and len(regions):
    apart = separation_mm(alarms, regions)
    nearest = apart.argmin(axis=1)
    near = apart[np.arange(len(alarms)), nearest] <= distance_mm
    names[near] = np.asarray(regions['noaa'])[nearest[near]]
  return names


def separation_mm(one: Table, other: Table) -> np.ndarray:
  """Returns `[n, m]` distances along the surface [Mm] of the places of two tables (`longitude`, `latitude` [deg])."""
  first, second = ([np.asarray(table[name], float) for name in ('longitude', 'latitude')] for table in (one, other))
  angle = separation(*(axis[:, None] for axis in first), *second)
  return np.deg2rad(angle) * SOLAR_RADIUS_MM
