"""The survey archive: magnetograms of emerging and control regions on disk.

An archive is a folder with `survey.ecsv` (one row per magnetogram) and one FITS file per region. Everything that
reaches a network or a discriminant analysis passes through `read_survey`, which checks it once, so that the code
behind it can trust what it gets.
"""

import errno
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

import hearjax
from hearjax.survey.survey import Survey, index_names

FORMAT_VERSION = 1
INDEX_NAME = 'survey.ecsv'
SOLAR_RADIUS_MM = 695.7  # IAU 2015 Resolution B3, nominal solar radius.

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
STRINGS = ('region_id', 'pair_id', 'kind', 'time_mid', 'file')
COLUMNS = (*STRINGS, *NUMBERS, 'plane')
KIND_OF_LABEL = {1: 'EAR', 0: 'CR'}
GAUSS_UNITS = ('gauss', 'g', 'mx/cm^2', 'mx/cm2', 'mx cm-2', 'mx cm**-2', 'mx / cm2')


# --- Writing ----------------------------------------------------------------------------------------------------


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
  """Calls `write(temporary_path)` and renames: the file appears complete or not at all.

  Raises:
    OSError: The folder cannot be written or the disk is full; says which file, and leaves nothing behind.
  """
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.partial{path.suffix}')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(temporary)
    os.replace(temporary, path)
  except OSError as error:
    reason = 'the disk is full' if error.errno == errno.ENOSPC else error.strerror or str(error)
    raise OSError(f'Cannot write {path}: {reason}; nothing was left half written.') from error
  finally:
    temporary.unlink(missing_ok=True)


def region_file(region_id: str) -> str:
  """Returns the path of a region's file relative to the archive's root."""
  return f'regions/{region_id}.fits'


def survey_table(survey: Survey) -> Table:
  """Returns the index of an archive: one row per magnetogram, sorted by region and interval.

  `plane` counts within a region in the order of the rows.
  """
  table = Table()
  table['region_id'] = survey.region_names()
  table['pair_id'] = survey.pair_names()
  table['kind'] = [KIND_OF_LABEL[int(label)] for label in survey.label]
  table['time_mid'] = Time(np.asarray(survey.mjd, np.float64), format='mjd', scale='utc').isot
  table['file'] = [region_file(name) for name in table['region_id']]
  for name, (unit, dtype) in NUMBERS.items():
    table[name] = np.asarray(getattr(survey, name), dtype)
    table[name].unit = unit
  region = np.asarray(survey.region)
  table['plane'] = np.array([np.sum(region[:row] == region[row]) for row in range(len(region))], np.int32)
  return table[list(COLUMNS)]


def region_header(survey: Survey) -> fits.Header:
  """Returns the Postel (ARC) WCS of one region's maps, centred on the region, north up."""
  size_y, size_x = survey.field.shape[1:]
  degrees_per_pixel = float(np.rad2deg(survey.pixel_scale_mm / SOLAR_RADIUS_MM))
  header = fits.Header()
  header['BUNIT'] = 'Gauss'
  header['CTYPE1'], header['CTYPE2'] = 'CRLN-ARC', 'CRLT-ARC'
  header['CUNIT1'], header['CUNIT2'] = 'deg', 'deg'
  header['CDELT1'], header['CDELT2'] = degrees_per_pixel, degrees_per_pixel
  header['CRPIX1'], header['CRPIX2'] = (size_x + 1) / 2, (size_y + 1) / 2
  header['CRVAL1'], header['CRVAL2'] = float(survey.longitude[0]), float(survey.latitude[0])
  header['CTYPE3'], header['CRPIX3'], header['CRVAL3'], header['CDELT3'] = 'INTERVAL', 1, 0, 1
  header['RSUN_REF'] = (SOLAR_RADIUS_MM * 1e6, '[m]')
  return header


def write_region(root: str | os.PathLike, survey: Survey) -> None:
  """Writes the file of one region into an archive.

  Args:
    root: Folder of the archive.
    survey: Magnetograms of a single region, in the order of their planes.

  Raises:
    OSError: The file cannot be written.
  """
  rows = survey_table(survey)
  header = region_header(survey)
  image = fits.ImageHDU(np.asarray(survey.field, np.float32), header, name='MAGNETOGRAM')
  table = fits.table_to_hdu(rows)
  table.name = 'INTERVALS'
  hdus = fits.HDUList([fits.PrimaryHDU(), image, table])
  path = pathlib.Path(root) / rows['file'][0]
  write_whole(path, lambda temporary: hdus.writeto(temporary, checksum=True))


def write_survey(root: str | os.PathLike, survey: Survey, meta: dict[str, Any] | None = None) -> None:
  """Writes a survey archive: the region files first, the index last.

  Args:
    root: Folder of the archive; made if it is not there.
    survey: What to write, any order.
    meta: Further keys of the index (seed, query, world, …).

  Raises:
    ValueError: The survey is empty.
    OSError: A file cannot be written, or the folder already holds an archive.
  """
  if not len(survey):
    raise ValueError('The survey is empty: there is nothing to write.')
  check_unused(root)
  survey = survey.select(np.lexsort((np.asarray(survey.interval), survey.region_names())))
  region = np.asarray(survey.region)
  starts = np.flatnonzero(np.diff(region, prepend=-1))
  for start, stop in zip(starts, [*starts[1:], len(survey)], strict=True):
    write_region(root, survey.select(slice(start, stop)))
  write_index(root, survey, meta)


def check_unused(root: str | os.PathLike) -> None:
  """Raises FileExistsError where `root` already holds an archive, so that none is overwritten in silence."""
  if (pathlib.Path(root) / INDEX_NAME).exists():
    raise FileExistsError(f'{root} already holds a survey archive; name another folder or remove it first.')


def write_index(root: str | os.PathLike, survey: Survey, meta: dict[str, Any] | None = None) -> None:
  """Writes `survey.ecsv` for region files that `write_region` wrote from the same rows."""
  table = survey_table(survey)
  table.meta = {
    'format_version': FORMAT_VERSION,
    'projection': 'postel',
    'pixel_scale_mm': float(survey.pixel_scale_mm),
    'source': survey.source,
    'creator': f'hearjax {hearjax.__version__}',
    **(meta or {}),
  }
  write_whole(pathlib.Path(root) / INDEX_NAME, lambda temporary: table.write(temporary, format='ascii.ecsv'))


# --- Reading ----------------------------------------------------------------------------------------------------


def read_survey(root: str | os.PathLike, intervals: Sequence[int] | None = None, max_missing: float = 0.2) -> Survey:
  """Reads an archive and checks it.

  Args:
    root: Folder of the archive.
    intervals: Intervals to keep, all of them for None.
    max_missing: Largest fraction of non-finite pixels that a magnetogram may have.

  Returns:
    The survey, sorted as in the index, on the host.

  Raises:
    FileNotFoundError: The archive, its index or a file that it names is not there.
    ValueError: Anything in it is not as the format says; the sentence names the file or the row.
  """
  root = pathlib.Path(root)
  table = read_index(root)
  if intervals is not None:
    kept = np.isin(table['interval'], list(intervals))
    if not kept.any():
      there = sorted({int(i) for i in table['interval']})
      raise ValueError(f'{root} has no magnetogram of the intervals {list(intervals)}; it has {there}.')
    table = table[kept]
  field = _read_fields(root, table)
  missing = np.mean(~np.isfinite(field), axis=(1, 2), dtype=np.float32)
  _check_missing(table, missing, max_missing)
  region_ids, region = index_names(table['region_id'])
  pair_ids, pair = index_names(table['pair_id'])
  numbers = {name: np.asarray(table[name], dtype) for name, (_, dtype) in NUMBERS.items()}
  return Survey(
    field=field,
    **(numbers | {'missing': missing}),
    mjd=_read_times(root, table),
    region=region,
    pair=pair,
    region_ids=region_ids,
    pair_ids=pair_ids,
    pixel_scale_mm=float(table.meta['pixel_scale_mm']),
    source=str(table.meta['source']),
  )


def read_index(root: pathlib.Path) -> Table:
  """Reads `survey.ecsv`, brings its columns to the units of the format, and checks the rows.

  Raises:
    FileNotFoundError: There is no index.
    ValueError: The index cannot be read, lacks columns or keys, or a row is not consistent.
  """
  path = root / INDEX_NAME
  if not path.is_file():
    raise FileNotFoundError(f'{root} is not a survey archive: there is no {INDEX_NAME} in it.')
  try:
    table = Table.read(path, format='ascii.ecsv')
  except Exception as error:  # The ECSV reader raises many types; all mean the same to the user.
    raise ValueError(f'{path} cannot be read as ECSV ({error}); write it again.') from error
  absent = [name for name in COLUMNS if name not in table.colnames]
  if absent:
    raise ValueError(
      f'{path} lacks the columns {", ".join(absent)}; a survey archive needs all of {", ".join(COLUMNS)}.'
    )
  absent = [key for key in ('format_version', 'pixel_scale_mm', 'source') if key not in table.meta]
  if absent:
    raise ValueError(f'{path} lacks the meta keys {", ".join(absent)}.')
  if table.meta['format_version'] != FORMAT_VERSION:
    raise ValueError(
      f'{path} has format version {table.meta["format_version"]!r}; this hearjax reads version {FORMAT_VERSION}.'
    )
  scale = table.meta['pixel_scale_mm']
  if not (isinstance(scale, (int, float)) and np.isfinite(scale) and scale > 0):
    raise ValueError(f'{path} gives pixel_scale_mm = {scale!r}; a positive number of Mm per pixel is needed.')
  if not len(table):
    raise ValueError(f'{path} has no rows: the survey is empty.')
  _convert_units(path, table)
  _check_rows(path, table)
  return table


def _convert_units(path: pathlib.Path, table: Table) -> None:
  for name, (unit, dtype) in NUMBERS.items():
    column = table[name]
    if np.ma.is_masked(column) or column.dtype.kind not in 'iufb' or not np.all(np.isfinite(column)):
      raise ValueError(f'Column {name} of {path} has entries that are not finite numbers.')
    try:
      values = (column.quantity.to_value(unit) if unit else column.quantity.to_value('')) if column.unit else column
    except u.UnitConversionError as error:
      raise ValueError(f'Column {name} of {path} is in {column.unit}; {unit or "a pure number"} is needed.') from error
    table.replace_column(name, np.asarray(values, dtype))


def _check_rows(path: pathlib.Path, table: Table) -> None:
  kinds = np.asarray(table['kind'], str)
  expected = np.where(np.asarray(table['label']) == 1, 'EAR', 'CR')
  wrong = np.flatnonzero(~np.isin(table['label'], (0, 1)) | (kinds != expected))
  if wrong.size:
    row = table[int(wrong[0])]
    raise ValueError(
      f'{path}: region {row["region_id"]} has label {row["label"]} and kind {row["kind"]!r}; '
      'label 1 goes with kind EAR, label 0 with CR.'
    )
  keys = list(zip(table['region_id'], table['interval'], strict=True))
  if len(set(keys)) < len(keys):
    twice = next(key for key in keys if keys.count(key) > 1)
    raise ValueError(f'{path}: region {twice[0]} has interval {twice[1]} twice.')
  labels_of_pair: dict[str, dict[str, int]] = {}
  pair_of_region: dict[str, str] = {}
  for row in table['region_id', 'pair_id', 'label']:
    region, pair, label = (str(row['region_id']), str(row['pair_id']), int(row['label']))
    labels_of_pair.setdefault(pair, {}).setdefault(region, label)
    if labels_of_pair[pair][region] != label:
      raise ValueError(f'{path}: region {region} has both labels.')
    if pair_of_region.setdefault(region, pair) != pair:
      raise ValueError(f'{path}: region {region} is in two pairs, {pair_of_region[region]} and {pair}.')
  for pair, labels in labels_of_pair.items():
    if sorted(labels.values()) != [0, 1]:
      found = ', '.join(f'{region} ({KIND_OF_LABEL[label]})' for region, label in labels.items())
      raise ValueError(f'{path}: pair {pair} must be one EAR and one CR; it holds {found}.')


def _check_missing(table: Table, missing: np.ndarray, max_missing: float) -> None:
  over = np.flatnonzero(missing > max_missing)
  if over.size:
    worst = table[int(np.argmax(missing))]
    raise ValueError(
      f'{over.size} of {len(table)} magnetograms have more than {max_missing:.0%} missing pixels, the worst '
      f'{missing.max():.0%} ({worst["region_id"]}, interval {worst["interval"]}); leave such regions out of the '
      'archive or raise the limit.'
    )


def _read_times(root: pathlib.Path, table: Table) -> np.ndarray:
  try:
    return Time(np.asarray(table['time_mid'], str), format='isot', scale='utc').mjd
  except ValueError as error:
    raise ValueError(f'Column time_mid of {root / INDEX_NAME} is not ISO time ({error}).') from error


def _read_fields(root: pathlib.Path, table: Table) -> np.ndarray:
  files = np.asarray(table['file'], str)
  planes = np.asarray(table['plane'])
  field = None
  for name in dict.fromkeys(files):
    maps = read_region_maps(_inside(root, name))
    if field is None:
      field = np.empty((len(table), *maps.shape[1:]), np.float32)
    if maps.shape[1:] != field.shape[1:]:
      raise ValueError(
        f'{root / name} holds maps of {maps.shape[1:]} px, other files of {field.shape[1:]} px; '
        'all maps of a survey must have one size.'
      )
    rows = np.flatnonzero(files == name)
    bad = planes[rows][(planes[rows] < 0) | (planes[rows] >= len(maps))]
    if bad.size:
      raise ValueError(f'{root / INDEX_NAME} asks for plane {bad[0]} of {name}, which has planes 0 to {len(maps) - 1}.')
    field[rows] = maps[planes[rows]]
  return field


def _inside(root: pathlib.Path, name: str) -> pathlib.Path:
  path = root / name
  if not path.resolve().is_relative_to(root.resolve()):
    raise ValueError(f'{root / INDEX_NAME} names the file {name!r}, which lies outside the archive.')
  if not path.is_file():
    raise FileNotFoundError(f'{root / INDEX_NAME} names the file {name!r}, which is not there.')
  return path


def read_region_maps(path: pathlib.Path) -> np.ndarray:
  """Reads `[plane, y, x]` field [G] of a region file and verifies its checksums and unit.

  Raises:
    ValueError: The file is truncated or damaged, has no such image, or is not in gauss.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      with fits.open(path, checksum=True, memmap=False) as hdus:
        maps, header = hdus['MAGNETOGRAM'].data, hdus['MAGNETOGRAM'].header
  except KeyError as error:
    raise ValueError(f'{path} has no image extension MAGNETOGRAM.') from error
  except Exception as error:  # Truncation, checksum and header damage come as many types.
    raise ValueError(f'{path} is damaged: {error}') from error
  if maps is None or maps.ndim != 3:
    raise ValueError(f'{path}: MAGNETOGRAM must have the axes [plane, y, x], got shape {getattr(maps, "shape", None)}.')
  if str(header.get('BUNIT', '')).strip().lower() not in GAUSS_UNITS:
    raise ValueError(f'{path} has BUNIT {header.get("BUNIT")!r}; the field must be in Gauss.')
  return maps.astype(np.float32)
