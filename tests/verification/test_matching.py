"""Flux-matched skill: fluxes drawn by hand, models that read them, and models that know the label besides."""

import itertools

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from hearjax.maps.features import FEATURES, feature_table
from hearjax.verification.calibration import calibrate, forecast
from hearjax.verification.matching import (
  central_square,
  exchange_test,
  match,
  matched_skill_table,
  region_fluxes,
  rows_in_survey,
  two_way_variance,
)
from hearjax.verification.resampling import draw_counts
from hearjax.verification.skill import skill_mean_table, skill_table
from tests.conftest import make_survey
from tests.hand_made import make_table, random_table

SIZE = 16
TIMES = (-5, -1)


def draw_fluxes(n_pairs, seed, shift_dex=0.15):
  """Returns `[pair, region, interval, 2]` logarithms of two fields [G], in the centre and around it; EARs have more."""
  rng = np.random.default_rng(seed)
  persistent, passing = (rng.standard_normal((n_pairs, 2, times, 2)) for times in (1, len(TIMES)))
  return 1 + 0.15 * persistent + 0.08 * passing + shift_dex * np.array([0, 1])[:, None, None]


def survey_of(log_gauss):
  """Returns a survey with one field in the centre of each map and one around it, signs alternating."""
  n_pairs = len(log_gauss)
  survey = make_survey(n_pairs, TIMES, SIZE)
  x = np.arange(SIZE) - (SIZE - 1) / 2
  centre = np.hypot(x[:, None], x) * survey.pixel_scale_mm <= 8
  sign = (-1) ** np.add.outer(np.arange(SIZE), np.arange(SIZE))
  inner, outer = 10 ** log_gauss[survey.pair, survey.label, (survey.interval == TIMES[1]).astype(int)].T
  field = np.where(centre, inner[:, None, None], outer[:, None, None]) * sign
  return survey.replace(field=field.astype(np.float32))


def logit_of_flux(log_gauss, noise, seed):
  """Returns `[pair, region, interval]` a measure of the flux, standardised, with noise."""
  measure = log_gauss.mean(axis=-1)
  return (measure - measure.mean()) / measure.std() + noise * np.random.default_rng(1000 + seed).standard_normal(
    measure.shape
  )


def row_of(table, tolerance, interval=None):
  rows = table[table['tolerance_dex'] == tolerance]
  return rows[0] if interval is None else rows[rows['interval'] == interval][0]


# --- Fluxes ---------------------------------------------------------------------------------------------------------


def test_fluxes_are_those_of_the_central_square():
  survey = make_survey(2, TIMES, size=64)
  edge = survey.field.copy()
  edge[:, :8] = edge[:, :, -8:] = 1e4
  edge[0, 20, 20] = np.nan
  survey = survey.replace(field=edge)
  features = feature_table(survey.field[:, 8:-8, 8:-8], survey.pixel_scale_mm)
  names = list(FEATURES)
  expected = np.log10(features[:, [names.index('unsigned_flux'), names.index('central_unsigned_flux')]])
  np.testing.assert_allclose(region_fluxes(survey), expected, atol=1e-6)
  # The sum of |B| dA by hand, in Mx.
  total = np.nansum(np.abs(edge[0, 8:-8, 8:-8]), dtype=float) * (survey.pixel_scale_mm * 1e8) ** 2
  assert region_fluxes(survey)[0, 0] == pytest.approx(np.log10(total), abs=1e-5)
  assert central_square(make_survey(1, TIMES, size=32)).shape == (4, 32, 32)


def test_rows_in_the_survey():
  survey = make_survey(3, TIMES, SIZE)
  table = random_table(3, TIMES)
  rows = rows_in_survey(survey, table)
  assert survey.region_names()[rows].tolist() == table['region_id'].tolist()
  assert survey.interval[rows].tolist() == table['interval'].tolist()
  with pytest.raises(ValueError, match='no magnetogram of region CR003 at interval -5, which cnn forecasts'):
    rows_in_survey(survey, random_table(4, TIMES))


# --- Couples --------------------------------------------------------------------------------------------------------


def test_couples_are_the_closest_of_all_assignments():
  rng = np.random.default_rng(0)
  for _ in range(20):
    fluxes, label = rng.normal(size=(9, 2)), np.array([1, 0, 0, 1, 0, 1, 0, 0, 1])
    ears, controls = np.flatnonzero(label), np.flatnonzero(label == 0)
    found = match(fluxes, label, 0.8)
    distance = np.abs(fluxes[:, None] - fluxes).max(axis=-1)
    # By trial of all assignments; an EAR without a partner counts as the tolerance.
    tried = [
      np.minimum(distance[ears, partners], 0.8).sum() for partners in itertools.permutations(controls, len(ears))
    ]
    differences = distance[found]
    assert len(differences) > 0 and np.all(differences <= 0.8)
    assert differences.sum() + 0.8 * (len(ears) - len(differences)) == pytest.approx(min(tried))
    assert set(found[0]) <= set(ears) and set(found[1]) <= set(controls)
    assert all(len(set(side)) == len(side) for side in found)


def test_both_fluxes_must_agree():
  fluxes = np.array([[21.0, 20.0], [21.0, 20.5], [21.3, 20.0], [21.05, 20.08]])
  ear, control = match(fluxes, np.array([1, 0, 0, 0]), 0.1)
  assert (ear.tolist(), control.tolist()) == ([0], [3])


def test_what_has_no_partner():
  fluxes = np.array([[21.0, -np.inf], [21.0, -np.inf], [21.0, 20.0], [22.0, 20.0]])
  label = np.array([1, 0, 1, 0])
  for tolerance, expected in ((0.1, []), (np.inf, [2])):
    assert match(fluxes, label, tolerance)[0].tolist() == expected
  assert [side.tolist() for side in match(fluxes, np.ones(4, int), np.inf)] == [[], []]


def test_more_couples_are_there_with_more_tolerance():
  log_gauss = draw_fluxes(40, 0)
  found, mean = matched_skill_table([random_table(40, TIMES)], survey_of(log_gauss), (0.02, 0.2, np.inf), 20, 0)
  assert np.all(np.diff(mean['n_couples']) > 0) and mean['n_couples'][-1] == 80
  for tolerance in (0.02, 0.2):
    row = row_of(mean, tolerance)
    assert max(abs(row['total_dex']), abs(row['central_dex'])) <= tolerance
  # Of all couples, the difference is that of the classes.
  survey = survey_of(log_gauss)
  fluxes = region_fluxes(survey)
  expected = fluxes[survey.label == 1].mean(axis=0) - fluxes[survey.label == 0].mean(axis=0)
  whole = row_of(mean, np.inf)
  assert (whole['total_dex'], whole['central_dex']) == pytest.approx(tuple(expected))
  assert np.array_equal(found['small'], found['n_couples'] < 20) and set(found['small']) == {True, False}


# --- Skill whose answer is known ------------------------------------------------------------------------------------


def test_a_model_of_flux_has_no_skill_among_regions_of_equal_flux():
  held = []
  for seed in range(6):
    log_gauss = draw_fluxes(120, seed)
    table = make_table(expit(logit_of_flux(log_gauss, 0.5, seed)), intervals=TIMES)
    _, mean = matched_skill_table([table], survey_of(log_gauss), (0.05, np.inf), 500, 0)
    plain, matched = row_of(mean, np.inf), row_of(mean, 0.05)
    assert plain['tss_low'] > 0.1 and plain['ahead_low'] > 0.1 and plain['p'] < 0.01
    assert matched['n_couples'] > 60 and abs(matched['total_dex']) < 0.1 * plain['total_dex']
    assert matched['tss'] < plain['tss'] / 3 and matched['p'] > 0.01
    held += [matched[f'{name}_low'] <= 0 <= matched[f'{name}_high'] for name in ('tss', 'ahead')]
  assert np.mean(held) >= 0.8


def test_a_model_of_the_label_alone_loses_nothing():
  log_gauss = draw_fluxes(120, 0)
  table = random_table(120, TIMES, skill=1.2, seed=1)
  found, mean = matched_skill_table([table], survey_of(log_gauss), (0.1, np.inf), 500, 0)
  plain, matched = row_of(mean, np.inf), row_of(mean, 0.1)
  for name in ('tss', 'ahead'):
    assert matched[f'{name}_low'] <= plain[name] <= matched[f'{name}_high'] and matched[f'{name}_low'] > 0.1
  assert matched['p'] == 1 / 501
  assert np.all(found['p'] < 0.05) and not np.any(found['small'])


def test_all_couples_have_the_skill_of_the_plain_set():
  tables = [random_table(30, TIMES, skill=1.0, seed=seed, model=f'model{seed}') for seed in range(2)]
  found, mean = matched_skill_table(tables, survey_of(draw_fluxes(30, 0)), (np.inf,), 20, 0)
  skill, skill_mean = (make(tables, 20, 0) for make in (skill_table, skill_mean_table))
  np.testing.assert_allclose(found['tss'], skill['tss'][skill['threshold_rule'] == 'each'])
  np.testing.assert_allclose(mean['tss'], skill_mean['tss'][skill_mean['threshold_rule'] == 'each'])
  assert found['hours'].tolist() == [-24.27, -2.93] * 2 and found['hours'].unit == 'h'
  assert mean['model'].tolist() == ['model0', 'model1'] and mean['n_intervals'].tolist() == [2, 2]


def test_scores_by_hand():
  # Fluxes such that each EAR meets the CR of its own pair; the calibration does not turn the order.
  log_gauss = np.broadcast_to(1 + 0.3 * np.arange(6)[:, None, None, None], (6, 2, 2, 2))
  probability = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.1, 0.8], [0.6, 0.4], [0.3, 0.9]])
  table = make_table(np.repeat(probability[..., None], 2, axis=2), intervals=TIMES, n_folds=1)
  found, mean = matched_skill_table([table], survey_of(log_gauss), (0.1,), 2000, 0)
  row = row_of(found, 0.1, -1)
  # With one fold the plain probability counts: five EARs are ahead and warned of, one is behind with a false alarm.
  assert row['n_couples'] == 6 and row['ahead'] == pytest.approx(4 / 6) and row['tss'] == pytest.approx(4 / 6)
  assert (row['total_dex'], row['central_dex']) == pytest.approx((0, 0)) and row['small']
  # 7 of the 64 exchanges have five or six EARs ahead.
  assert row['p'] == pytest.approx(binom.sf(4, 6, 0.5), abs=0.02)
  # Two intervals that say the same are one: neither the interval nor p is smaller.
  for name in ('tss_low', 'tss_high', 'ahead_low', 'ahead_high', 'p'):
    assert row_of(mean, 0.1)[name] == pytest.approx(row[name])


# --- Intervals and tests --------------------------------------------------------------------------------------------


def test_at_one_interval_the_error_is_that_of_drawn_couples():
  log_gauss = draw_fluxes(100, 3)
  table = make_table(expit(logit_of_flux(log_gauss, 1.0, 3)), intervals=TIMES)
  found, _ = matched_skill_table([table], survey_of(log_gauss), (0.1,), 20, 0)
  survey = survey_of(log_gauss)
  averaged = calibrate(table)
  part = averaged[averaged['interval'] == -1]
  ear, control = match(region_fluxes(survey)[rows_in_survey(survey, part)], np.asarray(part['label']), 0.1)
  scores = forecast(part)[ear].astype(float) - forecast(part)[control]
  drawn = draw_counts(len(scores), 4000, 0) @ scores / len(scores)
  row = row_of(found, 0.1, -1)
  assert row['tss'] == pytest.approx(scores.mean())
  assert row['tss_high'] - row['tss_low'] == pytest.approx(2 * 1.96 * drawn.std(), rel=0.05)


def test_variance_of_sums_whose_couples_share_regions():
  values, apart = np.array([1.0, -2.0, 3.0, 0.5]), np.arange(4)
  assert two_way_variance(values, apart, apart) == pytest.approx(np.sum(values**2))
  # By every two couples that share a region: 0 and 1 the EAR, 1 and 2 the CR, 3 and 4 both.
  ear, control = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 2])
  shared = (ear[:, None] == ear) | (control[:, None] == control)
  values = np.array([1.0, 2.0, 3.0, 0.5, 0.7])
  assert two_way_variance(values, ear, control) == pytest.approx(values @ shared @ values)
  several = two_way_variance(np.stack([values, -2 * values]), ear, control)
  assert several == pytest.approx(np.array([1, 4]) * (values @ shared @ values))


def test_forecasts_that_persist_do_not_pass_for_many():
  # Each region says the same at five intervals, and partners change; EARs and CRs alike.
  rng = np.random.default_rng(0)
  found, held = [], 0
  for seed in range(200):
    ear = np.tile(np.arange(40), 5)
    control = np.concatenate([rng.permutation(40) for _ in range(5)])
    values = np.sign(rng.standard_normal(40)[ear] - rng.standard_normal(40)[control]) / 200
    found.append(exchange_test(values, ear, control, 199, seed))
    held += abs(values.sum()) <= 1.96 * np.sqrt(two_way_variance(values - values.mean(), ear, control))
  assert np.mean(np.array(found) <= 0.1) <= 0.16 and np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.1)
  assert held / 200 >= 0.9


def test_exchange_test_of_single_couples_is_the_sign_test():
  values = np.array([1.0] * 16 + [-1.0] * 6 + [0.0] * 5)
  regions = np.arange(len(values))
  assert exchange_test(values, regions, regions, 20000, 0) == pytest.approx(binom.sf(15, 22, 0.5), abs=0.005)
  assert exchange_test(np.ones(60), np.arange(60), np.arange(60), 99, 0) == 0.01
  assert exchange_test(np.zeros(5), np.arange(5), np.arange(5), 99, 0) == 1


# --- Bad input ------------------------------------------------------------------------------------------------------


def test_no_couple_is_a_row_and_no_error():
  log_gauss = draw_fluxes(10, 0)
  log_gauss[:, 1] += 5
  log_gauss[0, 1, 1] = log_gauss[0, 0, 1]
  found, mean = matched_skill_table([random_table(10, TIMES)], survey_of(log_gauss), (0.01,), 20, 0)
  empty, single = (row_of(found, 0.01, interval) for interval in TIMES)
  assert empty['n_couples'] == 0 and empty['small']
  assert all(np.isnan(empty[name]) for name in ('tss', 'tss_low', 'ahead', 'ahead_high', 'total_dex', 'p'))
  # The mean is over the intervals that have couples.
  assert single['n_couples'] == 1 and row_of(mean, 0.01)['n_intervals'] == 1
  assert row_of(mean, 0.01)['tss'] == single['tss']


def test_bad_input_is_refused():
  survey, table = survey_of(draw_fluxes(5, 0)), random_table(5, TIMES)
  for tolerances in ((), (0.1, 0.0), (np.nan,)):
    with pytest.raises(ValueError, match='Tolerances of flux are positive numbers'):
      matched_skill_table([table], survey, tolerances, 20, 0)
  with pytest.raises(ValueError, match='cnn has only one class: there are no couples'):
    matched_skill_table([table[table['label'] == 1]], survey, (0.1,), 20, 0)
  with pytest.raises(ValueError, match='at least one draw, got 0'):
    matched_skill_table([table], survey, (np.inf,), 0, 0)
