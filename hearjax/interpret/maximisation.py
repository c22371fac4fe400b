"""Activation maximisation (Erhan et al. 2009): which field a network takes for the surest sign of emergence.

Without constraints the answer is noise of thousands of gauss. Here the field has no net flux, no more than a limit of
field strength and of unsigned flux, and structure at no wavelength outside a band. What comes out says what the network
has learnt, not what the Sun does. Nor is it a measure of the length scale that tells the classes apart: in simulated
worlds the fields had the planted one where it was small (poles 6 Mm apart), and far too small a one where it was large
(12 Mm), since nothing keeps an ascent among fields like those that the network was trained on.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_whole
from hearjax.interpret.attribution_maps import add_distance_axes, primary_hdu
from hearjax.interpret.maps import Subject, visible_grid, visible_patches
from hearjax.interpret.network import Params, logits
from hearjax.maps.features import FEATURES, UNITS, feature_table, unsigned_flux
from hearjax.models.compilation import jit_convolutions
from hearjax.progress import Progress, silent
from hearjax.solar import CM2_PER_MM2
from hearjax.survey.survey import Survey

# `[n]` logit of `[n, y, x]` field [G].
LogitFunction = Callable[[Params, jax.Array], jax.Array]

N_RANDOM = 64  # Random fields that a maximum is compared with.
ROUNDS = 4  # Of clipping and filtering; what they leave of an excess is scaled away.


@dataclasses.dataclass(frozen=True)
class FieldConstraints:
  """What a field must fulfil; the net flux is 0 besides. The numbers are our choice.

  Attributes:
    limit_gauss: Largest |B| [G].
    shortest_mm, longest_mm: Band of wavelengths [Mm]; the square counts as periodic.
    flux_mx: Largest unsigned flux of the square [Mx]; None for no limit, or in a run for that of the median map.
  """

  limit_gauss: float = 200.0
  shortest_mm: float = 5.0
  longest_mm: float = 40.0
  flux_mx: float | None = None

  def __post_init__(self):
    if not (0 < self.limit_gauss < float('inf') and (self.flux_mx is None or self.flux_mx > 0)):
      raise UserError(f'The limits of field and flux must be positive, got {self.limit_gauss} G, {self.flux_mx} Mx.')
    if not 0 < self.shortest_mm < self.longest_mm < float('inf'):
      raise UserError(
        f'The band needs 0 < shortest < longest wavelength, got {self.shortest_mm} and {self.longest_mm} Mm.'
      )


def band(size: int, pixel_scale_mm: float, constraints: FieldConstraints) -> np.ndarray:
  """Returns `[y, x]` whether a plane wave lies in the band, in the order of `fft2`; never for the mean of the map.

  Raises:
    UserError: None does, or the band reaches below two pixels.
  """
  wavenumber = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, pixel_scale_mm)] * 2))
  if constraints.shortest_mm < 2 * pixel_scale_mm:
    raise UserError(
      f'The shortest wavelength must be at least two pixels, {2 * pixel_scale_mm:.2f} Mm; '
      f'got {constraints.shortest_mm} Mm.'
    )
  inside = (wavenumber >= 1 / constraints.longest_mm) & (wavenumber <= 1 / constraints.shortest_mm)
  if not inside.any():
    raise UserError(
      f'No wave that fits a square of {size * pixel_scale_mm:.1f} Mm lies between {constraints.shortest_mm} and '
      f'{constraints.longest_mm} Mm; widen the band.'
    )
  return inside


@jax.jit
def project(
  field: jax.Array, inside: jax.Array, limit_gauss: jax.Array | float, mean_gauss: jax.Array | float
) -> jax.Array:
  """Brings fields to the constraints: clipped and filtered in turn, then scaled down where they still exceed a limit.

  Scaling keeps the band and the balance of flux exactly, which clipping would not.

  Args:
    field: `[n, y, x]` field [G].
    inside: `[y, x]` what `band` returned.
    limit_gauss: Largest |B| [G].
    mean_gauss: Largest mean of |B| [G].

  Returns:
    `[n, y, x]` field [G].
  """

  def filtered(maps: jax.Array) -> jax.Array:
    return jnp.fft.ifft2(jnp.fft.fft2(maps) * inside).real

  field = filtered(field)
  for _ in range(ROUNDS):
    field = filtered(_shrink(jnp.clip(field, -limit_gauss, limit_gauss), mean_gauss))
  strength = jnp.abs(field)
  excess = jnp.maximum(strength.max(axis=(1, 2)) / limit_gauss, strength.mean(axis=(1, 2)) / mean_gauss)
  return field / jnp.maximum(excess, 1)[:, None, None]


def _shrink(field: jax.Array, mean_gauss: jax.Array | float) -> jax.Array:
  """Returns the nearest `[n, y, x]` fields whose mean |B| is at most `mean_gauss` (Duchi et al. 2008, figure 1).

  All pixels lose the same field strength, so that the strongest ones survive where flux is scarce.
  """
  strength = jnp.sort(jnp.abs(field).reshape(len(field), -1), axis=1)[:, ::-1]
  surplus = jnp.cumsum(strength, axis=1) - mean_gauss * strength.shape[1]
  loss = surplus / jnp.arange(1, strength.shape[1] + 1)  # Were only so many pixels to survive.
  loss = jnp.maximum(jnp.max(jnp.where(strength > loss, loss, 0), axis=1), 0)[:, None, None]
  return jnp.sign(field) * jnp.maximum(jnp.abs(field) - loss, 0)


def random_fields(key: jax.Array, n: int, size: int, pixel_scale_mm: float, constraints: FieldConstraints) -> jax.Array:
  """Returns `[n, y, x]` random fields [G] that fulfil the constraints, at the limit of field or flux."""
  noise = 10 * constraints.limit_gauss * jax.random.normal(key, (n, size, size))  # So strong that a limit is reached.
  return project(noise, *_bounds(size, pixel_scale_mm, constraints))


def maximise(
  logit_of: LogitFunction,
  params: Params,
  start: jax.Array,
  pixel_scale_mm: float,
  constraints: FieldConstraints,
  steps: int = 100,
  step_gauss: float = 30.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Climbs the logit along its gradient, back to the constraints after every step.

  An optimiser that scales pixels one by one, such as Adam, spreads the flux over pixels that hardly matter, and stopped
  far below.

  Args:
    logit_of: The network.
    params: Its parameters.
    start: `[n, y, x]` fields to start from [G].
    pixel_scale_mm: Side of a pixel [Mm].
    constraints: What the fields must fulfil.
    steps: Steps of the ascent.
    step_gauss: Length of the first step, root mean square over the map [G]; it falls to 0 along a cosine.

  Returns:
    `[n, y, x]` the best field that each start came to [G], and `[n]` its logit.
  """
  bounds = _bounds(start.shape[-1], pixel_scale_mm, constraints)
  lengths = 0.5 * step_gauss * (1 + np.cos(np.pi * np.arange(steps + 1) / steps))
  field = project(start, *bounds)
  best, highest = field, jnp.full(len(start), -jnp.inf)
  for length in lengths:
    following, logit = _climb(logit_of, params, field, length, bounds)
    higher = logit > highest
    best, highest = jnp.where(higher[:, None, None], field, best), jnp.maximum(logit, highest)
    field = following
  return np.asarray(best), np.asarray(highest)


@jit_convolutions('logit_of')
def _climb(
  logit_of: LogitFunction, params: Params, field: jax.Array, length: jax.Array, bounds: tuple
) -> tuple[jax.Array, jax.Array]:
  """Returns the fields after a step of root mean square `length` [G], and the `[n]` logits before it."""

  def total(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    logit = logit_of(params, maps)
    return jnp.sum(logit), logit

  slope, logit = jax.grad(total, has_aux=True)(field)
  norm = jnp.sqrt(jnp.mean(slope**2, axis=(1, 2), keepdims=True))
  return project(field + length * slope / jnp.where(norm > 0, norm, 1), *bounds), logit


def _bounds(size: int, pixel_scale_mm: float, constraints: FieldConstraints) -> tuple[np.ndarray, float, float]:
  """Returns what `project` asks for beside the field."""
  flux_mx = float('inf') if constraints.flux_mx is None else constraints.flux_mx
  area_cm2 = (size * pixel_scale_mm) ** 2 * CM2_PER_MM2
  return band(size, pixel_scale_mm, constraints), constraints.limit_gauss, flux_mx / area_cm2


# --- Networks -----------------------------------------------------------------------------------------------------


def maximise_all(
  subjects: Sequence[Subject],
  survey: Survey,
  constraints: FieldConstraints,
  key: jax.Array,
  starts: int,
  steps: int,
  progress: Progress = silent,
) -> tuple[dict[str, np.ndarray], Table]:
  """Climbs the logit of every network from random fields, the same ones for all.

  Args:
    subjects: Networks that look at squares of one size.
    survey: Their maps.
    constraints: What the fields must fulfil.
    key: Key of the random fields.
    starts: Fields to start from.
    steps: Steps of the ascent.
    progress: Goes through the networks, and may show how far it is.

  Returns:
    Name of a network -> `[start, y, x]` field [G]; and a table with a row for each of them: the logit, that of its
    start and of other random fields under the same constraints, and the features of the field.
  """
  grid = visible_grid(subjects[0].network, survey)
  scale, size = grid.pixel_scale_mm, grid.size
  start_key, random_key = jax.random.split(key)
  start = random_fields(start_key, starts, size, scale, constraints)
  compared = np.asarray(random_fields(random_key, N_RANDOM, size, scale, constraints))
  fields, rows = {}, []
  for subject in progress(subjects):
    network, params = subject.network, subject.params
    fields[subject.name], logit = maximise(network.logit, params, start, scale, constraints, steps)
    before = logits(network, params, np.asarray(start))
    of_random = logits(network, params, compared)
    for number, values in enumerate(feature_table(fields[subject.name], scale)):
      numbers = (logit[number], before[number], of_random.mean(), of_random.max())
      rows.append((subject.name, number, *numbers, *values))
  names = ('member', 'start', 'logit', 'logit_start', 'logit_random_mean', 'logit_random_max', *FEATURES)
  return fields, Table(rows=rows, names=names, units={name: unit for name, unit in UNITS.items() if unit})


def write_fields(
  path: pathlib.Path, fields: dict[str, np.ndarray], pixel_scale_mm: float, meta: dict[str, Any]
) -> None:
  """Writes the fields as FITS: an extension per member, a plane per start, axes in Mm from the centre.

  Args:
    path: The file.
    fields: Name of a member -> `[start, y, x]` field [G].
    pixel_scale_mm: Side of a pixel [Mm].
    meta: Keys `survey_source`, `survey_checksum` and `settings`, for the primary header.

  Raises:
    OSError: It cannot be written.
  """
  hdus = fits.HDUList([primary_hdu(meta)])
  for name, values in fields.items():
    image = fits.ImageHDU(np.asarray(values, np.float32), name=name)
    add_distance_axes(image.header, values.shape[1:], pixel_scale_mm)
    image.header['CTYPE3'] = 'START'
    image.header['BUNIT'] = 'Gauss'
    hdus.append(image)
  write_whole(path, lambda temporary: hdus.writeto(temporary, checksum=True))


def median_flux(subjects: Sequence[Subject], survey: Survey) -> float:
  """Returns the median unsigned flux of what networks saw in training, in the square that they look at [Mx]."""
  trained = np.unique(np.concatenate([subject.rows.train for subject in subjects]))
  flux = jax.vmap(functools.partial(unsigned_flux, pixel_scale_mm=survey.pixel_scale_mm))
  return float(np.median(flux(visible_patches(subjects[0].network, survey, trained))))
