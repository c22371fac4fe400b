"""The index of a survey archive: its columns and units, and what must hold of its rows.

The same rows stand in `survey.ecsv` and, region by region, in the INTERVALS extension of each region file, so both
are checked and turned into a `Survey` here.
"""

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.survey.intervals import CENTRE_HOURS, check_hours, check_intervals, end_hours, start_hours
from hearjax.survey.survey import Survey, index_names

# Column name -> (unit, type) of the numbers that a magnetogram carries. `mjd` is written as the ISO string `time_mid`.
NUMBERS = {
  'label': (None, np.int32),
  'interval': (None, np.int32),
  'noaa': (None, np.int32),
  'n_frames': (None, np.int32),
  'quality': (None, np.int32),
  'hours': (u.hour, np.float32),
  'hours_start': (u.hour, np.float32),
  'hours_end': (u.hour, np.float32),
  'latitude': (u.deg, np.float32),
  'longitude': (u.deg, np.float32),
  'cmd': (u.deg, np.float32),
  'mu': (None, np.float32),
  'missing': (None, np.float32),
}
PLANE = {'plane': (None, np.int32)}
STRINGS = ('region_id', 'pair_id', 'kind', 'time_mid', 'file')
COLUMNS = (*STRINGS, *NUMBERS, *PLANE)
KIND_OF_LABEL = {1: 'EAR', 0: 'CR'}
# What holds of a magnetogram of which nothing else is told.
UNTOLD = {'noaa': 0, 'n_frames': 1, 'quality': 0}
HOURS_OF_INTERVAL = {'hours': CENTRE_HOURS.__getitem__, 'hours_start': start_hours, 'hours_end': end_hours}


def region_file(region_id: str) -> str:
  """Returns the path of a region's file relative to the archive's root.

  Raises:
    UserError: The region_id cannot be the name of a file.
  """
  if not region_id or region_id.startswith('.') or any(letter in region_id for letter in '/\\\0'):
    raise UserError(f'The region_id {region_id!r} cannot name a file; use letters, digits, "_" and "-".')
  return f'regions/{region_id}.fits'


def survey_table(survey: Survey) -> Table:
  """Returns the index of an archive: one row per magnetogram, in the order of the survey.

  `plane` counts within a region in the order of the rows.
  """
  table = Table()
  table['region_id'] = survey.region_names()
  table['pair_id'] = survey.pair_names()
  table['kind'] = [KIND_OF_LABEL[int(label)] for label in survey.label]
  # Nine decimals of a second: fewer would not give the same float64 back.
  table['time_mid'] = Time(np.asarray(survey.mjd, np.float64), format='mjd', scale='utc', precision=9).isot
  table['file'] = [region_file(name) for name in table['region_id']]
  for name, (unit, dtype) in NUMBERS.items():
    table[name] = np.asarray(getattr(survey, name), dtype)
    table[name].unit = unit
  region = survey.region
  table['plane'] = np.array([np.sum(region[:row] == region[row]) for row in range(len(region))], np.int32)
  return table[list(COLUMNS)]


def build_survey(table: Table, field: np.ndarray, pixel_scale_mm: float, source: str) -> Survey:
  """Returns the survey of checked rows and `[n, y, x]` maps [G]; counts the missing pixels anew."""
  region_ids, region = index_names(table['region_id'])
  pair_ids, pair = index_names(table['pair_id'])
  numbers = {name: np.asarray(table[name], dtype) for name, (_, dtype) in NUMBERS.items()}
  numbers['missing'] = np.array([np.mean(~np.isfinite(one), dtype=np.float32) for one in field])  # Map by map: bounded.
  return Survey(
    field=field,
    **numbers,
    mjd=table['time_mid'].mjd,
    region=region,
    pair=pair,
    region_ids=region_ids,
    pair_ids=pair_ids,
    pixel_scale_mm=pixel_scale_mm,
    source=source,
  )


def make_survey(field: np.ndarray, table: Table, pixel_scale_mm: float, source: str) -> Survey:
  """Makes a survey of one's own magnetograms and a table that says what each is, with every check of an archive.

  Args:
    field: `[n, y, x]` line-of-sight field [G], NaN where missing; square, north up and west to the right.
    table: A row for each map: `region_id`, `pair_id`, `kind` (EAR or CR), `interval` (-5 to 1), `time_mid` (ISO, UTC),
      `latitude`, `longitude` (Carrington) and `cmd` of the centre [deg], `mu`. Where they lack, `hours`, `hours_start`
      and `hours_end` relative to the emergence time [h] are those of the interval, and `noaa`, `n_frames` and `quality`
      are 0, 1 and 0. Other columns are ignored.
    pixel_scale_mm: Side of a pixel [Mm].
    source: Where the magnetograms come from: what figures and tables say of them.

  Raises:
    UserError: The maps are not square or not as many as the rows, or the rows are not as those of an archive must be.
  """
  where, table = 'The table', table.copy()
  field = np.asarray(field, np.float32)
  if field.ndim != 3 or field.shape[1] != field.shape[2] or len(field) != len(table):
    raise UserError(f'Square maps [n, y, x] are needed, one for each of {len(table)} rows; got shape {field.shape}.')
  needed = [name for name in ('region_id', 'kind', 'interval') if name not in table.colnames]
  if needed:
    raise UserError(f'{where} lacks the columns {", ".join(needed)}.')
  names, intervals = (np.asarray(table[name]).tolist() for name in ('region_id', 'interval'))
  if not set(HOURS_OF_INTERVAL) <= set(table.colnames):
    check_intervals(sorted(set(intervals)))
  derived = {name: [value] * len(table) for name, value in UNTOLD.items()}
  derived |= {
    name: list(map(hours, intervals)) for name, hours in HOURS_OF_INTERVAL.items() if name not in table.colnames
  }
  for name, values in derived.items():
    if name not in table.colnames:
      table[name] = values
  table['label'] = (np.asarray(table['kind'], str) == KIND_OF_LABEL[1]).astype(np.int32)
  table['file'] = [region_file(str(name)) for name in names]
  table['plane'] = [names[:row].count(name) for row, name in enumerate(names)]
  table['missing'] = np.zeros(len(table), np.float32)  # Counted in the maps.
  checked = check_rows(where, table)
  check_pairs(where, checked)
  return build_survey(checked, field, float(pixel_scale_mm), source)


def check_rows(where: str, table: Table) -> Table:
  """Brings the columns to the units and types of the format, and checks each row and region.

  Args:
    where: Name of the file, for the sentence of an error.
    table: One row per magnetogram; further columns are dropped.

  Returns:
    A table with the columns COLUMNS, `time_mid` as `Time`.

  Raises:
    UserError: A column lacks, cannot be converted, or rows contradict each other.
  """
  absent = [name for name in COLUMNS if name not in table.colnames]
  if absent:
    raise UserError(
      f'{where} lacks the columns {", ".join(absent)}; a survey archive needs all of {", ".join(COLUMNS)}.'
    )
  if not len(table):
    raise UserError(f'{where} has no rows: the survey is empty.')
  checked = Table(meta=table.meta)
  for name in COLUMNS:
    if name == 'time_mid':
      checked[name] = _read_times(where, table[name])
    elif name in STRINGS:
      checked[name] = _read_strings(where, table, name)
    else:
      checked[name] = _read_numbers(where, table, name)
  _check_labels(where, checked)
  _check_ranges(where, checked)
  _check_hours(where, checked)
  _check_regions(where, checked)
  return checked


def check_pairs(where: str, table: Table) -> None:
  """Raises UserError unless every pair is one EAR and one CR, and every region in one pair."""
  regions_of_pair: dict[str, dict[str, str]] = {}
  for region, pair, kind in table['region_id', 'pair_id', 'kind'].iterrows():
    regions_of_pair.setdefault(pair, {})[region] = kind
  for pair, kinds in regions_of_pair.items():
    if sorted(kinds.values()) != ['CR', 'EAR']:
      found = ', '.join(f'{region} ({kind})' for region, kind in kinds.items())
      raise UserError(f'{where}: pair {pair} must be one EAR and one CR; it holds {found}.')


def _read_numbers(where: str, table: Table, name: str) -> np.ndarray:
  column = table[name]
  unit, dtype = {**NUMBERS, **PLANE}[name]
  if np.ma.is_masked(column) or column.dtype.kind not in 'iufb' or not np.all(np.isfinite(column)):
    raise UserError(f'Column {name} of {where} has entries that are not finite numbers.')
  try:
    values = np.asarray(column.quantity.to_value(unit or '') if column.unit else column)
  except u.UnitConversionError as error:
    raise UserError(f'Column {name} of {where} is in {column.unit}; {unit or "a pure number"} is needed.') from error
  if np.issubdtype(dtype, np.integer) and not np.array_equal(values, values.astype(dtype)):
    raise UserError(f'Column {name} of {where} has entries that are not whole numbers of 32 bits.')
  return values.astype(dtype)


def _read_strings(where: str, table: Table, name: str) -> np.ndarray:
  values = np.asarray(table[name], str)
  if np.ma.is_masked(table[name]) or not np.all(np.char.str_len(values)):
    raise UserError(f'Column {name} of {where} has empty entries.')
  return values


def _read_times(where: str, column: np.ndarray | Time) -> Time:
  if not isinstance(column, Time) and np.any(np.ma.getmaskarray(column)):
    raise UserError(f'Column time_mid of {where} has empty entries.')
  try:
    times = (column if isinstance(column, Time) else Time(np.asarray(column, str), scale='utc')).utc
  except ValueError as error:
    raise UserError(f'Column time_mid of {where} is not ISO time ({str(error).splitlines()[0]}).') from error
  if np.any(times.mask):
    raise UserError(f'Column time_mid of {where} has empty entries.')
  return times


def _check_labels(where: str, table: Table) -> None:
  expected = np.where(table['label'] == 1, 'EAR', 'CR')
  wrong = np.flatnonzero(~np.isin(table['label'], (0, 1)) | (table['kind'] != expected))
  if wrong.size:
    row = table[int(wrong[0])]
    raise UserError(
      f'{where}: region {row["region_id"]} has label {row["label"]} and kind {str(row["kind"])!r}; '
      'label 1 goes with kind EAR, label 0 with CR.'
    )


def _check_ranges(where: str, table: Table) -> None:
  for name, low, high in (('mu', 0, 1), ('cmd', -180, 180), ('latitude', -90, 90)):
    wrong = np.flatnonzero((table[name] < low) | (table[name] > high))
    if wrong.size:
      row = table[int(wrong[0])]
      raise UserError(
        f'{where}: region {row["region_id"]} has {name} = {row[name]:g}; it must lie between {low} and {high}.'
      )


def _check_hours(where: str, table: Table) -> None:
  check_hours(where, table['interval'], table['hours'])
  wrong = np.flatnonzero((table['hours_start'] > table['hours']) | (table['hours'] > table['hours_end']))
  if wrong.size:
    row = table[int(wrong[0])]
    raise UserError(
      f'{where}: region {row["region_id"]}, interval {row["interval"]} lasts from {row["hours_start"]:g} to '
      f'{row["hours_end"]:g} h, but its middle is given as {row["hours"]:g} h.'
    )


def _check_regions(where: str, table: Table) -> None:
  first: dict[str, tuple[str, int]] = {}
  seen = set()
  for region, interval, pair, label, *place in table[
    'region_id', 'interval', 'pair_id', 'label', 'file', 'plane'
  ].iterrows():
    if (region, interval) in seen:
      raise UserError(f'{where}: region {region} has interval {interval} twice.')
    if tuple(place) in seen:
      raise UserError(f'{where}: plane {place[1]} of {place[0]} is that of two magnetograms.')
    seen |= {(region, interval), tuple(place)}
    known_pair, known_label = first.setdefault(region, (pair, label))
    if known_label != label:
      raise UserError(f'{where}: region {region} has both labels.')
    if known_pair != pair:
      raise UserError(f'{where}: region {region} is in two pairs, {known_pair} and {pair}.')
