"""The time keywords of FITS and JSOC."""

import pytest
from astropy.time import Time

from hearjax.observe import times


@pytest.mark.parametrize(
  ('text', 'scale', 'expected'),
  [
    ('2011.02.14_20:35:15_TAI', 'utc', '2011-02-14T20:34:41'),  # TAI was 34 s ahead of UTC in 2011.
    ('2011-02-14T20:35:15.50', 'tai', '2011-02-14T20:34:41.500'),
    ('2011-02-14T20:35:15Z', 'tai', '2011-02-14T20:35:15'),
    ('2011-02-14 20:35', 'utc', '2011-02-14T20:35:00'),
    ('2011/2/14 20:35:15.', 'utc', '2011-02-14T20:35:15'),
    ('2011/2/14 8:35', 'utc', '2011-02-14T08:35:00'),
    ('2011-02-14T20:35:15 TT', 'utc', '2011-02-14T20:34:08.816'),  # TT is ahead of TAI by 32.184 s.
    ('2012.08.01_00:00:35_TAI', 'utc', '2012-08-01T00:00:00'),  # 35 s after the leap second of June 2012.
  ],
)
def test_times_of_jsoc_and_iso(text, scale, expected):
  assert abs((times.parse_time(text, scale) - Time(expected, scale='utc')).to_value('s')) < 1e-3


def test_a_time_of_day_of_its_own_is_used_or_refused():
  expected = Time('2011-02-14T20:35:15', scale='utc')
  for date in ('2011-02-14', '2011-02-14T00:00:00.000', '2011-02-14T20:35:15'):
    assert abs((times.parse_time(date, clock='20:35:15Z') - expected).to_value('s')) < 1e-3
  with pytest.raises(ValueError, match='two times of day'):
    times.parse_time('2011-02-14T20:35:15', clock='08:35:15')
  with pytest.raises(ValueError, match='a day without a time of day'):
    times.parse_time('2011-02-14')


@pytest.mark.parametrize('text', ['soon', '14/02/2011', '2011-02-30T00:00:00', '2011-02-14T25:00:00', '20110214', ''])
def test_what_is_no_time_is_refused(text):
  with pytest.raises(ValueError, match='is not a time'):
    times.parse_time(text)
