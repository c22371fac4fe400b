"""Masks and contributions: equal to removing filters one by one, for hearjax's own network and for a foreign one."""

import copy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.interpret import network
from hearjax.interpret.network import (
  EmergenceAdapter,
  adapt,
  contributions,
  filter_layers,
  filter_numbers,
  last_layer,
  logits,
  masked_logits,
)
from hearjax.models.network import ModelSettings, build_model
from tests.interpret.foreign import Foreign, initial

SMALL = ModelSettings(
  widths=(3, 5, 4), kernels=(5, 3, 3), strides=(2, 2, 1), crop_px=16, padding='same', symmetries=('polarity',)
)
EVERY = tuple(range(12))
CHUNK = 4  # One size in most tests, so that everything compiles once.


def random_field(n, size=24, seed=0):
  return 100 * np.random.default_rng(seed).normal(size=(n, size, size)).astype(np.float32)


def own(lowering='auto'):
  model = build_model(SMALL, 1.39, lowering)
  params = jax.jit(model.init)(jax.random.key(3), random_field(1))
  return EmergenceAdapter(model), jax.tree.map(
    lambda leaf: leaf + 0.1 * np.cos(np.arange(leaf.size)).reshape(leaf.shape), params
  )


def foreign():
  field = random_field(2, 16)
  module = Foreign()
  params = initial(module, field)
  return adapt(module, params, field, 1.39), params


def zeroed(params, path, number):
  """Returns parameters without a filter: its kernel and its bias are 0."""
  changed = jax.tree.map(np.array, params)
  layer = changed['params']
  for name in path:
    layer = layer[name]
  layer['kernel'][..., number] = 0
  layer['bias'][number] = 0
  return changed


def test_filters_are_numbered_through_all_layers():
  adapter, _ = own()
  assert filter_layers(adapter).tolist() == [0] * 3 + [1] * 5 + [2] * 4
  assert filter_numbers(adapter).tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3]
  assert last_layer(adapter) == (8, 9, 10, 11)


@pytest.mark.parametrize('dropped', [(), (0, 4, 9)])
@pytest.mark.parametrize('lowering', ['auto', 'lax'])
def test_contributions_are_what_masking_one_by_one_gives(dropped, lowering):
  adapter, params = own(lowering)
  field = random_field(7)
  field[2, 4:9] = np.nan
  kept = np.ones(12)
  kept[list(dropped)] = 0
  found = contributions(adapter, params, field, EVERY, kept, CHUNK)
  without = np.tile(kept, (12, 1))
  np.fill_diagonal(without, 0)
  whole, *expected = masked_logits(adapter, params, field, np.vstack([kept, without]), CHUNK)
  np.testing.assert_allclose(found, whole - np.array(expected), rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(found[list(dropped)], 0)


def test_masking_is_removing_kernel_and_bias():
  adapter, params = own()
  field = random_field(4)
  changed = zeroed(params, ('convolution_1',), 2)
  found = masked_logits(adapter, params, field, 1 - np.eye(12)[[3 + 2]], CHUNK)[0]
  np.testing.assert_allclose(found, logits(adapter, changed, field), atol=1e-5)
  np.testing.assert_allclose(
    masked_logits(adapter, params, field, np.ones((1, 12)), CHUNK)[0], logits(adapter, params, field), atol=1e-5
  )


def test_contributions_of_the_last_layer_are_pooled_activation_times_weight():
  adapter, params = own()
  model, field = adapter.model, random_field(4)
  stages = model.apply(params, field, method='activations')
  # [mean over the square | mean over the central window] of each filter, and two versions of each map.
  pooled = np.asarray(model.apply(params, stages[-1], 16, method='pool')).reshape(2, 4, 2, 4)
  weights = np.asarray(params['params']['logit']['kernel']).reshape(2, 4)
  by_hand = (pooled * weights).sum(axis=2).mean(axis=0)
  found = contributions(adapter, params, field, chunk=CHUNK)
  np.testing.assert_allclose(found.T, by_hand, atol=1e-5)
  bias = float(params['params']['logit']['bias'][0])
  np.testing.assert_allclose(found.sum(axis=0) + bias, logits(adapter, params, field), atol=1e-5)


def test_nothing_depends_on_the_chunk():
  adapter, params = own()
  field = random_field(7)
  for chunk in (7, 3):
    np.testing.assert_allclose(
      contributions(adapter, params, field, EVERY, chunk=chunk),
      contributions(adapter, params, field, EVERY, chunk=CHUNK),
      atol=1e-5,
    )


# --- A foreign network --------------------------------------------------------------------------------------------


def test_a_foreign_network_is_the_same_behind_the_adapter():
  adapter, params = foreign()
  field = random_field(5, 16)
  field[1, 3:5] = np.nan
  assert adapter.widths == (3, 4)
  assert adapter.names == (('first',), ('block', 'Conv_0'))
  expected = Foreign().apply(params, np.nan_to_num(field)[..., None])[:, 0]
  np.testing.assert_allclose(logits(adapter, params, field), expected, rtol=1e-5, atol=1e-6)


def test_filters_of_a_foreign_network_are_removed_exactly():
  adapter, params = foreign()
  field = random_field(5, 16)
  found = contributions(adapter, params, field, tuple(range(7)), chunk=CHUNK)
  whole = logits(adapter, params, field)
  for number in range(7):
    layer = int(number >= 3)
    changed = zeroed(params, adapter.names[layer], number - 3 * layer)
    np.testing.assert_allclose(found[number], whole - logits(adapter, changed, field), atol=1e-5)
  assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize('make', [own, foreign])
def test_masks_can_be_differentiated(make):
  adapter, params = make()
  field, n = random_field(3, 16), sum(adapter.widths)
  slope = jax.grad(lambda kept: adapter.masked_logit(params, field, kept).sum())(jnp.ones(n))
  step = 1e-2 * np.eye(n)[1]
  up, down = (adapter.masked_logit(params, field, 1 + sign * step).sum() for sign in (1, -1))
  assert float(slope[1]) == pytest.approx(float(up - down) / 2e-2, rel=0.05, abs=1e-2)


class Smooth(nn.Module):
  @nn.compact
  def __call__(self, maps):
    return nn.Dense(1)(nn.softplus(nn.Conv(2, (3, 3))(maps)).mean(axis=(1, 2)))


class Dense(nn.Module):
  @nn.compact
  def __call__(self, maps):
    return nn.Dense(1)(nn.relu(nn.Dense(3)(maps.reshape(len(maps), -1))))


class Twice(nn.Module):
  @nn.compact
  def __call__(self, maps):
    convolution = nn.Conv(1, (3, 3))
    return nn.Dense(1)(nn.relu(convolution(nn.relu(convolution(maps)))).mean(axis=(1, 2)))


class Maps(nn.Module):
  @nn.compact
  def __call__(self, maps):
    return nn.relu(nn.Conv(2, (3, 3))(maps))


@pytest.mark.parametrize(
  ('module', 'sentence'),
  [
    (Smooth(), 'has 1 convolutions .* and 0 ReLUs'),
    (Dense(), 'has 0 convolutions .* and 1 ReLUs'),
    (Twice(), 'calls a convolution twice'),
    (Maps(), 'must give one logit for each of 2 maps'),
  ],
)
def test_networks_whose_filters_cannot_be_dropped_are_refused(module, sentence):
  field = random_field(2, 16)
  params = module.init(jax.random.key(0), field[..., None])
  with pytest.raises(UserError, match=sentence):
    adapt(module, params, field, 1.39)


def test_one_program_serves_all_members():
  adapter, params = own()
  field = random_field(4)
  network._masked_logits.clear_cache()
  for scale in (1.0, 2.0):
    scaled = jax.tree.map(lambda leaf: scale * leaf, params)  # noqa: B023
    masked_logits(copy.copy(adapter), scaled, field, np.ones((2, 12)), CHUNK)
  assert network._masked_logits._cache_size() == 1
