"""Sweep and elimination: equal to masking one by one, and right about a network whose one good filter is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from hearjax.interpret import compaction, pruning
from hearjax.interpret.ablation import (
  THREADS,
  build_masks,
  count_parameters,
  even_chunk,
  filter_layers,
  masked_logits,
  sweep,
)
from hearjax.interpret.pruning import Part
from hearjax.models.network import ModelSettings, build_model, full_masks
from hearjax.verification.scores import best_threshold, tss_at
from tests.conftest import make_survey
from tests.hand_made import make_run, one_layer

SMALL = ModelSettings(widths=(3, 5, 4), kernels=(5, 3, 3), strides=(2, 2, 1), crop_px=16, symmetries=('polarity',))
CHUNK = 4  # One size in most tests, so that the sweep compiles once.
# Filter 1 of the first layer and 2 of the second carry everything in `hand_made`.
NAMED = (1, 3 + 2)


def random_field(n, size=24, seed=0):
  return 100 * np.random.default_rng(seed).normal(size=(n, size, size)).astype(np.float32)


def random_network(settings=SMALL, lowering='auto'):
  model = build_model(settings, 1.39, lowering)
  params = jax.jit(model.init)(jax.random.key(3), random_field(1))
  # Biases that are not 0, as after training.
  return model, jax.tree.map(lambda leaf: leaf + 0.1 * np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)


def hand_made():
  """Returns a network that averages the positive field through two named filters; the others are heard of no more."""
  settings = ModelSettings(
    widths=(3, 4), kernels=(3, 1), strides=(1, 1), crop_px=0, centre_mm=0.0, log_pool=0.0, scale_gauss=100.0
  )
  model = build_model(settings, 1.39)
  params = jax.tree.map(np.array, jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8))))
  layers = params['params']
  layers['convolution_0']['kernel'][..., 1] = 0
  layers['convolution_0']['kernel'][1, 1, 0, 1] = 1
  layers['convolution_1']['kernel'][..., 2] = 0
  layers['convolution_1']['kernel'][0, 0, 1, 2] = 1
  layers['logit']['kernel'][:] = 0
  layers['logit']['kernel'][2] = 5
  return model, params


def make_part(pairs=10, seed=0):
  """Returns pairs of which the emerging half has the stronger field, on average."""
  rng = np.random.default_rng(seed)
  label = np.tile([1, 0], pairs)
  level = rng.uniform(60, 100, 2 * pairs) + 40 * label
  field = level[:, None, None] * rng.normal(size=(2 * pairs, 8, 8))
  return Part(field.astype(np.float32), label, np.repeat(np.arange(pairs), 2))


@pytest.mark.parametrize('dropped', [(), (0, 4, 9)])
@pytest.mark.parametrize('lowering', ['auto', 'lax'])
def test_sweep_equals_masking_one_by_one(dropped, lowering):
  model, params = random_network(lowering=lowering)
  field = random_field(7)
  field[2, :5] = np.nan
  kept = np.ones(12, bool)
  kept[list(dropped)] = False
  swept = sweep(model, params, field, build_masks(SMALL, kept), CHUNK)
  masked = jax.jit(model.apply)
  np.testing.assert_allclose(swept.logits, masked(params, field, build_masks(SMALL, kept)), rtol=1e-5, atol=1e-5)
  for number in range(12):
    without = kept.copy()
    without[number] = False
    expected = masked(params, field, build_masks(SMALL, without))
    np.testing.assert_allclose(swept.without[number], expected, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(swept.strength[list(dropped)], 0)
  np.testing.assert_array_equal(swept.without[list(dropped)], np.tile(swept.logits, (len(dropped), 1)))


def test_masking_equals_zeroing_kernel_and_bias():
  model, params = random_network()
  zeroed = jax.tree.map(np.array, params)
  for name in ('kernel', 'bias'):
    zeroed['params']['convolution_1'][name][..., 2] = 0
  field = random_field(4)
  np.testing.assert_allclose(
    sweep(model, params, field, chunk=CHUNK).without[3 + 2], jax.jit(model.apply)(zeroed, field), atol=1e-5
  )


def test_the_sweep_does_not_depend_on_the_chunk():
  model, params = random_network()
  field = random_field(7)
  whole, parts = sweep(model, params, field, chunk=7), sweep(model, params, field, chunk=CHUNK)
  np.testing.assert_allclose(whole.without, parts.without, atol=1e-5)
  np.testing.assert_allclose(whole.strength, parts.strength, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('n', [1, 2, 64, 80, 128, 129, 270, 1000])
def test_chunks_are_even_and_leave_no_thread_without_work(n):
  chunk = even_chunk(n, 64)
  parts = -(-n // chunk)
  assert 1 <= chunk <= 64
  # All threads go as many rounds, and not one more than they must; what fills the last part up is little.
  assert -(-parts // THREADS) == -(-n // (64 * THREADS))
  assert parts * chunk - n < parts


def test_contributions_of_the_last_layer_are_pooled_activation_times_weight():
  model, params = random_network()
  field = random_field(4)
  stages = model.apply(params, field, method='activations')
  # [mean over the square | mean over the central window] of each filter, and two versions of each map.
  pooled = np.asarray(model.apply(params, stages[-1], 16, method='pool')).reshape(2, 4, 2, 4)
  weights = np.asarray(params['params']['logit']['kernel']).reshape(2, 4)
  by_hand = (pooled * weights).sum(axis=2).mean(axis=0)
  swept = sweep(model, params, field, chunk=CHUNK)
  np.testing.assert_allclose(swept.contributions[-4:].T, by_hand, atol=1e-5)
  bias = float(params['params']['logit']['bias'][0])
  np.testing.assert_allclose(by_hand.sum(axis=1) + bias, swept.logits, atol=1e-5)


def test_masked_logits_of_many_variants():
  model, params = random_network()
  field, kept = random_field(5), np.random.default_rng(1).random((6, 12)) < 0.6
  masked = jax.jit(model.apply)
  expected = [masked(params, field, build_masks(SMALL, row)) for row in kept]
  np.testing.assert_allclose(masked_logits(model, params, field, kept, chunk=2), expected, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(jnp.concatenate(build_masks(SMALL, np.ones(12))), jnp.concatenate(full_masks(SMALL)))


def test_parameters_are_counted_right():
  _, params = random_network()
  assert count_parameters(SMALL, np.ones(12, bool)) == sum(leaf.size for leaf in jax.tree.leaves(params))
  kept = np.array([1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
  _, smaller = compaction.compact(SMALL, params, kept)
  assert count_parameters(SMALL, kept) == sum(leaf.size for leaf in jax.tree.leaves(smaller))


@pytest.mark.parametrize('decimals', [0, 1, 3])
def test_largest_tss_is_that_of_the_best_threshold(decimals):
  rng = np.random.default_rng(decimals)
  label = np.array([1, 0] * 15)
  logits = np.round(rng.normal(size=(20, 30)) + 1.5 * label, decimals)
  expected = [tss_at(label, expit(row), best_threshold(label, expit(row))) for row in logits]
  np.testing.assert_allclose(pruning.largest_tss(label, logits), np.maximum(expected, 0), atol=1e-12)
  assert pruning.largest_tss(label, np.zeros((1, 30))) == 0


def test_cross_entropy_of_a_hand_value():
  assert pruning.cross_entropy(np.array([1, 0]), np.array([[np.log(3), 0.0]])) == pytest.approx(
    (-np.log(0.75) - np.log(0.5)) / 2
  )


def test_resampled_tss_counts_a_pair_as_often_as_it_is_drawn():
  part = Part(np.zeros((6, 1, 1)), np.array([1, 0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 2]))
  forecast = np.array([[1, 0, 0, 0, 1, 1]], bool)  # Pair 0 is right, pair 1 a miss, pair 2 a false alarm.
  weights = np.array([[1, 1, 1], [3, 0, 0], [0, 3, 0], [1, 0, 2]])
  np.testing.assert_allclose(pruning.tss_samples(part, forecast, weights), [[2 / 3 - 1 / 3, 1, 0, 1 - 2 / 3]])


def test_pruning_finds_the_one_filter_that_carries_everything():
  model, params = hand_made()
  validation, test = make_part(seed=0), make_part(seed=1)
  swept = sweep(model, params, test.field)
  needed = np.abs(swept.contributions).max(axis=1) > 1e-6
  assert np.flatnonzero(needed).tolist() == list(NAMED)
  order = pruning.eliminate(model, params, validation)
  weights = {'validation': validation.resamples(200, 0), 'test': test.resamples(200, 0)}
  path = pruning.follow(model, params, validation, test, order, weights)
  assert np.flatnonzero(path.minimal).tolist() == list(NAMED)
  assert path.scores.validation_tss[0] >= 0.5
  # What is dropped carried nothing, so that nothing is lost on the way.
  np.testing.assert_array_equal(path.scores.validation_tss, path.scores.validation_tss[0])
  np.testing.assert_array_equal(path.scores.test_tss, path.scores.test_tss[0])


def test_every_order_spares_the_last_filter_of_a_layer():
  model, params = random_network()
  part = Part(random_field(8), np.tile([1, 0], 4), np.repeat(np.arange(4), 2))
  orders = [
    pruning.eliminate(model, params, part, chunk=CHUNK),
    pruning.random_order(SMALL, 0),
    pruning.magnitude_order(SMALL, params),
  ]
  for order in orders:
    assert len(set(order.tolist())) == len(order) == 12 - 3
    kept = pruning.kept_along(SMALL, order)
    assert kept[0].all() and kept.sum(axis=1).tolist() == list(range(12, 2, -1))
    np.testing.assert_array_equal(np.bincount(filter_layers(SMALL)[kept[-1]]), [1, 1, 1])
  np.testing.assert_array_equal(orders[1], pruning.random_order(SMALL, 0))
  assert orders[1].tolist() != pruning.random_order(SMALL, 1).tolist()


def test_magnitude_drops_the_smallest_kernel_first():
  _, params = random_network()
  params = jax.tree.map(np.array, params)
  params['params']['convolution_2']['kernel'][..., 1] *= 1e-3
  assert pruning.magnitude_order(SMALL, params)[0] == 3 + 5 + 1


def test_elimination_takes_at_each_step_what_costs_least():
  model, params = random_network()
  part = Part(random_field(20), np.tile([1, 0], 10), np.repeat(np.arange(10), 2))
  order = pruning.eliminate(model, params, part, chunk=CHUNK)
  kept = np.ones(12, bool)
  for dropped in order[:4]:
    variants = np.tile(kept, (12, 1)) & ~np.eye(12, dtype=bool)
    tss = pruning.largest_tss(part.label, masked_logits(model, params, part.field, variants, CHUNK))
    assert tss[dropped] >= max(tss[kept]) - 1e-9
    kept[dropped] = False


@pytest.mark.parametrize(
  ('tss', 'error', 'step'),
  [([0.8, 0.8, 0.75, 0.6, 0.8], 0.1, 2), ([0.8, 0.6], 0.1, 0), ([0.8, 0.9, 0.9], 0.0, 2), ([0.8, 0.7], 0.1001, 1)],
)
def test_stopping_rule(tss, error, step):
  assert pruning.stop(np.array(tss), error) == step


def test_one_class_only():
  run = make_run(make_survey(), *one_layer([[[1.0, -1.0]]]))
  emerging = np.flatnonzero(run.survey.label == 1)
  with pytest.raises(ValueError, match=r'test magnetograms are all of one class \(6 emerging\)'):
    pruning.take_part(run, emerging, 'test magnetograms')
