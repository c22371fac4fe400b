"""What the headers of a folder of magnetograms say: when each was taken, how good it is, and by which instrument.

Pixels are not read. Headers are: with those of real HMI frames about 10 ms each, so that what they say is kept in a
table. A file is known by its name, its size and when it was last written.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import read_table, visible_files, write_table
from hearjax.observe.geometry import standard_geometry
from hearjax.observe.times import observation_time
from hearjax.progress import Progress, silent
from hearjax.survey.headers import Cards, field_unit, find_field, is_gauss, quality_bits, told_as_damage

SAME_TIME_S = 5.0  # Closer frames are two of one time; the fastest cadence in use is 45 s.
INDEX_VERSION = 1
COLUMNS = ('file', 'size', 'mtime_ns', 'mjd', 'quality', 'instrument')


@dataclasses.dataclass(frozen=True)
class FrameIndex:
  """The frames of a folder, sorted by time.

  Attributes:
    files: Their paths relative to the folder.
    mjd: `[n]` middle of each observation, modified Julian date in UTC.
    quality: `[n]` QUALITY bits.
    instrument: What took them: telescope, instrument and cadence.
  """

  files: tuple[str, ...]
  mjd: np.ndarray
  quality: np.ndarray
  instrument: str


def index_folder(
  folder: pathlib.Path, pattern: str, index_path: pathlib.Path | None, progress: Progress = silent
) -> FrameIndex:
  """Returns what the headers of a folder's frames say.

  Args:
    folder: The folder; what lies in folders below it counts, too.
    pattern: Names of the frames.
    index_path: Table of an earlier call, which is brought up to date; may be absent.
    progress: Goes through the headers, and may show how far it is.

  Raises:
    FileNotFoundError: There is no such folder.
    UserError: It holds no such file, a file is no magnetogram with a place and a time, or two do not belong together.
    OSError: A file cannot be read or written.
  """
  if not folder.is_dir():
    raise FileNotFoundError(f'There is no folder {folder}; name the one with the frames.')
  files = {str(path.relative_to(folder)): path for path in visible_files(folder, f'**/{pattern}') if path.is_file()}
  if not files:
    raise UserError(f'{folder} holds no file {pattern!r}; put frames there, or name another pattern.')
  known = _known_rows(index_path)
  rows = _up_to_date(known, files, index_path, progress)
  instruments: dict[str, str] = {}
  for name, (*_, instrument) in rows.items():
    instruments.setdefault(instrument, name)
  if len(instruments) > 1:
    told = ' and '.join(f'{one or "one without a name"} ({name})' for one, name in list(instruments.items())[:2])
    raise UserError(
      f'{folder} holds frames of several instruments: {told}; keep those of one in a folder of their own, or narrow '
      f'the pattern {pattern!r}.'
    )
  names = sorted(rows, key=lambda name: rows[name][2])
  mjd = np.array([rows[name][2] for name in names])
  twice = np.flatnonzero(np.diff(mjd) * 86400 < SAME_TIME_S)
  if twice.size:
    raise UserError(
      f'{folder} holds two frames of one time: {names[twice[0]]} and {names[twice[0] + 1]}; keep one of them (and '
      'cutouts of several places in folders of their own).'
    )
  return FrameIndex(tuple(names), mjd, np.array([rows[name][3] for name in names], np.int64), next(iter(instruments)))


# Name -> size [bytes], when it was last written [ns], mjd, quality, instrument.
Rows = dict[str, tuple[int, int, float, int, str]]


def _known_rows(index_path: pathlib.Path | None) -> Rows:
  if index_path is None or not index_path.exists():
    return {}
  try:
    table = read_table(index_path, 'index of frames')
  except UserError:
    return {}  # It can be made again.
  if table.meta.get('index_version') != INDEX_VERSION or not set(COLUMNS) <= set(table.colnames):
    return {}
  columns = [np.ma.filled(table[name], '') if name == 'instrument' else table[name] for name in COLUMNS]
  return {row[0]: row[1:] for row in zip(*(column.tolist() for column in columns), strict=True)}


def _up_to_date(
  known: Rows, files: dict[str, pathlib.Path], index_path: pathlib.Path | None, progress: Progress
) -> Rows:
  """Returns the rows of all files; what has been read is kept whatever comes after it."""
  rows: Rows = {}
  unread = []
  for name, path in files.items():
    stat = path.stat()
    if known.get(name, ())[:2] == (stat.st_size, stat.st_mtime_ns):
      rows[name] = known[name]
    else:
      unread.append((name, path, stat.st_size, stat.st_mtime_ns))
  try:
    for name, path, size, mtime in progress(unread):
      rows[name] = (size, mtime, *_read_header(path))
  except BaseException:
    with contextlib.suppress(OSError):  # The first error is the one to tell.
      _keep(rows, index_path)
    raise
  if unread or len(rows) != len(known):
    _keep(rows, index_path)
  return rows


def _keep(rows: Rows, index_path: pathlib.Path | None) -> None:
  if index_path is None or not rows:
    return
  table = Table(rows=[(name, *row) for name, row in rows.items()], names=COLUMNS)
  table.meta['index_version'] = INDEX_VERSION
  write_table(index_path, table)


def _read_header(path: pathlib.Path) -> tuple[float, int, str]:
  """Returns time [mjd, UTC], quality, and instrument of a frame.

  Raises:
    UserError: It is no magnetogram in gauss with a place and a time.
  """
  with told_as_damage(path), path.open('rb') as file, fits.open(file, memmap=False) as hdus:
    hdu, cards = find_field(path, hdus, axes=('y', 'x'))
    shape = hdu.shape[-2:]
  if not is_gauss(cards):
    raise UserError(f'{path} has BUNIT {field_unit(cards)!r}; magnetograms in Gauss are needed, narrow the pattern.')
  standard_geometry(cards, shape)  # Who maps it needs it; where the observer lacks, he assumes Earth.
  time = observation_time(cards)
  if time is None:
    raise UserError(f'{path} does not say when it was observed; set DATE-OBS in the header.')
  return time.utc.mjd, quality_bits(cards) & 0xFFFFFFFF, _instrument(cards)


def _instrument(cards: Cards) -> str:
  """Returns telescope, instrument and cadence; one instrument, whichever of HMI's cameras it was (HMI_SIDE1)."""
  instrument = (cards.text('INSTRUME') or '').partition('_')[0]
  cadence = cards.number('CADENCE')
  parts = (cards.text('TELESCOP'), instrument, None if cadence is None else f'{cadence:g} s')
  return ' '.join(filter(None, parts))
