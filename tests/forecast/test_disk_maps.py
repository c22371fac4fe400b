"""Maps of a disk: every place where it belongs, as sunpy reads them."""

import numpy as np
import pytest
import sunpy.map
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from hearjax.forecast.disk_maps import (
  NO_FORECAST,
  coarse_grid,
  draw_disk,
  read_disk_map,
  sample_disk,
  write_disk_map,
)
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import carrington_pixels
from tests.forecast.small_disk import centre, small_disk, small_header
from tests.real_maps import SHARP_14182, distance_mm

L0, B0 = centre(small_header())


def make_places(longitude, latitude, probability, outside=0, step_mm=40.0) -> Table:
  longitude = np.asarray(longitude, float)
  table = Table({'longitude': longitude, 'latitude': np.asarray(latitude, float)})
  table['probability'] = np.broadcast_to(probability, len(longitude)).astype(float)
  table['probability_std'] = 0.1
  table['outside'] = np.broadcast_to(outside, len(longitude)).astype(np.int16)
  table.meta = {'step_mm': step_mm, 'max_angle_deg': 75.0, 'prior': 0.5}
  return table


@pytest.fixture
def disk(tmp_path):
  return small_disk(tmp_path)


@pytest.fixture
def lattice():
  """Places 3 deg apart; the probability tells the longitude, the bits the row."""
  east, north = (axis.ravel() for axis in np.meshgrid(np.arange(-60, 61, 3.0), np.arange(-45, 46, 3.0)))
  return make_places(L0 + east, B0 + north, 0.5 + east / 200, np.where(north > 0, 2, 0))


def test_every_pixel_has_the_nearest_place(disk, lattice):
  drawn = draw_disk(disk, lattice, pixel_mm=20.0)
  x, y = carrington_pixels(drawn.as_map(), np.asarray(lattice['longitude']), np.asarray(lattice['latitude']))
  inside = np.hypot(lattice['longitude'] - L0, lattice['latitude'] - B0) < 40
  at = y[inside].round().astype(int), x[inside].round().astype(int)
  np.testing.assert_allclose(drawn.probability[at], lattice['probability'][inside], atol=1e-6)
  assert list(drawn.outside[at]) == list(lattice['outside'][inside])
  np.testing.assert_allclose(drawn.spread[at], 0.1, atol=1e-6)
  # mu by the distance from disk centre.
  away = distance_mm(lattice['longitude'][inside], lattice['latitude'][inside], (L0, B0)) / 695.7
  np.testing.assert_allclose(drawn.mu[at], np.cos(away), atol=0.02)


def test_nothing_is_said_off_the_disk_near_the_limb_and_far_from_places(disk, lattice):
  drawn = draw_disk(disk, lattice, pixel_mm=20.0)
  told = np.isfinite(drawn.probability)
  assert told.any() and (drawn.outside[~told] == NO_FORECAST).all() and (drawn.outside[told] != NO_FORECAST).all()
  assert np.isnan(drawn.mu[0, 0]) and drawn.mu[told].min() >= np.cos(np.deg2rad(75))
  assert (np.isfinite(drawn.mu) & ~told).any()
  alone = draw_disk(disk, make_places([L0], [B0], 0.7), pixel_mm=10.0)
  seen = np.isfinite(alone.probability)
  # A circle of 40 Mm around the one place.
  assert seen.sum() * 10**2 == pytest.approx(np.pi * 40**2, rel=0.15)


def test_sunpy_opens_the_maps_and_they_overlay_on_the_magnetogram(disk, lattice, tmp_path):
  path = tmp_path / 'out' / 'disk.emergence.fits'
  drawn = draw_disk(disk, lattice, pixel_mm=20.0)
  write_disk_map(path, drawn, {'PRIOR': (0.5, 'share'), 'SCANNED': ('a' * 90, '')})
  maps = sunpy.map.Map(path)
  assert [one.meta['extname'] for one in maps] == ['PROBABILITY', 'SPREAD', 'MU', 'OUTSIDE']
  for one in maps:
    assert one.coordinate_frame.name == disk.coordinate_frame.name == 'helioprojective'
    assert abs((one.reference_date - disk.reference_date).to_value('s')) < 1e-3
    assert one.observer_coordinate.separation_3d(disk.observer_coordinate).to_value(u.km) < 1
    # The same corner of the sky, and 20 Mm for pixels of less than 5.
    for pixel in ((0.3, 0.3), (17.0, 40.0)):
      binning = one.scale[0] / disk.scale[0]
      own = [(value + 0.5) * binning.value - 0.5 for value in pixel]
      world, there = (m.pixel_to_world(*(p * u.pix)) for m, p in ((one, pixel), (disk, own)))
      assert world.separation(there).to_value(u.arcsec) < 1e-3
  header = fits.getheader(path)
  assert header['PRIOR'] == 0.5 and header['SCANNED'] == 'a' * 90 and 'CHECKSUM' in header
  assert fits.getheader(path, 'OUTSIDE')['BIT1'] == 'flux above'
  again = read_disk_map(path)
  for name in ('probability', 'spread', 'mu', 'outside'):
    np.testing.assert_array_equal(getattr(again, name), getattr(drawn, name))
  found = sample_disk(again, [L0 + 20, L0 + 180, L0], [B0 + 10, 0, B0 + 70])
  assert found[0][0] == pytest.approx(0.6, abs=0.02) and np.isnan(found[0][1:]).all()


def test_a_damaged_map_is_told(disk, lattice, tmp_path):
  path = tmp_path / 'disk.fits'
  write_disk_map(path, draw_disk(disk, lattice), {})
  path.write_bytes(path.read_bytes()[:9000])
  with pytest.raises(ValueError, match='truncated or damaged'):
    read_disk_map(path)
  with pytest.raises(FileNotFoundError):
    read_disk_map(tmp_path / 'none.fits')


def test_grid_of_a_part_that_is_no_multiple():
  magnetogram = read_magnetogram(SHARP_14182)
  header, x, y = coarse_grid(magnetogram, 7)
  height, width = magnetogram.data.shape
  assert x.shape == (-(-height // 7), -(-width // 7)) and x[0, 0] == y[0, 0] == 3
  places = make_places(*([value] for value in (286.0, 15.0)), 0.4, step_mm=10.0)
  drawn = draw_disk(magnetogram, places)
  assert drawn.header['CTYPE1'] == 'CRLN-CEA' and header['CDELT1'] == pytest.approx(7 * magnetogram.meta['cdelt1'])
