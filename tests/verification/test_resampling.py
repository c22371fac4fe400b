"""The bootstrap: whole units are drawn, and an interval is that of the percentiles."""

import numpy as np
import pytest

from hearjax.verification.resampling import confidence_interval, draw_counts, draw_rows


def test_units_are_drawn_whole():
  pair = np.array([0, 0, 1, 2, 2, 2])
  drawn = draw_rows(pair, 20, 0)
  counts = draw_counts(3, 20, 0)
  assert np.all(counts.sum(axis=1) == 3)
  np.testing.assert_array_equal(drawn, counts[:, pair])


def test_no_sample_is_told():
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    draw_counts(3, 0, 0)


def test_the_interval_leaves_out_what_has_no_value():
  samples = np.stack([np.append(np.arange(1001.0), np.nan), np.full(1002, np.nan)], axis=1)
  low, high = confidence_interval(samples)
  np.testing.assert_allclose([low[0], high[0]], [25, 975])
  assert np.isnan(low[1]) and np.isnan(high[1])
  np.testing.assert_array_equal(confidence_interval(samples.T, axis=-1), [low, high])
