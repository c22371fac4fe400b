"""A survey in memory: magnetograms and what is known about each, as NumPy arrays that share their first axis."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hearjax.checks import UserError


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Survey:
  """Magnetograms with what is known about each.

  Attributes:
    field: `[n, y, x]` line-of-sight field [G], NaN where missing.
    label: `[n]` 1 for a region that will emerge (PE), 0 for a control region (NE).
    interval: `[n]` number of the time interval, -5 … 1.
    noaa: `[n]` NOAA active-region number, 0 for none.
    n_frames: `[n]` frames averaged into the magnetogram.
    quality: `[n]` quality bits, 0 for good.
    hours, hours_start, hours_end: `[n]` middle, start and end of the interval relative to the emergence time [h].
    latitude, longitude: `[n]` heliographic (Carrington) position of the centre [deg].
    cmd: `[n]` central-meridian distance, positive west [deg].
    mu: `[n]` cosine of the heliocentric angle.
    missing: `[n]` fraction of non-finite pixels.
    mjd: `[n]` middle of the interval, modified Julian date (UTC), float64.
    region, pair: `[n]` index into `region_ids`, `pair_ids`.
    region_ids, pair_ids: Names of the regions and pairs.
    pixel_scale_mm: Side of a pixel [Mm].
    source: Where the magnetograms come from (`simulated`, `hear`, `jsoc`, …).
    folder: Folder of the archive that it was read from; empty for one made in memory.
  """

  field: np.ndarray
  label: np.ndarray
  interval: np.ndarray
  noaa: np.ndarray
  n_frames: np.ndarray
  quality: np.ndarray
  hours: np.ndarray
  hours_start: np.ndarray
  hours_end: np.ndarray
  latitude: np.ndarray
  longitude: np.ndarray
  cmd: np.ndarray
  mu: np.ndarray
  missing: np.ndarray
  mjd: np.ndarray
  region: np.ndarray
  pair: np.ndarray
  region_ids: tuple[str, ...]
  pair_ids: tuple[str, ...]
  pixel_scale_mm: float
  source: str
  folder: str = ''

  def __len__(self) -> int:
    return len(self.label)

  def __repr__(self) -> str:
    y, x = self.field.shape[1:]
    intervals = ', '.join(f'TI{number:+03d}' for number in np.unique(self.interval))
    return (
      f'<Survey: {len(self)} magnetograms of {len(np.unique(self.pair))} pairs ({intervals}), {y} x {x} px of '
      f'{self.pixel_scale_mm:g} Mm, source {self.source}>'
    )

  def select(self, index: Any) -> 'Survey':
    """Returns the magnetograms at `index` (integers, booleans or a slice), with the names that are left."""
    chosen = {name: getattr(self, name)[index] for name in COLUMNS}
    region_ids, region = _keep_names(self.region_ids, chosen['region'])
    pair_ids, pair = _keep_names(self.pair_ids, chosen['pair'])
    return self.replace(**chosen | {'region': region, 'pair': pair, 'region_ids': region_ids, 'pair_ids': pair_ids})

  def replace(self, **changes: Any) -> 'Survey':
    """Returns the survey with other values of some attributes."""
    return dataclasses.replace(self, **changes)

  def region_names(self) -> np.ndarray:
    """Returns `[n]` region_id of every magnetogram."""
    return np.asarray(self.region_ids, dtype=str)[self.region]

  def pair_names(self) -> np.ndarray:
    """Returns `[n]` pair_id of every magnetogram."""
    return np.asarray(self.pair_ids, dtype=str)[self.pair]


# What there is of each magnetogram.
COLUMNS = tuple(field.name for field in dataclasses.fields(Survey) if field.type is np.ndarray)


def index_names(names: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the distinct names, sorted, and `[n]` the index of each name among them."""
  distinct, index = np.unique(np.asarray(list(names), dtype=str), return_inverse=True)
  return tuple(str(name) for name in distinct), index.astype(np.int32)


def _keep_names(names: Sequence[str], index: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the names that an index still points at, in their order, and `[n]` the index among them."""
  left, again = np.unique(index, return_inverse=True)
  return tuple(names[number] for number in left), again.astype(index.dtype)


def concatenate(surveys: Sequence[Survey]) -> Survey:
  """Joins surveys of one pixel scale and one map size; the same region_id is the same region.

  Raises:
    UserError: No survey is given, or pixel scales or map sizes differ.
  """
  if not surveys:
    raise UserError('There is no survey to concatenate; give at least one.')
  scales = {survey.pixel_scale_mm for survey in surveys}
  shapes = {tuple(survey.field.shape[1:]) for survey in surveys}
  if len(scales) > 1 or len(shapes) > 1:
    raise UserError(
      f'The surveys differ: map sizes {sorted(shapes)} px, pixel scales {sorted(scales)} Mm; '
      'bring them to one grid before joining them.'
    )
  region_ids, region = index_names(name for survey in surveys for name in survey.region_names())
  pair_ids, pair = index_names(name for survey in surveys for name in survey.pair_names())
  joined = {name: np.concatenate([getattr(survey, name) for survey in surveys]) for name in COLUMNS}
  joined |= {'region': region, 'pair': pair, 'region_ids': region_ids, 'pair_ids': pair_ids}
  return surveys[0].replace(**joined, source='+'.join(sorted({survey.source for survey in surveys})), folder='')


def checksum(survey: Survey) -> str:
  """Returns a SHA-256 of the content: the same for the same magnetograms, however they are stored or sorted.

  Numbers count with the 32 bits that a device holds; every NaN counts as the same.
  """
  names = survey.region_names()
  order = np.lexsort((survey.interval, names))
  digest = hashlib.sha256(repr(round(survey.pixel_scale_mm, 6)).encode())
  digest.update(repr(list(zip(names[order].tolist(), survey.pair_names()[order].tolist(), strict=True))).encode())
  for column in COLUMNS:
    if column in ('region', 'pair'):  # Their names count.
      continue
    array = getattr(survey, column)
    digest.update(repr(array.shape).encode())
    for row in order:
      digest.update(_canonical(array[row]).tobytes())
  return digest.hexdigest()


def _canonical(values: np.ndarray) -> np.ndarray:
  if values.dtype.kind in 'iu':
    return values.astype(np.int32)
  return np.where(np.isnan(values), np.float32(np.nan), values.astype(np.float32))
