"""Which patches to cut from a magnetogram: a lattice of Postel patches over the observed part of the Sun."""

import warnings

import numpy as np
from astropy import units as u
from sunpy.coordinates import HeliographicCarrington
from sunpy.map import GenericMap
from sunpy.util.exceptions import SunpyUserWarning

from hearjax.survey.archive import SOLAR_RADIUS_MM
from hearjax.survey.hmi import (
  DEFAULT_PIXEL_SCALE_MM,
  DEFAULT_SIZE,
  MAX_ANGLE_DEG,
  carrington_pixels,
  grid_positions,
  heliocentric_mu,
  observer_position,
  postel_wcs,
)

COVERAGE_SAMPLES = 12  # Per side of a patch: coverage to about 1 %.
MAP_SAMPLES = 96  # Per side of the map, to find the part of the Sun that it shows.


def tile_centres(
  magnetogram: GenericMap,
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  step: float = 0.5,
  min_coverage: float = 0.5,
  max_angle_deg: float = MAX_ANGLE_DEG,
) -> list[tuple[float, float]]:
  """Returns centres of patches that tile the observed part of the Sun, rows of equal latitude, from the south.

  A map smaller than a patch gives one patch, at its middle, however small its coverage.

  Args:
    magnetogram: What `read_magnetogram` returns.
    size: Side of a patch [px].
    pixel_scale_mm: Side of a pixel [Mm].
    step: Distance of neighbouring centres, in sides of a patch; 0.5 overlaps them by half.
    min_coverage: Least fraction of a patch that must be observed.
    max_angle_deg: Heliocentric angle up to which a point counts as observed [deg].

  Returns:
    Heliographic (Carrington) longitude and latitude of every centre [deg].

  Raises:
    ValueError: Step or coverage is out of range, or the map shows no part of the Sun within the angle.
  """
  if not 0 < step <= 1 or not 0 <= min_coverage <= 1:
    raise ValueError(f'step must lie in (0, 1] and min_coverage in [0, 1], got {step} and {min_coverage}.')
  longitude, latitude = _observed_positions(magnetogram, max_angle_deg)
  if not longitude.size:
    raise ValueError(f'The map shows no part of the Sun within {max_angle_deg} deg of disk centre.')
  middle = _middle(longitude, latitude)
  centres = _lattice(longitude, latitude, middle, step * np.rad2deg(size * pixel_scale_mm / SOLAR_RADIUS_MM))
  coverage = _coverage(magnetogram, centres, size, pixel_scale_mm, max_angle_deg)
  tiles = [centre for centre, covered in zip(centres, coverage, strict=True) if covered >= min_coverage]
  return tiles or [middle]


def _observed_positions(magnetogram: GenericMap, max_angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude [deg] of a coarse sample of the pixels that show the Sun."""
  size_y, size_x = magnetogram.data.shape
  x, y = np.meshgrid(*(np.unique(np.linspace(0, n - 1, MAP_SAMPLES).round()) for n in (size_x, size_y)))
  points = magnetogram.pixel_to_world(x.ravel() * u.pix, y.ravel() * u.pix)
  frame = HeliographicCarrington(observer=magnetogram.observer_coordinate, obstime=magnetogram.reference_date)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', SunpyUserWarning)  # Says that pixels off the disk become NaN.
    points = points.transform_to(frame)
  longitude, latitude = points.lon.to_value(u.deg), points.lat.to_value(u.deg)
  observed = np.isfinite(magnetogram.data[y.ravel().astype(int), x.ravel().astype(int)])
  mu = heliocentric_mu(longitude, latitude, *observer_position(magnetogram))
  observed &= mu >= np.cos(np.deg2rad(max_angle_deg))  # False where NaN.
  return longitude[observed], latitude[observed]


def _middle(longitude: np.ndarray, latitude: np.ndarray) -> tuple[float, float]:
  """Returns longitude and latitude [deg] of the mean direction of points on the sphere."""
  lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
  x, y, z = (np.mean(axis) for axis in (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))
  return float(np.rad2deg(np.arctan2(y, x)) % 360), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def _lattice(
  longitude: np.ndarray, latitude: np.ndarray, middle: tuple[float, float], spacing: float
) -> list[tuple[float, float]]:
  """Returns a lattice through `middle` that spans the points; `spacing` [deg] is kept along latitude and longitude."""
  east = (longitude - middle[0] + 180) % 360 - 180
  rows = np.arange(
    np.floor((latitude.min() - middle[1]) / spacing), np.ceil((latitude.max() - middle[1]) / spacing) + 1
  )
  centres = []
  for row_latitude in middle[1] + rows * spacing:
    if abs(row_latitude) < 90:
      step = spacing / np.cos(np.deg2rad(row_latitude))
      columns = np.arange(np.floor(east.min() / step), np.ceil(east.max() / step) + 1) * step
      columns = columns[(columns >= -180) & (columns < 180)]
      centres += [(float((middle[0] + column) % 360), float(row_latitude)) for column in columns]
  return centres


def _coverage(
  magnetogram: GenericMap, centres: list[tuple[float, float]], size: int, pixel_scale_mm: float, max_angle_deg: float
) -> np.ndarray:
  """Returns `[len(centres)]` the fraction of each patch that is observed, from a coarse sample of its pixels."""
  samples = (np.arange(COVERAGE_SAMPLES) + 0.5) / COVERAGE_SAMPLES * size - 0.5
  positions = [grid_positions(postel_wcs(magnetogram, *centre, size, pixel_scale_mm), samples) for centre in centres]
  longitude, latitude = np.reshape(positions, (len(centres), 2, -1)).swapaxes(0, 1)
  x, y = carrington_pixels(magnetogram, longitude, latitude)
  size_y, size_x = magnetogram.data.shape
  inside = (x > -0.5) & (x < size_x - 0.5) & (y > -0.5) & (y < size_y - 0.5)  # False where NaN.
  covered = inside.copy()
  covered[inside] = np.isfinite(magnetogram.data[y[inside].round().astype(int), x[inside].round().astype(int)])
  covered &= heliocentric_mu(longitude, latitude, *observer_position(magnetogram)) >= np.cos(np.deg2rad(max_angle_deg))
  return covered.mean(axis=1)
