"""The survey archive: magnetograms of emerging and control regions on disk.

An archive is a folder with `survey.ecsv` (one row per magnetogram) and one FITS file per region. Everything that
reaches a network or a discriminant analysis passes through `read_survey`, which checks it once, so that the code
behind it can trust what it gets.
"""

import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

import hearjax
from hearjax.checks import UserError
from hearjax.files import read_table, write_table, write_whole
from hearjax.progress import Progress, silent
from hearjax.solar import postel_header
from hearjax.survey.headers import Cards, field_unit, is_gauss, read_cards, told_as_damage
from hearjax.survey.index import build_survey, check_pairs, check_rows, region_file, survey_table
from hearjax.survey.pixels import lost_blanks, mask_lost
from hearjax.survey.survey import Survey

FORMAT_VERSION = 1
INDEX_NAME = 'survey.ecsv'


def region_header(survey: Survey) -> fits.Header:
  """Returns the header of one region's maps: their WCS, unit, and where they come from."""
  header = postel_header(survey.longitude[0], survey.latitude[0], survey.field.shape[1:], survey.pixel_scale_mm)
  header['BUNIT'] = 'Gauss'
  header['CTYPE3'], header['CRPIX3'], header['CRVAL3'], header['CDELT3'] = 'INTERVAL', 1, 0, 1
  header['PIXSCALE'] = (float(survey.pixel_scale_mm), '[Mm] side of a pixel')
  header['SOURCE'] = survey.source
  return header


def write_region(root: str | os.PathLike, survey: Survey, stamp: str = '') -> None:
  """Writes the file of one region into an archive.

  Args:
    root: Folder of the archive.
    survey: Magnetograms of a single region, in the order of their planes.
    stamp: Keyword STAMP of the primary header, by which a program that was interrupted knows its own work again.

  Raises:
    OSError: The file cannot be written.
  """
  rows = survey_table(survey)
  header = region_header(survey)
  image = fits.ImageHDU(np.asarray(survey.field, np.float32), header, name='MAGNETOGRAM')
  table = fits.table_to_hdu(rows)
  table.name = 'INTERVALS'
  primary = fits.PrimaryHDU()
  primary.header['STAMP'] = (stamp, 'what it was made from')
  hdus = fits.HDUList([primary, image, table])
  path = pathlib.Path(root) / rows['file'][0]
  write_whole(path, lambda temporary: hdus.writeto(temporary, checksum=True))


def write_survey(
  root: str | os.PathLike,
  survey: Survey,
  meta: dict[str, Any] | None = None,
  overwrite: bool = False,
  progress: Progress = silent,
) -> None:
  """Writes a survey archive: the region files first, the index last.

  Args:
    root: Folder of the archive; made if it is not there.
    survey: What to write, any order.
    meta: Further keys of the index (seed, query, world, …).
    overwrite: Replace the archive that is there.
    progress: Goes through the regions, and may show how far it is.

  Raises:
    UserError: The survey is empty, or a region_id cannot name a file.
    OSError: A file cannot be written, or the folder already holds an archive.
  """
  if not len(survey):
    raise UserError('The survey is empty: there is nothing to write.')
  for name in survey.region_ids:
    region_file(name)
  if overwrite:
    _remove_archive(pathlib.Path(root))
  check_unused(root)
  survey = survey.select(np.lexsort((survey.interval, survey.region_names())))
  region = survey.region
  starts = np.flatnonzero(np.diff(region, prepend=-1))
  for start, stop in progress(list(zip(starts, [*starts[1:], len(survey)], strict=True))):
    write_region(root, survey.select(slice(start, stop)))
  write_index(root, survey, meta)


def _remove_archive(root: pathlib.Path) -> None:
  if (root / INDEX_NAME).exists():
    files = set(read_index(root)['file'])
    (root / INDEX_NAME).unlink()  # First: a region file alone is no archive.
    for name in files:
      _inside(root, name).unlink(missing_ok=True)


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
  write_table(pathlib.Path(root) / INDEX_NAME, table)


# --- Reading ----------------------------------------------------------------------------------------------------


def read_survey(
  root: str | os.PathLike,
  max_missing: float = 0.2,
  scratch: str | os.PathLike | None = None,
  progress: Progress = silent,
) -> Survey:
  """Reads an archive and checks it.

  Args:
    root: Folder of the archive.
    max_missing: Largest fraction of non-finite pixels that a magnetogram may have.
    scratch: Folder for a file of the uncompressed maps, which is then mapped into memory instead of held there: for a
      survey larger than the memory. It has no name and is gone with the survey. None holds the maps in memory.
    progress: Goes through the files, and may show how far it is.

  Returns:
    The survey, sorted as in the index, on the host.

  Raises:
    FileNotFoundError: The archive, its index or a file that it names is not there.
    OSError: The system does not let a file of it be read.
    UserError: Anything in it is not as the format says; the sentence names the file or the row.
  """
  root = pathlib.Path(root)
  table = read_index(root)
  field = _read_fields(root, table, scratch, progress)
  survey = build_survey(table, field, float(table.meta['pixel_scale_mm']), str(table.meta['source']))
  _check_missing(survey, max_missing)
  return survey.replace(folder=str(root.resolve()))


def read_index(root: pathlib.Path) -> Table:
  """Reads `survey.ecsv`, brings its columns to the units of the format, and checks the rows.

  Raises:
    FileNotFoundError: There is no index.
    OSError: The system does not let it be read.
    UserError: The index is not ECSV, lacks columns or keys, or a row is not consistent.
  """
  path = root / INDEX_NAME
  if not path.exists():
    raise FileNotFoundError(f'{root} is not a survey archive: there is no {INDEX_NAME} in it.')
  table = read_table(path, 'survey index')
  absent = [key for key in ('format_version', 'pixel_scale_mm', 'source') if key not in table.meta]
  if absent:
    raise UserError(f'{path} lacks the meta keys {", ".join(absent)}.')
  if table.meta['format_version'] != FORMAT_VERSION:
    raise UserError(
      f'{path} has format version {table.meta["format_version"]!r}; this hearjax reads version {FORMAT_VERSION}.'
    )
  scale = table.meta['pixel_scale_mm']
  if not (isinstance(scale, (int, float)) and np.isfinite(scale) and scale > 0):
    raise UserError(f'{path} gives pixel_scale_mm = {scale!r}; a positive number of Mm per pixel is needed.')
  table = check_rows(str(path), table)
  check_pairs(str(path), table)
  return table


def read_region(path: pathlib.Path) -> Survey:
  """Reads one region file that hearjax wrote, without the index: rows from INTERVALS, maps from MAGNETOGRAM.

  Raises:
    UserError: The file is damaged, or its rows and maps do not belong together.
  """
  maps, cards = read_region_maps(path)
  scale, source = cards.number('PIXSCALE'), cards.text('SOURCE')
  if scale is None or source is None:
    raise UserError(f'{path} does not stand alone: its image lacks the keywords PIXSCALE and SOURCE.')
  with told_as_damage(path), open(path, 'rb') as file, fits.open(file, checksum=True, memmap=False) as hdus:
    table = Table.read(hdus['INTERVALS']) if 'INTERVALS' in hdus else None
  if table is None:
    raise UserError(f'{path} does not stand alone: it has no table extension INTERVALS.')
  table = check_rows(str(path), table)
  planes = np.asarray(table['plane'])
  if len(set(table['region_id'])) > 1 or planes.min() < 0 or planes.max() >= len(maps):
    raise UserError(f'{path}: INTERVALS must describe the {len(maps)} planes of one region.')
  return build_survey(table, maps[planes], scale, source)


def read_region_maps(path: pathlib.Path) -> tuple[np.ndarray, Cards]:
  """Reads `[plane, y, x]` field [G] of a region file, NaN where there is none, and its keywords; verifies checksums.

  Raises:
    OSError: The system does not let it be read.
    UserError: The file is truncated or damaged, has no such image, or is not in gauss; or its maps are not square.
  """
  with told_as_damage(path), open(path, 'rb') as file, fits.open(file, checksum=True, memmap=False) as hdus:
    image = next((hdu for hdu in hdus if hdu.name == 'MAGNETOGRAM'), None)
    maps, cards, blanks = None, None, ()
    if image is not None:
      blanks = lost_blanks(image.header)  # Before the data are read: astropy then changes the header.
      maps, cards = image.data, read_cards(path, image.header)
  if image is None:
    raise UserError(f'{path} has no image extension MAGNETOGRAM.')
  if maps is None or maps.ndim != 3:
    raise UserError(f'{path}: MAGNETOGRAM must have the axes [plane, y, x], got shape {getattr(maps, "shape", None)}.')
  if maps.shape[1] != maps.shape[2]:
    raise UserError(
      f'{path} holds maps of {maps.shape[1:]} px; they must be square to be transposed and cropped, so cut them.'
    )
  if not is_gauss(cards):
    raise UserError(f'{path} has BUNIT {field_unit(cards)!r}; the field must be in Gauss.')
  return mask_lost(maps, *blanks), cards


def _check_missing(survey: Survey, max_missing: float) -> None:
  over = np.sum(survey.missing > max_missing)
  if over:
    worst = int(np.argmax(survey.missing))
    raise UserError(
      f'{over} of {len(survey)} magnetograms have more than {max_missing:.0%} missing pixels, the worst '
      f'{survey.missing[worst]:.0%} ({survey.region_names()[worst]}, interval {survey.interval[worst]}); '
      'leave such regions out of the archive or raise the limit.'
    )


def _read_fields(root: pathlib.Path, table: Table, scratch: str | os.PathLike | None, progress: Progress) -> np.ndarray:
  files, planes = np.asarray(table['file']), np.asarray(table['plane'])
  field = None
  for name in progress(list(dict.fromkeys(files.tolist()))):
    try:
      maps, _ = read_region_maps(_inside(root, name))
    except FileNotFoundError as error:
      raise FileNotFoundError(f'{root / INDEX_NAME} names the file {name!r}, which is not there.') from error
    if field is None:
      field = _room((len(table), *maps.shape[1:]), scratch)
    if maps.shape[1:] != field.shape[1:]:
      raise UserError(
        f'{root / name} holds maps of {maps.shape[1:]} px, other files of {field.shape[1:]} px; '
        'all maps of a survey must have one size.'
      )
    rows = np.flatnonzero(files == name)
    bad = planes[rows][(planes[rows] < 0) | (planes[rows] >= len(maps))]
    if bad.size:
      raise UserError(f'{root / INDEX_NAME} asks for plane {bad[0]} of {name}, which has planes 0 to {len(maps) - 1}.')
    field[rows] = maps[planes[rows]]
  return field


def _room(shape: tuple[int, ...], scratch: str | os.PathLike | None) -> np.ndarray:
  if scratch is None:
    return np.empty(shape, np.float32)
  if not pathlib.Path(scratch).is_dir():
    raise NotADirectoryError(f'The folder {scratch} for a file of the maps is not there; make it, or name another.')
  needed, free = 4 * int(np.prod(shape)), shutil.disk_usage(scratch).free
  if needed > free:  # Written through a mapping, a full disk would kill the process.
    raise OSError(
      f'{scratch} has {free / 1e6:.0f} MB left, and the maps need {needed / 1e6:.0f} MB; name another folder.'
    )
  with tempfile.TemporaryFile(dir=scratch) as file:  # The mapping outlives the name and the handle of its file.
    return np.memmap(file, np.float32, mode='w+', shape=shape)


def _inside(root: pathlib.Path, name: str) -> pathlib.Path:
  path = root / name
  if not path.resolve().is_relative_to(root.resolve()):
    raise UserError(f'{root / INDEX_NAME} names the file {name!r}, which lies outside the archive.')
  return path
