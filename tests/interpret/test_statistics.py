"""Draws, peaks, and the area under the ROC curve."""

import numpy as np
import pytest

from hearjax.interpret.statistics import Draws, highest, over_subjects, weighted_mean
from tests.conftest import make_survey


def test_draws_begin_with_all_pairs_and_draw_whole_pairs():
  survey = make_survey(pairs=5, intervals=(-2, -1), size=8)
  draws = Draws.of(survey, 200, seed=0)
  assert draws.pairs.shape == (201, 5)
  assert (draws.pairs[0] == 1).all()
  assert (draws.pairs.sum(axis=1) == 5).all()
  weight = draws.of_rows(survey.pair)
  assert weight.shape == (201, 20)
  assert all(len(set(row[survey.pair == 3])) == 1 for row in weight)


def test_networks_are_drawn_as_the_pairs_were():
  samples = np.repeat([[0.0], [1.0]], 4001, axis=1)
  found = over_subjects(samples, seed=0)
  assert found[0] == 0.5
  # Two of two: both the first, one of each, both the second.
  share = [np.mean(found[1:] == value) for value in (0, 0.5, 1)]
  np.testing.assert_allclose(share, (0.25, 0.5, 0.25), atol=0.03)
  # A network none of whose pairs was drawn does not count.
  samples[0, 1:] = np.nan
  found = over_subjects(samples, seed=0)
  assert set(found[np.isfinite(found)]) == {0.5, 1.0}
  assert np.isnan(found).mean() == pytest.approx(0.25, abs=0.03)
  assert np.isnan(over_subjects(np.full((1, 3), np.nan), 0)).all()


def test_one_network_is_always_drawn():
  samples = np.arange(5.0)[None]
  np.testing.assert_array_equal(over_subjects(samples, seed=3), samples[0])


def test_peak_is_the_vertex_of_a_parabola_in_the_logarithm():
  wavelengths = np.array([4.0, 8.0, 16.0, 32.0])
  response = 3 - (np.log2(wavelengths) - 3.4) ** 2
  assert highest(wavelengths, response) == pytest.approx(2**3.4)
  assert highest(wavelengths, wavelengths) == 32.0
  assert highest(wavelengths, np.ones(4)) == 4.0


def test_mean_under_weights():
  np.testing.assert_allclose(weighted_mean(np.array([1.0, 4.0]), np.array([[1, 1], [3, 0]])), [2.5, 1.0])
  assert np.isnan(weighted_mean(np.ones(2), np.zeros(2)))
