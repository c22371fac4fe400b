"""Reading and mapping of real magnetograms, against plain geometry and against a second projection of one region."""

import gzip
import pathlib
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from reproject import reproject_exact
from sunpy.map import GenericMap

from hearjax.observe import tiling
from hearjax.observe.magnetogram import EARTH_NOTE, read_magnetogram
from hearjax.observe.postel import observer_position, postel_column, postel_patch, postel_wcs
from hearjax.solar import SOLAR_RADIUS_MM

DATA = pathlib.Path(__file__).parent / 'data'
CUTOUT = DATA / 'hmi.M_45s.20110214_203515_TAI.cutout_ar11158.fits'
FULL_DISK = DATA / 'resampled_hmi.fits'
SHARP_11158, SHARP_14159, SHARP_14182, SHARP_14237, SHARP_14243 = (
  DATA / f'hmi.sharp_cea_720s.{name}_TAI.magnetogram.fits'
  for name in (
    '377.20110215_020000',
    '13561.20250727_150000',
    '13641.20250817_150000',
    '13845.20250930_150000',
    '13866.20251009_140000',
  )
)
SHARPS = (SHARP_11158, SHARP_14159, SHARP_14182, SHARP_14237, SHARP_14243)
CENTRE_11158 = (34.9, -20.5)  # Carrington longitude and latitude [deg].
DEGREES_PER_PIXEL = np.rad2deg(1.39 / SOLAR_RADIUS_MM)


@pytest.fixture(scope='module')
def cutout() -> GenericMap:
  return read_magnetogram(CUTOUT)


@pytest.fixture(scope='module')
def disk_header() -> fits.Header:
  """Header of a full disk of 1000 x 1000 px with the roll, distance and observer of a real HMI frame."""
  header = fits.getheader(FULL_DISK, ignore_blank=True)
  for key in ('CRPIX1', 'CRPIX2'):
    header[key] = (header[key] - 0.5) * 10 + 0.5
  for key in ('CDELT1', 'CDELT2'):
    header[key] /= 10
  header['BUNIT'] = 'Gauss'
  header.remove('BLANK', ignore_missing=True)
  return header


def disk_positions(header: fits.Header) -> tuple[np.ndarray, np.ndarray]:
  """Returns Carrington longitude and latitude [deg] of every pixel, NaN off the disk: rays that meet a sphere.

  Written without sunpy. The image plane is tangential; light travel time is in CRLN_OBS already.
  """
  index = np.arange(1, 1001)
  roll = np.deg2rad(header['CROTA2'])
  x, y = np.meshgrid(header['CDELT1'] * (index - header['CRPIX1']), header['CDELT2'] * (index - header['CRPIX2']))
  x, y = np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y
  # CRVAL is a few arcsec, where the rotation to the reference point is a shift to 1e-8.
  x, y = (np.deg2rad((value + header[key]) / 3600) for value, key in ((x, 'CRVAL1'), (y, 'CRVAL2')))
  norm = np.sqrt(1 + x**2 + y**2)
  distance = header['DSUN_OBS'] / header['RSUN_REF']
  with np.errstate(invalid='ignore'):
    along = distance / norm - np.sqrt(1 - distance**2 * (1 - 1 / norm**2))
  west, north, towards = along * x / norm, along * y / norm, distance - along / norm
  b0 = np.deg2rad(header['CRLT_OBS'])
  latitude = np.rad2deg(np.arcsin(north * np.cos(b0) + towards * np.sin(b0)))
  longitude = np.rad2deg(np.arctan2(west, towards * np.cos(b0) - north * np.sin(b0))) + header['CRLN_OBS']
  return longitude, latitude


def distance_mm(longitude, latitude, centre) -> np.ndarray:
  """Returns the great-circle distance from `centre` [Mm]; the haversine formula."""
  lat, lat0 = np.deg2rad(latitude), np.deg2rad(centre[1])
  half = np.deg2rad(np.asarray(longitude) - centre[0]) / 2
  root = np.sqrt(np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin(half) ** 2)
  return 2 * SOLAR_RADIUS_MM * np.arcsin(root)


def write_disk(path: pathlib.Path, header: fits.Header, field: np.ndarray) -> pathlib.Path:
  fits.PrimaryHDU(field.astype(np.float32), header).writeto(path)
  return path


def edited(source: pathlib.Path, path: pathlib.Path, **cards) -> pathlib.Path:
  """Copies a file, uncompressed, with cards set, or removed for None."""
  with fits.open(source, ignore_blank=True) as hdus:
    hdu = next(hdu for hdu in hdus if hdu.header['NAXIS'] == 2)
    header = fits.Header()
    for key in ('CTYPE', 'CUNIT', 'CRPIX', 'CRVAL', 'CDELT'):
      for axis in '12':
        header[key + axis] = hdu.header[key + axis]
    for key in ('CROTA2', 'CRLN_OBS', 'CRLT_OBS', 'DSUN_OBS', 'RSUN_REF', 'DATE-OBS', 'T_OBS', 'INSTRUME', 'QUALITY'):
      header[key] = hdu.header[key]
    header['BUNIT'] = 'Gauss'
    for key, value in cards.items():
      key = key.replace('_OBS', '-OBS') if key == 'DATE_OBS' else key
      if value is None:
        header.remove(key, ignore_missing=True)
      else:
        header[key] = value
    fits.PrimaryHDU(hdu.data.astype(np.float32), header).writeto(path)
  return path


# --- Reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', [CUTOUT, *SHARPS], ids=lambda path: path.name[:24])
def test_reads_real_files(path):
  magnetogram = read_magnetogram(path)
  header = fits.getheader(path, 0 if path == CUTOUT else 1, ignore_blank=True)
  assert magnetogram.data.shape == (header['NAXIS2'], header['NAXIS1'])
  assert magnetogram.data.dtype == np.float32
  assert magnetogram.unit == u.G
  assert magnetogram.meta['quality'] == 0
  assert 'notes' not in magnetogram.meta
  assert observer_position(magnetogram) == pytest.approx((header['CRLN_OBS'], header['CRLT_OBS']), abs=1e-3)
  assert 1000 < np.nanmax(np.abs(magnetogram.data)) < 2200 or path == SHARP_14159


def test_time_is_the_middle_of_the_exposure_in_utc(cutout):
  assert cutout.reference_date.utc.isot.startswith('2011-02-14T20:34:35')  # T_OBS 20:35:09 TAI less 34 s.


@pytest.mark.parametrize('unit', ['Gauss', 'gauss', 'G', 'Mx/cm^2', 'Mx/cm2', 'Mx cm-2', ' Mx/cm^2 '])
def test_unit_in_any_spelling(tmp_path, unit):
  assert read_magnetogram(edited(SHARP_14237, tmp_path / 'a.fits', BUNIT=unit)).unit == u.G


@pytest.mark.parametrize(
  ('cards', 'sentence'),
  [
    ({'BUNIT': 'kG'}, "BUNIT 'kG'; a magnetogram in Gauss"),
    ({'BUNIT': None}, 'does not say its unit'),
    ({'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN'}, 'solar coordinates are needed'),
    ({'CTYPE1': None, 'CTYPE2': None}, 'solar coordinates are needed'),
    ({'CRVAL1': None}, 'lacks CRVAL1'),
    ({'CUNIT2': None}, 'lacks CUNIT2'),
    ({'CUNIT1': 'Mm', 'CUNIT2': 'Mm'}, 'units of angle are needed'),
    ({'DATE_OBS': None, 'T_OBS': None}, 'does not say when it was observed'),
    ({'DATE_OBS': 'soon', 'T_OBS': None}, 'not legibly'),
    ({'CRLN_OBS': 'west'}, 'cannot be understood'),
    ({'QUALITY': 'bad'}, "QUALITY 'bad'"),
    ({'CDELT1': 1.3}, 'synoptic map'),
  ],
)
def test_rejects_a_header_in_one_sentence(tmp_path, cards, sentence):
  path = edited(SHARP_14237, tmp_path / 'a.fits', **cards)
  with pytest.raises(ValueError, match=sentence) as caught:
    read_magnetogram(path)
  assert str(path) in str(caught.value)


def test_rejects_continuum():
  with pytest.raises(ValueError, match="BUNIT 'DN/s'; a magnetogram in Gauss or Mx/cm"):
    read_magnetogram(FULL_DISK)


@pytest.mark.parametrize('source', [CUTOUT, SHARP_14182])
def test_rejects_a_truncated_file(tmp_path, source):
  path = tmp_path / 'cut.fits'
  path.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
  with pytest.raises(ValueError, match='damaged or incomplete'):
    read_magnetogram(path)


def test_rejects_what_is_no_fits_image(tmp_path):
  (tmp_path / 'text.fits').write_text('no FITS at all')
  (tmp_path / 'empty.fits').touch()
  fits.PrimaryHDU(np.zeros((2, 3, 4), np.float32)).writeto(tmp_path / 'cube.fits')
  edited(SHARP_14237, tmp_path / 'blank.fits')
  with fits.open(tmp_path / 'blank.fits', mode='update') as hdus:
    hdus[0].data[:] = np.nan
  for name, sentence in (
    ('blank', 'no pixel of its image is a number'),
    ('text', 'cannot be read as FITS'),
    ('empty', 'cannot be read'),
    ('cube', 'no two-dimension'),
  ):
    with pytest.raises(ValueError, match=sentence):
      read_magnetogram(tmp_path / f'{name}.fits')
  with pytest.raises(FileNotFoundError, match='There is no file'):
    read_magnetogram(tmp_path / 'none.fits')


def test_missing_observer_becomes_earth_with_a_note(tmp_path, cutout):
  path = edited(CUTOUT, tmp_path / 'a.fits', CRLN_OBS=None, CRLT_OBS=None)
  magnetogram = read_magnetogram(path)
  # SDO circles the Earth, which is up to 0.02 deg; L0 of JSOC headers is larger than the ephemeris by 0.07 deg.
  assert observer_position(magnetogram) == pytest.approx(observer_position(cutout), abs=0.1)
  assert postel_patch(magnetogram, *CENTRE_11158).notes == EARTH_NOTE


def test_quality_is_kept_and_absent_means_good(tmp_path):
  flagged = read_magnetogram(edited(SHARP_14237, tmp_path / 'a.fits', QUALITY=66560))
  plain = read_magnetogram(edited(SHARP_14237, tmp_path / 'b.fits', QUALITY=None))
  assert postel_patch(flagged, 91.7, 15.9).quality == 66560
  assert postel_patch(plain, 91.7, 15.9).quality == 0


def test_gzip_is_read(tmp_path):
  with CUTOUT.open('rb') as plain, gzip.open(tmp_path / 'a.fits.gz', 'wb', compresslevel=1) as packed:
    shutil.copyfileobj(plain, packed)
  assert read_magnetogram(tmp_path / 'a.fits.gz').data.shape == (496, 495)


# --- Mapping: known answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize('centre_offset', [(0, 0), (-35, 20), (50, -15)])
def test_gaussian_spot_keeps_place_width_and_flux(tmp_path, disk_header, centre_offset):
  width, peak = 10.0, 1000.0  # Mm, G.
  spot = (disk_header['CRLN_OBS'] + centre_offset[0], disk_header['CRLT_OBS'] + centre_offset[1])
  away = distance_mm(*disk_positions(disk_header), spot)
  field = peak * np.exp(-0.5 * (away / width) ** 2)
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, field))
  patch = postel_patch(magnetogram, spot[0], spot[1] - 1.0)  # The spot lies one degree north of the centre.
  assert patch.missing == 0
  y, x = np.indices(patch.field.shape)
  total = patch.field.sum()
  found_x, found_y = (patch.field * x).sum() / total, (patch.field * y).sum() / total
  assert found_x == pytest.approx(63.5, abs=0.05)
  assert found_y == pytest.approx(63.5 + 1 / DEGREES_PER_PIXEL, abs=0.05)
  spread = [np.sqrt((patch.field * (axis - at) ** 2).sum() / total) for axis, at in ((x, found_x), (y, found_y))]
  assert spread == pytest.approx([width / 1.39] * 2, rel=0.02)
  assert total * 1.39**2 == pytest.approx(2 * np.pi * width**2 * peak, rel=0.003)


def test_centre_of_disk_and_limb(tmp_path, disk_header):
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, np.ones((1000, 1000))))
  l0, b0 = disk_header['CRLN_OBS'], disk_header['CRLT_OBS']
  middle = postel_patch(magnetogram, l0, b0, size=32)
  assert (middle.cmd, middle.mu, middle.missing) == pytest.approx((0, 1, 0), abs=1e-3)
  np.testing.assert_allclose(middle.field, 1.0, rtol=1e-5)
  west = postel_patch(magnetogram, l0 + 75 - 360, 0.0, size=33)
  assert west.cmd == pytest.approx(75, abs=1e-3)
  assert west.mu == pytest.approx(np.cos(np.deg2rad(75)) * np.cos(np.deg2rad(b0)), abs=1e-3)
  # West is to the right: the left part is seen, the right part is beyond 75 deg.
  assert np.isfinite(west.field[:, 0]).all() and np.isnan(west.field[:, -1]).all()
  behind = postel_patch(magnetogram, l0 + 180, -b0, size=32)
  assert behind.missing == 1 and behind.mu == pytest.approx(-1, abs=1e-3)


def test_missing_limit_is_a_heliocentric_angle(tmp_path, disk_header):
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, np.ones((1000, 1000))))
  centre = (disk_header['CRLN_OBS'], disk_header['CRLT_OBS'])
  patch = postel_patch(magnetogram, *centre, size=64, max_angle_deg=3.0)
  y, x = np.indices((64, 64)) - 31.5
  np.testing.assert_array_equal(np.isfinite(patch.field), np.hypot(x, y) * DEGREES_PER_PIXEL <= 3.0)


def test_longitude_beyond_360_is_the_same_place(tmp_path):
  patch = postel_patch(read_magnetogram(SHARP_14237), 91.7, 15.9)
  longitude = fits.getheader(SHARP_14237, 1)['CRVAL1'] + 360
  turned = read_magnetogram(edited(SHARP_14237, tmp_path / 'a.fits', CRVAL1=longitude))
  again = postel_patch(turned, 451.7, 15.9)
  assert (again.longitude, again.cmd) == pytest.approx((patch.longitude, patch.cmd))
  np.testing.assert_allclose(again.field, patch.field, atol=0.1)
  (tile,) = tiling.tile_patches(turned, step_mm=128 * 1.39)
  (same,) = tiling.tile_patches(read_magnetogram(SHARP_14237), step_mm=128 * 1.39)
  assert (tile.longitude, tile.latitude) == pytest.approx((same.longitude, same.latitude))


@pytest.mark.parametrize('arguments', [(np.nan, 0.0), (0.0, 91.0), (0.0, 0.0, 1), (0.0, 0.0, 128, -1.0)])
def test_rejects_an_impossible_patch(cutout, arguments):
  with pytest.raises(ValueError, match=r'no place on the Sun|cannot be made'):
    postel_patch(cutout, *arguments)


# --- Mapping: real field ----------------------------------------------------------------------------------------


def true_areas() -> np.ndarray:
  """Returns `[128, 128]` true areas of the pixels of a patch [Mm^2]: sin(rho) / rho of the nominal ones."""
  y, x = np.indices((128, 128)) - 63.5
  rho = np.hypot(x, y) * 1.39 / SOLAR_RADIUS_MM
  return 1.39**2 * np.sin(rho) / rho


@pytest.mark.parametrize('path', [SHARP_14159, SHARP_14237, SHARP_14243], ids=lambda path: path.name[19:24])
def test_keeps_the_flux_of_a_sharp(path):
  """All pixels of a CEA map have one area, and these three maps fit into a patch."""
  magnetogram = read_magnetogram(path)
  area = (np.deg2rad(0.03) * SOLAR_RADIUS_MM) ** 2
  net, unsigned = magnetogram.data.sum() * area, np.abs(magnetogram.data).sum() * area
  (patch,) = tiling.tile_patches(magnetogram, step_mm=128 * 1.39)
  flux = patch.field * true_areas()
  assert abs(np.nansum(flux) - net) < 0.01 * unsigned
  # Opposite polarities within one pixel of the patch, and noise, cancel: 1.39 Mm against 0.36 Mm.
  assert 0.90 < np.nansum(np.abs(flux)) / unsigned < 1.0


@pytest.mark.parametrize('path', [CUTOUT, SHARP_11158], ids=['TAN', 'CEA'])
def test_pixel_is_the_mean_over_its_area(path):
  """Against reproject_exact, which intersects pixels as polygons on the sphere."""
  magnetogram = read_magnetogram(path)
  patch = postel_patch(magnetogram, *CENTRE_11158, size=64)
  wcs = postel_wcs(magnetogram, *CENTRE_11158, (64, 64), 1.39)
  exact = reproject_exact((magnetogram.data, magnetogram.wcs), wcs, (64, 64), return_footprint=False)
  assert patch.missing == 0
  assert np.corrcoef(patch.field.ravel(), exact.ravel())[0, 1] > 0.999
  assert np.abs(patch.field).sum() == pytest.approx(np.abs(exact).sum(), rel=0.01)
  assert patch.field.sum() == pytest.approx(exact.sum(), abs=0.002 * np.abs(exact).sum())


def test_one_region_in_two_projections_is_one_region(cutout):
  """AR 11158 upside down on the detector, and 5.4 h later as a Carrington map: what is left is evolution."""
  earlier = postel_patch(cutout, *CENTRE_11158)
  later = postel_patch(read_magnetogram(SHARP_11158), *CENTRE_11158)
  assert later.cmd - earlier.cmd == pytest.approx(13.2 * 5.41 / 24, abs=0.02)
  both = np.isfinite(earlier.field) & np.isfinite(later.field)
  first, second = (np.where(both, patch.field, 0) for patch in (earlier, later))
  assert np.corrcoef(first[both], second[both])[0, 1] > 0.85
  y, x = np.indices(first.shape)
  for sign in (1, -1):
    weights = [np.maximum(sign * field, 0) for field in (first, second)]
    places = [np.array([(weight * axis).sum() / weight.sum() for axis in (x, y)]) for weight in weights]
    assert np.abs(places[0] - places[1]).max() < 2.0
  assert np.abs(second).sum() / np.abs(first).sum() == pytest.approx(1.0, abs=0.25)
  # Turned by 180 deg or mirrored, the same two maps do not agree.
  for wrong in (first[::-1, ::-1], first[::-1], first[:, ::-1]):
    assert np.corrcoef(wrong[both], second[both])[0, 1] < 0.5


# --- Tiling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('latitude', [0.0, 20.0, -60.0])
@pytest.mark.parametrize('size', [16, 48, 128])
def test_patch_of_a_strip_has_its_pixels_where_a_map_of_its_own_has_them(cutout, size, latitude):
  """Seen from its own map, no pixel of the farthest patch of a strip is off by more than 0.2 px."""
  points = np.array([30.0, 40.0]), np.array([latitude - 15, latitude + 15])
  strips = tiling._strips(*points, (35.0, latitude), size, 1.39, 10.0)
  assert any(len(offsets) > 1 for _, _, offsets in strips)
  for longitude, middle, offsets in strips[:1] + strips[-1:]:
    offset = max(offsets, key=abs)
    reach = abs(offset)
    strip = postel_wcs(cutout, longitude, middle, (size + 2 * reach, size), 1.39)
    own = postel_wcs(cutout, longitude, middle + offset * DEGREES_PER_PIXEL, (size, size), 1.39)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    found = own.wcs_world2pix(*strip.wcs_pix2world(x, y + reach + offset, 0), 0)
    assert np.hypot(found[0] - x, found[1] - y).max() < 0.2


def test_patch_of_a_strip_is_that_of_a_map_of_its_own(cutout):
  # The field shown ends 75 Mm north of the centre: part of the northern patch is missing.
  for offset, patch in zip((0, -42, 42), postel_column(cutout, *CENTRE_11158, (0, -42, 42), 48), strict=True):
    latitude = CENTRE_11158[1] + offset * DEGREES_PER_PIXEL
    own = postel_patch(cutout, CENTRE_11158[0], latitude, 48)
    assert patch.latitude == pytest.approx(latitude)
    assert (patch.mu, patch.cmd) == pytest.approx((own.mu, own.cmd))
    assert patch.missing == pytest.approx(own.missing, abs=0.01)
    both = np.isfinite(patch.field) & np.isfinite(own.field)
    assert np.corrcoef(patch.field[both], own.field[both])[0, 1] > 0.998
    assert np.abs(patch.field[both]).sum() == pytest.approx(np.abs(own.field[both]).sum(), rel=0.01)


def test_tiles_cover_the_disk_and_are_half_observed(tmp_path, disk_header):
  field = np.where(np.isfinite(disk_positions(disk_header)[0]), 1.0, np.nan)
  magnetogram = read_magnetogram(write_disk(tmp_path / 'disk.fits', disk_header, field))
  patches = list(tiling.tile_patches(magnetogram, step_mm=128 * 1.39))
  assert max(patch.missing for patch in patches) <= 0.5
  centres = np.array([(patch.longitude, patch.latitude) for patch in patches])
  # The cap within 75 deg has 2 pi (1 - cos 75) sr.
  expected = 2 * np.pi * (1 - np.cos(np.deg2rad(75))) / (128 * 1.39 / SOLAR_RADIUS_MM) ** 2
  assert len(centres) == pytest.approx(expected, rel=0.15)
  # A point within 60 deg of disk centre is never farther from a centre than the half diagonal of a tile.
  rng = np.random.default_rng(0)
  for _ in range(50):
    angle, turn = np.deg2rad(60) * np.sqrt(rng.random()), 2 * np.pi * rng.random()
    latitude = np.rad2deg(np.arcsin(np.sin(angle) * np.sin(turn))) + disk_header['CRLT_OBS']
    longitude = disk_header['CRLN_OBS'] + np.rad2deg(np.arctan2(np.sin(angle) * np.cos(turn), np.cos(angle)))
    assert distance_mm(longitude, latitude, centres.T).min() < 1.1 * 128 * 1.39 / np.sqrt(2)


def test_no_gap_between_the_centres_of_a_cutout(cutout):
  """Every observed point whose patch is observed lies within half the diagonal of a step from a centre."""
  centres = np.array([(patch.longitude, patch.latitude) for patch in tiling.tile_patches(cutout, 48, step_mm=10)])
  assert len(np.unique(centres.round(6), axis=0)) == len(centres)
  east, north = np.meshgrid(np.linspace(-4, 4, 23), np.linspace(-4, 4, 23))
  for longitude, latitude in zip(CENTRE_11158[0] + east.ravel(), CENTRE_11158[1] + north.ravel(), strict=True):
    assert distance_mm(longitude, latitude, centres.T).min() < 10 / np.sqrt(2)


def test_a_map_smaller_than_a_patch_gives_its_middle():
  (patch,) = tiling.tile_patches(read_magnetogram(SHARP_14237), min_coverage=1.0)
  assert (patch.longitude, patch.latitude) == pytest.approx((91.699, 15.865), abs=0.05)  # CRVAL of its header.
  assert 0 < patch.missing < 1


@pytest.mark.parametrize('step_mm', [0.0, 1.0, 200.0])
def test_tiling_says_what_it_cannot_do(cutout, step_mm):
  with pytest.raises(ValueError, match='step_mm must lie between a pixel'):
    next(tiling.tile_patches(cutout, step_mm=step_mm))
  with pytest.raises(ValueError, match='shows no part of the Sun within 2'):
    next(tiling.tile_patches(cutout, max_angle_deg=2.0))
