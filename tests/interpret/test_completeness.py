"""Injection and recovery: what meters detect by hand, thresholds that are drawn with the maps, rings of equal area."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table, vstack

from hearjax.checks import UserError
from hearjax.interpret import completeness
from hearjax.interpret.completeness import NO_RING, Injection, completeness_tables, inject, recover, thresholds
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.references import FIELD_METER, make_meter
from hearjax.interpret.statistics import Draws
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux

PIXELS_MX = 48 * 48 * 1.39**2 * 1e16  # 1 G over the whole map [Mx].
SMALL = Injection(
  n_fluxes=7, n_separations=3, trials=30, place_mm=10.0, false_alarm_rate=0.1, fluxes_mx=(2e17, 2e20), rings=3
)


@pytest.fixture(scope='module')
def survey():
  return make_survey(pairs=20, size=48)


@pytest.fixture(scope='module')
def meters(survey):
  """The meter of the flux as a member, and that of the field in the central window beside it."""
  settings, params = polarity_flux()
  meter, of_window = make_meter(polarity_flux(centre_mm=5.0)[0], 1.39, True, 5.0)
  (member,) = members_of(make_run(survey, settings, params))
  return [member, dataclasses.replace(member, name='b', group=FIELD_METER, network=meter, params=of_window)]


@pytest.fixture(scope='module')
def injected(survey, meters):
  return inject(meters, survey, SMALL)


def draws_of(survey, resamples=50):
  return Draws.of(survey, resamples, 0)


# --- Injection ----------------------------------------------------------------------------------------------------


def test_a_flux_meter_detects_by_the_flux_whatever_the_separation(survey, injected):
  table, limits = completeness_tables(injected, draws_of(survey), SMALL)
  rows = table[(table['networks'] == MEMBERS) & np.isfinite(table['separation_mm'])]
  pod = np.asarray(rows['pod']).reshape(3, 7)
  # The weakest changes nothing, so that it is as often above the threshold as nothing at all; the strongest always is.
  assert np.all(pod[:, 0] < 0.25) and np.all(pod[:, -1] == 1) and np.all(np.diff(pod, axis=1) >= 0)
  # Poles of 2 px in noise of 10 G add their flux nearly whole: mean |B| rises by flux / area. By hand, half of the
  # maps cross the threshold where that is the gap between their median and it.
  bare = np.abs(survey.field[survey.label == 0]).mean(axis=(1, 2))
  gap = np.sort(bare)[-5] - np.median(bare)
  limit = np.asarray(limits['flux_mx'][(limits['networks'] == MEMBERS) & np.isfinite(limits['separation_mm'])])
  np.testing.assert_allclose(limit, gap * PIXELS_MX, rtol=0.5)


def test_what_the_window_does_not_hold_its_meter_does_not_see(survey, injected):
  _, limits = completeness_tables(injected, draws_of(survey), SMALL)
  of_meter = limits[(limits['networks'] == FIELD_METER) & np.isfinite(limits['separation_mm'])]
  assert of_meter['flux_mx'][-1] > 2 * of_meter['flux_mx'][0]

  def rises(group):
    rows = injected[(injected['group'] == group) & (injected['ring'] != NO_RING)]
    rise = np.asarray(rows['logit'] - rows['untouched'][:, None, None])[:, -1]  # Of the strongest flux.
    return np.array([rise[np.asarray(rows['ring']) == ring].mean() for ring in range(3)])

  of_window, of_square = rises(FIELD_METER), rises(MEMBERS)
  assert of_window[0] > 1.5 * of_window[1] and of_window[1] > 1.2 * of_window[2]
  # The meter of the whole square sees all rings alike.
  np.testing.assert_allclose(of_square, of_square[0], rtol=0.03)


def test_bipoles_are_set_evenly_over_rings_of_equal_area():
  chosen = dataclasses.replace(SMALL, place_mm=8.0, trials=600)
  ring, shape = completeness._bipoles(
    np.random.default_rng(0), completeness.Grid(48, 1.39), np.array([4.0, 8.0]), 600, chosen
  )
  distance = np.hypot(shape.x_mm, shape.y_mm)[:600]
  assert distance.max() <= 8 and np.bincount(ring).tolist() == [200, 200, 200]
  edges = 8 * np.sqrt([0, 1 / 3, 2 / 3, 1])
  assert np.all((edges[ring] <= distance + 1e-5) & (distance <= edges[ring + 1] + 1e-5))
  np.testing.assert_allclose(np.median(distance), 8 / np.sqrt(2), rtol=0.05)  # Even over the disc.
  np.testing.assert_allclose(np.mean(np.exp(1j * np.deg2rad(shape.tilt_deg))), 0, atol=0.1)
  np.testing.assert_array_equal(shape.x_mm[:600], shape.x_mm[600:])  # Alike at all separations.


def test_every_trial_is_a_control_map_of_its_own(survey, injected):
  rows = injected[injected['subject'] == injected['subject'][0]]
  assert len(rows) == 40 and (survey.label[rows['row']] == 0).all()  # All set the threshold.
  tried = rows[rows['ring'] != NO_RING]
  assert len(set(tried['row'])) == 30 and np.isfinite(tried['logit']).all()
  assert np.isnan(rows[rows['ring'] == NO_RING]['logit']).all()
  np.testing.assert_allclose(rows['untouched'], np.abs(survey.field[rows['row']]).mean(axis=(1, 2)), rtol=1e-5)
  # Both networks are shown the same.
  np.testing.assert_array_equal(injected['row'][:40], injected['row'][40:])


def test_peaks_of_the_bipoles_by_hand(injected):
  tried = injected[injected['ring'] != NO_RING]
  whole = np.asarray(tried['flux_mx'][0]) / 2 / (1.39**2 * 1e16)
  share = np.asarray(tried['peak_gauss'])[..., -1] / whole
  # Of a pole of 2 px FWHM (0.85 px) the pixel in the middle holds erf(0.5 / 0.85 / sqrt(2))^2 = 0.197; a corner 0.145.
  assert np.all((share > 0.14) & (share < 0.2))


def test_same_seed_same_bipoles(survey, meters, injected):
  again, other = (inject(meters[:1], survey, SMALL, seed) for seed in (0, 1))
  np.testing.assert_allclose(again['logit'], injected['logit'][:40], rtol=1e-6)
  assert not np.array_equal(other['row'], again['row'])


# --- Thresholds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('rate', 'expected'), [(0.05, 94.0), (0.1, 89.0), (0.019, 98.0)])
def test_threshold_by_hand(rate, expected):
  logit = np.random.default_rng(0).permutation(100).astype(float)
  assert thresholds(logit, np.ones((1, 100), int), rate) == [expected]


def test_thresholds_of_draws_are_those_of_repeated_maps():
  rng = np.random.default_rng(1)
  logit, counts = rng.normal(size=60).round(1), rng.multinomial(60, np.full(60, 1 / 60), 20)  # With ties.
  found = thresholds(logit, counts, 0.1)
  for weight, threshold in zip(counts, found, strict=True):
    repeated = np.sort(np.repeat(logit, weight))
    assert threshold == repeated[-7] and np.mean(repeated > threshold) <= 0.1


def test_a_tie_at_the_threshold_is_no_false_alarm():
  assert thresholds(np.array([0.0, 1.0, 1.0, 1.0]), np.ones((1, 4), int), 0.5) == [1.0]


def test_the_rate_is_kept_on_the_maps_it_was_set_on_and_not_on_others():
  # Of maps of no network at all: 20 controls in a test part, so that one may be above the threshold.
  rng = np.random.default_rng(2)
  survey = make_survey(pairs=20, size=16, intervals=(-1,))
  parts = []
  for number in range(30):
    untouched = rng.normal(size=20)
    logit = np.broadcast_to(untouched[:, None, None], (20, 2, 2))
    parts.append(hand_injected(f'{number}', np.arange(20), untouched, np.zeros(20, int), logit))
  table, _ = completeness_tables(vstack(parts), draws_of(survey, 200), Injection())
  alarms = table.meta['false_alarms'][MEMBERS]
  assert alarms['false_alarm_rate'] == pytest.approx(0.05)
  # A map beyond the second largest of n others: a chance of 2 / (n + 1), where n is what 20 draws tell apart, 12 to 13.
  assert 0.08 < alarms['unseen'] < 0.2 and alarms['unseen_low'] < alarms['unseen'] < alarms['unseen_high']


def test_intervals_tell_of_the_threshold_too():
  # Bipoles that look nearly the same in all maps: what is detected hangs on the threshold.
  rng = np.random.default_rng(4)
  n = 60
  untouched, said = rng.normal(size=n), 1.5 + 0.3 * rng.normal(size=(n, 2, 2))
  injected = hand_injected('a', np.arange(n), untouched, np.zeros(n, int), said)
  counts = rng.multinomial(n, np.full(n, 1 / n), 300)
  draws = Draws(np.concatenate([np.ones((1, n), int), counts]), 0)
  (recovery,) = recover(injected, draws, 0.1)[MEMBERS]
  # By a loop, of the stronger flux and the smaller separation.
  thresholds_of = [np.sort(np.repeat(untouched, weight))[-7] for weight in counts]
  expected = [
    np.average(said[:, 1, 0] > each, weights=weight) for weight, each in zip(counts, thresholds_of, strict=True)
  ]
  np.testing.assert_allclose(recovery.found[1:, 0, 1], expected)
  fixed = [np.average(said[:, 1, 0] > np.sort(untouched)[-7], weights=weight) for weight in counts]
  assert np.std(expected) > 1.5 * np.std(fixed)


# --- Tables -------------------------------------------------------------------------------------------------------


def hand_injected(name, pair, untouched, ring, logit):
  """Two fluxes and two separations."""
  n = len(pair)
  return Table(
    {
      'subject': [name] * n,
      'group': [MEMBERS] * n,
      'row': np.arange(n),
      'pair': pair,
      'untouched': untouched,
      'ring': ring,
      'inner_mm': np.where(ring == 1, 4.0, 0.0),
      'outer_mm': np.where(ring == 1, 5.0, 4.0),
      'flux_mx': np.broadcast_to([1e19, 1e20], (n, 2)),
      'separation_mm': np.broadcast_to([4.0, 8.0], (n, 2)),
      'logit': logit,
      'peak_gauss': np.broadcast_to([[10.0, 20.0], [100.0, 200.0]], (n, 2, 2)),
      'most_peak_gauss': np.full(n, 150.0),
    }
  )


def hand_table():
  # Four pairs, one map each; the threshold at a rate of 0.25 is the second largest untouched one: 2.
  untouched = np.array([0.0, 1.0, 2.0, 3.0])
  detected = np.array([[[0, 0], [1, 1]], [[0, 0], [1, 0]], [[1, 0], [1, 0]], [[0, 0], [1, 0]]])
  return hand_injected('a', np.arange(4), untouched, np.array([0, 0, 1, 1]), 1.0 + 8 * detected)


def test_tables_by_hand():
  draws = Draws(np.array([[1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 2, 2]]), 0)
  table, limits = completeness_tables(hand_table(), draws, dataclasses.replace(SMALL, false_alarm_rate=0.25))
  pod = {(row['separation_mm'], row['inner_mm'], row['flux_mx']): row['pod'] for row in table}
  assert pod[4.0, 0.0, 1e19] == 0.25 and pod[4.0, 0.0, 1e20] == 1.0
  assert pod[8.0, 0.0, 1e19] == 0.0 and pod[8.0, 0.0, 1e20] == 0.25
  rings = table[np.isnan(table['separation_mm'])]
  np.testing.assert_allclose(rings['pod'], [0, 0.75, 0.25, 0.5])
  np.testing.assert_allclose(rings['outer_mm'], [4, 4, 5, 5])
  np.testing.assert_allclose(rings['peak_gauss'], [15, 150, 15, 150])
  # From 0.25 at 1e19 to 1 at 1e20: half is a third of a decade on.
  np.testing.assert_allclose(limits['flux_mx'][0], 1e19 * 10 ** (1 / 3))
  assert np.isinf(limits['flux_mx'][1])
  assert str(table['flux_mx'].unit) == 'Mx' and str(limits['low'].unit) == 'Mx' and limits['n'][0] == 1
  alarms = table.meta['false_alarms'][MEMBERS]
  # The first draw's threshold is 0 or 1 ... of its own maps, beyond which both others lie; none beyond the second's.
  assert (alarms['false_alarm_rate'], alarms['unseen']) == (0.25, 0.5)
  assert table.meta['most_peak_gauss'] == 150.0


def test_a_network_that_looks_at_nothing_detects_nothing(survey):
  settings, params = polarity_flux()
  params['params']['logit']['kernel'] = np.zeros((2, 1))
  found = inject(members_of(make_run(survey, settings, params)), survey, SMALL)
  table, limits = completeness_tables(found, draws_of(survey), SMALL)
  assert np.all(table['pod'] == 0) and np.all(np.isinf(limits['flux_mx']))
  assert table.meta['false_alarms'][MEMBERS]['unseen'] == 0


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'fluxes_mx': (1e20, 1e19)}, 'fluxes_mx must be two finite positive numbers'),
    ({'separations_mm': (4.0, float('nan'))}, 'separations_mm must be two finite positive numbers'),
    ({'false_alarm_rate': 0.0}, 'false-alarm rate must lie between 0 and 1, got 0.0'),
    ({'trials': 2}, 'one trial in each, got 7, 3, 3 rings and 2 trials'),
    ({'place_mm': float('nan')}, 'place_mm must be finite'),
  ],
)
def test_injections_that_make_no_sense(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'separations_mm': (1.0, 9.0)}, 'cannot resolve a scale of 1 Mm'),
    ({'separations_mm': (4.0, 80.0)}, 'cannot hold a bipole with a scale of 80 Mm'),
    ({'place_mm': 30.0}, 'holds no bipole whose middle lies up to 30 Mm'),
    ({'width_mm': float('inf'), 'separations_mm': (4.0, 9.0)}, 'width_mm of a synthetic field must be finite'),
    ({'false_alarm_rate': 0.01}, 'cannot be kept on the 40 control maps of the test part of .*; allow at least 0.025'),
  ],
)
def test_injections_that_cannot_be_made(survey, meters, changes, sentence):
  with pytest.raises(UserError, match=sentence):
    inject(meters, survey, dataclasses.replace(SMALL, **changes))


def test_a_survey_of_one_class_is_told(survey):
  emerging = survey.select(survey.label == 1)
  with pytest.raises(UserError, match='no control region'):
    inject(members_of(make_run(emerging, *polarity_flux())), emerging, SMALL)
