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
    ('2012.08.01_00:00:35_TAI', 'utc', '2012-08-01T00:00:00'),  # 35 s after the leap second of June 2012.
  ],
)
def test_times_of_jsoc_and_iso(text, scale, expected):
  assert abs((times.parse_time(text, scale) - Time(expected, scale='utc')).to_value('s')) < 1e-3
