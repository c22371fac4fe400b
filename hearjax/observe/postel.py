"""Mapping real magnetograms to Postel patches, the maps that a survey holds. Needs the extra `sun`.

A sunpy Map and a Carrington position become a patch (`postel_patch`) on the grid of the survey archive.
"""

import dataclasses
import types
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from astropy import units as u
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper
from reproject import reproject_adaptive
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.observe.view import View, view_of
from hearjax.solar import (
  DEFAULT_PIXEL_SCALE_MM,
  DEFAULT_SIZE,
  SOLAR_RADIUS_MM,
  degrees,
  postel_header,
  wrap_degrees,
)

MAX_ANGLE_DEG = 75.0  # Our choice: beyond it foreshortening leaves an HMI pixel coarser than a pixel of the patch.

LEAST_SHARE = 0.5  # Of the footprint of a pixel that must be observed; the same at the edge of the source.


@dataclasses.dataclass(frozen=True)
class Patch:
  """One Postel map of a place on the Sun, with what is known about it.

  Attributes:
    field: `[y, x]` line-of-sight field [G], float32, north up, west to the right; NaN where not observed.
    longitude, latitude: Heliographic (Carrington) position of the centre [deg], longitude from 0 to 360.
    cmd: Central-meridian distance of the centre [deg], positive west.
    mu: Cosine of the heliocentric angle of the centre.
    missing: Fraction of pixels that are NaN.
    quality: QUALITY bits of the frame, 0 for good.
    time: Time of the observation, ISO, UTC.
    pixel_scale_mm: Side of a pixel [Mm].
    file: Name of the file that it comes from.
    notes: What was assumed on the way, empty for nothing.
  """

  field: np.ndarray
  longitude: float
  latitude: float
  cmd: float
  mu: float
  missing: float
  quality: int
  time: str
  pixel_scale_mm: float
  file: str = ''
  notes: str = ''


def postel_wcs(
  magnetogram: GenericMap, longitude: float, latitude: float, shape: tuple[int, int], pixel_scale_mm: float
) -> WCS:
  """Returns the WCS of a map of `shape` (y, x) [px] as seen by the observer of `magnetogram` at its time.

  The solar radius is the map's (HMI: 696 Mm), because it decides where a point on the disk lies on the Sun; the pixel
  keeps its angle, so that grids of all maps agree.
  """
  header = postel_header(longitude, latitude, shape, pixel_scale_mm)
  observer = magnetogram.observer_coordinate
  header['RSUN_REF'] = magnetogram.rsun_meters.to_value(u.m)
  header['DATE-OBS'] = magnetogram.reference_date.utc.isot
  header['HGLN_OBS'] = observer.lon.to_value(u.deg)
  header['HGLT_OBS'] = observer.lat.to_value(u.deg)
  header['DSUN_OBS'] = observer.radius.to_value(u.m)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', FITSFixedWarning)  # Says that MJD-OBS was set from DATE-OBS.
    return WCS(header)


def carrington_pixels(magnetogram: GenericMap, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  """Returns `[2, ...]` the pixel (x, y), from 0, of heliographic positions [deg]; NaN on the far side of the Sun."""
  view = view_of(magnetogram)
  return np.where(view.mu(longitude, latitude) > 0, view.pixels(longitude, latitude), np.nan)


def carrington_positions(magnetogram: GenericMap, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude `[...]` [deg] of the pixels at `x`, `y`, from 0; NaN off the disk."""
  return view_of(magnetogram).positions(x, y)


def observer_position(magnetogram: GenericMap) -> tuple[float, float]:
  """Returns Carrington longitude and latitude of the observer [deg] (L0, B0)."""
  view = view_of(magnetogram)
  return view.l0, view.b0


def middle_position(magnetogram: GenericMap) -> tuple[float, float]:
  """Returns Carrington longitude and latitude [deg] of the middle of a magnetogram."""
  height, width = magnetogram.data.shape
  longitude, latitude = carrington_positions(magnetogram, np.array((width - 1) / 2), np.array((height - 1) / 2))
  return float(longitude), float(latitude)


def mu_of(magnetogram: GenericMap, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  """Returns `[...]` the cosine of the heliocentric angle of heliographic (Carrington) positions [deg]."""
  return view_of(magnetogram).mu(longitude, latitude)


def map_positions(wcs: WCS, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude `[y, x]` [deg] of the pixels of a map of `shape` (y, x) [px]."""
  x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
  return tuple(wcs.wcs_pix2world(x, y, 0))


def pixel_box(at: np.ndarray, shape: tuple[int, int], margin: int) -> tuple[slice, slice]:
  """Returns the rows and columns of an image around some places; empty ones where none is near it.

  Args:
    at: `[2, ...]` the places [px, x and y from 0]; NaN where there is none.
    shape: Size of the image along y and x [px].
    margin: How many pixels beyond the outermost place belong to it.
  """
  slices = []
  for places, side in zip(at[::-1], shape, strict=True):
    known = places[np.isfinite(places)]
    first, last = (known.min() - margin, known.max() + margin) if known.size else (-1, -1)
    start, stop = np.clip([np.floor(first), np.ceil(last) + 1], 0, side).astype(int)
    slices.append(slice(int(start), int(stop)))
  return tuple(slices)


def postel_patch(
  magnetogram: GenericMap,
  longitude: float,
  latitude: float,
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  max_angle_deg: float = MAX_ANGLE_DEG,
  file: str = '',
) -> Patch:
  """Maps a place of a magnetogram to a Postel patch; arguments and errors are those of `postel_column`."""
  return postel_column(magnetogram, longitude, latitude, (0,), size, pixel_scale_mm, max_angle_deg, file)[0]


def postel_column(
  magnetogram: GenericMap,
  longitude: float,
  latitude: float,
  offsets_px: Sequence[int],
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  max_angle_deg: float = MAX_ANGLE_DEG,
  file: str = '',
) -> list[Patch]:
  """Maps a strip along a meridian once and cuts patches from it whose centres lie on that meridian.

  On a Postel map north stays up and distances stay true along the meridian of its centre; across it they grow by
  rho / sin(rho). Patches of 67 Mm cut up to 100 Mm from the centre are therefore those that a map of their own would
  give: no pixel is off by more than 0.2 of a pixel. Beside the meridian a patch would be turned.

  A pixel is the mean of the source over its footprint (DeForest 2004, Sol. Phys. 219, 3), because the field is flux
  per area: plain interpolation would pick single pixels of a source that is finer than the patch and lose flux by
  chance. Within a footprint the weights are a Hann window, which stays within about 0.5 % of the area mean in unsigned
  flux; a Gaussian of the same width loses 2 to 3 %.

  Args:
    magnetogram: What `read_magnetogram` returns.
    longitude, latitude: Heliographic (Carrington) position of the centre of the strip [deg].
    offsets_px: How far north of it the centre of each patch lies [px].
    size: Side of a patch [px].
    pixel_scale_mm: Side of a pixel [Mm].
    max_angle_deg: Pixels farther from the centre of the disk than this heliocentric angle are missing [deg].
    file: Name of the file, kept in the patches.

  Returns:
    One patch per offset.

  Raises:
    UserError: Position, size, scale or angle make no sense.
  """
  if not (np.isfinite(longitude) and -90 <= latitude <= 90):
    raise UserError(f'Longitude {longitude} and latitude {latitude} are no place on the Sun; give degrees.')
  if size < 2 or not 0 < pixel_scale_mm * size < 2 * np.pi * SOLAR_RADIUS_MM or not 0 < max_angle_deg <= 90:
    raise UserError(
      f'A patch of {size} px of {pixel_scale_mm} Mm within {max_angle_deg} deg of disk centre cannot be made.'
    )
  longitude = float(longitude) % 360
  reach = max(abs(offset) for offset in offsets_px)
  shape = (size + 2 * reach, size)
  view = view_of(magnetogram)
  wcs = WCS(postel_header(longitude, latitude, shape, pixel_scale_mm))
  positions = map_positions(wcs, shape)
  field = _footprint_means(magnetogram.data, view, wcs, positions)
  field[view.mu(*positions) < np.cos(np.deg2rad(max_angle_deg))] = np.nan
  known = {
    'longitude': longitude,
    'cmd': float(wrap_degrees(longitude - view.l0)),
    'quality': magnetogram.meta['quality'],
    'time': magnetogram.reference_date.utc.isot,
    'pixel_scale_mm': float(pixel_scale_mm),
    'file': file,
    'notes': magnetogram.meta.get('notes', ''),
  }
  patches = []
  for offset in offsets_px:
    own = field[reach + offset : reach + offset + size].copy()
    north = float(latitude + degrees(offset * pixel_scale_mm))
    own_mu = float(view.mu(longitude, north))
    patches.append(Patch(field=own, latitude=north, mu=own_mu, missing=float(np.mean(np.isnan(own))), **known))
  return patches


class _Grid(BaseLowLevelWCS):
  """A grid of pixels whose coordinates are pixels of an image: all that reproject has to know."""

  pixel_n_dim = world_n_dim = 2
  world_axis_physical_types = ('custom:image.x', 'custom:image.y')
  world_axis_units = ('pix', 'pix')
  world_axis_object_components = (('x', 0, 'value'), ('y', 0, 'value'))
  world_axis_object_classes = types.MappingProxyType({axis: (u.Quantity, (), {'unit': 'pix'}) for axis in 'xy'})

  def __init__(self, to_image: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None) -> None:
    """Takes what returns the pixels of the image, `[2, ...]`; without it the grid is the image's own."""
    self._to_image = to_image

  def pixel_to_world_values(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x, y) if self._to_image is None else tuple(self._to_image(x, y))

  def world_to_pixel_values(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, y  # Asked of the image alone.


def _footprint_means(data: np.ndarray, view: View, wcs: WCS, positions: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
  """Returns the mean of what is observed in the footprint of each pixel; NaN where more than half of it is missing.

  Args:
    data: `[row, column]` the image, NaN where missing.
    view: Its geometry.
    wcs: Longitudes and latitudes of the map.
    positions: Those of its pixels, each `[y, x]` [deg].
  """
  at = view.pixels(*positions)
  shape = at.shape[1:]
  # A footprint reaches as far as the next pixel of the map, and of the image at least.
  steps = [np.nanmax(np.abs(np.diff(at, axis=axis)), initial=1.0) for axis in (1, 2)]
  rows, columns = pixel_box(at, data.shape, margin=int(np.ceil(sum(steps))) + 1)
  data = data[rows, columns]
  if not data.size:
    return np.full(shape, np.nan, np.float32)
  corner = np.array([columns.start, rows.start])

  def to_image(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return view.pixels(*wcs.wcs_pix2world(x, y, 0)) - corner[:, None, None]

  observed = np.isfinite(data)
  # The field and the observed share go through the same weights, so that a lost pixel costs its own area alone.
  field, share = reproject_adaptive(
    (np.stack([np.where(observed, data, 0), observed]), HighLevelWCSWrapper(_Grid())),
    HighLevelWCSWrapper(_Grid(to_image)),
    shape,
    kernel='hann',
    boundary_mode='ignore_threshold',  # Missing where more than half of the footprint is outside the source.
    roundtrip_coords=False,  # The far side of the Sun is masked afterwards.
    return_footprint=False,
  )
  seen = share >= LEAST_SHARE  # False where NaN.
  return np.where(seen, field / np.where(seen, share, 1), np.nan).astype(np.float32)
