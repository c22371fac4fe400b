"""The network at every place of a large map: neighbouring places share their convolutions.

A sliding window would convolve each pixel once for every square that it lies in. Here the layers run once over the
whole map, and what the logit is linear in, averages of the last layer over a square and over a central window, is
taken about every place. Without padding that is what the network says of each square. With zeros beyond the edge of a
square it is not: there the layers see zeros, here they see the field.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.maps import transforms
from hearjax.models.compilation import jit_convolutions
from hearjax.models.network import SYMMETRIES, EmergenceNetwork, ModelSettings, all_versions, central_window
from hearjax.solar import CM2_PER_MM2

UNMOVED = ('polarity',)  # Symmetries that leave every place where it is.


def total_stride(settings: ModelSettings) -> int:
  """Returns how far apart neighbouring outputs of the last layer lie [px]."""
  return math.prod(settings.strides)


def averages_along(settings: ModelSettings, size: int, pixel_scale_mm: float) -> np.ndarray:
  """Returns `[average, n]` weights of the outputs of the last layer along an axis of the square.

  Both averages of the network are products of such weights along y and along x: a mean over the square, and a Gaussian.

  Args:
    settings: Of the network.
    size: Side of the square that it looks at [px].
    pixel_scale_mm: Side of a pixel [Mm].
  """
  positions = settings.positions_px(size) * pixel_scale_mm
  along = [np.full(len(positions), 1 / len(positions))]
  if settings.centre_mm:
    along.append(central_window(positions, positions, settings.centre_mm).sum(axis=0))
  return np.stack(along)


@jit_convolutions('model', 'size', 'step')
def place_logits(params: dict, field: jax.Array, *, model: EmergenceNetwork, size: int, step: int) -> jax.Array:
  """Returns the logits of one network at places `step` px apart.

  Args:
    params: Of the network.
    field: `[map, y, x]` field [G], NaN where missing; its sides are `size` and a multiple of `step`.
    model: The network.
    size: Side of the square that it looks at [px].
    step: Distance of neighbouring places [px], a multiple of `total_stride`.

  Returns:
    `[map, (y - size) // step + 1, (x - size) // step + 1]` logits; the first is that of the square in the first corner.
  """
  settings = model.settings
  along = averages_along(settings, size, model.pixel_scale_mm)
  field = transforms.network_input(field, settings.limit_gauss, settings.scale_gauss)
  names = [()]
  for name in settings.symmetries:
    names += [(*earlier, name) for earlier in names]
  logits = []
  for version, applied in zip(all_versions(field, settings.symmetries), names, strict=True):
    maps = version[..., None].astype(settings.precision)
    for number in range(len(settings.widths)):
      maps = model.apply(params, number, maps, method='layer')
    pooled = _pool(maps.astype(jnp.float32), along, step // total_stride(settings))
    there = model.apply(params, pooled, method=lambda module, averages: module.logit(module.scale(averages)))[..., 0]
    for name in reversed(applied):
      there = there if name in UNMOVED else SYMMETRIES[name](there)  # Each of them undoes itself.
    logits.append(there)
  return jnp.mean(jnp.stack(logits), axis=0)


def measure_places(
  field: np.ndarray, size: int, step: int, pixel_scale_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Measures the squares about the places of `place_logits`, as `forecast.domain.measure` does a patch.

  Args:
    field: `[y, x]` field [G], NaN where missing.
    size: Side of a square [px].
    step: Distance of neighbouring places [px].
    pixel_scale_mm: Side of a pixel [Mm].

  Returns:
    `[place_y, place_x]` unsigned flux [Mx], peak |B| [G] and fraction of missing pixels.
  """
  missing = ~np.isfinite(field)
  strength = np.where(missing, 0, np.abs(field))
  flux = _box_sums(strength, size, step) * pixel_scale_mm**2 * CM2_PER_MM2
  peak = strength
  for axis in (0, 1):
    windows = np.lib.stride_tricks.sliding_window_view(peak, size, axis)
    peak = windows[(slice(None),) * axis + (slice(None, None, step),)].max(axis=-1)
  return flux, peak, _box_sums(missing, size, step) / size**2


def _pool(maps: jax.Array, along: np.ndarray, step: int) -> jax.Array:
  """Returns `[map, y, x, average * width]` averages of `[map, y, x, width]` about places `step` outputs apart."""
  rows, columns = (_sliding(along, n, step) for n in maps.shape[1:3])
  pooled = jnp.einsum('apy,tyxc->atpxc', rows, maps)
  pooled = jnp.einsum('aqx,atpxc->tpqac', columns, pooled)
  return pooled.reshape(*pooled.shape[:3], -1)


def _sliding(along: np.ndarray, n: int, step: int) -> np.ndarray:
  """Returns `[average, place, n]` weights of `n` outputs, shifted on by `step` from place to place."""
  averages, width = along.shape
  starts = np.arange(0, n - width + 1, step)
  weights = np.zeros((averages, len(starts), n), np.float32)
  for place, start in enumerate(starts):
    weights[:, place, start : start + width] = along
  return weights


def _box_sums(values: np.ndarray, size: int, step: int) -> np.ndarray:
  """Returns `[place_y, place_x]` sums of `[y, x]` over squares."""
  sums = np.pad(values.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
  starts_y, starts_x = (np.arange(0, n - size + 1, step) for n in values.shape)
  upper, lower = sums[starts_y + size], sums[starts_y]
  return (upper - lower)[:, starts_x + size] - (upper - lower)[:, starts_x]
