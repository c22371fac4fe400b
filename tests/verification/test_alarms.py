"""The first alarm: by hand, against a loop, and worlds whose shares are known."""

import numpy as np
import pytest
from astropy.table import vstack
from scipy.stats import binomtest

from hearjax.verification.alarms import first_alarm_summary, first_alarm_table
from hearjax.verification.base_rates import BaseRateSettings, base_rate_table
from tests.hand_made import make_table

TIMES = (-4, -3, -2, -1)
HOURS = [-18.93, -13.6, -8.27, -2.93]


def averaged_of(warned, intervals=TIMES, model='cnn'):
  """Returns forecasts of `[pair, region, interval]` alarms, CR first."""
  averaged = make_table(np.where(warned, 0.8, 0.2), model=model, intervals=intervals)
  averaged['calibrated'], averaged['threshold_one'] = averaged['probability'], 0.5
  return averaged


def by_hand():
  """Returns alarms of four pairs."""
  ears = [[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
  controls = [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
  return np.stack([controls, ears], axis=1).astype(bool)


def of_kind(table, kind):
  return table[table['alarm'] == kind]


def test_shares_by_hand():
  table = first_alarm_table(averaged_of(by_hand()), 50, 0)
  anything, kept = of_kind(table, 'any'), of_kind(table, 'kept')
  assert list(anything['interval']) == list(TIMES) and list(anything['hours']) == HOURS
  assert str(table['hours'].unit) == 'h' and set(table['threshold_rule']) == {'each'}
  np.testing.assert_allclose(anything['ear'], [0.25, 0.5, 0.75, 0.75])
  np.testing.assert_allclose(anything['cr'], [0.25, 0.25, 0.25, 0.5])
  np.testing.assert_allclose(kept['ear'], [0.25, 0.25, 0.5, 0.75])
  np.testing.assert_allclose(kept['cr'], [0, 0, 0, 0.25])
  for name in ('n_ear', 'n_cr', 'n_ear_seen', 'n_cr_seen'):
    assert set(table[name]) == {4}


def test_summary_by_hand():
  other = averaged_of(np.zeros((4, 2, 4), bool), model='silent')
  table = vstack([first_alarm_table(one, 50, 0) for one in (averaged_of(by_hand()), other)])
  anything, kept, silent, _ = first_alarm_summary(table)
  # Of the three that are warned of, the first alarms are at -18.93, -13.6 and -8.27 h; the last ones, kept, at -18.93,
  # -8.27 and -2.93 h.
  assert (anything['model'], anything['alarm'], anything['n_ear'], anything['n_cr']) == ('cnn', 'any', 4, 4)
  assert (anything['median_hours'], kept['median_hours']) == (-13.6, -8.27)
  assert (anything['never'], anything['never_cr'], kept['never'], kept['never_cr']) == (0.25, 0.5, 0.25, 0.75)
  assert anything['never_low'] < 0.25 < anything['never_high']
  assert np.isnan(silent['median_hours']) and silent['never'] == silent['never_high'] == 1
  # Four that are not warned of do not say that none ever is.
  assert silent['never_low'] == pytest.approx(1 - binomtest(0, 4).proportion_ci(0.95, 'exact').high)


def test_one_ear_is_warned_of_late_and_all_controls_are():
  warned = np.zeros((4, 2, 4), bool)
  warned[:, 0], warned[2, 1, 2] = True, True
  table = first_alarm_table(averaged_of(warned), 50, 0)
  assert first_alarm_summary(table)['median_hours'][0] == -8.27
  assert set(table['cr']) == set(table['cr_high']) == {1}
  np.testing.assert_allclose(table['cr_low'], binomtest(4, 4).proportion_ci(0.95, 'exact').low)


def test_a_region_is_judged_by_the_intervals_it_has():
  averaged = averaged_of(by_hand())
  # The first EAR loses the forecast between its alarms, the second its first, the third its last.
  lost = {('EAR000', -2), ('EAR001', -4), ('EAR002', -1)}
  left = averaged[[(row['region_id'], row['interval']) not in lost for row in averaged]]
  table = first_alarm_table(left[np.random.default_rng(0).permutation(len(left))], 50, 0)
  anything, kept = of_kind(table, 'any'), of_kind(table, 'kept')
  assert list(anything['n_ear']) == [4] * 4 and list(anything['n_ear_seen']) == [3, 4, 4, 4]
  np.testing.assert_allclose(anything['ear'], [0, 0.5, 0.75, 0.75])
  np.testing.assert_allclose(kept['ear'], [0, 0.5, 0.75, 0.75])
  np.testing.assert_allclose(anything['cr'], [0.25, 0.25, 0.25, 0.5])


def test_shares_are_those_of_a_loop_over_regions():
  rng = np.random.default_rng(1)
  warned = rng.uniform(size=(30, 2, 4)) < np.array([0.3, 0.7])[:, None]
  averaged = averaged_of(warned)
  averaged = averaged[rng.uniform(size=len(averaged)) < 0.7]
  firsts = {('ear', kind): [] for kind in ('any', 'kept')} | {('cr', kind): [] for kind in ('any', 'kept')}
  for region in np.unique(averaged['region_id']):
    rows = averaged[averaged['region_id'] == region]
    rows.sort('interval')
    said = [(row['interval'], row['calibrated'] >= 0.5) for row in rows]
    name = 'ear' if rows['label'][0] else 'cr'
    firsts[name, 'any'].append(min((number for number, alarm in said if alarm), default=9))
    standing = [number for place, (number, _) in enumerate(said) if all(alarm for _, alarm in said[place:])]
    firsts[name, 'kept'].append(min(standing, default=9))
  table = first_alarm_table(averaged, 20, 0)
  for (name, kind), first in firsts.items():
    rows = of_kind(table, kind)
    np.testing.assert_allclose(rows[name], [np.mean(np.array(first) <= number) for number in TIMES])


def test_what_must_hold_between_the_shares():
  warned = np.random.default_rng(2).uniform(size=(40, 2, 4)) < np.array([0.2, 0.6])[:, None]
  averaged = averaged_of(warned)
  table = first_alarm_table(averaged, 100, 0)
  anything, kept = of_kind(table, 'any'), of_kind(table, 'kept')
  single = base_rate_table(averaged, BaseRateSettings((0.5,)), 10, 0)
  for name, score in (('ear', 'pod'), ('cr', 'pofd')):
    for rows in (anything, kept):
      assert np.all(np.diff(rows[name]) >= 0)
      assert np.all((rows[f'{name}_low'] <= rows[name]) & (rows[name] <= rows[f'{name}_high']))
    assert np.all(kept[name] <= anything[name])
    # Nothing came before the first interval, nothing comes after the last.
    assert anything[name][0] == single[score][0] and kept[name][-1] == single[score][-1]


def test_intervals_hold_what_they_say():
  # Independent alarms at each of four intervals, of one EAR in five.
  truth, held = 1 - 0.8**4, []
  for seed in range(60):
    warned = np.random.default_rng(seed).uniform(size=(50, 2, 4)) < 0.2
    row = of_kind(first_alarm_table(averaged_of(warned), 200, seed), 'any')[-1]
    held.append([row['ear_low'] <= truth <= row['ear_high'], row['cr_low'] <= truth <= row['cr_high']])
  assert 0.87 < np.mean(held) < 1


def test_what_comes_after_emergence_does_not_count():
  warned = by_hand()
  late = np.concatenate([warned[..., :3], ~warned[..., :1]], axis=-1)
  table = first_alarm_table(averaged_of(late, (-3, -2, -1, 0)), 20, 0)
  expected = first_alarm_table(averaged_of(warned[..., :3], (-3, -2, -1)), 20, 0)
  assert table.values_equal(expected)


def test_the_rule_is_the_one_asked_for():
  averaged = averaged_of(by_hand())
  averaged['calibrated'] = 0.1
  assert of_kind(first_alarm_table(averaged, 5, 0), 'any')['ear'][-1] == 0
  assert of_kind(first_alarm_table(averaged, 5, 0, '0.5'), 'any')['ear'][-1] == 0.75


def test_what_cannot_be_told_is_refused():
  averaged = averaged_of(by_hand())
  with pytest.raises(ValueError, match='cnn has no forecast before emergence'):
    first_alarm_table(averaged_of(by_hand()[..., :1], (0,)), 5, 0)
  with pytest.raises(ValueError, match='cnn has only one class'):
    first_alarm_table(averaged[averaged['label'] == 1], 5, 0)
  with pytest.raises(ValueError, match="no threshold rule 'best'"):
    first_alarm_table(averaged, 5, 0, 'best')
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    first_alarm_table(averaged, 0, 0)
