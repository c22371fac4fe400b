"""Tiles: they cover what is observed, and a patch of a strip is that of a map of its own."""

import numpy as np
import pytest

from hearjax.observe import tiling
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import postel_column, postel_patch, postel_wcs
from hearjax.solar import SOLAR_RADIUS_MM
from tests.real_maps import CENTRE_11158, DEGREES_PER_PIXEL, SHARP_14237, disk_positions, distance_mm, write_disk


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
