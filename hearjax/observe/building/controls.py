"""Control regions: places like those of the emerging regions, at other times, where nothing emerges."""

import dataclasses
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from scipy.optimize import linear_sum_assignment

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.observe.building.catalogue import Emerger
from hearjax.observe.building.sightings import disk_centre
from hearjax.solar import mu, separation, wrap_degrees
from hearjax.survey.intervals import CENTRE_HOURS, end_hours, start_hours

# A region is looked at from the begin of TI-05 to the end of TI+01 [d], relative to its emergence time.
WINDOW_DAYS = (start_hours(min(CENTRE_HOURS)) / 24, end_hours(max(CENTRE_HOURS)) / 24)
LONGEST_PAUSE_DAYS = 1.5  # Between two reports; our choice: none of them may lack.
# Places that are tried at one time, in units of the tolerances of latitude and central-meridian distance.
JITTER = ((0.0, 0.0), (0.5, 0.5), (-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5))
TIMES_AT_ONCE = 16  # Few are needed as a rule.
COLUMNS = ('noaa', 'mjd', 'latitude', 'longitude', 'cmd', 'b0', 'mu', 'flux_mx')
LISTED = 5  # Regions named in a message.


@dataclasses.dataclass(frozen=True)
class ControlSettings:
  """How control regions are chosen.

  Attributes:
    latitude_tolerance_deg: Largest difference of latitude in a pair [deg]; our choice.
    cmd_tolerance_deg: Largest difference of the distance from the central meridian in a pair [deg]; our choice.
    mu_tolerance: Largest difference of mu, the cosine of the heliocentric angle, in a pair; our choice.
    flux_tolerance_dex: Largest difference of log10 of the unsigned flux before, where it is known; our choice.
    separation_deg: No NOAA region, and no other region of the survey at the same time, lies so near to the centre of a
      control region [deg] (Schunker et al. 2016, A&A 595, A107: no strong emerging flux within 10 deg).
    margin_hours: That holds for so long before and after the time for which it is looked at, too [h]: a region shows
      before it is reported, and stays after the last report. Our choice.
    step_hours: Times are tried at this distance from each other [h]; whole days keep the velocity of SDO. Our choice.
    candidates: Candidates proposed for each region, at most; our choice.
    allow_unmatched: Leave out regions for which there is no control region; else they are an error.
  """

  latitude_tolerance_deg: float = 2.0
  cmd_tolerance_deg: float = 2.0
  mu_tolerance: float = 0.05
  flux_tolerance_dex: float = 0.3
  separation_deg: float = 10.0
  margin_hours: float = 48.0
  step_hours: float = 24.0
  candidates: int = 10
  allow_unmatched: bool = False

  def __post_init__(self) -> None:
    for name in (
      'latitude_tolerance_deg',
      'cmd_tolerance_deg',
      'mu_tolerance',
      'flux_tolerance_dex',
      'step_hours',
      'candidates',
    ):
      check_positive(name, getattr(self, name))
    for name in ('separation_deg', 'margin_hours'):
      check_not_negative(name, getattr(self, name))


def emerger_places(emergers: Sequence[Emerger]) -> Table:
  """Returns where emerging regions are at their emergence times, sorted by number.

  Returns:
    `noaa`; `mjd` (UTC); `latitude`, `longitude` (Carrington), `cmd`, `b0` [deg]; `mu`; `flux_mx`, NaN where it is not
    known.

  Raises:
    UserError: There is no region, or one without its emergence time.
  """
  if not emergers:
    raise UserError(
      'There is no emerging region to find a control for; loosen what counts as one, or give more reports.'
    )
  absent = next((emerger.noaa for emerger in emergers if emerger.emergence_mjd is None), None)
  if absent is not None:
    raise UserError(
      f'The emergence time of NOAA {absent} is not known; a control region needs it: leave the region out.'
    )
  emergers = sorted(emergers, key=lambda emerger: (emerger.noaa, emerger.emergence_mjd))
  mjd, latitude, longitude = (
    np.array([getattr(emerger, name) for emerger in emergers]) for name in ('emergence_mjd', 'latitude', 'longitude')
  )
  l0, b0 = disk_centre(mjd)
  flux = [np.nan if emerger.flux_mx is None else emerger.flux_mx for emerger in emergers]
  noaa = np.array([emerger.noaa for emerger in emergers])
  return _places(noaa, mjd, latitude, longitude, wrap_degrees(longitude - l0), b0, np.array(flux))


def propose_controls(
  emergers: Sequence[Emerger],
  sightings: Table | None,
  start_mjd: float,
  end_mjd: float,
  settings: ControlSettings,
) -> Table:
  """Proposes control regions: where each emerging region was on the disk, at other times, nearest in time first.

  Nearness in time keeps season, B0 and instrument alike. Where the very place is not free, some around it are tried,
  within half the tolerances.

  Args:
    emergers: Regions with their emergence times.
    sightings: What `read_sightings` returns; None where there are no reports, so that nothing keeps NOAA regions out.
    start_mjd, end_mjd: The time of which there are frames, modified Julian dates (UTC).
    settings: Settings.

  Returns:
    A row for each candidate, with the columns of `emerger_places`: `noaa` is the region that it was proposed for, `mjd`
    the reference time that stands for the emergence. The caller may fill in `flux_mx`, and remove rows.

  Raises:
    UserError: An emergence time is not known, or the time of the frames is no time.
  """
  if not start_mjd < end_mjd:
    raise UserError(f'The time of the frames must begin before it ends, got {start_mjd} to {end_mjd} (MJD, UTC).')
  regions = emerger_places(emergers)
  if sightings is None:
    warnings.warn('Without reports nothing keeps NOAA regions out of the control regions.', stacklevel=2)
  busy = _busy(regions, sightings, settings)
  found = []
  for region in regions:
    places = _free_places(region, busy, sightings, (start_mjd, end_mjd), settings)
    rows = np.array(list(itertools.islice(places, settings.candidates))).reshape(-1, 5)
    unknown = np.full(len(rows), np.nan)
    found.append(_places(np.full(len(rows), region['noaa']), *rows.T, unknown))
  return vstack([regions[:0], *found])


class _Busy(NamedTuple):
  """`[n]` each place on the Sun [deg] that is taken for some time (mjd)."""

  latitude: np.ndarray
  longitude: np.ndarray
  start: np.ndarray
  end: np.ndarray


def _busy(regions: Table, sightings: Table | None, settings: ControlSettings) -> _Busy:
  """Returns where NOAA regions are, with the margins, and where the emerging regions of the survey are looked at."""
  taken = [(regions, *WINDOW_DAYS)]
  if sightings is not None:
    taken.append((sightings, -settings.margin_hours / 24, settings.margin_hours / 24))
  latitude, longitude, start, end = [], [], [], []
  for table, before, after in taken:
    mjd = np.asarray(table['mjd'], float)
    latitude.append(np.asarray(table['latitude'], float))
    longitude.append(np.asarray(table['longitude'], float))
    start.append(mjd + before)
    end.append(mjd + after)
  return _Busy(*map(np.concatenate, (latitude, longitude, start, end)))


def _free_places(
  region: Table.Row, busy: _Busy, sightings: Table | None, span: tuple[float, float], settings: ControlSettings
) -> Iterator[tuple[float, float, float, float, float]]:
  """Yields mjd, latitude, longitude, cmd and B0 of places like that of a region that are free, one at each time."""
  north, west = np.transpose(JITTER)
  latitude = region['latitude'] + north * settings.latitude_tolerance_deg
  cmd = region['cmd'] + west * settings.cmd_tolerance_deg
  for mjd in _other_times(region['mjd'], span, settings.step_hours / 24):
    mjd = mjd[_are_reported(mjd, sightings, settings)]
    for time, l0, b0 in zip(mjd, *disk_centre(mjd), strict=True) if mjd.size else ():
      longitude = (l0 + cmd) % 360
      now = (busy.start < time + WINDOW_DAYS[1]) & (busy.end > time + WINDOW_DAYS[0])
      distance = separation(longitude[:, None], latitude[:, None], busy.longitude[now], busy.latitude[now])
      free = np.flatnonzero(np.all(distance >= settings.separation_deg, axis=1) & (np.abs(latitude) < 90))
      if free.size:
        yield time, latitude[free[0]], longitude[free[0]], cmd[free[0]], b0


def _other_times(mjd: float, span: tuple[float, float], step: float) -> Iterator[np.ndarray]:
  """Yields times within the frames, some days from another one, the nearest first and later before earlier."""
  steps = np.arange(1, int(max(span[1] - mjd, mjd - span[0], 0) / step) + 2)
  times = mjd + step * np.stack([steps, -steps], axis=1).ravel()
  times = times[(times + WINDOW_DAYS[0] >= span[0]) & (times + WINDOW_DAYS[1] <= span[1])]
  for first in range(0, len(times), TIMES_AT_ONCE):
    yield times[first : first + TIMES_AT_ONCE]


def _are_reported(mjd: np.ndarray, sightings: Table | None, settings: ControlSettings) -> np.ndarray:
  """Returns `[n]` whether reports cover the windows of regions, and their margins, without a pause."""
  if sightings is None:
    return np.ones(len(mjd), bool)
  reports = np.asarray(sightings.meta['reports'], float)
  margin = settings.margin_hours / 24
  earlier = np.searchsorted(reports, mjd + WINDOW_DAYS[0] - margin, side='right') - 1
  later = np.searchsorted(reports, mjd + WINDOW_DAYS[1] + margin)
  inside = (earlier >= 0) & (later < len(reports))
  pauses = np.concatenate([[0], np.cumsum(np.diff(reports) > LONGEST_PAUSE_DAYS)])
  inside[inside] = pauses[later[inside]] == pauses[earlier[inside]]
  return inside


def match_controls(emergers: Sequence[Emerger], candidates: Table, settings: ControlSettings) -> Table:
  """Gives each emerging region a control region of its own, so that the pairs differ least in all.

  The cost of a pair is the sum of the squares of its differences in latitude, distance from the central meridian, mu
  and, where known, log10 of the unsigned flux before, each in units of its tolerance; beyond one tolerance the two are
  no pair. Of two chosen control regions that overlap in place and time the worse is struck off, and all are matched
  again. The order of the arguments does not matter.

  Args:
    emergers: Regions with their emergence times.
    candidates: What `propose_controls` returns, `flux_mx` filled in or not.
    settings: Settings.

  Returns:
    A row for each pair: `pair_id`; the columns of `emerger_places` after `ear_` and `cr_`, but for `cr_noaa`; `cost`.

  Raises:
    UserError: There are too few candidates, unless regions may be left out: then there is a warning, and an error where
      all are.
  """
  regions = emerger_places(emergers)
  order = np.lexsort([np.asarray(candidates[name]) for name in ('longitude', 'latitude', 'mjd')])
  candidates = candidates[order]
  cost = _costs(regions, candidates, settings)
  while True:
    ear, control = _assign(cost)
    clash = _worse_of_clash(candidates[control], cost[ear, control], settings)
    if clash is None:
      break
    cost[:, control[clash]] = np.inf
  _tell_unmatched(regions, ear, len(candidates), settings)
  pairs = Table({'pair_id': [f'ar{noaa}' for noaa in regions['noaa'][ear]]})
  for kind, rows in (('ear', regions[ear]), ('cr', candidates[control])):
    for name in COLUMNS:
      if (kind, name) != ('cr', 'noaa'):
        pairs[f'{kind}_{name}'] = rows[name]
  pairs['cost'] = cost[ear, control]
  return pairs


def _costs(regions: Table, candidates: Table, settings: ControlSettings) -> np.ndarray:
  """Returns `[region, candidate]` costs; infinite where the two are no pair."""

  def difference(name: str, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
    first, second = (change(np.asarray(table[name], float)) for table in (regions, candidates))
    return np.abs(first[:, None] - second)

  dex = np.nan_to_num(difference('flux_mx', lambda flux: np.log10(np.where(flux > 0, flux, np.nan))))  # Unknown: none.
  scaled = np.stack(
    [
      difference('latitude') / settings.latitude_tolerance_deg,
      difference('cmd', np.abs) / settings.cmd_tolerance_deg,
      difference('mu') / settings.mu_tolerance,
      dex / settings.flux_tolerance_dex,
    ]
  )
  return np.where(np.all(scaled <= 1 + 1e-9, axis=0), np.sum(scaled**2, axis=0), np.inf)


def _assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[pair]` indices of regions and candidates: as many pairs as there can be, at the least cost in all."""
  allowed = np.isfinite(cost)
  # A pair that is none costs more than all that are.
  ear, control = linear_sum_assignment(np.where(allowed, cost, 1 + np.sum(cost.max(axis=1, initial=0, where=allowed))))
  is_pair = allowed[ear, control]
  return ear[is_pair], control[is_pair]


def _worse_of_clash(chosen: Table, cost: np.ndarray, settings: ControlSettings) -> int | None:
  """Returns which of the chosen control regions is the most costly one that overlaps another, None where none does."""
  mjd, longitude, latitude = (np.asarray(chosen[name], float) for name in ('mjd', 'longitude', 'latitude'))
  near = separation(longitude[:, None], latitude[:, None], longitude, latitude) < settings.separation_deg
  near &= np.abs(mjd[:, None] - mjd) < WINDOW_DAYS[1] - WINDOW_DAYS[0]
  np.fill_diagonal(near, False)
  clashes = np.flatnonzero(np.any(near, axis=1))
  return int(clashes[np.argmax(cost[clashes])]) if clashes.size else None


def _tell_unmatched(regions: Table, ear: np.ndarray, n_candidates: int, settings: ControlSettings) -> None:
  """Raises UserError, or warns, where regions are without a control region."""
  without = np.delete(np.asarray(regions['noaa']), ear)
  if not without.size:
    return
  named = ', '.join(str(noaa) for noaa in without[:LISTED]) + (' …' if without.size > LISTED else '')
  said = (
    f'too few candidates for controls: of {len(regions)} regions {without.size} get none out of {n_candidates} '
    f'candidates (NOAA {named})'
  )
  if ear.size and settings.allow_unmatched:
    warnings.warn(f'There are {said}; they are left out.', stacklevel=3)
    return
  raise UserError(
    f'There are {said}; loosen latitude_tolerance_deg, cmd_tolerance_deg, mu_tolerance or flux_tolerance_dex, shorten '
    'step_hours, raise candidates, or give frames and reports of a longer time'
    + ('.' if settings.allow_unmatched else ', or set allow_unmatched to leave these regions out.')
  )


def _places(
  noaa: np.ndarray,
  mjd: np.ndarray,
  latitude: np.ndarray,
  longitude: np.ndarray,
  cmd: np.ndarray,
  b0: np.ndarray,
  flux: np.ndarray,
) -> Table:
  """Returns a table of places with the columns COLUMNS."""
  values = (noaa, mjd, latitude, longitude, cmd, b0, mu(cmd, latitude, b0), flux)
  table = Table(dict(zip(COLUMNS, values, strict=True)))
  for name in ('latitude', 'longitude', 'cmd', 'b0'):
    table[name].unit = u.deg
  return table
