"""Peaks, and the area under the ROC curve."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hearjax.interpret.statistics import auc, highest


def test_peak_is_the_vertex_of_a_parabola_in_the_logarithm():
  wavelengths = np.array([4.0, 8.0, 16.0, 32.0])
  response = 3 - (np.log2(wavelengths) - 3.4) ** 2
  assert highest(wavelengths, response) == pytest.approx(2**3.4)
  assert highest(wavelengths, wavelengths) == 32.0
  assert highest(wavelengths, np.ones(4)) == 4.0


def test_auc_is_that_of_scikit_learn_with_weights_and_ties():
  rng = np.random.default_rng(0)
  label, logit, weight = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 2, rng.integers(0, 4, (3, 60))
  found = auc(label, logit, np.zeros(60), weight)
  np.testing.assert_allclose(found, [roc_auc_score(label, logit, sample_weight=w) for w in weight])


def test_auc_compares_within_a_fold_only():
  # Within each fold PE is above NE; between them it is not.
  label, logit, fold = np.array([1, 0, 1, 0]), np.array([1.0, 0.0, 11.0, 10.0]), np.array([0, 0, 1, 1])
  assert auc(label, logit, fold, np.ones(4)) == 1.0
  assert auc(label, logit, np.zeros(4), np.ones(4)) == 0.75
  assert np.isnan(auc(np.ones(4), logit, fold, np.ones(4)))
