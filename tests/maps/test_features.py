"""Features: values by hand, scipy, and what must not change them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hearjax.maps import features, transforms

SCALE_MM = 1.39
# The power of the amplitude and of the pixel scale that a feature grows with, where there is one.
AMPLITUDE = {
  'unsigned_flux': 1,
  'net_flux': 1,
  'mean_unsigned_field': 1,
  'standard_deviation': 1,
  'peak_field': 1,
  'gradient': 1,
  'flux_imbalance': 0,
  'skewness': 0,
  'kurtosis': 0,
  'skewness_unsigned': 0,
  'kurtosis_unsigned': 0,
  'length_scale': 0,
}
PIXEL_SCALE = dict.fromkeys(features.FEATURES, 0) | {
  'unsigned_flux': 2,
  'net_flux': 2,
  'gradient': -1,
  'length_scale': 1,
  'polarity_separation': 1,
}
derivatives = jax.jit(jax.jacrev(features.feature_vector))
ODD = ('net_flux', 'skewness')  # Change sign with the polarity.


def random_field(seed: int, size: int = 24) -> np.ndarray:
  noise = np.random.default_rng(seed).standard_normal((size, size))
  return (40 * noise + 3 * noise**3).astype(np.float32)


def describe(field, pixel_scale_mm=SCALE_MM) -> dict[str, float]:
  values = features.feature_table(np.asarray(field)[None], pixel_scale_mm)[0]
  return dict(zip(features.FEATURES, values.tolist(), strict=True))


def test_hand_values_of_two_pixels():
  field = np.zeros((5, 5), np.float32)
  field[2, 1], field[2, 4] = 300, -100
  found = describe(field, pixel_scale_mm=2.0)
  # A pixel of 2 Mm holds 4e16 cm2.
  assert found['unsigned_flux'] == pytest.approx(1.6e19)
  assert found['net_flux'] == pytest.approx(8e18)
  assert found['flux_imbalance'] == pytest.approx(0.5)
  assert found['mean_unsigned_field'] == pytest.approx(16)
  assert found['standard_deviation'] == pytest.approx(np.sqrt((300**2 + 100**2) / 25 - 8**2))
  assert found['peak_field'] == 300
  assert found['polarity_separation'] == pytest.approx(6)
  # Interior pixels whose difference quotient holds one of the two: |300|/4 above, below and right of the first (its
  # left neighbour is on the edge), |100|/4 left of the second.
  assert found['gradient'] == pytest.approx((3 * 75 + 25) / 9)


def test_centroids_are_weighted_with_flux_and_leave_weak_field_out():
  field = np.full((3, 8), 1.0, np.float32)
  field[1, 0], field[1, 1], field[1, 6] = 100, 300, -200
  # Positive centroid at column 0.75, negative at 6.
  assert float(features.polarity_separation(field, 1.0)) == pytest.approx(5.25)
  assert float(features.polarity_separation(np.abs(field), 1.0)) == 0


def test_central_flux_counts_the_disk_only():
  field = np.full((9, 9), 10, np.float32)
  # Radius 1.5 Mm at 1 Mm per px: the centre, its 4 neighbours at 1 and the 4 diagonal ones at 1.41.
  assert float(features.central_unsigned_flux(field, 1.0, radius_mm=1.5)) == pytest.approx(9 * 10 * 1e16)
  assert float(features.central_unsigned_flux(field, 1.0, radius_mm=100)) == pytest.approx(81 * 10 * 1e16)


@pytest.mark.parametrize(('rows', 'columns'), [(0, 2), (4, 0), (3, 4)])
def test_length_scale_of_a_plane_wave_is_its_wavelength(rows, columns):
  y, x = np.mgrid[:32, :32] / 32
  wave = (50 * np.sin(2 * np.pi * (rows * y + columns * x)) + 12).astype(np.float32)
  wavelength = 32 * SCALE_MM / np.hypot(rows, columns)
  assert float(features.length_scale(wave, SCALE_MM)) == pytest.approx(wavelength, rel=1e-4)


def test_length_scale_grows_with_the_size_of_gaussian_spots():
  y, x = np.mgrid[-64:64, -64:64] * SCALE_MM
  # The power of a Gaussian of width s is exp(-(2 pi k s)^2): mean wavenumber 1 / (4 sqrt(pi) s).
  for width_mm in (4.0, 8.0):
    spot = np.exp(-(x**2 + y**2) / (2 * width_mm**2)).astype(np.float32)
    expected = 4 * np.sqrt(np.pi) * width_mm
    assert float(features.length_scale(spot, SCALE_MM)) == pytest.approx(expected, rel=0.06)


def test_gradient_of_a_plane_is_its_slope():
  y, x = np.mgrid[:12, :12].astype(np.float32)
  assert float(features.gradient(3 * y + 4 * x, 2.0)) == pytest.approx(2.5)


@pytest.mark.parametrize('seed', range(3))
def test_moments_agree_with_scipy(seed):
  field = random_field(seed)
  found = describe(field)
  for suffix, values in (('', field.ravel()), ('_unsigned', np.abs(field).ravel())):
    assert found[f'skewness{suffix}'] == pytest.approx(stats.skew(values.astype(float)), rel=1e-4, abs=1e-4)
    assert found[f'kurtosis{suffix}'] == pytest.approx(stats.kurtosis(values.astype(float), fisher=False), rel=1e-4)
  assert found['standard_deviation'] == pytest.approx(np.std(field.astype(float)), rel=1e-5)


def test_reversing_the_polarity_changes_the_sign_of_odd_features_only():
  field = random_field(0)
  before, after = describe(field), describe(transforms.reverse_polarity(field))
  for name, value in before.items():
    assert after[name] == pytest.approx(-value if name in ODD else value, rel=1e-4), name


@pytest.mark.parametrize(
  'move',
  [
    transforms.mirror_longitude,
    transforms.mirror_latitude,
    transforms.transpose,
    lambda field: transforms.rotate(field, 1),
  ],
)
def test_features_do_not_know_directions(move):
  field = random_field(1)
  before, after = describe(field), describe(move(field))
  for name, value in before.items():
    assert after[name] == pytest.approx(value, rel=2e-4), name


def test_features_of_the_whole_map_do_not_know_where_a_region_lies():
  field = np.zeros((32, 32), np.float32)
  field[8:14, 9:15] = random_field(2, 6)
  before, after = describe(field), describe(np.roll(field, (9, 7), (0, 1)))
  for name, value in before.items():
    if name != 'central_unsigned_flux':
      assert after[name] == pytest.approx(value, rel=2e-4), name


@pytest.mark.parametrize(('name', 'power'), AMPLITUDE.items())
def test_scaling_with_amplitude(name, power):
  field = random_field(3)
  assert describe(7 * field)[name] == pytest.approx(7**power * describe(field)[name], rel=1e-4)


@pytest.mark.parametrize(('name', 'power'), PIXEL_SCALE.items())
def test_scaling_with_the_pixel_scale(name, power):
  if name == 'central_unsigned_flux':  # Its radius is in Mm: it changes with the pixels inside as well.
    return
  field = random_field(3)
  assert describe(field, 2 * SCALE_MM)[name] == pytest.approx(2.0**power * describe(field)[name], rel=1e-4)


def test_missing_pixels_contribute_nothing():
  field = random_field(4)
  hole = field.copy()
  hole[3:6, 10:14] = np.nan
  there = hole[np.isfinite(hole)].astype(float)
  found = describe(hole)
  area = SCALE_MM**2 * 1e16
  assert found['unsigned_flux'] == pytest.approx(np.abs(there).sum() * area, rel=1e-5)
  assert found['net_flux'] == pytest.approx(there.sum() * area, rel=1e-4)
  assert found['mean_unsigned_field'] == pytest.approx(np.abs(there).mean(), rel=1e-5)
  assert found['standard_deviation'] == pytest.approx(there.std(), rel=1e-5)
  assert found['skewness'] == pytest.approx(stats.skew(there), rel=1e-4)
  assert found['kurtosis'] == pytest.approx(stats.kurtosis(there, fisher=False), rel=1e-4)
  assert found['peak_field'] == pytest.approx(np.abs(there).max())
  along_y, along_x = np.gradient(hole.astype(float), SCALE_MM)
  assert found['gradient'] == pytest.approx(np.nanmean(np.hypot(along_y, along_x)[1:-1, 1:-1]), rel=1e-5)
  # What stands in a missing pixel has no say: a frame of missing pixels around a map leaves its structure alone.
  framed = np.pad(field, 6, constant_values=np.nan)
  assert describe(framed)['gradient'] == pytest.approx(describe(field)['gradient'], rel=1e-5)
  assert describe(framed)['polarity_separation'] == pytest.approx(describe(field)['polarity_separation'], rel=1e-4)


@pytest.mark.parametrize('value', [0.0, 5.0, np.nan])
def test_fields_without_structure_give_finite_features_and_derivatives(value):
  field = jnp.full((8, 8), value, jnp.float32)
  chex.assert_tree_all_finite((describe(field), derivatives(field, 1.0)))


def test_derivatives_stay_finite_beside_missing_pixels_and_match_differences():
  field = random_field(5, 8)
  field[2, 3] = np.nan
  derivative = derivatives(jnp.asarray(field), 1.0)
  chex.assert_tree_all_finite(derivative)
  bumped = field.copy()
  bumped[4, 4] += 1.0
  for index, name in enumerate(features.FEATURES):
    change = describe(bumped, 1.0)[name] - describe(field, 1.0)[name]
    if name not in ('peak_field', 'polarity_separation'):  # These two have corners.
      assert change == pytest.approx(float(derivative[index, 4, 4]), rel=0.2, abs=2e-3), name


def test_table_in_chunks_equals_one_by_one_and_compiles_once():
  field = np.stack([random_field(seed, 11) for seed in range(7)])
  before = features._feature_vectors._cache_size()
  table = features.feature_table(field, SCALE_MM, chunk=3)
  assert features._feature_vectors._cache_size() == before + 1
  one_by_one = jax.jit(features.feature_vector)
  single = np.stack([np.asarray(one_by_one(one, SCALE_MM)) for one in field])
  assert table.shape == (7, len(features.FEATURES)) and table.dtype == np.float32
  np.testing.assert_allclose(table, single, rtol=2e-4, atol=1e-4)
  assert list(features.UNITS) == list(features.FEATURES)


def test_the_largest_fields_stay_within_float32():
  field = np.where(np.indices((512, 512)).sum(0) % 2, 5000, -5000).astype(np.float32)
  assert np.all(np.isfinite(features.feature_table(field[None], 1.39)))
