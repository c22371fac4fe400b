"""Scores at a base rate: by hand, by counting in a set that has the rate, and against other packages."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.special import expit
from scipy.stats import binomtest, norm
from sklearn.metrics import brier_score_loss

from hearjax.solar import DEFAULT_PIXEL_SCALE_MM
from hearjax.verification import scores as ours
from hearjax.verification.base_rates import (
  SITE_MM,
  BaseRateSettings,
  base_rate_table,
  brier_skill,
  budget_table,
  headline_rate,
  precision,
  sedi,
  shares_at,
  value_curve,
)
from hearjax.verification.calibration import calibrate
from hearjax.verification.matching import CENTRAL_SQUARE_PX
from tests.hand_made import make_table, random_table

FINLEY = np.array([28, 23, 72, 2680])  # Tornado forecasts of 1884: hits, misses, false alarms, correct negatives.
TEN_LOOKS = BaseRateSettings(places=5, looks_per_day=2.0)


def averaged_of(calibrated, intervals=(-1,)):
  """Returns forecasts of `[pair, region, interval]` probabilities that are calibrated as they are; CR first."""
  averaged = make_table(np.asarray(calibrated, float), intervals=intervals)
  averaged['calibrated'], averaged['threshold_one'] = averaged['probability'], 0.5
  return averaged


def counted(hits, false_alarms, n):
  """Returns `n` pairs with so many EARs and so many CRs warned of."""
  calibrated = np.full((n, 2, 1), 0.2)
  calibrated[:false_alarms, 0], calibrated[:hits, 1] = 0.7, 0.8
  return averaged_of(calibrated)


def row_at(table, rate):
  (row,) = table[np.isclose(table['rate'], rate)]
  return row


def test_places_and_looks():
  # Within 60 degrees lies a quarter of the sphere, pi R^2.
  assert BaseRateSettings().places == np.floor(np.pi * 695.7**2 / 66.72**2) == 341
  assert BaseRateSettings().looks_per_day == pytest.approx(24 / 5.33, rel=1e-3)
  assert SITE_MM == CENTRAL_SQUARE_PX * DEFAULT_PIXEL_SCALE_MM


def test_hand_values_of_finley():
  # As Wilks tells them, at the rate that they have.
  rate, pod, pofd = 51 / 2803, ours.pod(FINLEY), ours.pofd(FINLEY)
  np.testing.assert_allclose(shares_at(pod, pofd, rate), FINLEY / 2803)
  assert precision(pod, pofd, rate) == pytest.approx(0.28)
  assert ours.hss(shares_at(pod, pofd, rate)) == pytest.approx(0.355, abs=5e-4)
  # By hand, from the logarithms of 0.5490, 0.4510, 0.02616 and 0.97384.
  assert sedi(pod, pofd) == pytest.approx(
    (3.6434 - 0.5997 + 0.7963 - 0.0265) / (3.6434 + 0.5997 + 0.7963 + 0.0265), 1e-3
  )


def test_a_table_by_hand():
  table = base_rate_table(counted(8, 1, 10), TEN_LOOKS, 50, 0)
  assert list(table['rate']) == [0.5, 0.1, 0.01, 0.001]
  row = row_at(table, 0.1)
  assert (row['model'], row['threshold_rule'], row['interval'], row['hours']) == ('cnn', 'each', -1, -2.93)
  assert (row['n_ear'], row['n_cr'], row['pod'], row['pofd']) == (10, 10, 0.8, 0.1)
  # Of 100 places 10 emerge: 8 hits, 2 misses, 9 false alarms, 81 correct negatives.
  assert row['precision'] == pytest.approx(8 / 17)
  assert row['frequency_bias'] == pytest.approx(1.7)
  assert row['missed'] == pytest.approx(2 / 83)
  assert row['hss'] == pytest.approx(ours.hss(np.array([8, 2, 9, 81])))
  assert row['false_alarms'] == pytest.approx(10 * 0.9 * 0.1)
  assert row['value'] == pytest.approx(0.7)
  assert row_at(table, 0.5)['hss'] == pytest.approx(ours.hss(np.array([8, 2, 1, 9])))


def test_scores_are_those_of_a_set_that_has_the_rate():
  xarray, categorical = pytest.importorskip('xarray'), pytest.importorskip('scores.categorical')
  averaged = calibrate(random_table(40, (-1,), skill=1.5, seed=3))
  settings = BaseRateSettings(rates=(0.02,))
  (row,) = base_rate_table(averaged, settings, 10, 0)
  # Every control 49 times over.
  label, calibrated = (
    np.repeat(averaged[name], np.where(averaged['label'], 1, 49)) for name in ('label', 'calibrated')
  )
  theirs = categorical.BinaryContingencyManager(
    *(xarray.DataArray(values, dims='n') for values in (calibrated >= 0.5, label))
  ).transform()
  assert row['pod'] == pytest.approx(float(theirs.probability_of_detection()))
  assert row['pofd'] == pytest.approx(float(theirs.probability_of_false_detection()))
  assert row['precision'] == pytest.approx(float(theirs.precision()))
  assert row['frequency_bias'] == pytest.approx(float(theirs.frequency_bias()))
  assert row['hss'] == pytest.approx(float(theirs.heidke_skill_score()))
  assert row['sedi'] == pytest.approx(float(theirs.symmetric_extremal_dependence_index()))
  assert row['value'] == pytest.approx(float(theirs.true_skill_statistic()))
  assert row['missed'] == pytest.approx(1 - float(theirs.negative_predictive_value()))
  turned = calibrated * 0.02 / (calibrated * 0.02 + (1 - calibrated) * 0.98)
  assert row['bss'] == pytest.approx(1 - brier_score_loss(label, turned) / (0.02 * 0.98))


def test_what_changes_with_the_rate_and_what_does_not():
  settings = BaseRateSettings(rates=(0.5, 0.2, 0.05, 0.01, 0.001))
  table = base_rate_table(calibrate(random_table(60, (-1,), skill=2.0)), settings, 100, 0)
  for name in ('pod', 'pofd', 'value', 'sedi', 'sedi_low', 'sedi_high'):
    assert len(set(table[name])) == 1, name
  tss = [ours.tss(shares_at(row['pod'], row['pofd'], row['rate'])) for row in table]
  np.testing.assert_allclose(tss, table['value'])
  for name, sign in (('precision', -1), ('hss', -1), ('missed', -1), ('false_alarms', 1), ('frequency_bias', 1)):
    assert np.all(sign * np.diff(table[name]) > 0), name
  for name in ('precision', 'false_alarms', 'sedi'):
    assert np.all((table[f'{name}_low'] < table[name]) & (table[name] < table[f'{name}_high']))


def test_intervals_hold_what_they_say():
  # Unit Gaussians that are 1.6 apart, parted half way: 79 % detected, 21 % falsely.
  rng, pod = np.random.default_rng(0), norm.cdf(0.8)
  truth = {'precision': 0.1 * pod / (0.1 * pod + 0.9 * (1 - pod)), 'false_alarms': 10 * 0.9 * (1 - pod)}
  truth['sedi'] = (2 * np.log(1 - pod) - 2 * np.log(pod)) / (2 * np.log(1 - pod) + 2 * np.log(pod))
  settings, held = BaseRateSettings(rates=(0.1,), places=5, looks_per_day=2.0), []
  for seed in range(60):
    drawn = rng.standard_normal((60, 2, 1)) + np.array([-0.8, 0.8])[:, None]
    (row,) = base_rate_table(averaged_of(expit(drawn)), settings, 200, seed)
    held.append([row[f'{name}_low'] <= value <= row[f'{name}_high'] for name, value in truth.items()])
  assert np.all(np.mean(held, axis=0) > 0.85)
  assert np.any(np.mean(held, axis=0) < 1)


def test_forecasts_without_error_without_skill_and_without_alarm():
  perfect = row_at(base_rate_table(counted(30, 0, 30), TEN_LOOKS, 50, 0), 0.01)
  for name in ('pod', 'precision', 'frequency_bias', 'hss', 'value'):
    assert perfect[name] == pytest.approx(1), name
  assert perfect['missed'] == perfect['pofd'] == perfect['false_alarms'] == 0
  assert all(np.isnan(perfect[name]) for name in ('sedi', 'sedi_low', 'sedi_high'))
  # No false alarm among 30 controls does not say that there is none.
  largest = binomtest(0, 30).proportion_ci(0.95, 'exact').high
  assert perfect['false_alarms_high'] == pytest.approx(10 * 0.99 * largest)
  assert perfect['precision_low'] == pytest.approx(0.01 / (0.01 + 0.99 * largest))
  assert perfect['precision_high'] == 1 and perfect['false_alarms_low'] == 0

  chance = row_at(base_rate_table(counted(12, 12, 30), TEN_LOOKS, 50, 0), 0.01)
  assert chance['precision'] == pytest.approx(0.01) and chance['missed'] == pytest.approx(0.01)
  assert chance['frequency_bias'] == pytest.approx(40)
  for name in ('hss', 'sedi', 'value'):
    assert chance[name] == pytest.approx(0, abs=1e-12), name

  silent = row_at(base_rate_table(counted(0, 0, 30), TEN_LOOKS, 50, 0), 0.01)
  assert all(np.isnan(silent[name]) for name in ('precision', 'precision_low', 'precision_high', 'sedi'))
  assert silent['frequency_bias'] == silent['hss'] == silent['value'] == silent['false_alarms'] == 0
  assert silent['missed'] == pytest.approx(0.01)


def test_the_rule_and_the_interval_are_those_asked_for():
  averaged = averaged_of(np.full((6, 2, 2), [[0.6, 0.2], [0.7, 0.8]]), intervals=(-5, -1))
  averaged['calibrated'] = np.where(averaged['label'] == 1, 0.9, 0.1)
  plain, each = (base_rate_table(averaged, BaseRateSettings((0.1,)), 5, 0, rule) for rule in ('0.5', 'each'))
  assert list(plain['interval']) == [-5, -1] and list(plain['pofd']) == [1, 0] and list(each['pofd']) == [0, 0]
  # The other class is missing at one interval: nothing is said about it.
  gone = averaged[(averaged['interval'] == -1) | (averaged['label'] == 1)]
  first, second = base_rate_table(gone, BaseRateSettings((0.1,)), 5, 0)
  assert (first['n_ear'], first['n_cr'], first['pod']) == (6, 0, 1)
  assert all(np.isnan(first[name]) for name in ('pofd', 'precision', 'false_alarms', 'sedi', 'hss', 'bss', 'value'))
  assert second['hss'] == 1


def test_limits_of_sedi():
  pod, pofd = np.array([[1, 0.5], [0.6, 0], [0, 0.5], [0.5, 1], [1, 0], [0, 1], [0.3, 0.3], [1, 1], [0, 0]]).T
  np.testing.assert_allclose(sedi(pod, pofd), [1, 1, -1, -1, 1, -1, 0, np.nan, np.nan], atol=1e-12)
  assert sedi(0.6, 1e-300) == pytest.approx(1, abs=0.01) and sedi(1e-300, 0.5) == pytest.approx(-1, abs=0.01)


def test_brier_skill_of_the_constant_forecast_is_none():
  label = np.tile([0, 1, 0], 10)
  assert brier_skill(label, np.full(30, 0.5), 0.01) == pytest.approx(0)
  assert brier_skill(label, label.astype(float), 0.01) == 1
  assert np.isnan(brier_skill(np.ones(3), np.full(3, 0.5), 0.01))


def test_value_by_hand_and_at_its_ends():
  # 8 hits, 2 misses, 9 false alarms in 100. At 0.2: never protect costs 10 losses, the forecast 3.4 + 2, perfection 2.
  # At 0.05: always protect costs 5, the forecast 0.85 + 2, perfection 0.5.
  value = value_curve(0.8, 0.1, 0.1, [0.05, 0.2])
  np.testing.assert_allclose(value, [(5 - 2.85) / 4.5, (10 - 5.4) / 8])
  ratios = np.linspace(0.001, 0.999, 999)
  curve = value_curve(0.8, 0.1, 0.1, ratios)
  assert ratios[np.argmax(curve)] == pytest.approx(0.1) and curve.max() == pytest.approx(0.7)
  np.testing.assert_array_equal(curve > 0, (ratios > 2 / 83) & (ratios < 8 / 17))
  np.testing.assert_allclose(value_curve(1.0, 0.0, 0.1, ratios), 1)
  for always in (0.0, 1.0):
    assert value_curve(always, always, 0.1, ratios).max() == pytest.approx(0, abs=1e-12)


def test_value_is_that_of_scores():
  xarray, plotdata = pytest.importorskip('xarray'), pytest.importorskip('scores.plotdata')
  if not hasattr(plotdata, 'relative_economic_value'):
    pytest.skip('This release of scores has no economic value.')
  forecast, label = (np.repeat(values, FINLEY) for values in ([1, 0, 1, 0], [1, 1, 0, 0]))
  ratios = np.array([0.005, 51 / 2803, 0.1, 0.25, 0.6])
  theirs = plotdata.relative_economic_value(
    xarray.DataArray(forecast, dims='n'), xarray.DataArray(label, dims='n'), cost_loss_ratios=ratios.tolist()
  )
  np.testing.assert_allclose(value_curve(ours.pod(FINLEY), ours.pofd(FINLEY), 51 / 2803, ratios), theirs)


def test_budgets_by_hand():
  # From the top: EAR, EAR, CR, EAR, CR and CR together with an EAR, then two EARs and two CRs.
  ears, controls = [0.9, 0.8, 0.6, 0.5, 0.3, 0.2], [0.7, 0.5, 0.5, 0.1, 0.1, 0.05]
  averaged = averaged_of(np.stack([controls, ears], axis=1)[:, :, None])
  table = budget_table(averaged, TEN_LOOKS, budgets=(10, 5, 3, 2, 1))
  assert table.colnames == [
    *('model', 'interval', 'hours', 'n_ear', 'n_cr', 'budget', 'pofd_limit', 'pofd', 'pod', 'resolved')
  ]
  np.testing.assert_allclose(table['pofd_limit'], [1, 0.5, 0.3, 0.2, 0.1])
  np.testing.assert_allclose(table['pod'], [1, 1, 3 / 6, 3 / 6, 2 / 6])
  np.testing.assert_allclose(table['pofd'], [1, 3 / 6, 1 / 6, 1 / 6, 0])
  assert list(table['resolved']) == [True, True, True, True, False]


def test_a_budget_at_the_edge_of_what_controls_resolve():
  averaged = counted(6, 1, 8)
  at, below = budget_table(averaged, BaseRateSettings(places=8, looks_per_day=1.0), budgets=(1, 0.999))
  assert (at['resolved'], at['pofd'], at['pod']) == (True, 0.125, 0.75)
  assert (below['resolved'], below['pofd'], below['pod']) == (False, 0, 0.75)
  both = calibrate(random_table(20, (-5, -1)))
  gone = both[(both['interval'] == -1) | (both['label'] == 1)]
  missing, there = budget_table(gone, TEN_LOOKS, budgets=(5,))
  assert np.isnan(missing['pod']) and not missing['resolved'] and np.isfinite(there['pod']) and there['resolved']


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'rates': ()}, 'There is no base rate'),
    ({'rates': (0.1, 0.0)}, 'A base rate is a share between 0 and 1, both excluded; got 0'),
    ({'rates': (1.0,)}, 'got 1'),
    ({'rates': (np.nan,)}, 'got nan'),
    ({'places': 0}, 'places must be positive, got 0'),
    ({'looks_per_day': -1.0}, 'looks_per_day must be positive, got -1'),
  ],
)
def test_settings_that_cannot_be_used(settings, message):
  with pytest.raises(ValueError, match=message):
    BaseRateSettings(**settings)


def test_what_cannot_be_scored_is_refused():
  averaged, settings = counted(3, 1, 4), BaseRateSettings()
  alone = averaged[averaged['label'] == 0]
  for attempt in (lambda: base_rate_table(alone, settings, 5, 0), lambda: budget_table(alone, settings)):
    with pytest.raises(ValueError, match='cnn has only one class'):
      attempt()
  with pytest.raises(ValueError, match="no threshold rule 'best'"):
    base_rate_table(averaged, settings, 5, 0, 'best')
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    base_rate_table(averaged, settings, 0, 0)
  with pytest.raises(ValueError, match='There is no budget'):
    budget_table(averaged, settings, ())
  with pytest.raises(ValueError, match='A budget of false alarms must be positive, got 0'):
    budget_table(averaged, settings, (1, 0))
  with pytest.raises(ValueError, match='A cost-loss ratio is a share between 0 and 1, both excluded; got 1'):
    value_curve(0.8, 0.1, 0.1, [0.5, 1.0])
  with pytest.raises(ValueError, match='A base rate is a share'):
    value_curve(0.8, 0.1, 0.0, [0.5])


def test_the_rate_that_is_told_of_is_that_nearest_to_one_in_a_hundred():
  assert headline_rate(Table({'rate': [0.5, 0.02, 0.001, 0.02]})) == 0.02
  assert headline_rate(Table({'rate': [0.2]})) == 0.2
