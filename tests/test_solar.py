"""Angles on the Sun against vectors, hand values and the WCS of astropy and sunpy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS

from hearjax import solar

RNG = np.random.default_rng(0)
CMD, LATITUDE, B0 = RNG.uniform(-180, 180, 200), RNG.uniform(-90, 90, 200), RNG.uniform(-7.25, 7.25, 200)


def unit(longitude, latitude):
  """Returns a unit vector: x to the central meridian, y to the west, z to the north."""
  lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
  return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def test_mu_is_the_product_of_the_directions_to_place_and_observer():
  expected = [unit(cmd, lat) @ unit(0, b0) for cmd, lat, b0 in zip(CMD, LATITUDE, B0, strict=True)]
  np.testing.assert_allclose(solar.mu(CMD, LATITUDE, B0), expected, atol=1e-12)
  assert solar.mu(0.0, 7.0, 7.0) == pytest.approx(1)
  assert solar.mu(90.0, 0.0, 0.0) == pytest.approx(0, abs=1e-12)
  assert solar.mu(60.0, 0.0, 0.0) == pytest.approx(0.5)


def test_line_of_sight_is_the_direction_to_the_observer_in_the_frame_of_the_place():
  sight = solar.line_of_sight(CMD, LATITUDE, B0)
  assert sight.shape == (200, 3)
  np.testing.assert_allclose(np.linalg.norm(sight, axis=1), 1, atol=1e-12)
  step = 1e-6  # [deg] West and north are the derivatives of the place by longitude and latitude.
  for cmd, latitude, b0, found in zip(CMD[:50], LATITUDE[:50], B0[:50], sight[:50], strict=True):
    west = unit(cmd + step, latitude) - unit(cmd - step, latitude)
    north = unit(cmd, latitude + step) - unit(cmd, latitude - step)
    frame = [west / np.linalg.norm(west), north / np.linalg.norm(north), unit(cmd, latitude)]
    np.testing.assert_allclose(found, np.array(frame) @ unit(0, b0), atol=1e-7)
  # In the west the observer is seen in the east.
  assert solar.line_of_sight(40.0, 0.0, 0.0)[0] == pytest.approx(-np.sin(np.deg2rad(40)))


def test_shapes_are_broadcast():
  assert solar.line_of_sight(CMD[:, None], LATITUDE[:4], 3.0).shape == (200, 4, 3)
  assert solar.mu(10.0, 20.0, B0).shape == (200,)


@pytest.mark.parametrize(
  ('angle', 'wrapped'),
  [
    (0, 0),
    (180, -180),
    (-180, -180),
    (179.5, 179.5),
    (180.5, -179.5),
    (-180.5, 179.5),
    (360, 0),
    (725, 5),
    (-545, 175),
  ],
)
def test_angles_are_wrapped_to_half_a_turn(angle, wrapped):
  assert solar.wrap_degrees(angle) == pytest.approx(wrapped, abs=1e-12)
  np.testing.assert_allclose(solar.wrap_degrees(np.array([angle, angle])), wrapped, atol=1e-12)


def test_directions_are_unit_vectors():
  found = solar.direction(CMD, LATITUDE)
  np.testing.assert_allclose(found, unit(CMD, LATITUDE).T, atol=1e-12)


def test_lengths_and_times_by_hand():
  # A quarter of the circumference of a Sun of 695.7 Mm; Carrington's 27.2752 days bring a place round.
  assert solar.degrees(np.pi / 2 * 695.7) == pytest.approx(90)
  assert solar.rotated(-20.0, 24 * 27.2752316) == pytest.approx(340)
  assert solar.rotated(10.0, -24.0) == pytest.approx(10 - 13.1988, abs=1e-3)


@pytest.mark.parametrize(('longitude', 'latitude'), [(30.0, 0.0), (200.0, 35.0), (359.0, -60.0)])
def test_the_postel_header_keeps_distances_from_the_centre(longitude, latitude):
  wcs = WCS(solar.postel_header(longitude, latitude, (33, 65), 1.39))
  np.testing.assert_allclose(wcs.wcs_pix2world(32, 16, 0), (longitude, latitude), atol=1e-10)
  x, y = (axis.ravel() for axis in np.meshgrid(np.arange(65), np.arange(33)))
  there = unit(*wcs.wcs_pix2world(x, y, 0))
  centre = unit(longitude, latitude)
  angle = np.rad2deg(np.arctan2(np.linalg.norm(np.cross(centre, there.T), axis=1), centre @ there))
  np.testing.assert_allclose(angle, solar.degrees(1.39 * np.hypot(x - 32, y - 16)), atol=1e-6)
  # North is up, west to the right.
  west, north = unit(longitude + 90, 0), np.cross(centre, unit(longitude + 90, 0))
  assert there.T[16 * 65 + 40] @ west > 0 and there.T[30 * 65 + 32] @ north > 0


def test_the_postel_header_is_understood_by_sunpy():
  sunpy_map = pytest.importorskip('sunpy.map')
  header = solar.postel_header(100.0, 15.0, (9, 9), 1.39)
  header.update({'DATE-OBS': '2011-02-14T00:00:00', 'HGLN_OBS': 0.0, 'HGLT_OBS': -7.0, 'DSUN_OBS': 1.5e11})
  centre = sunpy_map.Map(np.zeros((9, 9)), dict(header)).pixel_to_world(4 * u.pix, 4 * u.pix)
  assert (centre.lon.deg, centre.lat.deg) == pytest.approx((100.0, 15.0), abs=1e-9)


def test_separation_is_the_angle_on_the_sphere():
  assert solar.separation(10, 0, 350, 0) == pytest.approx(20)
  assert solar.separation(0, 60, 180, 60) == pytest.approx(60)
  assert solar.separation(0, 60, 10, 60) < 5.1
