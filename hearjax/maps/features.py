"""Numbers that describe a magnetogram: what a discriminant analysis reads.

Each feature is a pure function of one `[y, x]` line-of-sight field [G]. A missing pixel (NaN) contributes nothing: it
adds no flux, no sample to a moment, and no gradient to itself or its neighbours. A ratio whose denominator vanishes
(the kurtosis of a constant field, say) is 0. So every feature of every magnetogram is finite, and so is its derivative.

Fluxes are those of the line-of-sight field and the projected patch: neither is corrected for foreshortening.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.chunks import map_chunks
from hearjax.maps.transforms import fill_missing
from hearjax.solar import CM2_PER_MM2

STRONG_GAUSS = 25.0  # Our choice: above the noise of a 410 min mean, below the network.
CENTRAL_RADIUS_MM = 8.0  # Our choice: of 5, 8, 10, 12 and 20 Mm the best for linear DA on the surveys of the study.


# --- Flux -------------------------------------------------------------------------------------------------------


def unsigned_flux(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns the total unsigned flux, sum of |B| dA [Mx].

  Args:
    field: `[y, x]` line-of-sight field [G], NaN where missing.
    pixel_scale_mm: Side of a pixel [Mm].
  """
  return jnp.sum(jnp.abs(fill_missing(field))) * _pixel_area_cm2(pixel_scale_mm)


def net_flux(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns the net flux, sum of B dA [Mx]; arguments as for `unsigned_flux`."""
  return jnp.sum(fill_missing(field)) * _pixel_area_cm2(pixel_scale_mm)


def flux_imbalance(field: jax.Array) -> jax.Array:
  """Returns |net flux| / unsigned flux: 0 for balanced polarities, 1 for a single one."""
  filled = fill_missing(field)
  return _ratio(jnp.abs(jnp.sum(filled)), jnp.sum(jnp.abs(filled)))


def central_unsigned_flux(field: jax.Array, pixel_scale_mm: float, radius_mm: float = CENTRAL_RADIUS_MM) -> jax.Array:
  """Returns the unsigned flux [Mx] of the pixels whose centres lie within `radius_mm` of the centre of the map.

  A region emerges at the centre of its map, and the flux of a wide map is that of the network around it: without
  this feature the discriminant analysis would not know where to look.
  """
  y, x = _positions(field.shape)
  inside = jnp.hypot(y, x) * pixel_scale_mm <= radius_mm
  return unsigned_flux(jnp.where(inside, field, 0), pixel_scale_mm)


# --- Distribution of the pixels ---------------------------------------------------------------------------------


def mean_unsigned_field(field: jax.Array) -> jax.Array:
  """Returns the mean of |B| over the pixels that are there [G]."""
  return _mean(jnp.abs(field), jnp.isfinite(field))


def standard_deviation(field: jax.Array) -> jax.Array:
  """Returns the standard deviation of B [G] (population, not sample)."""
  return _root(_central_moment(field, 2))


def skewness(values: jax.Array) -> jax.Array:
  """Returns the third standardised moment, m3 / m2^1.5 (without correction for bias)."""
  variance = _central_moment(values, 2)
  return _ratio(_central_moment(values, 3), variance * _root(variance))


def kurtosis(values: jax.Array) -> jax.Array:
  """Returns the fourth standardised moment, m4 / m2^2: 3 for a Gaussian (no excess is subtracted)."""
  return _ratio(_central_moment(values, 4), _central_moment(values, 2) ** 2)


def peak_field(field: jax.Array) -> jax.Array:
  """Returns the largest |B| [G]."""
  return jnp.max(jnp.abs(fill_missing(field)))


# --- Structure --------------------------------------------------------------------------------------------------


def gradient(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns the mean of |grad B| [G/Mm], by central differences where all four neighbours are there."""
  filled, there = fill_missing(field), jnp.isfinite(field)
  along_y = (filled[2:, 1:-1] - filled[:-2, 1:-1]) / (2 * pixel_scale_mm)
  along_x = (filled[1:-1, 2:] - filled[1:-1, :-2]) / (2 * pixel_scale_mm)
  surrounded = there[2:, 1:-1] & there[:-2, 1:-1] & there[1:-1, 2:] & there[1:-1, :-2]
  return _mean(_root(along_y**2 + along_x**2), surrounded)


def length_scale(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns the mean wavelength of the field [Mm], 1 / mean wavenumber weighted with the power spectrum.

  With P(k) the power of B less its mean at the wavenumber k (cycles per Mm), it is sum P / sum |k| P over all k: the
  wavelength of a plane wave, about twice the distance between neighbouring opposite poles in general, whatever the
  amplitude. Missing pixels hold the mean. The map is not tapered: edges that do not match add power at all k, alike
  for maps of one size.
  """
  transform = jnp.fft.fft2(_deviation(field))
  power = transform.real**2 + transform.imag**2
  k_y, k_x = (jnp.fft.fftfreq(size) / pixel_scale_mm for size in field.shape)
  return _ratio(jnp.sum(power), jnp.sum(jnp.hypot(k_y[:, None], k_x) * power))


def polarity_separation(field: jax.Array, pixel_scale_mm: float, strong_gauss: float = STRONG_GAUSS) -> jax.Array:
  """Returns the distance between the flux-weighted centroids of both polarities [Mm].

  Only pixels with |B| above `strong_gauss` count; the separation is 0 where one polarity has none.
  """
  y, x = _positions(field.shape)
  filled = fill_missing(field)
  plus, minus = (jnp.where(polarity > strong_gauss, polarity, 0) for polarity in (filled, -filled))
  offset_y, offset_x = (
    _ratio(jnp.sum(plus * axis), jnp.sum(plus)) - _ratio(jnp.sum(minus * axis), jnp.sum(minus)) for axis in (y, x)
  )
  both = (jnp.max(plus) > 0) & (jnp.max(minus) > 0)
  return jnp.where(both, _root(offset_y**2 + offset_x**2), 0) * pixel_scale_mm


# --- All of them ------------------------------------------------------------------------------------------------

# Name -> function of `[y, x]` field [G] and pixel scale [Mm].
FEATURES: dict[str, Callable[[jax.Array, float], jax.Array]] = {
  'unsigned_flux': unsigned_flux,
  'net_flux': net_flux,
  'central_unsigned_flux': central_unsigned_flux,
  'flux_imbalance': lambda field, _: flux_imbalance(field),
  'mean_unsigned_field': lambda field, _: mean_unsigned_field(field),
  'standard_deviation': lambda field, _: standard_deviation(field),
  'skewness': lambda field, _: skewness(field),
  'kurtosis': lambda field, _: kurtosis(field),
  'skewness_unsigned': lambda field, _: skewness(jnp.abs(field)),
  'kurtosis_unsigned': lambda field, _: kurtosis(jnp.abs(field)),
  'peak_field': lambda field, _: peak_field(field),
  'gradient': gradient,
  'length_scale': length_scale,
  'polarity_separation': polarity_separation,
}

UNITS: dict[str, str] = dict.fromkeys(FEATURES, '') | {
  'unsigned_flux': 'Mx',
  'net_flux': 'Mx',
  'central_unsigned_flux': 'Mx',
  'mean_unsigned_field': 'G',
  'standard_deviation': 'G',
  'peak_field': 'G',
  'gradient': 'G / Mm',
  'length_scale': 'Mm',
  'polarity_separation': 'Mm',
}


def feature_vector(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns `[n_features]` all features of one `[y, x]` field, in the order and units of `FEATURES` and `UNITS`."""
  return jnp.stack([feature(field, pixel_scale_mm) for feature in FEATURES.values()])


def feature_table(field: jax.Array, pixel_scale_mm: float, chunk: int = 64) -> np.ndarray:
  """Returns all features of many magnetograms.

  Args:
    field: `[n, y, x]` field [G], NaN where missing.
    pixel_scale_mm: Side of a pixel [Mm].
    chunk: Magnetograms on the device at a time.

  Returns:
    `[n, n_features]` float32 on the host, columns in the order of `FEATURES`.
  """
  return map_chunks(lambda maps: _feature_vectors(np.asarray(maps, np.float32), pixel_scale_mm), field, chunk)


@jax.jit
def _feature_vectors(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  return jax.vmap(partial(feature_vector, pixel_scale_mm=pixel_scale_mm))(field)


def _pixel_area_cm2(pixel_scale_mm: float) -> float:
  return pixel_scale_mm**2 * CM2_PER_MM2


def _positions(shape: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
  """Returns `[y, 1]` and `[1, x]` distances from the centre of the map [px]."""
  y, x = (jnp.arange(size) - (size - 1) / 2 for size in shape)
  return y[:, None], x[None, :]


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
  """Returns numerator / denominator, 0 where the denominator is 0; its derivative is finite there, too."""
  there = denominator != 0
  return jnp.where(there, numerator / jnp.where(there, denominator, 1), 0)


def _root(square: jax.Array) -> jax.Array:
  """Returns the square root of a number that is not negative, with the derivative 0 at 0."""
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _mean(values: jax.Array, there: jax.Array) -> jax.Array:
  return _ratio(jnp.sum(jnp.where(there, values, 0)), jnp.sum(there))


def _deviation(values: jax.Array) -> jax.Array:
  """Returns the values less their mean, 0 where missing."""
  there = jnp.isfinite(values)
  return jnp.where(there, values - _mean(values, there), 0)


def _central_moment(values: jax.Array, order: int) -> jax.Array:
  return _mean(_deviation(values) ** order, jnp.isfinite(values))
