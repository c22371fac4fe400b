"""Scores of masked networks: loss, TSS and sweep against other implementations and against masking one by one."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import log_loss

from hearjax.checks import UserError
from hearjax.interpret.maps import Subject, survey_of_maps
from hearjax.interpret.network import EmergenceAdapter, logits, masked_logits
from hearjax.interpret.statistics import Draws
from hearjax.interpret.variants import (
  THREADS,
  best_offset,
  both_classes,
  cross_entropy,
  even_chunk,
  offset_losses,
  score,
  score_masked,
  sweep_table,
  tss_samples,
)
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.fold_rows import FoldRows
from hearjax.verification.scores import steady_threshold, tss_at

# In `hand_made` filter 1 of the first layer and 2 of the second carry everything.
NAMED = (1, 3 + 2)
PIXEL_MM = 1.39


def hand_made():
  """Returns a network that averages the positive field through two named filters; the others are heard of no more."""
  settings = ModelSettings(
    widths=(3, 4), kernels=(3, 1), strides=(1, 1), crop_px=0, centre_mm=0.0, log_pool=0.0, scale_gauss=100.0
  )
  rng = np.random.default_rng(0)
  layers = {
    'convolution_0': {'kernel': rng.normal(size=(3, 3, 1, 3)), 'bias': np.zeros(3)},
    'convolution_1': {'kernel': rng.normal(size=(1, 1, 3, 4)), 'bias': np.zeros(4)},
    'logit': {'kernel': np.zeros((4, 1)), 'bias': np.zeros(1)},
  }
  layers['convolution_0']['kernel'][..., 1] = 0
  layers['convolution_0']['kernel'][1, 1, 0, 1] = 1
  layers['convolution_1']['kernel'][..., 2] = 0
  layers['convolution_1']['kernel'][0, 0, 1, 2] = 1
  layers['logit']['kernel'][2] = 5
  params = {
    name: {key: jnp.asarray(leaf, jnp.float32) for key, leaf in layer.items()} for name, layer in layers.items()
  }
  return EmergenceAdapter(build_model(settings, PIXEL_MM)), {'params': params}


def strong_survey(pairs=36, seed=0, size=8):
  """Returns pairs of which the emerging half has the stronger field, on average."""
  rng = np.random.default_rng(seed)
  label = np.tile([1, 0], pairs)
  level = rng.uniform(60, 100, 2 * pairs) + 40 * label
  field = level[:, None, None] * rng.normal(size=(2 * pairs, size, size))
  return survey_of_maps(field, label, PIXEL_MM, np.repeat(np.arange(pairs), 2))


def subject_of(network, params, survey, name='one', group='members'):
  """Returns a network whose training, validation and test part are thirds of the pairs."""
  third = survey.pair % 3
  return Subject(name, group, network, params, FoldRows(*(np.flatnonzero(third == part) for part in range(3))))


@pytest.fixture
def asked():
  survey = strong_survey()
  return subject_of(*hand_made(), survey), survey, Draws.of(survey, 50, 0)


def random_logits(variants=5, n=40, seed=0):
  rng = np.random.default_rng(seed)
  label = np.tile([1, 0], n // 2)
  return label, rng.normal(size=(variants, n)) * rng.uniform(0.1, 5, (variants, 1)) + label + 3


def test_cross_entropy_is_that_of_scikit_learn():
  label, values = random_logits()
  expected = [log_loss(label, expit(row)) for row in values]
  np.testing.assert_allclose(cross_entropy(label, values).mean(axis=-1), expected, rtol=1e-9)


def test_the_best_offset_makes_the_loss_least():
  label, values = random_logits()
  label[:6] = 1
  for row, offset, losses in zip(values, best_offset(label, values), offset_losses(label, values), strict=True):
    least = minimize_scalar(lambda b, row=row: cross_entropy(label, row + b).mean(), bracket=(-5, 5))
    assert offset[0] == pytest.approx(least.x, abs=1e-3)
    assert losses.mean() == pytest.approx(least.fun, abs=1e-6)
  within_a_program = best_offset(jnp.asarray(label, jnp.float32), jnp.asarray(values, jnp.float32), jnp)
  np.testing.assert_allclose(within_a_program, best_offset(label, values), atol=1e-3)


def test_the_loss_does_not_care_for_an_offset_of_the_logits():
  label, values = random_logits()
  np.testing.assert_allclose(offset_losses(label, values + 7), offset_losses(label, values), atol=1e-3)


def test_resampled_tss_counts_a_pair_as_often_as_it_is_drawn():
  label = np.array([1, 0, 1, 0, 1, 0])
  forecast = np.array([[1, 0, 0, 0, 1, 1]], bool)  # Pair 0 is right, pair 1 a miss, pair 2 a false alarm.
  weight = np.array([[1, 1, 1], [3, 0, 0], [0, 3, 0], [1, 0, 2]])[:, [0, 0, 1, 1, 2, 2]]
  np.testing.assert_allclose(tss_samples(label, forecast, weight), [[2 / 3 - 1 / 3, 1, 0, 1 - 2 / 3]])
  assert np.isnan(tss_samples(label, forecast, weight * (label == 1))).all()


def test_every_variant_is_scored_at_its_own_threshold(asked):
  subject, survey, draws = asked
  rows = subject.rows
  rng = np.random.default_rng(0)
  of_validation, of_test = (
    survey.label[part] + 7 * np.arange(3)[:, None] + rng.normal(size=(3, len(part)))
    for part in (rows.validation, rows.test)
  )
  found = score(subject, survey, draws, of_validation, of_test)
  for number in range(3):
    probability = expit(of_validation[number])
    label, pair = survey.label[rows.validation], survey.pair[rows.validation]
    threshold = steady_threshold(label, probability, pair)
    assert found.validation_tss[number] == pytest.approx(tss_at(label, probability, threshold))
    assert found.test_tss[number, 0] == pytest.approx(
      tss_at(survey.label[rows.test], expit(of_test[number]), threshold)
    )
    losses = offset_losses(label, of_validation[number])
    assert found.validation_loss[number, 0] == pytest.approx(losses[pair == pair[0]].mean())


def test_masked_networks_are_scored_as_they_are_one_by_one(asked):
  subject, survey, draws = asked
  kept = np.random.default_rng(1).random((25, 7)) < 0.7  # More than fit into one program.
  found = score_masked(subject, survey, draws, kept)
  for number in (0, 24):
    parts = [
      masked_logits(subject.network, subject.params, survey.field[rows], kept[[number]])
      for rows in (subject.rows.validation, subject.rows.test)
    ]
    alone = score(subject, survey, draws, *parts)
    np.testing.assert_allclose(found.test_tss[number], alone.test_tss[0])
    np.testing.assert_allclose(found.validation_loss[number], alone.validation_loss[0], atol=1e-5)


def test_the_sweep_finds_the_filters_that_carry_everything(asked):
  subject, survey, draws = asked
  table = sweep_table(subject, survey, draws)
  needed = np.abs(table['contribution_pe']) > 1e-6
  assert np.flatnonzero(needed).tolist() == list(NAMED)
  assert np.all(table['delta_test_tss'][~needed] == 0) and np.all(table['delta_test_loss'][needed] > 0.1)
  # Without its one filter a layer says nothing, and a constant has no skill.
  field = survey.field[subject.rows.test]
  label = survey.label[subject.rows.test]
  full = score_masked(subject, survey, draws, np.ones((1, 7), bool)).test_tss[0, 0]
  np.testing.assert_allclose(table['delta_test_tss'][needed], -full)
  said = logits(subject.network, subject.params, field)
  assert table['contribution_pe'][5] == pytest.approx(said[label == 1].mean(), rel=1e-5)
  assert table['contribution_ne'][5] == pytest.approx(said[label == 0].mean(), rel=1e-5)


def test_one_class_only(asked):
  subject, survey, _ = asked
  emerging = subject.rows.test[survey.label[subject.rows.test] == 1]
  with pytest.raises(UserError, match=r'test magnetograms of one are all of one class \(12 emerging, 0 control\)'):
    both_classes(subject, survey, emerging, 'test')


@pytest.mark.parametrize('n', [1, 2, 64, 80, 128, 129, 270, 1000])
def test_chunks_are_even_and_leave_no_thread_without_work(n):
  chunk = even_chunk(n, 64)
  parts = -(-n // chunk)
  assert 1 <= chunk <= 64
  # All threads go as many rounds, and not one more than they must; what fills the last part up is little.
  assert -(-parts // THREADS) == -(-n // (64 * THREADS))
  assert parts * chunk - n < parts
