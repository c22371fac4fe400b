"""Where places on the Sun appear in an image, and which places its pixels show.

This is spherical trigonometry for one observer at one moment, which needs no transformations between frames of
coordinates; sunpy only says who the observer is. Needs the extra `sun`.
"""

import dataclasses

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from sunpy.map import GenericMap

from hearjax.solar import direction, mu


@dataclasses.dataclass(frozen=True)
class View:
  """The geometry of an image of the Sun.

  Attributes:
    wcs: Its pixels and their coordinates.
    l0, b0: Heliographic (Carrington) position of the observer [deg].
    distance: Of the observer from the centre of the Sun [solar radii].
    is_projected: Whether its coordinates are helioprojective (HPLN/HPLT), not heliographic.
    shift: What to add to a Carrington longitude for that of the image [deg]; not 0 in HGLN/HGLT.
  """

  wcs: WCS
  l0: float
  b0: float
  distance: float
  is_projected: bool
  shift: float

  def pixels(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Returns `[2, ...]` the pixel (x, y), from 0, of Carrington positions `[...]` [deg].

    Places on the far side are where they would be seen through the Sun; NaN where the projection has no such place.
    """
    if self.is_projected:
      place = direction(longitude - self.l0, latitude)
      towards, north = (np.sum(place * axis, axis=-1) for axis in self._axes())
      west, before = place[..., 1], self.distance - towards
      longitude, latitude = np.rad2deg(np.arctan2(west, before)), np.rad2deg(np.arctan2(north, np.hypot(west, before)))
    else:
      longitude = longitude + self.shift
    return np.stack(self.wcs.wcs_world2pix(longitude, latitude, 0))

  def directions(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns `[..., 3]` unit vectors from the centre of the Sun, as `solar.direction`, of pixels, from 0.

    NaN where a pixel shows no place on the Sun. The Sun is a sphere that the line of sight meets.
    """
    longitude, latitude = self.wcs.wcs_pix2world(x, y, 0)
    if not self.is_projected:
      return direction(longitude - self.shift, latitude)
    before, west, north = np.moveaxis(direction(longitude, latitude), -1, 0)
    with np.errstate(invalid='ignore'):
      along = self.distance * before - np.sqrt(1 - self.distance**2 * (1 - before**2))
    towards, north_axis = self._axes()
    place = (self.distance - along * before)[..., None] * towards + (along * north)[..., None] * north_axis
    place[..., 1] += along * west
    cosine, sine = np.cos(np.deg2rad(self.l0)), np.sin(np.deg2rad(self.l0))
    central, side, polar = np.moveaxis(place, -1, 0)
    return np.stack([cosine * central - sine * side, sine * central + cosine * side, polar], axis=-1)

  def positions(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns Carrington longitude, from 0 to 360, and latitude `[...]` [deg] of pixels, from 0; NaN off the disk."""
    central, side, polar = np.moveaxis(self.directions(x, y), -1, 0)
    return np.rad2deg(np.arctan2(side, central)) % 360, np.rad2deg(np.arctan2(polar, np.hypot(central, side)))

  def mu(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Returns `[...]` the cosine of the heliocentric angle of Carrington positions [deg]."""
    return mu(longitude - self.l0, latitude, self.b0)

  def _axes(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the unit vectors towards the observer, and north on the sky, seen from his meridian."""
    return direction(0.0, self.b0), direction(0.0, self.b0 + 90)


def view_of(magnetogram: GenericMap) -> View:
  """Returns the geometry of a map."""
  observer, meta = magnetogram.observer_coordinate, magnetogram.meta
  if 'hgln_obs' not in meta and {'crln_obs', 'crlt_obs'} <= set(meta):
    l0, b0 = float(meta['crln_obs']), float(meta['crlt_obs'])  # sunpy gets them from the ephemeris and back.
  else:
    l0, b0 = magnetogram.carrington_longitude.to_value(u.deg), magnetogram.carrington_latitude.to_value(u.deg)
  kind = magnetogram.coordinate_system[0][:4].upper()
  return View(
    wcs=magnetogram.wcs,
    l0=l0,
    b0=b0,
    distance=(observer.radius / magnetogram.rsun_meters).to_value(u.one),
    is_projected=kind == 'HPLN',
    shift=observer.lon.to_value(u.deg) - l0 if kind == 'HGLN' else 0.0,
  )
