"""The quiet Sun all around: squares of it, as a survey has them, joined to a sphere that turns and is swept as one.

What is drawn of each square is that of `quiet_sun`; it is laid on the sphere by equal areas. From then on there are no
squares: supergranules and elements know their neighbours on the sphere, by the same rules as on a square. NumPy,
because a tree of neighbours finds the cell of an element where the sphere has 6000 of them.

Places are unit vectors from the centre of the Sun in Carrington's frame, whose longitude grows toward the west.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from scipy.spatial import cKDTree

from hearjax.simulate import quiet_sun
from hearjax.simulate.quiet_sun import Lives, QuietSun
from hearjax.simulate.sun import Sun
from hearjax.solar import SOLAR_RADIUS_MM

# Squares of 231 Mm, about as large as the domain of a region of a survey: bands of equal area from south to north.
BANDS, SQUARES_PER_BAND = 6, 19
BELT_BANDS = range(1, BANDS - 1)  # Up to 42 deg of latitude; beyond them there is no plage. Our choice.
EDGE_MM = 25.0  # Surplus elements are scattered by so much, so that no square is seen; our choice.
# Rotation of small magnetic features (Howard, Harvey & Forgach 1990, Sol. Phys. 130, 295; the numbers as sunpy has
# them), and Carrington's, both sidereal [microradian / s].
HOWARD = (2.894, -0.428, -0.370)
CARRINGTON = math.radians(14.1844) / 86400 * 1e6
SEEN_SOON_HOURS = 24.0
LIMB_MARGIN = -math.sin(math.radians(5))
# Streams of random numbers.
SQUARE, WALK = 10, 11


def turn_rate(sine: np.ndarray) -> np.ndarray:
  """Returns how fast small magnetic features move in Carrington longitude [rad/h], given the sine of their latitude."""
  a, b, c = HOWARD
  square = sine * sine
  return (a + (b + c * square) * square - CARRINGTON) * 3600 / 1e6


def tangents(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the unit vectors to the west and to the north, `[..., 3]` each, at `[..., 3]` places."""
  x, y, z = np.moveaxis(place, -1, 0)
  equatorial = np.hypot(x, y)
  west = np.stack([-y, x, np.zeros_like(x)], axis=-1) / equatorial[..., None]
  north = np.stack([-x * z / equatorial, -y * z / equatorial, equatorial], axis=-1)
  return west, north


def displaced(place: np.ndarray, offset_mm: np.ndarray) -> np.ndarray:
  """Goes from places along great circles.

  Args:
    place: `[..., 3]` unit vectors.
    offset_mm: `[..., 2]` how far to go west and north [Mm]: coordinates of a Postel map about the place.

  Returns:
    `[..., 3]` unit vectors.
  """
  west, north = tangents(place)
  angle = np.linalg.norm(offset_mm, axis=-1, keepdims=True) / SOLAR_RADIUS_MM
  along = (west * offset_mm[..., :1] + north * offset_mm[..., 1:]) / SOLAR_RADIUS_MM
  return place * np.cos(angle) + along * np.sinc(angle / np.pi)  # np.sinc holds at the place itself.


# --- What it starts from ----------------------------------------------------------------------------------------


def draw_sphere(seed: int, duration_hours: float, sun: Sun) -> QuietSun:
  """Draws the quiet Sun all around; its places are unit vectors instead of points of a square.

  Each square has a level of its own, as each pair of a survey has, and one sign of the surplus polarity. There are no
  polar fields.

  Args:
    seed: Of the simulation.
    duration_hours: How long it lasts, spin-up included [h].
    sun: Parameters.
  """
  side = math.sqrt(4 * math.pi / (BANDS * SQUARES_PER_BAND)) * SOLAR_RADIUS_MM
  squares = []
  for number in range(BANDS * SQUARES_PER_BAND):
    band, column = divmod(number, SQUARES_PER_BAND)
    rng = np.random.default_rng([seed, SQUARE, number])
    level = quiet_sun.draw_level(rng, sun)
    if band not in BELT_BANDS:
      level = dataclasses.replace(level, plage=0.0)
    hale = -1 if band >= BANDS / 2 else 1  # Cycle 24: the positive polarity leads in the south.
    quiet = quiet_sun.draw_quiet_sun(rng, level, hale, side, sun, duration_hours)
    squares.append(_on_sphere(rng, quiet, band, column, side))
  joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *squares)
  birthplace = np.stack(
    [_pushed_apart(joined.cells.birthplace[:, g], sun) for g in range(joined.cells.birthplace.shape[1])], axis=1
  )
  return joined.replace(cells=joined.cells.replace(birthplace=birthplace))


def _on_sphere(rng: np.random.Generator, quiet: QuietSun, band: int, column: int, side_mm: float) -> QuietSun:
  """Lays a square on the sphere, without what has no flux."""
  is_bipole, is_surplus = quiet.bipole_flux > 0, quiet.surplus_flux != 0

  def place(position: np.ndarray) -> np.ndarray:
    longitude = 2 * np.pi * (column + 0.5 + position[..., 0] / side_mm) / SQUARES_PER_BAND
    sine = 2 * (band + 0.5 + position[..., 1] / side_mm) / BANDS - 1
    cosine = np.sqrt(1 - sine**2)
    return np.stack([cosine * np.cos(longitude), cosine * np.sin(longitude), sine], axis=-1)

  surplus = place(quiet.surplus_position[is_surplus])
  return QuietSun(
    cells=quiet.cells.replace(birthplace=place(quiet.cells.birthplace)),
    bipoles=Lives(
      hours=quiet.bipoles.hours[is_bipole],
      phase=quiet.bipoles.phase[is_bipole],
      birthplace=place(quiet.bipoles.birthplace[is_bipole]),
    ),
    bipole_half=quiet.bipole_half[is_bipole],
    bipole_flux=quiet.bipole_flux[is_bipole],
    surplus_position=displaced(surplus, EDGE_MM * rng.normal(size=(len(surplus), 2))),
    surplus_flux=quiet.surplus_flux[is_surplus],
  )


def _pushed_apart(place: np.ndarray, sun: Sun) -> np.ndarray:
  """Does on the sphere, for one generation, what `quiet_sun.draw_cells` does on a square."""
  reach = sun.cell_mm / SOLAR_RADIUS_MM
  for _ in range(4):
    one, other = cKDTree(place).query_pairs(reach, output_type='ndarray').T
    offset = place[one] - place[other]
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    push = offset / distance * (reach - distance) / 4
    place = place.copy()
    np.add.at(place, one, push)
    np.subtract.at(place, other, push)
    place /= np.linalg.norm(place, axis=1, keepdims=True)
  return place


# --- How it moves -----------------------------------------------------------------------------------------------


def evolve(
  seed: int, quiet: QuietSun, hours: Sequence[float], facing: Callable[[float], np.ndarray], sun: Sun
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Moves the elements: bipoles come and go, the surplus stays, supergranules sweep both, the Sun turns.

  All turn; but only what is on the disk, or will be within a day, is swept. What is far behind the limb waits.

  Args:
    seed: Of the simulation.
    quiet: What it starts from, `sun.spin_up_hours` before the hour 0.
    hours: `[n]` increasing times [h], not before 0.
    facing: Hour -> `[3]` direction to the observer.
    sun: Parameters.

  Yields:
    At each of these times `[element, 3]` places and `[element]` signed flux [Mx]: positive, then negative polarities
    of the bipoles, then the surplus.
  """
  bipoles = quiet.bipoles
  generation, _ = _lives_at(bipoles, 0.0)
  position = np.concatenate([_born(quiet, slice(None), generation), quiet.surplus_position])
  count = 2 * len(generation)
  rng = np.random.default_rng([seed, WALK])
  for start, end in itertools.pairwise([-sun.spin_up_hours, *hours]):
    steps = math.ceil((end - start) / quiet_sun.STEP_HOURS - 1e-9)
    for step in range(1, steps + 1):
      step_hours = (end - start) / steps
      now = start + step * step_hours
      is_swept = np.any([position @ facing(when) > LIMB_MARGIN for when in (now, now + SEEN_SOON_HOURS)], axis=0)
      position = _turned(position, step_hours)
      position = _swept(rng, position, is_swept, quiet.cells, now + sun.spin_up_hours, step_hours, sun)
      before = generation
      generation, _ = _lives_at(bipoles, now + sun.spin_up_hours)
      is_born = generation > before
      position[:count][np.tile(is_born, 2)] = _born(quiet, is_born, generation)
    _, age = _lives_at(bipoles, end + sun.spin_up_hours)
    flux = np.asarray(quiet_sun.bipole_growth(bipoles, age, sun), np.float64) * quiet.bipole_flux
    yield position.copy(), np.concatenate([flux, -flux, quiet.surplus_flux])


def _lives_at(lives: Lives, elapsed_hours: float) -> tuple[np.ndarray, np.ndarray]:
  return jax.device_get(lives.at(elapsed_hours))


def _born(quiet: QuietSun, which: np.ndarray | slice, generation: np.ndarray) -> np.ndarray:
  """Returns where some bipoles appear: positive, then negative polarities."""
  rows = np.arange(len(generation))[which]
  place = quiet.bipoles.birthplace[rows, generation[which]]
  half = quiet.bipole_half[which]
  return np.concatenate([displaced(place, half), displaced(place, -half)])


def _turned(position: np.ndarray, hours: float) -> np.ndarray:
  """Moves places along their parallels."""
  angle = turn_rate(position[:, 2]) * hours
  cosine, sine = np.cos(angle), np.sin(angle)
  x, y, z = position.T
  return np.stack([x * cosine - y * sine, x * sine + y * cosine, z], axis=1)


_outflow = jax.jit(quiet_sun.outflow_of_cell, static_argnames='sun')


def _swept(
  rng: np.random.Generator,
  position: np.ndarray,
  is_swept: np.ndarray,
  cells: Lives,
  elapsed_hours: float,
  step_hours: float,
  sun: Sun,
) -> np.ndarray:
  """Moves those of the elements that are swept, by the outflow of their supergranules and by granules."""
  generation, age = _lives_at(cells, elapsed_hours)
  centre = SOLAR_RADIUS_MM * cells.birthplace[np.arange(len(generation)), generation]
  weights = np.asarray(quiet_sun.cell_weights(cells, age, sun))
  mm = SOLAR_RADIUS_MM * position
  # The power distance to a cell is the distance in a fourth dimension, in which cells lie at the root of their weights.
  tree = cKDTree(np.column_stack([centre, np.sqrt(weights)]))
  points = np.column_stack([mm[is_swept], np.zeros(np.sum(is_swept))])
  distance, nearest = np.zeros((len(mm), 2)), np.zeros(len(mm), int)
  distance[is_swept], found = tree.query(points, k=2, workers=-1)
  nearest[is_swept] = found[:, 0]
  # Of all, so that one shape is compiled.
  velocity = np.asarray(_outflow(distance[:, 0] ** 2, distance[:, 1] ** 2, mm - centre[nearest], sun=sun))
  kick = quiet_sun.walk_mm(step_hours, sun) * rng.normal(size=mm.shape)
  mm = np.where(is_swept[:, None], mm + step_hours * velocity + kick, mm)
  return mm / np.linalg.norm(mm, axis=1, keepdims=True)
