"""Synthetic fields in front of backgrounds: made, shown to networks, described."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from hearjax.chunks import map_chunks
from hearjax.maps import features, synthetic, transforms
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.compilation import jit_convolutions
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
    UserError: A field cannot be made on the grid (`synthetic.check_shape`).
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


def example_fields(
  family: str,
  grid: Grid,
  scale_mm: np.ndarray,
  flux_mx: float,
  width_mm: float | None = None,
  tilt_deg: float = 0.0,
  imbalance: float = 0.0,
) -> np.ndarray:
  """Returns `[n, y, x]` fields [G] of a family at `[n]` scales and one flux, in the middle of the grid."""
  n = len(scale_mm)
  keys = jnp.broadcast_to(jax.random.key(0), (n,))
  shape = build_shapes(family, grid, scale_mm, width_mm, tilt_deg, imbalance, np.zeros(n), np.zeros(n), keys)
  probes = Probes(family, grid, shape, np.full(n, flux_mx, np.float32), np.ones(n, bool), np.zeros(n, int))
  return map_chunks(_create, probes, CHUNK)


def measure_probes(
  model: EmergenceNetwork,
  members: Sequence[Params],
  probes: Probes,
  backgrounds: Sequence[np.ndarray],
  chunk: int = CHUNK,
  derivatives: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """Shows probes to networks: each field is made once, and put in front of each network's own background.

  Args:
    model: The network.
    members: Parameters of each network.
    probes: `[n]` synthetic fields.
    backgrounds: `[background, y, x]` field [G], NaN where missing, for each network.
    chunk: Fields on the device at a time; memory is bounded by it.
    derivatives: Whether to differentiate the logits, too, for three times the time.

  Returns:
    `[member, n]` logits; `[member, 4, n]` what was shown: peak [G] and total unsigned flux [Mx] of the synthetic field
    alone, and both of field and background together; and, where asked for, `[member, parameter, n]` derivatives of the
    logits by `PARAMETERS`, NaN where the family has no such parameter.
  """
  behind = [jnp.asarray(field) for field in backgrounds]

  def measure(part: Probes) -> tuple:
    alone = _create(part)
    of_alone = _describe(alone, part.grid.pixel_scale_mm)
    logits, described, gradients = [], [], []
    for params, field in zip(members, behind, strict=True):
      seen = _add(alone, field, part.background)
      logits.append(member_logits(params, seen, model=model))
      described.append(np.concatenate([of_alone, _describe(seen, part.grid.pixel_scale_mm)]))
      if derivatives:
        gradients.append(_differentiate(params, part, field, model=model))
    return jax.device_get((np.stack(logits), np.stack(described), *([np.stack(gradients)] if derivatives else [])))

  logits, described, *gradient = map_chunks(measure, probes, chunk, axis=-1)
  if not derivatives:
    return logits, described, None
  known = ('ln_scale', 'ln_strength', *synthetic.FAMILIES[probes.family].parameters)
  gradient[0][:, [name.replace('ln_width', 'width_mm') not in known for name in PARAMETERS]] = np.nan
  return logits, described, gradient[0]


def field_logits(model: EmergenceNetwork, params: Params, field: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
  """Returns `[n]` logits of `[n, y, x]` field [G], NaN where missing; of the square that the network looks at."""
  seen = transforms.crop(field, model.settings.visible_px(field.shape[-1]))
  return map_chunks(functools.partial(member_logits, params, model=model), seen, chunk)


_create = jax.jit(create_fields)


@jax.jit
def _add(alone: jax.Array, backgrounds: jax.Array, number: jax.Array) -> jax.Array:
  return alone + backgrounds[number]


@jax.jit
def _describe(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns `[2, n]` peak [G] and total unsigned flux [Mx] of `[n, y, x]` field [G]."""
  flux = jax.vmap(features.unsigned_flux, (0, None))
  return jnp.stack([jax.vmap(features.peak_field)(field), flux(field, pixel_scale_mm)])


@jit_convolutions('model')
def _differentiate(params, probes, backgrounds, *, model):
  def total_logit(steps: jax.Array) -> jax.Array:
    # No logit depends on another probe: the gradient of the sum is each one's.
    return jnp.sum(model.apply(params, create_fields(_moved(probes, steps)) + backgrounds[probes.background]))

  return jax.grad(total_logit)(jnp.zeros((len(PARAMETERS), len(probes))))


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
