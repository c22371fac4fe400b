"""Attribution: how much every pixel of a magnetogram adds to the logit of a network.

Expected gradients ask what a map adds to the logit beyond quiet Sun: paths run to it from control maps of the training
part. Integrated gradients start from 0 G, which is no map of the Sun: against it most control maps speak for emergence,
too.

A method takes a batch of fields, already cut to the square that the network looks at (`visible_px`), and the
parameters as an argument, so that all networks of one shape share one compilation. A missing pixel is 0 G for the
network and has the attribution 0.

Convolutions inside `lax.scan` are slow on a CPU; so points, samples and squares are a batch axis, `BLOCK` at a time.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter

from hearjax.checks import UserError, check_positive
from hearjax.chunks import map_chunks
from hearjax.interpret.maps import Subject, visible_patches
from hearjax.interpret.network import Network, Params
from hearjax.maps.transforms import fill_missing
from hearjax.models.compilation import jit_convolutions
from hearjax.survey.survey import Survey

BLOCK = 16  # Versions of a map that a network sees in one call.
CHUNK = 8  # Maps in one call: with BLOCK about 60 MB of activations of the default network.
# Points lie at t^POWER of the path, t evenly spaced: closer near its start, where the logarithm of the averages is
# steep. It halves the largest residuals of completeness; our choice.
POWER = 1.5


@dataclasses.dataclass(frozen=True)
class AttributionSettings:
  """Settings of the methods; the numbers are our choice.

  Attributes:
    baselines: Control maps of the training part from which expected gradients start, at most.
    points: Points on the path from each of them to a map.
    steps: Points on the path of integrated gradients.
    samples: Noisy copies of a map for SmoothGrad.
    noise_gauss: Standard deviation of that noise [G].
    square_mm: Side of the square that occlusion sets to 0 G [Mm], rounded to whole pixels.
    stride_px: Distance of neighbouring squares [px].
  """

  baselines: int = 16
  points: int = 4
  steps: int = 32
  samples: int = 16
  noise_gauss: float = 3.0
  square_mm: float = 5.6
  stride_px: int = 4

  def __post_init__(self):
    if min(self.baselines, self.points, self.steps, self.samples, self.stride_px) < 1:
      raise UserError(
        'baselines, points, steps, samples and stride_px must be at least 1, got '
        f'{self.baselines}, {self.points}, {self.steps}, {self.samples}, {self.stride_px}.'
      )
    for name in ('noise_gauss', 'square_mm'):
      check_positive(name, getattr(self, name))


# --- Paths ------------------------------------------------------------------------------------------------------


def control_baselines(subject: Subject, survey: Survey, n: int, seed: int) -> np.ndarray:
  """Draws control maps that a network has learnt from, of as many regions as there are, as it sees them.

  Args:
    subject: The network.
    survey: Its maps.
    n: How many, at most.
    seed: Of the draw.

  Returns:
    `[baseline, y, x]` field [G], 0 where missing.

  Raises:
    UserError: It has learnt from none.
  """
  rows = subject.rows.train[survey.label[subject.rows.train] == 0]
  if not len(rows):
    raise UserError(
      f'The training part of {subject.name} holds no control region (label 0) for expected gradients to start from; '
      'use a survey with both classes, or integrated gradients.'
    )
  rows = np.random.default_rng(seed).permutation(rows)
  _, of_region = np.unique(survey.region[rows], return_inverse=True)
  # A region comes again when all others have had their turn.
  turn = np.array([np.sum(of_region[:place] == region) for place, region in enumerate(of_region)])
  return np.nan_to_num(visible_patches(subject.network, survey, rows[np.argsort(turn, kind='stable')[:n]]))


def path_points(baselines: int, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Lays points on the paths from baselines to a map: no two at one fraction, every baseline has its own.

  The fractions are stratified over all baselines together, which take turns. With few points for each, their mean is
  nearer to that with many than where all have the same fractions.

  Args:
    baselines: Number of baselines.
    points: Points on the path from each.

  Returns:
    `[baselines * points]` number of the baseline, fraction of its path, and weight; those of a baseline add up to
    1 / `baselines`.
  """
  steps = baselines * points
  middle = (np.arange(steps) + 0.5) / steps
  baseline = np.arange(steps) % baselines
  weight = POWER * middle ** (POWER - 1)
  weight /= np.bincount(baseline, weight)[baseline] * baselines
  return baseline, middle**POWER, weight


def path_attribution(
  network: Network, params: Params, field: jax.Array, baselines: np.ndarray, points: int
) -> jax.Array:
  """Attributes the difference of the logit from the mean of that of some baselines.

  With one baseline these are integrated gradients (Sundararajan et al. 2017, equation 1), with many of them expected
  gradients (Erion et al. 2021): the gradient is averaged over the straight path from a baseline to the
  field and multiplied by their difference, and that averaged over the baselines. The sum over the map is the difference
  of the logits, as far as the points suffice. Pixels that are missing stay at 0 G: what they would add it lacks.

  Args:
    network, params: The network.
    field: `[n, y, x]` field [G], NaN where missing.
    baselines: `[baseline, y, x]` fields that count as nothing [G].
    points: Points on each path to a map.

  Returns:
    `[n, y, x]` attribution [logit].
  """
  baseline, fraction, weight = path_points(len(baselines), points)
  total = jnp.zeros(field.shape)
  for part in _blocks(np.arange(len(weight))):
    at = np.resize(part, BLOCK)  # The last block is filled up with points of no weight.
    weights = np.where(np.arange(BLOCK) < len(part), weight[at], 0).astype(np.float32)
    fractions = fraction[at].astype(np.float32)
    total += _along_paths(params, field, baselines[baseline[at]], fractions, weights, network=network)
  return total


@jit_convolutions('network')
def _along_paths(
  params: Params, field: jax.Array, starts: jax.Array, fractions: jax.Array, weights: jax.Array, *, network: Network
) -> jax.Array:
  """Returns `[n, y, x]` sum over points of weight times difference times the gradient at a fraction of a path."""
  difference = jnp.where(jnp.isfinite(field), field - starts[:, None], 0)
  points = fill_missing(field) - (1 - fractions[:, None, None, None]) * difference
  return jnp.einsum('k,knyx->nyx', weights, difference * _slopes(network, params, points))


def completeness_residual(attribution: np.ndarray, change: np.ndarray, spread: float) -> np.ndarray:
  """Returns `[n]` how far the sum of a path attribution misses the change of the logit, in spreads of the logit.

  Args:
    attribution: `[n, y, x]` attribution [logit].
    change: `[n]` logit of the field less the mean of that of the baselines.
    spread: Standard deviation of the logits of the network (`statistics.spread`).
  """
  return np.abs(np.sum(attribution, axis=(1, 2), dtype=np.float64) - change) / (spread or np.nan)


# --- Gradients --------------------------------------------------------------------------------------------------


def gradient_x_input(network: Network, params: Params, field: jax.Array) -> jax.Array:
  """Returns `[n, y, x]` gradient times field [logit], the first order of what a pixel adds (Shrikumar et al. 2016).

  Args:
    network, params: The network.
    field: `[n, y, x]` field [G], NaN where missing.
  """
  filled = fill_missing(field)
  return _weighted_slope(params, filled[None], jnp.ones(1), network=network) * filled


def smooth_grad(
  network: Network, params: Params, field: jax.Array, key: jax.Array, noise_gauss: float, samples: int
) -> jax.Array:
  """Averages the gradient over noisy copies of the field (Smilkov et al. 2017).

  All maps get the same noise, so that a result does not depend on which maps stand beside it. A missing pixel stays
  at 0 G.

  Args:
    network, params: The network.
    field: `[n, y, x]` field [G], NaN where missing.
    key: Key of the noise.
    noise_gauss: Standard deviation of the noise of each pixel [G].
    samples: Noisy copies.

  Returns:
    `[n, y, x]` mean derivative of the logit by the field [1/G].
  """
  slope = jnp.zeros(field.shape)
  for numbers in _blocks(np.arange(samples)):
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(numbers)
    noise = noise_gauss * jax.vmap(lambda one: jax.random.normal(one, field.shape[1:]))(keys)
    points = jnp.where(jnp.isfinite(field), field + noise[:, None], 0)
    slope += _weighted_slope(params, points, jnp.full(len(numbers), 1 / samples), network=network)
  return _where_there(field, slope)


@jit_convolutions('network')
def _weighted_slope(params: Params, points: jax.Array, weights: jax.Array, *, network: Network) -> jax.Array:
  """Returns `[n, y, x]` sum over the `[points, n, y, x]` fields of weight times gradient [1/G]."""
  return jnp.einsum('k,knyx->nyx', weights, _slopes(network, params, points))


def _slopes(network: Network, params: Params, points: jax.Array) -> jax.Array:
  """Returns the derivative of the logit of each `[..., y, x]` field [G] by its pixels [1/G]."""
  flat = points.reshape(-1, *points.shape[-2:])
  return jax.grad(lambda field: jnp.sum(network.logit(params, field)))(flat).reshape(points.shape)


# --- Occlusion --------------------------------------------------------------------------------------------------


def occlusion(network: Network, params: Params, field: jax.Array, side_px: int, stride_px: int) -> jax.Array:
  """Sets one square after the other to 0 G and sees how far the logit falls (Zeiler & Fergus 2014).

  Args:
    network, params: The network.
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
  fall = jnp.zeros(field.shape)
  covered = np.zeros(field.shape[1:], np.float32)
  for squares in _blocks(_squares(field.shape[1:], side_px, stride_px)):
    squares = np.concatenate([squares, np.zeros((BLOCK - len(squares), *squares.shape[1:]), squares.dtype)])
    fall += _fall_of_squares(params, filled, squares, network=network)
    covered += squares.sum(axis=0)
  return _where_there(field, fall / (covered * side_px**2))


def _squares(shape: tuple[int, int], side_px: int, stride_px: int) -> np.ndarray:
  """Returns `[squares, y, x]` 1 within a square."""
  rows, columns = (np.unique(np.append(np.arange(0, size - side_px, stride_px), size - side_px)) for size in shape)
  squares = np.zeros((len(rows) * len(columns), *shape), np.float32)
  for square, (row, column) in zip(squares, itertools.product(rows, columns), strict=True):
    square[row : row + side_px, column : column + side_px] = 1
  return squares


@jit_convolutions('network')
def _fall_of_squares(params: Params, field: jax.Array, squares: jax.Array, *, network: Network) -> jax.Array:
  """Returns `[n, y, x]` sum over squares of the fall of the logit, at each pixel of a square."""
  covered = field * (1 - squares[:, None])
  said = network.logit(params, covered.reshape(-1, *field.shape[1:])).reshape(covered.shape[:2])
  return jnp.einsum('kn,kyx->nyx', network.logit(params, field) - said, squares)


# --- All of them ------------------------------------------------------------------------------------------------

EXPECTED, INTEGRATED = PATHS = ('expected_gradients', 'integrated_gradients')
# Unit of each method: `1` for what a pixel adds to the logit, `1 / G` for its change with the field of the pixel.
UNITS = {EXPECTED: '', INTEGRATED: '', 'gradient_x_input': '', 'smooth_grad': '1 / G', 'occlusion': ''}
METHODS = tuple(UNITS)


def baselines_of(method: str, subject: Subject, survey: Survey, settings: AttributionSettings, seed: int) -> np.ndarray:
  """Returns `[baseline, y, x]` what counts as nothing [G]: for `EXPECTED` control maps, for all other methods 0 G.

  Raises:
    UserError: The network has learnt from no control map.
  """
  if method == EXPECTED:
    return control_baselines(subject, survey, settings.baselines, seed)
  side = subject.network.visible_px(survey.field.shape[-1])
  return np.zeros((1, side, side), np.float32)


def attribute(
  method: str,
  network: Network,
  params: Params,
  field: np.ndarray,
  baselines: np.ndarray,
  settings: AttributionSettings,
  seed: int,
) -> np.ndarray:
  """Attributes the logit of many magnetograms to their pixels by one of `METHODS`.

  Args:
    method: Name of the method.
    network, params: The network.
    field: `[n, y, x]` field [G], NaN where missing, cut to what the network looks at.
    baselines: `[baseline, y, x]` of `baselines_of` [G].
    settings: Settings of the methods.
    seed: Of the noise of SmoothGrad.

  Returns:
    `[n, y, x]` attribution on the host, in the unit that `UNITS` gives.

  Raises:
    UserError: There is no such method.
  """
  check_methods([method])
  if method in PATHS:
    points = settings.points if method == EXPECTED else settings.steps
    return map_chunks(lambda maps: path_attribution(network, params, maps, baselines, points), field, CHUNK)
  side_px = max(1, round(settings.square_mm / network.pixel_scale_mm))
  key = jax.random.key(seed)
  function = {
    'gradient_x_input': lambda maps: gradient_x_input(network, params, maps),
    'smooth_grad': lambda maps: smooth_grad(network, params, maps, key, settings.noise_gauss, settings.samples),
    'occlusion': lambda maps: occlusion(network, params, maps, side_px, settings.stride_px),
  }[method]
  return map_chunks(function, field, CHUNK)


def check_methods(methods: Sequence[str]) -> None:
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


def _where_there(field: jax.Array, attribution: jax.Array) -> jax.Array:
  return jnp.where(jnp.isfinite(field), attribution, 0)


def _blocks(items: np.ndarray) -> Iterator[np.ndarray]:
  """Yields `BLOCK` of the items at a time; what comes of them is summed up, where `map_chunks` would join it."""
  return (items[start : start + BLOCK] for start in range(0, len(items), BLOCK))
