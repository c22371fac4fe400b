"""Patch tables, by hand."""

import numpy as np
import pytest
from astropy import units as u

from hearjax.forecast.patches import COLUMNS, forecast_patches
from hearjax.observe.postel import Patch
from tests.hand_made import DOMAIN


def make_patch(field: np.ndarray, **changes) -> Patch:
  known = {'longitude': 10.0, 'latitude': -5.0, 'cmd': 3.0, 'mu': 0.9, 'missing': 0.0, 'quality': 0}
  return Patch(np.asarray(field, np.float32), **(known | changes), time='2011-02-14T00:00:00.000', pixel_scale_mm=1.0)


def small_domain(**changes) -> dict:
  return DOMAIN | {'size': 4, 'pixel_scale_mm': 1.0, 'peak_gauss': [0.0, 900.0]} | changes


def test_score_patches_by_hand():
  first, second = np.full((4, 4), 25.0), np.full((4, 4), -50.0)
  second[0, 0] = np.nan
  patches = [make_patch(first, file='a'), make_patch(second, file='b', missing=1 / 16, quality=66560, notes='said so')]
  logits = np.array([[0.0, 4.0], [2.0, -4.0]])
  given = []
  table = forecast_patches(lambda field: (given.append(field), logits)[1], patches, small_domain())
  assert tuple(table.colnames) == COLUMNS
  assert given[0].shape == (2, 4, 4) and np.isnan(given[0][1, 0, 0])
  sigmoid = lambda value: 1 / (1 + np.exp(-value))  # noqa: E731
  np.testing.assert_allclose(table['probability'], [sigmoid(1.0), 0.5])
  # Two members: half the difference of their probabilities.
  np.testing.assert_allclose(table['probability_std'], [(sigmoid(2) - 0.5) / 2, (sigmoid(4) - sigmoid(-4)) / 2])
  np.testing.assert_allclose(table['unsigned_flux'].quantity.to_value(u.Mx), [16 * 25e16, 15 * 50e16], rtol=1e-6)
  np.testing.assert_allclose(table['peak_field'].quantity.to_value(u.G), [25, 50])
  assert list(table['note']) == ['', 'QUALITY 0x00010400; said so']
  assert list(table['outside']) == ['flux 4e+18 Mx below 1e+20', 'flux 7.5e+18 Mx below 1e+20']
  assert [table[name].unit for name in ('longitude', 'latitude', 'cmd')] == [u.deg] * 3


def test_score_patches_at_a_prior():
  logits = np.array([[0.0, 4.0], [2.0, -4.0]])
  table = forecast_patches(lambda field: logits, [make_patch(np.ones((4, 4)))] * 2, small_domain(), prior=0.2)
  # Odds of 1 to 4 beside the likelihood ratio exp(logit).
  np.testing.assert_allclose(table['probability'], [np.e / (np.e + 4), 1 / 5])
  assert table.meta['prior'] == 0.2


def test_score_patches_wants_the_grid_of_the_training():
  with pytest.raises(ValueError, match='no patch to forecast for'):
    forecast_patches(np.zeros, [], DOMAIN)
  with pytest.raises(ValueError, match='map the patch to that grid'):
    forecast_patches(np.zeros, [make_patch(np.zeros((5, 5)))], small_domain())
  with pytest.raises(ValueError, match='map the patch to that grid'):
    forecast_patches(np.zeros, [make_patch(np.zeros((4, 4)))], small_domain(pixel_scale_mm=2.0))
