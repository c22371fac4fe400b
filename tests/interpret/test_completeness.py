import numpy as np
import pytest

from hearjax.interpret import completeness
from hearjax.interpret.completeness import Injection, Recovery, completeness_table, inject, limit_table, threshold_for
from hearjax.maps import synthetic
from tests.conftest import make_survey
from tests.interpret.test_response import ONE_LAYER, flux_meter, run_of

PIXELS_MX = 32 * 32 * 1.39**2 * 1e16  # 1 G over the whole map [Mx].


@pytest.fixture(scope='module')
def meter():
  return run_of(ONE_LAYER, flux_meter(), members=2, survey=make_survey(pairs=20))


def settings(**changes):
  small = {'n_fluxes': 7, 'n_separations': 3, 'trials': 40, 'place_mm': 3.0, 'false_alarm_rate': 0.1, 'resamples': 100}
  return Injection(**(small | {'fluxes_mx': (1e17, 1e20)} | changes))


def test_a_flux_meter_detects_by_the_flux_whatever_the_separation(meter):
  recovery = inject(meter, settings())
  table = completeness_table(recovery, 100)
  pod = np.asarray(table['pod']).reshape(7, 3)
  # The weakest changes nothing, so that it is as often above the threshold as nothing at all; the strongest always is.
  assert np.all(pod[0] < 0.25) and np.all(pod[-1] == 1)
  assert np.all(np.diff(pod, axis=0) >= 0)
  # Poles of 1.4 px in noise of 10 G add their flux nearly whole: mean |B| rises by flux / area. By hand, half of the
  # patches cross the threshold where that is the gap between their median and it.
  rows = np.flatnonzero(np.asarray(meter.survey.label) == 0)
  bare = np.abs(meter.survey.field[rows]).mean(axis=(1, 2))
  gap = 100 * recovery.threshold[0] - np.median(bare)
  limit = np.asarray(limit_table(recovery, 100)['flux_mx'])
  np.testing.assert_allclose(limit, gap * PIXELS_MX, rtol=0.5)


def test_the_false_alarm_rate_is_kept(meter):
  recovery = inject(meter, settings())
  assert recovery.false_alarm_rate == pytest.approx(4 / 40)  # 20 control regions at two intervals.
  assert recovery.controls.sum() == 2 * 40 and recovery.tried.sum() == 2 * 40
  assert completeness_table(recovery, 10).meta['false_alarm_rate'] == recovery.false_alarm_rate


def test_a_network_that_looks_at_nothing_detects_as_often_as_it_errs():
  run = run_of(ONE_LAYER, flux_meter(gain=0.0), survey=make_survey(pairs=10))
  recovery = inject(run, settings())
  assert recovery.found.sum() == 0 and recovery.false_alarm_rate == 0
  assert np.all(np.isinf(limit_table(recovery, 20)['flux_mx']))


def test_peaks_of_the_bipoles_by_hand(meter):
  recovery = inject(meter, settings())
  assert recovery.training_peak_gauss == 400.0
  # A pole of half the flux, 0.5 px wide: its pixel holds erf(1 / sqrt(2))^2 = 0.466 of it where it lies in the middle,
  # and 0.23 where it lies on a corner of four.
  whole = recovery.flux_mx / 2 / (1.39**2 * 1e16)
  share = recovery.peak_gauss / whole[:, None]
  assert np.all((share > 0.23) & (share < 0.466))
  np.testing.assert_allclose(share, share[:1] * np.ones((7, 1)), rtol=1e-4)
  table = completeness_table(recovery, 10)
  assert str(table['peak_gauss'].unit) == 'G' and table.meta['training_peak_gauss'] == 400.0
  row = table[(table['flux_mx'] == recovery.flux_mx[3]) & (table['separation_mm'] == recovery.separation_mm[2])][0]
  assert row['peak_gauss'] == recovery.peak_gauss[3, 2]


def test_same_seed_same_surface(meter):
  first, again, other = (inject(meter, settings(), seed) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first.found, again.found)
  assert not np.array_equal(first.tried, other.tried)


@pytest.mark.parametrize(('rate', 'expected'), [(0.05, 94.0), (0.1, 89.0), (0.019, 98.0)])
def test_threshold_by_hand(rate, expected):
  logit = np.random.default_rng(0).permutation(100).astype(float)
  assert threshold_for(logit, rate) == expected
  assert np.mean(logit > expected) <= rate


def test_a_tie_at_the_threshold_is_no_false_alarm():
  assert threshold_for(np.array([0.0, 1.0, 1.0, 1.0]), 0.5) == 1.0


def hand_recovery():
  # Two regions with 10 injections each, three fluxes, two separations.
  found = np.array([[[0, 0], [2, 0], [10, 4]], [[0, 0], [4, 0], [10, 4]]])
  return Recovery(
    flux_mx=np.array([1e18, 1e19, 1e20]),
    separation_mm=np.array([4.0, 8.0]),
    found=found,
    tried=np.array([10, 10]),
    peak_gauss=np.array([[10.0, 11.0], [100.0, 110.0], [1000.0, 1100.0]]),
    training_peak_gauss=400.0,
    false_alarms=np.array([1, 0]),
    controls=np.array([5, 5]),
    threshold=np.array([0.3]),
  )


def test_table_by_hand():
  table = completeness_table(hand_recovery(), 200)
  row = table[(table['flux_mx'] == 1e19) & (table['separation_mm'] == 4)][0]
  # Both regions once, or one of them twice: 0.2, 0.3 or 0.4.
  np.testing.assert_allclose((row['pod'], row['low'], row['high'], row['n']), (0.3, 0.2, 0.4, 20))
  assert table.meta['false_alarm_rate'] == 0.1
  assert str(table['flux_mx'].unit) == 'Mx' and str(table['separation_mm'].unit) == 'Mm'


def test_limit_by_hand():
  limits = limit_table(hand_recovery(), 200)
  # From 0.3 at 1e19 to 1 at 1e20: half is 2/7 of a decade on.
  np.testing.assert_allclose(limits['flux_mx'][0], 1e19 * 10 ** (2 / 7), rtol=1e-6)
  np.testing.assert_allclose(limits['flux_mx_low'][0], 1e19 * 10 ** (1 / 6), rtol=1e-6)
  np.testing.assert_allclose(limits['flux_mx_high'][0], 1e19 * 10 ** (3 / 8), rtol=1e-6)
  assert np.isinf(limits['flux_mx'][1]) and np.isinf(limits['flux_mx_high'][1])
  assert np.all(limit_table(hand_recovery(), 50, pod=0.0)['flux_mx'] == 0)  # Reached by any flux.


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'fluxes_mx': (1e20, 1e19)}, 'fluxes_mx must be two finite positive numbers'),
    ({'separations_mm': (4.0, float('nan'))}, 'separations_mm must be two finite positive numbers'),
    ({'false_alarm_rate': 0.0}, 'false-alarm rate must lie between 0 and 1, got 0.0'),
    ({'trials': 0}, 'one trial'),
    ({'place_mm': float('nan')}, 'place_mm must be finite'),
  ],
)
def test_injections_that_make_no_sense(changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    settings(**changes)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'separations_mm': (1.0, 9.0)}, 'cannot resolve a scale of 1 Mm'),
    ({'separations_mm': (4.0, 60.0)}, 'cannot hold a point_bipole with a scale of 60 Mm'),
    ({'place_mm': 19.0}, 'holds no bipole whose middle lies up to 19 Mm'),
    ({'width_mm': float('inf'), 'separations_mm': (4.0, 9.0)}, 'width_mm of a synthetic field must be finite'),
    ({'false_alarm_rate': 0.01}, 'cannot be kept on 40 control magnetograms of a test fold; allow at least 0.025'),
  ],
)
def test_injections_that_cannot_be_made(meter, changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    inject(meter, settings(**changes))


def test_a_survey_of_one_class_is_told():
  survey = make_survey(pairs=4)
  run = run_of(ONE_LAYER, flux_meter(), survey=survey.select(survey.label == 1))
  with pytest.raises(ValueError, match='holds no control region'):
    inject(run, settings())


def test_injected_bipoles_lie_where_they_may():
  grid = synthetic.Grid(48, 1.39)
  chosen = settings(place_mm=8.0, trials=500)
  probes = completeness._bipoles(
    np.random.default_rng(0), np.array([1e19, 1e20]), np.array([4.0, 8.0]), np.zeros(500, int), chosen, grid
  )
  distance = np.hypot(probes.shape.x_mm, probes.shape.y_mm)
  assert distance.max() <= 8
  np.testing.assert_allclose(np.median(distance), 8 / np.sqrt(2), rtol=0.08)  # Even over the disc.
  np.testing.assert_allclose(np.mean(np.exp(1j * np.deg2rad(probes.shape.tilt_deg))), 0, atol=0.1)
