"""Nuisance classifier and balance: by hand, against other libraries, and surveys with and without a leak."""

import warnings

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hearjax.solar import mu
from hearjax.verification.nuisance import (
  balance_table,
  disk_centre_latitude,
  noise_gauss,
  nuisance_predictions,
  nuisance_table,
  sun_longitude,
)
from hearjax.verification.skill import skill_mean_table
from tests.conftest import make_survey

NAMES = [
  'latitude',
  '|latitude|',
  'cmd',
  '|cmd|',
  'mu',
  'b0',
  'season_sine',
  'season_cosine',
  'n_frames',
  'missing',
  'noise',
  'quality_bits',
]
LEAKS = {
  'n_frames': lambda values, ear: values - 5 * ear,
  'missing': lambda values, ear: values + 0.01 * ear,
  'mu': lambda values, ear: values - 0.1 * ear,
}


def draw_survey(seed, pairs=80, intervals=(-1,)):
  """Returns a survey whose metadata are drawn alike for both classes, latitude and cmd once for each pair."""
  survey = make_survey(pairs, intervals, size=8)
  rng = np.random.default_rng(seed)
  n = len(survey)
  mjd = rng.uniform(55317, 58000, 2 * pairs)[survey.region] + survey.hours / 24
  latitude = rng.normal(0, 17, pairs)[survey.pair]
  cmd = rng.uniform(-50, 58, pairs)[survey.pair] + 0.55 * survey.hours
  noise = 3 * np.exp(0.1 * rng.standard_normal(2 * pairs))[survey.region]
  return survey.replace(
    mjd=mjd,
    latitude=latitude,
    cmd=cmd,
    mu=mu(cmd, latitude, disk_centre_latitude(mjd)),
    n_frames=547 - rng.geometric(0.05, n) * (rng.random(n) < 0.1),
    missing=rng.exponential(0.02, n) * (rng.random(n) < 0.2),
    quality=1024 * (rng.random(n) < 0.1),
    field=noise[:, None, None] * rng.standard_normal((n, 8, 8)),
  )


def folds_of(survey, n_folds=4):
  return {pair: number % n_folds for number, pair in enumerate(survey.pair_ids)}


def score(survey):
  table = skill_mean_table([nuisance_predictions(survey, folds_of(survey))], 200, 0)
  return table[table['threshold_rule'] == 'each'][0]


def row_of(table, quantity):
  return table[list(table['quantity']).index(quantity)]


# --- The quantities -------------------------------------------------------------------------------------------------


def test_quantities_by_hand():
  survey = make_survey(2)
  bits = np.zeros(len(survey), np.int64)
  bits[:3] = [0x400, 0x80000400, 0xFFFFFFFF]
  survey = survey.replace(quality=bits.astype(np.uint32).view(np.int32))
  table = nuisance_table(survey)
  assert table.colnames == NAMES and len(table) == len(survey)
  np.testing.assert_array_equal(table['quality_bits'][:4], [1, 2, 32, 0])
  np.testing.assert_array_equal(table['|latitude|'], 15)
  np.testing.assert_array_equal(table['latitude'], survey.latitude)
  np.testing.assert_array_equal(table['|cmd|'], np.abs(survey.cmd))
  np.testing.assert_array_equal(table['mu'], survey.mu)
  np.testing.assert_allclose(table['season_sine'] ** 2 + table['season_cosine'] ** 2, 1)
  assert [str(table[name].unit) for name in ('latitude', 'b0', 'noise')] == ['deg', 'deg', 'G']


def test_sun_at_the_dates_of_the_almanac():
  # Meeus (1998), examples 25.a and 29.a: 1992 October 13.0.
  assert sun_longitude(48908.0) == pytest.approx(199.90988, abs=1e-3)
  assert disk_centre_latitude(48908.0) == pytest.approx(5.99, abs=5e-3)
  # The March equinox of 2020 was at 03:50 on the 20th, the September equinox at 13:31 on the 22nd.
  np.testing.assert_allclose(np.sin(np.deg2rad(sun_longitude(np.array([58928.160, 59114.563])))), 0, atol=5e-4)
  assert np.isnan(disk_centre_latitude(np.array([np.nan, 55000.0]))).tolist() == [True, False]


def test_disk_centre_agrees_with_sunpy():
  sun = pytest.importorskip('sunpy.coordinates.sun')
  time = pytest.importorskip('astropy.time').Time
  mjd = np.linspace(51000, 60000, 40)
  np.testing.assert_allclose(disk_centre_latitude(mjd), sun.B0(time(mjd, format='mjd')).deg, atol=0.01)


def test_noise_is_that_of_the_outside():
  rng = np.random.default_rng(0)
  sigma = np.array([1.0, 3.0, 10.0])
  field = sigma[:, None, None] * rng.standard_normal((3, 128, 128))
  plain = noise_gauss(field)
  np.testing.assert_allclose(plain, sigma, rtol=0.03)
  np.testing.assert_allclose(noise_gauss(-field + 40), plain)
  changed = field.copy()
  changed[:, 32:96, 32:96] = 1e4 * rng.standard_normal((3, 64, 64))
  np.testing.assert_array_equal(noise_gauss(changed), plain)
  # A few strong pixels, and a quarter that is missing.
  changed[:, 5::20, 5::20] = 1e4
  changed[:, :, :32] = np.nan
  np.testing.assert_allclose(noise_gauss(changed), sigma, rtol=0.06)


def test_noise_of_nothing_is_not_known():
  field = np.ones((2, 16, 16), np.float32)
  field[0] = np.nan
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    np.testing.assert_array_equal(noise_gauss(field), [np.nan, 0])


# --- The classifier -------------------------------------------------------------------------------------------------


def test_forecasts_agree_with_a_fit_by_hand():
  survey = draw_survey(0, pairs=40, intervals=(-3, -1))
  table = nuisance_predictions(survey, folds_of(survey))
  assert table.meta['model'] == 'nuisance' and set(table['threshold']) == {0.5} and set(table['seed']) == {0}
  assert len(table) == len(survey) and table.meta['settings']['quantities'] == NAMES
  quantities = nuisance_table(survey)
  values = np.stack([np.asarray(quantities[name], float) for name in NAMES], axis=1)
  there = survey.interval == -3
  fitted, scored = there & (survey.pair % 4 != 1), there & (survey.pair % 4 == 1)

  def standardised(columns):
    spread = columns[fitted].std(axis=0)
    return (columns - columns[fitted].mean(axis=0)) / np.where(spread > 0, spread, 1)

  linear = standardised(values)
  inputs = standardised(np.hstack([linear, linear**2]))
  model = LogisticRegression(max_iter=5000, tol=1e-8).fit(inputs[fitted], survey.label[fitted])
  np.testing.assert_allclose(table['logit'][scored], model.decision_function(inputs[scored]), atol=2e-3)
  np.testing.assert_array_equal(table['fold'], survey.pair % 4)


def test_a_fold_knows_nothing_of_its_own_labels():
  survey = draw_survey(0, pairs=40)
  inside = survey.pair % 4 == 0
  other = survey.replace(label=np.where(inside, 1 - survey.label, survey.label))
  first, second = (np.asarray(nuisance_predictions(one, folds_of(one))['logit']) for one in (survey, other))
  np.testing.assert_array_equal(first[inside], second[inside])
  assert np.all(first[~inside] != second[~inside])


def test_what_is_not_known_is_the_mean_of_the_training_part():
  survey = draw_survey(0, pairs=40)
  training = survey.pair % 4 != 0
  row = int(np.flatnonzero(~training)[3])
  logits = []
  for value in (np.nan, np.inf, survey.missing[training].mean(), 0.5):
    missing = survey.missing.copy()
    missing[row] = value
    changed = survey.replace(missing=missing)
    logits.append(nuisance_predictions(changed, folds_of(changed))['logit'][row])
  assert logits[0] == logits[1] == pytest.approx(logits[2])
  assert abs(logits[3] - logits[2]) > 0.1


@pytest.mark.parametrize('leak', LEAKS)
def test_a_leak_is_found_and_named(leak):
  for seed in range(2):
    survey = draw_survey(seed, pairs=120)
    survey = survey.replace(**{leak: LEAKS[leak](getattr(survey, leak), survey.label)})
    assert score(survey)['tss_refit_low'] > 0
    assert row_of(balance_table(survey, 200, 0), leak)['unbalanced']


def test_without_a_leak_there_is_no_skill():
  found = [score(draw_survey(seed)) for seed in range(20)]
  inside = [row['tss_refit_low'] <= 0 <= row['tss_refit_high'] for row in found]
  assert np.mean(inside) >= 0.9
  assert abs(np.mean([row['tss'] for row in found])) < 0.06


@pytest.mark.filterwarnings('error')
def test_metadata_that_say_nothing_break_nothing():
  survey = draw_survey(0, pairs=40)
  unknown, n = np.full(len(survey), np.nan), len(survey)
  survey = survey.replace(mjd=unknown, mu=unknown, field=np.full((n, 8, 8), np.nan), n_frames=np.full(n, 547))
  assert np.isfinite(nuisance_predictions(survey, folds_of(survey))['logit']).all()
  table = balance_table(survey, 20, 0)
  assert row_of(table, 'mu')['n_pairs'] == 0 and np.isnan(row_of(table, 'mu')['standardised'])
  assert row_of(table, 'n_frames')['standardised'] == 0 and not table['unbalanced'].any()


def test_an_outlier_does_not_set_the_scale():
  survey = draw_survey(0, pairs=40)
  survey = survey.replace(missing=np.where(np.arange(len(survey)) == 7, 1e9, survey.missing))
  assert np.abs(nuisance_predictions(survey, folds_of(survey))['logit']).max() == 10


def test_bad_folds_are_refused():
  survey = draw_survey(0, pairs=8, intervals=(-3, -1))
  folds = folds_of(survey)
  with pytest.raises(ValueError, match='The pair pair002 of the survey has no fold'):
    nuisance_predictions(survey, {pair: fold for pair, fold in folds.items() if pair != 'pair002'})
  with pytest.raises(ValueError, match='All pairs are in fold 3'):
    nuisance_predictions(survey, dict.fromkeys(folds, 3))
  one_class = survey.select((survey.label == 1) | (survey.pair % 4 == 2) | (survey.interval == -3))
  with pytest.raises(ValueError, match='at interval -1 the folds other than 2 have 6 EARs and 0 CRs'):
    nuisance_predictions(one_class, folds)


# --- The balance ----------------------------------------------------------------------------------------------------


def test_balance_by_hand():
  survey = make_survey(3, (-2, -1), size=16)
  # Regions are CR000 … CR002, EAR000 … EAR002, each with two intervals; their means are 1, 2, 6 and 3, 4, 5.
  missing = np.array([0, 2, 2, 2, 6, np.nan, 1, 5, 4, 4, 5, 5]) / 10
  row = row_of(balance_table(survey.replace(missing=missing), 50, 0), 'missing')
  assert (row['mean_cr'], row['mean_ear'], row['difference'], row['n_pairs']) == pytest.approx((0.3, 0.4, 0.1, 3))
  # Variances 7 and 1 (in hundredths): root mean 2.
  assert row['standardised'] == pytest.approx(0.5)
  assert row['auc'] == pytest.approx(6 / 9)
  # Without CR002 its pair does not count.
  missing[4:6] = np.nan
  row = row_of(balance_table(survey.replace(missing=missing), 50, 0), 'missing')
  assert (row['mean_cr'], row['mean_ear'], row['n_pairs']) == pytest.approx((0.15, 0.35, 2))
  assert row['standardised'] == pytest.approx(0.2 / np.sqrt(0.005))
  # Differences of the pairs are 0.2 and 0.2.
  assert (row['difference_low'], row['difference_high'], row['unbalanced']) == pytest.approx((0.2, 0.2, True))


def test_balance_agrees_with_other_libraries():
  survey = draw_survey(3, pairs=200)
  table = balance_table(survey, 2000, 0)
  quantities = nuisance_table(survey)
  for name in ('mu', 'b0', 'noise'):
    row, values = row_of(table, name), np.asarray(quantities[name], float)
    ear, cr = (values[survey.label == value] for value in (1, 0))
    bounds = ttest_rel(ear, cr).confidence_interval()
    assert (row['difference_low'], row['difference_high']) == pytest.approx(
      (bounds.low, bounds.high), abs=0.15 * (bounds.high - bounds.low)
    )
    assert row['auc'] == pytest.approx(roc_auc_score(survey.label, values))
    assert row['standardised_low'] < row['standardised'] < row['standardised_high']


def test_balance_does_not_depend_on_the_order():
  survey = draw_survey(0, pairs=20, intervals=(-3, -1))
  mixed = survey.select(np.random.default_rng(0).permutation(len(survey)))
  first, second = (balance_table(one, 50, 0) for one in (survey, mixed))
  for name in first.colnames[2:]:
    np.testing.assert_allclose(first[name], second[name], rtol=1e-6, atol=1e-9)


def test_what_is_matched_is_balanced_and_what_is_exchanged_turns_round():
  survey = draw_survey(0, pairs=40)
  table, turned = balance_table(survey, 50, 0), balance_table(survey.replace(label=1 - survey.label), 50, 0)
  for name in ('latitude', '|latitude|', 'cmd', '|cmd|'):
    assert row_of(table, name)['difference_low'] == row_of(table, name)['difference_high'] == 0
  np.testing.assert_allclose(turned['standardised'], -table['standardised'])
  np.testing.assert_allclose(turned['difference_low'], -table['difference_high'])
  np.testing.assert_allclose(turned['auc'], 1 - table['auc'])


def test_a_difference_without_scatter_is_told_as_the_largest():
  survey = draw_survey(0, pairs=10)
  row = row_of(balance_table(survey.replace(n_frames=500 - 0.1 * survey.label), 50, 0), 'n_frames')
  assert row['standardised'] == row['standardised_low'] == row['standardised_high'] == -10
  assert row['unbalanced'] and row['auc'] == 0


def test_small_differences_are_in_balance_however_sure():
  survey = draw_survey(0, pairs=80)
  row = row_of(balance_table(survey.replace(cmd=survey.cmd + 0.5 * survey.label), 50, 0), 'cmd')
  assert row['difference_low'] == pytest.approx(0.5) and 0 < row['standardised'] < 0.1 and not row['unbalanced']


def test_bad_input_of_the_balance_is_refused():
  survey = draw_survey(0, pairs=4)
  with pytest.raises(ValueError, match='No pair of the survey has both an EAR and a CR'):
    balance_table(survey.select(survey.label == survey.pair % 2), 50, 0)
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    balance_table(survey, 0, 0)
