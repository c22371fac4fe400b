"""Mapping of real magnetograms, against plain geometry and against a second projection of one region."""

import numpy as np
import pytest
from astropy.io import fits
from reproject import reproject_exact

from hearjax.observe import tiling
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import postel_patch, postel_wcs
from hearjax.solar import SOLAR_RADIUS_MM
from tests.real_maps import (
  CENTRE_11158,
  CUTOUT,
  DEGREES_PER_PIXEL,
  SHARP_11158,
  SHARP_14159,
  SHARP_14237,
  SHARP_14243,
  disk_positions,
  distance_mm,
  edited,
  write_disk,
)

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
