"""The part of a magnetogram around a place on the Sun: read alone, and what its own pixels hold of flux.

Needs the extra `sun`.
"""

import os

import numpy as np
from astropy.wcs import WCS
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.observe.magnetogram import read_part
from hearjax.observe.postel import Patch, map_positions, pixel_box
from hearjax.observe.view import View, view_of
from hearjax.solar import CM2_PER_MM2, SOLAR_RADIUS_MM, direction, postel_header

MARGIN_PX = 3  # Of the image, around the square: its outermost pixels take part in means and in differences.
SQUARE_SAMPLES = 17  # Places along a side of the square, to find how far it reaches in the image.


class BeyondLimb(UserError):
  """A place that an image of the Sun does not show, because it is on the far side."""


def read_cutout(path: str | os.PathLike, longitude: float, latitude: float, radius_mm: float) -> GenericMap:
  """Reads the part of a magnetogram that shows a square around a place on the Sun.

  All is as for `magnetogram.read_magnetogram`, but that a fill value that nothing tells of is looked for in this part
  alone. The file may be a cutout itself; where it ends, or the Sun does, the part ends.

  Args:
    path: FITS file; of a compressed image only the tiles of the part are unpacked.
    longitude, latitude: Heliographic (Carrington) position of the place [deg].
    radius_mm: Half the side of the square, along the surface [Mm].

  Returns:
    A sunpy Map; its reference pixel is moved with its corner.

  Raises:
    FileNotFoundError: There is no such file.
    BeyondLimb: The place lies beyond the limb.
    UserError: The image does not show the place, or no pixel there is a number; the square makes no sense; or as for
      `read_magnetogram`.
  """
  if not (np.isfinite(longitude) and -90 <= latitude <= 90):
    raise UserError(f'Longitude {longitude} and latitude {latitude} are no place on the Sun; give degrees.')
  if not 0 < radius_mm < np.pi / 2 * SOLAR_RADIUS_MM:
    raise UserError(f'radius_mm must be positive, and less than a quarter of the circumference; got {radius_mm}.')

  def window(whole: GenericMap) -> tuple[slice, slice]:
    view, place = view_of(whole), f'Carrington longitude {longitude:g}, latitude {latitude:g} deg'
    angle = np.rad2deg(np.arccos(view.mu(longitude, latitude)))
    if angle >= (np.rad2deg(np.arccos(1 / view.distance)) if view.is_projected else 90):
      raise BeyondLimb(f'{path} does not show {place}: it lies beyond the limb, {angle:.0f} deg from disk centre.')
    rows, columns = pixel_box(_square_pixels(view, longitude, latitude, radius_mm), whole.data.shape, MARGIN_PX)
    if rows.start == rows.stop or columns.start == columns.stop:
      raise UserError(f'{path} does not show {place}: it lies outside the image.')
    return rows, columns

  return read_part(path, window)


def _square_pixels(view: View, longitude: float, latitude: float, radius_mm: float) -> np.ndarray:
  """Returns `[2, y, x]` where places of a square appear [px]."""
  shape = (SQUARE_SAMPLES, SQUARE_SAMPLES)
  wcs = WCS(postel_header(longitude, latitude, shape, 2 * radius_mm / (SQUARE_SAMPLES - 1)))
  return view.pixels(*map_positions(wcs, shape))


def pixels_on_sun(magnetogram: GenericMap) -> tuple[np.ndarray, np.ndarray]:
  """Returns where the pixels of a magnetogram lie on the Sun, and how much of it each shows.

  The area is the cross product of the differences between neighbours. On the disk that is the area on the sky over mu,
  to the parallax of the observer, and it holds for any projection.

  Returns:
    `[y, x, 3]` unit vectors (`solar.direction`), and `[y, x]` areas [Mm^2]; NaN off the disk, and at the limb.
  """
  height, width = magnetogram.data.shape
  places = view_of(magnetogram).directions(*np.meshgrid(np.arange(width), np.arange(height)))
  down, right = np.gradient(places, axis=(0, 1))
  return places, SOLAR_RADIUS_MM**2 * np.linalg.norm(np.cross(right, down), axis=-1)


def flux_within(
  magnetogram: GenericMap,
  longitude: float,
  latitude: float,
  radius_mm: float,
  threshold_gauss: float,
  max_angle_deg: float,
) -> tuple[float, float]:
  """Returns the unsigned flux around a place, as if its field were radial, and which share of the area is observed.

  Args:
    magnetogram: What `read_cutout` returns.
    longitude, latitude: Heliographic (Carrington) position of the place [deg].
    radius_mm: How far around it flux counts, along the surface [Mm].
    threshold_gauss: Line-of-sight field up to which a pixel counts as noise [G].
    max_angle_deg: Heliocentric angle up to which a pixel counts as observed [deg].

  Returns:
    Sum over pixels of |B| / mu times their area on the Sun [Mx], and the share of the cap that they cover.
  """
  view = view_of(magnetogram)
  places, area = pixels_on_sun(magnetogram)
  mu = places @ direction(view.l0, view.b0)
  cosine = np.cos(radius_mm / SOLAR_RADIUS_MM)
  seen = places @ direction(longitude, latitude) >= cosine  # False where NaN.
  seen &= (mu >= np.cos(np.deg2rad(max_angle_deg))) & np.isfinite(magnetogram.data) & np.isfinite(area)
  field, area = np.abs(magnetogram.data[seen]), area[seen]
  flux = np.sum(np.where(field > threshold_gauss, field / mu[seen], 0) * area, dtype=np.float64)
  return float(flux) * CM2_PER_MM2, float(area.sum() / (2 * np.pi * SOLAR_RADIUS_MM**2 * (1 - cosine)))


def mapping_change(magnetogram: GenericMap, patch: Patch) -> tuple[float, float]:
  """Compares the flux of a patch with that of the pixels of the magnetogram that lie in it.

  Both are the line-of-sight field times areas on the Sun. Noise, and opposite polarities that share a pixel of the
  patch, cancel there: unsigned flux can only fall, most where the Sun is quiet. Net flux should stay.

  Args:
    magnetogram: The image that was mapped, or the part of it around the patch.
    patch: What it was mapped to.

  Returns:
    Relative change of unsigned flux, and change of net flux over the unsigned flux of the magnetogram; NaN where that
    is 0 or nothing was observed.
  """
  places, area = pixels_on_sun(magnetogram)
  known = np.isfinite(magnetogram.data) & np.isfinite(area)
  central, side, polar = places[known].T
  header = postel_header(patch.longitude, patch.latitude, patch.field.shape, patch.pixel_scale_mm)
  longitude, latitude = np.rad2deg(np.arctan2(side, central)), np.rad2deg(np.arctan2(polar, np.hypot(central, side)))
  column, row = np.rint(WCS(header).wcs_world2pix(longitude, latitude, 0)).astype(int)
  height, width = patch.field.shape
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  inside[inside] = np.isfinite(patch.field[row[inside], column[inside]])
  own = magnetogram.data[known][inside] * area[known][inside]
  mapped = (patch.field * _patch_areas(patch))[np.isfinite(patch.field)]
  unsigned = np.abs(own).sum(dtype=np.float64)
  if not unsigned > 0:
    return np.nan, np.nan
  return (
    float(np.abs(mapped).sum(dtype=np.float64) / unsigned - 1),
    float((mapped.sum(dtype=np.float64) - own.sum(dtype=np.float64)) / unsigned),
  )


def _patch_areas(patch: Patch) -> np.ndarray:
  """Returns `[y, x]` areas of the pixels of a Postel map [Mm^2]: sin(rho) / rho of the nominal one."""
  y, x = (np.arange(side) - (side - 1) / 2 for side in patch.field.shape)
  rho = np.hypot(*np.meshgrid(x, y)) * patch.pixel_scale_mm / SOLAR_RADIUS_MM
  return patch.pixel_scale_mm**2 * np.sinc(rho / np.pi)
