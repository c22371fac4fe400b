"""The ground under all rooms: the Sun's size and rotation, angles on it, and the header of a Postel map."""

import numpy as np
from astropy.io import fits

SOLAR_RADIUS_MM = 695.7  # IAU 2015 Resolution B3, nominal solar radius.
SYNODIC_DAYS = 27.2752316  # Carrington's mean synodic period (Meeus, Astronomical Algorithms, chapter 29).
INCLINATION_DEG = 7.25  # Of the solar equator to the ecliptic (Carrington's).
CM2_PER_MM2 = 1e16  # 1 G over 1 Mm^2 is 1e16 Mx.

# The default grid of a survey.
DEFAULT_SIZE = 128  # [px]
DEFAULT_PIXEL_SCALE_MM = 1.39


def wrap_degrees(angle: np.ndarray | float) -> np.ndarray | float:
  """Returns an angle [deg] between -180 (included) and 180."""
  return (angle + 180) % 360 - 180


def degrees(distance_mm: np.ndarray | float) -> np.ndarray | float:
  """Returns the angle at the centre of the Sun [deg] that a distance along its surface spans [Mm]."""
  return np.rad2deg(distance_mm / SOLAR_RADIUS_MM)


def rotated(cmd: np.ndarray | float, hours: np.ndarray | float) -> np.ndarray | float:
  """Returns the central-meridian distance [deg] of a place, some hours after it was `cmd`, at Carrington's rate."""
  return cmd + 360 / SYNODIC_DAYS * hours / 24


def direction(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  """Returns `[..., 3]` unit vectors from the centre of the Sun to heliographic positions [deg]."""
  lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
  return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def separation(
  longitude: np.ndarray | float,
  latitude: np.ndarray | float,
  other_longitude: np.ndarray | float,
  other_latitude: np.ndarray | float,
) -> np.ndarray:
  """Returns `[...]` the angle between places on the Sun [deg], which are given in degrees."""
  chord = np.linalg.norm(direction(longitude, latitude) - direction(other_longitude, other_latitude), axis=-1)
  return np.rad2deg(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def line_of_sight(cmd: np.ndarray | float, latitude: np.ndarray | float, b0: np.ndarray | float) -> np.ndarray:
  """Returns the direction to the observer in the frame of a place on the Sun.

  Args:
    cmd: `[...]` longitude of the place from the central meridian [deg], positive west.
    latitude: `[...]` its heliographic latitude [deg].
    b0: `[...]` heliographic latitude of the observer [deg].

  Returns:
    `[..., 3]` unit vector (west, north, up). Its last component is mu, the cosine of the heliocentric angle: by the
    spherical cosine rule sin(latitude) sin(b0) + cos(latitude) cos(b0) cos(cmd).
  """
  cmd, latitude, b0 = np.deg2rad(cmd), np.deg2rad(latitude), np.deg2rad(b0)
  west = -np.cos(b0) * np.sin(cmd)
  north = np.sin(b0) * np.cos(latitude) - np.cos(b0) * np.sin(latitude) * np.cos(cmd)
  up = np.sin(b0) * np.sin(latitude) + np.cos(b0) * np.cos(latitude) * np.cos(cmd)
  return np.stack(np.broadcast_arrays(west, north, up), axis=-1)


def mu(cmd: np.ndarray | float, latitude: np.ndarray | float, b0: np.ndarray | float) -> np.ndarray:
  """Returns `[...]` the cosine of the heliocentric angle; arguments as for `line_of_sight`."""
  return line_of_sight(cmd, latitude, b0)[..., 2]


def postel_header(longitude: float, latitude: float, shape: tuple[int, int], pixel_scale_mm: float) -> fits.Header:
  """Returns the Postel (ARC) WCS of a map: centred on a place on the Sun, north up, west to the right.

  Args:
    longitude, latitude: Heliographic (Carrington) position of the centre [deg].
    shape: Size of the map along y and x [px].
    pixel_scale_mm: Side of a pixel on a Sun of nominal radius [Mm].
  """
  header = fits.Header()
  header['CTYPE1'], header['CTYPE2'] = 'CRLN-ARC', 'CRLT-ARC'
  header['CUNIT1'], header['CUNIT2'] = 'deg', 'deg'
  header['CDELT1'] = header['CDELT2'] = float(degrees(pixel_scale_mm))
  header['CRPIX1'], header['CRPIX2'] = (shape[1] + 1) / 2, (shape[0] + 1) / 2
  header['CRVAL1'], header['CRVAL2'] = float(longitude), float(latitude)
  header['RSUN_REF'] = (SOLAR_RADIUS_MM * 1e6, '[m]')
  return header
