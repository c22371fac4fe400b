"""Unsigned flux of places on the Sun against time: each place is a job of a crew, and its curve is kept.

OUT/plan/curves/<name>.ecsv
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.files import read_table, write_table
from hearjax.observe.averaging import flux_curve
from hearjax.observe.building.cluster import Crew, Job
from hearjax.observe.building.stamps import stamp
from hearjax.observe.sources.frames import Frame, FrameSource, Need
from hearjax.progress import Progress, silent


@dataclasses.dataclass(frozen=True)
class CurveSettings:
  """How the flux of a place is followed; every number is our choice.

  Attributes:
    radius_mm: Distance from the centre of the place within which flux counts [Mm].
    minutes: Time between the frames that are used, at least [min].
    hours_before: How long before the first report a region is followed [h], if its emergence time is not known.
    allow_failed: Go on without the places whose frames cannot be had or read; else they are an error.
  """

  radius_mm: float = 50.0
  minutes: float = 60.0
  hours_before: float = 72.0
  allow_failed: bool = False

  def __post_init__(self) -> None:
    check_positive('radius_mm', self.radius_mm)
    check_positive('hours_before', self.hours_before)
    check_not_negative('minutes', self.minutes)

  @property
  def area_mm2(self) -> float:
    """Of the part of the surface in which flux counts [Mm^2]."""
    return float(np.pi * self.radius_mm**2)


@dataclasses.dataclass(frozen=True)
class Place:
  """A place on the Sun, for some time.

  Attributes:
    name: Of its file.
    longitude, latitude: Heliographic (Carrington) position [deg].
    start_mjd, end_mjd: Begin and end, modified Julian dates (UTC).
  """

  name: str
  longitude: float
  latitude: float
  start_mjd: float
  end_mjd: float

  def need(self, settings: CurveSettings) -> Need:
    """Returns the frames that it needs."""
    return Need(self.longitude, self.latitude, self.start_mjd, self.end_mjd, settings.radius_mm)


def make_curves(
  places: Sequence[Place],
  source: FrameSource,
  folder: pathlib.Path,
  settings: CurveSettings,
  crew: Crew,
  progress: Progress = silent,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Follows the flux of places; what an earlier run has followed is read.

  Args:
    places: The places.
    source: Where frames come from.
    folder: Where the curves are kept.
    settings: How it is done.
    crew: Who does it.
    progress: Goes through the curves that are ready, and may show how far it is.

  Returns:
    Name -> times `[n]` (modified Julian dates, UTC) and unsigned flux `[n]` [Mx]; without the places that failed, where
    that is allowed.

  Raises:
    UserError: The flux of a place cannot be followed.
    OSError: A curve cannot be written, or the scheduler is gone.
  """
  folder = folder.resolve()
  stamps = {place.name: stamp(source, place.need(settings), dataclasses.asdict(settings)) for place in places}
  curves = {place.name: _known(folder / f'{place.name}.ecsv', stamps[place.name]) for place in places}
  missing = [place for place in places if curves[place.name] is None]
  jobs = (
    Job(place.name, place.need(settings), functools.partial(_follow, place, folder, stamps[place.name], settings))
    for place in missing
  )
  failed: dict[str, str] = {}
  for job, outcome in progress(crew.run(jobs, source), total=len(places), initial=len(places) - len(missing)):
    if outcome.reason:
      failed[job.name] = outcome.reason
    else:
      curves[job.name] = _known(folder / f'{job.name}.ecsv', stamps[job.name])
  lacking = sum(curve is None for curve in curves.values())
  if lacking and not (settings.allow_failed and lacking == len(failed)):
    name, reason = next(iter(failed.items()))
    raise UserError(
      f'The flux of {lacking} of {len(places)} places cannot be followed, the first is {name}: {reason.rstrip(".")}; '
      'mend it and run again, or set allow_failed: what is done stays done.'
    )
  return {name: curve for name, curve in curves.items() if curve is not None}


def _follow(place: Place, folder: pathlib.Path, its_stamp: str, settings: CurveSettings, frames: list[Frame]) -> None:
  """Follows the flux of a place and writes its curve."""
  mjd, flux = flux_curve(_thinned(frames, settings.minutes), place.longitude, place.latitude, settings.radius_mm)
  table = Table({'mjd': np.asarray(mjd, np.float64), 'unsigned_flux': np.asarray(flux, np.float64)})
  table['unsigned_flux'].unit = u.Mx
  table.meta = {'stamp': its_stamp, 'longitude': place.longitude, 'latitude': place.latitude}
  write_table(folder / f'{place.name}.ecsv', table)


def _thinned(frames: Sequence[Frame], minutes: float) -> list[Frame]:
  """Returns frames that are some time apart, at least."""
  kept: list[Frame] = []
  for frame in frames:
    if not kept or (frame.mjd - kept[-1].mjd) * 1440 >= minutes - 0.1:  # They are not exactly on time.
      kept.append(frame)
  return kept


def _known(path: pathlib.Path, its_stamp: str) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns a curve that is made of what it should be; None where there is none."""
  if not path.exists():
    return None
  table = read_table(path, 'flux curve')
  if table.meta.get('stamp') != its_stamp:
    return None
  return np.asarray(table['mjd'], np.float64), np.asarray(table['unsigned_flux'], np.float64)
