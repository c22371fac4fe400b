"""All ways to convolve agree, and the documented ones are chosen."""

import jax
import numpy as np
import pytest
from scipy.signal import correlate2d

from hearjax.models.convolution import LOWERINGS, PADDINGS, Convolution, choose_lowerings, convolve, convolve_patches


def random_field(*shape, seed=0):
  return 100 * np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('padding', PADDINGS)
@pytest.mark.parametrize('name', [name for name in LOWERINGS if name != 'lax'])
@pytest.mark.parametrize(
  ('side', 'stride', 'size'), [(5, 2, 16), (3, 1, 9), (3, 2, 15), (1, 2, 8), (4, 3, 17), (2, 3, 10)]
)
def test_lowerings_agree_in_value_and_gradient(name, side, stride, size, padding):
  maps = random_field(2, size, size + 1, 3) / 100
  kernel = random_field(side, side, 3, 4, seed=1) / 100

  def value_and_gradients(convolve):
    def loss(maps, kernel):
      result = convolve(maps, kernel, stride, padding)
      return (result**2).mean(), result

    (_, result), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(maps, kernel)
    return result, *gradients

  for ours, theirs in zip(*map(value_and_gradients, (LOWERINGS[name], LOWERINGS['lax'])), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('padding', PADDINGS)
def test_convolution_is_that_of_scipy(padding):
  image, kernel = random_field(9, 9) / 100, random_field(3, 3, seed=2) / 100
  ours = convolve_patches(image[None, :, :, None], kernel[:, :, None, None], 1, padding)[0, :, :, 0]
  np.testing.assert_allclose(ours, correlate2d(image, kernel, mode=padding), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ('backend', 'stride', 'channels', 'expected'),
  [
    ('cpu', 2, 1, ('shifts', 'space_to_depth')),
    ('cpu', 1, 1, ('shifts', 'lax')),
    ('cpu', 2, 16, ('lax', 'patches')),
    ('cpu', 1, 16, ('lax', 'lax')),
    ('gpu', 2, 1, ('lax', 'lax')),
    ('tpu', 2, 16, ('lax', 'lax')),
  ],
)
def test_the_automatic_lowerings_are_the_documented_ones(backend, stride, channels, expected):
  assert choose_lowerings(stride, channels, backend) == expected


@pytest.mark.parametrize('shape', [(5, 2, 1), (3, 2, 4), (3, 1, 4)])
def test_what_is_chosen_has_the_value_and_the_gradient_of_the_convolution(shape):
  side, stride, channels = shape
  maps, kernel = random_field(2, 16, 17, channels) / 100, random_field(side, side, channels, 4, seed=1) / 100
  chosen = choose_lowerings(stride, channels, 'cpu')

  def loss(convolve):
    return lambda maps, kernel: (convolve(maps, kernel) ** 2).mean()

  def ours(maps, kernel):
    return convolve(maps, kernel, stride, 'same', *chosen)

  def theirs(maps, kernel):
    return LOWERINGS['lax'](maps, kernel, stride, 'same')

  np.testing.assert_allclose(ours(maps, kernel), theirs(maps, kernel), rtol=1e-5, atol=1e-5)
  for gradient, expected in zip(*(jax.grad(loss(way), (0, 1))(maps, kernel) for way in (ours, theirs)), strict=True):
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_the_module_has_one_set_of_parameters_however_it_is_computed():
  maps = random_field(2, 9, 9, 3) / 100
  ways = [('lax', 'lax'), ('shifts', 'space_to_depth'), ('patches', 'lax')]
  modules = [Convolution(4, 3, 2, lowerings=way) for way in ways]
  params = modules[0].init(jax.random.key(0), maps)
  expected = modules[0].apply(params, maps)
  for module in modules[1:]:
    jax.tree.map(np.testing.assert_array_equal, module.init(jax.random.key(0), maps), params)
    np.testing.assert_allclose(module.apply(params, maps), expected, rtol=1e-5, atol=1e-5)
    # What single channels add comes to the whole, the bias apart.
    parts = sum(module.apply(params, maps, channel) for channel in range(3))
    np.testing.assert_allclose(parts + params['params']['bias'], expected, rtol=1e-5, atol=1e-5)
