"""Scans disks with the trained members of a work directory: maps of emergence probability, alarms, places over time.

What is scanned are full-disk magnetograms (--fits, files, patterns or folders; parts of a disk will do), those that
arrive in a folder (--watch), or the disk that is made from a synoptic map of the radial field (--synoptic, --date).
Each gives a FITS file that opens as sunpy Maps on the magnetogram (probability, spread of the members, mu, what lies
outside the training domain), and a picture. An alarm is a local maximum of the probability at or above --threshold.

hearjax scan --workdir=work --fits=hmi.M_720s.fits --out=scan
"""

import dataclasses
import pathlib
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from hearjax.checks import UserError
from hearjax.files import visible_files, write_table
from hearjax.forecast.disk_settings import DiskSettings, HistorySettings
from hearjax.progress import meter, say
from hearjax.training.ensemble import Ensemble
from hearjax.verification.scores import BALANCED, at_prior

from . import cli, score

ALARMS, PLACES, HISTORY, WARNINGS = 'alarms.ecsv', 'places.ecsv', 'history.ecsv', 'emergences.ecsv'
HISTORY_PICTURE = 'history.png'
MAP_SUFFIX = '.emergence.fits'
SHOWN_ROWS = 20  # A longer table is no reading.
SHOWN = {
  'file': None,
  'place': None,
  'longitude': '.2f',
  'latitude': '.2f',
  'cmd': '.1f',
  'mu': '.2f',
  'probability': '.3f',
  'probability_std': '.3f',
  'noaa': None,
}
BEST = ['longitude', 'latitude', 'probability', 'outside']  # Told of the highest place.


@dataclasses.dataclass(frozen=True)
class Scanned:
  """What is kept of a frame: its map stays on disk."""

  path: pathlib.Path
  file: str
  time: str
  map_path: pathlib.Path
  alarms: Table
  notes: str


def define_flags(flags: cli.Flags) -> None:
  flags.common('workdir', 'overwrite')
  flags.paths('fits', 'FITS magnetogram, a quoted pattern such as "*.fits", or a folder; may be repeated.')
  flags.path('watch', None, 'Folder to scan what is in it, and then what arrives.')
  flags.number('watch_seconds', None, 'How long to watch [s]; until Ctrl-C without it.', lower_bound=0.0)
  flags.string('pattern', '*.fits', 'Names of the files in folders.')
  flags.path('synoptic', None, 'Synoptic map of the radial field (HDF5) to make the disk from.')
  flags.string('date', None, 'When that disk is seen from the Earth, such as 2022-01-05T00:00:00.')
  flags.path('sightings', None, 'Folder of Solar Region Summaries, or a table: NOAA numbers for pictures and alarms.')
  flags.path('emergences', None, 'Table of known emergences: noaa, emergence_time, longitude (Carrington), latitude.')
  flags.number('prior', BALANCED, 'Share of places that emerge, for which the probabilities hold; half in training.')
  flags.number('threshold', None, 'Least probability of an alarm, in such a set; without it the one of the training.')
  flags.number('distance_mm', 50.0, 'An alarm is the highest place within this distance [Mm].', lower_bound=0.0)
  flags.settings(DiskSettings, max_angle_deg='max_angle')
  flags.settings(HistorySettings)
  flags.path('out', None, 'Folder for the maps, pictures and tables.')
  flags.require('workdir', 'out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  from hearjax.forecast.disk_alarms import check_threshold  # Only here: what is imported so needs sunpy.

  given = [name for name in ('fits', 'watch', 'synoptic') if getattr(flags, name)]
  if len(given) != 1:
    raise UserError('Name one kind of source: --fits=FILE or FOLDER, --watch=FOLDER, or --synoptic=FILE with --date.')
  flags.build(DiskSettings), flags.build(HistorySettings)
  at_prior(0.5, flags.prior)
  if flags.synoptic:
    seen_at(flags)
  out = pathlib.Path(flags.out)
  paths = None if flags.watch else [pathlib.Path(flags.synoptic)] if flags.synoptic else find_files(flags, out)
  pictures = name_products(out, paths or [], '.png')
  tables = [out / name for name in (ALARMS, PLACES, HISTORY)]
  cli.check_unused(flags, *tables, *pictures, *name_products(out, paths or [], MAP_SUFFIX))
  known = read_known(flags)
  source = watched(flags, out) if flags.watch else meter('scanning', 'frame')(paths)
  members = Ensemble.load(flags.workdir)
  threshold = float(at_prior(members.threshold, flags.prior)) if flags.threshold is None else flags.threshold
  check_threshold(threshold)
  scanned: dict[pathlib.Path, Scanned] = {}
  failed: dict[pathlib.Path, str] = {}
  try:
    for path in source:
      try:
        scanned[path] = scan_file(members, path, flags, threshold, known)
        failed.pop(path, None)
        say(describe(scanned[path]))
        if flags.watch:
          write_tables(out, scanned, flags, known)
      except (UserError, OSError) as error:
        failed[path] = ' '.join(str(error).split())
        say(f'error: {failed[path]}', sys.stderr)
  except KeyboardInterrupt:
    if not flags.watch:  # That is how a watch ends.
      raise
    print('The watch is over.')
  finally:  # Whatever happens to a later file, what was computed is kept.
    if scanned:
      alarms = write_tables(out, scanned, flags, known)
  if scanned:
    write_history(out, scanned, alarms, threshold, members.domain, flags, known)
    print_scan(scanned, alarms, members.domain, out, threshold, flags.prior)
  elif flags.watch and not failed:
    print(f'No file {flags.pattern} arrived in {flags.watch}.')
  if failed:
    sys.exit(f'error: {len(failed)} of {len(scanned) + len(failed)} files could not be scanned.')


# --- What is scanned --------------------------------------------------------------------------------------------------


def find_files(flags: cli.Flags, out: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files that paths, patterns and folders name, each once.

  Raises:
    UserError: A pattern matches nothing, a folder holds no such file, or it is the one that is written to.
  """
  paths: list[pathlib.Path] = []
  for name in flags.fits:
    folder = pathlib.Path(name)
    if folder.is_dir():
      check_apart(folder, out, 'fits')
      found = visible_files(folder, flags.pattern)
      if not found:
        raise UserError(f'{folder} holds no file {flags.pattern}; name another folder, or --pattern.')
      paths += found
    else:
      paths += score.find_files([name])
  return list(dict.fromkeys(paths))


def watched(flags: cli.Flags, out: pathlib.Path) -> Iterator[pathlib.Path]:
  from hearjax.observe.sources.arrivals import arrivals

  folder = pathlib.Path(flags.watch)
  check_apart(folder, out, 'watch')
  return arrivals(folder, flags.pattern, flags.watch_seconds)


def check_apart(folder: pathlib.Path, out: pathlib.Path, flag: str) -> None:
  """Raises UserError where the maps would be written into the folder from which magnetograms are read."""
  if folder.resolve() == out.resolve():
    raise UserError(f'--out and --{flag} are one folder, whose maps would be scanned in turn; write to another one.')


def name_products(out: pathlib.Path, paths: list[pathlib.Path], suffix: str) -> list[pathlib.Path]:
  """Returns where a product of every file goes.

  Raises:
    UserError: Two files have the same name.
  """
  names = [stem(path) + suffix for path in paths]
  twice = [path.name for path, name in zip(paths, names, strict=True) if names.count(name) > 1]
  if twice:
    raise UserError(f'Several files are called {twice[0]}; scan them into separate folders.')
  return [out / name for name in names]


def stem(path: pathlib.Path) -> str:
  """Returns the name of a file without what says that it is FITS."""
  return re.sub(r'\.(fits|fts|fit|h5)(\.fz|\.gz)?$', '', path.name)


def read_known(flags: cli.Flags) -> dict[str, Any]:
  """Returns the tables of --sightings and --emergences, as far as they are given."""
  known: dict[str, Any] = {}
  if flags.sightings:
    from hearjax.observe.building.sightings import read_sightings

    known['sightings'] = read_sightings(flags.sightings)
  if flags.emergences:
    from hearjax.observe.building.catalogue import read_emergers

    emergers = [one for one in read_emergers(flags.emergences, known.get('sightings')) if one.emergence_mjd is not None]
    if not emergers:
      raise UserError(f'{flags.emergences} tells no emergence_time.')
    columns = {'noaa': 'noaa', 'longitude': 'longitude', 'latitude': 'latitude', 'emergence_mjd': 'mjd'}
    known['emergences'] = Table({new: [getattr(one, old) for one in emergers] for old, new in columns.items()})
  return known


def read_disk(path: pathlib.Path, flags: cli.Flags) -> Any:
  """Returns the magnetogram of a file; the disk that is made from a synoptic map is written beside the products."""
  if not flags.synoptic:
    from hearjax.observe.magnetogram import read_magnetogram

    return read_magnetogram(path)
  from hearjax.observe.synoptic import rotation_of, synoptic_disk, write_disk

  date = seen_at(flags)
  rotation, named = rotation_of(date), re.search(r'cr(\d{4})', path.name, re.IGNORECASE)
  if named and int(named[1]) != rotation:
    warnings.warn(
      f'{path.name} is of Carrington rotation {named[1]} by its name, and {flags.date} lies in {rotation}.',
      stacklevel=2,
    )
  disk = synoptic_disk(path, date)
  write_disk(pathlib.Path(flags.out) / f'{stem(path)}.disk.fits', disk)
  return disk


def seen_at(flags: cli.Flags) -> Any:
  """Returns the time at which the disk of a synoptic map is seen.

  Raises:
    UserError: It is not given, or is no time.
  """
  from hearjax.observe.times import parse_time

  if not flags.date:
    raise UserError('--synoptic needs --date=YYYY-MM-DDTHH:MM:SS: when the disk is seen from the Earth.')
  return parse_time(flags.date)


# --- One frame --------------------------------------------------------------------------------------------------------


def scan_file(
  members: Ensemble, path: pathlib.Path, flags: cli.Flags, threshold: float, known: dict[str, Any]
) -> Scanned:
  """Scans one file, and writes its map and its picture.

  Raises:
    UserError: The file is no magnetogram, or shows nothing of the Sun as far as asked for.
    OSError: It cannot be read, or a product cannot be written.
  """
  from hearjax.forecast.disk import forecast_disk
  from hearjax.forecast.disk_alarms import find_alarms, name_regions, regions_at
  from hearjax.forecast.disk_maps import draw_disk, note_of, write_disk_map
  from hearjax.report import scan_plots, style

  start = time.monotonic()
  magnetogram = read_disk(path, flags)
  bar = meter(f'mapping {path.name}', 'tile')
  places = forecast_disk(
    magnetogram, members.model, members.params, members.domain, flags.prior, flags.build(DiskSettings), bar
  )
  drawn = draw_disk(magnetogram, places)
  when = magnetogram.reference_date.utc
  alarms = find_alarms(places, threshold, flags.distance_mm, members.domain, path.name, when.isot)
  regions = None
  if 'sightings' in known:
    regions = regions_at(known['sightings'], when.mjd)
    alarms['noaa'] = name_regions(alarms, regions, flags.distance_mm)
  out = pathlib.Path(flags.out)
  map_path = out / f'{stem(path)}{MAP_SUFFIX}'
  write_disk_map(
    map_path,
    drawn,
    {
      'PRIOR': (flags.prior, 'share of places that emerge'),
      'THRESH': (threshold, 'least probability of an alarm'),
      'MEMBERS': (len(members.names), 'networks'),
      'TRAINED': (members.domain['source'], 'survey that they were trained on'),
      'SCANNED': (path.name, ''),
    },
  )
  figure = scan_plots.plot_scan(magnetogram, drawn, alarms, regions, members.domain, path.name)
  style.save(figure, out / f'{stem(path)}.png')
  alarms.meta['seconds'] = time.monotonic() - start
  alarms.meta['best'] = dict(zip(BEST, places[np.argmax(places['probability'])][BEST], strict=True))
  return Scanned(path, path.name, when.isot, map_path, alarms, note_of(magnetogram))


def describe(frame: Scanned) -> str:
  """Returns one line about a frame."""
  best = frame.alarms.meta['best']
  return (
    f'{frame.file}: {len(frame.alarms)} alarms; highest probability {best["probability"]:.3f} at longitude '
    f'{best["longitude"]:.2f}, latitude {best["latitude"]:.2f}{" (outside)" if best["outside"] else ""}; '
    f'{frame.alarms.meta["seconds"]:.1f} s'
  )


# --- All frames -------------------------------------------------------------------------------------------------------


def write_tables(
  out: pathlib.Path, scanned: dict[pathlib.Path, Scanned], flags: cli.Flags, known: dict[str, Any]
) -> Table:
  """Writes alarms and places of all frames, and returns the alarms, linked."""
  from hearjax.forecast.disk_history import link_alarms, place_table

  parts = [frame.alarms.copy() for frame in scanned.values()]
  meta = {name: parts[0].meta[name] for name in ('prior', 'threshold', 'distance_mm')}
  for part in parts:
    part.meta = {}
  settings = flags.build(HistorySettings)
  alarms = link_alarms(vstack([part for part in parts if len(part)] or parts[:1]), settings)
  alarms.meta = {**meta, **dataclasses.asdict(settings), 'workdir': str(flags.workdir), 'frames': len(scanned)}
  write_table(out / ALARMS, alarms)
  places = place_table(alarms)
  places.meta = dict(alarms.meta)
  write_table(out / PLACES, places)
  return alarms


def write_history(
  out: pathlib.Path,
  scanned: dict[pathlib.Path, Scanned],
  alarms: Table,
  threshold: float,
  domain: dict,
  flags: cli.Flags,
  known: dict[str, Any],
) -> None:
  """Writes the history of every place, and how early known emergences were warned of."""
  from hearjax.forecast.disk_history import history_table, place_table, warnings_of
  from hearjax.forecast.disk_maps import read_disk_map
  from hearjax.report import scan_plots, style

  def frames() -> Iterable[tuple[str, str, Any]]:
    every = meter('reading maps', 'frame')(list(scanned.values()))
    return ((frame.file, frame.time, read_disk_map(frame.map_path)) for frame in every)

  warned, places = None, place_table(alarms)
  if 'emergences' in known:
    warned = warnings_of(known['emergences'], alarms, frames, flags.build(HistorySettings))
    warned.meta = dict(alarms.meta)
    write_table(out / WARNINGS, warned)
    print_warnings(warned, places)
  if not len(places):
    return
  history = history_table(places, frames())
  history.meta = dict(alarms.meta)
  write_table(out / HISTORY, history)
  if len(scanned) > 1:
    figure = scan_plots.plot_history(history, places, threshold, domain['source'], warned, flags.link_mm)
    style.save(figure, out / HISTORY_PICTURE)


def print_warnings(warned: Table, places: Table) -> None:
  lead = np.asarray(warned['lead_hours'], float)
  for row in warned:
    said = 'no alarm' if row['place'] == 0 else f'first alarm {row["lead_hours"]:+.1f} h before'
    others = f', {row["by_chance"]:.0%} of places beside it had one before, too' if row['by_chance'] >= 0 else ''
    print(f'NOAA {row["noaa"]}: {said}{others}; its place was looked at {row["looks"]} times before it emerged.')
  others = len(set(places['place']) - set(warned['place'].tolist())) if len(places) else 0
  print(
    f'{np.sum(lead > 0)} of {len(warned)} known emergences had an alarm before; {others} of {len(places)} places with '
    'alarms are near none of them.'
  )


def print_scan(
  scanned: dict[pathlib.Path, Scanned], alarms: Table, domain: dict, out: pathlib.Path, threshold: float, prior: float
) -> None:
  if 0 < len(alarms) <= SHOWN_ROWS:
    shown = alarms[list(SHOWN)]
    for name, text in SHOWN.items():
      shown[name].info.format = text
    shown['outside'] = ['outside' if text else '' for text in alarms['outside']]
    shown.pprint(max_lines=-1, max_width=-1, align='<')
  for note in sorted({frame.notes for frame in scanned.values()} - {''}):
    print(f'{sum(frame.notes == note for frame in scanned.values())} files: {note}.')
  share = 'half' if prior == BALANCED else f'{prior:g}'
  print(f'A probability is that of a set in which {share} of the places emerge; see --prior.')
  outside = sum(text != '' for text in alarms['outside'])
  print(
    f'{len(alarms)} alarms at {threshold:.3g} or more, at {len(set(alarms["place"]))} places in {len(scanned)} frames; '
    f'{outside} lie outside what the network was trained on.'
  )
  score.print_training(domain)
  print(f'Maps, pictures and tables are in {out}.')


if __name__ == '__main__':
  cli.run(__name__)
