"""The quiet Sun as magnetic elements: small bipoles come up everywhere, and supergranules sweep them into the network.

Everything is written for one region and lives on a periodic square around the patch, centred on it, x west and y north
(`sphere` joins such squares to a whole Sun, and moves elements there by the same rules). What a region starts from is
drawn with NumPy, as every call of a JAX generator costs a third of a second to compile; JAX then moves the elements. A
step is 80 min, a quarter of the spacing of the survey's intervals; the five steps about the centre of an interval stand
for its 410 min.
"""

import dataclasses
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from hearjax.simulate.sun import MM_PER_HOUR, Sun
from hearjax.solar import CM2_PER_MM2
from hearjax.survey import intervals

STEPS_PER_SPACING = 4
STEP_HOURS = intervals.SPACING_HOURS / STEPS_PER_SPACING
STEPS_PER_WINDOW = 5
FIRST, LAST = min(intervals.CENTRE_HOURS), max(intervals.CENTRE_HOURS)
# Room for more elements than the median, in units of it: 3 and 2.3 standard deviations of the default scatter.
BIPOLE_ROOM = 1.6
UNIPOLAR_ROOM = 5.0


@flax.struct.dataclass
class Elements:
  """Magnetic elements at the steps of the simulation.

  Attributes:
    position: `[step, element, 2]` x (west) and y (north) of the centre of the patch [Mm].
    flux: `[step, element]` signed flux [Mx], 0 while an element is not there.
  """

  position: jax.Array
  flux: jax.Array


@dataclasses.dataclass(frozen=True)
class Level:
  """How much field a region has; both halves of a pair share it, as they are matched.

  Attributes:
    bipole: Flux density of the ephemeral bipoles relative to the median.
    unipolar: Flux density of the surplus polarity relative to the median.
    plage: Share of the surplus in a patch.
  """

  bipole: float
  unipolar: float
  plage: float


def step_hours() -> np.ndarray:
  """Returns `[step]` the times at which elements are kept, relative to the emergence time [h]."""
  count = (LAST - FIRST) * STEPS_PER_SPACING + STEPS_PER_WINDOW
  first = intervals.CENTRE_HOURS[FIRST] - STEPS_PER_WINDOW // 2 * STEP_HOURS
  return first + STEP_HOURS * np.arange(count)


def spin_up_steps(sun: Sun) -> int:
  """Returns the number of steps before the first that is kept."""
  return math.ceil(sun.spin_up_hours / STEP_HOURS)


def total_steps(sun: Sun) -> int:
  """Returns the number of steps of a simulation."""
  return spin_up_steps(sun) + len(step_hours())


def total_hours(sun: Sun) -> float:
  """Returns how long a simulation lasts [h]."""
  return total_steps(sun) * STEP_HOURS


def walk_mm(hours: float, sun: Sun) -> float:
  """Returns the standard deviation, per axis, of the granular random walk of an element in some time [Mm]."""
  return math.sqrt(2 * sun.diffusion_km2_s * 3600 * hours) / 1e3


def window_steps(interval: int) -> np.ndarray:
  """Returns the steps that make up an interval's window."""
  return (interval - FIRST) * STEPS_PER_SPACING + np.arange(STEPS_PER_WINDOW)


def draw_level(rng: np.random.Generator, sun: Sun) -> Level:
  """Draws how much field a pair of regions has."""
  bipole, unipolar = rng.normal(size=2)
  return Level(
    bipole=float(np.exp(sun.bipole_scatter * bipole)),
    unipolar=float(np.exp(sun.unipolar_scatter * unipolar)),
    plage=sun.plage_share if rng.random() < sun.plage_fraction else 0.0,
  )


def draw_element_flux(rng: np.random.Generator, count: int, sun: Sun) -> np.ndarray:
  """Draws `[count]` unsigned fluxes [Mx] from the power law between the limits of `sun`."""
  power = sun.element_slope + 1
  ratio = (sun.element_mx[1] / sun.element_mx[0]) ** power
  return sun.element_mx[0] * (1 + rng.random(count) * (ratio - 1)) ** (1 / power)


def wrap(offset: Any, side_mm: float) -> Any:
  """Brings positions or offsets on the periodic square to [-side / 2, side / 2] [Mm]; NumPy or JAX arrays."""
  return offset - side_mm * (offset / side_mm).round()


# --- Lives: things that come and go ----------------------------------------------------------------------------


@flax.struct.dataclass
class Lives:
  """Places that are taken again as soon as what was there has gone.

  Attributes:
    hours: `[n]` length of a life [h].
    phase: `[n]` part of the first life that is over at the start of the simulation.
    birthplace: `[n, generation, 2]` where each generation appears [Mm].
  """

  hours: jax.Array
  phase: jax.Array
  birthplace: jax.Array

  def at(self, elapsed_hours: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns `[n]` generation and `[n]` age [h] at a time since the start of the simulation."""
    lives = self.phase + elapsed_hours / self.hours
    generation = jnp.floor(lives)
    return generation.astype(jnp.int32), (lives - generation) * self.hours

  def place(self, generation: jax.Array) -> jax.Array:
    """Returns `[n, 2]` the birthplace of `[n]` generation [Mm]."""
    return jnp.take_along_axis(self.birthplace, generation[:, None, None], axis=1)[:, 0]


def draw_lives(rng: np.random.Generator, count: int, hours: tuple[float, float], duration_hours: float) -> Lives:
  """Draws lives, log-uniform between two lengths [h]; the birthplaces are uniform in the unit square about 0.

  Args:
    rng: Generator.
    count: Number of places.
    hours: Shortest and longest life [h].
    duration_hours: Length of the simulation, for which there will be birthplaces [h].
  """
  generations = math.ceil(duration_hours / hours[0]) + 1
  return Lives(
    hours=hours[0] * (hours[1] / hours[0]) ** rng.random(count),
    phase=rng.random(count),
    birthplace=rng.random((count, generations, 2)) - 0.5,
  )


# --- Supergranules ---------------------------------------------------------------------------------------------


def draw_cells(rng: np.random.Generator, side_mm: float, sun: Sun, duration_hours: float) -> Lives:
  """Draws supergranules: anywhere, but pushed apart until few are much nearer to each other than they are wide."""
  count = max(1, round((side_mm / sun.cell_mm) ** 2))
  cells = draw_lives(rng, count, sun.cell_hours, duration_hours)
  place = side_mm * cells.birthplace
  for _ in range(4):
    offset = wrap(place[:, None] - place[None], side_mm)
    distance = np.linalg.norm(offset, axis=-1, keepdims=True) + np.eye(count)[..., None, None]
    place = place + np.sum(offset / distance * np.maximum(sun.cell_mm - distance, 0), axis=1) / 4
  return cells.replace(birthplace=wrap(place, side_mm))


def cell_weights(cells: Lives, age: jax.Array, sun: Sun) -> jax.Array:
  """Returns `[cell]` what a power diagram takes as the weights of supergranules of some age [h], in Mm^2.

  0 in the middle of a life, and at birth and death so much that such a cell is small.
  """
  strength = jnp.sqrt(jnp.maximum(jnp.sin(jnp.pi * age / cells.hours), 0))
  return sun.cell_mm**2 * (1 - strength)


def outflow_of_cell(first: jax.Array, second: jax.Array, offset: jax.Array, sun: Sun) -> jax.Array:
  """Returns the flow away from the middle of a supergranule.

  Args:
    first, second: `[n]` power distance to the cell that holds a position, and to the next one [Mm^2].
    offset: `[n, axis]` vector from the centre of the cell to the position [Mm].
    sun: Parameters.

  Returns:
    `[n, axis]` velocity [Mm/h]: the outflow speed, less near the centre of a cell and at its edge.
  """
  core = sun.cell_mm / 8
  outward = offset / jnp.sqrt(jnp.sum(offset**2, axis=-1, keepdims=True) + core**2)
  # Half the difference of squared distances, over the distance of the two centres, is the distance to their border.
  to_edge = jnp.minimum((second - first) / (2 * sun.cell_mm), sun.cell_mm)
  speed = sun.outflow_m_s * MM_PER_HOUR * -jnp.expm1(-to_edge / sun.lane_mm)
  return speed[:, None] * outward


def outflow(position: jax.Array, centre: jax.Array, weights: jax.Array, side_mm: float, sun: Sun) -> jax.Array:
  """Returns the flow away from the supergranule that holds each position.

  The cells are those of a power diagram (Voronoi cells with weights), so that a young or old cell is small.

  Args:
    position: `[n, 2]` positions [Mm].
    centre: `[cell, 2]` centres of the supergranules [Mm].
    weights: `[cell]` their weights [Mm^2].
    side_mm: Side of the periodic square [Mm].
    sun: Parameters.

  Returns:
    `[n, 2]` velocity [Mm/h].
  """
  x, y = position.T
  far = jnp.full_like(x, jnp.inf)
  none = jnp.zeros_like(x)

  def compare(nearest, cell):
    first, second, toward_x, toward_y = nearest
    (cell_x, cell_y), weight = cell
    offset_x, offset_y = wrap(x - cell_x, side_mm), wrap(y - cell_y, side_mm)
    power = offset_x**2 + offset_y**2 + weight
    closer = power < first
    second = jnp.minimum(second, jnp.where(closer, first, power))
    return (
      jnp.where(closer, power, first),
      second,
      jnp.where(closer, offset_x, toward_x),
      jnp.where(closer, offset_y, toward_y),
    ), None

  # Cell by cell runs six times faster on CPU than a table of all distances.
  (first, second, *offset), _ = jax.lax.scan(compare, (far, far, none, none), (centre, weights))
  return outflow_of_cell(first, second, jnp.stack(offset, axis=-1), sun)


# --- Elements --------------------------------------------------------------------------------------------------


@flax.struct.dataclass
class QuietSun:
  """What the quiet Sun of one region starts from.

  Attributes:
    cells: The supergranules.
    bipoles: Lives of the ephemeral bipoles.
    bipole_half: `[bipole, 2]` half the vector from the negative to the positive polarity [Mm].
    bipole_flux: `[bipole]` flux of each polarity when full grown [Mx].
    surplus_position: `[surplus, 2]` first positions of the elements of the surplus polarity [Mm].
    surplus_flux: `[surplus]` their signed flux [Mx].
  """

  cells: Lives
  bipoles: Lives
  bipole_half: jax.Array
  bipole_flux: jax.Array
  surplus_position: jax.Array
  surplus_flux: jax.Array


def draw_quiet_sun(
  rng: np.random.Generator, level: Level, hale: int, side_mm: float, sun: Sun, duration_hours: float | None = None
) -> QuietSun:
  """Draws the quiet Sun of one region.

  The arrays have room for the most elements that a region may have, and zero flux in what is left over.

  Args:
    rng: Generator of the region.
    level: How much field there is.
    hale: +1 where Hale's law puts the positive polarity in the west, -1 where in the east.
    side_mm: Side of the periodic square [Mm].
    sun: Parameters.
    duration_hours: Length of the simulation [h]; None for that of a region of a survey.
  """
  duration_hours = total_hours(sun) if duration_hours is None else duration_hours
  elements_per_gauss = side_mm**2 * CM2_PER_MM2 / sun.mean_element_mx
  bipoles, surplus = sun.bipole_gauss * elements_per_gauss / 2, sun.unipolar_gauss * elements_per_gauss
  bipole_room, surplus_room = math.ceil(BIPOLE_ROOM * bipoles), math.ceil(UNIPOLAR_ROOM * surplus)
  lives = draw_lives(rng, bipole_room, sun.bipole_hours, duration_hours)
  sign = rng.choice([-1, 1])
  return QuietSun(
    cells=draw_cells(rng, side_mm, sun, duration_hours),
    bipoles=lives.replace(birthplace=side_mm * lives.birthplace),
    bipole_half=draw_bipole_halves(rng, bipole_room, hale, sun),
    bipole_flux=draw_element_flux(rng, bipole_room, sun) * (np.arange(bipole_room) < level.bipole * bipoles),
    surplus_position=draw_surplus_positions(rng, surplus_room, level, side_mm, sun),
    surplus_flux=sign
    * draw_element_flux(rng, surplus_room, sun)
    * (np.arange(surplus_room) < level.unipolar * surplus),
  )


def draw_bipole_halves(rng: np.random.Generator, count: int, hale: int, sun: Sun) -> np.ndarray:
  """Draws `[count, 2]` half the vector from the negative to the positive polarity of ephemeral bipoles [Mm]."""
  half = rng.uniform(*sun.bipole_separation_mm, size=count) / 2
  angle = rng.uniform(0, 2 * np.pi, size=count)
  direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
  # Turning a wrong-way bipole round with this chance gives the density (1 + alignment cos) / 2 pi.
  wrong = hale * direction[:, 0] < 0
  turned = wrong & (rng.random(count) < sun.bipole_alignment * np.abs(direction[:, 0]))
  return half[:, None] * np.where(turned, -1, 1)[:, None] * direction


def bipole_growth(bipoles: Lives, age: jax.Array, sun: Sun) -> jax.Array:
  """Returns `[bipole]` the share of its flux that a bipole of some age [h] has: it comes, stays and goes."""
  return jnp.clip(jnp.minimum(age, bipoles.hours - age) / sun.bipole_rise_hours, 0, 1)


def draw_surplus_positions(rng: np.random.Generator, count: int, level: Level, side_mm: float, sun: Sun) -> np.ndarray:
  """Draws `[count, 2]` first positions of surplus elements: everywhere, and a share of them in one patch [Mm]."""
  angle = rng.uniform(0, np.pi)
  rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  centre = rng.uniform(-side_mm / 2, side_mm / 2, size=2)
  patch = centre + rng.normal(size=(count, 2)) * sun.plage_mm @ rotation.T
  everywhere = rng.uniform(-side_mm / 2, side_mm / 2, size=(count, 2))
  return wrap(np.where(rng.random((count, 1)) < level.plage, patch, everywhere), side_mm)


def evolve(key: jax.Array, quiet: QuietSun, side_mm: float, sun: Sun) -> Elements:
  """Moves the elements of one region: bipoles come and go, the surplus stays, supergranules sweep both.

  Args:
    key: Random key of the granular random walk.
    quiet: What the region starts from.
    side_mm: Side of the periodic square [Mm].
    sun: Parameters.

  Returns:
    The elements at `step_hours()`: positive, then negative polarities of the bipoles, then the surplus.
  """
  cells, bipoles, half = quiet.cells, quiet.bipoles, quiet.bipole_half
  count = 2 * len(half)
  kick = walk_mm(STEP_HOURS, sun)

  def birth(generation: jax.Array) -> jax.Array:
    place = bipoles.place(generation)
    return jnp.concatenate([place + half, place - half])

  def advance(carry, inputs):
    position, generation = carry
    step, walk = inputs
    elapsed = step * STEP_HOURS
    cell_generation, cell_age = cells.at(elapsed)
    weights = cell_weights(cells, cell_age, sun)
    position += STEP_HOURS * outflow(position, cells.place(cell_generation), weights, side_mm, sun) + kick * walk
    now, age = bipoles.at(elapsed)
    born = jnp.tile(now > generation, 2)[:, None]
    position = position.at[:count].set(jnp.where(born, birth(now), position[:count]))
    flux = bipole_growth(bipoles, age, sun) * quiet.bipole_flux
    position = wrap(position, side_mm)
    return (position, now), (position, jnp.concatenate([flux, -flux, quiet.surplus_flux]))

  first, _ = bipoles.at(0.0)
  start = jnp.concatenate([birth(first), quiet.surplus_position])
  walks = jax.random.normal(key, (total_steps(sun), *start.shape))
  _, (position, flux) = jax.lax.scan(advance, (start, first), (jnp.arange(len(walks)), walks))
  kept = slice(spin_up_steps(sun), None)
  return Elements(position[kept], flux[kept])
