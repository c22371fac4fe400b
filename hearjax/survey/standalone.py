"""Region files that stand alone: the index of an archive from the rows that each of them holds."""

import os
import pathlib

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack

import hearjax
from hearjax.checks import UserError
from hearjax.files import visible_files, write_table
from hearjax.survey.archive import FORMAT_VERSION, INDEX_NAME, check_unused, read_region
from hearjax.survey.index import COLUMNS, check_pairs, check_rows


def find_regions(root: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the region files of a folder: those in `regions`, as in an archive, else those in it."""
  root = pathlib.Path(root)
  return visible_files(root / 'regions', '*.fits') or visible_files(root, '*.fits')


def index_regions(root: str | os.PathLike) -> int:
  """Writes `survey.ecsv` beside region files that lack it, from the rows in their INTERVALS; they stay as they are.

  Args:
    root: Folder of the archive.

  Returns:
    How many region files it has.

  Raises:
    FileNotFoundError: There is no region file.
    FileExistsError: There is an index.
    UserError: A file is damaged or does not stand alone, scales or sources differ, or a pair is not whole.
    OSError: The folder cannot be written.
  """
  root = pathlib.Path(root)
  check_unused(root)
  paths = find_regions(root)
  if not paths:
    raise FileNotFoundError(f'{root} is no survey archive: there is neither {INDEX_NAME} nor a region file in it.')
  rows, found = [], {'pixel_scale_mm': {}, 'source': {}}
  for path in paths:
    region = read_region(path)  # With all checks of its maps and rows.
    with fits.open(path) as hdus:
      table = Table.read(hdus['INTERVALS'])
    table.meta = {}
    table = table[list(COLUMNS)]
    table['file'] = np.full(len(table), path.relative_to(root).as_posix())
    rows.append(table)
    found['pixel_scale_mm'].setdefault(round(region.pixel_scale_mm, 6), path)
    found['source'].setdefault(region.source, path)
  for name, values in found.items():
    if len(values) > 1:
      told = ', '.join(f'{value} in {path.name}' for value, path in list(values.items())[:2])
      raise UserError(f'The region files of {root} differ in {name} ({told}); make one survey of each.')
  index = vstack(rows)
  check_pairs(str(root), check_rows(str(root), index))
  index.meta = {
    'format_version': FORMAT_VERSION,
    'projection': 'postel',
    **{name: next(iter(values)) for name, values in found.items()},
    'creator': f'hearjax {hearjax.__version__}',
  }
  write_table(root / INDEX_NAME, index)
  return len(paths)
