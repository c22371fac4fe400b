"""Fields set into quiet Sun and shown to networks: what the response to synthetic fields and completeness share."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.forecast.domain import RANGE_PERCENTILES, measure
from hearjax.interpret.maps import Subject, control_rows, visible_grid, visible_patches
from hearjax.interpret.network import CHUNK, Network, Params, logits
from hearjax.maps import synthetic, transforms
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.network import central_window
from hearjax.survey.survey import Survey

UNIT_MX = 1e20  # Flux that fields are made with, near what they are shown with: float32 does not reach from 1 Mx to it.
NO_PAIR = -1  # Of a background that is no map of the survey.
NEWTON_STEPS = 8  # Of a function of straight pieces: none was seen to need more than 5.
DERIVATIVES = ('d_ln_size', 'd_ln_width', 'd_ln_flux')


# --- Fields -------------------------------------------------------------------------------------------------------


def at_unit_flux(family: str, grid: Grid, shape: Shape, windows: np.ndarray) -> np.ndarray:
  """Returns `[window, n, y, x]` fields [G] whose flux under each of `[window, y, x]` windows is `UNIT_MX`.

  Raises:
    UserError: The grid cannot resolve or hold one (`synthetic.check_shape`).
  """
  synthetic.check_shape(family, grid, shape)
  return np.asarray(_create(shape, windows, family=family, grid=grid))


@functools.partial(jax.jit, static_argnames=('family', 'grid'))
def _create(shape: Shape, windows: jax.Array, *, family: str, grid: Grid) -> jax.Array:
  pattern = jax.vmap(lambda one: synthetic.pattern(family, grid, one))(shape)
  at_flux = jax.vmap(synthetic.at_flux, (0, None, None, None))
  return jnp.stack([at_flux(pattern, grid, UNIT_MX, window) for window in windows])


def pixel_window(grid: Grid, radius_mm: float) -> np.ndarray:
  """Returns `[y, x]` the central window of a network on the pixels themselves, 1 in the middle."""
  window = central_window(grid.centres_mm(), grid.centres_mm(), radius_mm)
  return window / window.max()


# --- In quiet Sun -------------------------------------------------------------------------------------------------


def draw_backgrounds(
  subject: Subject, survey: Survey, n: int, seed: int, quiet: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Draws quiet Sun: the same for all networks of a fold, and of different pairs as long as there are some.

  Args:
    subject: Whose control maps of the test part are drawn from.
    survey: The maps.
    n: How many.
    seed: Of the draw.
    quiet: `[n, y, x]` patches [G] to draw from instead.

  Returns:
    `[n, y, x]` field [G], and the `[n]` pair of each; `NO_PAIR` for patches that were given.

  Raises:
    UserError: There is no control region among the test maps, or the given patches are of another size.
  """
  rng = np.random.default_rng(seed)
  grid = visible_grid(subject.network, survey)
  if quiet is not None:
    if quiet.shape[1:] != (grid.size, grid.size):
      raise UserError(f'Patches of quiet Sun must be of {grid.size} px, got {quiet.shape[1:]}.')
    return quiet[np.resize(rng.permutation(len(quiet)), n)].astype(np.float32), np.full(n, NO_PAIR)
  rows = np.resize(shuffle_controls(subject, survey, rng), n)
  return visible_patches(subject.network, survey, rows), survey.pair[rows]


def shuffle_controls(subject: Subject, survey: Survey, rng: np.random.Generator) -> np.ndarray:
  """Returns the control rows of a network's test maps: a random one of each pair, then another of each, and so on."""
  rows = rng.permutation(control_rows(subject, survey))
  order = np.argsort(survey.pair[rows], kind='stable')
  _, first, number = np.unique(survey.pair[rows][order], return_index=True, return_inverse=True)
  turn = np.empty(len(rows), int)
  turn[order] = np.arange(len(rows)) - first[number]
  return rows[np.argsort(turn, kind='stable')]


def strengths_of_maps(subjects: Sequence[Subject], survey: Survey) -> tuple[float, float, float]:
  """Returns how strong the maps are that networks are for, in the square that they look at.

  Returns:
    The total unsigned flux [Mx] and the peak of |B| [G] that 99 % of them do not exceed, and the median flux of their
    control maps [Mx].
  """
  rows = np.unique(np.concatenate([np.concatenate([each.rows.train, each.rows.test]) for each in subjects]))
  flux, peak, _ = measure(visible_patches(subjects[0].network, survey, rows), survey.pixel_scale_mm)
  quiet = flux[survey.label[rows] == 0]
  most_flux, most_peak = (float(np.percentile(values, RANGE_PERCENTILES[1])) for values in (flux, peak))
  return most_flux, most_peak, float(np.median(quiet)) if len(quiet) else 0.0


def adding_strength(
  field: np.ndarray,
  which: np.ndarray,
  strength: np.ndarray,
  backgrounds: np.ndarray,
  background: np.ndarray,
  window: np.ndarray,
  chunk: int = CHUNK,
) -> np.ndarray:
  """Returns `[n]` what fields must be multiplied by to add the flux to their backgrounds that they would have alone.

  Where polarities meet, field and background cancel, the more so the wider and weaker the field: a meter of |B| would
  take that for a preference.

  Args:
    field, which, backgrounds, background, chunk: As for `planted_logits`.
    strength: `[n]` what they are multiplied by to have the flux alone.
    window: `[y, x]` what the flux of a pixel counts.
  """
  window = window.astype(np.float32)

  def solve(rows: np.ndarray) -> jax.Array:
    return _adding_strength(field[which[rows]], strength[rows], backgrounds[background[rows]], window)

  return map_chunks(solve, np.arange(len(which)), chunk)


def _adding_factor(field: jax.Array, strength: jax.Array, behind: jax.Array, window: jax.Array) -> jax.Array:
  """Returns `[n]` what `[n, y, x]` fields are multiplied by (`adding_strength`); differentiable."""
  window = jnp.where(jnp.isfinite(behind), window, 0)  # What is missing is neither seen nor cancelled.
  behind = transforms.fill_missing(behind)
  total = lambda values: jnp.sum(window * values, axis=(1, 2))  # noqa: E731
  alone = total(jnp.abs(field))
  alone = jnp.where(alone > 0, alone, 1)

  def step(factor: jax.Array) -> jax.Array:
    both = behind + factor[:, None, None] * field
    excess = total(jnp.abs(both) - jnp.abs(behind)) - strength * alone
    return factor - excess / total(jnp.sign(both) * field)

  # What is added is convex in the factor: from beyond the solution, Newton's steps approach it from that side.
  beyond = strength + 2 * total(jnp.abs(behind)) / alone
  near = jax.lax.fori_loop(0, NEWTON_STEPS, lambda _, factor: step(factor), beyond)
  return step(jax.lax.stop_gradient(near))  # At the solution, the derivative of a step is that of the solution.


_adding_strength = jax.jit(_adding_factor)


def planted_logits(
  subject: Subject,
  field: np.ndarray,
  which: np.ndarray,
  strength: np.ndarray,
  backgrounds: np.ndarray,
  background: np.ndarray,
  chunk: int = CHUNK,
) -> np.ndarray:
  """Returns `[n]` logits of fields in front of backgrounds, each made only when it is looked at.

  Args:
    subject: The network.
    field: `[field, y, x]` fields [G].
    which: `[n]` number of the field.
    strength: `[n]` what it is multiplied by.
    backgrounds: `[background, y, x]` field [G], NaN where missing.
    background: `[n]` number of the background.
    chunk: Fields on the device at a time.

  Raises:
    UserError: A logit is not finite.
  """

  def say(rows: np.ndarray) -> np.ndarray:
    shown = strength[rows, None, None] * field[which[rows]] + backgrounds[background[rows]]
    return logits(subject.network, subject.params, shown, len(rows))

  said = map_chunks(say, np.arange(len(which)), chunk)
  if not np.isfinite(said).all():
    raise UserError(f'Some logits of {subject.name} are not finite; its parameters must be.')
  return said


# --- Derivatives --------------------------------------------------------------------------------------------------


def differentiate(
  subject: Subject,
  family: str,
  grid: Grid,
  shape: Shape,
  flux_mx: np.ndarray,
  behind: np.ndarray,
  window: np.ndarray,
  chunk: int = CHUNK,
) -> np.ndarray:
  """Returns `[derivative, n]` derivatives of the logit by the logarithms of size, width and flux (`DERIVATIVES`).

  The size is what the family calls its scale; the width of its poles or edges stays meanwhile.

  Args:
    subject: The network.
    family, grid: Of the fields.
    shape: `[n]` what they look like.
    flux_mx: `[n]` the flux under the window that they add to what is behind them [Mx].
    behind: `[n, y, x]` what they are put in front of [G].
    window: `[y, x]` the window.
    chunk: Fields on the device at a time.
  """
  compute = functools.partial(
    _differentiate,
    subject.params,
    window=window.astype(np.float32),
    network=subject.network,
    family=family,
    grid=grid,
  )
  tree = (shape, flux_mx.astype(np.float32), behind)
  return map_chunks(lambda part: compute(*part), tree, chunk, axis=1)


@functools.partial(jax.jit, static_argnames=('network', 'family', 'grid'))
def _differentiate(
  params: Params,
  shape: Shape,
  flux: jax.Array,
  behind: jax.Array,
  window: jax.Array,
  *,
  network: Network,
  family: str,
  grid: Grid,
) -> jax.Array:
  create = jax.vmap(lambda one: synthetic.at_flux(synthetic.pattern(family, grid, one), grid, UNIT_MX, window))

  def total_logit(steps: jax.Array) -> jax.Array:
    size, width, strength = jnp.exp(steps)
    field = create(shape.replace(scale_mm=shape.scale_mm * size, width_mm=shape.width_mm * width))
    factor = _adding_factor(field, strength * flux / UNIT_MX, behind, window)
    # No logit depends on another field: the gradient of the sum is each one's.
    return jnp.sum(network.logit(params, factor[:, None, None] * field + behind))

  return jax.grad(total_logit)(jnp.zeros((len(DERIVATIVES), len(flux))))
