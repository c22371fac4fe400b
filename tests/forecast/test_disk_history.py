"""Places over time, by hand."""

import numpy as np
import pytest
from astropy.table import Table, vstack
from astropy.time import Time

from hearjax.forecast.disk_alarms import find_alarms
from hearjax.forecast.disk_history import (
  chance_of_warning,
  compared_places,
  history_table,
  link_alarms,
  place_table,
  warning_table,
)
from hearjax.forecast.disk_maps import draw_disk
from hearjax.forecast.disk_settings import HistorySettings
from tests.forecast.small_disk import centre, small_disk, small_header
from tests.forecast.test_disk_alarms import MM, make_places
from tests.forecast.test_disk_maps import make_places as map_places
from tests.hand_made import DOMAIN

START = 55600.0
L0, B0 = centre(small_header())


def frame(hours: float, north_mm=(), probability=0.7, **columns) -> Table:
  """Returns the alarms of a frame: one at each of these places on a meridian."""
  places = make_places(north_mm, np.broadcast_to(probability, len(north_mm)), **columns)
  time = Time(START + hours / 24, format='mjd').isot
  return find_alarms(places, 0.5, 5.0, DOMAIN, f'{hours:05.1f}.fits', time)


def linked(*frames: Table, **changes) -> Table:
  parts = [part.copy() for part in frames]
  for part in parts:
    part.meta = {}
  return link_alarms(vstack(parts), HistorySettings(**changes))


def test_alarms_of_one_place_have_one_number_whatever_the_order_of_frames():
  frames = [frame(0, [0, 200]), frame(5, [20]), frame(10, [38, 205]), frame(15, [500])]
  for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
    alarms = linked(*(frames[number] for number in order))
    assert [str(file) for file in alarms['file']] == [
      '000.0.fits', '000.0.fits', '005.0.fits', '010.0.fits', '010.0.fits', '015.0.fits'
    ]  # fmt: skip
    place = {(row['file'], round(row['latitude'] / MM)): row['place'] for row in alarms}
    # 38 Mm from the first alarm, but 18 from the last one.
    assert place['000.0.fits', 0] == place['005.0.fits', 20] == place['010.0.fits', 38]
    assert place['000.0.fits', 200] == place['010.0.fits', 205]
    assert len({place['000.0.fits', 0], place['000.0.fits', 200], place['015.0.fits', 500]}) == 3


def test_a_place_has_one_alarm_in_a_frame_and_a_long_pause_ends_it():
  alarms = linked(frame(0, [0]), frame(5, [10, 25]))
  assert sorted(alarms['place']) == [1, 1, 2] and alarms[alarms['place'] == 1]['latitude'][1] == pytest.approx(10 * MM)
  # The pair that is nearest in sum, not the nearest first.
  alarms = linked(frame(0, [0, 30]), frame(5, [28, 58]))
  number = {(str(row['file']), round(row['latitude'] / MM)): row['place'] for row in alarms}
  assert number['000.0.fits', 0] == number['005.0.fits', 28] and number['000.0.fits', 30] == number['005.0.fits', 58]
  assert len(set(linked(frame(0, [0]), frame(47, [0]))['place'])) == 1
  assert len(set(linked(frame(0, [0]), frame(49, [0]))['place'])) == 2
  assert len(set(linked(frame(0, [0]), frame(49, [0]), gap_hours=50.0)['place'])) == 1
  assert len(linked(frame(0), frame(1))) == 0


def test_table_of_places():
  named = frame(10, [10], 0.9, mu=0.3)
  named['noaa'] = 11158
  places = place_table(linked(frame(0, [0], 0.6), named, frame(3, [400], 0.55)))
  assert list(places['place']) == [1, 2] and list(places['alarms']) == [2, 1]
  first = places[0]
  assert first['first_alarm'].startswith('2011-02-08T00:00') and first['peak_time'] == first['last_alarm']
  assert (first['peak'], first['outside'], first['noaa']) == (0.9, 1, 11158)
  assert first['latitude'] == pytest.approx(5 * MM) and first['longitude'] == pytest.approx(100)
  assert len(place_table(linked(frame(0)))) == 0
  # Around 0 deg of longitude the mean is no 180.
  east, west = frame(0, [0]), frame(1, [0])
  east['longitude'], west['longitude'] = 359.5, 0.5
  assert place_table(linked(east, west))['longitude'][0] % 360 == pytest.approx(0, abs=1e-9)


@pytest.fixture
def maps(tmp_path):
  """Maps of three frames in which one place goes up, and another is seen in the last alone."""
  disk = small_disk(tmp_path)

  def drawn(probability: float, both: bool):
    east = [L0, L0 + 30] if both else [L0]
    return draw_disk(disk, map_places(east, [B0] * len(east), probability), pixel_mm=20.0)

  steps = ((6.0, 0.7, True), (0.0, 0.1, False), (3.0, 0.4, False))
  return [
    (f'{hours}.fits', Time(START + hours / 24, format='mjd').isot, drawn(probability, both))
    for hours, probability, both in steps
  ]


def test_history_also_tells_of_frames_without_alarm(maps):
  places = Table({'place': [1, 2], 'longitude': [L0, L0 + 30], 'latitude': [B0, B0]})
  history = history_table(places, iter(maps))
  assert list(history['place']) == [1, 1, 1, 2]
  np.testing.assert_allclose(history['probability'], [0.1, 0.4, 0.7, 0.7], atol=1e-6)
  assert list(history['file']) == ['0.0.fits', '3.0.fits', '6.0.fits', '6.0.fits']
  assert len(history_table(Table({'place': [1], 'longitude': [L0 + 180], 'latitude': [0.0]}), iter(maps))) == 0


def test_first_alarm_against_known_emergences(maps):
  emergences = Table(
    {
      'noaa': [1, 2, 3],
      'longitude': [100.0, 100.0, L0],
      'latitude': [10 * MM, 900 * MM, B0],
      'mjd': [START + 1.0, START + 1.0, START + 4 / 24],
    }
  )
  alarms = linked(frame(20, [8]), frame(3, [0, 300]), frame(30, [905]))
  looks = history_table(emergences, iter(maps), 'noaa')
  early, late, never = warning_table(emergences, alarms, looks, HistorySettings())
  assert early['lead_hours'] == pytest.approx(21) and early['distance_mm'] == pytest.approx(10, abs=0.1)
  assert early['first_alarm'].startswith('2011-02-08T03:00') and early['place'] == alarms['place'][0]
  assert late['lead_hours'] == pytest.approx(-6)
  assert np.isnan(never['lead_hours']) and never['first_alarm'] == '-' and never['place'] == 0
  # Two frames look at it before it emerges; the third does afterwards.
  assert never['looks'] == 2 and never['peak_before'] == pytest.approx(0.4)
  assert early['looks'] == 0 and np.isnan(early['peak_before']) and early['first_look'] == '-'
  nothing = warning_table(emergences, linked(frame(0)), looks, HistorySettings())
  assert list(nothing['place']) == [0, 0, 0]
  (one,) = warning_table(emergences[:1], alarms, looks, HistorySettings(lead_hours=10.0))
  assert one['lead_hours'] == pytest.approx(4)


def test_places_beside_an_emergence_tell_what_chance_does():
  emergences = Table({'noaa': [7, 8], 'longitude': [350.0, 10.0], 'latitude': [0.0, 20.0], 'mjd': [START, START + 1]})
  compared = compared_places(emergences)
  assert sorted(compared['longitude'][compared['noaa'] == 7]) == [10.0, 20.0, 30.0, 310.0, 320.0, 330.0]
  assert set(compared['latitude'][compared['noaa'] == 8]) == {20.0} and len(set(compared['number'])) == 12
  warned = Table({'noaa': [7, 8], 'looks': [4, 0]})
  other = Table({'looks': [4] * 12, 'lead_hours': [np.nan] * 12})
  own = np.flatnonzero(compared['noaa'] == 7)
  # One was warned of in time, one too late, one in time but hardly looked at.
  other['lead_hours'][own[:3]] = [5.0, -5.0, 5.0]
  other['looks'][own[2]] = 1
  share, unknown = chance_of_warning(warned, compared, other)
  assert share == pytest.approx(1 / 5) and np.isnan(unknown)


def test_settings_must_be_positive():
  for name in ('link_mm', 'gap_hours', 'lead_hours'):
    with pytest.raises(ValueError, match=f'{name} must be positive'):
      HistorySettings(**{name: 0.0})
