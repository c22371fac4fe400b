"""Which part of the disk JSOC shall cut out so that a place is seen for some time.

Its program `im_patch` cuts a rectangle of native pixels from every frame, of one size in all of them, which follows a
Carrington longitude (https://github.com/lm-jps/proj, util/apps/im_patch.c).
"""

import numpy as np
from astropy import units as u
from astropy.time import Time
from sunpy.coordinates import sun

from hearjax.checks import UserError
from hearjax.observe.sources.frames import Need
from hearjax.solar import SOLAR_RADIUS_MM, direction, wrap_degrees

MARGIN = 1.02  # JSOC rounds the place of the rectangle to whole pixels; a neighbour is needed to interpolate.
MARGIN_ARCSEC = 6.0
SIDE_SAMPLES = 9  # Points along a side of the square, to find how far it reaches on the disk.


def cutout_process(need: Need) -> dict[str, dict[str, str]]:
  """Returns the argument `process` of `drms.Client.export` for frames that show a need, and little else.

  The place is told by its Carrington longitude and the rotation in which it crosses the central meridian: unlike a
  place at a reference time, that does not depend on there being a frame at that time.

  Raises:
    UserError: The place lies beyond the limb all the time.
  """
  times = Time(np.linspace(need.start_mjd, need.end_mjd, 3), format='mjd', scale='utc')
  # Each [time, 1, 1]: longitude and latitude of the disk's centre [deg], and its distance [Mm].
  l0, b0, distance = (
    value.to_value(unit)[:, None, None]
    for value, unit in ((sun.L0(times), u.deg), (sun.B0(times), u.deg), (sun.earth_distance(times), u.Mm))
  )
  if np.all(_seen(need.longitude, need.latitude, l0, b0, distance)[2] <= SOLAR_RADIUS_MM / distance):
    raise UserError(
      f'Carrington longitude {need.longitude:g}, latitude {need.latitude:g} deg lies beyond the limb from '
      f'{times[0].isot[:19]} to {times[-1].isot[:19]} UTC; nothing is asked from JSOC.'
    )
  x, y = _reach_arcsec(need, l0, b0, distance)
  return {
    'im_patch': {
      't': '0',  # Tracked.
      'r': '0',  # Not shifted by parts of a pixel: that would smooth the field.
      'c': '0',  # Not cropped at the limb.
      'locunits': 'carrlong',
      'boxunits': 'arcsec',
      'car_rot': str(_rotation(need.longitude, times[1])),
      'x': f'{need.longitude % 360:.4f}',
      'y': f'{need.latitude:.4f}',
      'width': f'{2 * (MARGIN * x + MARGIN_ARCSEC):.1f}',
      'height': f'{2 * (MARGIN * y + MARGIN_ARCSEC):.1f}',
    }
  }


def _seen(
  longitude: np.ndarray | float, latitude: np.ndarray | float, l0: np.ndarray, b0: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns where on the sky a place appears [arcsec west, arcsec north], and how far it is towards us [radii]."""
  place = direction(*np.broadcast_arrays(longitude - l0, latitude))
  towards, north = direction(np.zeros_like(b0), b0), direction(np.zeros_like(b0), b0 + 90)
  height = np.sum(place * towards, axis=-1)
  scale = np.rad2deg(1) * 3600 * SOLAR_RADIUS_MM / (distance - SOLAR_RADIUS_MM * height)
  return scale * place[..., 1], scale * np.sum(place * north, axis=-1), height


def _reach_arcsec(need: Need, l0: np.ndarray, b0: np.ndarray, distance: np.ndarray) -> tuple[float, float]:
  """Returns how far the square of a need reaches from its centre [arcsec], west or east, and north or south."""
  side = np.linspace(-1, 1, SIDE_SAMPLES) * need.radius_mm / SOLAR_RADIUS_MM
  west, north = np.meshgrid(side, side)
  longitude, latitude = _postel_positions(need, west, north)
  x, y, _ = _seen(longitude, latitude, l0, b0, distance)
  x_0, y_0, _ = _seen(need.longitude, need.latitude, l0, b0, distance)
  return float(np.max(np.abs(x - x_0))), float(np.max(np.abs(y - y_0)))


def _postel_positions(need: Need, west: np.ndarray, north: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude [deg] of places on a Postel map around a need, west and north of it [rad].

  Zenithal equidistant projection (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1).
  """
  angle, bearing = np.hypot(west, north), np.arctan2(west, north)
  latitude_0 = np.deg2rad(need.latitude)
  sine = np.sin(latitude_0) * np.cos(angle) + np.cos(latitude_0) * np.sin(angle) * np.cos(bearing)
  east = np.sin(bearing) * np.sin(angle) * np.cos(latitude_0)
  longitude = np.arctan2(east, np.cos(angle) - np.sin(latitude_0) * sine)
  return need.longitude + np.rad2deg(longitude), np.rad2deg(np.arcsin(np.clip(sine, -1, 1)))


def _rotation(longitude: float, time: Time) -> int:
  """Returns the Carrington rotation in which a longitude crosses the central meridian nearest to a time."""
  number = sun.carrington_rotation_number(time)
  l0 = 360 * (1 - number % 1)  # Within a rotation the longitude of the disk's centre falls from 360 to 0.
  crossing = l0 + wrap_degrees(longitude - l0)
  return int(number) - int(np.floor(crossing / 360))
