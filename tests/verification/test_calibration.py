"""Calibration across folds: forecasts with known distortions, nesting, and no skill out of nothing."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss

from hearjax.checks import UserError
from hearjax.verification.calibration import EACH, HALF, ONE, OWN, RULES, calibrate, fit_calibration, forecast
from hearjax.verification.predictions import average_seeds
from hearjax.verification.scores import contingency, steady_threshold, tss
from tests.hand_made import make_table, random_table


def skill(averaged, rule):
  return tss(contingency(averaged['label'], forecast(averaged, rule)).sum(axis=0))


def test_a_distorted_forecast_is_mended():
  # The log odds of unit Gaussians that are 2 apart; then a third of them, and moved by the interval.
  rng = np.random.default_rng(0)
  true = 2 * (rng.standard_normal((400, 2, 2)) + np.array([-1.0, 1.0])[:, None])
  honest = calibrate(make_table(expit(true), intervals=(-5, -1)))
  distorted = calibrate(make_table(expit(true / 3 + np.array([2.0, -1.5])), intervals=(-5, -1)))
  label = distorted['label']
  assert skill(honest, HALF) > 0.6 and skill(distorted, HALF) < 0.45
  assert skill(distorted, EACH) == pytest.approx(skill(honest, HALF), abs=0.03)
  # One threshold cannot serve two intervals that are moved apart.
  assert skill(distorted, ONE) < skill(distorted, EACH) - 0.15
  assert brier_score_loss(label, distorted['calibrated']) == pytest.approx(
    brier_score_loss(label, honest['probability']), abs=0.005
  )


def test_no_forecast_is_calibrated_with_its_own_label():
  table = random_table(n_pairs=40, skill=1.0, n_folds=4)
  changed = table.copy()
  inside = np.asarray(table['fold'] == 2)
  changed['label'][inside] = 1 - table['label'][inside]
  before, after = calibrate(table), calibrate(changed)
  inside = np.asarray(before['fold'] == 2)
  for name in ('calibrated', 'threshold_one'):
    np.testing.assert_array_equal(before[name][inside], after[name][inside])
    assert np.all(before[name][~inside] != after[name][~inside])


def test_the_one_threshold_is_that_of_the_other_folds():
  averaged = calibrate(random_table(n_pairs=30, skill=1.0, n_folds=3))
  others = averaged[averaged['fold'] != 1]
  expected = steady_threshold(others['label'], others['probability'], others['pair_id'])
  assert np.all(averaged['threshold_one'][averaged['fold'] == 1] == expected)


def test_a_forecast_that_is_the_wrong_way_round_is_not_turned():
  table = random_table(n_pairs=60, skill=-2.0)
  averaged = calibrate(table)
  for fold in range(4):
    for interval in (-5, -1):
      chosen = (averaged['fold'] == fold) & (averaged['interval'] == interval)
      assert np.ptp(averaged['calibrated'][chosen]) == 0
  assert abs(skill(averaged, EACH)) < 0.1


def test_without_signal_there_is_no_skill():
  found = [[skill(calibrate(random_table(n_pairs=50, seed=seed)), rule) for rule in RULES] for seed in range(40)]
  mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(40)
  assert np.all(np.abs(mean) < 3 * error)


def test_an_interval_that_was_not_learnt_has_the_common_intercept():
  rng = np.random.default_rng(0)
  label = np.tile([0, 1], 200)
  interval = np.repeat([-5, -1], 200)
  logits = rng.standard_normal(400) + label + np.where(interval == -1, 1.0, 0.0)
  fitted = fit_calibration(logits, interval, label)
  at_zero = {number: fitted(np.zeros(1), np.array([number]))[0] for number in (-5, -3, -1)}
  assert at_zero[-1] < at_zero[-3] < at_zero[-5]


def test_where_there_is_nothing_to_choose_on_all_stays():
  for table in (random_table(n_pairs=6, n_folds=1), random_table(n_pairs=6, n_folds=3)):
    if len(set(table['fold'])) > 1:
      table['label'] = 1
    averaged, plain = calibrate(table), average_seeds(table)
    np.testing.assert_array_equal(averaged['calibrated'], plain['probability'])
    np.testing.assert_array_equal(averaged['threshold_one'], plain['threshold'])


def test_rules_by_hand():
  averaged = calibrate(make_table(np.array([[0.4, 0.55], [0.45, 0.7]])[..., None], threshold=0.6, n_folds=2))
  averaged['calibrated'], averaged['threshold_one'] = [0.2, 0.5, 0.7, 0.1], [0.42, 0.5, 0.58, 0.46]
  by_region = {name: row for row, name in enumerate(averaged['region_id'])}
  order = [by_region[name] for name in ('CR000', 'EAR000', 'CR001', 'EAR001')]
  assert list(averaged['probability'][order]) == pytest.approx([0.4, 0.55, 0.45, 0.7])
  assert list(forecast(averaged, HALF)[order]) == [False, True, False, True]
  assert list(forecast(averaged, OWN)[order]) == [False, False, False, True]
  np.testing.assert_array_equal(forecast(averaged), np.asarray(averaged['calibrated']) >= 0.5)
  np.testing.assert_array_equal(forecast(averaged, ONE), averaged['probability'] >= averaged['threshold_one'])


def test_an_unknown_rule_is_refused():
  with pytest.raises(UserError, match='no threshold rule'):
    forecast(calibrate(random_table(n_pairs=8)), 'best')


def test_probabilities_of_0_and_1_are_no_trouble():
  probability = np.clip(expit(logit(np.full((8, 2, 1), 0.5)) + 40 * np.array([-1, 1])[:, None]), 1e-16, 1 - 1e-16)
  averaged = calibrate(make_table(probability))
  assert skill(averaged, EACH) == 1 and np.isfinite(averaged['calibrated']).all()
