"""A simulated survey: pairs of an emerging region and its control region, observed like HEAR.

It shows that the code works and finds what is there; it is no evidence about the Sun. The worlds:

- `default`: an active region emerges in every EAR; quiet Sun, instrument and everything else are drawn alike.
- `null`: both halves of a pair are drawn as controls. No skill is possible.
- `flux`: no emergence; the elements of an EAR have more flux, by the same factor at every interval.
- `pattern`: no emergence; the centre of an EAR holds compact bipoles, that of a CR the same elements torn apart, so
  that the unsigned flux is the same.

A world of one's own is a function like theirs (`World`), given to `simulate_survey` instead of a name.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.progress import Progress, silent
from hearjax.simulate import emergence, instrument, quiet_sun
from hearjax.simulate.quiet_sun import Elements, QuietSun
from hearjax.simulate.sun import Sun
from hearjax.solar import INCLINATION_DEG, SYNODIC_DAYS, line_of_sight, rotated, wrap_degrees
from hearjax.survey.intervals import (
  CENTRE_HOURS,
  FRAMES_PER_INTERVAL,
  PRE_EMERGENCE,
  check_intervals,
  end_hours,
  start_hours,
)
from hearjax.survey.survey import Survey, index_names

SMALLEST_SIZE = 16
# Above every real NOAA number, so that no simulated region is taken for a real one.
FIRST_NOAA = 90001
REGIONS_PER_CALL = 8
# Streams of random numbers of a pair.
CR, EAR, LEVEL, PLACE, FRAMES = range(5)

MJD_RANGE = (55317.0, 56261.0)  # 2010-05-01 to 2012-11-30, the time of the first HEAR release.
CARRINGTON_ZERO_MJD = 2398140.2270 - 2400000.5  # Start of rotation 0 (ibid.); mean longitudes are good to some 2 deg.
NODE_MJD = 55353.5  # 2010-06-06, when the tilt of the disk centre is 0 and rising; it is so every year.


# --- Where and when --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Place:
  """Where and when a region is: Carrington latitude and longitude [deg], and the emergence time with its cmd [deg]."""

  latitude: float
  longitude: float
  cmd: float
  mjd: float

  def cmd_at(self, hours: np.ndarray) -> np.ndarray:
    """Returns the central-meridian distance [deg] at times relative to the emergence time [h]."""
    return rotated(self.cmd, hours)

  def sight(self, hours: np.ndarray) -> np.ndarray:
    """Returns `[..., 3]` the unit vector to the observer, in the frame (west, north, up) of the region."""
    days = self.mjd + hours / 24 - NODE_MJD
    b0 = INCLINATION_DEG * np.sin(2 * np.pi * days / 365.25)
    return line_of_sight(self.cmd_at(hours), self.latitude, b0)

  def is_near(self, other: 'Place') -> bool:
    """Says whether another region would be on the same maps at the same time."""
    longitude = wrap_degrees(self.longitude - other.longitude)
    return abs(self.mjd - other.mjd) < 4 and abs(longitude) < 25 and abs(self.latitude - other.latitude) < 25


def draw_place(rng: np.random.Generator, latitude: float, cmd: float, taken: Sequence[Place]) -> Place:
  """Draws the time of a region at a given place on the disk, away from regions that are already there.

  Where the Sun is full (several thousand pairs) the last of 50 draws is kept.
  """
  for _ in range(50):
    mjd = float(rng.uniform(*MJD_RANGE))
    disk_centre = -360 * (mjd - CARRINGTON_ZERO_MJD) / SYNODIC_DAYS
    place = Place(latitude, (disk_centre + cmd) % 360, cmd, mjd)
    if not any(place.is_near(other) for other in taken):
      break
  return place


def draw_places(seed: int, pairs: int) -> list[tuple[Place, Place]]:
  """Draws the (CR, EAR) places of all pairs; those of a pair do not depend on how many follow.

  Latitudes are those of the active belts in the rise of cycle 24 and the range of cmd keeps all intervals within 65 deg
  of the central meridian; the distributions are our choice. The control region is at the same latitude and cmd at
  another time.
  """
  taken: list[Place] = []
  for pair in range(pairs):
    rng = np.random.default_rng([seed, pair, PLACE])
    latitude = float(rng.choice([-1, 1]) * np.clip(rng.normal(17, 5), 8, 30))
    cmd = float(rng.uniform(-50, 58))
    for _ in ('CR', 'EAR'):
      taken.append(draw_place(rng, latitude, cmd, taken))
  return list(zip(taken[::2], taken[1::2], strict=True))


def draw_frames(seed: int, pairs: int) -> np.ndarray:
  """Draws `[pair, kind, interval]` the number of frames in a mean: all of them in nine of ten (our choice)."""
  frames = np.empty((pairs, 2, len(CENTRE_HOURS)), np.int32)
  for pair in range(pairs):
    rng = np.random.default_rng([seed, pair, FRAMES])
    lost = rng.geometric(0.05, frames.shape[1:]) * (rng.random(frames.shape[1:]) < 0.1)
    frames[pair] = FRAMES_PER_INTERVAL - np.minimum(lost, FRAMES_PER_INTERVAL // 5)
  return frames


# --- The worlds ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scene:
  """What a world is told of a region, of which it makes one of its class.

  Attributes:
    is_ear: Whether it shall be an emerging region (PE) or a control region.
    latitude: Heliographic latitude [deg].
    hours: `[step]` the times of the simulation, relative to the emergence time [h].
    quiet: Its quiet Sun, drawn alike for both classes.
    sun: Parameters.
  """

  is_ear: bool
  latitude: float
  hours: np.ndarray
  quiet: QuietSun
  sun: Sun


# From the generator of the region and its scene to its quiet Sun, and to what there is beside it at the times of the
# scene. Arrays must have one size in all regions: what is not there has no flux.
World = Callable[[np.random.Generator, Scene], tuple[QuietSun, Elements]]


def no_elements(scene: Scene) -> Elements:
  """Returns nothing: the elements beside the quiet Sun of a world that has none."""
  steps = len(scene.hours)
  return Elements(np.zeros((steps, 0, 2)), np.zeros((steps, 0)))


def default_world(rng: np.random.Generator, scene: Scene) -> tuple[QuietSun, Elements]:
  """An active region emerges in every EAR."""
  region = emergence.draw_region(rng, scene.latitude, scene.sun)
  emerging = emergence.emerging_elements(rng, region, scene.hours, scene.sun)
  return scene.quiet, emerging.replace(flux=scene.is_ear * emerging.flux)


def null_world(rng: np.random.Generator, scene: Scene) -> tuple[QuietSun, Elements]:
  """Nothing tells the classes apart."""
  return scene.quiet, no_elements(scene)


def flux_world(rng: np.random.Generator, scene: Scene) -> tuple[QuietSun, Elements]:
  """All elements of an EAR have more flux, by one factor."""
  sun, quiet = scene.sun, scene.quiet
  factor = np.exp(sun.flux_scatter * rng.normal() - sun.flux_scatter**2 / 2) * (sun.flux_ratio if scene.is_ear else 1)
  fluxes = {'bipole_flux': factor * quiet.bipole_flux, 'surplus_flux': factor * quiet.surplus_flux}
  return quiet.replace(**fluxes), no_elements(scene)


def pattern_world(rng: np.random.Generator, scene: Scene) -> tuple[QuietSun, Elements]:
  """Compact bipoles in an EAR, the same elements torn apart in a CR."""
  return scene.quiet, emergence.pattern_elements(rng, scene.is_ear, len(scene.hours), scene.sun)


WORLDS: dict[str, World] = {'default': default_world, 'null': null_world, 'flux': flux_world, 'pattern': pattern_world}


# --- One region ------------------------------------------------------------------------------------------------


@flax.struct.dataclass
class Region:
  """What the simulation of one region starts from.

  Attributes:
    key: Random key of what is drawn on the way.
    quiet: The quiet Sun.
    others: What there is beside it, at `step_hours()`.
    sight: `[interval, 3]` unit vectors to the observer (west, north, up).
    n_frames: `[interval]` frames in the mean.
  """

  key: jax.Array
  quiet: QuietSun
  others: Elements
  sight: jax.Array
  n_frames: jax.Array


def draw_elements(
  seed: int, pair: int, is_ear: bool, latitude: float, size: int, world: World, sun: Sun
) -> tuple[QuietSun, Elements]:
  """Draws the quiet Sun of one region, and what there is beside it in the given world."""
  level = quiet_sun.draw_level(np.random.default_rng([seed, pair, LEVEL]), sun)
  rng = np.random.default_rng([seed, pair, EAR if is_ear else CR])
  side_mm = sun.padded_size(size) * sun.pixel_scale_mm
  hale = -1 if latitude >= 0 else 1  # Cycle 24: the positive polarity leads in the south.
  quiet = quiet_sun.draw_quiet_sun(rng, level, hale, side_mm, sun)
  return world(rng, Scene(is_ear, latitude, quiet_sun.step_hours(), quiet, sun))


def observe_region(region: Region, intervals: tuple[int, ...], size: int, sun: Sun) -> jax.Array:
  """Simulates `[interval, size, size]` line-of-sight field [G] of one region."""
  evolve_key, noise_key = jax.random.split(region.key)
  quiet = quiet_sun.evolve(evolve_key, region.quiet, sun.padded_size(size) * sun.pixel_scale_mm, sun)
  elements = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), quiet, region.others)
  steps = np.stack([quiet_sun.window_steps(interval) for interval in intervals])
  windows = jax.tree.map(lambda leaf: leaf[steps], elements)
  # The interval's own number makes its noise the same whichever other intervals are asked for.
  keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, np.array(intervals) - min(CENTRE_HOURS))

  def observe(key, window, sight, n_frames):
    return instrument.observe(key, window, size, sight, n_frames, sun)

  return jax.vmap(observe)(keys, windows, region.sight, region.n_frames)


@functools.partial(jax.jit, static_argnames=('intervals', 'size', 'sun'))
def _observe_regions(regions: Region, **static: Any) -> jax.Array:
  return jax.vmap(functools.partial(observe_region, **static))(regions)


# --- The survey ------------------------------------------------------------------------------------------------


def simulate_survey(
  seed: int,
  pairs: int,
  intervals: Sequence[int] = PRE_EMERGENCE,
  size: int = 128,
  world: str | World = 'default',
  sun: Sun = Sun(),  # noqa: B008
  progress: Progress = silent,
) -> Survey:
  """Simulates a survey; the same seed gives the same, and a pair does not depend on how many pairs there are.

  Args:
    seed: Non-negative integer.
    pairs: Number of pairs, each of one EAR and one CR.
    intervals: Intervals to observe, among -5 … 1.
    size: Side of the maps [px].
    world: One of `WORLDS`, see the head of this module; or a world of one's own, a function as described at `World`.
    sun: Parameters.
    progress: Goes through the chunks of regions, and may show how far it is.

  Returns:
    The survey, on the host, sorted by region and interval.

  Raises:
    UserError: An argument is out of its range.
  """
  intervals = check_intervals(intervals)
  if seed < 0:
    raise UserError(f'The seed must be a non-negative integer, got {seed}.')
  if pairs < 1:
    raise UserError(f'A survey needs at least one pair, got {pairs}.')
  if size < SMALLEST_SIZE:
    raise UserError(f'Maps must be at least {SMALLEST_SIZE} px wide, got {size}; smaller ones hold no network.')
  if not callable(world) and world not in WORLDS:
    raise UserError(f'There is no world {world!r}; choose one of {", ".join(WORLDS)}.')
  draw = world if callable(world) else WORLDS[world]

  hours = np.array([CENTRE_HOURS[interval] for interval in intervals])
  columns = np.array(intervals) - min(CENTRE_HOURS)
  places = [place for pair in draw_places(seed, pairs) for place in pair]
  frames = draw_frames(seed, pairs)[..., columns].reshape(2 * pairs, -1)
  pair_of_region = np.repeat(np.arange(pairs), 2)
  is_ear = np.tile([False, True], pairs)
  sight = np.stack([place.sight(hours) for place in places])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.arange(2 * pairs))

  # A few regions at a time: bounded memory, and one compilation whatever their number.
  fields = []
  for start in progress(range(0, 2 * pairs, REGIONS_PER_CALL)):
    numbers = np.minimum(np.arange(start, start + REGIONS_PER_CALL), 2 * pairs - 1)
    drawn = [
      draw_elements(seed, number // 2, bool(is_ear[number]), places[number].latitude, size, draw, sun)
      for number in numbers
    ]
    _check_sizes(drawn)
    quiet, others = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float32), *drawn)
    chunk = Region(keys[numbers], quiet, others, sight[numbers].astype(np.float32), frames[numbers].astype(np.float32))
    fields.append(np.asarray(_observe_regions(chunk, intervals=intervals, size=size, sun=sun)))
  field = np.concatenate(fields)[: 2 * pairs]

  # Each magnetogram from its region (repeat) and its interval (tile).
  per_region = lambda values: np.repeat(np.asarray(values), len(intervals))  # noqa: E731
  per_interval = lambda values, dtype: np.tile(np.asarray(values, dtype), 2 * pairs)  # noqa: E731
  rows = 2 * pairs * len(intervals)
  pair_ids, pair = index_names(per_region([f'sim-{number + 1:05d}' for number in pair_of_region]))
  kinds = np.where(is_ear, 'ear', 'cr')
  region_ids, region = index_names(
    per_region([f'sim-{number + 1:05d}-{kind}' for number, kind in zip(pair_of_region, kinds, strict=True)])
  )
  return Survey(
    field=field.reshape(rows, size, size),
    label=per_region(is_ear).astype(np.int32),
    interval=per_interval(intervals, np.int32),
    noaa=per_region(np.where(is_ear, FIRST_NOAA + pair_of_region, 0)).astype(np.int32),
    n_frames=frames.reshape(-1),
    quality=np.zeros(rows, np.int32),
    hours=per_interval(hours, np.float32),
    hours_start=per_interval([start_hours(interval) for interval in intervals], np.float32),
    hours_end=per_interval([end_hours(interval) for interval in intervals], np.float32),
    latitude=per_region([place.latitude for place in places]).astype(np.float32),
    longitude=per_region([place.longitude for place in places]).astype(np.float32),
    cmd=np.concatenate([place.cmd_at(hours) for place in places]).astype(np.float32),
    mu=sight[..., 2].reshape(-1).astype(np.float32),
    missing=np.zeros(rows, np.float32),
    mjd=np.concatenate([place.mjd + hours / 24 for place in places]),
    region=region,
    pair=pair,
    region_ids=region_ids,
    pair_ids=pair_ids,
    pixel_scale_mm=sun.pixel_scale_mm,
    source='simulated',
  )


def _check_sizes(drawn: Sequence[tuple[QuietSun, Elements]]) -> None:
  shapes = sorted({np.shape(others.flux) for _, others in drawn})
  if len(shapes) > 1:
    raise UserError(
      f'The world gives [step, element] {shapes[0]} in one region and {shapes[1]} in another; give all regions as many '
      'elements, with no flux where there is none.'
    )


def describe(seed: int, world: str, sun: Sun) -> dict[str, Any]:
  """Returns what an archive's index says about how its survey was made: plain numbers, strings, lists and dicts."""
  parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(sun).items()}
  return {'seed': seed, 'world': world, 'sun': parameters}
