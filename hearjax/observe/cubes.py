"""HEAR datacubes: when their frames were taken, on which grid they lie, and their mean over time.

A cube is a FITS image `[frame, y, x]` of the line-of-sight field, plain, compressed tile by tile, or gzipped. At
547 frames of 512 x 512 pixels it has 574 MB, so it is read in blocks of frames and never held whole.
"""

import contextlib
import dataclasses
import gzip
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits

from hearjax.checks import UserError
from hearjax.observe.geometry import ANGLES, LENGTHS, angle_unit, roll, scale_and_matrix
from hearjax.solar import SOLAR_RADIUS_MM
from hearjax.survey.headers import Cards, field_unit, find_field, is_gauss, told_as_damage
from hearjax.survey.pixels import fill_value, lost_blanks, mask_lost

DEFAULT_CADENCE_S = 45.0
BLOCK_FRAMES = 32  # 32 frames of 128 x 512 float32 pixels are 8 MB.

LENGTHS_MM = {name.lower(): metres / 1e6 for name, metres in LENGTHS.items()}  # Nobody means millimetres on the Sun.
# Spellings of units of time that astropy does not know, beside their plurals.
TIMES = {'sec': 's', 'second': 's', 'minute': 'min', 'hr': 'h', 'hour': 'h', '': 's'}


@dataclasses.dataclass(frozen=True)
class Cube:
  """An open cube of the line-of-sight field.

  Attributes:
    cards: Its keywords.
    hdu: Its image `[frame, y, x]` [G].
    blanks: Numbers that stand for missing pixels though the header does not say so.
  """

  cards: Cards
  hdu: fits.ImageHDU
  blanks: tuple[float, ...]


@contextlib.contextmanager
def open_cube(path: pathlib.Path) -> Iterator[Cube]:
  """Opens a cube of the line-of-sight field and checks what its header says.

  Raises:
    FileNotFoundError: It is not there.
    UserError: It is damaged, has no image `[frame, y, x]`, or is not in gauss.
  """
  with contextlib.ExitStack() as stack:
    with told_as_damage(path):
      file = stack.enter_context(_opened_plain(path))
      hdus = stack.enter_context(fits.open(file, memmap=False))
      hdu, cards = find_field(path, hdus, axes=('frame', 'y', 'x'))
    if is_gauss(cards) is None:
      warnings.warn('Some cubes have no BUNIT; their field is taken to be in Gauss.', stacklevel=3)
    elif not is_gauss(cards):
      raise UserError(f'{path} has BUNIT {field_unit(cards)!r}; a line-of-sight field in Gauss is needed.')
    yield Cube(cards, hdu, lost_blanks(hdu.header))


def average_frames(cube: Cube, kept: np.ndarray, size: int, min_valid: float) -> tuple[np.ndarray, np.ndarray]:
  """Averages the frames of a cube over its central square.

  Args:
    cube: The cube, from `open_cube`.
    kept: `[frame]` whether a frame may be used.
    size: Side of the square [px].
    min_valid: Fraction of the used frames that a pixel needs to be finite in; NaN where it has fewer.

  Returns:
    `[size, size]` mean field [G], and `[frame]` whether a frame was used. A frame that has no finite pixel, or is
    zero throughout, was never observed and is not used.

  Raises:
    UserError: The cube is truncated, or the square does not fit on its grid.
  """
  path = cube.cards.path
  top, left = (_crop_start(path, length, size) for length in cube.hdu.shape[1:])
  total = np.zeros((size, size), np.float64)
  count = np.zeros((size, size), np.int32)
  used = np.zeros(len(kept), bool)
  for start in range(0, len(kept), BLOCK_FRAMES):
    block = slice(start, start + BLOCK_FRAMES)
    if not kept[block].any():
      continue
    with told_as_damage(path):
      # Whole rows, cropped in memory: one read per frame instead of one per row.
      frames = cube.hdu.section[start : min(block.stop, len(kept)), top : top + size, :]
    # Frame by frame, so that the blocks do not show in what is taken for a fill value.
    frames = np.stack([mask_lost(frame, *cube.blanks, fill_value(frame)) for frame in frames[:, :, left : left + size]])
    finite = np.isfinite(frames)
    used[block] = kept[block] & np.any(finite & (frames != 0), axis=(1, 2))
    finite &= used[block][:, None, None]
    total += np.sum(frames, axis=0, where=finite, dtype=np.float64)
    count += np.sum(finite, axis=0, dtype=np.int32)
  enough = (count > 0) & (count >= min_valid * np.sum(used))
  mean = np.full((size, size), np.nan, np.float32)
  mean[enough] = total[enough] / count[enough]
  return mean, used


def cadence_s(cards: Cards) -> float:
  """Returns the time between frames [s]: CDELT3, or the 45 s of HMI where the header has none.

  A CDELT3 of 1 without CUNIT3 is the default of the FITS standard and says nothing.
  """
  step, unit = cards.number('CDELT3'), cards.text('CUNIT3') or ''
  if step is None or (step == 1 and not unit):
    return DEFAULT_CADENCE_S
  try:
    name = unit.lower() if unit in ('s', 'S') else unit.lower().removesuffix('s')
    cadence = (step * u.Unit(TIMES.get(name, name))).to_value('s')
  except (ValueError, TypeError, u.UnitConversionError) as error:
    raise UserError(
      f'{cards.path} has CDELT3 = {step:g} {unit}, which is no time between frames; set the cadence (cadence_s).'
    ) from error
  if not cadence > 0:
    raise UserError(f'{cards.path} has CDELT3 = {step:g} {unit}; the time between frames must be positive.')
  return float(cadence)


def pixel_scale_mm(cards: Cards, is_needed: bool = False) -> float | None:
  """Returns the side of a pixel [Mm] from its scale (CDELT or CD) and CUNIT1, None where the header does not tell.

  A scale of 1 without a unit is the default of the FITS standard and says nothing.

  Args:
    cards: The keywords.
    is_needed: Whether a scale without its unit is refused: nobody else tells it.

  Raises:
    UserError: Pixels are not square, north is not up, or the unit is neither an angle on the Sun nor a length.
  """
  told = cards.first('CDELT1', 'CD1_1')
  if not told or not cards.first('CUNIT1'):
    _check_upright(cards, roll(cards))
    if told and is_needed and cards.number(told) != 1:
      raise UserError(f'{cards.path} has {told} but no CUNIT1; add the unit, or give the side of a pixel in Mm.')
    return None
  unit, unit_2 = cards.text('CUNIT1'), cards.text('CUNIT2')
  angle = angle_unit(unit)
  if angle in ('arcsec', 'mas'):
    raise UserError(f'{cards.path} has CUNIT1 {unit!r}: that is no map projected onto the Sun (deg or Mm).')
  if not angle and unit.lower() not in LENGTHS_MM:
    raise UserError(f'{cards.path} has CUNIT1 {unit!r}; deg or Mm is needed.')
  if unit_2 and (angle_unit(unit_2) or unit_2.lower()) != (angle or unit.lower()):
    raise UserError(f'{cards.path} has CUNIT1 {unit!r} and CUNIT2 {unit_2!r}; one unit for both axes is needed.')
  if cards.first('CDELT1') and not cards.first('CDELT2'):
    cards = dataclasses.replace(cards, values={**cards.values, 'CDELT2': cards.values['CDELT1']})
  axes = scale_and_matrix(cards, np.ones(2))
  step = axes['CDELT1'] * np.hypot(axes['PC1_1'], axes['PC2_1'])
  _check_upright(cards, roll(cards))
  if step <= 0 or not np.isclose(step, axes['CDELT2'] * axes['PC2_2'], rtol=1e-3):
    raise UserError(
      f'{cards.path} has CDELT1 = {axes["CDELT1"]:g} and CDELT2 = {axes["CDELT2"]:g}; square pixels with north up and '
      'west to the right are needed.'
    )
  if angle:
    return float(np.deg2rad(step * ANGLES[angle]) * SOLAR_RADIUS_MM)
  return float(step * LENGTHS_MM[unit.lower()])


def _check_upright(cards: Cards, roll_deg: float) -> None:
  if abs(roll_deg) > 0.01:
    raise UserError(f'{cards.path} is turned by {roll_deg:g} deg; maps with north up are needed.')


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
