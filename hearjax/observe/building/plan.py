"""From a catalogue to a region table: when its regions emerged, and control regions for them.

Both need the flux of places on the Sun over some time, which comes from frames: one curve is one job of a crew
(`observe.building.cluster`), and is kept, so that a plan that was interrupted goes on where it was.

    OUT/regions.ecsv           the region table, as `observe.region_table` reads it
    OUT/plan/rejected.ecsv     regions of the catalogue that are left out, and why
    OUT/plan/pairs.ecsv        the pairs, with the flux before
    OUT/plan/balance.ecsv      how alike the two classes are
    OUT/plan/curves/*.ecsv     unsigned flux against time
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.files import plain, read_table, write_table
from hearjax.observe.building.catalogue import CatalogueSettings, Emerger, find_emergers, read_emergers
from hearjax.observe.building.cluster import Crew
from hearjax.observe.building.controls import WINDOW_DAYS, ControlSettings, match_controls, propose_controls
from hearjax.observe.building.curves import CurveSettings, Place, make_curves
from hearjax.observe.building.emergence_time import EmergenceSettings, emergence_time, flux_before, is_quiet
from hearjax.observe.building.pair_tables import control_balance, region_table
from hearjax.observe.building.sightings import read_sightings
from hearjax.observe.building.stamps import digest, query
from hearjax.observe.region_table import Region, read_regions
from hearjax.observe.sources.frames import FolderSource, FrameSource
from hearjax.progress import Progress, silent
from hearjax.survey.intervals import WINDOW_HOURS

REGIONS = 'regions.ecsv'
MARGIN_DAYS = (
  60.0  # Around emerging regions: where neither frames nor reports limit the time, controls are sought there.
)
REJECTED = ('noaa', 'first_report', 'latitude', 'longitude', 'cmd', 'reason')


@dataclasses.dataclass(frozen=True)
class PlanSettings:
  """How regions are chosen.

  Attributes:
    catalogue: Which regions count as having emerged on the disk.
    emergence: How the emergence time is told.
    controls: How control regions are chosen.
    curves: How the flux of a place is followed.
  """

  catalogue: CatalogueSettings = dataclasses.field(default_factory=CatalogueSettings)
  emergence: EmergenceSettings = dataclasses.field(default_factory=EmergenceSettings)
  controls: ControlSettings = dataclasses.field(default_factory=ControlSettings)
  curves: CurveSettings = dataclasses.field(default_factory=CurveSettings)


@dataclasses.dataclass(frozen=True)
class Catalogue:
  """Regions that emerged on the disk, as the user names them or as they are found.

  Attributes:
    emergers: The regions.
    sightings: Reports of all regions; None where there are none.
    rejected: Those that are left out, and why.
  """

  emergers: list[Emerger]
  sightings: Table | None
  rejected: Table


def read_catalogue(
  reports: str | os.PathLike | None, emergers: str | os.PathLike | None, settings: CatalogueSettings
) -> Catalogue:
  """Reads which regions emerged.

  Args:
    reports: Solar Region Summaries or a table of sightings; None for none.
    emergers: A user's table of regions that emerged; found in the reports for None.
    settings: How they are found.

  Raises:
    FileNotFoundError: One of them is not there.
    UserError: One of them cannot be read, or no region emerged.
  """
  sightings = read_sightings(reports) if reports else None
  if emergers:
    return Catalogue(read_emergers(emergers, sightings), sightings, _rejected([]))
  found, rejected = find_emergers(sightings, settings)
  if not found:
    reasons = np.asarray(rejected['reason'], str).tolist()
    told = f'; of {len(reasons)} others the first is left out since it was {reasons[0]}' if reasons else ''
    raise UserError(f'{reports} has no region that emerged on the disk{told}.')
  return Catalogue(found, sightings, rejected)


def plan_regions(
  catalogue: Catalogue,
  source: FrameSource,
  out: pathlib.Path,
  settings: PlanSettings,
  crew: Crew,
  progress: Progress = silent,
) -> list[Region]:
  """Makes the region table of a survey, or reads the one that an earlier run has made of the same.

  Args:
    catalogue: Regions that emerged.
    source: Where frames come from.
    out: Folder of the survey.
    settings: How regions are chosen.
    crew: Who follows their flux.
    progress: Goes through the curves of flux that are ready, several times, and may show how far it is.

  Returns:
    Both regions of every pair, sorted by pair.

  Raises:
    UserError: No region is left, or there are too few control regions; or the flux of a place cannot be followed.
    OSError: A table cannot be written, or the scheduler is gone.
  """
  path, folder = out / REGIONS, out / 'plan'
  reports = [] if catalogue.sightings is None else np.asarray(catalogue.sightings['mjd', 'noaa'].as_array()).tolist()
  span = _span(catalogue, source)
  stamp = digest(plain(catalogue.emergers), reports, span, query(source), plain(settings))
  if path.exists():
    if read_table(path, 'region table').meta.get('plan', {}).get('stamp') == stamp:
      return read_regions(path)
    raise FileExistsError(
      f'{path} was planned with another catalogue, other frames or settings; name it as the region table to use, name '
      'another folder, or remove it.'
    )
  emergers, rejected = _emerged(catalogue.emergers, source, folder / 'curves', settings, crew, progress)
  rejected = vstack([catalogue.rejected, rejected])
  write_table(folder / 'rejected.ecsv', rejected)
  if not emergers:
    raise UserError(
      f'None of the {len(rejected)} regions of the catalogue can be used: NOAA {rejected["noaa"][-1]} '
      f'{rejected["reason"][-1]}; {folder / "rejected.ecsv"} tells of all.'
    )
  pairs = _choose_controls(emergers, catalogue.sightings, span, source, folder / 'curves', settings, crew, progress)
  write_table(folder / 'pairs.ecsv', pairs)
  write_table(folder / 'balance.ecsv', control_balance(pairs))
  table = region_table(pairs)
  table.meta['plan'] = {'stamp': stamp, **query(source), **plain(settings)}
  write_table(path, table)
  return read_regions(path)


def _span(catalogue: Catalogue, source: FrameSource) -> tuple[float, float]:
  """Returns the time in which control regions are sought (mjd): that of the frames, else that of the reports."""
  if isinstance(source, FolderSource):
    mjd = source.index.mjd
  elif catalogue.sightings is not None:
    mjd = np.asarray(catalogue.sightings.meta['reports'], float)
  else:
    first = np.array([emerger.first_report_mjd for emerger in catalogue.emergers])
    mjd = np.array([first.min() - MARGIN_DAYS, first.max() + MARGIN_DAYS])
  return float(mjd.min()), float(mjd.max())


# --- When they emerged ----------------------------------------------------------------------------------------------


def _emerged(
  emergers: Sequence[Emerger],
  source: FrameSource,
  folder: pathlib.Path,
  settings: PlanSettings,
  crew: Crew,
  progress: Progress,
) -> tuple[list[Emerger], Table]:
  """Returns the regions that emerged into quiet Sun, with time and flux before, and a table of the others."""
  places = {emerger: _place(emerger, settings) for emerger in emergers}
  curves = make_curves(list(places.values()), source, folder, settings.curves, crew, progress)
  found, rejected = [], []
  for emerger, place in places.items():
    curve = curves.get(place.name)
    timed, reason = (None, 'has frames that cannot be used') if curve is None else _timed(emerger, *curve, settings)
    if reason:
      rejected.append((emerger, reason))
    else:
      found.append(timed)
  return found, _rejected(rejected)


def _place(emerger: Emerger, settings: PlanSettings) -> Place:
  """Returns the place and time of which the flux tells the emergence time, or the flux before a known one."""
  if emerger.emergence_mjd is None:
    start = emerger.first_report_mjd - settings.curves.hours_before / 24
    end = emerger.first_report_mjd + settings.emergence.hours_after / 24
  else:
    start, end = (emerger.emergence_mjd + days for days in WINDOW_DAYS)
  return Place(f'ar{emerger.noaa}', emerger.longitude, emerger.latitude, start, end)


def _timed(emerger: Emerger, mjd: np.ndarray, flux: np.ndarray, settings: PlanSettings) -> tuple[Emerger, str]:
  """Returns a region with emergence time and flux before, and why it cannot be used; '' if it can."""
  when = emerger.emergence_mjd
  if when is None:
    emergence = emergence_time(mjd, flux, emerger.first_report_mjd, settings.emergence)
    if emergence.mjd is None:
      return emerger, emergence.reason
    when = emergence.mjd
  before = flux_before(mjd, flux, when)
  if before is None:
    return emerger, 'lacks frames a day before it emerged'
  if not is_quiet(before, settings.curves.area_mm2, settings.emergence):
    return emerger, f'emerged into strong field, {before:.2g} Mx within {settings.curves.radius_mm:g} Mm'
  return dataclasses.replace(emerger, emergence_mjd=when, flux_mx=before), ''


def _rejected(rows: Sequence[tuple[Emerger, str]]) -> Table:
  """Returns regions that are left out, and why, as `find_emergers` does."""
  told = [
    (one.noaa, Time(one.first_report_mjd, format='mjd', precision=0).isot, one.latitude, one.longitude, one.cmd, reason)
    for one, reason in rows
  ]
  table = Table(rows=told or None, names=REJECTED, dtype=(int, str, float, float, float, str))
  for name in ('latitude', 'longitude', 'cmd'):
    table[name].unit = u.deg
  return table


# --- Control regions ------------------------------------------------------------------------------------------------


def _choose_controls(
  emergers: Sequence[Emerger],
  sightings: Table | None,
  span: tuple[float, float],
  source: FrameSource,
  folder: pathlib.Path,
  settings: PlanSettings,
  crew: Crew,
  progress: Progress,
) -> Table:
  """Returns matched pairs of which the control region is quiet all the time, with the flux before of both.

  Only the flux of those is followed that are chosen by their place; what is not quiet, or unlike its region in flux, is
  struck off, and all are matched again.
  """
  candidates = propose_controls(emergers, sightings, *span, settings.controls)
  names = [_name(row['mjd'], row['longitude'], row['latitude']) for row in candidates]
  flux: dict[str, float] = {}  # Flux before of those that were looked at, NaN where it is no quiet Sun.
  struck: set[str] = set()
  while True:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # The last matching tells what is left out.
      usable = candidates[[name not in struck for name in names]]
      pairs = match_controls(emergers, usable, settings.controls)
    chosen = [_name(*place) for place in pairs['cr_mjd', 'cr_longitude', 'cr_latitude'].iterrows()]
    new = [_window(name, row) for name, row in zip(chosen, pairs, strict=True) if name not in flux]
    curves = make_curves(new, source, folder, settings.curves, crew, progress)
    for place in new:
      flux[place.name] = _quiet_flux(place, curves.get(place.name), settings)
    apart = np.abs(np.log10([flux[name] for name in chosen]) - np.log10(pairs['ear_flux_mx']))
    bad = {name for name, dex in zip(chosen, apart, strict=True) if not dex <= settings.controls.flux_tolerance_dex}
    if not bad:
      break
    struck |= bad
  is_usable = [name in flux and name not in struck for name in names]
  usable = candidates[is_usable]
  usable['flux_mx'] = [flux[name] for name, is_in in zip(names, is_usable, strict=True) if is_in]
  return match_controls(emergers, usable, settings.controls)


def _name(mjd: float, longitude: float, latitude: float) -> str:
  """Returns what a candidate is called."""
  return f'cr{mjd:.3f}_{longitude:05.1f}_{latitude:+05.1f}'


def _window(name: str, pair: Table.Row) -> Place:
  """Returns the place of a control region, for all the time in which it is looked at."""
  start, end = (float(pair['cr_mjd']) + days for days in WINDOW_DAYS)
  return Place(name, float(pair['cr_longitude']), float(pair['cr_latitude']), start, end)


def _quiet_flux(place: Place, curve: tuple[np.ndarray, np.ndarray] | None, settings: PlanSettings) -> float:
  """Returns the flux before of a control region [Mx]; NaN where it is not known, or the place is not quiet in the end.

  The first and the last interval of its window are looked at: what emerges in between is still there.
  """
  if curve is None:
    return np.nan
  reference = place.start_mjd - WINDOW_DAYS[0]
  before = flux_before(*curve, reference)
  mjd, flux = curve
  last = flux[(mjd >= place.end_mjd - WINDOW_HOURS / 24) & np.isfinite(flux)]
  if before is None or not last.size:
    return np.nan
  is_calm = is_quiet(max(before, float(last.mean())), settings.curves.area_mm2, settings.emergence)
  return before if is_calm else np.nan
