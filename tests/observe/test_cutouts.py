"""The part of a magnetogram around a place: the same as the whole has, and the flux of its own pixels."""

import numpy as np
import pytest
from astropy.io import fits

from hearjax.observe.cutouts import BeyondLimb, flux_within, mapping_change, pixels_on_sun, read_cutout
from hearjax.observe.magnetogram import EARTH_NOTE, read_magnetogram
from hearjax.observe.postel import postel_patch
from hearjax.solar import CM2_PER_MM2, SOLAR_RADIUS_MM
from tests.observe.turning_disk import cosine_between, mu_at, write_turned
from tests.real_maps import CENTRE_11158, CUTOUT, SHARP_11158, disk_positions, edited, write_disk

L0_11158 = fits.getheader(CUTOUT, ignore_blank=True)['CRLN_OBS']
CAP_MM2 = 2 * np.pi * SOLAR_RADIUS_MM**2


def stripes(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  return 100 * np.sin(np.deg2rad(9 * longitude)) * np.cos(np.deg2rad(7 * latitude))


# --- Reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', [CUTOUT, SHARP_11158], ids=['plain', 'compressed'])
def test_patch_of_a_cutout_is_that_of_the_whole(path):
  whole, cutout = read_magnetogram(path), read_cutout(path, *CENTRE_11158, 34 * 1.39)
  assert cutout.data.size < 0.5 * whole.data.size
  assert cutout.data.dtype == np.float32 and cutout.meta['quality'] == 0
  ours, theirs = (postel_patch(one, *CENTRE_11158, size=64) for one in (cutout, whole))
  np.testing.assert_allclose(ours.field, theirs.field, atol=1e-4)
  assert {**vars(ours), 'field': None} == {**vars(theirs), 'field': None}


@pytest.mark.parametrize('offset', [(0, 0), (-30, 40), (62, -20), (75, 0)])
def test_patch_of_a_cutout_of_a_disk(tmp_path, disk_header, offset):
  frame = write_turned(tmp_path / 'disk.fits', disk_header, stripes)
  place = (disk_header['CRLN_OBS'] + offset[0] - 360, disk_header['CRLT_OBS'] + offset[1])
  cutout = read_cutout(frame.path, *place, 33 * 1.39)
  assert cutout.data.size < 1e4
  ours, theirs = (
    postel_patch(one, *place, size=64, max_angle_deg=90) for one in (cutout, read_magnetogram(frame.path))
  )
  np.testing.assert_allclose(ours.field, theirs.field, atol=1e-4)
  assert ours.missing == theirs.missing


def test_only_the_tiles_of_the_part_are_unpacked(tmp_path, disk_header):
  """The first rows of the file are made unreadable."""
  frame = write_turned(tmp_path / 'disk.fits', disk_header, stripes)
  place = (disk_header['CRLN_OBS'], disk_header['CRLT_OBS'], 40.0)
  before = read_cutout(frame.path, *place)
  with fits.open(frame.path, disable_image_compression=True) as hdus:
    header = hdus[1].header
    heap = hdus[1].fileinfo()['datLoc'] + header.get('THEAP', header['NAXIS1'] * header['NAXIS2'])
    length = sum(map(len, hdus[1].data['COMPRESSED_DATA'][:100]))
  with open(frame.path, 'r+b') as file:
    file.seek(heap)
    file.write(b'\xa5' * length)
  np.testing.assert_array_equal(read_cutout(frame.path, *place).data, before.data)


def test_a_file_may_be_a_cutout_already(tmp_path):
  """A place 60 Mm from the middle of a field that reaches about 75 Mm: the square ends where the image does."""
  place = (CENTRE_11158[0] - 5, CENTRE_11158[1])
  ours, theirs = read_cutout(CUTOUT, *place, 65 * 1.39), read_magnetogram(CUTOUT)
  first, second = (postel_patch(one, *place) for one in (ours, theirs))
  assert 0.2 < first.missing < 0.8
  np.testing.assert_allclose(first.field, second.field, atol=1e-4)
  with fits.open(CUTOUT, ignore_blank=True) as hdus:  # And one more, of an image with an axis of length 1.
    header = hdus[0].header.copy()
    header.remove('BLANK', ignore_missing=True)
    fits.PrimaryHDU(hdus[0].data[None], header).writeto(tmp_path / 'cube.fits')
  again = read_cutout(tmp_path / 'cube.fits', *place, 65 * 1.39)
  np.testing.assert_array_equal(again.data, ours.data)


def test_what_was_assumed_is_kept(tmp_path):
  path = edited(CUTOUT, tmp_path / 'a.fits', CRLN_OBS=None, CRLT_OBS=None, QUALITY=66560)
  cutout = read_cutout(path, *CENTRE_11158, 40.0)
  assert (cutout.meta['notes'], cutout.meta['quality']) == (EARTH_NOTE, 66560)


@pytest.mark.parametrize(
  ('place', 'error', 'sentence'),
  [
    ((214.9, 6.8, 50.0), BeyondLimb, r'longitude 214.9, latitude 6.8 deg: it lies beyond the limb, \d+ deg from'),
    ((L0_11158 - 90, 0.0, 50.0), BeyondLimb, 'beyond the limb, 90 deg from disk centre'),
    ((L0_11158 - 89.5, 0.0, 50.0), ValueError, 'lies outside the image'),
    ((34.9, 40.0, 50.0), ValueError, 'does not show Carrington longitude 34.9, latitude 40 deg: it lies outside'),
    ((np.nan, 40.0, 50.0), ValueError, 'no place on the Sun'),
    ((34.9, 90.1, 50.0), ValueError, 'no place on the Sun'),
    ((*CENTRE_11158, 0.0), ValueError, 'radius_mm must be positive'),
    ((*CENTRE_11158, 1100.0), ValueError, 'less than a quarter of the circumference; got 1100'),
  ],
)
def test_says_what_an_image_does_not_show(place, error, sentence):
  with pytest.raises(error, match=sentence):
    read_cutout(CUTOUT, *place)


@pytest.mark.parametrize(
  ('cards', 'sentence'),
  [
    ({'BUNIT': None}, 'does not say its unit'),
    ({'CTYPE1': None, 'CTYPE2': None}, 'solar coordinates are needed'),
    ({'DATE_OBS': None, 'T_OBS': None}, 'does not say when it was observed'),
    ({'DSUN_OBS': None}, 'gives only part of the position of the observer; add DSUN_OBS'),
  ],
)
def test_checks_a_header_as_the_reader_does(tmp_path, cards, sentence):
  with pytest.raises(ValueError, match=sentence):
    read_cutout(edited(CUTOUT, tmp_path / 'a.fits', **cards), *CENTRE_11158, 40.0)


def test_a_blank_place(tmp_path, disk_header):
  longitude, _ = disk_positions(disk_header)
  field = np.where(np.abs(longitude - disk_header['CRLN_OBS']) < 15, np.nan, 1.0)
  path = write_disk(tmp_path / 'disk.fits', disk_header, field)
  with pytest.raises(ValueError, match='blank there: no pixel of its image is a number'):
    read_cutout(path, disk_header['CRLN_OBS'], disk_header['CRLT_OBS'], 100.0)
  with pytest.raises(FileNotFoundError, match='There is no file'):
    read_cutout(tmp_path / 'none.fits', 0.0, 0.0, 100.0)


# --- Flux of native pixels --------------------------------------------------------------------------------------


def test_areas_are_those_on_the_sky_over_mu(tmp_path, disk_header):
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, np.ones((1000, 1000))))
  places, area = pixels_on_sun(magnetogram)
  longitude, latitude = disk_positions(disk_header)
  mu = mu_at(disk_header, longitude, latitude)
  # Of a distant observer, the side of a pixel at disk centre: the Sun of the header, on a sphere of our radius.
  distance = disk_header['DSUN_OBS'] / disk_header['RSUN_REF']
  side = np.deg2rad(disk_header['CDELT1'] / 3600) * (distance - 1) * SOLAR_RADIUS_MM
  inner = mu > 0.5
  np.testing.assert_allclose((area * mu)[inner], side**2, rtol=0.015)  # The parallax.
  assert area[inner].sum() == pytest.approx(CAP_MM2 * 0.5, rel=1e-3)
  # Another projection of one region: all pixels of a CEA map show the same area.
  np.testing.assert_allclose(
    pixels_on_sun(read_magnetogram(SHARP_11158))[1], (np.deg2rad(0.03) * SOLAR_RADIUS_MM) ** 2, rtol=1e-3
  )
  np.testing.assert_allclose(np.linalg.norm(places[inner], axis=-1), 1)


@pytest.mark.parametrize('offset', [0, 30, 55])
def test_flux_of_a_radial_field(tmp_path, disk_header, offset):
  """B = 200 G times mu within 40 Mm, noise below the threshold outside."""
  place = (disk_header['CRLN_OBS'] + offset, 10.0)
  longitude, latitude = disk_positions(disk_header)
  near = cosine_between(longitude, latitude, place) > np.cos(40 / SOLAR_RADIUS_MM)
  field = np.where(near, -200 * mu_at(disk_header, longitude, latitude), 20.0)
  magnetogram = read_cutout(write_disk(tmp_path / 'disk.fits', disk_header, field), *place, 80.0)
  flux, seen = flux_within(magnetogram, *place, 80.0, threshold_gauss=30.0, max_angle_deg=75.0)
  assert flux == pytest.approx(200 * CAP_MM2 * (1 - np.cos(40 / SOLAR_RADIUS_MM)) * CM2_PER_MM2, rel=0.01)
  assert seen == pytest.approx(1, abs=0.01)


def test_share_of_the_area_that_is_observed(tmp_path, disk_header):
  place = (disk_header['CRLN_OBS'], disk_header['CRLT_OBS'])
  field = np.ones((1000, 1000))
  path = write_disk(tmp_path / 'disk.fits', disk_header, field)
  assert flux_within(read_cutout(path, *place, 80.0), *place, 80.0, 30.0, 75.0)[1] == pytest.approx(1, abs=0.01)
  assert flux_within(read_cutout(path, *place, 80.0), *place, 80.0, 30.0, 3.0)[1] == pytest.approx(
    (1 - np.cos(np.deg2rad(3))) / (1 - np.cos(80 / SOLAR_RADIUS_MM)), rel=0.02
  )
  # What was cut off counts as missing, too.
  assert flux_within(read_cutout(path, *place, 40.0), *place, 80.0, 30.0, 75.0)[1] < 0.45


def test_mapping_keeps_a_field_that_it_resolves(tmp_path, disk_header):
  frame = write_turned(tmp_path / 'disk.fits', disk_header, stripes)
  for offset in (0, 50):
    place = (disk_header['CRLN_OBS'] + offset, 10.0)
    magnetogram = read_cutout(frame.path, *place, 65 * 1.39)
    unsigned, net = mapping_change(magnetogram, postel_patch(magnetogram, *place))
    assert abs(unsigned) < 0.01 and abs(net) < 0.01


def test_mapping_of_a_real_region_keeps_its_flux(cutout):
  """AR 11158 in native pixels of 45 s: noise and mixed polarities cancel within a pixel, net flux stays."""
  unsigned, net = mapping_change(cutout, postel_patch(cutout, *CENTRE_11158, size=96))
  assert -0.2 < unsigned < 0
  assert abs(net) < 0.002


def test_change_of_nothing(tmp_path, disk_header):
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, np.zeros((1000, 1000))))
  assert np.isnan(mapping_change(magnetogram, postel_patch(magnetogram, disk_header['CRLN_OBS'], 0.0, size=32))).all()
