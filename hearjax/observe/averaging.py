"""From frames to what a survey holds of an interval: the mean of their Postel patches. Needs the extra `sun`.

The place is fixed on Carrington's grid, so that it is followed at Carrington's rate. One frame is in memory at a time.
A frame that cannot be used is left out and told of; what is made of the others does not depend on their order.
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy.wcs import WCS
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.observe.cutouts import BeyondLimb, flux_within, mapping_change, read_cutout
from hearjax.observe.postel import MAX_ANGLE_DEG, Patch, map_positions, postel_patch
from hearjax.observe.sources.frames import Frame
from hearjax.observe.view import view_of
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM, DEFAULT_SIZE, postel_header

NOISE_GAUSS = 30.0  # Three times the noise of an HMI frame of 45 s.
LEAST_SEEN = 0.9  # Our choice: share of the area that a frame must show for its flux to count.


@dataclasses.dataclass(frozen=True)
class MappingSettings:
  """How a place is mapped and averaged.

  Attributes:
    size: Side of a patch [px].
    pixel_scale_mm: Side of a pixel [Mm].
    max_angle_deg: Heliocentric angle beyond which the field counts as missing [deg].
    min_valid: Least share of the frames in which a pixel must be observed, not to be missing in their mean.
    divide_by_mu: Divide every pixel by its mu: for a field that is radial, as that of network and plage nearly is, the
      radial field.
  """

  size: int = DEFAULT_SIZE
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM
  max_angle_deg: float = MAX_ANGLE_DEG
  min_valid: float = 0.5
  divide_by_mu: bool = False

  def __post_init__(self) -> None:
    if not self.size >= 2 or not 0 < self.pixel_scale_mm * self.size < 1000:
      raise UserError(
        f'A patch of at least 2 px and less than 1000 Mm is needed, got size {self.size} and pixel_scale_mm '
        f'{self.pixel_scale_mm}.'
      )
    if not 0 < self.max_angle_deg <= 90 or not 0 < self.min_valid <= 1:
      raise UserError(
        f'max_angle_deg must lie in (0, 90] and min_valid in (0, 1]; got {self.max_angle_deg} and {self.min_valid}.'
      )

  @property
  def radius_mm(self) -> float:
    """Half the side of the square that a frame must show [Mm]: a pixel more than the patch, for footprints overlap."""
    return (self.size / 2 + 1) * self.pixel_scale_mm


@dataclasses.dataclass(frozen=True)
class MeanPatch:
  """The mean of the patches of some frames.

  Attributes:
    field: `[y, x]` line-of-sight field, or radial field for `divide_by_mu` [G], float32; NaN where missing.
    n_frames: How many frames are in the mean.
    mu, cmd, b0: Means over them: cosine of the heliocentric angle of the centre, its central-meridian distance,
      positive west, and the latitude of the disk's centre [deg].
    missing: Fraction of pixels that are NaN.
    start_mjd, end_mjd, mjd: First, last and mean of their times, modified Julian date in UTC.
    quality: QUALITY bits that any of them has.
    unsigned_change, net_change: What the mapping did to the flux of the middle frame (`cutouts.mapping_change`).
    notes: What was assumed of the frames, empty for nothing.
    skipped: One sentence for each frame that could not be used.
  """

  field: np.ndarray
  n_frames: int
  mu: float
  cmd: float
  b0: float
  missing: float
  start_mjd: float
  end_mjd: float
  mjd: float
  quality: int
  unsigned_change: float
  net_change: float
  notes: str
  skipped: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Used:
  """What is kept of a frame in a mean; the names are those of `Patch` and `MeanPatch`."""

  frame: Frame
  mu: float
  cmd: float
  b0: float
  quality: int
  notes: str


def mean_patch(
  frames: Sequence[Frame], longitude: float, latitude: float, settings: MappingSettings | None = None
) -> MeanPatch | None:
  """Returns the mean of the patches of a place in some frames; None where there are no frames.

  Args:
    frames: The frames of an interval, in any order.
    longitude, latitude: Heliographic (Carrington) position of the place [deg].
    settings: How to map.

  Raises:
    UserError: No frame can be used, for example because the place lies beyond the limb in all of them.
  """
  if not frames:
    return None
  settings = settings or MappingSettings()
  shape = (settings.size, settings.size)
  positions = map_positions(WCS(postel_header(longitude, latitude, shape, settings.pixel_scale_mm)), shape)
  total, count = np.zeros(shape), np.zeros(shape, int)

  def add(frame: Frame) -> _Used:
    magnetogram = read_cutout(frame.path, longitude, latitude, settings.radius_mm)
    patch, view = _map(magnetogram, longitude, latitude, settings), view_of(magnetogram)
    field = patch.field / view.mu(*positions) if settings.divide_by_mu else patch.field
    seen = np.isfinite(field)
    total[seen] += field[seen]
    count[seen] += 1
    return _Used(frame, patch.mu, patch.cmd, view.b0, frame.quality | patch.quality, patch.notes)

  used, skipped = _use_each(frames, add)
  times = np.array([one.frame.mjd for one in used])
  missing = (count == 0) | (count / len(used) < settings.min_valid)
  # Of one frame: that of the others differs by noise alone, and would take 0.1 s for each.
  middle = read_cutout(used[len(used) // 2].frame.path, longitude, latitude, settings.radius_mm)
  unsigned_change, net_change = mapping_change(middle, _map(middle, longitude, latitude, settings))
  return MeanPatch(
    field=np.where(missing, np.nan, total / np.maximum(count, 1)).astype(np.float32),
    n_frames=len(used),
    mu=float(np.mean([one.mu for one in used])),
    cmd=float(np.mean([one.cmd for one in used])),
    b0=float(np.mean([one.b0 for one in used])),
    missing=float(np.mean(missing)),
    start_mjd=float(times.min()),
    end_mjd=float(times.max()),
    mjd=float(times.mean()),
    quality=int(np.bitwise_or.reduce([one.quality for one in used])),
    unsigned_change=unsigned_change,
    net_change=net_change,
    notes='; '.join(sorted({one.notes for one in used} - {''})),
    skipped=skipped,
  )


def flux_curve(
  frames: Sequence[Frame],
  longitude: float,
  latitude: float,
  radius_mm: float,
  threshold_gauss: float = NOISE_GAUSS,
  max_angle_deg: float = MAX_ANGLE_DEG,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the unsigned flux around a place over time, corrected for the line of sight as if the field were radial.

  Nothing is mapped: the pixels of the frames are summed. A frame that shows less than nine tenths of the area within
  `max_angle_deg` does not count. One that cannot be read is left out with a warning.

  Args:
    frames: Frames in any order.
    longitude, latitude: Heliographic (Carrington) position of the place [deg].
    radius_mm: How far around it flux counts, along the surface [Mm].
    threshold_gauss: Line-of-sight field up to which a pixel counts as noise [G].
    max_angle_deg: Heliocentric angle beyond which the field counts as missing [deg].

  Returns:
    `[n]` modified Julian dates (UTC), sorted, and `[n]` sums of |B| / mu times area [Mx].

  Raises:
    UserError: There are frames, but none can be read.
  """

  def measure(frame: Frame) -> tuple[float, float, float]:
    try:
      magnetogram = read_cutout(frame.path, longitude, latitude, radius_mm)
    except BeyondLimb:
      return frame.mjd, 0.0, 0.0
    return frame.mjd, *flux_within(magnetogram, longitude, latitude, radius_mm, threshold_gauss, max_angle_deg)

  measured, skipped = _use_each(frames, measure)
  if skipped:
    warnings.warn(
      f'{len(skipped)} of {len(frames)} frames of a flux curve cannot be used; the first: {skipped[0]}', stacklevel=2
    )
  times, flux, seen = np.array(measured, np.float64).reshape(-1, 3).T
  return times[seen >= LEAST_SEEN], flux[seen >= LEAST_SEEN]


def _map(magnetogram: GenericMap, longitude: float, latitude: float, settings: MappingSettings) -> Patch:
  return postel_patch(magnetogram, longitude, latitude, settings.size, settings.pixel_scale_mm, settings.max_angle_deg)


def _use_each(frames: Sequence[Frame], use: Callable[[Frame], Any]) -> tuple[list[Any], tuple[str, ...]]:
  """Returns what `use` makes of each frame, by time, and a sentence for each of those that cannot be used.

  Raises:
    UserError: There are frames, but none can be used.
  """
  results, skipped = [], []
  for frame in sorted(frames, key=lambda frame: (frame.mjd, frame.path)):
    try:
      results.append(use(frame))
    except (UserError, OSError) as error:
      skipped.append(' '.join(str(error).split()))
  if skipped and not results:
    raise UserError(f'None of {len(skipped)} frames can be used; the first: {skipped[0]}')
  return results, tuple(skipped)
