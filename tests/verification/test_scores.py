"""Scores by hand and against another package; thresholds by hand and by search."""

import numpy as np
import pytest
from scores.categorical import BinaryContingencyManager
from sklearn.metrics import roc_auc_score
from xarray import DataArray

from hearjax.verification.scores import (
  _best_thresholds,
  at_prior,
  auc,
  best_threshold,
  contingency,
  hss,
  pod,
  pofd,
  steady_threshold,
  tss,
  tss_at,
)


def test_hand_values_of_finley():
  # Finley's tornado forecasts of 1884: 28 hits, 23 misses, 72 false alarms, 2680 correct negatives.
  counts = np.array([28, 23, 72, 2680])
  assert pod(counts) == pytest.approx(0.549, abs=5e-4)
  assert pofd(counts) == pytest.approx(0.0262, abs=5e-5)
  assert tss(counts) == pytest.approx(0.523, abs=5e-4)
  assert hss(counts) == pytest.approx(0.355, abs=5e-4)


@pytest.mark.parametrize('seed', range(5))
def test_scores_agree_with_the_scores_package(seed):
  rng = np.random.default_rng(seed)
  label, forecast = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
  counts = contingency(label, forecast).sum(axis=0)
  manager = BinaryContingencyManager(DataArray(forecast, dims='n'), DataArray(label, dims='n')).transform()
  assert pod(counts) == pytest.approx(manager.probability_of_detection().item())
  assert pofd(counts) == pytest.approx(manager.probability_of_false_detection().item())
  assert tss(counts) == pytest.approx(manager.peirce_skill_score().item())
  assert hss(counts) == pytest.approx(manager.heidke_skill_score().item())


def test_scores_without_one_class_are_not_defined():
  counts = np.array([[3, 1, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]])
  np.testing.assert_array_equal(np.isnan(tss(counts)), [True, True, True])
  assert pod(counts)[0] == 0.75 and pofd(counts)[1] == 0.5


@pytest.mark.parametrize('seed', range(10))
def test_no_threshold_is_better_than_the_best(seed):
  rng = np.random.default_rng(seed)
  label = np.append(rng.integers(0, 2, 30), [0, 1])
  probability = np.round(rng.uniform(size=32), 1 + seed % 2)
  best = best_threshold(label, probability)
  tried = np.linspace(probability.min() + 1e-6, probability.max(), 4001)
  highest = max(tss_at(label, probability, threshold) for threshold in tried)
  assert tss_at(label, probability, best) == pytest.approx(highest)
  assert best not in probability
  order = rng.permutation(32)
  assert best_threshold(label[order], probability[order]) == best


def test_threshold_by_hand():
  assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
  # 0.25 and 0.65 part as well; 0.65 is nearer to one half.
  assert best_threshold([0, 1, 0, 1], [0.2, 0.3, 0.6, 0.7]) == pytest.approx(0.65)
  assert best_threshold([0, 1, 0, 1], [0.25, 0.375, 0.625, 0.75]) == pytest.approx(0.3125)
  assert best_threshold([0, 1, 1], [0.3, 0.3, 0.3]) == 0.5
  low, high = 0.5, np.nextafter(0.5, 1)
  assert tss_at([0, 1], [low, high], best_threshold([0, 1], [low, high])) == 1


def test_thresholds_that_cannot_be_chosen():
  with pytest.raises(ValueError, match='needs both classes; got 2 emerging and 0 control'):
    best_threshold([1, 1], [0.1, 0.2])
  with pytest.raises(ValueError, match='not finite'):
    best_threshold([1, 0], [0.1, np.nan])


def test_a_weight_counts_a_forecast_several_times():
  rng = np.random.default_rng(0)
  label, probability, weight = rng.integers(0, 2, 40), rng.uniform(size=40), rng.integers(0, 4, 40)
  repeated = best_threshold(np.repeat(label, weight), np.repeat(probability, weight))
  # A candidate beside a forecast of weight 0 parts the others in the same way.
  weighted, once = _best_thresholds(label, probability, np.stack([weight, np.ones(40, int)]))
  assert tss_at(np.repeat(label, weight), np.repeat(probability, weight), weighted) == tss_at(
    np.repeat(label, weight), np.repeat(probability, weight), repeated
  )
  assert once == best_threshold(label, probability)


def test_the_steady_threshold_scatters_less_about_the_best_one_of_many():
  # Two normal classes of equal width: the best threshold lies half way, at 0.5 here.
  rng = np.random.default_rng(1)
  chosen = []
  for _ in range(40):
    label = np.tile([0, 1], 40)
    probability = np.clip(0.5 + 0.1 * (label - 0.5) + rng.normal(0, 0.1, 80), 0, 1)
    chosen.append((best_threshold(label, probability), steady_threshold(label, probability, np.arange(80) // 2)))
  best, steady = np.std(chosen, axis=0)
  assert steady < 0.8 * best
  assert np.mean(chosen, axis=0)[1] == pytest.approx(0.5, abs=0.02)


def test_the_steady_threshold_is_the_same_every_time():
  label, probability, pair = np.tile([0, 1], 10), np.linspace(0.1, 0.9, 20), np.arange(20) // 2
  assert steady_threshold(label, probability, pair) == steady_threshold(label, probability, pair)


def test_probabilities_at_another_prior():
  """A thousand balanced cases with a likelihood ratio of 9, thinned to 1 emerging in 10: Bayes by counting."""
  assert at_prior(0.9, 0.5) == 0.9
  # Of 500 + 500 cases, 450 and 50 have the sign; of the emerging ones a ninth of the controls' number is kept.
  assert at_prior(0.9, 0.1) == pytest.approx((450 / 9) / (450 / 9 + 50))
  np.testing.assert_allclose(at_prior([0.0, 1.0], 0.01), [0, 1])
  for prior in (0.0, 1.0, -1, np.nan):
    with pytest.raises(ValueError, match='a share between 0 and 1'):
      at_prior(0.5, prior)


def test_auc_is_that_of_scikit_learn_with_weights_and_ties():
  rng = np.random.default_rng(0)
  label, logit, weight = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 2, rng.integers(0, 4, (3, 60))
  np.testing.assert_allclose(auc(label, logit, weight), [roc_auc_score(label, logit, sample_weight=w) for w in weight])
  assert np.isnan(auc(np.ones(4), np.arange(4.0), np.ones(4)))
