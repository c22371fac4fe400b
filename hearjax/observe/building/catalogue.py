"""Which regions emerged on the disk: found in the daily reports, or named by the user.

A region stays at its Carrington longitude: that carries its position back to before the first report.
"""

import dataclasses
import os

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time

from hearjax.checks import UserError, check_not_negative
from hearjax.observe.building.columns import no_empty_cell, noaa_numbers, numbers, read_columns, times
from hearjax.observe.building.sightings import disk_centre
from hearjax.solar import SYNODIC_DAYS, separation, wrap_degrees

LISTED = 5  # Regions named in a message.


@dataclasses.dataclass(frozen=True)
class Emerger:
  """A region that emerged on the disk.

  Attributes:
    noaa: NOAA number.
    longitude, latitude: Heliographic (Carrington) position [deg].
    first_report_mjd: When the first report that lists it holds, modified Julian date (UTC); where no report does, its
      emergence time.
    cmd: Central-meridian distance at that time, positive west [deg].
    emergence_mjd: Emergence time, modified Julian date (UTC), None while it is not known.
    flux_mx: Unsigned flux before the emergence [Mx] (`emergence_time.flux_before`), None while it is not known.
  """

  noaa: int
  longitude: float
  latitude: float
  first_report_mjd: float
  cmd: float
  emergence_mjd: float | None = None
  flux_mx: float | None = None


@dataclasses.dataclass(frozen=True)
class CatalogueSettings:
  """Which of the reported regions count as having emerged on the disk, into quiet Sun; every number is our choice.

  Attributes:
    max_cmd_deg: Distance from the central meridian at the first report, at most [deg].
    hours_on_disk: Time between the place's passage over the east limb and the first report, at least [h]: what is
      reported sooner may have come over the limb.
    max_gap_hours: Time between the first report and the one before, which does not list the region, at most [h].
    separation_deg: A region closer than this is at the same place [deg].
    returning_days: So long before the first report no other region may have been reported at the place [d], or it is
      taken for the same that returns; a rotation and half of one. Regions due to return count, too.
    min_reports: Number of reports that list the region, at least.
    needs_spots: Leave out regions that never had spots.
  """

  max_cmd_deg: float = 60.0
  hours_on_disk: float = 48.0
  max_gap_hours: float = 36.0
  separation_deg: float = 10.0
  returning_days: float = 41.0
  min_reports: int = 2
  needs_spots: bool = True

  def __post_init__(self) -> None:
    if not 0 < self.max_cmd_deg <= 90:
      raise UserError(f'The max_cmd_deg must lie between 0 and 90, got {self.max_cmd_deg}.')
    for name in ('hours_on_disk', 'max_gap_hours', 'separation_deg', 'returning_days', 'min_reports'):
      check_not_negative(name, getattr(self, name))


def find_emergers(sightings: Table, settings: CatalogueSettings) -> tuple[list[Emerger], Table]:
  """Finds the regions that first appeared on the disk, away from the limb, where there was no region before.

  Args:
    sightings: What `read_sightings` returns. It should begin `returning_days` before the first region that is wanted:
      what came before it is not known.
    settings: Settings.

  Returns:
    Those regions, sorted by number. A table of the others: `noaa`, `first_report` (ISO, UTC), `latitude`, `longitude`,
    `cmd` [deg], `reason`.
  """
  on_disk = sightings[sightings['section'] != 'II']
  number, reports = np.asarray(on_disk['noaa']), np.asarray(sightings.meta['reports'], float)
  emergers, rejected = [], []
  for noaa in np.unique(number):
    own = on_disk[number == noaa]  # In the order of time.
    first = own[0]
    reason = _objection(own, sightings, reports, settings)
    if reason:
      when = Time(first['mjd'], format='mjd', scale='utc', precision=0).isot
      rejected.append(
        (int(noaa), str(when), *(float(first[name]) for name in ('latitude', 'longitude', 'cmd')), reason)
      )
    else:
      emergers.append(
        Emerger(
          noaa=int(noaa),
          longitude=float(first['longitude']),
          latitude=float(first['latitude']),
          first_report_mjd=float(first['mjd']),
          cmd=float(first['cmd']),
        )
      )
  names, kinds = (
    ('noaa', 'first_report', 'latitude', 'longitude', 'cmd', 'reason'),
    (int, str, float, float, float, str),
  )
  table = Table(rows=rejected or None, names=names, dtype=kinds)
  for name in ('latitude', 'longitude', 'cmd'):
    table[name].unit = u.deg
  return emergers, table


def _objection(own: Table, sightings: Table, reports: np.ndarray, settings: CatalogueSettings) -> str:
  """Says why a region with these sightings is not one that emerged on the disk; empty where it is."""
  first = own[0]
  mjd, cmd = first['mjd'], first['cmd']
  before = reports[reports < mjd]
  if not before.size or 24 * (mjd - before.max()) > settings.max_gap_hours:
    return f'no report within {settings.max_gap_hours:g} h before the first one that lists it'
  if abs(cmd) > settings.max_cmd_deg:
    return f'first reported {abs(cmd):.0f} deg from the central meridian, beyond {settings.max_cmd_deg:g}'
  hours = 24 * SYNODIC_DAYS * (cmd + 90) / 360
  if hours < settings.hours_on_disk:
    return (
      f'first reported {hours:.0f} h after its place came over the east limb, sooner than {settings.hours_on_disk:g}'
    )
  when = np.asarray(sightings['mjd'])
  near = sightings[(when <= mjd) & (when >= mjd - settings.returning_days)]
  distance = separation(first['longitude'], first['latitude'], near['longitude'].data, near['latitude'].data)
  is_other = (near['noaa'] != first['noaa']) | (near['section'] == 'II')
  near = near[(distance < settings.separation_deg) & is_other]
  if len(near):
    other = near[-1]  # The latest one.
    day = Time(other['mjd'], format='mjd').isot[:10]
    return f'lies within {settings.separation_deg:g} deg of where NOAA {other["noaa"]} was reported for {day}'
  if settings.needs_spots and not np.any(own['section'] == 'I'):
    return 'never had spots'
  if len(own) < settings.min_reports:
    return f'listed by {len(own)} report{"s" if len(own) > 1 else ""}, fewer than {settings.min_reports}'
  return ''


def read_emergers(path: str | os.PathLike, sightings: Table | None = None) -> list[Emerger]:
  """Reads a user's table of regions that emerged on the disk.

  Columns: `noaa`; optional `latitude` and `longitude` (Carrington) [deg], `emergence_time` and `first_report_time`
  (ISO, UTC, with their time of day). Where they lack, or a cell of them is empty, position and first report come from
  the sightings. Other columns are ignored with a warning.

  Args:
    path: The table, ECSV, else CSV.
    sightings: What `read_sightings` returns, None where there is none.

  Returns:
    The regions, sorted by number.

  Raises:
    FileNotFoundError: There is no such table.
    UserError: It cannot be read, names a region twice, lacks what the sightings do not tell, or has a region beyond the
      limb.
  """
  known = ('latitude', 'longitude', 'emergence_time', 'first_report_time')
  table = read_columns(path, 'table of emerging regions', ('noaa',), known)
  noaa = noaa_numbers(path, table)
  found, count = np.unique(noaa, return_counts=True)
  if np.any(count > 1):
    raise UserError(f'{path} has NOAA {found[count > 1][0]} twice; remove one of the rows.')
  empty = np.full(len(table), np.nan)

  def angle(name: str, low: float, high: float) -> np.ndarray:
    return numbers(path, table, name, (low, high), u.deg) if name in table.colnames else empty

  def moment(name: str) -> np.ndarray:
    return times(path, table, name) if name in table.colnames else empty

  latitude, longitude = angle('latitude', -90, 90), angle('longitude', -360, 720) % 360
  alone = np.flatnonzero(np.isnan(latitude) != np.isnan(longitude))
  if alone.size:
    raise UserError(f'{path}: NOAA {noaa[alone[0]]} has a latitude or a longitude alone; fill in both, or none.')
  emergence, first = moment('emergence_time'), moment('first_report_time')
  seen_latitude, seen_longitude, seen_mjd = _first_sightings(noaa, sightings)
  is_told = np.isfinite(longitude)
  latitude, longitude = (
    np.where(is_told, told, seen) for told, seen in ((latitude, seen_latitude), (longitude, seen_longitude))
  )
  first = np.where(np.isfinite(first), first, np.where(np.isfinite(seen_mjd), seen_mjd, emergence))
  _refuse_missing(path, 'position', 'latitude and longitude', noaa, longitude, sightings)
  _refuse_missing(path, 'first report', 'first_report_time or emergence_time', noaa, first, sightings)
  cmd = wrap_degrees(longitude - disk_centre(no_empty_cell(path, 'first_report_time', first))[0])
  beyond = np.flatnonzero(np.abs(cmd) > 90)
  if beyond.size:
    row = beyond[0]
    raise UserError(
      f'{path}: NOAA {noaa[row]} is beyond the limb, {abs(cmd[row]):.0f} deg from the central meridian at '
      f'{Time(first[row], format="mjd", precision=0).isot}; look at its Carrington longitude and its time (UTC).'
    )
  return [
    Emerger(
      noaa=int(noaa[row]),
      longitude=float(longitude[row]),
      latitude=float(latitude[row]),
      first_report_mjd=float(first[row]),
      cmd=float(cmd[row]),
      emergence_mjd=float(emergence[row]) if np.isfinite(emergence[row]) else None,
    )
    for row in np.argsort(noaa)
  ]


def _first_sightings(noaa: np.ndarray, sightings: Table | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[n]` each latitude, longitude [deg] and mjd of the first sightings on the disk; NaN of no sighting."""
  latitude, longitude, mjd = np.full((3, len(noaa)), np.nan)
  if sightings is not None:
    on_disk = sightings[sightings['section'] != 'II']
    number, first = np.unique(np.asarray(on_disk['noaa']), return_index=True)
    _, row, of_first = np.intersect1d(noaa, number, return_indices=True)
    for values, name in ((latitude, 'latitude'), (longitude, 'longitude'), (mjd, 'mjd')):
      values[row] = np.asarray(on_disk[name])[first[of_first]]
  return latitude, longitude, mjd


def _refuse_missing(
  path: str | os.PathLike, what: str, columns: str, noaa: np.ndarray, values: np.ndarray, sightings: Table | None
) -> None:
  """Raises UserError where something is not known of all regions (NaN)."""
  absent = noaa[np.isnan(values)]
  if absent.size:
    named = ', '.join(str(number) for number in absent[:LISTED]) + (' …' if absent.size > LISTED else '')
    reports = 'there are no reports' if sightings is None else 'the reports do not list them'
    raise UserError(
      f'{path} does not tell the {what} of {absent.size} of {noaa.size} regions (NOAA {named}), and {reports}: add the '
      f'columns {columns}, or give the Solar Region Summaries of their time.'
    )
