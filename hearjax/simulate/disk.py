"""A simulated Sun to make full disks of: what is planted on it, when and where, and the elements that there are.

Quiet Sun is everywhere (`sphere`). On it active regions emerge at known times and places, as they do in a simulated
survey, and old regions decay that are there from the start. It shows that the code works; it is no evidence about the
Sun.

Old regions turn with the network, differentially, as do all its elements. Emerging ones stay where they emerged in
Carrington's frame: the motion of their polarities is known relative to that (Schunker et al. 2016, A&A 595, A107).
"""

import dataclasses
import datetime
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from astropy.time import Time
from scipy.special import logit

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.simulate import emergence, quiet_sun, sphere
from hearjax.simulate.emergence import Region
from hearjax.simulate.sun import Sun
from hearjax.simulate.worlds import FIRST_NOAA, MJD_RANGE
from hearjax.solar import direction, rotated
from hearjax.survey.intervals import CENTRE_HOURS, start_hours

SMALLEST_SIZE = 64
SHORTEST_CADENCE_MINUTES, LONGEST_CADENCE_MINUTES = 0.75, 360.0
LONGEST_DAYS = 60.0
TRIES = 3000
# A region is reported from the first midnight (UTC) at which so much of its flux has emerged. Our choice.
REPORT_SHARE = 0.3
LEAST_FLUX = 0.3  # Of the median: what is weaker has no spots and gets no number. Our choice.
HOURS_AFTER_REPORT = 36.0  # Which the published rule for the emergence time looks at (Leka et al. 2013, from memory).
FIRST_HOURS = start_hours(min(CENTRE_HOURS))
# Emerging regions lie so far from each other and from old ones: beyond the 10 deg within which HEAR has no other strong
# emerging flux (Schunker et al. 2016). Our choice, as are the numbers of old regions.
APART_DEG = 16.0
OLD_POLE_MM = 25.0  # Standard deviation of a polarity of an old region.
OLD_DISTANCE_MM = 90.0  # Of its polarities.
# Streams of random numbers.
PLAN, REGION, ELEMENTS = 20, 21, 22


@dataclasses.dataclass(frozen=True)
class DiskSettings:
  """What is simulated, and which frames there are of it; every number is our choice.

  Attributes:
    seed: The one random key, a non-negative integer.
    start: Nominal time of the first frame (T_REC), ISO, TAI; from May 2010 to November 2012.
    days: How long the frames go on [d].
    cadence_minutes: From frame to frame [min]. A frame stands for the mean of all 45 s frames of that time: it has
      their noise. What moves in it meanwhile is not smeared.
    size: Side of a frame [px]; HMI has 4096, and 1024 are 1.5 Mm per pixel at disk centre.
    emergences: Number of regions that emerge.
    decaying: Number of old regions, there from the start, all around the Sun.
    max_cmd_deg: Emerging regions stay within this distance from the central meridian from the begin of their first
      interval to 36 h after the first report [deg].
    lost: Share of the frames that are not there.
    bad: Share of the frames that have a QUALITY other than 0, and are spoilt.
    roll_deg: How far the frames are turned (CROTA2) [deg]; HMI's are by 179.93.
  """

  seed: int = 0
  start: str = '2011-02-10T00:00:00'
  days: float = 8.0
  cadence_minutes: float = 60.0
  size: int = 1024
  emergences: int = 6
  decaying: int = 4
  max_cmd_deg: float = 60.0
  lost: float = 0.02
  bad: float = 0.02
  roll_deg: float = 179.93

  def __post_init__(self) -> None:
    for name in ('seed', 'emergences', 'decaying', 'lost', 'bad'):
      check_not_negative(name, getattr(self, name))
    check_positive('days', self.days)
    if self.days > LONGEST_DAYS:
      raise UserError(f'days may be {LONGEST_DAYS:g} at most, got {self.days:g}; simulate several times.')
    if not SHORTEST_CADENCE_MINUTES <= self.cadence_minutes <= LONGEST_CADENCE_MINUTES:
      raise UserError(
        f'cadence_minutes must lie between {SHORTEST_CADENCE_MINUTES} and {LONGEST_CADENCE_MINUTES:g}, got '
        f'{self.cadence_minutes}.'
      )
    if abs(self.cadence_s - 60 * self.cadence_minutes) > 1e-6:
      raise UserError(f'The cadence must be whole seconds, got {self.cadence_minutes} min.')
    if self.size < SMALLEST_SIZE:
      raise UserError(f'Frames must be at least {SMALLEST_SIZE} px wide, got {self.size}.')
    if not 0 < self.max_cmd_deg <= 90:
      raise UserError(f'max_cmd_deg must lie between 0 and 90, got {self.max_cmd_deg}.')
    if self.lost + self.bad >= 1:
      raise UserError(f'lost and bad are shares of the frames and leave none good, got {self.lost} and {self.bad}.')
    if not abs(self.roll_deg) <= 360:
      raise UserError(f'roll_deg must lie between -360 and 360, got {self.roll_deg}.')
    if not MJD_RANGE[0] <= self.first_time.utc.mjd <= MJD_RANGE[1]:
      raise UserError(f'start must lie between May 2010 and November 2012, got {self.start}.')

  @functools.cached_property
  def first_time(self) -> Time:
    """Nominal time of the first frame."""
    try:
      datetime.datetime.fromisoformat(self.start)
      return Time(self.start, scale='tai')
    except ValueError as error:
      raise UserError(f'start is {self.start!r}; a time is needed, as 2011-02-10T00:00:00 (TAI).') from error

  @property
  def cadence_s(self) -> int:
    """From frame to frame [s]."""
    return round(60 * self.cadence_minutes)

  @property
  def n_45s(self) -> float:
    """How many 45 s frames a frame stands for."""
    return self.cadence_s / 45

  @property
  def hours(self) -> np.ndarray:
    """`[frame]` nominal times since the first frame [h]."""
    return np.arange(max(1, round(86400 * self.days / self.cadence_s))) * self.cadence_s / 3600


# --- What is planted --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Site:
  """A numbered region.

  Attributes:
    noaa: Its number.
    longitude, latitude: Carrington position of its middle at the first frame [deg].
    region: Its flux, growth and orientation.
    emergence_hours: Emergence time since the first frame [h]; None for an old region.
    report_hours: When the first report could list it, in the same hours; -inf for an old region.
  """

  noaa: int
  longitude: float
  latitude: float
  region: Region
  emergence_hours: float | None = None
  report_hours: float = -np.inf

  def longitude_at(self, hours: np.ndarray | float) -> np.ndarray | float:
    """Returns its Carrington longitude [deg], an old region carried along its parallel."""
    if self.emergence_hours is not None:
      return self.longitude
    rate = sphere.turn_rate(np.sin(np.deg2rad(self.latitude)))
    return (self.longitude + np.rad2deg(rate) * np.asarray(hours)) % 360

  def flux_at(self, hours: np.ndarray | float, sun: Sun) -> np.ndarray | float:
    """Returns the unsigned flux that has emerged [Mx]; what old regions lose by spreading is not told."""
    if self.emergence_hours is None:
      return self.region.flux
    since = np.asarray(hours) - self.emergence_hours
    return self.region.flux * emergence.emerged_fraction(since, self.region.growth_hours, sun)


def plan_sites(settings: DiskSettings, l0: float, sun: Sun) -> list[Site]:
  """Draws where and when regions are: the emerging ones, by their emergence times, then the old ones.

  Args:
    settings: Settings.
    l0: Carrington longitude of the disk centre at the first frame [deg].
    sun: Parameters.

  Raises:
    UserError: There is no room, or no time, for so many.
  """
  old = []
  rng = np.random.default_rng([settings.seed, PLAN])
  for number in range(settings.decaying):
    longitude = 360 * (number + rng.uniform(0.2, 0.8)) / settings.decaying
    latitude = _draw_latitude(rng)
    old.append(Site(0, longitude, latitude, _draw_region(rng, latitude, sun)))
  emerging: list[Site] = []
  for number in range(settings.emergences):
    rng = np.random.default_rng([settings.seed, REGION, number])
    tries = (_draw_site(rng, settings, l0, sun) for _ in range(TRIES))
    site = next((site for site in tries if site and _is_apart(site, [*old, *emerging])), None)
    if site is None:
      raise UserError(
        f'Of {settings.emergences} regions no more than {number} can emerge in {settings.days:g} d, {APART_DEG:g} deg '
        f'apart and within {settings.max_cmd_deg:g} deg of the central meridian from {-FIRST_HOURS:.0f} h before '
        f'emergence to {HOURS_AFTER_REPORT:g} h after the first report; give more days, or fewer emergences.'
      )
    emerging.append(site)
  emerging.sort(key=lambda site: site.emergence_hours)
  return [dataclasses.replace(site, noaa=FIRST_NOAA + n) for n, site in enumerate([*emerging, *old])]


def _draw_site(rng: np.random.Generator, settings: DiskSettings, l0: float, sun: Sun) -> Site | None:
  """Draws an emergence; None where it is too weak, or the frames, or the disk, do not show all of it."""
  latitude = _draw_latitude(rng)
  region = _draw_region(rng, latitude, sun)
  hours = rng.uniform(settings.hours[0], settings.hours[-1])
  cmd = rng.uniform(-settings.max_cmd_deg, settings.max_cmd_deg)
  start = settings.first_time.utc.mjd
  enough = hours + region.growth_hours * (logit(REPORT_SHARE) - logit(sun.emergence_fraction))
  report = 24 * (np.ceil(start + enough / 24) - start)
  first, last = hours + FIRST_HOURS, report + HOURS_AFTER_REPORT
  if first < settings.hours[0] or last > settings.hours[-1] or region.flux < LEAST_FLUX * sun.region_mx:
    return None
  if rotated(cmd, first - hours) < -settings.max_cmd_deg or rotated(cmd, last - hours) > settings.max_cmd_deg:
    return None
  longitude = (l0 - rotated(0.0, hours) + cmd) % 360
  return Site(0, float(longitude), latitude, region, float(hours), float(report))


def _draw_latitude(rng: np.random.Generator) -> float:
  """Draws a latitude [deg] as those of a simulated survey."""
  return float(rng.choice([-1, 1]) * np.clip(rng.normal(17, 5), 8, 30))


def _draw_region(rng: np.random.Generator, latitude: float, sun: Sun) -> Region:
  """Draws a region whose middle is its site."""
  return dataclasses.replace(emergence.draw_region(rng, latitude, sun), centre=np.zeros(2))


def _is_apart(site: Site, others: Sequence[Site]) -> bool:
  """Says whether a region is far from others, whenever they are there."""
  one = direction(site.longitude, site.latitude)
  cosines = [one @ direction(other.longitude, other.latitude) for other in others]
  return all(cosine < np.cos(np.deg2rad(APART_DEG)) for cosine in cosines)


# --- What there is ----------------------------------------------------------------------------------------------


def elements(
  settings: DiskSettings, sites: Sequence[Site], l0: float, b0: float, sun: Sun
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Simulates all elements of the Sun, at the times of all frames.

  Args:
    settings: Settings.
    sites: What `plan_sites` returns.
    l0, b0: Carrington longitude and latitude of the disk centre at the first frame [deg].
    sun: Parameters.

  Yields:
    For each frame `[element, 3]` places, unit vectors in Carrington's frame, and `[element]` signed flux [Mx].
  """

  def facing(hours: float) -> np.ndarray:
    return direction(l0 - rotated(0.0, hours), b0)

  hours = settings.hours
  quiet = sphere.draw_sphere(settings.seed, sun.spin_up_hours + hours[-1] + quiet_sun.STEP_HOURS, sun)
  for site in sites:
    if site.emergence_hours is None:
      position, flux = _old_elements(settings.seed, site, sun)
      quiet = quiet.replace(
        surplus_position=np.concatenate([quiet.surplus_position, position]),
        surplus_flux=np.concatenate([quiet.surplus_flux, flux]),
      )
  emerging = [site for site in sites if site.emergence_hours is not None]
  for now, network in zip(hours, sphere.evolve(settings.seed, quiet, hours, facing, sun), strict=True):
    parts = [network, *(emerging_elements(settings.seed, site, now, sun) for site in emerging)]
    yield tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def emerging_elements(seed: int, site: Site, hours: float, sun: Sun) -> tuple[np.ndarray, np.ndarray]:
  """Returns places and flux of the elements of an emerging region at a time since the first frame [h]."""
  rng = np.random.default_rng([seed, ELEMENTS, site.noaa])
  since = np.array([hours - site.emergence_hours])
  found = emergence.emerging_elements(rng, site.region, since, sun)
  return sphere.displaced(direction(site.longitude, site.latitude), found.position[0]), found.flux[0]


def _old_elements(seed: int, site: Site, sun: Sun) -> tuple[np.ndarray, np.ndarray]:
  """Draws places and flux of the elements of an old region: two polarities that have spread and drawn apart."""
  rng = np.random.default_rng([seed, ELEMENTS, site.noaa])
  per_pole = max(1, round(site.region.flux / 2 / sun.mean_element_mx))
  position, flux = [], []
  for sign in (1, -1):
    middle = sign * OLD_DISTANCE_MM / 2 * site.region.axis
    offset = middle + OLD_POLE_MM * rng.normal(size=(per_pole, 2))
    drawn = quiet_sun.draw_element_flux(rng, per_pole, sun)
    position.append(sphere.displaced(direction(site.longitude, site.latitude), offset))
    flux.append(sign * site.region.leading * drawn * (site.region.flux / 2 / np.sum(drawn)))
  return np.concatenate(position), np.concatenate(flux)
