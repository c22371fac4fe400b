"""Discriminant analysis: nothing is learnt from the test fold, and closed forms where there are some."""

import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KernelDensity

from hearjax.checks import UserError
from hearjax.maps.features import FEATURES
from hearjax.models.discriminant import (
  DISCRIMINANTS,
  LOGIT_LIMIT,
  PLACES_AT_ONCE,
  DiscriminantSettings,
  KernelDiscriminant,
  build_classifier,
  choose_threshold,
  discriminant_analysis,
  epanechnikov,
  kernel_log_odds,
  log_odds_at,
)
from hearjax.survey.fold_rows import rows_of
from hearjax.survey.folds import Fold, Splits
from hearjax.survey.survey import checksum
from hearjax.verification.scores import tss_at
from tests.conftest import make_survey

COLUMN = {name: index for index, name in enumerate(FEATURES)}


def make_splits(survey, n_folds=3) -> Splits:
  """Every n-th pair is tested together; one pair of the rest is for validation."""
  parts = []
  for number in range(n_folds):
    rest = [pair for index, pair in enumerate(survey.pair_ids) if index % n_folds != number]
    test = tuple(pair for pair in survey.pair_ids if pair not in rest)
    parts.append(Fold(test, tuple(rest[:1]), tuple(rest[1:])))
  return Splits(tuple(parts), 0, 15.0, 3.0, checksum(survey))


def make_features(survey, seed=0, signal=0.0) -> np.ndarray:
  """Features drawn at random, log-normal; the flux of an EAR is larger by `signal` standard deviations."""
  values = np.exp(0.3 * np.random.default_rng(seed).standard_normal((len(survey), len(FEATURES))))
  values[:, COLUMN['unsigned_flux']] *= np.exp(0.3 * signal * survey.label)
  return values.astype(np.float32)


@pytest.fixture(scope='module')
def survey():
  return make_survey(pairs=18, intervals=(-3, -1), size=8)


@pytest.mark.parametrize('model', DISCRIMINANTS)
def test_every_pair_is_forecast_once_out_of_its_fold(survey, model):
  splits = make_splits(survey)
  table = discriminant_analysis(survey, splits, model, features=make_features(survey, signal=3))
  keys = list(zip(table['region_id'], table['interval'], strict=True))
  assert sorted(keys) == sorted(zip(survey.region_names(), survey.interval, strict=True))
  for row in table:
    assert row['pair_id'] in splits.folds[row['fold']].test
  assert table.meta['model'] == model
  tss = tss_at(table['label'], table['probability'], 0.5)
  assert tss > (0.5 if model in ('da_flux', 'da_kernel') else 0.3)


@pytest.mark.parametrize('model', DISCRIMINANTS)
def test_nothing_is_learnt_from_the_test_fold(survey, model):
  splits = make_splits(survey)
  features = make_features(survey, signal=1)
  before = discriminant_analysis(survey, splits, model, features=features)
  test = rows_of(survey, splits.folds[0].test)
  changed = features.copy()
  changed[test] = changed[test[::-1]] * 50
  # Each pair keeps one region of each class; which one is which is exchanged.
  label, region_of_pair = np.array(survey.label), np.isin(np.arange(len(survey)), test)
  label[region_of_pair] = 1 - label[region_of_pair]
  after = discriminant_analysis(survey.replace(label=label), splits, model, features=changed)
  first = np.asarray(before['fold']) == 0
  np.testing.assert_array_equal(before['threshold'][first], after['threshold'][first])
  # The other folds train on these pairs, and must see the change.
  assert np.any(before['logit'][~first] != after['logit'][~first])
  # With the features as they were, labels alone change no forecast of their own fold.
  relabelled = discriminant_analysis(survey.replace(label=label), splits, model, features=features)
  np.testing.assert_array_equal(before['logit'][first], relabelled['logit'][first])


def test_flux_model_is_the_closed_form_of_one_dimension(survey):
  features = make_features(survey, signal=1)
  table = discriminant_analysis(survey, make_splits(survey), 'da_flux', features=features)
  splits = make_splits(survey)
  for row in table:
    fold = splits.folds[row['fold']]
    training = rows_of(survey, fold.train + fold.validation)
    training = training[survey.interval[training] == row['interval']]
    log_flux = np.log10(features[training, COLUMN['unsigned_flux']].astype(float))
    label = survey.label[training]
    means = [log_flux[label == c].mean() for c in (0, 1)]
    variance = np.mean([log_flux[label == c].var() for c in (0, 1)])
    own = (survey.region_names() == row['region_id']) & (survey.interval == row['interval'])
    x = np.log10(float(features[own, COLUMN['unsigned_flux']][0]))
    # Two Gaussians of one variance: the log odds are linear, zero half way between the means.
    expected = (means[1] - means[0]) / variance * (x - (means[0] + means[1]) / 2)
    assert row['logit'] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_flux_itself_may_be_used_instead_of_its_logarithm(survey):
  features = make_features(survey, signal=1)
  splits = make_splits(survey)
  linear = DiscriminantSettings(logarithm=False)
  tables = [discriminant_analysis(survey, splits, 'da_flux', s, features) for s in (None, linear)]
  assert np.max(np.abs(tables[0]['logit'] - tables[1]['logit'])) > 0.01
  assert tables[1].meta['settings']['logarithm'] is False


@pytest.mark.parametrize('model', ['da_linear', 'da_quadratic', 'da_kernel'])
def test_features_that_repeat_each_other_or_never_change_do_no_harm(survey, model):
  features = make_features(survey, signal=2)
  features[:, COLUMN['central_unsigned_flux']] = 3 * features[:, COLUMN['unsigned_flux']]
  features[:, COLUMN['polarity_separation']] = 0
  features[:, COLUMN['peak_field']] = 0
  table = discriminant_analysis(survey, make_splits(survey), model, features=features)
  assert np.all(np.abs(table['logit']) <= LOGIT_LIMIT)


def test_more_features_than_regions(survey):
  few = survey.select(survey.pair < 6)
  for model in DISCRIMINANTS:
    table = discriminant_analysis(few, make_splits(few), model, features=make_features(few))
    assert len(table) == len(few)


def test_too_few_pairs_are_named(survey):
  few = survey.select(survey.pair < 4)
  with pytest.raises(ValueError, match=r'Fold 0 has only 2 pairs to fit .* at interval -3; at least 4'):
    discriminant_analysis(few, make_splits(few, 2), 'da_linear', features=make_features(few))


def test_unknown_models_and_features_are_named(survey):
  with pytest.raises(ValueError, match="no discriminant analysis 'da_cubic'"):
    discriminant_analysis(survey, make_splits(survey), 'da_cubic')
  with pytest.raises(ValueError, match="Unknown features 'flux'; known are unsigned_flux, net_flux"):
    DiscriminantSettings(features=('flux',))
  with pytest.raises(ValueError, match='positive bandwidths'):
    DiscriminantSettings(bandwidths=(0.0,))


def test_epanechnikov_density_evaluated_by_hand():
  samples, place, bandwidth = np.array([0.0, 1.0, 5.0]), 0.5, 2.0
  # 3 / (4 h) (1 - u^2), u = 0.25 twice, the third out of reach.
  expected = 2 * 3 / 8 * (1 - 0.0625) / 3
  found = epanechnikov((samples - place) ** 2, bandwidth, 1).mean()
  assert found == pytest.approx(expected)


@pytest.mark.parametrize('dimensions', [1, 2, 3])
def test_epanechnikov_density_agrees_with_scikit_learn(dimensions):
  rng = np.random.default_rng(0)
  samples, places = rng.standard_normal((30, dimensions)), 0.3 * rng.standard_normal((5, dimensions))
  density = KernelDensity(kernel='epanechnikov', bandwidth=1.7).fit(samples)
  square = np.sum((places[:, None] - samples) ** 2, axis=-1)
  found = epanechnikov(square, 1.7, dimensions).mean(axis=1)
  np.testing.assert_allclose(found, np.exp(density.score_samples(places)), rtol=1e-6)


def test_kernel_log_odds_by_hand():
  # One sample of class 0 and two of class 1; the place reaches the first two.
  square, label = np.array([[0.0, 0.75, 9.0], [100.0, 100.0, 100.0]]), np.array([0, 1, 1])
  found = kernel_log_odds(square, 1.0, 1, label, np.ones((2, 3)))
  assert found[0] == pytest.approx(np.log((0.25 + 0.01) / 2 / (1 + 0.01)))
  # Nothing within reach: only the floors are left, a half for the class with two samples.
  assert found[1] == pytest.approx(np.log(0.5))
  left_out = kernel_log_odds(square, 1.0, 1, label, np.array([[0, 1, 1], [1, 1, 1]]))
  assert left_out[0] == pytest.approx(np.log((0.25 + 0.01) / 2 / 0.01))


def test_kernel_finds_the_features_that_matter():
  rng = np.random.default_rng(3)
  label = np.arange(160) % 2
  values = rng.standard_normal((160, 6))
  # A ring around a disk: no straight line parts them, and it takes both features.
  angle, radius = rng.uniform(0, 2 * np.pi, 160), np.where(label == 1, 0.4, 2.0)
  values[:, 1], values[:, 4] = radius * np.cos(angle), radius * np.sin(angle)
  kernel = KernelDiscriminant((0.5, 1.0, 2.0)).fit(values, label)
  assert sorted(kernel.features_) == [1, 4]
  assert np.mean(kernel.predict(values) == label) > 0.95


class PairRecorder(ClassifierMixin, BaseEstimator):
  """Remembers the pairs, its only feature, of every fit and of the forecasts that follow it."""

  calls: ClassVar[list[tuple[set, set]]] = []

  def fit(self, values, label):
    self.classes_, self.fitted_ = np.array([0, 1]), set(values[:, 0])
    return self

  def decision_function(self, values):
    self.calls.append((self.fitted_, set(values[:, 0])))
    return np.where(np.arange(len(values)) % 2, 1.0, -1.0)

  def predict(self, values):
    return (self.decision_function(values) > 0).astype(int)


def test_threshold_comes_from_pairs_that_were_not_fitted(monkeypatch):
  monkeypatch.setattr(PairRecorder, 'calls', [])
  rng = np.random.default_rng(0)
  pair, label = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
  order = rng.permutation(60)
  threshold = choose_threshold(PairRecorder(), pair[order, None].astype(float), label[order], pair[order])
  assert 0 < threshold < 1
  forecast = [number for _, predicted in PairRecorder.calls for number in predicted]
  assert sorted(forecast) == list(range(30)), 'every pair is forecast, in one inner fold'
  for fitted, predicted in PairRecorder.calls:
    assert fitted and not fitted & predicted


def test_threshold_does_not_depend_on_the_order_of_the_samples():
  rng = np.random.default_rng(0)
  pair, label = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
  values = rng.standard_normal((60, 3)) + label[:, None]
  classifier = build_classifier(
    'da_linear', DiscriminantSettings(features=('skewness', 'length_scale', 'net_flux'), logarithm=False)
  )
  threshold = choose_threshold(classifier, values, label, pair)
  shuffled = rng.permutation(60)
  again = choose_threshold(classifier, values[shuffled], label[shuffled], pair[shuffled])
  assert again == pytest.approx(threshold)


def test_a_model_that_cannot_be_fitted_says_where():
  few = make_survey(pairs=8, intervals=(-1,), size=16)
  splits = make_splits(few, 2)
  with pytest.raises(
    UserError, match='da_quadratic cannot be fitted in fold 0 at interval -1: its 4 training pairs'
  ) as told:
    discriminant_analysis(few, splits, 'da_quadratic')
  assert isinstance(told.value.__cause__, np.linalg.LinAlgError)
  assert len(discriminant_analysis(few, splits, 'da_linear')) == len(few)


def test_features_that_are_not_finite_are_refused(survey):
  features = make_features(survey)
  features[3, COLUMN['net_flux']] = np.nan
  with pytest.raises(UserError, match='features of a discriminant analysis must be finite, got nan'):
    discriminant_analysis(survey, make_splits(survey), 'da_linear', features=features)


@pytest.mark.parametrize('n', [5, PLACES_AT_ONCE, 2 * PLACES_AT_ONCE + 1])
def test_log_odds_a_part_at_a_time_are_those_of_the_whole_square(n):
  rng = np.random.default_rng(n)
  samples, places, label = rng.standard_normal((n, 2)), rng.standard_normal((n + 1, 2)), np.arange(n) % 2
  square = np.sum((places[:, None] - samples) ** 2, axis=-1)
  found = log_odds_at(places, samples, (0.7, 1.5), label)
  for bandwidth, log_odds in zip((0.7, 1.5), found, strict=True):
    np.testing.assert_allclose(
      log_odds, kernel_log_odds(square, bandwidth, 2, label, np.ones_like(square)), rtol=1e-12, atol=1e-12
    )
  without = log_odds_at(samples, samples, (1.5,), label, leave_one_out=True)[0]
  for place in (0, n // 2, n - 1):
    others = np.arange(n) != place
    (expected,) = log_odds_at(samples[[place]], samples[others], (1.5,), label[others])[0]
    assert without[place] == pytest.approx(expected, abs=1e-12)


def test_kernel_analysis_needs_no_cube_of_distances():
  n, n_features = 600, 28
  rng = np.random.default_rng(0)
  label = np.arange(n) % 2
  values = rng.standard_normal((n, n_features)) + label[:, None] * (np.arange(n_features) == 3)
  tracemalloc.start()
  try:
    kernel = KernelDiscriminant((1.0,), 1).fit(values, label)
    kernel.decision_function(values)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert kernel.features_.tolist() == [3]
  assert peak < 4 * n**2 * 8
