"""Means of patches: known fields on a turning Sun, what is missing, and what cannot be read."""

import dataclasses
import pathlib

import numpy as np
import pytest
from astropy.io import fits

from hearjax.observe.averaging import MappingSettings, flux_curve, mean_patch
from hearjax.observe.sources.frames import Frame
from hearjax.solar import CM2_PER_MM2, SOLAR_RADIUS_MM, postel_header
from tests.observe.turning_disk import FIRST_MJD, cosine_between, mu_at, turned, write_turned
from tests.real_maps import CENTRE_11158, CUTOUT, DEGREES_PER_PIXEL, distance_mm, edited

SMALL = MappingSettings(size=48)


@pytest.fixture(scope='session')
def place(disk_header) -> tuple[float, float]:
  """A place that crosses the meridian in the middle of three days."""
  return float(disk_header['CRLN_OBS'] - 20), 15.0


def stripes(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  return 100 * np.sin(np.deg2rad(9 * longitude)) * np.cos(np.deg2rad(7 * latitude))


def positions(place: tuple[float, float], size: int, scale: float = DEGREES_PER_PIXEL) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude of the pixels of a patch: the zenithal equidistant projection, by its definition."""
  x, y = np.meshgrid(*2 * (np.deg2rad((np.arange(size) - (size - 1) / 2) * scale),))
  rho, bearing, latitude_0 = np.hypot(x, y), np.arctan2(x, y), np.deg2rad(place[1])
  sine = np.sin(latitude_0) * np.cos(rho) + np.cos(latitude_0) * np.sin(rho) * np.cos(bearing)
  east = np.arctan2(np.sin(bearing) * np.sin(rho) * np.cos(latitude_0), np.cos(rho) - np.sin(latitude_0) * sine)
  return place[0] + np.rad2deg(east), np.rad2deg(np.arcsin(sine))


# --- Known fields -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('offset', [(0, 0), (-45, 30), (50, -20)])
def test_patch_equals_the_field_of_a_sphere(tmp_path, disk_header, offset):
  """Stripes of 490 Mm, up to 1.3 G from one pixel of the image to the next, which are rounded to 0.1 G."""
  frame = write_turned(tmp_path / 'a.fits', disk_header, stripes)
  place = (disk_header['CRLN_OBS'] + offset[0], disk_header['CRLT_OBS'] + offset[1])
  mean = mean_patch([frame], *place, MappingSettings(size=64, pixel_scale_mm=2.78))
  difference = mean.field - stripes(*positions(place, 64, 2 * DEGREES_PER_PIXEL))
  assert mean.missing == 0
  assert np.abs(difference).max() < 0.15 and difference.std() < 0.05
  assert abs(difference.mean()) < 0.02


def test_field_over_mu(tmp_path, disk_header, place):
  """A radial field of 100 G, seen along the line of sight."""
  frames = []
  for number, days in enumerate((0.0, 1.5)):
    header = turned(disk_header, days)
    frames.append(
      write_turned(tmp_path / f'{number}.fits', disk_header, lambda *at, h=header: 100 * mu_at(h, *at), days)
    )
  along = mean_patch(frames, *place, SMALL)
  radial = mean_patch(frames, *place, dataclasses.replace(SMALL, divide_by_mu=True))
  mu = np.mean([mu_at(turned(disk_header, days), *positions(place, 48)) for days in (0.0, 1.5)], axis=0)
  np.testing.assert_allclose(along.field, 100 * mu, atol=0.1)
  np.testing.assert_allclose(radial.field, 100, atol=0.1)
  assert (along.unsigned_change, along.net_change) == (
    radial.unsigned_change,
    radial.net_change,
  )  # Of the line of sight.


def test_a_spot_stays_where_it_is_for_three_days(tmp_path, disk_header, place):
  spot = (place[0] + 1.0, place[1] - 0.7)

  def field(longitude, latitude):
    return 1000 * np.exp(-0.5 * (distance_mm(longitude, latitude, spot) / 8) ** 2)

  frames = [
    write_turned(tmp_path / f'{n}.fits', disk_header, field, days) for n, days in enumerate(np.linspace(0, 3, 4))
  ]
  patches = [mean_patch([frame], *place) for frame in (frames[0], frames[-1])]
  assert patches[0].cmd == pytest.approx(-20, abs=0.01) and patches[-1].cmd == pytest.approx(19.6, abs=0.01)
  east, north = positions(place, 128)
  at = np.unravel_index(distance_mm(east, north, spot).argmin(), east.shape)  # To the next pixel; to a part of it:
  header = postel_header(*place, (128, 128), 1.39)
  expected = fits_pixels(header, spot)
  assert np.abs(np.array(at[::-1]) - expected).max() <= 0.5
  y, x = np.indices((128, 128))
  for patch in (*patches, mean_patch(frames, *place)):
    total = patch.field.sum()
    found = (patch.field * x).sum() / total, (patch.field * y).sum() / total
    assert found == pytest.approx(expected, abs=0.05)


def fits_pixels(header: fits.Header, place: tuple[float, float]) -> np.ndarray:
  """Returns the pixel (x, y), from 0, of a place in a Postel map: its distance from the centre, and its bearing."""
  longitude, latitude, middle = (
    np.deg2rad(value) for value in (place[0] - header['CRVAL1'], place[1], header['CRVAL2'])
  )
  rho = np.arccos(cosine_between(*place, (header['CRVAL1'], header['CRVAL2'])))
  west = np.cos(latitude) * np.sin(longitude)
  north = np.cos(middle) * np.sin(latitude) - np.sin(middle) * np.cos(latitude) * np.cos(longitude)
  offset = np.rad2deg(rho) / np.hypot(west, north) * np.array([west, north]) / header['CDELT1']
  return offset + header['CRPIX1'] - 1


# --- Averaging --------------------------------------------------------------------------------------------------


def zero(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  return 0 * longitude


@pytest.fixture(scope='module')
def noisy(tmp_path_factory, disk_header) -> list[Frame]:
  """Nine frames of noise of 20 G, 12 minutes apart; two have odd QUALITY."""
  folder = tmp_path_factory.mktemp('noisy')
  bits = {2: 1024, 5: 65536}
  return [
    write_turned(folder / f'{n}.fits', disk_header, zero, n / 120, noise=20, QUALITY=bits.get(n, 0)) for n in range(9)
  ]


def test_noise_falls_with_the_root_of_the_number(noisy, place):
  single = [mean_patch([frame], *place, SMALL).field.std() for frame in noisy[:3]]
  mean = mean_patch(noisy, *place, SMALL)
  assert mean.n_frames == 9 and mean.missing == 0 and mean.skipped == ()
  assert mean.field.std() == pytest.approx(np.mean(single) / 3, rel=0.06)
  assert mean.unsigned_change < -0.2 and abs(mean.net_change) < 0.02  # Noise cancels within a pixel.


def test_order_does_not_matter(noisy, place):
  mean, other = mean_patch(noisy, *place, SMALL), mean_patch(noisy[4::-1] + noisy[:4:-1], *place, SMALL)
  np.testing.assert_array_equal(mean.field, other.field)
  assert {**vars(mean), 'field': None} == {**vars(other), 'field': None}


def test_what_is_known_of_a_mean(noisy, place, disk_header):
  mean = mean_patch(noisy, *place, SMALL)
  assert (mean.start_mjd, mean.end_mjd) == (noisy[0].mjd, noisy[-1].mjd)
  assert mean.mjd == pytest.approx(FIRST_MJD + 4 / 120)
  assert mean.quality == 1024 | 65536
  middle = turned(disk_header, 4 / 120)
  assert mean.cmd == pytest.approx(place[0] - middle['CRLN_OBS'])
  assert mean.b0 == pytest.approx(middle['CRLT_OBS'])
  assert mean.mu == pytest.approx(mu_at(middle, *place), abs=1e-4)
  assert mean.notes == ''


def test_a_pixel_counts_where_enough_frames_have_it(tmp_path, disk_header, place):
  """West of the place nothing is seen in one frame of three, north of it in two."""

  def frame(number, value, is_lost):
    def field(longitude, latitude):
      return np.where(is_lost(longitude - place[0], latitude - place[1]), np.nan, value)

    return write_turned(tmp_path / f'{number}.fits', disk_header, field, number / 120)

  frames = [
    frame(0, 10, lambda west, north: (west > 0) | (north > 0)),
    frame(1, 20, lambda west, north: north > 0),
    frame(2, 30, lambda west, north: west > 1e9),
  ]
  mean = mean_patch(frames, *place, SMALL)
  assert np.isnan(mean.field[26:]).all() and mean.missing == pytest.approx(0.5, abs=0.03)
  np.testing.assert_allclose(mean.field[:22, :22], 20, atol=1e-4)
  np.testing.assert_allclose(mean.field[:22, 26:], 25, atol=1e-4)
  all_of_it = mean_patch(frames, *place, dataclasses.replace(SMALL, min_valid=0.3))
  assert all_of_it.missing == 0
  np.testing.assert_allclose(all_of_it.field[26:], 30, atol=1e-4)
  strict = mean_patch(frames, *place, dataclasses.replace(SMALL, min_valid=1.0))
  assert strict.missing == pytest.approx(0.75, abs=0.03)


def test_no_frames(place):
  assert mean_patch([], *place) is None
  times, flux = flux_curve([], *place, 50.0)
  assert len(times) == len(flux) == 0


# --- What cannot be used ----------------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path, noisy) -> list[Frame]:
  """A truncated file, one without a WCS, one without its observer's distance, one that is no FITS, one that is gone."""
  (tmp_path / 'truncated.fits').write_bytes(pathlib.Path(noisy[0].path).read_bytes()[:400_000])
  edited(CUTOUT, tmp_path / 'no_wcs.fits', CTYPE1=None, CTYPE2=None)
  edited(CUTOUT, tmp_path / 'observer.fits', DSUN_OBS=None)
  (tmp_path / 'text.fits').write_text('no FITS at all')
  names = ('truncated', 'no_wcs', 'observer', 'text', 'gone')
  return [Frame(str(tmp_path / f'{name}.fits'), FIRST_MJD + 0.001 * n, 4096) for n, name in enumerate(names)]


SENTENCES = (
  'truncated or damaged',
  'solar coordinates are needed',
  'add DSUN_OBS',
  'truncated or damaged: No SIMPLE card',
  'There is no file',
)


def test_frames_that_cannot_be_used_are_told(noisy, bad, place):
  mean = mean_patch([*bad, *noisy], *place, SMALL)
  assert mean.n_frames == len(noisy)
  np.testing.assert_array_equal(mean.field, mean_patch(noisy, *place, SMALL).field)
  assert mean.quality == 1024 | 65536
  for frame, told, sentence in zip(bad, mean.skipped, SENTENCES, strict=True):
    assert sentence in told and frame.path in told and '\n' not in told


def test_one_sentence_where_no_frame_can_be_used(noisy, bad, place):
  with pytest.raises(ValueError, match=r'None of 5 frames can be used; the first: .*truncated'):
    mean_patch(bad, *place, SMALL)
  with pytest.raises(ValueError, match=r'None of 9 frames can be used; the first: .* beyond the limb, 1'):
    mean_patch(noisy, place[0] + 180, place[1])
  with pytest.raises(ValueError, match='None of 5 frames'):
    flux_curve(bad, *place, 50.0)


@pytest.mark.parametrize(
  ('entries', 'sentence'),
  [
    ({'size': 1}, 'at least 2 px'),
    ({'pixel_scale_mm': 0.0}, 'got size 128 and pixel_scale_mm 0.0'),
    ({'pixel_scale_mm': np.nan}, 'pixel_scale_mm nan'),
    ({'max_angle_deg': 91.0}, r'max_angle_deg must lie in \(0, 90\]'),
    ({'min_valid': 0.0}, r'min_valid in \(0, 1\]'),
  ],
)
def test_settings_say_what_they_cannot_be(entries, sentence):
  with pytest.raises(ValueError, match=sentence):
    MappingSettings(**entries)


# --- Flux over time ---------------------------------------------------------------------------------------------


def test_flux_curve_of_a_growing_region(tmp_path, disk_header, place, bad):
  """A radial field within 30 Mm that grows by 100 G in half a day, on a Sun that turns by 26 deg."""
  cap = 2 * np.pi * SOLAR_RADIUS_MM**2 * (1 - np.cos(30 / SOLAR_RADIUS_MM)) * CM2_PER_MM2
  frames = []
  for number in range(5):
    header = turned(disk_header, number / 2)

    def field(longitude, latitude, header=header, strength=100 * number):
      near = cosine_between(longitude, latitude, place) > np.cos(30 / SOLAR_RADIUS_MM)
      return strength * near * mu_at(header, longitude, latitude)

    frames.append(write_turned(tmp_path / f'{number}.fits', disk_header, field, number / 2, noise=5))
  times, flux = flux_curve(frames[::-1], *place, 60.0)
  np.testing.assert_array_equal(times, [frame.mjd for frame in frames])
  np.testing.assert_allclose(flux, cap * 100 * np.arange(5), rtol=0.02, atol=1e-3 * cap * 100)
  with pytest.warns(UserWarning, match='5 of 10 frames of a flux curve cannot be used; the first: .*truncated'):
    again = flux_curve([*frames, *bad], *place, 60.0)
  np.testing.assert_array_equal(again, (times, flux))


def test_flux_curve_ends_at_the_limb(tmp_path, disk_header):
  frames = [write_turned(tmp_path / f'{days}.fits', disk_header, zero, days) for days in (0, 1, 3)]
  times, _ = flux_curve(frames, disk_header['CRLN_OBS'] + 55, 0.0, 50.0)  # 55, 68 and 95 deg west.
  np.testing.assert_array_equal(times, [FIRST_MJD, FIRST_MJD + 1])


def test_a_real_region():
  (mean,) = [mean_patch([Frame(str(CUTOUT), 55606.86, 0)], *CENTRE_11158, MappingSettings(size=96))]
  assert -0.05 < mean.unsigned_change < 0 and abs(mean.net_change) < 0.001
  assert mean.n_frames == 1 and np.abs(mean.field).max() > 1000
