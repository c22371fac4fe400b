"""Synthetic magnetograms of known length scale and strength: differentiable, one field at a time, `vmap` for many.

A family of fields is a pattern of the two polarities (`FAMILIES`), with a shape in physical units (`Shape`). Strength
is given to it afterwards: `at_flux` sets the unsigned flux on the grid, of all of it or under a window. So the flux
asked for is there to rounding, on every grid that resolves the pattern and holds it, which `check_shape` makes sure of.

North is up and west to the right. The tilt is read as in the northern hemisphere (Joy's law): a positive one moves the
western, leading pole to the south. That pole is the positive one; `transforms.reverse_polarity` makes the other.

How the fields are made is our choice throughout: the generator of Dhuri et al. (2020) is not published.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import erf

from hearjax.checks import UserError, check_finite, check_positive
from hearjax.maps import transforms
from hearjax.solar import CM2_PER_MM2

SIGMA_OF_FWHM = 1 / math.sqrt(8 * math.log(2))
WIDTH_SHARE = 0.2  # Of the scale, for families that are similar at all scales; five widths apart poles cancel 1 %.
SMALLEST_SCALE_PX = 2  # A distance or a full width at half maximum below two pixels is beyond the Nyquist limit.
REACH_WIDTHS = 3  # A Gaussian has 0.3 % of its flux beyond three widths on either side of an axis.
N_BIPOLES = 4  # Our choice: as many as share the flux of a patch without being lost in it.
SHARE_OF_BIPOLES = 0.25  # Of the side of the grid, the radius within which their middles lie; our choice.
RANDOM_OCTAVES = 1.0  # Our choice: full width at half maximum of the amplitude of a random field.


@dataclasses.dataclass(frozen=True)
class Grid:
  """A square of `size` x `size` pixels of `pixel_scale_mm` [Mm]; its middle is the origin of all places."""

  size: int
  pixel_scale_mm: float

  @property
  def half_mm(self) -> float:
    """Distance from the middle to an edge [Mm]."""
    return self.size * self.pixel_scale_mm / 2

  @property
  def pixel_cm2(self) -> float:
    """Area of a pixel [cm^2]."""
    return self.pixel_scale_mm**2 * CM2_PER_MM2

  def centres_mm(self) -> np.ndarray:
    """Returns `[size]` the middles of the pixels along an axis [Mm]."""
    return (np.arange(self.size) - (self.size - 1) / 2) * self.pixel_scale_mm

  def edges_mm(self) -> np.ndarray:
    """Returns `[size + 1]` the edges of the pixels along an axis [Mm]."""
    return (np.arange(self.size + 1) - self.size / 2) * self.pixel_scale_mm


@struct.dataclass
class Shape:
  """What a synthetic field looks like, its strength apart; a pytree of scalars for one field, of `[n]` for many.

  Attributes:
    scale_mm: The one length of the family [Mm]; which, `FAMILIES` says.
    width_mm: Width of its poles or edges, standard deviation of a Gaussian [Mm].
    tilt_deg: Angle by which the axis is turned clockwise, as seen on the Sun with north up [deg].
    imbalance: (F+ - |F-|) / (F+ + |F-|) of the fluxes F of both polarities on the grid, between -1 and 1.
    x_mm, y_mm: Place of its middle west and north of that of the grid [Mm].
    key: Random key; families without chance do not look at it.
  """

  scale_mm: jax.Array
  width_mm: jax.Array
  tilt_deg: jax.Array
  imbalance: jax.Array
  x_mm: jax.Array
  y_mm: jax.Array
  key: jax.Array


def create_shape(
  scale_mm: float,
  width_mm: float,
  tilt_deg: float = 0.0,
  imbalance: float = 0.0,
  x_mm: float = 0.0,
  y_mm: float = 0.0,
  key: jax.Array | None = None,
) -> Shape:
  """Returns the shape of one field; `default_width_mm` gives the width that a family has by default."""
  numbers = map(jnp.float32, (scale_mm, width_mm, tilt_deg, imbalance, x_mm, y_mm))
  return Shape(*numbers, jax.random.key(0) if key is None else key)


# --- Patterns ---------------------------------------------------------------------------------------------------


def poles(grid: Grid, x_mm: jax.Array, y_mm: jax.Array, flux: jax.Array, width_mm: jax.Array | float) -> jax.Array:
  """Returns `[y, x]` Gaussian poles, their flux integrated over every pixel, in the unit of `flux` per pixel.

  Args:
    grid: Where they lie; what is beyond its edge is cut off.
    x_mm, y_mm: `[pole]` places west and north of the middle of the grid [Mm].
    flux: `[pole]` fluxes with their signs.
    width_mm: Standard deviation of all poles [Mm].
  """

  def profile(centre_mm: jax.Array) -> jax.Array:
    return jnp.diff(erf((grid.edges_mm() - centre_mm[:, None]) / (math.sqrt(2) * width_mm)), axis=-1) / 2

  return jnp.einsum('p,py,px->yx', flux, profile(y_mm), profile(x_mm))


def spot(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` one Gaussian pole of positive polarity, its full width at half maximum the scale."""
  return poles(grid, shape.x_mm[None], shape.y_mm[None], jnp.ones(1), shape.scale_mm * SIGMA_OF_FWHM)


def bipole(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` two Gaussian poles whose distance is the scale; the positive one leads (lies west)."""
  along = shape.scale_mm / 2 * jnp.array([1.0, -1.0])
  x, y = _placed(shape, along, jnp.zeros(2))
  return poles(grid, x, y, jnp.array([1.0, -1.0]), shape.width_mm)


def quadrupole(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` four Gaussian poles at the corners of a square whose side is the scale, signs alternating."""
  half = shape.scale_mm / 2
  x, y = _placed(shape, half * jnp.array([1.0, -1.0, -1.0, 1.0]), half * jnp.array([1.0, 1.0, -1.0, -1.0]))
  return poles(grid, x, y, jnp.array([1.0, -1.0, 1.0, -1.0]), shape.width_mm)


def bipoles(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` `N_BIPOLES` equal bipoles anywhere in a disc about the middle, in any direction."""
  distance_key, place_key, angle_key = jax.random.split(shape.key, 3)
  radius = 2 * grid.half_mm * SHARE_OF_BIPOLES * jnp.sqrt(jax.random.uniform(distance_key, (N_BIPOLES,)))
  place, angle = (jax.random.uniform(key, (N_BIPOLES,), maxval=2 * jnp.pi) for key in (place_key, angle_key))
  middle = radius * jnp.stack([jnp.cos(place), jnp.sin(place)])
  half = shape.scale_mm / 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
  x, y = jnp.concatenate([middle + half, middle - half], axis=1)
  sign = jnp.repeat(jnp.array([1.0, -1.0]), N_BIPOLES)
  return poles(grid, x + shape.x_mm, y + shape.y_mm, sign, shape.width_mm)


def checkerboard(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` squares whose side is the scale, signs alternating, four of them meeting in the middle.

  Across an edge the field goes as the integral of a Gaussian of the width; a pixel's own extent adds its variance.
  """
  x, y = jnp.meshgrid(grid.centres_mm() - shape.x_mm, grid.centres_mm() - shape.y_mm)
  angle = jnp.deg2rad(shape.tilt_deg)
  along, across = jnp.cos(angle) * x - jnp.sin(angle) * y, jnp.sin(angle) * x + jnp.cos(angle) * y
  width = jnp.sqrt(shape.width_mm**2 + grid.pixel_scale_mm**2 / 12)
  # The sine is the distance from the nearest edge there, and keeps away from 0 elsewhere.
  steepness = shape.scale_mm / (jnp.pi * math.sqrt(2) * width)
  wave = lambda position: erf(steepness * jnp.sin(jnp.pi * position / shape.scale_mm))  # noqa: E731
  return wave(along) * wave(across)


def random_field(grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` Gaussian noise in a band around the wavelength of twice the scale (`transforms.band_pass`).

  The power of a plane wave is largest at that wavelength; opposite polarities are half of it apart. It is periodic.
  """
  white = jax.random.normal(shape.key, (grid.size, grid.size))
  return transforms.band_pass(white, grid.pixel_scale_mm, 2 * shape.scale_mm, RANDOM_OCTAVES)


@dataclasses.dataclass(frozen=True)
class Family:
  """One kind of synthetic field.

  Attributes:
    pattern: From grid and shape to `[y, x]` field of any strength.
    scale: What its length scale is.
    reach: From scale and width [Mm] to the distance from its middle that the grid must hold [Mm], linear in both.
    parameters: Those of the shape, beside the scale, that it depends on.
    is_narrow: Whether poles are by default as narrow as the grid resolves at all scales, and do not grow with it.
  """

  pattern: Callable[[Grid, Shape], jax.Array]
  scale: str
  reach: Callable[[float, float], float]
  parameters: tuple[str, ...] = ('width_mm', 'tilt_deg', 'imbalance')
  is_narrow: bool = False


FAMILIES: dict[str, Family] = {
  'bipole': Family(bipole, 'distance of the poles', lambda scale, width: scale / 2 + REACH_WIDTHS * width),
  'spot': Family(
    spot,
    'full width at half maximum',
    lambda scale, width: REACH_WIDTHS * scale * SIGMA_OF_FWHM,
    parameters=(),
  ),
  'quadrupole': Family(
    quadrupole,
    'distance of neighbouring opposite poles',
    lambda scale, width: scale / math.sqrt(2) + REACH_WIDTHS * width,
  ),
  'bipoles': Family(
    bipoles,
    'distance of the two poles of each bipole',
    lambda scale, width: scale,  # What leaves the grid is cut off, but most bipoles must be whole.
    parameters=('width_mm', 'imbalance'),
    is_narrow=True,
  ),
  'checkerboard': Family(checkerboard, 'side of a square', lambda scale, width: scale),  # One period.
  'random': Family(
    random_field,
    'half the wavelength of most power',
    lambda scale, width: scale,  # One wavelength.
    parameters=('imbalance',),
  ),
}


def default_width_mm(family: str, grid: Grid, scale_mm: np.ndarray | float) -> np.ndarray | float:
  """Returns the width that poles or edges of a family have by default [Mm]: of two pixels, or a share of the scale."""
  if FAMILIES[family].is_narrow:
    return SMALLEST_SCALE_PX * grid.pixel_scale_mm * SIGMA_OF_FWHM + 0 * scale_mm
  return WIDTH_SHARE * scale_mm


# --- Strength ---------------------------------------------------------------------------------------------------


def pattern(family: str, grid: Grid, shape: Shape) -> jax.Array:
  """Returns `[y, x]` the pattern of a family with the imbalance of its shape, of any strength.

  The imbalance is brought about by a factor for each polarity, so that it is exact even where poles overlap.
  """
  kind = FAMILIES[family]
  raw = kind.pattern(grid, shape)
  if 'imbalance' not in kind.parameters:  # One polarity.
    return raw
  plus, minus = jax.nn.relu(raw), jax.nn.relu(-raw)
  return (1 + shape.imbalance) * plus / jnp.sum(plus) - (1 - shape.imbalance) * minus / jnp.sum(minus)


def at_flux(
  field: jax.Array, grid: Grid, flux_mx: jax.Array | float, window: jax.Array | np.ndarray | float = 1.0
) -> jax.Array:
  """Returns the field with its unsigned flux on the grid set to `flux_mx` [Mx], pixels weighted with a window."""
  # Mx per pixel area first: the flux itself over a sum of gauss would be near the limits of float32.
  return field * (flux_mx / grid.pixel_cm2 / jnp.sum(jnp.abs(field) * window))


# --- Checks -----------------------------------------------------------------------------------------------------


def largest_scale_mm(family: str, grid: Grid, width_mm: float | None = None, offset_mm: float = 0.0) -> float:
  """Returns the largest scale [Mm] worth asking for: one that the grid holds, and no more than half of its side.

  Args:
    family: Name of the family.
    grid: The grid.
    width_mm: Width of poles and edges [Mm]; None for the default of the family.
    offset_mm: Farthest of the middle of a field from that of the grid [Mm].
  """

  def reach(scale_mm: float) -> float:
    width = default_width_mm(family, grid, scale_mm) if width_mm is None else width_mm
    return FAMILIES[family].reach(scale_mm, width)

  return min((grid.half_mm - offset_mm - reach(0)) / (reach(1) - reach(0)), grid.half_mm)


def check_shape(family: str, grid: Grid, shape: Shape) -> None:
  """Checks shapes before any field is made of them, on the host.

  Args:
    family: Name of the family.
    grid: What the fields are to be made on.
    shape: Scalars, or `[n]`.

  Raises:
    UserError: There is no such family, a number is not finite or out of its range, or the grid cannot resolve or
      cannot hold a field.
  """
  if family not in FAMILIES:
    raise UserError(f'There is no family {family!r} of synthetic fields; there are {", ".join(FAMILIES)}.')
  numbers = {
    field.name: np.asarray(getattr(shape, field.name), np.float64)
    for field in dataclasses.fields(shape)
    if field.name != 'key'
  }
  for name, values in numbers.items():
    check_finite(f'{name} of a synthetic field', values)
  scale, width, imbalance = (numbers[name] for name in ('scale_mm', 'width_mm', 'imbalance'))
  for name in ('scale_mm', 'width_mm'):
    check_positive(f'{name} of a synthetic field', numbers[name])
  if np.any(np.abs(imbalance) >= 1):
    worst = imbalance.flat[np.argmax(np.abs(imbalance))]
    raise UserError(
      f'The imbalance of a field must lie between -1 and 1, got {worst}; one polarity alone is the family spot.'
    )
  smallest = SMALLEST_SCALE_PX * grid.pixel_scale_mm
  # What is asked for in float64 may be a rounding below in float32.
  if np.min(scale) < smallest * (1 - 1e-5):
    raise UserError(
      f'Pixels of {grid.pixel_scale_mm} Mm cannot resolve a scale of {np.min(scale):.3g} Mm '
      f'({FAMILIES[family].scale}); give at least {smallest:.3g} Mm.'
    )
  reach = FAMILIES[family].reach(scale, width) + np.maximum(np.abs(numbers['x_mm']), np.abs(numbers['y_mm']))
  if np.max(reach) > grid.half_mm * (1 + 1e-5):
    worst = np.broadcast_to(scale, np.shape(reach)).flat[np.argmax(reach)]
    raise UserError(
      f'A grid of {grid.size} px of {grid.pixel_scale_mm} Mm cannot hold a {family} with a scale of '
      f'{worst:.3g} Mm: it reaches {np.max(reach):.3g} Mm from the middle '
      f'of the grid, which ends at {grid.half_mm:.3g} Mm.'
    )


# --- Inside -----------------------------------------------------------------------------------------------------


def _placed(shape: Shape, along: jax.Array, across: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns places (x, y) [Mm] on the grid of points `along` the axis and `across` it, to its left [Mm]."""
  angle = jnp.deg2rad(shape.tilt_deg)
  x = jnp.cos(angle) * along + jnp.sin(angle) * across
  y = -jnp.sin(angle) * along + jnp.cos(angle) * across
  return shape.x_mm + x, shape.y_mm + y
