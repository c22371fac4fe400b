"""Fill values whose keyword was lost, and what only looks like one."""

import numpy as np
import pytest
from astropy.io import fits

from hearjax.survey.pixels import fill_value, lost_blanks, mask_lost


@pytest.mark.parametrize(
  ('bits', 'zero', 'scale', 'blanks'),
  [
    (16, 0, 1, (-32768, 32767)),
    (16, 0, 0.1, (-3276.8, 3276.7)),
    (32, 5, 0.5, (5 - 2**30, 5 + (2**31 - 1) / 2)),
    (16, 32768, 1, ()),  # Unsigned: the smallest stands for 0.
    (8, 0, 1, ()),
    (-32, 0, 1, ()),
  ],
)
def test_the_ends_of_the_integers_stand_for_blank(bits, zero, scale, blanks):
  header = fits.Header({'BITPIX': bits, 'BZERO': zero, 'BSCALE': scale})
  assert lost_blanks(header) == pytest.approx(blanks)
  header['BLANK'] = -1
  assert lost_blanks(header) == ()


def test_what_cannot_be_a_field_is_missing():
  field = np.random.default_rng(0).normal(0, 10, (2, 20, 20))
  expected = field.copy()
  for value, place in ((np.inf, (0, 0, 0)), (-1.8e308, (0, 3, 3)), (-9999, (1, 5, 5)), (-3276.8, (1, 7, 8))):
    field[place], expected[place] = value, np.nan
  masked = mask_lost(field, -3276.8, None)
  assert masked.dtype == np.float32
  np.testing.assert_array_equal(masked, expected.astype(np.float32))


def test_a_fill_value_stands_alone():
  rng = np.random.default_rng(0)
  field = rng.normal(0, 100, (40, 40))
  assert fill_value(field) is None
  for fill, count, found in ((-999.0, 4, True), (-999.0, 3, False), (-800.0, 20, False), (999.0, 20, False)):
    with_fill = field.copy()
    with_fill.flat[rng.permutation(field.size)[:count]] = fill
    assert fill_value(with_fill) == (fill if found else None)


def test_a_strong_or_clipped_field_has_none():
  rng = np.random.default_rng(0)
  strong = rng.normal(0, 2000, (40, 40))
  for field in (strong, np.clip(strong, -1500, 1500), np.clip(strong, -1500, 9000), np.zeros((4, 4))):
    assert fill_value(field) is None
  poles = np.zeros((20, 20))
  poles[5:9, 2:6], poles[5:9, 12:16] = -1500.0, 1500.0  # Drawn by hand.
  assert fill_value(poles) is None
  assert fill_value(np.full((2, 2), np.nan)) is None
