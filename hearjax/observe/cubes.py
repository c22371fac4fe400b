"""HEAR datacubes: when their frames were taken, on which grid they lie, and their mean over time.

A cube is a FITS image `[frame, y, x]` of the line-of-sight field, plain, compressed tile by tile, or gzipped. At
547 frames of 512 x 512 pixels it has 574 MB, so it is read in blocks of frames and never held whole.
"""

import contextlib
import gzip
import pathlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.solar import SOLAR_RADIUS_MM
from hearjax.survey.headers import is_gauss, told_as_damage

TIME_KEYWORDS = ('T_REC', 'DATE-OBS', 'T_OBS', 'TSTART', 'T_START')
DEFAULT_CADENCE_S = 45.0
BLOCK_FRAMES = 32  # 32 frames of 128 x 512 float32 pixels are 8 MB.

_TIME = re.compile(r'(\d{4})[.-](\d\d)[.-](\d\d)[_T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?:_?(TAI|UTC|UT|Z))?')


@contextlib.contextmanager
def open_cube(path: pathlib.Path) -> Iterator[fits.ImageHDU]:
  """Opens a cube of the line-of-sight field and checks what its header says.

  Raises:
    FileNotFoundError: It is not there.
    UserError: It is damaged, has no image `[frame, y, x]`, or is not in gauss.
  """
  with contextlib.ExitStack() as stack:
    with told_as_damage(path):
      file = stack.enter_context(_opened_plain(path))
      hdus = stack.enter_context(fits.open(file, memmap=False))
      hdu = next((hdu for hdu in hdus if len(hdu.shape or ()) >= 2), None)
    if hdu is None or not hdu.is_image or len(hdu.shape) != 3:
      raise UserError(
        f'{path} must hold an image with the axes [frame, y, x], got shape {getattr(hdu, "shape", None)}.'
      )
    if 'BUNIT' not in hdu.header:
      warnings.warn('Some cubes have no BUNIT; their field is taken to be in Gauss.', stacklevel=3)
    elif not is_gauss(hdu.header):
      raise UserError(f'{path} has BUNIT {hdu.header["BUNIT"]!r}; a line-of-sight field in Gauss is needed.')
    yield hdu


def average_frames(
  path: pathlib.Path, hdu: fits.ImageHDU, kept: np.ndarray, size: int, min_valid: float
) -> tuple[np.ndarray, np.ndarray]:
  """Averages the frames of a cube over its central square.

  Args:
    path: Where the cube lies, for the sentence of an error.
    hdu: The cube, from `open_cube`.
    kept: `[frame]` whether a frame may be used.
    size: Side of the square [px].
    min_valid: Fraction of the used frames that a pixel needs to be finite in; NaN where it has fewer.

  Returns:
    `[size, size]` mean field [G], and `[frame]` whether a frame was used. A frame that has no finite pixel, or is
    zero throughout, was never observed and is not used.

  Raises:
    UserError: The cube is truncated, or the square does not fit on its grid.
  """
  top, left = (_crop_start(path, length, size) for length in hdu.shape[1:])
  total = np.zeros((size, size), np.float64)
  count = np.zeros((size, size), np.int32)
  used = np.zeros(len(kept), bool)
  for start in range(0, len(kept), BLOCK_FRAMES):
    block = slice(start, start + BLOCK_FRAMES)
    if not kept[block].any():
      continue
    with told_as_damage(path):
      # Whole rows, cropped in memory: one read per frame instead of one per row.
      frames = hdu.section[start : min(block.stop, len(kept)), top : top + size, :]
    frames = frames[:, :, left : left + size]
    finite = np.isfinite(frames)
    used[block] = kept[block] & np.any(finite & (frames != 0), axis=(1, 2))
    finite &= used[block][:, None, None]
    total += np.sum(frames, axis=0, where=finite, dtype=np.float64)
    count += np.sum(finite, axis=0, dtype=np.int32)
  enough = (count > 0) & (count >= min_valid * np.sum(used))
  mean = np.full((size, size), np.nan, np.float32)
  mean[enough] = total[enough] / count[enough]
  return mean, used


def parse_time(text: str, scale: str = 'utc') -> Time:
  """Reads an ISO time or a JSOC one (`2011.02.14_20:35:15_TAI`).

  Args:
    text: The time; a trailing `_TAI`, `_UTC`, `UT` or `Z` names its scale.
    scale: Its scale where it names none.

  Raises:
    UserError: It is neither.
  """
  match = _TIME.fullmatch(text.strip())
  if not match:
    raise UserError(f'{text!r} is not a time; write it as 2011-02-14T20:35:15, or as JSOC does.')
  year, month, day, clock, named = match.groups()
  scale = {'TAI': 'tai', None: scale}.get(named, 'utc')
  return Time(f'{year}-{month}-{day}T{clock}', scale=scale).utc


def first_frame_time(path: pathlib.Path, header: fits.Header) -> Time | None:
  """Returns the midpoint of the first frame, None where the header does not tell."""
  for keyword in TIME_KEYWORDS:
    if keyword in header:
      scale = 'tai' if str(header.get('TIMESYS', '')).strip().upper() == 'TAI' else 'utc'
      try:
        return parse_time(str(header[keyword]), scale)
      except ValueError as error:
        raise UserError(f'{path}, keyword {keyword}: {error}') from error
  return None


def cadence_s(path: pathlib.Path, header: fits.Header) -> float:
  """Returns the time between frames [s]: CDELT3, or the 45 s of HMI where the header has none.

  A CDELT3 of 1 without CUNIT3 is the default of the FITS standard and says nothing.
  """
  step, unit = header.get('CDELT3', 1.0), str(header.get('CUNIT3', '')).strip()
  if step == 1 and not unit:
    return DEFAULT_CADENCE_S
  try:
    cadence = (step * u.Unit({'sec': 's', 'secs': 's', '': 's'}.get(unit, unit))).to_value('s')
  except (ValueError, TypeError, u.UnitConversionError) as error:
    raise UserError(f'{path} has CDELT3 = {step} {unit}, which is no time between frames; set the cadence.') from error
  if not (np.isfinite(cadence) and cadence > 0):
    raise UserError(f'{path} has CDELT3 = {step} {unit}; the time between frames must be positive.')
  return float(cadence)


def pixel_scale_mm(path: pathlib.Path, header: fits.Header) -> float | None:
  """Returns the side of a pixel [Mm] from CDELT1 and CUNIT1, None where the header does not tell.

  Raises:
    UserError: Pixels are not square, north is not up, or the unit is neither an angle on the Sun nor a length.
  """
  if 'CDELT1' not in header or 'CUNIT1' not in header:
    return None
  step, step_y, unit = header['CDELT1'], header.get('CDELT2', header['CDELT1']), str(header['CUNIT1']).strip().lower()
  try:
    unit = u.Unit({'degree': 'deg', 'degrees': 'deg', 'mm': 'Mm'}.get(unit, unit))
  except ValueError as error:
    raise UserError(f'{path} has CUNIT1 {unit!r}; deg or Mm is needed.') from error
  if unit == u.arcsec or not (unit.is_equivalent(u.deg) or unit.is_equivalent(u.m)):
    raise UserError(f'{path} has CUNIT1 {str(unit)!r}: that is no map projected onto the Sun (deg or Mm).')
  if step <= 0 or not np.isclose(step, step_y, rtol=1e-3) or abs(header.get('CROTA2', 0)) > 0.01:
    raise UserError(
      f'{path} has CDELT1 = {step}, CDELT2 = {step_y}, CROTA2 = {header.get("CROTA2", 0)}; square pixels with north '
      'up and west to the right are needed.'
    )
  if unit.is_equivalent(u.m):
    return float((step * unit).to_value('Mm'))
  return float((step * unit).to_value('rad') * SOLAR_RADIUS_MM)


@contextlib.contextmanager
def _opened_plain(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a file; a gzipped one as a temporary copy, since astropy would unzip it anew for each block of frames."""
  with open(path, 'rb') as file:
    zipped = file.read(2) == b'\x1f\x8b'
    file.seek(0)
    if not zipped:
      yield file
      return
  with tempfile.NamedTemporaryFile() as copy:
    with gzip.open(path) as content:
      shutil.copyfileobj(content, copy, 2**20)
    copy.flush()
    with open(copy.name, 'rb') as file:
      yield file


def _crop_start(path: pathlib.Path, length: int, size: int) -> int:
  if length < size or (length - size) % 2:
    raise UserError(
      f'{path} is {length} px wide: a centred square of {size} px does not fit; choose a size that is no larger, '
      f'and {"odd" if length % 2 else "even"} as the cube is.'
    )
  return (length - size) // 2
