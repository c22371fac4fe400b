"""Fill values whose keyword was lost, and what only looks like one."""

import numpy as np
import pytest
from astropy.io import fits

from hearjax.survey.pixels import lost_blank, mask_lost


@pytest.mark.parametrize(
  ('bits', 'zero', 'scale', 'blank'),
  [
    (16, 0, 1, -32768),
    (16, 0, 0.1, -3276.8),
    (32, 5, 0.5, 5 - 2**30),
    (16, 32768, 1, None),  # Unsigned: the smallest stands for 0.
    (8, 0, 1, None),
    (-32, 0, 1, None),
  ],
)
def test_the_smallest_integer_stands_for_blank(bits, zero, scale, blank):
  found = lost_blank(fits.Header({'BITPIX': bits, 'BZERO': zero, 'BSCALE': scale}))
  assert found == (None if blank is None else pytest.approx(blank))


def test_what_cannot_be_a_field_is_missing():
  field = np.random.default_rng(0).normal(0, 10, (2, 20, 20))
  expected = field.copy()
  for value, place in ((np.inf, (0, 0, 0)), (1e20, (0, 3, 3)), (-9999, (1, 5, 5)), (-3276.8, (1, 7, 8))):
    field[place], expected[place] = value, np.nan
  field[0, 10:13, 2:6] = expected[0, 10:13, 2:6] = -999.0
  expected[0, 10:13, 2:6] = np.nan
  masked = mask_lost(field, blank=-3276.8)
  assert masked.dtype == np.float32
  np.testing.assert_array_equal(masked, expected.astype(np.float32))


def test_a_field_is_left_alone():
  rng = np.random.default_rng(0)
  strong = rng.normal(0, 2000, (20, 20)).round(1).astype(np.float32)  # Single neighbours may be equal.
  strong[5, 5:9] = 1500.0
  weak = np.full((20, 20), 300.0, np.float32)
  for field in (strong, weak, np.zeros((4, 4), np.float32), np.full((2, 2), 1500.0, np.float32)):
    np.testing.assert_array_equal(mask_lost(field, blank=-32768.0), field)
