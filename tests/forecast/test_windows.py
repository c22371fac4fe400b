"""The network at many places of a map, against the network on each square."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.forecast.domain import measure
from hearjax.forecast.windows import averages_along, measure_places, place_logits, total_stride
from hearjax.models.network import ModelSettings, build_model, central_window
from tests.hand_made import one_layer

SMALL = ModelSettings(widths=(4, 6), kernels=(5, 3), strides=(2, 2), crop_px=0, centre_mm=5.0)
SIZE = 24


def random_field(shape, seed=0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  field = (40 * rng.standard_normal(shape) ** 3).astype(np.float32)
  field[rng.random(shape) < 0.02] = np.nan
  return field


def squares(field, size, step) -> np.ndarray:
  """Returns `[place_y, place_x, size, size]` squares of a map."""
  return np.lib.stride_tricks.sliding_window_view(field, (size, size))[::step, ::step]


def initial(settings: ModelSettings, size: int):
  model = build_model(settings, 1.39)
  params = model.init(jax.random.key(3), jnp.zeros((1, size, size)))
  # Biases are 0 at first, and what is beyond an edge would then be like zero field.
  return model, jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)


ALL = ('polarity', 'mirror_longitude', 'mirror_latitude', 'transpose')


@pytest.mark.parametrize('symmetries', [ALL[:1], ALL], ids=len)
@pytest.mark.parametrize('changes', [{}, {'centre_mm': 0.0, 'log_pool': 0.0}], ids=['windows', 'plain'])
def test_one_square_is_what_the_network_says_of_it(symmetries, changes):
  model, params = initial(dataclasses.replace(SMALL, symmetries=symmetries, **changes), SIZE)
  field = random_field((3, SIZE, SIZE))
  logits = place_logits(params, field, model=model, size=SIZE, step=4)
  np.testing.assert_allclose(logits[:, 0, 0], model.apply(params, field), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('symmetries', [(), ALL[1:2], ALL], ids=len)
def test_every_square_of_a_layer_that_sees_no_edge(symmetries):
  """A kernel of one pixel: there is no padding, and both ways must agree."""
  settings, params = one_layer(
    [[[1.0, -1.0, 0.5]]], strides=(2,), logit=np.arange(6) - 2.5, centre_mm=6.0, log_pool=0.1, symmetries=symmetries
  )
  params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
  model, field = build_model(settings, 1.39), random_field((SIZE + 16, SIZE + 8))
  if symmetries:  # Reading where the first row is: mirrored and turned it is another pixel of two.
    field = np.repeat(np.repeat(field[::2, ::2], 2, 0), 2, 1)
  field = field[:, : SIZE + 8] if symmetries != ALL else field[: SIZE + 8]
  logits = place_logits(params, field[None], model=model, size=SIZE, step=4)[0]
  cut = squares(field, SIZE, 4)
  expected = model.apply(params, cut.reshape(-1, SIZE, SIZE)).reshape(cut.shape[:2])
  assert logits.shape == expected.shape and np.ptp(expected) > 0.1
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('symmetries', [(), ALL], ids=len)
def test_every_square_where_layers_see_nothing_but_field(symmetries):
  model, params = initial(dataclasses.replace(SMALL, padding='valid', symmetries=symmetries), SIZE)
  field = random_field((SIZE + 24, SIZE + 24), seed=1)
  logits = place_logits(params, field[None], model=model, size=SIZE, step=8)[0]
  cut = squares(field, SIZE, 8)
  alone = model.apply(params, cut.reshape(-1, SIZE, SIZE)).reshape(cut.shape[:2])
  assert logits.shape == (4, 4) and np.ptp(alone) > 0.05
  np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('padding', ['same', 'valid'])
def test_averages_are_products_along_the_axes(padding):
  settings = ModelSettings(padding=padding)
  square, centre = averages_along(settings, 48, 1.39)
  np.testing.assert_allclose(square, 1 / len(settings.positions_px(48)))
  at = settings.positions_px(48) * 1.39
  np.testing.assert_allclose(np.outer(centre, centre), central_window(at, at, settings.centre_mm), atol=1e-12)
  assert total_stride(settings) == 4


def test_squares_are_measured_as_patches_are():
  field = random_field((30, 40), seed=2)
  flux, peak, missing = measure_places(field, 12, 4, 1.39)
  cut = squares(field, 12, 4)
  for found, expected in zip((flux, peak, missing), measure(cut.reshape(-1, 12, 12), 1.39), strict=True):
    np.testing.assert_allclose(found, expected.reshape(cut.shape[:2]), rtol=1e-5)
