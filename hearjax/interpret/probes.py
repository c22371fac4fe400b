"""Synthetic fields in front of backgrounds: made, shown to a network, scored and differentiated in one program."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hearjax import features, fields, transforms
from hearjax.ensemble import member_logits
from hearjax.fields import Grid, Shape
from hearjax.finished_run import FinishedRun, Member
from hearjax.model import EmergenceNetwork
from hearjax.training import Params

BACKGROUNDS = ('none', 'noise', 'quiet')
# Parameters that the logit is differentiated by; lengths and strength by their natural logarithm.
PARAMETERS = ('ln_scale', 'ln_strength', 'ln_width', 'tilt_deg', 'imbalance')
CHUNK = 64  # Fields at a time; on a CPU more of them were slower, because the activations leave the cache.


@struct.dataclass
class Probes:
  """Synthetic fields in front of backgrounds, `[n]` each; made only where they are looked at.

  Attributes:
    shape: What they look like.
    strength: Peak [G] or total unsigned flux [Mx].
    is_flux: Whether the strength is a flux.
    background: Number of the background.
  """

  shape: Shape
  strength: jax.Array
  is_flux: jax.Array
  background: jax.Array

  def __len__(self) -> int:
    return len(self.strength)


def create_fields(family: str, grid: Grid, probes: Probes) -> jax.Array:
  """Returns `[n, y, x]` the synthetic fields of probes [G], without their backgrounds."""

  def create(shape: Shape, strength: jax.Array, is_flux: jax.Array) -> jax.Array:
    pattern = fields.pattern(family, grid, shape)
    return jnp.where(is_flux, fields.at_flux(pattern, grid, strength), fields.at_peak(pattern, strength))

  return jax.vmap(create)(probes.shape, probes.strength, probes.is_flux)


def score_probes(
  model: EmergenceNetwork,
  params: Params,
  family: str,
  grid: Grid,
  probes: Probes,
  backgrounds: np.ndarray | jax.Array,
  chunk: int = CHUNK,
) -> np.ndarray:
  """Returns `[n]` logits of probes; memory is bounded by the chunk.

  Args:
    model: The network.
    params: Parameters of one member.
    family: Name of the family of all probes.
    grid: What the network looks at.
    probes: `[n]` synthetic fields, checked.
    backgrounds: `[background, y, x]` field [G], NaN where missing.
    chunk: Fields on the device at a time.
  """
  backgrounds = jnp.asarray(backgrounds)
  static = {'model': model, 'family': family, 'grid': grid}
  parts = [_score(params, part, backgrounds, **static) for part in _chunks(probes, chunk)]
  return np.concatenate([np.asarray(part) for part in parts])[: len(probes)]


def measure_probes(
  model: EmergenceNetwork,
  params: Params,
  family: str,
  grid: Grid,
  probes: Probes,
  backgrounds: np.ndarray | jax.Array,
  chunk: int = CHUNK,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[n]` logits, `[parameter, n]` their derivatives by `PARAMETERS`, and `[4, n]` what the fields are like.

  The four are peak [G] and total unsigned flux [Mx] of the synthetic field alone, and both of field and background
  together. Arguments are those of `score_probes`.
  """
  backgrounds = jnp.asarray(backgrounds)
  static = {'model': model, 'family': family, 'grid': grid}
  parts = [_measure(params, part, backgrounds, **static) for part in _chunks(probes, chunk)]
  return tuple(
    np.concatenate([np.asarray(piece) for piece in pieces], axis=-1)[..., : len(probes)]
    for pieces in zip(*parts, strict=True)
  )


def score_fields(model: EmergenceNetwork, params: Params, field: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
  """Returns `[n]` logits of `[n, y, x]` field [G] that the networks are to look at; NaN where missing."""
  parts = [member_logits(params, part, model=model) for part in _chunks(field, chunk)]
  return np.concatenate([np.asarray(part) for part in parts])[: len(field)]


def _chunks(tree: Probes | np.ndarray, chunk: int) -> Iterator:
  """Yields chunks of one size along the first axis, the last one filled up, so that there is one compilation."""
  n = len(tree)
  chunk = min(chunk, n)
  for start in range(0, n, chunk):
    rows = np.minimum(np.arange(start, start + chunk), n - 1)
    yield jax.tree.map(lambda leaf, rows=rows: leaf[rows], tree)


@functools.partial(jax.jit, static_argnames=('model', 'family', 'grid'))
def _score(params, probes, backgrounds, *, model, family, grid):
  return model.apply(params, create_fields(family, grid, probes) + backgrounds[probes.background])


@functools.partial(jax.jit, static_argnames=('model', 'family', 'grid'))
def _measure(params, probes, backgrounds, *, model, family, grid):
  behind = backgrounds[probes.background]

  def total_logit(steps: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    alone = create_fields(family, grid, _moved(probes, steps))
    logits = model.apply(params, alone + behind)
    return jnp.sum(logits), (logits, alone)  # No logit depends on another probe: the gradient of the sum is each one's.

  steps = jnp.zeros((len(PARAMETERS), len(probes)))
  gradient, (logits, alone) = jax.grad(total_logit, has_aux=True)(steps)
  flux = functools.partial(features.unsigned_flux, pixel_scale_mm=grid.pixel_scale_mm)
  described = [jax.vmap(feature)(field) for field in (alone, alone + behind) for feature in (features.peak_field, flux)]
  return logits, gradient, jnp.stack(described)


def _moved(probes: Probes, steps: jax.Array) -> Probes:
  """Returns probes with `PARAMETERS` changed by `[parameter, n]` steps."""
  step = dict(zip(PARAMETERS, steps, strict=True))
  shape = probes.shape.replace(
    scale_mm=probes.shape.scale_mm * jnp.exp(step['ln_scale']),
    width_mm=probes.shape.width_mm * jnp.exp(step['ln_width']),
    tilt_deg=probes.shape.tilt_deg + step['tilt_deg'],
    imbalance=probes.shape.imbalance + step['imbalance'],
  )
  return probes.replace(shape=shape, strength=probes.strength * jnp.exp(step['ln_strength']))


# --- What the probes are shown to, and in front of what -----------------------------------------------------------


def visible_grid(run: FinishedRun) -> Grid:
  """Returns the square that the networks of a run look at."""
  size = run.visible_px
  return Grid(size, run.survey.pixel_scale_mm)


def control_rows(run: FinishedRun, member: Member) -> np.ndarray:
  """Returns the rows of the control regions (quiet Sun) that a member has not learnt from.

  Raises:
    ValueError: There is none.
  """
  rows = member.rows.test[np.asarray(run.survey.label)[member.rows.test] == 0]
  if not len(rows):
    raise ValueError(
      f'The test fold of {member.name} holds no control region (label 0), so that there is no quiet Sun to put a field '
      'into; use a survey with both classes, or other backgrounds.'
    )
  return rows


def draw_places(rng: np.random.Generator, n: int, radius_mm: float) -> np.ndarray:
  """Draws `[2, n]` places (x, y) [Mm], evenly over a disc about the middle."""
  distance = radius_mm * np.sqrt(rng.random(n))
  angle = rng.uniform(0, 2 * np.pi, n)
  return distance * np.stack([np.cos(angle), np.sin(angle)])


def visible_patches(run: FinishedRun, rows: np.ndarray) -> np.ndarray:
  """Returns `[n, y, x]` what the networks see of some rows of the survey [G]."""
  return np.asarray(transforms.crop(run.survey.field[rows], visible_grid(run).size))
