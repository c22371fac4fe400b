"""Intervals of the skill: variances known by hand, worlds without skill, and analyses that know the label."""

import functools

import numpy as np
import pytest
from scipy.stats import norm

from hearjax.models.discriminant import DiscriminantSettings, discriminant_analysis, survey_features
from hearjax.survey.folds import make_splits
from hearjax.verification.calibration import EACH, HALF, calibrate
from hearjax.verification.intervals import (
  bootstrap_tss,
  learning_curve,
  pair_counts,
  permutation_table,
  pool_deals,
  simultaneous_band,
  skill_samples,
  widen,
)
from hearjax.verification.predictions import build_predictions
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import tss
from hearjax.verification.skill import skill_table
from tests.conftest import survey_apart
from tests.hand_made import make_table, random_table

# --- Samples --------------------------------------------------------------------------------------------------------


def test_counts_of_pairs():
  # The controls of pair 0 and 1 are warned of at TI-01, and nobody at TI-05; all emerging ones are, at both.
  probability = np.full((3, 2, 2), 0.2)
  probability[:, 1] = 0.8
  probability[:2, 0, 1] = 0.7
  counts = pair_counts(calibrate(make_table(probability, intervals=(-5, -1))), HALF)
  assert counts.tolist() == [[[1, 0, 0, 1], [1, 0, 1, 0]]] * 2 + [[[1, 0, 0, 1]] * 2]
  value, samples = bootstrap_tss(counts, 40, seed=1)
  np.testing.assert_allclose(value, [1, 1 / 3])
  assert np.all(samples[:, 0] == 1)
  # Draws of three pairs, each of them without its control or with it.
  assert {round(3 * sample) for sample in samples[:, 1]} == {0, 1, 2, 3}


def test_the_skill_is_that_of_the_skill_table():
  table = random_table(skill=1.0)
  value, _ = bootstrap_tss(pair_counts(calibrate(table)), 1, seed=3)
  scored = skill_table([table], 1, seed=3)
  scored = scored[scored['threshold_rule'] == EACH]
  np.testing.assert_allclose(value, scored['tss'])


def test_widening_is_that_of_nadeau_and_bengio():
  rng = np.random.default_rng(0)
  samples = 0.3 + 0.1 * rng.standard_normal((500, 2))
  value = np.array([0.3, 0.3])
  for n_folds in (2, 10):
    # n pairs: of the variance s^2 / J of the mean of J folds they make s^2 (1/J + n_test / n_train).
    n_test, n_train = 60 / n_folds, 60 - 60 / n_folds
    factor = (1 / n_folds + n_test / n_train) / (1 / n_folds)
    wide = widen(value, samples, n_folds)
    np.testing.assert_allclose((wide - value).var(axis=0), factor * (samples - value).var(axis=0))
  np.testing.assert_array_equal(widen(value, samples, 1), samples)


def test_the_variance_of_pooled_deals_is_that_within_and_between():
  rng = np.random.default_rng(1)
  values = np.array([[0.1, 0.5], [0.2, 0.5], [0.6, 0.5]])
  samples = values[:, None] + np.array([0.05, 0.1, 0.2])[:, None, None] * rng.standard_normal((3, 4000, 2))
  mean, pooled = pool_deals(values, samples)
  np.testing.assert_allclose(mean, [0.3, 0.5])
  within = (0.05**2 + 0.1**2 + 0.2**2) / 3
  between = (0.2**2 + 0.1**2 + 0.3**2) / 2
  np.testing.assert_allclose(pooled.var(axis=0), [within + between, within], rtol=0.03)


def test_pooling_is_linear():
  """So that means over intervals and differences of models are taken of samples."""
  rng = np.random.default_rng(2)
  first, second = (
    pool_deals(values, values[:, None] + rng.standard_normal((4, 9, 3))) for values in rng.standard_normal((2, 4, 3))
  )
  rng = np.random.default_rng(2)
  values = rng.standard_normal((2, 4, 3))
  noise = np.stack([rng.standard_normal((4, 9, 3)) for _ in values])
  difference = pool_deals(values[0] - values[1], values[0][:, None] + noise[0] - values[1][:, None] - noise[1])
  for minuend, subtrahend, expected in zip(first, second, difference, strict=True):
    np.testing.assert_allclose(minuend - subtrahend, expected, atol=1e-12)


def dealt(seed, n_folds=5, **keywords):
  """A table of the same forecasts, the pairs in other folds."""
  table = random_table(n_pairs=40, skill=0.8, **keywords)
  _, pair = np.unique(table['pair_id'], return_inverse=True)
  table['fold'] = (np.random.default_rng(seed).permutation(40) % n_folds)[pair]
  return calibrate(table)


def test_one_deal_is_widened_and_several_are_pooled():
  deals = [dealt(seed) for seed in range(3)]
  plain = [bootstrap_tss(pair_counts(one), 200, 7) for one in deals]
  value, samples = skill_samples(deals[:1], EACH, 200, 7)
  np.testing.assert_array_equal(value, plain[0][0])
  np.testing.assert_allclose(np.ptp(samples, axis=0), 1.5 * np.ptp(plain[0][1], axis=0))  # Five folds: 1 + 5 / 4.
  value, samples = skill_samples(deals, EACH, 200, 7)
  np.testing.assert_allclose(value, np.mean([one for one, _ in plain], axis=0))
  assert samples.shape == (600, 2)
  low, high = confidence_interval(samples)
  assert np.all((low < value) & (value < high))


def test_deals_of_the_same_folds_have_the_variance_of_one_and_are_told():
  first = dealt(0)
  renamed = first.copy()
  renamed['fold'] = 4 - renamed['fold']
  with pytest.raises(ValueError, match='Two deals of cnn have the same folds'):
    skill_samples([first, renamed], EACH, 10, 0)


def test_deals_that_do_not_belong_together_are_told():
  with pytest.raises(ValueError, match='no predictions to bound'):
    skill_samples([], EACH, 10, 0)
  with pytest.raises(ValueError, match='these are of cnn, da_flux'):
    skill_samples([dealt(0), dealt(1, model='da_flux')], EACH, 10, 0)
  with pytest.raises(ValueError, match='cnn forecast other magnetograms'):
    skill_samples([dealt(0), dealt(1)[1:]], EACH, 10, 0)


# --- Band -----------------------------------------------------------------------------------------------------------


def test_the_band_of_independent_intervals_is_that_of_sidak():
  rng = np.random.default_rng(3)
  value, spread = np.array([0.1, 0.2, 0.3, np.nan]), np.array([0.05, 0.1, 0.2, 1.0])
  low, high = simultaneous_band(value, value + spread * rng.standard_normal((40000, 4)))
  quantile = norm.ppf((1 + 0.95 ** (1 / 3)) / 2)
  np.testing.assert_allclose(high[:3] - value[:3], quantile * spread[:3], rtol=0.02)
  np.testing.assert_allclose(low + high, 2 * value)
  assert np.isnan(high[3])


def test_the_band_of_intervals_that_are_one_is_not_corrected():
  noise = np.random.default_rng(4).standard_normal((40000, 1))
  low, high = simultaneous_band(np.zeros(3), noise * np.array([1, 2, 0]))
  np.testing.assert_allclose(high, [1.96, 3.92, 0], rtol=0.02)
  np.testing.assert_allclose(low, -high)


# --- Fitted again ---------------------------------------------------------------------------------------------------


def features_of(survey, distance, seed):
  """Returns features of the table of the discriminant analyses, the unsigned flux of EARs `distance` dex larger."""
  rng = np.random.default_rng(seed)
  persistent = rng.standard_normal(len(survey.region_ids))[survey.region]
  flux = 21 + 0.3 * persistent + 0.1 * rng.standard_normal(len(survey)) + distance * survey.label
  features = survey_features(survey, DiscriminantSettings()).copy()
  features[:, 0] = 10**flux
  return features


def flux_analysis(features):
  return functools.partial(discriminant_analysis, model='da_flux', settings=DiscriminantSettings(), features=features)


def test_exchanged_labels_say_whether_there_is_skill():
  survey = survey_apart(24)
  splits = make_splits(survey, 2, 0)
  strong = permutation_table(flux_analysis(features_of(survey, 0.6, 0)), survey, splits, 9, 0)
  assert strong['interval'].tolist() == [-2, -1]
  assert np.all(strong['tss'] > 0.5)
  np.testing.assert_allclose(strong['p_value'], 1 / 10)
  np.testing.assert_allclose(strong['p_corrected'], 1 / 10)
  none = permutation_table(flux_analysis(features_of(survey, 0.0, 0)), survey, splits, 9, 0)
  assert np.all(none['p_value'] > 1 / 10)
  assert np.all(none['p_corrected'] >= none['p_value'])


class Oracle:
  """Forecasts the label that each region had to begin with, whatever it is taught; counts what it was given."""

  def __init__(self, survey):
    self.truth, self.labels = survey.label, []

  def __call__(self, survey, splits):
    self.labels.append(survey.label)
    fold_of = {pair: number for number, fold in enumerate(splits.folds) for pair in fold.test}
    columns = {
      'row': np.arange(len(survey)),
      'fold': np.array([fold_of[pair] for pair in survey.pair_names()]),
      'seed': np.zeros(len(survey), int),
      'logit': 4.0 * self.truth - 2.0,
      'threshold': np.full(len(survey), 0.5),
    }
    return build_predictions(survey, columns, 'oracle', {})


def test_the_two_regions_of_a_pair_are_exchanged_at_all_intervals():
  survey = survey_apart(12)
  oracle = Oracle(survey)
  table = permutation_table(oracle, survey, make_splits(survey, 3, 0), 30, 0)
  np.testing.assert_array_equal(oracle.labels[0], survey.label)
  turned = np.array(oracle.labels[1:]) != survey.label
  for pair in range(12):
    assert np.all(turned[:, survey.pair == pair] == turned[:, survey.pair == pair][:, :1])
  assert 0.4 < turned.mean() < 0.6
  assert table['tss'].tolist() == [1, 1]
  np.testing.assert_allclose(table['p_value'], 1 / 31)


def test_a_test_without_exchanges_is_told():
  survey = survey_apart(12)
  with pytest.raises(ValueError, match='at least one exchange of the labels, got 0'):
    permutation_table(Oracle(survey), survey, make_splits(survey, 3, 0), 0, 0)


def test_a_learning_curve_learns_from_as_many_pairs_as_it_says():
  survey = survey_apart(24)
  splits = make_splits(survey, 3, 0)
  given = []

  def analyse(survey, splits):
    given.append(splits)
    return flux_analysis(features)(survey, splits)

  features = features_of(survey, 0.6, 0)
  table = learning_curve(analyse, survey, splits, (6, 16), 2, 0)
  assert [[len(fold.train + fold.validation) for fold in one.folds] for one in given] == [[6] * 3, [16] * 3] * 2
  for one in given:
    for fold, whole in zip(one.folds, splits.folds, strict=True):
      assert fold.test == whole.test
      assert set(fold.train) <= set(whole.train + whole.validation)
  assert set(given[0].folds[0].train) < set(given[1].folds[0].train)
  assert set(given[0].folds[0].train) != set(given[2].folds[0].train)
  assert table['training_pairs'].tolist() == [6, 6, 16, 16]
  assert table['interval'].tolist() == [-2, -1] * 2
  # All pairs of a fold's training part: what the analysis is worth, the same in every draw.
  whole = tss(pair_counts(calibrate(flux_analysis(features)(survey, splits))).sum(axis=0))
  np.testing.assert_allclose(table['tss'][2:], whole)
  np.testing.assert_allclose(table['tss_std'][2:], 0, atol=1e-12)


def test_the_sampling_limit_of_a_learning_curve():
  """The standard deviation of a mean of n values of a pair, (hit - false alarm)."""
  survey = survey_apart(24)
  splits = make_splits(survey, 3, 0)
  analyse = flux_analysis(features_of(survey, 0.3, 1))
  table = learning_curve(analyse, survey, splits, (16,), 1, 0)
  counts = pair_counts(calibrate(analyse(survey, splits)))
  expected = (counts[..., 0] - counts[..., 2]).std(axis=0) / np.sqrt(24)
  np.testing.assert_allclose(table['sampling_std'], expected, rtol=0.08)
  assert np.all(np.isnan(table['tss_std']))


def test_learning_curves_that_cannot_be_are_told():
  survey = survey_apart(12)
  splits = make_splits(survey, 3, 0)
  for numbers in ((), (0, 4), (4, 9)):
    with pytest.raises(ValueError, match='must lie between 1 and 8, got'):
      learning_curve(Oracle(survey), survey, splits, numbers, 1, 0)
  with pytest.raises(ValueError, match='at least one draw, got 0'):
    learning_curve(Oracle(survey), survey, splits, (4,), 0, 0)
