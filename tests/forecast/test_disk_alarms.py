"""Alarms, by hand."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.forecast.disk_alarms import ALARM_COLUMNS, find_alarms, name_regions, regions_at, separation_mm
from hearjax.solar import SOLAR_RADIUS_MM
from tests.hand_made import DOMAIN

MM = np.rad2deg(1 / SOLAR_RADIUS_MM)  # Degrees along a meridian.


def make_places(north_mm, probability, **columns) -> Table:
  """Returns places on one meridian."""
  n = len(probability)
  known = {'cmd': 0.0, 'mu': 0.9, 'probability_std': 0.1, 'unsigned_flux': 1e21, 'peak_field': 300.0, 'missing': 0.0}
  table = Table({'longitude': np.full(n, 100.0), 'latitude': np.asarray(north_mm, float) * MM})
  table['probability'] = np.asarray(probability, float)
  for name, value in (known | columns).items():
    table[name] = np.broadcast_to(value, n).copy()
  table.meta = {'prior': 0.5}
  return table


def latitudes_mm(alarms) -> list[float]:
  return [round(float(value) / MM) for value in alarms['latitude']]


def test_alarms_are_local_maxima_above_the_threshold_and_apart():
  north = np.arange(0, 300, 10)
  probability = np.full(30, 0.2)
  probability[[5, 6, 15, 24, 28]] = [0.8, 0.9, 0.7, 0.65, 0.45]
  alarms = find_alarms(make_places(north, probability), 0.6, 50.0, DOMAIN, 'a.fits', '2011-02-14T00:00:00.000')
  assert latitudes_mm(alarms) == [60, 150, 240] and tuple(alarms.colnames) == ALARM_COLUMNS
  assert list(alarms['probability']) == [0.9, 0.7, 0.65]
  assert set(alarms['file']) == {'a.fits'} and alarms.meta['threshold'] == 0.6
  # At 100 Mm the second is not the highest about it, nor is the third.
  assert latitudes_mm(find_alarms(make_places(north, probability), 0.6, 100.0, DOMAIN)) == [60]


def test_the_slope_of_a_peak_is_no_alarm():
  north = np.arange(0, 200, 10)
  alarms = find_alarms(make_places(north, 0.95 - 0.01 * np.arange(20)), 0.5, 45.0, DOMAIN)
  assert latitudes_mm(alarms) == [0]
  # Two places as high as one another: one alarm.
  assert len(find_alarms(make_places([0, 10], [0.8, 0.8]), 0.5, 45.0, DOMAIN)) == 1


def test_no_alarm_is_a_table_too_and_what_lies_outside_is_said():
  none = find_alarms(make_places([0, 10], [0.1, 0.2]), 0.5, 45.0, DOMAIN)
  assert len(none) == 0 and tuple(none.colnames) == ALARM_COLUMNS
  (row,) = find_alarms(make_places([0], [0.7], mu=0.3, unsigned_flux=9e21), 0.5, 45.0, DOMAIN)
  assert row['outside'] == 'flux 9e+21 Mx above 4e+21; mu 0.30 below 0.42'
  assert row['probability'] == 0.7
  # The threshold itself is an alarm.
  assert len(find_alarms(make_places([0], [0.5]), 0.5, 45.0, DOMAIN)) == 1


@pytest.mark.parametrize('threshold', [0.0, 1.0, -1.0, 2.0, float('nan')])
def test_threshold_must_be_a_probability(threshold):
  with pytest.raises(ValueError, match='The threshold is a probability between 0 and 1, both excluded'):
    find_alarms(make_places([0], [0.5]), threshold, 45.0, DOMAIN)


def test_distance_must_be_positive():
  with pytest.raises(ValueError, match='The distance of alarms must be positive'):
    find_alarms(make_places([0], [0.5]), 0.5, 0.0, DOMAIN)


def test_numbers_of_regions():
  sightings = Table(
    {
      'noaa': [11158, 11158, 11159, 11160, 11161],
      'mjd': [55600.0, 55601.0, 55601.0, 55598.0, 55600.5],
      'longitude': [33.0, 34.0, 60.0, 33.0, 33.0],
      'latitude': [-20.0, -20.5, 10.0, -20.0, -20.0],
      'section': ['I', 'I', 'IA', 'I', 'II'],
    }
  )
  regions = regions_at(sightings, 55600.8)
  # The report nearest in time; one too old and one behind the limb are none.
  assert list(regions['noaa']) == [11158, 11159] and regions['longitude'][0] == 34.0
  alarms = Table({'longitude': [34.5, 200.0, 61.0], 'latitude': [-20.0, 0.0, 12.0]})
  assert list(name_regions(alarms, regions, 50.0)) == [11158, 0, 11159]
  assert list(name_regions(alarms, regions, 10.0)) == [11158, 0, 0]
  assert list(name_regions(alarms[:0], regions, 50.0)) == list(name_regions(alarms[:0], regions[:0], 50.0)) == []
  quarter = separation_mm(alarms[1:2], Table({'longitude': [290.0], 'latitude': [0.0]}))
  assert quarter == pytest.approx(np.pi / 2 * SOLAR_RADIUS_MM)
