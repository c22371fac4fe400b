"""Plain geometry of images, against the frames of coordinates of sunpy."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from reproject import reproject_adaptive
from sunpy.coordinates import HeliographicCarrington
from sunpy.map import GenericMap

from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import carrington_positions, observer_position, postel_patch, postel_wcs
from hearjax.observe.view import view_of
from hearjax.solar import direction
from tests.real_maps import CENTRE_11158, CUTOUT, SHARP_11158, edited, write_disk


def carrington(magnetogram: GenericMap) -> HeliographicCarrington:
  return HeliographicCarrington(
    observer=magnetogram.observer_coordinate, obstime=magnetogram.reference_date, rsun=magnetogram.rsun_meters
  )


def stonyhurst(magnetogram: GenericMap) -> GenericMap:
  """Returns a heliographic map with its longitudes counted from the Earth's meridian, its observer too."""
  meta, observer = dict(magnetogram.meta), magnetogram.observer_coordinate
  meta |= {'ctype1': 'HGLN-CEA', 'ctype2': 'HGLT-CEA'}
  meta['crval1'] += observer.lon.deg - meta.pop('crln_obs')
  del meta['crlt_obs']
  return GenericMap(magnetogram.data, meta | {'hgln_obs': observer.lon.deg, 'hglt_obs': observer.lat.deg})


@pytest.fixture(params=['TAN', 'disk', 'CEA', 'HGLN', 'Earth'])
def magnetogram(request, tmp_path, cutout, disk_header) -> GenericMap:
  if request.param == 'TAN':
    return cutout
  if request.param == 'disk':
    return read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, np.ones((1000, 1000))))
  if request.param == 'Earth':
    return read_magnetogram(edited(CUTOUT, tmp_path / 'a.fits', CRLN_OBS=None, CRLT_OBS=None))
  sharp = read_magnetogram(SHARP_11158)
  return sharp if request.param == 'CEA' else stonyhurst(sharp)


def test_places_appear_where_sunpy_has_them(magnetogram):
  view = view_of(magnetogram)
  l0, b0 = magnetogram.carrington_longitude, magnetogram.carrington_latitude
  assert (view.l0, view.b0) == pytest.approx((l0.to_value(u.deg), b0.to_value(u.deg)), abs=1e-9)
  assert observer_position(magnetogram) == (view.l0, view.b0)
  longitude, latitude = np.meshgrid(view.l0 + np.linspace(-10, 40, 9), np.linspace(-50, 40, 7))
  points = SkyCoord(longitude * u.deg, latitude * u.deg, frame=carrington(magnetogram))
  expected = np.stack([axis.to_value(u.pix) for axis in magnetogram.world_to_pixel(points)])
  np.testing.assert_allclose(view.pixels(longitude, latitude), expected, atol=1e-6)
  np.testing.assert_allclose(view.positions(*expected)[0] % 360, longitude % 360, atol=1e-6)
  np.testing.assert_allclose(view.positions(*expected)[1], latitude, atol=1e-6)
  np.testing.assert_allclose(view.directions(*expected), direction(longitude, latitude), atol=1e-7)


def test_pixels_show_what_sunpy_says(magnetogram):
  height, width = magnetogram.data.shape
  x, y = np.meshgrid(np.linspace(0, width - 1, 11), np.linspace(0, height - 1, 9))
  points = magnetogram.pixel_to_world(x * u.pix, y * u.pix).transform_to(carrington(magnetogram))
  longitude, latitude = carrington_positions(magnetogram, x, y)
  np.testing.assert_allclose(longitude, points.lon.deg % 360, atol=1e-6)  # NaN off the disk, in both.
  np.testing.assert_allclose(latitude, points.lat.deg, atol=1e-6)


def test_far_side_is_seen_through_the_sun(cutout):
  view = view_of(cutout)
  x, y = view.pixels(np.array([view.l0, view.l0 + 180]), np.array([view.b0, -view.b0]))
  assert x[0] == pytest.approx(x[1]) and y[0] == pytest.approx(y[1])


@pytest.mark.parametrize('path', [CUTOUT, SHARP_11158], ids=['TAN', 'CEA'])
@pytest.mark.parametrize('offset', [0.0, -5.0])
def test_patch_is_that_of_sunpy_and_reproject(path, offset):
  """The same sums, with all coordinates from sunpy, over the whole image; at -5 deg part of the patch is beyond it."""
  magnetogram = read_magnetogram(path)
  place = (CENTRE_11158[0] + offset, CENTRE_11158[1])
  patch = postel_patch(magnetogram, *place, size=48)
  expected = reproject_adaptive(
    (magnetogram.data.astype(float), magnetogram.wcs),
    postel_wcs(magnetogram, *place, (48, 48), 1.39),
    (48, 48),
    kernel='hann',
    boundary_mode='ignore_threshold',
    roundtrip_coords=False,
    return_footprint=False,
  )
  both = np.isfinite(patch.field) & np.isfinite(expected)
  assert both.any() and np.mean(np.isfinite(patch.field) != np.isfinite(expected)) < 0.02
  np.testing.assert_allclose(patch.field[both], expected[both], atol=0.01)
