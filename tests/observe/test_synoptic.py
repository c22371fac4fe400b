"""A disk made from a synoptic map, against fields that are known everywhere."""

import numpy as np
import pytest
from astropy import units as u
from astropy.time import Time
from sunpy.coordinates import sun

from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import carrington_pixels, postel_patch
from hearjax.observe.synoptic import read_synoptic, rotation_of, synoptic_disk, write_disk

h5py = pytest.importorskip('h5py')
DATE = Time('2022-01-05T00:00:00')


def write_synoptic(path, field=None, **changes):
  """Writes a map of 181 x 360 px; the field is a function of longitude and latitude [deg]."""
  longitude, colatitude = np.linspace(0, 2 * np.pi, 361), np.linspace(0, np.pi, 181)
  east, south = np.meshgrid(np.rad2deg(longitude), np.rad2deg(colatitude))
  field = field or (lambda east, north: 100.0 + 0 * east)
  content = {'Data': field(east, 90 - south), 'dim1': longitude, 'dim2': colatitude} | changes
  with h5py.File(path, 'w') as file:
    for name, values in content.items():
      if values is not None:
        file[name] = np.asarray(values, np.float32)
  return path


def spot(east, north):
  """500 G within 10 deg of longitude 60, latitude -20; the Sun is quiet elsewhere, 10 G in the north."""
  return np.where(np.hypot(east - 60, north + 20) < 10, 500.0, np.where(north > 0, 10.0, 0.0))


def test_a_radial_field_is_seen_as_mu_times_itself(tmp_path):
  disk = synoptic_disk(write_synoptic(tmp_path / 'flat.h5'), DATE, 200)
  seen = np.isfinite(disk.data)
  y, x = np.indices(disk.data.shape) - 99.5
  # An orthographic disk of 96 % of the image: mu = sqrt(1 - (r / R)^2), but for the finite distance.
  r = np.hypot(x, y) / (0.96 * 100)
  assert (seen == (r < 1)).mean() > 0.995
  inner = r < 0.95
  np.testing.assert_allclose(disk.data[inner], 100 * np.sqrt(1 - r[inner] ** 2), atol=0.5)
  assert disk.data[99:101, 99:101].mean() == pytest.approx(100, abs=0.1) and disk.data.dtype == np.float32


def test_places_are_where_an_observer_on_the_earth_sees_them(tmp_path):
  disk = synoptic_disk(write_synoptic(tmp_path / 'spot.h5', spot), DATE, 300)
  l0, b0 = sun.L0(DATE).deg, sun.B0(DATE).deg
  assert 10 < (l0 - 60) % 360 < 60, 'the spot is on the disk, east of the middle'
  x, y = carrington_pixels(disk, np.array([60.0, l0]), np.array([-20.0, b0 + 40]))
  assert x[0] < 149.5 and y[0] < 149.5 and y[1] > 149.5, 'east to the left, north up'
  mu = np.cos(np.deg2rad(20)) * np.cos(np.deg2rad(l0 - 60)) * np.cos(np.deg2rad(b0))
  mu -= np.sin(np.deg2rad(20)) * np.sin(np.deg2rad(b0))
  assert disk.data[round(y[0]), round(x[0])] == pytest.approx(500 * mu, rel=0.02)
  assert disk.data[round(y[1]), round(x[1])] == pytest.approx(10 * np.cos(np.deg2rad(40)), rel=0.02)


def test_a_disk_is_read_as_a_magnetogram_and_says_what_it_is(tmp_path):
  disk = synoptic_disk(write_synoptic(tmp_path / 'spot.h5', spot), DATE, 300)
  write_disk(tmp_path / 'disk.fits', disk)
  again = read_magnetogram(tmp_path / 'disk.fits')
  np.testing.assert_array_equal(again.data, disk.data)
  ours, theirs = (postel_patch(one, 60.0, -20.0, 16, 4.0) for one in (disk, again))
  np.testing.assert_allclose(ours.field, theirs.field, atol=1e-3)
  assert ours.notes.startswith('made from a synoptic map of the radial field: of no single moment')
  assert '1.00 deg' in ours.notes and ours.time.startswith('2022-01-05')


def test_the_seam_of_the_map_is_not_seen(tmp_path):
  """A map without its first meridian at the end, seen where it begins."""
  date = sun.carrington_rotation_time(2252)
  longitude, colatitude = np.linspace(0, 2 * np.pi, 361)[:-1], np.linspace(0, np.pi, 181)
  field = 100 + 50 * np.cos(longitude)[None] * np.sin(colatitude)[:, None]
  path = write_synoptic(tmp_path / 'open.h5', Data=field, dim1=longitude)
  disk = synoptic_disk(path, date, 200)
  row = disk.data[100, 60:140]
  assert np.isfinite(row).all() and np.abs(np.diff(row)).max() < 3
  assert rotation_of(date + 1 * u.day) == 2252


def test_latitude_goes_from_south_to_north(tmp_path):
  field, latitude, longitude = read_synoptic(write_synoptic(tmp_path / 'n.h5', lambda east, north: north))
  np.testing.assert_allclose(field[:, 7], latitude, atol=1e-4)
  assert latitude[0] == pytest.approx(-90) and longitude[-1] == pytest.approx(360)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'Data': None}, 'no synoptic map in HDF5 with Data, dim1 and dim2'),
    ({'Data': np.zeros((10, 10))}, r'must hold a map \[colatitude, longitude\]'),
    ({'dim1': np.linspace(0, 360, 361)}, 'its longitude must go evenly from 0 to 6.28'),
    ({'dim2': np.cos(np.linspace(0, np.pi, 181))}, 'its colatitude must go evenly from 0 to 3.14'),
    ({'Data': np.full((181, 361), np.nan)}, 'has 65341 missing pixels'),
  ],
)
def test_what_is_no_such_map(tmp_path, changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    synoptic_disk(write_synoptic(tmp_path / 'bad.h5', **changes), DATE)


def test_no_file_and_no_map(tmp_path):
  with pytest.raises(FileNotFoundError, match='There is no synoptic map'):
    synoptic_disk(tmp_path / 'none.h5', DATE)
  (tmp_path / 'text.h5').write_text('no HDF5')
  with pytest.raises(ValueError, match='no synoptic map in HDF5'):
    synoptic_disk(tmp_path / 'text.h5', DATE)
  with pytest.raises(ValueError, match='An image of 1 px cannot be made'):
    synoptic_disk(write_synoptic(tmp_path / 'flat.h5'), DATE, 1)
