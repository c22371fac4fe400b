"""The region table of a HEAR import: which regions there are, when they emerged, and where their cubes lie.

How the data centre lays out and names its files is not published: the columns of the table and the pattern of the
file names are our choice.
"""

import dataclasses
import math
import os
import pathlib
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.files import read_table
from hearjax.observe.times import parse_time
from hearjax.survey.index import KIND_OF_LABEL, check_pairs, region_file

DEFAULT_PATTERN = '{region_id}/{region_id}_TI{interval:+03d}.fits'
NAMES = ('region_id', 'pair_id')
REGION_COLUMNS = (*NAMES, 'kind', 'latitude', 'longitude', 'emergence_time', 'noaa')
LABELS = {'EAR': ('1', '1.0', 'true'), 'CR': ('0', '0.0', 'false')}
EMPTY = ('', '--', 'nan', 'na', 'n/a', 'none', 'null')  # What stands in a cell that holds nothing.


@dataclasses.dataclass(frozen=True)
class Region:
  """One row of the region table.

  Attributes:
    region_id, pair_id: Names.
    kind: EAR or CR.
    latitude, longitude: Heliographic (Carrington) position of the centre [deg].
    emergence: Emergence time; of a control region the reference time that stands for it.
    noaa: NOAA number, 0 for none.
    cmd: Central-meridian distance at the emergence time, positive west [deg], None if the table has none.
    b0: Heliographic latitude of the observer at the emergence time [deg], None if the table has none.
    fields: All entries of the row, for the pattern of the file names.
  """

  region_id: str
  pair_id: str
  kind: str
  latitude: float
  longitude: float
  emergence: Time
  noaa: int
  cmd: float | None
  b0: float | None
  fields: dict[str, Any]


def read_regions(path: str | os.PathLike) -> list[Region]:
  """Reads a region table (ECSV, else CSV), sorted by pair; angles without a unit are in degrees.

  Columns: region_id, pair_id, kind (EAR or CR), latitude, longitude (Carrington), emergence_time (ISO, UTC), noaa
  (0, or nothing, for none); optional cmd and b0 at the emergence time, and label (1 or 0). Others serve the pattern
  only. A cell may be empty in the optional columns alone, and in noaa.

  Raises:
    FileNotFoundError: It is not there.
    UserError: It cannot be read, or an entry or a pair is not as it should be.
  """
  path = pathlib.Path(path)
  table = read_table(path, 'region table', NAMES)
  absent = [name for name in REGION_COLUMNS if name not in table.colnames]
  if absent:
    raise UserError(f'{path} lacks the columns {", ".join(absent)}; it needs {", ".join(REGION_COLUMNS)}.')
  if not len(table):
    raise UserError(f'{path} has no rows.')
  regions = [_read_row(path, table, number) for number in range(len(table))]
  ids = [region.region_id for region in regions]
  twice = next((name for name in ids if ids.count(name) > 1), None)
  if twice:
    raise UserError(f'{path} has the region {twice} twice.')
  names = ('region_id', 'pair_id', 'kind')
  check_pairs(str(path), Table({name: [getattr(region, name) for region in regions] for name in names}))
  return sorted(regions, key=lambda region: (region.pair_id, region.kind))


def _read_row(path: pathlib.Path, table: Table, number: int) -> Region:
  where = f'{path}, row {number + 1}'
  cells = {name: _cell(table[name][number], ('',) if name in NAMES else EMPTY) for name in table.colnames}

  def needed(name: str) -> Any:
    if cells[name] is None:
      raise UserError(f'{where}: {name} is empty; fill in the cell.')
    return cells[name]

  def angle(name: str, low: float, high: float) -> float:
    try:
      value = float(u.Quantity(needed(name), table[name].unit or u.deg).to_value(u.deg))
    except UserError:
      raise
    except (TypeError, ValueError) as error:
      raise UserError(f'{where}: {name} is {cells[name]!s}, which is no angle in degrees.') from error
    if not low <= value <= high:
      raise UserError(f'{where}: {name} is {value:g} deg; it must lie between {low:g} and {high:g}.')
    return value

  def optional_angle(name: str, low: float, high: float) -> float | None:
    return None if cells.get(name) is None else angle(name, low, high)

  kind = str(needed('kind'))
  if kind not in KIND_OF_LABEL.values():
    raise UserError(f'{where}: kind is {kind!r}; it must be EAR or CR.')
  label = cells.get('label')
  if label is not None and str(label).lower() not in LABELS[kind]:
    raise UserError(f'{where}: label {label} contradicts kind {kind}; EAR goes with 1, CR with 0.')
  emergence, region_id = needed('emergence_time'), str(needed('region_id'))
  try:
    emergence = emergence.utc if isinstance(emergence, Time) else parse_time(str(emergence))
    region_file(region_id)
  except UserError as error:
    raise UserError(f'{where}: {error}') from error
  noaa = _noaa(where, cells['noaa'])
  return Region(
    region_id=region_id,
    pair_id=str(needed('pair_id')),
    kind=kind,
    latitude=angle('latitude', -90, 90),
    longitude=angle('longitude', -360, 720) % 360,
    emergence=emergence,
    noaa=noaa,
    cmd=optional_angle('cmd', -180, 180),
    b0=optional_angle('b0', -7.3, 7.3),
    fields=cells | {'noaa': noaa},
  )


def _cell(value: Any, empty: tuple[str, ...]) -> Any:
  """Returns what a cell of a table holds, None where it is empty: masked, or one of these words."""
  if isinstance(value, Time):
    return None if np.any(value.mask) else value
  is_empty = np.ma.is_masked(value) or str(value).strip().lower() in empty
  return None if is_empty else value


def _noaa(where: str, value: Any) -> int:
  """Returns a NOAA number, 0 for an empty cell; a column with empty cells may have become one of floats."""
  try:
    number = 0.0 if value is None else float(value)
  except (TypeError, ValueError):
    number = math.nan
  if not (number.is_integer() and 0 <= number < 2**31):
    raise UserError(f'{where}: noaa is {value!s}; a whole number is needed, 0 or nothing for none.')
  return int(number)


def cube_paths(
  folder: str | os.PathLike, pattern: str, regions: Sequence[Region], intervals: Sequence[int], allow_missing: bool
) -> dict[str, dict[int, pathlib.Path]]:
  """Returns region_id -> interval -> cube, of those that are there.

  Args:
    folder: Folder of the cubes.
    pattern: Path below it, a format string with the columns of the region table and `interval`.
    regions: Regions to look for.
    intervals: Intervals to look for.
    allow_missing: Whether cubes may be missing.

  Raises:
    FileNotFoundError: The folder or cubes are not there.
    UserError: The pattern names something else, or the same file twice.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f'There is no folder {folder} with cubes.')
  paths: dict[str, dict[int, pathlib.Path]] = {}
  for region in regions:
    fields = {**region.fields, 'interval': None}
    paths[region.region_id] = {i: folder / _fill(pattern, {**fields, 'interval': i}) for i in intervals}
  every = [path for of_region in paths.values() for path in of_region.values()]
  if len(set(every)) < len(every):
    twice = next(path for path in every if every.count(path) > 1)
    raise UserError(f'The pattern {pattern!r} gives {twice} more than once; it must hold the region and the interval.')
  there = {path for path in every if path.is_file()}
  absent = [path for path in every if path not in there]
  if absent and not (allow_missing and there):
    raise FileNotFoundError(
      f'{len(absent)} of {len(every)} cubes are not there, the first is {absent[0]}; mend the pattern, or allow '
      'missing cubes to leave these intervals out.'
    )
  return {name: {i: path for i, path in of_region.items() if path in there} for name, of_region in paths.items()}


def _fill(pattern: str, fields: dict[str, Any]) -> str:
  try:
    names = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    unknown = [name for name in names if name not in fields]
    if unknown:
      raise UserError(f'it has no field {unknown[0]!r}; there are {", ".join(fields)}')
    empty = [name for name in names if fields[name] is None]
    if empty:
      raise UserError(f'the cell {empty[0]} of region {fields["region_id"]} is empty')
    return pattern.format(**fields)
  except (ValueError, TypeError) as error:
    raise UserError(f'The pattern {pattern!r} cannot be filled: {error}.') from error
