"""Strata: by hand, against other libraries, and models whose skill is in one stratum alone."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from hearjax.verification.calibration import calibrate, forecast
from hearjax.verification.matching import region_fluxes, rows_in_survey
from hearjax.verification.skill import skill_mean_table
from hearjax.verification.strata import quantities, strata_table
from tests.conftest import make_survey
from tests.hand_made import make_table, random_table

TIMES = (-5, -1)


def averaged_of(skill, seed=0, intervals=TIMES):
  """Returns forecasts, `skill` `[pair]` being the distance of the classes of a pair in standard deviations."""
  noise = np.random.default_rng(seed).standard_normal((len(skill), 2, len(intervals)))
  shift = np.array([-0.5, 0.5])[:, None] * np.asarray(skill)[:, None, None]
  return calibrate(make_table(expit(noise + shift), intervals=intervals))


def strata_of(table, quantity):
  return table[table['quantity'] == quantity]


def test_quantities_by_hand():
  survey = make_survey(2, TIMES, size=64)
  field = survey.field.copy()
  field[:, :8] = 1e4
  field[0, 30:32, 30] = [-900, np.nan]
  survey = survey.replace(field=field)
  found = quantities(survey)
  inside = np.nan_to_num(np.abs(field[:, 8:-8, 8:-8]))
  np.testing.assert_allclose(found['peak |B| [G]'], inside.max(axis=(1, 2)))
  assert found['peak |B| [G]'][0] == 900
  # Of 2,304 pixels, 0.1 % are above: between the third and the fourth largest.
  ordered = np.sort(inside.reshape(len(survey), -1))
  assert np.all(
    (ordered[:, -4] <= found['99.9th percentile of |B| [G]'])
    & (found['99.9th percentile of |B| [G]'] <= ordered[:, -3])
  )
  fluxes = region_fluxes(survey)
  np.testing.assert_allclose(found['central unsigned flux [1e20 Mx]'] * 1e20, 10 ** fluxes[:, 1])
  # Both intervals of a region have what it had at the earlier one, in whatever order they come.
  for name in survey.region_ids:
    rows = survey.region_names() == name
    early = fluxes[rows & (survey.interval == -5), 0]
    np.testing.assert_allclose(found['earliest unsigned flux [1e20 Mx]'][rows] * 1e20, np.repeat(10**early, 2))
  mixed = np.random.default_rng(0).permutation(len(survey))
  for name, values in quantities(survey.select(mixed)).items():
    np.testing.assert_allclose(values, found[name][mixed], rtol=1e-6)


def test_strata_are_thirds_and_hemispheres():
  survey, averaged = make_survey(30, TIMES, size=16), averaged_of(np.ones(30))
  table = strata_table([averaged], survey, 20, 0)
  assert table.colnames[:8] == ['model', 'quantity', 'low', 'high', 'n_pairs', 'n_ear', 'n_cr', 'small']
  peak = strata_of(table, 'peak |B| [G]')
  values = quantities(survey)['peak |B| [G]']
  assert peak['low'][0] == pytest.approx(values.min()) and peak['high'][2] == pytest.approx(values.max())
  np.testing.assert_allclose(peak['low'][1:], peak['high'][:-1])
  inside = [np.sum((values >= low) & (values <= high)) for low, high in zip(peak['low'], peak['high'], strict=True)]
  assert inside == pytest.approx([40, 40, 40], abs=1)
  # In this survey odd pairs lie in the south.
  south, north = strata_of(table, 'latitude [deg]')
  assert (south['low'], south['high'], north['high']) == (-90, 0, 90)
  assert (south['n_pairs'], south['n_ear'], south['n_cr'], south['small']) == (15, 15, 15, True)
  assert not any(
    strata_of(strata_table([averaged_of(np.ones(50))], make_survey(50, TIMES, 16), 5, 0), 'latitude [deg]')['small']
  )


def test_scores_of_a_stratum_against_other_code():
  survey, averaged = make_survey(40, TIMES, size=16), averaged_of(np.ones(40))
  south = strata_of(strata_table([averaged], survey, 400, 0), 'latitude [deg]')[0]
  part = averaged[survey.latitude[rows_in_survey(survey, averaged)] < 0]
  aucs, skills = [], []
  for interval in TIMES:
    rows = part[part['interval'] == interval]
    aucs.append(roc_auc_score(rows['label'], rows['calibrated']))
    skills.append(np.mean(forecast(rows)[rows['label'] == 1]) - np.mean(forecast(rows)[rows['label'] == 0]))
  assert south['auc'] == pytest.approx(np.mean(aucs)) and south['tss'] == pytest.approx(np.mean(skills))
  assert south['tss_low'] < south['tss'] < south['tss_high'] and south['auc_low'] < south['auc'] < south['auc_high']


def test_a_stratum_of_all_has_the_skill_of_all():
  survey = make_survey(40, TIMES, size=16)
  table = random_table(40, TIMES, skill=1.0)
  north = survey.replace(latitude=np.abs(survey.latitude))
  south, whole = strata_of(strata_table([calibrate(table)], north, 300, 0), 'latitude [deg]')
  mean = skill_mean_table([table], 300, 0)
  expected = mean[mean['threshold_rule'] == 'each'][0]
  for name in ('tss', 'tss_low', 'tss_high'):
    assert whole[name] == pytest.approx(expected[name], abs=0.01)
  assert south['n_pairs'] == 0 and south['small'] and np.isnan(south['tss']) and np.isnan(south['auc_low'])


def test_skill_is_found_where_it_is():
  # A model that knows the north alone: even pairs.
  averaged = averaged_of(np.where(np.arange(160) % 2, 0.0, 3.0))
  south, north = strata_of(strata_table([averaged], make_survey(160, TIMES, 16), 300, 0), 'latitude [deg]')
  assert north['tss_low'] > 0.5 and north['auc_low'] > 0.9
  assert south['tss_low'] <= 0 <= south['tss_high'] and south['auc_low'] <= 0.5 <= south['auc_high']


def test_a_meter_of_flux_loses_its_skill_within_strata_of_flux():
  survey = make_survey(150, (-1,), 16)
  rng = np.random.default_rng(0)
  strength = 10 ** (1 + 0.2 * rng.standard_normal(len(survey)) + 0.2 * survey.label)
  field = strength[:, None, None] * np.sign(rng.standard_normal(survey.field.shape))
  survey = survey.replace(field=field.astype(np.float32))
  said = np.zeros((150, 2, 1))
  said[survey.pair, survey.label, 0] = 5 * (np.log10(strength) - 1.1)
  averaged = calibrate(make_table(expit(said), intervals=(-1,)))
  table = strata_table([averaged], survey, 300, 0)
  assert np.all(strata_of(table, 'latitude [deg]')['tss_low'] > 0.1)
  low, _, high = strata_of(table, 'central unsigned flux [1e20 Mx]')
  # Its threshold lies in the middle third.
  assert low['tss'] == high['tss'] == 0 and low['auc'] < strata_of(table, 'latitude [deg]')['auc'].min()


def test_strata_of_one_class_have_no_score():
  survey = make_survey(30, TIMES, 16)
  survey = survey.replace(latitude=np.where(survey.label == 1, 15.0, -15.0).astype(np.float32))
  for row in strata_of(strata_table([averaged_of(np.ones(30))], survey, 20, 0), 'latitude [deg]'):
    assert row['small'] and row['n_pairs'] == 30
    assert all(np.isnan(row[f'{name}{bound}']) for name in ('tss', 'auc') for bound in ('', '_low', '_high'))


def test_only_intervals_before_emergence_count():
  survey = make_survey(20, (-1, 0), 16)
  averaged = averaged_of(np.ones(20), intervals=(-1, 0))
  changed = averaged.copy()
  changed['calibrated'][changed['interval'] == 0] = 0.1
  for column in ('tss', 'auc_low', 'n_ear'):
    before, after = (strata_table([table], survey, 20, 0)[column] for table in (averaged, changed))
    np.testing.assert_array_equal(before, after)


def test_bad_input_is_refused():
  survey, averaged = make_survey(5, TIMES, 16), averaged_of(np.ones(5))
  with pytest.raises(ValueError, match='no magnetogram of region CR000 at interval -5, which cnn forecasts'):
    strata_table([averaged], survey.select(survey.label == 1), 5, 0)
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    strata_table([averaged], survey, 0, 0)
  with pytest.raises(ValueError, match='cnn has no forecast before emergence'):
    strata_table([averaged_of(np.ones(5), intervals=(0,))], survey, 5, 0)
