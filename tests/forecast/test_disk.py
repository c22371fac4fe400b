"""The network laid over the disk: nothing left out, and what patches of their own would say."""

import jax
import numpy as np
import pytest
from scipy.spatial import cKDTree

from hearjax.forecast.disk import OUTSIDE, forecast_disk, lay_tiles, outside_bits
from hearjax.forecast.disk_settings import DiskSettings
from hearjax.forecast.domain import outside_domain
from hearjax.forecast.patches import COLUMNS, forecast_patches
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import postel_patch
from hearjax.solar import SOLAR_RADIUS_MM, direction, wrap_degrees
from tests.forecast.small_disk import SMALL_DOMAIN, centre, mean_network, small_disk, small_header
from tests.real_maps import CUTOUT, SHARP_14182

L0, B0 = centre(small_header())
SPOTS = ((L0 + 30.0, 20.0, 300.0), (L0 - 40.0, -30.0, -500.0), (L0 + 5.0, 55.0, 200.0))


@pytest.fixture(scope='module')
def disk(tmp_path_factory):
  return small_disk(tmp_path_factory.mktemp('disk'), SPOTS)


@pytest.fixture(scope='module')
def places(disk):
  return forecast_disk(disk, *mean_network(), SMALL_DOMAIN)


@pytest.mark.parametrize('b0', [-7.2, 0.0, 5.0])
def test_places_leave_no_gap_and_squares_are_hardly_turned(tmp_path, b0):
  disk = small_disk(tmp_path, CRLT_OBS=b0)
  tiles = lay_tiles(disk, 48, 1.39, 4, 75.0)
  own = [tile.is_own for tile in tiles]
  longitude = np.concatenate([tile.longitudes[is_own] for tile, is_own in zip(tiles, own, strict=True)])
  latitude = np.concatenate([tile.latitudes[is_own] for tile, is_own in zip(tiles, own, strict=True)])
  # Points all over the cap: at most three quarters of the diagonal of a step from a place.
  rng = np.random.default_rng(0)
  points = rng.standard_normal((4000, 3))
  points /= np.linalg.norm(points, axis=1)[:, None]
  points = points[points @ direction(L0, b0) > np.cos(np.deg2rad(74.5))]
  distance, _ = cKDTree(direction(longitude, latitude)).query(points)
  assert len(points) > 1000 and distance.max() * SOLAR_RADIUS_MM < 0.75 * np.sqrt(2) * 4 * 1.39
  turn = np.concatenate(
    [
      np.abs(wrap_degrees(tile.longitudes - tile.longitude) * np.sin(np.deg2rad(tile.latitudes)))[is_own]
      for tile, is_own in zip(tiles, own, strict=True)
    ]
  )
  near = direction(longitude, latitude) @ direction(L0, b0) > np.cos(np.deg2rad(75))
  assert turn[near].max() < 16 and turn[near & (np.abs(latitude) < 45)].max() < 8.5


def test_a_place_says_what_a_patch_of_its_own_says(disk, places):
  assert [name for name in COLUMNS if name not in places.colnames] == ['file', 'time', 'quality', 'note']
  highest = np.argsort(-places['probability'])[:100:5]
  chosen = places[[*highest, *np.random.default_rng(1).choice(len(places), 20, replace=False)]]
  patches = [
    postel_patch(disk, row['longitude'], row['latitude'], SMALL_DOMAIN['size'], SMALL_DOMAIN['pixel_scale_mm'])
    for row in chosen
  ]
  model, params = mean_network()

  def predict(field: np.ndarray) -> np.ndarray:
    return np.stack([model.apply(jax.tree.map(lambda leaf: leaf[k], params), field) for k in range(2)])  # noqa: B023

  expected = forecast_patches(predict, patches, SMALL_DOMAIN)
  assert np.ptp(expected['probability']) > 0.3
  for name, tolerance in {'probability': 0.02, 'probability_std': 0.02, 'missing': 0.05, 'mu': 1e-4}.items():
    np.testing.assert_allclose(chosen[name], expected[name], atol=tolerance, err_msg=name)
  np.testing.assert_allclose(wrap_degrees(chosen['cmd'] - expected['cmd']), 0, atol=1e-3)
  whole = chosen['missing'] < 0.02
  np.testing.assert_allclose(chosen['unsigned_flux'][whole], expected['unsigned_flux'][whole], rtol=0.05)
  assert np.mean(np.abs(chosen['probability'] - expected['probability'])) < 0.003


def test_the_highest_places_are_where_the_field_is(places):
  for longitude, latitude, _ in SPOTS:
    near = direction(np.asarray(places['longitude']), np.asarray(places['latitude'])) @ direction(longitude, latitude)
    own = np.asarray(places['probability'])[near > np.cos(80 / SOLAR_RADIUS_MM)]
    assert own.max() > 0.6
    best = np.argmax(np.where(near > np.cos(80 / SOLAR_RADIUS_MM), places['probability'], 0))
    assert np.arccos(near[best]) * SOLAR_RADIUS_MM < 20
  assert np.median(places['probability']) < 0.25


def test_bits_and_words_of_what_lies_outside_agree(places):
  rows = places[np.random.default_rng(2).choice(len(places), 300, replace=False)]
  words = [outside_domain(SMALL_DOMAIN, row) for row in rows]
  assert set(np.unique(rows['outside'])) - {0} and 0 in rows['outside']
  for row, said in zip(rows, words, strict=True):
    for name, bit in OUTSIDE.items():
      quantity, side = name.split()
      assert bool(row['outside'] & bit) == any(
        part.startswith(quantity) and f' {side} ' in part for part in said.split('; ')
      )


def test_prior_angle_and_coverage(disk):
  model, params = mean_network()
  whole = forecast_disk(disk, model, params, SMALL_DOMAIN)
  rare = forecast_disk(disk, model, params, SMALL_DOMAIN, prior=0.01)
  odds = whole['probability'] / (1 - whole['probability']) / 99
  np.testing.assert_allclose(rare['probability'], odds / (1 + odds), rtol=1e-4)
  assert rare.meta['prior'] == 0.01
  inner = forecast_disk(disk, model, params, SMALL_DOMAIN, settings=DiskSettings(max_angle_deg=30.0, min_coverage=1.0))
  assert inner['mu'].min() >= np.cos(np.deg2rad(30)) and inner['missing'].max() == 0
  coarse = forecast_disk(disk, model, params, SMALL_DOMAIN, settings=DiskSettings(step_mm=17.0))
  assert coarse.meta['step_mm'] == 16 and len(coarse) == pytest.approx(len(whole) / 4, rel=0.1)


def test_part_of_a_disk_in_another_projection():
  places = forecast_disk(read_magnetogram(SHARP_14182), *mean_network(), SMALL_DOMAIN)
  assert len(places) > 20 and places['missing'].max() <= 0.5 and np.ptp(places['longitude']) < 25


def test_what_cannot_be_forecast(disk):
  model, params = mean_network()
  with pytest.raises(ValueError, match='The prior is a share between 0 and 1'):
    forecast_disk(disk, model, params, SMALL_DOMAIN, prior=1.0)
  settings = DiskSettings(max_angle_deg=2.5, min_coverage=1.0)
  with pytest.raises(
    ValueError, match=r'no place within 2.5 deg of disk centre whose square of 64 Mm is observed to 100%'
  ):
    forecast_disk(disk, model, params, SMALL_DOMAIN | {'size': 32, 'pixel_scale_mm': 2.0}, settings=settings)
  with pytest.raises(ValueError, match='shows no part of the Sun within 2 deg'):
    lay_tiles(read_magnetogram(CUTOUT), 16, 4.0, 2, 2.0)
  for wrong, said in (
    ({'step_mm': 0.0}, 'step_mm must be positive'),
    ({'step_mm': float('nan')}, 'step_mm must be positive'),
    ({'max_angle_deg': 91.0}, 'max_angle must lie in'),
    ({'min_coverage': 1.5}, 'min_coverage in'),
  ):
    with pytest.raises(ValueError, match=said):
      DiskSettings(**wrong)


def test_bits_by_hand():
  table = {'unsigned_flux': np.array([5e20]), 'peak_field': np.array([100.0]), 'mu': np.array([0.9])}
  assert list(outside_bits(SMALL_DOMAIN, table | {'missing': np.array([0.21])})) == [OUTSIDE['missing above']]
