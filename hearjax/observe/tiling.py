"""Which patches to cut from a magnetogram: a lattice of Postel patches over the observed part of the Sun.

Centres a few pixels apart share most of their field. The Sun is therefore mapped in strips along meridians, from which
all patches of a strip are cut: a full disk takes about a thousand maps instead of twenty thousand.
"""

from collections.abc import Iterator

import numpy as np
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.observe.postel import (
  MAX_ANGLE_DEG,
  Patch,
  carrington_positions,
  mu_of,
  postel_column,
  postel_patch,
)
from hearjax.progress import Progress, silent
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM, DEFAULT_SIZE, SOLAR_RADIUS_MM, degrees, direction, wrap_degrees

DEFAULT_STEP_MM = 10.0
STRIP_SHIFT_PX = 0.15  # Our choice: how far a pixel may be off in a patch cut from a strip, to leading order.
MAP_SAMPLES = 96  # Per side of the map, to find the part of the Sun that it shows.


def tile_patches(
  magnetogram: GenericMap,
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  step_mm: float = DEFAULT_STEP_MM,
  min_coverage: float = 0.5,
  max_angle_deg: float = MAX_ANGLE_DEG,
  file: str = '',
  progress: Progress = silent,
) -> Iterator[Patch]:
  """Yields patches that tile the observed part of the Sun, strip by strip from the south.

  A map that covers no patch sufficiently gives one patch, at its middle, however small its coverage.

  Args:
    magnetogram: What `read_magnetogram` returns.
    size: Side of a patch [px].
    pixel_scale_mm: Side of a pixel [Mm].
    step_mm: Distance of neighbouring centres [Mm], rounded to whole pixels; along a parallel it is the largest one.
    min_coverage: Least fraction of a patch that must be observed.
    max_angle_deg: Heliocentric angle up to which a point counts as observed [deg].
    file: Name of the file, kept in the patches.
    progress: Goes through the strips, and may show how far it is.

  Raises:
    UserError: Step or coverage is out of range, or the map shows no part of the Sun within the angle.
  """
  if not pixel_scale_mm <= step_mm <= size * pixel_scale_mm or not 0 <= min_coverage <= 1:
    raise UserError(
      f'step_mm must lie between a pixel ({pixel_scale_mm} Mm) and a patch ({size * pixel_scale_mm:.4g} Mm), and '
      f'min_coverage in [0, 1]; got {step_mm} and {min_coverage}.'
    )
  longitude, latitude = _observed_positions(magnetogram, max_angle_deg)
  if not longitude.size:
    raise UserError(f'The map shows no part of the Sun within {max_angle_deg} deg of disk centre.')
  grid = {'size': size, 'pixel_scale_mm': pixel_scale_mm, 'max_angle_deg': max_angle_deg, 'file': file}
  middle = _middle(longitude, latitude)
  found = False
  for strip in progress(_strips(longitude, latitude, middle, size, pixel_scale_mm, step_mm)):
    for patch in postel_column(magnetogram, *strip, **grid):
      if patch.missing < 1 and 1 - patch.missing >= min_coverage:
        found = True
        yield patch
  if not found:
    yield postel_patch(magnetogram, *middle, **grid)


def _observed_positions(magnetogram: GenericMap, max_angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude [deg] of a coarse sample of the pixels that show the Sun."""
  size_y, size_x = magnetogram.data.shape
  x, y = np.meshgrid(*(np.unique(np.linspace(0, n - 1, MAP_SAMPLES).round()) for n in (size_x, size_y)))
  longitude, latitude = carrington_positions(magnetogram, x, y)
  observed = np.isfinite(magnetogram.data[y.astype(int), x.astype(int)])
  mu = mu_of(magnetogram, longitude, latitude)
  observed &= mu >= np.cos(np.deg2rad(max_angle_deg))  # False where NaN.
  return longitude[observed], latitude[observed]


def _middle(longitude: np.ndarray, latitude: np.ndarray) -> tuple[float, float]:
  """Returns longitude and latitude [deg] of the mean direction of points on the sphere."""
  x, y, z = direction(longitude, latitude).mean(axis=0)
  return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def _strips(
  longitude: np.ndarray,
  latitude: np.ndarray,
  middle: tuple[float, float],
  size: int,
  pixel_scale_mm: float,
  step_mm: float,
) -> list[tuple[float, float, list[int]]]:
  """Returns longitude and latitude [deg] of the strips that span the points, and the offsets of their patches [px].

  Rows of equal latitude are joined to bands. All rows of a band have the longitudes of its row nearest the equator,
  where the step is kept; elsewhere in the band centres lie closer. One centre is `middle`.
  """
  step_px = round(step_mm / pixel_scale_mm)
  spacing = degrees(step_px * pixel_scale_mm)
  half_patch = degrees(size / 2 * pixel_scale_mm)
  east = wrap_degrees(longitude - middle[0])
  rows = np.arange(
    np.floor((latitude.min() - middle[1]) / spacing), np.ceil((latitude.max() - middle[1]) / spacing) + 1
  ).astype(int)
  rows = rows[np.abs(middle[1] + rows * spacing) < 90]
  rows_per_band = 1 + 2 * int(_strip_reach(size, pixel_scale_mm) / (step_px * pixel_scale_mm))
  strips = []
  for band in np.array_split(rows, np.ceil(len(rows) / rows_per_band)):
    row_latitudes = middle[1] + band * spacing
    near = (latitude >= row_latitudes[0] - half_patch) & (latitude <= row_latitudes[-1] + half_patch)
    if near.any():
      step = spacing / np.cos(np.deg2rad(row_latitudes)).max()
      columns = np.arange(np.floor(east[near].min() / step), np.ceil(east[near].max() / step) + 1) * step
      columns = columns[(columns >= -180) & (columns < 180)]
      centre = len(band) // 2
      offsets = [int(row - band[centre]) * step_px for row in band]
      strips += [(float((middle[0] + column) % 360), float(row_latitudes[centre]), offsets) for column in columns]
  return strips


def _strip_reach(size: int, pixel_scale_mm: float) -> float:
  """Returns how far from the centre of a strip a patch may be cut [Mm].

  A Postel map stretches distances across its meridian by rho / sin(rho), about 1 + rho^2 / 6. The corner of a patch
  cut from a strip is off by what that exceeds the same stretch in a map of its own.
  """
  half_mm = size / 2 * pixel_scale_mm
  return np.sqrt(half_mm**2 + 6 * SOLAR_RADIUS_MM**2 * STRIP_SHIFT_PX / (size / 2)) - half_mm
