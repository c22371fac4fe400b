"""From magnetic elements to a line-of-sight magnetogram: the grid, the point spread, projection and noise.

Arrays are `[y, x]`, north up, west right, on the periodic square of `Sun.padded_size`; `observe` cuts the patch out.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.simulate.quiet_sun import Elements
from hearjax.simulate.sun import Sun
from hearjax.solar import SOLAR_RADIUS_MM

SIGMA_OF_FWHM = 1 / np.sqrt(8 * np.log(2))


def scatter_elements(elements: Elements, grid: int, sun: Sun) -> jax.Array:
  """Spreads elements on the four nearest pixels, bilinearly, and averages over the steps.

  Args:
    elements: Elements at some steps.
    grid: Side of the periodic square [px].
    sun: Parameters.

  Returns:
    `[grid, grid]` radial flux density [G].
  """
  steps = elements.flux.shape[0]
  pixel = elements.position.reshape(-1, 2) / sun.pixel_scale_mm + (grid - 1) / 2
  low = jnp.floor(pixel)
  upper_weight = pixel - low
  low = low.astype(jnp.int32)
  flux = elements.flux.reshape(-1) / (steps * sun.pixel_cm2)
  field = jnp.zeros((grid, grid))
  for dy in (0, 1):
    for dx in (0, 1):
      weight = jnp.prod(jnp.abs(1 - jnp.array([dx, dy]) - upper_weight), axis=-1)
      column, row = ((low + jnp.array([dx, dy])) % grid).T
      field = field.at[row, column].add(flux * weight)
  return field


def gaussian_transfer(grid: int, sigma_mm: float, sun: Sun) -> np.ndarray:
  """Returns `[grid, grid // 2 + 1]` the Fourier transform of a Gaussian of unit sum, for `jnp.fft.rfft2`."""
  sigma = sigma_mm / sun.pixel_scale_mm
  frequency = np.fft.fftfreq(grid)[:, None] ** 2 + np.fft.rfftfreq(grid)[None, :] ** 2
  return np.exp(-2 * np.pi**2 * sigma**2 * frequency).astype(np.float32)


def smooth(field: jax.Array, transfer: np.ndarray) -> jax.Array:
  """Convolves a periodic `[grid, grid]` map with a kernel, given its transfer function."""
  return jnp.fft.irfft2(jnp.fft.rfft2(field) * transfer, s=field.shape)


def colour(white: jax.Array, sigma_mm: float, sun: Sun) -> jax.Array:
  """Smooths periodic `[grid, grid]` white noise of variance 1 with a Gaussian, and keeps the variance."""
  grid = white.shape[-1]
  transfer = gaussian_transfer(grid, sigma_mm, sun)
  # A real map's spectrum is stored by halves: column 0 (and the last, for an even grid) is whole, others count twice.
  twice = np.full(transfer.shape[1], 2.0)
  twice[0] = 1
  if grid % 2 == 0:
    twice[-1] = 1
  variance = np.sum(twice * transfer**2) / grid**2
  return smooth(white, transfer / np.float32(np.sqrt(variance)))


def mu_map(sight: jax.Array, size: int, sun: Sun) -> jax.Array:
  """Returns `[size, size]` cosine of the heliocentric angle on a Postel map.

  Args:
    sight: `[3]` unit vector to the observer in the frame (west, north, up) of the centre of the map.
    size: Side of the map [px].
    sun: Parameters.
  """
  axis = (jnp.arange(size) - (size - 1) / 2) * sun.pixel_scale_mm / SOLAR_RADIUS_MM
  angle = jnp.hypot(axis[None, :], axis[:, None])
  # sin(angle) / angle, so that the centre needs no exception.
  along = jnp.sinc(angle / jnp.pi)
  return along * (sight[0] * axis[None, :] + sight[1] * axis[:, None]) + sight[2] * jnp.cos(angle)


def observe(
  key: jax.Array, elements: Elements, size: int, sight: jax.Array, n_frames: jax.Array, sun: Sun
) -> jax.Array:
  """Observes a magnetogram: the mean over the given steps, along the line of sight, with noise.

  Args:
    key: Random key of the noise.
    elements: Elements at the steps of one window; their field is radial.
    size: Side of the patch [px].
    sight: `[3]` unit vector to the observer (west, north, up).
    n_frames: Frames of 45 s in the mean.
    sun: Parameters.

  Returns:
    `[size, size]` line-of-sight field [G].
  """
  grid = sun.padded_size(size)
  edge = (grid - size) // 2
  patch = (slice(edge, edge + size),) * 2
  mu = mu_map(sight, size, sun)
  radial = smooth(scatter_elements(elements, grid, sun), gaussian_transfer(grid, sun.psf_fwhm_mm * SIGMA_OF_FWHM, sun))[
    patch
  ]
  radial = sun.strongest_gauss * jnp.tanh(radial / sun.strongest_gauss)
  # Field inside the cells points everywhere, and noise nowhere: neither is projected.
  white = jax.random.normal(key, (3, grid, grid))
  internetwork = sun.internetwork_gauss * colour(white[0], sun.internetwork_mm, sun)[patch]
  residual = sun.residual_gauss * colour(white[1], sun.residual_mm, sun)[patch]
  noise = sun.noise_gauss / jnp.sqrt(n_frames) * white[2][patch]
  return mu * radial + internetwork + (1 + sun.noise_limb * (1 - mu)) * (residual + noise)
