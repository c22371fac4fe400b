"""Daily reports of regions: NOAA's, and those of a user."""

import shutil

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from sunpy.coordinates import sun

from hearjax.files import write_table
from hearjax.observe.building.columns import full_number
from hearjax.observe.building.sightings import read_sightings
from tests.observe.building.reports import SRS

HEADER = 'noaa,mjd,latitude,longitude\n'


@pytest.fixture(scope='module')
def reports() -> Table:
  return read_sightings(SRS)


def rows_of(table, date):
  return table[table['mjd'] == Time(date).mjd]


def user_table(tmp_path, text):
  path = tmp_path / 'regions.csv'
  path.write_text(text)
  return path


# --- NOAA's reports -----------------------------------------------------------------------------------------------


def test_a_report_holds_at_the_end_of_the_day_before_its_issue(reports):
  rows = rows_of(reports, '2022-01-06')
  assert list(rows['noaa']) == [12907, 12908, 12919, 12922, 12924, 12925]
  assert list(rows['section']) == ['II', 'II', 'IA', 'IA', 'I', 'I']
  row = rows[4]  # 2924 S31E34   043  0030 Cao
  assert [row[name] for name in ('latitude', 'longitude', 'cmd', 'area')] == [-31, 43, -34, 30]
  assert len(rows_of(reports, '2015-01-01')) == 9  # Valid at 31/2400Z: of the year before.


def test_numbers_around_10000_are_told_by_their_time(reports):
  rows = rows_of(reports, '2002-06-24')
  assert {9973, 9975, 9978, 9997, 10001, 10014} <= set(rows['noaa'].tolist())
  assert rows['noaa'].max() == 10014


@pytest.mark.parametrize(
  ('number', 'date', 'expected'),
  [
    (7938, '1996-01-06', 7938),
    (9999, '2002-06-15', 9999),
    (0, '2002-06-15', 10000),
    (1158, '2011-02-12', 11158),
    (11158, '2011-02-12', 11158),
    (4274, '2025-11-11', 14274),
  ],
)
def test_four_digits_and_a_time_make_a_number(number, date, expected):
  assert full_number(number, Time(date).mjd) == expected


def test_reports_that_sunpy_alone_cannot_read_are_read(reports):
  assert list(rows_of(reports, '2010-02-28')['noaa']) == [11050, 11051]  # '1045 N19' lacks its longitude.
  assert list(rows_of(reports, '1996-12-09')['noaa']) == [8003]  # 'NMBR LAT    LO7997 N05    242'.


def test_longitudes_of_reports_are_those_of_sunpy(reports):
  """NOAA writes whole degrees, and so does it reckon with its central meridian."""
  on_disk = reports[reports['section'] != 'II']
  offset = np.asarray(on_disk['longitude'] - on_disk['cmd']) - sun.L0(Time(on_disk['mjd'], format='mjd')).deg
  offset = (offset + 180) % 360 - 180
  assert np.median(np.abs(offset)) < 1 and np.abs(offset).max() < 4


def test_regions_due_to_return_are_behind_the_east_limb(reports):
  returning = reports[reports['section'] == 'II']
  assert len(returning) and np.all((returning['cmd'] < -85) & (returning['cmd'] > -135))


def test_one_report_is_enough(reports):
  alone = read_sightings(SRS / '20220105SRS.txt')
  assert alone.meta['reports'] == [59584.0]
  assert list(alone['noaa']) == list(rows_of(reports, '2022-01-05')['noaa'])


def test_a_report_without_regions_counts_as_a_report(tmp_path):
  lines = (SRS / '20150906SRS.txt').read_text().splitlines()
  rows = [line for line in lines if not line[:4].isdigit()]
  for start in ('I. ', 'IA.'):
    place = next(number for number, line in enumerate(rows) if line.startswith(start))
    rows.insert(place + 2, 'None')
  (tmp_path / '20150906SRS.txt').write_text('\n'.join(rows))
  table = read_sightings(tmp_path)
  assert len(table) == 0 and table.meta['reports'] == [57271.0]


def test_what_is_written_is_read_again(reports, tmp_path):
  table = reports[reports['mjd'] > 59000]
  table.meta = {}
  write_table(tmp_path / 'sightings.ecsv', table)
  again = read_sightings(tmp_path / 'sightings.ecsv')
  for name in table.colnames:
    assert list(again[name]) == list(table[name])
  assert again.meta['reports'] == [59583.0, 59584.0, 59585.0]


def test_an_unreadable_report_is_left_out_and_told(tmp_path):
  for name in ('20220105SRS.txt', '20220106SRS.txt'):
    shutil.copy(SRS / name, tmp_path)
  (tmp_path / '20220107SRS.txt').write_text('No report today.\n')
  with pytest.warns(
    UserWarning, match='1 reports or rows of .* cannot be used and are left out, such as .*20220107SRS'
  ):
    table = read_sightings(tmp_path)
  assert table.meta['reports'] == [59584.0, 59585.0]


def test_a_row_that_contradicts_itself_is_left_out_and_told(tmp_path):
  text = (SRS / '20220106SRS.txt').read_text().replace('2924 S31E34', '2924 S31W34')
  (tmp_path / '20220106SRS.txt').write_text(text)
  with pytest.warns(UserWarning, match='such as NOAA 12924 in .*its longitudes contradict each other'):
    assert 12924 not in read_sightings(tmp_path)['noaa']


def test_a_folder_of_no_use_is_refused(tmp_path):
  with pytest.raises(ValueError, match='holds no Solar Region Summary'):
    read_sightings(tmp_path)
  (tmp_path / '20220107SRS.txt').write_text('No report today.\n')
  with pytest.raises(ValueError, match=r'None of the Solar Region Summaries in .* can be read'):
    read_sightings(tmp_path)
  with pytest.raises(FileNotFoundError, match='There is no table of sightings'):
    read_sightings(tmp_path / 'nowhere')


def test_two_reports_of_one_day_are_refused(tmp_path):
  for name in ('20220105SRS.txt', 'SRS_of_the_5th.txt'):
    shutil.copy(SRS / '20220105SRS.txt', tmp_path / name)
  with pytest.raises(ValueError, match='are reports of one day; remove one of them'):
    read_sightings(tmp_path)


# --- A user's table -----------------------------------------------------------------------------------------------


def test_one_longitude_gives_the_other(tmp_path, reports):
  """Row 2409 N06W02   019 of the report for the end of 2015-09-05."""
  row = rows_of(reports, '2015-09-06')[2]
  assert row['noaa'] == 12409
  west = read_sightings(user_table(tmp_path, 'noaa,time,latitude,cmd\n12409,2015-09-06T00:00:00,6,2\n'))
  assert west['longitude'][0] == pytest.approx(19.1, abs=0.1) and west['mjd'][0] == row['mjd']
  carrington = read_sightings(user_table(tmp_path, HEADER + '2409,57271,6,379\n'))  # Four digits, a turn too many.
  assert carrington['noaa'][0] == 12409 and carrington['longitude'][0] == pytest.approx(19)
  assert carrington['cmd'][0] == pytest.approx(1.9, abs=0.1)
  assert carrington['section'][0] == 'I' and carrington['area'][0] == 0


def test_a_column_of_times_keeps_its_clock(tmp_path):
  table = Table({'noaa': [11158], 'latitude': [-20.0], 'longitude': [35.0]})
  table['time'] = Time(['2011-02-14T00:00:34'], scale='tai')
  table.write(tmp_path / 'regions.ecsv')
  assert read_sightings(tmp_path / 'regions.ecsv')['mjd'][0] == pytest.approx(Time('2011-02-14').mjd, abs=1e-9)


def test_days_without_rows_lie_within_the_time_of_a_table(tmp_path):
  table = read_sightings(user_table(tmp_path, HEADER + '11158,55605,-20,35\n11158,55608,-20,35\n'))
  assert table.meta['reports'] == [55605.0, 55606.0, 55607.0, 55608.0]


def test_unknown_columns_are_named_and_ignored(tmp_path):
  path = user_table(tmp_path, 'noaa,mjd,latitude,longitude,harp,comment\n11158,55605,-20,35,377,big\n')
  with pytest.warns(UserWarning, match='the columns harp, comment are ignored; a table of sightings knows noaa, mjd'):
    assert len(read_sightings(path)) == 1


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (
      'noaa,mjd,lat,longitude\n11158,55605,-20,35\n',
      'lacks the columns latitude: .*it does not know lat; name them so',
    ),
    ('noaa,latitude,longitude\n11158,-20,35\n', 'lacks the columns mjd or time'),
    (HEADER, 'has no rows'),
    (HEADER + '11158,2455605.5,-20,35\n', r'row 1: mjd is 2455605.5; .* A modified Julian date \(UTC\) is needed'),
    ('noaa,time,latitude,cmd\n11158,2011-02-30T00:00:00,-20,35\n', 'row 1, time: .*2011-02-30.* is not a time'),
    ('noaa,time,latitude,cmd\n11158,2011-02-14,-20,35\n', 'is a day without a time of day'),
    pytest.param(
      'noaa,time,latitude,cmd\n11158,1610-02-14T00:00:00,-20,35\n',
      'row 1: time is 1610-.* not of our time',
      marks=pytest.mark.filterwarnings('ignore:.*dubious year'),
    ),
    (HEADER + '11158,55605,-95,35\n', 'row 1: latitude is -95; it must lie between -90 and 90'),
    (HEADER + '11158,55605,south,35\n', 'Column latitude of .* holds what is no number'),
    (HEADER + '11158,55605,,35\n11162,55605,10,35\n', 'row 1: latitude is empty'),
    (HEADER + '11158.5,55605,-20,35\n', 'noaa is 11158.5; a whole number is needed'),
    (HEADER + '-1,55605,-20,35\n', 'row 1: noaa is -1; it must lie between 1 and 99999'),
    (HEADER + '11158,55605,-20,35\n11158,55605.5,-20,35\n', 'has NOAA 11158 twice on one day, 2011-02-13'),
    ('noaa,mjd,latitude,longitude,section\n11158,55605,-20,35,III\n', "section is 'III'; known are I, IA, II"),
    # At the end of 2015-09-05 the central meridian was at 17.1 deg.
    ('noaa,mjd,latitude,longitude,cmd\n12411,57271,13,327,50\n', 'look at the sign .* and the time'),
    ('noaa,mjd,latitude,longitude,cmd\n12411,57272,13,327,-50\n', 'look at the sign .* and the time'),
    (
      'noaa,mjd,time,latitude,longitude\n12411,57271.0,2015-09-06T00:00:36,13,327\n',
      'mjd is 2015-09-06T00:00:00 and time is 2015-09-06T00:00:36; both must be the same UTC',
    ),
  ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    read_sightings(user_table(tmp_path, text))
