"""Which regions emerged on the disk."""

import dataclasses

import pytest
from astropy.time import Time

from hearjax.observe.building.catalogue import CatalogueSettings, find_emergers, read_emergers
from hearjax.observe.building.sightings import disk_centre, read_sightings
from tests.observe.building.reports import SRS, daily, longitude_at, make_sightings

FIRST, DAYS = 55600.0, 60
BORN = FIRST + 45  # More than the 41 days after the first report in which a region may return.
PLACE = longitude_at(BORN, -30)


def judge(rows, **settings):
  """Returns the numbers of the regions that emerged, and number -> reason of the others."""
  emergers, rejected = find_emergers(make_sightings(rows, FIRST, DAYS), CatalogueSettings(**settings))
  return [emerger.noaa for emerger in emergers], dict(zip(rejected['noaa'], rejected['reason'], strict=True))


def test_a_region_that_appears_on_the_disk_is_found_where_it_first_stood():
  rows = daily(11500, BORN, 6, PLACE, 15) + daily(11400, FIRST, 8, PLACE + 80, -20)
  emergers, rejected = find_emergers(make_sightings(rows, FIRST, DAYS), CatalogueSettings())
  assert len(emergers) == 1
  found = emergers[0]
  assert (found.noaa, found.latitude, found.first_report_mjd) == (11500, 15, BORN)
  assert found.longitude == pytest.approx(PLACE) and found.cmd == pytest.approx(-30)
  assert found.emergence_mjd is None
  assert list(rejected['noaa']) == [11400]  # It was there from the first report on.
  assert rejected['first_report'][0] == Time(FIRST, format='mjd').isot[:19]


def test_the_one_of_the_real_reports_is_found():
  """NOAA 12924 is in the report of 2022 January 5 and not in that of the 4th, at E48; 12925 came over the limb."""
  emergers, rejected = find_emergers(read_sightings(SRS), CatalogueSettings())
  assert [(one.noaa, one.latitude, one.longitude, one.cmd) for one in emergers] == [(12924, -32, 42, -48)]
  reasons = dict(zip(rejected['noaa'], rejected['reason'], strict=True))
  assert reasons[12925] == 'first reported 69 deg from the central meridian, beyond 60'
  assert 12907 not in reasons  # Due to return, never on the disk.


@pytest.mark.parametrize(
  ('others', 'reason'),
  [
    (daily(11450, BORN - 27, 4, PLACE + 6, 12), r'lies within 10 deg of where NOAA 11450 was reported for 2011-'),
    (daily(11450, BORN - 1, 9, PLACE - 9, 15), 'lies within 10 deg of where NOAA 11450'),
    (daily(11499, BORN, 3, PLACE + 5, 15), 'lies within 10 deg of where NOAA 11499'),
    (daily(11450, BORN - 9, 1, PLACE + 5, 15, 'II'), 'lies within 10 deg of where NOAA 11450'),
    (daily(11500, BORN - 9, 1, PLACE, 15, 'II'), 'lies within 10 deg of where NOAA 11500'),
    (daily(11450, BORN - 27, 4, PLACE + 11, 15), None),
    (daily(11450, BORN - 27, 4, PLACE, 4), None),
    (daily(11450, BORN - 43, 1, PLACE, 15), None),
    (daily(11501, BORN + 1, 3, PLACE + 5, 15), None),
  ],
)
def test_a_place_with_an_earlier_region_is_left_out(others, reason):
  emergers, rejected = judge(daily(11500, BORN, 6, PLACE, 15) + others)
  assert (11500 in emergers) == (reason is None)
  if reason:
    assert rejected[11500].startswith(reason)


def test_what_appears_near_the_limb_is_left_out():
  assert '70 deg from the central meridian' in judge(daily(11500, BORN, 6, longitude_at(BORN, -70), 0))[1][11500]
  assert '70 deg from the central meridian' in judge(daily(11500, BORN, 6, longitude_at(BORN, 70), 0))[1][11500]
  near = daily(11500, BORN, 6, longitude_at(BORN, -70), 0)
  # 20 deg at 13.2 deg a day.
  assert 'first reported 36 h after its place came over the east limb' in judge(near, max_cmd_deg=80)[1][11500]
  assert judge(near, max_cmd_deg=80, hours_on_disk=36)[0] == [11500]


def test_a_region_after_a_pause_of_the_reports_may_have_been_there_before():
  table = make_sightings(daily(11500, BORN, 6, PLACE, 15), FIRST, DAYS)
  table.meta['reports'].remove(BORN - 1)
  assert 'no report within 36 h' in find_emergers(table, CatalogueSettings())[1]['reason'][0]
  assert len(find_emergers(table, CatalogueSettings(max_gap_hours=48))[0]) == 1


def test_faint_and_short_lived_regions_are_left_out():
  assert judge(daily(11500, BORN, 6, PLACE, 15, 'IA'))[1][11500] == 'never had spots'
  assert judge(daily(11500, BORN, 6, PLACE, 15, 'IA'), needs_spots=False)[0] == [11500]
  assert judge(daily(11500, BORN, 1, PLACE, 15))[1][11500] == 'listed by 1 report, fewer than 2'


def test_settings_are_checked():
  with pytest.raises(ValueError, match='max_cmd_deg must lie between 0 and 90'):
    CatalogueSettings(max_cmd_deg=95)
  with pytest.raises(ValueError, match='separation_deg must be finite and not negative'):
    CatalogueSettings(separation_deg=-1)


# --- A user's table -----------------------------------------------------------------------------------------------


def emergers_of(tmp_path, text, sightings=None):
  path = tmp_path / 'emergers.csv'
  path.write_text(text)
  return read_emergers(path, sightings)


def test_numbers_alone_take_the_rest_from_the_reports(tmp_path):
  sightings = read_sightings(SRS)
  found = emergers_of(tmp_path, 'noaa\n12924\n12409\n', sightings)
  assert [one.noaa for one in found] == [12409, 12924]
  assert (found[1].latitude, found[1].longitude, found[1].first_report_mjd) == (-32, 42, 59584)
  assert found[1].cmd == pytest.approx(-48, abs=0.2)  # By sunpy.
  assert dataclasses.replace(found[1], cmd=-48.0) == find_emergers(sightings, CatalogueSettings())[0][0]


def test_a_table_may_tell_everything(tmp_path):
  text = 'noaa,latitude,longitude,emergence_time,first_report_time\n11158,-20,34.5,2011-02-10T21:00:00,\n'
  (found,) = emergers_of(tmp_path, text)
  assert found.emergence_mjd == pytest.approx(Time('2011-02-10T21:00:00').mjd)
  assert found.first_report_mjd == found.emergence_mjd
  assert found.cmd == pytest.approx(34.5 - disk_centre(found.emergence_mjd)[0])
  (found,) = emergers_of(tmp_path, text.replace('21:00:00,', '21:00:00,2011-02-12T00:00:00'))
  assert found.first_report_mjd == 55604


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('number\n11158\n', 'lacks the columns noaa: .*it does not know number'),
    ('noaa\n11158\n11158\n', 'has NOAA 11158 twice'),
    ('noaa\n11158\n', r'position of 1 of 1 regions \(NOAA 11158\), and there are no reports: add the columns latitude'),
    ('noaa,latitude,longitude\n11158,-20,34\n', 'does not tell the first report of 1 of 1 regions'),
    ('noaa,latitude,emergence_time\n11158,-20,2011-02-10T21:00:00\n', 'NOAA 11158 has a latitude or a longitude alone'),
    ('noaa,latitude,longitude,emergence_time\n11158,-20,34,yesterday\n', "row 1, emergence_time: 'yesterday' is not"),
    # 180 deg from where it was.
    ('noaa,latitude,longitude,emergence_time\n11158,-20,214,2011-02-10T21:00:00\n', 'NOAA 11158 is beyond the limb'),
  ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    emergers_of(tmp_path, text)


def test_regions_that_no_report_lists_are_named(tmp_path):
  """As of a published list: numbers, days of the first report, and columns of its own."""
  text = 'noaa,first_srs_date\n' + ''.join(f'{noaa},20110212\n' for noaa in range(11158, 11166)) + '12924,20220105\n'
  message = r'position of 8 of 9 regions \(NOAA 11158, 11159, 11160, 11161, 11162 …\), and the reports do not list them'
  with pytest.warns(UserWarning, match='first_srs_date are ignored'), pytest.raises(ValueError, match=message):
    emergers_of(tmp_path, text, read_sightings(SRS))
