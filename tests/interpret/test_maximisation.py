"""Fields of highest logit: they keep the constraints, and where the best field is known it is found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from hearjax.interpret import maximisation
from hearjax.interpret.maximisation import FieldConstraints
from hearjax.solar import CM2_PER_MM2

SIZE, SCALE = 32, 1.5
AREA_CM2 = (SIZE * SCALE) ** 2 * CM2_PER_MM2
LIMITED = FieldConstraints(limit_gauss=150.0, shortest_mm=5.0, longest_mm=25.0, flux_mx=10.0 * AREA_CM2)


def linear(weights, field):
  return jnp.einsum('yx,nyx->n', weights, field)


@jax.jit
def small_network(kernel, field):
  """Returns `[n]` logit of one convolution, ReLU, mean and logarithm."""
  maps = jax.lax.conv_general_dilated(field[:, None], kernel, (2, 2), 'SAME')
  return jnp.log1p(jnp.mean(jax.nn.relu(maps - 3.0), axis=(1, 2, 3)))


def assert_within(field, constraints):
  """Looks at the constraints by other means than `project` does."""
  field = np.asarray(field, np.float64)
  assert np.all(np.abs(field).max(axis=(1, 2)) <= constraints.limit_gauss * 1.001)
  if constraints.flux_mx is not None:
    assert np.all(np.abs(field).sum(axis=(1, 2)) * SCALE**2 * CM2_PER_MM2 <= constraints.flux_mx * 1.001)
  assert np.all(np.abs(field.sum(axis=(1, 2))) <= 1e-3 * np.abs(field).sum(axis=(1, 2)))
  power = np.abs(np.fft.fft2(field)) ** 2
  index = np.fft.fftfreq(SIZE, 1 / SIZE)
  with np.errstate(divide='ignore'):
    wavelength = SIZE * SCALE / np.hypot(index[:, None], index)
  outside = (wavelength < constraints.shortest_mm) | (wavelength > constraints.longest_mm)
  assert np.all(power[:, outside].sum(axis=1) <= 1e-6 * power.sum(axis=(1, 2)))


@pytest.mark.parametrize('constraints', [LIMITED, FieldConstraints(limit_gauss=80.0)])
def test_random_and_climbed_fields_keep_the_constraints(constraints):
  kernel = np.random.default_rng(0).normal(0, 0.2, (4, 1, 5, 5)).astype(np.float32)
  start = maximisation.random_fields(jax.random.key(1), 3, SIZE, SCALE, constraints)
  assert_within(start, constraints)
  best, logit = maximisation.maximise(small_network, kernel, start, SCALE, constraints, steps=40)
  assert_within(best, constraints)
  np.testing.assert_allclose(logit, small_network(kernel, best), rtol=1e-4, atol=1e-5)
  others = np.concatenate(
    [maximisation.random_fields(jax.random.key(seed), 3, SIZE, SCALE, constraints) for seed in range(2, 32)]
  )
  assert np.all(logit > small_network(kernel, start))
  assert np.all(logit > np.max(small_network(kernel, others)))


def test_the_best_field_of_a_linear_network_that_looks_for_one_wave():
  # The band holds but the waves that fit 4 times along x or y; their peaks add up, so that the one asked for gets all.
  wave = np.cos(2 * np.pi * 4 * np.arange(SIZE) / SIZE) * np.ones((SIZE, 1))
  wavelength = SIZE * SCALE / 4
  constraints = FieldConstraints(200.0, wavelength * 0.99, wavelength * 1.01)
  start = maximisation.random_fields(jax.random.key(0), 2, SIZE, SCALE, constraints)
  best, logit = maximisation.maximise(linear, wave, start, SCALE, constraints)
  np.testing.assert_allclose(logit, 200.0 * SIZE**2 / 2, rtol=2e-3)
  np.testing.assert_allclose(
    best, np.broadcast_to(200.0 * wave, best.shape), atol=10.0
  )  # The logit is flat at its maximum.


def test_scarce_flux_gathers_where_it_counts():
  # The network looks at one pixel. What passes the band of a single spot there is a good field, if not the best.
  weights = np.zeros((SIZE, SIZE), np.float32)
  weights[20, 22] = 1.0
  constraints = FieldConstraints(500.0, 3.0, 40.0, 0.5 * AREA_CM2)
  spot = np.fft.ifft2(np.fft.fft2(weights) * maximisation.band(SIZE, SCALE, constraints)).real
  spot *= 0.5 / np.abs(spot).mean()
  start = maximisation.random_fields(jax.random.key(0), 2, SIZE, SCALE, constraints)
  best, logit = maximisation.maximise(linear, weights, start, SCALE, constraints)
  assert np.unravel_index(np.argmax(best[0]), best[0].shape) == (20, 22)
  assert np.all(logit > spot[20, 22])
  assert_within(best, constraints)


def test_shrinking_is_the_nearest_field_of_that_flux():
  # By hand: of (3, -1, 0.5, 0) with the sum of |B| 2, the nearest is (2, 0, 0, 0); with 3 it is (2.5, -0.5, 0, 0).
  field = jnp.array([[[3.0, -1.0], [0.5, 0.0]]] * 3)
  np.testing.assert_allclose(maximisation._shrink(field[:1], 0.5), [[[2, 0], [0, 0]]], atol=1e-6)
  np.testing.assert_allclose(maximisation._shrink(field[:1], 0.75), [[[2.5, -0.5], [0, 0]]], atol=1e-6)
  np.testing.assert_allclose(maximisation._shrink(field[:1], 2.0), field[:1], atol=1e-6)


def test_fields_within_the_constraints_stay_as_they_are():
  field = np.asarray(maximisation.random_fields(jax.random.key(0), 2, SIZE, SCALE, LIMITED)) / 2
  same = maximisation.project(field, *maximisation._bounds(SIZE, SCALE, LIMITED))
  np.testing.assert_allclose(same, field, atol=1e-4)


def test_the_file_has_axes_in_megametres(tmp_path):
  meta = {'survey_source': 'test', 'survey_checksum': '0' * 64, 'settings': {'seed': 0}}
  fields = {'fold00_seed0': np.ones((2, SIZE, SIZE))}
  maximisation.write_fields(tmp_path / 'm.fits', fields, SCALE, meta)
  with fits.open(tmp_path / 'm.fits', checksum=True) as hdus:
    header = hdus['FOLD00_SEED0'].header
    assert header['BUNIT'] == 'Gauss'
    corner = WCS(header, naxis=2).pixel_to_world_values(0, SIZE - 1)
    np.testing.assert_allclose(corner, [-15.5 * SCALE, 15.5 * SCALE])


@pytest.mark.parametrize(
  ('wrong', 'said'),
  [
    ({'limit_gauss': 0.0}, 'must be positive'),
    ({'flux_mx': -1.0}, 'must be positive'),
    ({'shortest_mm': 50.0}, '0 < shortest < longest'),
  ],
)
def test_constraints_that_make_no_sense(wrong, said):
  with pytest.raises(ValueError, match=said):
    FieldConstraints(**wrong)


def test_bands_that_no_wave_fits():
  with pytest.raises(ValueError, match=r'at least two pixels, 3\.00 Mm'):
    maximisation.band(SIZE, SCALE, FieldConstraints(shortest_mm=2.0))
  with pytest.raises(ValueError, match=r'No wave that fits a square of 48\.0 Mm'):
    maximisation.band(SIZE, SCALE, FieldConstraints(shortest_mm=25.0, longest_mm=30.0))
