"""Attribution: how much every pixel of a magnetogram adds to the logit of a network.

A method takes a batch of fields, already cut to the square that the network looks at (`visible_px`), and the
parameters as an argument, so that all members of an ensemble share one compilation. All but Grad-CAM need nothing of
the network but `logit_of(params, field)`, such as `model.apply` of any Flax model.

A missing pixel is 0 G for the network and has the attribution 0.

Convolutions inside `lax.scan` are slow on a CPU; so steps, samples and squares are a batch axis, `BLOCK` at a time.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter

from hearjax.checks import UserError, check_positive
from hearjax.chunks import map_chunks
from hearjax.maps.transforms import fill_missing, reverse_polarity
from hearjax.models.compilation import jit_convolutions
from hearjax.models.network import SYMMETRIES, EmergenceNetwork
from hearjax.training.step import Params

# `[n]` logit of `[n, y, x]` field [G].
LogitFunction = Callable[[Params, jax.Array], jax.Array]

BLOCK = 16  # Versions of a map that a network sees in one call.
CHUNK = 8  # Maps in one call: with BLOCK about 60 MB of activations of the default network.
RESIDUAL_FLOOR = 0.1  # [logit] Completeness is relative to the change of the logit, or to this where it is smaller.


@dataclasses.dataclass(frozen=True)
class AttributionSettings:
  """Settings of the methods; the numbers are our choice.

  Attributes:
    steps: Points on the path of integrated gradients, to begin with.
    tolerance: Largest residual of its completeness; a map that has a larger one gets three times the steps, …
    max_steps: … up to this many.
    samples: Noisy copies of a map for SmoothGrad.
    noise_gauss: Standard deviation of that noise [G].
    square_mm: Side of the square that occlusion sets to 0 G [Mm], rounded to whole pixels.
    stride_px: Distance of neighbouring squares [px].
  """

  steps: int = 32
  tolerance: float = 0.01
  max_steps: int = 2048
  samples: int = 16
  noise_gauss: float = 3.0
  square_mm: float = 5.6
  stride_px: int = 4

  def __post_init__(self):
    if min(self.steps, self.max_steps, self.samples, self.stride_px) < 1:
      raise UserError(
        'steps, max_steps, samples and stride_px must be at least 1, got '
        f'{self.steps}, {self.max_steps}, {self.samples}, {self.stride_px}.'
      )
    for name in ('tolerance', 'noise_gauss', 'square_mm'):
      check_positive(name, getattr(self, name))


# --- Gradients --------------------------------------------------------------------------------------------------


def gradient(logit_of: LogitFunction, params: Params, field: jax.Array) -> jax.Array:
  """Returns `[n, y, x]` derivative of the logit by the field of each pixel [1/G] for `[n, y, x]` field [G]."""
  return _where_there(field, _weighted_gradient(logit_of, params, fill_missing(field)[None], jnp.ones(1)))


def gradient_x_input(logit_of: LogitFunction, params: Params, field: jax.Array) -> jax.Array:
  """Returns `[n, y, x]` gradient times field [logit], the first order of what a pixel adds (Shrikumar et al. 2016)."""
  return gradient(logit_of, params, field) * fill_missing(field)


def integrated_gradients(
  logit_of: LogitFunction,
  params: Params,
  field: jax.Array,
  baseline: jax.Array | float = 0.0,
  steps: int = 32,
) -> jax.Array:
  """Attributes the difference of the logit from that of a baseline (Sundararajan et al. 2017, equation 1).

  The gradient is averaged over the straight path from the baseline to the field by the midpoint rule, and multiplied
  by their difference: the sum over the map is the difference of the logits, as far as `steps` suffice.

  Args:
    logit_of: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    baseline: Field that counts as nothing [G], anything that broadcasts to `field`.
    steps: Points on the path.

  Returns:
    `[n, y, x]` attribution [logit].
  """
  difference = jnp.where(jnp.isfinite(field), field - baseline, 0)
  fractions = (np.arange(steps) + 0.5) / steps
  return _path_slope(logit_of, params, fill_missing(field), difference, fractions) / steps * difference


def _path_slope(
  logit_of: LogitFunction, params: Params, field: jax.Array, difference: jax.Array, fractions: np.ndarray
) -> jax.Array:
  """Returns `[n, y, x]` sum of gradients [1/G] at fractions of the path from `field - difference` to `field`."""
  slope = jnp.zeros_like(field)
  for part in _blocks(fractions):
    # The last block is filled up with points of no weight.
    filled = np.resize(part, BLOCK).astype(np.float32)
    weights = (np.arange(BLOCK) < len(part)).astype(np.float32)
    points = field - (1 - filled[:, None, None, None]) * difference
    slope += _weighted_gradient(logit_of, params, points, weights)
  return slope


def completeness_residual(attribution: np.ndarray, change: np.ndarray) -> np.ndarray:
  """Returns `[n]` how far the sum of integrated gradients misses the change of the logit, relative to that change.

  Args:
    attribution: `[n, y, x]` integrated gradients [logit].
    change: `[n]` logit of the field less that of the baseline; where it is smaller than `RESIDUAL_FLOOR`, the residual
      is relative to that.
  """
  missed = np.abs(np.sum(attribution, axis=(1, 2), dtype=np.float64) - change)
  return missed / np.maximum(np.abs(change), RESIDUAL_FLOOR)


def complete_integrated_gradients(
  logit_of: LogitFunction, params: Params, field: np.ndarray, settings: AttributionSettings
) -> np.ndarray:
  """Integrates each map with as many steps as its completeness needs, from the baseline of 0 G.

  Args:
    logit_of: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    settings: `steps`, `tolerance` and `max_steps`.

  Returns:
    `[n, y, x]` attribution [logit]; its residual is above the tolerance only where `max_steps` did not suffice.
  """
  change = logits(logit_of, params, field) - logits(logit_of, params, np.zeros_like(field[:1]))
  filled, slope = np.nan_to_num(field), np.zeros_like(field)
  rows, steps = np.arange(len(field)), settings.steps
  fractions = (np.arange(steps) + 0.5) / steps
  while True:

    def add(maps: np.ndarray, fractions: np.ndarray = fractions) -> jax.Array:
      return _path_slope(logit_of, params, maps, maps, fractions)

    slope[rows] += map_chunks(add, filled[rows], CHUNK)
    residual = completeness_residual(slope[rows] / steps * filled[rows], change[rows])
    slope[np.delete(rows, residual > settings.tolerance)] /= steps
    rows = rows[residual > settings.tolerance]
    if not len(rows) or 3 * steps > settings.max_steps:
      slope[rows] /= steps
      return slope * filled
    # Every step is cut in three: its midpoint stays one.
    fractions = ((np.arange(steps)[:, None] + np.array([1, 5]) / 6) / steps).ravel()
    steps *= 3


def smooth_grad(
  logit_of: LogitFunction, params: Params, field: jax.Array, key: jax.Array, noise_gauss: float, samples: int
) -> jax.Array:
  """Averages the gradient over noisy copies of the field (Smilkov et al. 2017).

  All maps get the same noise, so that a result does not depend on which maps stand beside it. A missing pixel stays
  at 0 G.

  Args:
    logit_of: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    key: Key of the noise.
    noise_gauss: Standard deviation of the noise of each pixel [G].
    samples: Noisy copies.

  Returns:
    `[n, y, x]` mean derivative of the logit by the field [1/G].
  """
  slope = jnp.zeros_like(field)
  for numbers in _blocks(np.arange(samples)):
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(numbers)
    noise = noise_gauss * jax.vmap(lambda one: jax.random.normal(one, field.shape[1:]))(keys)
    points = jnp.where(jnp.isfinite(field), field + noise[:, None], 0)
    slope += _weighted_gradient(logit_of, params, points, jnp.full(len(numbers), 1 / samples))
  return _where_there(field, slope)


@jit_convolutions('logit_of')
def _weighted_gradient(logit_of: LogitFunction, params: Params, points: jax.Array, weights: jax.Array) -> jax.Array:
  """Returns `[n, y, x]` sum over the `[points, n, y, x]` fields of weight times gradient [1/G]."""
  flat = points.reshape(-1, *points.shape[2:])
  slope = jax.grad(lambda field: jnp.sum(logit_of(params, field)))(flat)
  return jnp.einsum('k,knyx->nyx', weights, slope.reshape(points.shape))


# --- Occlusion --------------------------------------------------------------------------------------------------


def occlusion(logit_of: LogitFunction, params: Params, field: jax.Array, side_px: int, stride_px: int) -> jax.Array:
  """Sets one square after the other to 0 G and sees how far the logit falls (Zeiler & Fergus 2014).

  Args:
    logit_of: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    side_px: Side of the square [px].
    stride_px: Distance of neighbouring squares [px]; the last ones end at the edge of the map, whatever it is.

  Returns:
    `[n, y, x]` fall of the logit per pixel of a square [logit], averaged over the squares that hold the pixel.

  Raises:
    UserError: Squares larger than the map, or with gaps between them.
  """
  if not 1 <= stride_px <= side_px <= min(field.shape[1:]):
    raise UserError(
      f'Occlusion needs 1 <= stride <= side of the square <= side of the map, got {stride_px}, {side_px} and '
      f'{min(field.shape[1:])} px.'
    )
  filled = fill_missing(field)
  intact = _logits(logit_of, params, filled)
  fall = jnp.zeros_like(filled)
  covered = np.zeros(field.shape[1:], np.float32)
  for squares in _blocks(_squares(field.shape[1:], side_px, stride_px)):
    squares = np.concatenate([squares, np.zeros((BLOCK - len(squares), *squares.shape[1:]), squares.dtype)])
    fall += _fall_of_squares(logit_of, params, filled, squares, intact)
    covered += squares.sum(axis=0)
  return _where_there(field, fall / (covered * side_px**2))


def _squares(shape: tuple[int, int], side_px: int, stride_px: int) -> np.ndarray:
  """Returns `[squares, y, x]` 1 within a square."""
  rows, columns = (np.unique(np.append(np.arange(0, size - side_px, stride_px), size - side_px)) for size in shape)
  squares = np.zeros((len(rows) * len(columns), *shape), np.float32)
  for square, (row, column) in zip(squares, itertools.product(rows, columns), strict=True):
    square[row : row + side_px, column : column + side_px] = 1
  return squares


@jit_convolutions('logit_of')
def _fall_of_squares(
  logit_of: LogitFunction, params: Params, field: jax.Array, squares: jax.Array, intact: jax.Array
) -> jax.Array:
  """Returns `[n, y, x]` sum over squares of the fall of the logit, at each pixel of a square."""
  covered = field * (1 - squares[:, None])
  fall = intact - logit_of(params, covered.reshape(-1, *field.shape[1:])).reshape(covered.shape[:2])
  return jnp.einsum('kn,kyx->nyx', fall, squares)


# --- Class activation -------------------------------------------------------------------------------------------


@jit_convolutions('model', 'elementwise')
def grad_cam(model: EmergenceNetwork, params: Params, field: jax.Array, elementwise: bool = False) -> jax.Array:
  """Weights the activations of the last layer with the gradient of the logit, and brings them to the grid of the map.

  Grad-CAM averages the gradient of each filter over the map and keeps the positive part of the sum over filters
  (Selvaraju et al. 2017, equations 1 and 2). This network averages its last layer over a central window besides the
  whole map: its gradient differs from place to place, and Grad-CAM cannot see the window. `elementwise` leaves the
  gradient where it is and keeps both signs (HiResCAM, Draelos & Carin 2020).

  Args:
    model: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    elementwise: HiResCAM instead of Grad-CAM.

  Returns:
    `[n, y, x]` weighted activation per pixel [logit], interpolated linearly between the positions of the outputs.
  """
  size = field.shape[-1]
  last = model.apply(params, field, method='activations')[-1]
  # The read-out averages the versions of a map that symmetries add, so that their sum is what belongs together.
  slope = jax.grad(lambda maps: jnp.sum(model.apply(params, maps, size, method='read_out')))(last)
  if elementwise:
    heat = jnp.sum(slope * last, axis=-1)
  else:
    heat = jax.nn.relu(jnp.sum(jnp.mean(slope, axis=(1, 2), keepdims=True) * last, axis=-1))
  positions = model.settings.positions_px(size)
  grid = np.arange(size) - (size - 1) / 2
  onto_grid = np.stack([np.interp(grid, positions, unit) for unit in np.eye(len(positions))], axis=1)
  pixels_per_output = np.prod(model.settings.strides) ** 2
  heat = jnp.einsum('yi,nij,xj->nyx', onto_grid, heat, onto_grid) / pixels_per_output
  for name in reversed(model.settings.symmetries):
    original, version = jnp.split(heat, 2)
    if SYMMETRIES[name] is not reverse_polarity:  # Which moves no pixel.
      version = SYMMETRIES[name](version)
    heat = original + version
  return jnp.where(jnp.isfinite(field), heat, 0)


# --- All of them ------------------------------------------------------------------------------------------------

# Unit of each method: `1` for what a pixel adds to the logit, `1 / G` for its change with the field of the pixel.
UNITS = {
  'integrated_gradients': '',
  'gradient_x_input': '',
  'smooth_grad': '1 / G',
  'grad_cam': '',
  'hires_cam': '',
  'occlusion': '',
}
METHODS = tuple(UNITS)


def attribute(
  method: str, model: EmergenceNetwork, params: Params, field: np.ndarray, settings: AttributionSettings, key: jax.Array
) -> np.ndarray:
  """Attributes the logit of many magnetograms to their pixels by one of `METHODS`.

  Args:
    method: Name of the method.
    model: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing, cut to what the network looks at.
    settings: Settings of the methods.
    key: Key of the noise of SmoothGrad.

  Returns:
    `[n, y, x]` attribution on the host, in the unit that `UNITS` gives.

  Raises:
    UserError: There is no such method.
  """
  check_methods([method])
  logit_of = model.apply
  if method == 'integrated_gradients':
    return complete_integrated_gradients(logit_of, params, field, settings)
  side_px = max(1, round(settings.square_mm / model.pixel_scale_mm))
  function = {
    'gradient_x_input': lambda maps: gradient_x_input(logit_of, params, maps),
    'smooth_grad': lambda maps: smooth_grad(logit_of, params, maps, key, settings.noise_gauss, settings.samples),
    'grad_cam': lambda maps: grad_cam(model, params, maps),
    'hires_cam': lambda maps: grad_cam(model, params, maps, elementwise=True),
    'occlusion': lambda maps: occlusion(logit_of, params, maps, side_px, settings.stride_px),
  }[method]
  return map_chunks(function, field, CHUNK)


def check_methods(methods: list[str]) -> None:
  """Raises UserError where a method is not known, or none is named."""
  unknown = sorted(set(methods) - set(METHODS))
  if unknown or not methods:
    raise UserError(f'Unknown method {", ".join(unknown) or "(none)"}; known are {", ".join(METHODS)}.')


def contribution(method: str, attribution: np.ndarray, field: np.ndarray) -> np.ndarray:
  """Returns `[n, y, x]` what a pixel adds to the logit: a sensitivity [1/G] is multiplied by the field [G]."""
  return attribution * np.nan_to_num(field) if UNITS[method] == '1 / G' else attribution


def smooth(maps: np.ndarray, pixel_scale_mm: float, smooth_mm: float) -> np.ndarray:
  """Returns `[n, y, x]` maps after a Gaussian of standard deviation `smooth_mm` [Mm], NaN counted as 0."""
  return gaussian_filter(np.nan_to_num(maps), smooth_mm / pixel_scale_mm, axes=(1, 2), mode='nearest')


def logits(logit_of: LogitFunction, params: Params, field: np.ndarray) -> np.ndarray:
  """Returns `[n]` logit of `[n, y, x]` field [G]."""
  return map_chunks(functools.partial(_logits, logit_of, params), field, BLOCK * CHUNK)


@jit_convolutions('logit_of')
def _logits(logit_of: LogitFunction, params: Params, field: jax.Array) -> jax.Array:
  return logit_of(params, field)


def _where_there(field: jax.Array, attribution: jax.Array) -> jax.Array:
  return jnp.where(jnp.isfinite(field), attribution, 0)


def _blocks(items: np.ndarray) -> Iterator[np.ndarray]:
  """Yields `BLOCK` of the items at a time; what comes of them is summed up, where `map_chunks` would join it."""
  return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))
