"""Frames: single magnetograms of the disk, and where they come from.

Whoever needs frames says which place on the Sun he must see, and when; a source returns the frames that show it. The
source here is a folder of files; the other one is JSOC (`observe.sources.jsoc`).
"""

import dataclasses
import functools
import os
import pathlib
import uuid
from typing import Protocol

import numpy as np

from hearjax.checks import UserError
from hearjax.observe.sources.frame_index import FrameIndex, index_folder

# Of HMI 0 is good; any other value should be looked into (keyword list of hmi.B_720s at JSOC). What each bit means for
# the line-of-sight observables: http://jsoc.stanford.edu/doc/data/hmi/Quality_Bits/QUALITY.txt. With the highest one
# set there is no image at all.
ALL_BITS = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class Frame:
  """One magnetogram on disk.

  Attributes:
    path: Where it lies.
    mjd: Middle of the observation, modified Julian date in UTC.
    quality: Its QUALITY bits; 0 is good.
  """

  path: str
  mjd: float
  quality: int


@dataclasses.dataclass(frozen=True)
class Need:
  """A place on the Sun that must be seen for some time.

  Attributes:
    longitude: Carrington longitude of its centre [deg].
    latitude: Heliographic latitude of its centre [deg].
    start_mjd: Begin, modified Julian date in UTC.
    end_mjd: End, modified Julian date in UTC.
    radius_mm: Half the side of the square around it that must be seen [Mm].
  """

  longitude: float
  latitude: float
  start_mjd: float
  end_mjd: float
  radius_mm: float

  def __post_init__(self) -> None:
    for entry in dataclasses.fields(self):
      object.__setattr__(self, entry.name, float(getattr(self, entry.name)))
    if not np.all(np.isfinite(dataclasses.astuple(self))) or not (self.radius_mm > 0 and abs(self.latitude) <= 90):
      raise UserError(f'A place on the Sun, a time and a size are needed, got {self}.')
    if not self.start_mjd < self.end_mjd:
      raise UserError(f'The time must begin before it ends, got {self.start_mjd} to {self.end_mjd} (MJD, UTC).')


class FrameSource(Protocol):
  """Where frames come from.

  Attributes:
    name: What the survey names as its source.
  """

  name: str

  def collect(self, need: Need) -> list[Frame]:
    """Returns the frames of good quality between start and end, both included, on disk, sorted by time."""
    ...

  def release(self, need: Need) -> None:
    """Says that the frames of a need have been used and may be removed."""
    ...


def is_bad(quality: np.ndarray | int, quality_mask: int) -> np.ndarray | bool:
  """Returns whether one of the bits that count is set; QUALITY may be a signed or an unsigned number of 32 bits."""
  return (np.asarray(quality, np.int64) & quality_mask & ALL_BITS) != 0


def check_quality_mask(quality_mask: int) -> None:
  """Raises UserError where a mask is none of 32 bits."""
  if not 0 <= quality_mask <= ALL_BITS:
    raise UserError(f'The quality_mask must be a number of 32 bits, from 0 to {ALL_BITS}, got {quality_mask}.')


class FolderSource:
  """A folder of FITS magnetograms, full disks or cutouts of one place; what lies in folders below it counts, too.

  The headers are read once, by whoever uses the source first in a process.
  """

  name = 'folder'

  def __init__(
    self,
    folder: str | os.PathLike,
    pattern: str = '*.fits',
    quality_mask: int = ALL_BITS,
    index_path: str | os.PathLike | None = None,
  ) -> None:
    """Looks at the folder.

    Args:
      folder: Where the frames lie; nothing is changed there.
      pattern: Which names they have.
      quality_mask: Bits of QUALITY that make a frame bad.
      index_path: Table (ECSV) in which to keep what the headers say: only new or changed files are read again.

    Raises:
      FileNotFoundError: There is no such folder.
      UserError: No file matches; or a file is no magnetogram that can be placed on the Sun and in time; or they are
        of several instruments or cadences, or two of them of one time.
      OSError: A file cannot be read, or the index not be written.
    """
    check_quality_mask(quality_mask)
    self.folder = pathlib.Path(folder)
    self.quality_mask = quality_mask
    # The last one is that of this source: another one looks anew.
    self._key = (str(folder), pattern, None if index_path is None else str(index_path), uuid.uuid4().hex)
    _read_index(*self._key)

  @property
  def index(self) -> FrameIndex:
    """What there is, sorted by time."""
    return _read_index(*self._key)

  def collect(self, need: Need) -> list[Frame]:
    """Returns the frames of good quality between start and end, both included, sorted by time; there may be none."""
    index, within = self.index, self._within(need)
    good = within[~is_bad(index.quality[within], self.quality_mask)]
    return [Frame(str(self.folder / index.files[row]), float(index.mjd[row]), int(index.quality[row])) for row in good]

  def count_bad(self, need: Need) -> int:
    """Returns how many frames of the time in question are left out for their quality."""
    return int(np.sum(is_bad(self.index.quality[self._within(need)], self.quality_mask)))

  def release(self, need: Need) -> None:
    """Does nothing: the frames are the user's."""

  def _within(self, need: Need) -> np.ndarray:
    first = np.searchsorted(self.index.mjd, need.start_mjd, 'left')
    return np.arange(first, np.searchsorted(self.index.mjd, need.end_mjd, 'right'))


@functools.lru_cache(maxsize=4)
def _read_index(folder: str, pattern: str, index_path: str | None, _source: str) -> FrameIndex:
  """Keeps the index beside the source: a source is sent to every task of a cluster, and 10,000 rows are not."""
  return index_folder(pathlib.Path(folder), pattern, None if index_path is None else pathlib.Path(index_path))
