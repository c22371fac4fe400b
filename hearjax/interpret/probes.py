"""Synthetic fields in front of backgrounds: made, shown to a network, scored and differentiated in one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hearjax.chunks import map_chunks
from hearjax.maps import features, synthetic
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.network import EmergenceNetwork
from hearjax.training.ensemble import member_logits
from hearjax.training.step import Params

# Parameters that the logit is differentiated by; lengths and strength by their natural logarithm.
PARAMETERS = ('ln_scale', 'ln_strength', 'ln_width', 'tilt_deg', 'imbalance')
CHUNK = 64  # Fields at a time; on a CPU more of them were slower, because the activations leave the cache.


@struct.dataclass
class Probes:
  """Synthetic fields of one family in front of backgrounds, `[n]` each; made only where they are looked at.

  Attributes:
    family: Name of the family of all of them.
    grid: What they are made on: the square that the networks look at.
    shape: What they look like, checked (`synthetic.check_shape`).
    strength: Peak [G] or total unsigned flux [Mx].
    is_flux: Whether the strength is a flux.
    background: Number of the background.
  """

  family: str = struct.field(pytree_node=False)
  grid: Grid = struct.field(pytree_node=False)
  shape: Shape
  strength: jax.Array
  is_flux: jax.Array
  background: jax.Array

  def __len__(self) -> int:
    return len(self.strength)


def build_shapes(
  family: str,
  grid: Grid,
  scale_mm: np.ndarray,
  width_mm: float | None,
  tilt_deg: np.ndarray | float,
  imbalance: float,
  x_mm: np.ndarray,
  y_mm: np.ndarray,
  keys: jax.Array,
) -> Shape:
  """Builds the shapes of many fields of one family and checks them.

  Args:
    family, grid: As for `Probes`.
    scale_mm, x_mm, y_mm: `[n]` scales and places of the middles [Mm].
    width_mm: Width of poles and edges [Mm]; None for the default of the family (`synthetic.default_width_mm`).
    tilt_deg: `[n]` directions, or one for all [deg].
    imbalance: That of the polarities.
    keys: `[n]` random keys.

  Raises:
    ValueError: A field cannot be made on the grid (`synthetic.check_shape`).
  """
  width = synthetic.default_width_mm(family, grid, scale_mm) if width_mm is None else width_mm
  numbers = np.broadcast_arrays(scale_mm, width, tilt_deg, imbalance, x_mm, y_mm)
  shape = Shape(*(number.astype(np.float32) for number in numbers), key=keys)
  synthetic.check_shape(family, grid, shape)
  return shape


def create_fields(probes: Probes) -> jax.Array:
  """Returns `[n, y, x]` the synthetic fields of probes [G], without their backgrounds."""

  def create(shape: Shape, strength: jax.Array, is_flux: jax.Array) -> jax.Array:
    pattern = synthetic.pattern(probes.family, probes.grid, shape)
    return jnp.where(is_flux, synthetic.at_flux(pattern, probes.grid, strength), synthetic.at_peak(pattern, strength))

  return jax.vmap(create)(probes.shape, probes.strength, probes.is_flux)


def score_probes(
  model: EmergenceNetwork, params: Params, probes: Probes, backgrounds: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
  """Returns `[n]` logits of probes; memory is bounded by the chunk.

  Args:
    model: The network.
    params: Parameters of one member.
    probes: `[n]` synthetic fields.
    backgrounds: `[background, y, x]` field [G], NaN where missing.
    chunk: Fields on the device at a time.
  """
  behind = jnp.asarray(backgrounds)
  return map_chunks(lambda part: _score(params, part, behind, model=model), probes, min(chunk, len(probes)))


def measure_probes(
  model: EmergenceNetwork, params: Params, probes: Probes, backgrounds: np.ndarray, chunk: int = CHUNK
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[n]` logits, `[parameter, n]` their derivatives by `PARAMETERS`, and `[4, n]` what the fields are like.

  A derivative is NaN where the family has no such parameter. The four are peak [G] and total unsigned flux [Mx] of the
  synthetic field alone, and both of field and background together. Arguments are those of `score_probes`.
  """
  behind = jnp.asarray(backgrounds)
  logits, gradient, described = map_chunks(
    lambda part: _measure(params, part, behind, model=model), probes, min(chunk, len(probes)), axis=-1
  )
  known = ('ln_scale', 'ln_strength', *synthetic.FAMILIES[probes.family].parameters)
  gradient[[name.replace('ln_width', 'width_mm') not in known for name in PARAMETERS]] = np.nan
  return logits, gradient, described


def score_fields(model: EmergenceNetwork, params: Params, field: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
  """Returns `[n]` logits of `[n, y, x]` field [G] that the networks are to look at; NaN where missing."""
  return map_chunks(functools.partial(member_logits, params, model=model), field, min(chunk, len(field)))


@functools.partial(jax.jit, static_argnames='model')
def _score(params, probes, backgrounds, *, model):
  return model.apply(params, create_fields(probes) + backgrounds[probes.background])


@functools.partial(jax.jit, static_argnames='model')
def _measure(params, probes, backgrounds, *, model):
  behind = backgrounds[probes.background]

  def total_logit(steps: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    alone = create_fields(_moved(probes, steps))
    logits = model.apply(params, alone + behind)
    return jnp.sum(logits), (logits, alone)  # No logit depends on another probe: the gradient of the sum is each one's.

  steps = jnp.zeros((len(PARAMETERS), len(probes)))
  gradient, (logits, alone) = jax.grad(total_logit, has_aux=True)(steps)
  flux = functools.partial(features.unsigned_flux, pixel_scale_mm=probes.grid.pixel_scale_mm)
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
