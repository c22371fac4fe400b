"""Reliability and what the Brier score is made of: by hand, against `scores`, of forecasts that mean what they say."""

import numpy as np
import pytest
import xarray
from scipy.special import expit
from scores.probability import brier_score, isotonic_fit

from hearjax.verification.reliability import brier_parts, calibration_table, reliability_curve
from tests.hand_made import make_table, random_table


def honest(n, seed=0):
  """Returns labels that follow their probabilities."""
  rng = np.random.default_rng(seed)
  probability = rng.uniform(size=n)
  return (rng.uniform(size=n) < probability).astype(int), probability


def test_brier_parts_by_hand():
  # In order of probability the outcomes are 0 1 0 1: the middle two pool to one half.
  label, probability = np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.6, 0.8])
  parts = brier_parts(label, probability)
  assert parts['brier'] == pytest.approx((0.01 + 0.49 + 0.36 + 0.04) / 4)
  assert parts['uncertainty'] == 0.25
  assert parts['discrimination'] == pytest.approx(0.25 - 0.5 / 4)
  assert parts['brier'] == pytest.approx(parts['miscalibration'] - parts['discrimination'] + parts['uncertainty'])


def test_curve_and_score_equal_those_of_scores():
  label, probability = honest(300)
  curve = reliability_curve(label, probability, np.arange(300) // 2, 20, 0)
  theirs = isotonic_fit(xarray.DataArray(probability, dims='n'), xarray.DataArray(label, dims='n'))
  np.testing.assert_allclose(curve['probability'], theirs['fcst_sorted'], atol=1e-12)
  np.testing.assert_allclose(curve['frequency'], theirs['regression_values'], atol=1e-12)
  expected = brier_score(xarray.DataArray(probability, dims='n'), xarray.DataArray(label, dims='n'))
  assert brier_parts(label, probability)['brier'] == pytest.approx(float(expected), abs=1e-12)


def test_a_forecast_that_means_what_it_says_lies_on_the_diagonal():
  label, probability = honest(4000)
  curve = reliability_curve(label, probability, np.arange(4000), 50, 0)
  inside = (curve['probability'] > 0.05) & (curve['probability'] < 0.95)
  assert np.abs(curve['frequency'] - curve['probability'])[inside].max() < 0.12
  covered = (curve['low'] <= curve['probability']) & (curve['probability'] <= curve['high'])
  assert covered[inside].mean() > 0.8
  assert brier_parts(label, probability)['miscalibration'] < 0.005
  assert brier_parts(label, expit(4 * np.log(probability / (1 - probability))))['miscalibration'] > 0.03


def test_bands_are_of_pairs():
  # Every pair eight times over: as many forecasts, no more knowledge.
  label, probability = honest(100)
  alone = reliability_curve(label, probability, np.arange(100), 200, 0)
  repeated = reliability_curve(*(np.tile(each, 8) for each in (label, probability)), np.tile(np.arange(100), 8), 200, 0)
  np.testing.assert_allclose(repeated['low'], alone['low'], atol=1e-9)
  assert np.mean(alone['high'] - alone['low']) > 0.1


def test_calibrating_mends_the_score_and_the_threshold():
  rng = np.random.default_rng(0)
  true = 1.5 * (rng.standard_normal((300, 2, 1)) + np.array([-0.75, 0.75])[:, None])
  rows = calibration_table([make_table(expit(3 * true + 3.0), model='loud')])
  plain, calibrated = rows[rows['of'] == 'probability'][0], rows[rows['of'] == 'calibrated'][0]
  assert plain['miscalibration'] > 0.05 > 0.02 > calibrated['miscalibration']
  assert plain['threshold_gap'] > 0.3 and abs(calibrated['threshold_gap']) < 0.15
  assert plain['discrimination'] == pytest.approx(calibrated['discrimination'], abs=0.01)


def test_what_cannot_be_decomposed_is_left_out():
  after = random_table(n_pairs=8, intervals=(0,), model='after')
  one_class = random_table(n_pairs=8, intervals=(-1,), model='one')
  one_class['label'] = 1
  assert len(calibration_table([after, one_class])) == 0
