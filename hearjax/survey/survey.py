"""A survey in memory: magnetograms and what is known about each, as one pytree."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from flax import struct


@struct.dataclass
class Survey:
  """Magnetograms with what is known about each; a pytree whose leaves share their first axis.

  `jax.tree.map(lambda leaf: leaf[index], survey)` is a selection, which is all that `select` does.

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
    mjd: `[n]` middle of the interval, modified Julian date (UTC); float64 on the host, and no better than
      six minutes once JAX has made it float32.
    region, pair: `[n]` index into `region_ids`, `pair_ids`.
    region_ids, pair_ids: Names of the regions and pairs.
    pixel_scale_mm: Side of a pixel [Mm].
    source: Where the magnetograms come from (`simulated`, `hear`, `jsoc`, …).
  """

  field: jax.Array
  label: jax.Array
  interval: jax.Array
  noaa: jax.Array
  n_frames: jax.Array
  quality: jax.Array
  hours: jax.Array
  hours_start: jax.Array
  hours_end: jax.Array
  latitude: jax.Array
  longitude: jax.Array
  cmd: jax.Array
  mu: jax.Array
  missing: jax.Array
  mjd: jax.Array
  region: jax.Array
  pair: jax.Array
  region_ids: tuple[str, ...] = struct.field(pytree_node=False)
  pair_ids: tuple[str, ...] = struct.field(pytree_node=False)
  pixel_scale_mm: float = struct.field(pytree_node=False)
  source: str = struct.field(pytree_node=False)

  def __len__(self) -> int:
    return len(self.label)

  def select(self, index: Any) -> 'Survey':
    """Returns the magnetograms at `index` (integers, booleans or a slice)."""
    return jax.tree.map(lambda leaf: leaf[index], self)

  def to_device(self, device: Any = None) -> 'Survey':
    """Returns the survey with its leaves on `device` (a JAX device or sharding; the default one for None)."""
    return jax.device_put(self, device)

  def region_names(self) -> np.ndarray:
    """Returns `[n]` region_id of every magnetogram."""
    return np.asarray(self.region_ids, dtype=str)[np.asarray(self.region)]

  def pair_names(self) -> np.ndarray:
    """Returns `[n]` pair_id of every magnetogram."""
    return np.asarray(self.pair_ids, dtype=str)[np.asarray(self.pair)]


def index_names(names: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the distinct names, sorted, and `[n]` the index of each name among them."""
  distinct, index = np.unique(np.asarray(list(names), dtype=str), return_inverse=True)
  return tuple(str(name) for name in distinct), index.astype(np.int32)


def concatenate(surveys: Sequence[Survey]) -> Survey:
  """Joins surveys of one pixel scale and one map size; the same region_id is the same region.

  Raises:
    ValueError: No survey is given, or pixel scales or map sizes differ.
  """
  if not surveys:
    raise ValueError('There is no survey to concatenate; give at least one.')
  scales = {survey.pixel_scale_mm for survey in surveys}
  shapes = {tuple(survey.field.shape[1:]) for survey in surveys}
  if len(scales) > 1 or len(shapes) > 1:
    raise ValueError(
      f'The surveys differ: map sizes {sorted(shapes)} px, pixel scales {sorted(scales)} Mm; '
      'bring them to one grid before joining them.'
    )
  region_ids, region = index_names(name for survey in surveys for name in survey.region_names())
  pair_ids, pair = index_names(name for survey in surveys for name in survey.pair_names())
  sources = sorted({survey.source for survey in surveys})
  first = surveys[0].replace(region_ids=region_ids, pair_ids=pair_ids, source='+'.join(sources))
  others = [survey.replace(region_ids=region_ids, pair_ids=pair_ids, source=first.source) for survey in surveys[1:]]
  joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, *others)
  return joined.replace(region=region, pair=pair)


def checksum(survey: Survey) -> str:
  """Returns a SHA-256 of the content: the same for the same magnetograms, however they are stored or sorted.

  Numbers count with the 32 bits that a device holds, so that a survey on a device has the checksum of the one on the
  host; every NaN counts as the same.
  """
  names = survey.region_names()
  order = np.lexsort((np.asarray(survey.interval), names))
  digest = hashlib.sha256(repr(round(survey.pixel_scale_mm, 6)).encode())
  digest.update(repr(list(zip(names[order].tolist(), survey.pair_names()[order].tolist(), strict=True))).encode())
  for leaf in jax.tree.leaves(survey.replace(region=None, pair=None)):
    array = np.asarray(leaf)
    digest.update(repr(array.shape).encode())
    for row in order:
      digest.update(_canonical(array[row]).tobytes())
  return digest.hexdigest()


def _canonical(values: np.ndarray) -> np.ndarray:
  if values.dtype.kind in 'iu':
    return values.astype(np.int32)
  return np.where(np.isnan(values), np.float32(np.nan), values.astype(np.float32))
