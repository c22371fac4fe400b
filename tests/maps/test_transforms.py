"""Transforms: hand values, and what physics says must stay."""

import jax
import numpy as np
import pytest

from hearjax.maps import transforms

FIELD = np.array([[1.0, -2.0, 3.0], [0.0, 5.0, -6.0], [7.0, 8.0, 9.0]], np.float32)


def test_network_input_clips_scales_and_fills():
  field = np.array([[np.nan, 2000.0], [-2000.0, 50.0]])
  np.testing.assert_allclose(transforms.network_input(field, 1000.0, 100.0), [[0.0, 10.0], [-10.0, 0.5]])


def test_infinite_pixels_are_missing_too():
  assert np.all(transforms.fill_missing(np.array([[np.inf, -np.inf, np.nan]])) == 0)


def test_crop_is_central_and_refuses_what_it_cannot_do():
  field = np.arange(36.0).reshape(6, 6)
  np.testing.assert_array_equal(transforms.crop(field, 2), [[14.0, 15.0], [20.0, 21.0]])
  with pytest.raises(ValueError, match='6 x 6 px to 8 x 8'):
    transforms.crop(field, 8)
  with pytest.raises(ValueError, match='no common centre'):
    transforms.crop(field, 3)


def test_rotation_is_anticlockwise_with_north_up():
  # A spot in the east (left) goes to the south (row 0) after a quarter turn anticlockwise.
  east = np.zeros((3, 3))
  east[1, 0] = 1.0
  turned = np.asarray(transforms.rotate(east, 1))
  assert turned[0, 1] == 1.0
  np.testing.assert_array_equal(transforms.rotate(east, 4), east)


def test_mirrors_act_on_their_own_axis():
  np.testing.assert_array_equal(transforms.mirror_longitude(FIELD)[0], [3.0, -2.0, 1.0])
  np.testing.assert_array_equal(transforms.mirror_latitude(FIELD)[0], FIELD[2])


def test_two_mirrors_are_half_a_turn():
  both = transforms.mirror_latitude(transforms.mirror_longitude(FIELD))
  np.testing.assert_array_equal(both, transforms.rotate(FIELD, 2))


def test_shift_moves_by_rows_and_columns_and_keeps_the_flux():
  moved = np.asarray(transforms.shift(FIELD, 1, 0))
  np.testing.assert_array_equal(moved[1], FIELD[0])
  assert moved.sum() == FIELD.sum()


def test_northern_convention_of_a_southern_bipole():
  # In cycle 24 the leading (western) polarity was negative in the north and positive in the south, and leading spots
  # lie nearer to the equator in both. A southern region must come out as a northern one.
  south = np.zeros((2, 4, 4), np.float32)
  south[1, 2, 3], south[1, 1, 0] = 100.0, -100.0  # Leading positive, towards the equator (north).
  north = np.asarray(transforms.to_northern_hemisphere(south, np.array([10.0, -10.0])))
  assert north[1, 1, 3] == -100.0  # Leading negative, towards the equator (south).
  assert north[1, 2, 0] == 100.0
  np.testing.assert_array_equal(north[0], south[0])


# --- Noise and shuffles -----------------------------------------------------------------------------------------


def test_noise_has_its_spread_and_its_key():
  flat = np.full((64, 64), 10.0, np.float32)
  noisy = np.asarray(transforms.add_noise(jax.random.key(0), flat, 5.0))
  assert np.mean(noisy) == pytest.approx(10.0, abs=0.4)
  assert np.std(noisy) == pytest.approx(5.0, rel=0.05)
  np.testing.assert_array_equal(noisy, transforms.add_noise(jax.random.key(0), flat, 5.0))
  assert np.any(noisy != transforms.add_noise(jax.random.key(1), flat, 5.0))


def test_shuffled_pixels_are_the_same_ones_elsewhere():
  field = np.arange(64.0, dtype=np.float32).reshape(8, 8)
  shuffled = np.asarray(transforms.shuffle_pixels(jax.random.key(0), field))
  np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.arange(64.0))
  assert np.sum(shuffled == field) < 8  # One is expected to stay by chance.


def test_shuffle_stays_within_its_groups():
  field = np.arange(64.0, dtype=np.float32).reshape(8, 8)
  group = np.arange(64).reshape(8, 8) % 5
  shuffled = np.asarray(transforms.shuffle_pixels(jax.random.key(0), field, group))
  for number in range(5):
    np.testing.assert_array_equal(np.sort(shuffled[group == number]), field[group == number])
  assert np.any(shuffled != field)


def test_shuffled_signs_keep_the_unsigned_field():
  field = np.asarray(jax.random.normal(jax.random.key(0), (32, 32)))
  shuffled = np.asarray(transforms.shuffle_signs(jax.random.key(1), field))
  np.testing.assert_array_equal(np.abs(shuffled), np.abs(field))
  assert 0.4 < np.mean(shuffled > 0) < 0.6
  assert 0.4 < np.mean(shuffled == field) < 0.6


# --- Linear filters ---------------------------------------------------------------------------------------------

PIXEL_MM = 1.39


def plane_wave(waves_y: int, waves_x: int, size: int = 64) -> np.ndarray:
  """Returns `[size, size]` a plane wave with whole numbers of waves on the map, about 3 G."""
  y, x = np.mgrid[:size, :size] / size
  return (100 * np.cos(2 * np.pi * (waves_y * y + waves_x * x) + 0.7) + 3).astype(np.float32)


@pytest.mark.parametrize(('factor', 'octaves', 'kept'), [(1, 1, 1), (2**0.5, 1, 0.5), (2, 1, 1 / 16), (2, 2, 0.5)])
def test_band_pass_scales_a_plane_wave(factor, octaves, kept):
  # 3-4-5: a wave of 64 px / 5 in an oblique direction. Half the width away from the centre it has half its amplitude.
  wave = plane_wave(3, 4)
  passed = transforms.band_pass(wave, PIXEL_MM, 64 * PIXEL_MM / 5 * factor, octaves)
  np.testing.assert_allclose(passed, kept * (wave - 3), atol=2e-3)  # The mean of 3 G is gone.


def test_band_pass_of_odd_and_oblong_maps():
  field = np.asarray(jax.random.normal(jax.random.key(0), (2, 9, 14)))
  k = np.hypot(np.fft.fftfreq(9)[:, None], np.fft.fftfreq(14))
  with np.errstate(divide='ignore'):
    transfer = np.exp(-np.log(2) * (2 * np.log2(k * 5.0)) ** 2)
  expected = np.fft.ifft2(np.fft.fft2(field) * transfer).real
  np.testing.assert_allclose(transforms.band_pass(field, 1.0, 5.0, 1.0), expected, atol=1e-6)


def test_band_pass_counts_missing_pixels_as_zero_and_leaves_them_missing():
  field = np.asarray(jax.random.normal(jax.random.key(0), (16, 16))).copy()
  field[3, 4] = 0
  expected = np.array(transforms.band_pass(field, 1.0, 4.0, 1.0))
  expected[3, 4] = np.nan
  field[3, 4] = np.nan
  np.testing.assert_array_equal(transforms.band_pass(field, 1.0, 4.0, 1.0), expected)


def test_blur_scales_a_plane_wave_and_keeps_the_mean():
  # A Gaussian of standard deviation s times a wave of wavenumber k (radians): exp(-(k s)^2 / 2).
  wave = plane_wave(0, 4)
  s = 64 * PIXEL_MM / (2 * np.pi * 4)  # One radian of the wave.
  np.testing.assert_allclose(transforms.blur(wave, PIXEL_MM, s), np.exp(-0.5) * (wave - 3) + 3, atol=2e-3)


def test_blur_of_a_constant_field_with_gaps_is_constant():
  field = np.full((16, 16), 50.0, np.float32)
  field[:3, :7] = np.nan
  blurred = np.asarray(transforms.blur(field, PIXEL_MM, 2.0))
  np.testing.assert_array_equal(np.isnan(blurred), np.isnan(field))
  np.testing.assert_allclose(blurred[np.isfinite(field)], 50.0, rtol=1e-4)


def test_line_of_sight_of_a_plane_wave():
  # B_z = cos(k x) has the potential cos(k x) exp(-k z) / k, and B_x = -d/dx of it = sin(k x); along y there is none.
  x = 2 * np.pi * 4 * np.arange(64) / 64
  b_z = np.broadcast_to(np.cos(x), (64, 64)).astype(np.float32)
  seen = transforms.tilt_line_of_sight(b_z, 30.0)
  np.testing.assert_allclose(seen[0], np.cos(x) * np.sqrt(3) / 2 - np.sin(x) / 2, atol=1e-5)
  np.testing.assert_allclose(transforms.tilt_line_of_sight(b_z.T, 30.0), b_z.T * np.sqrt(3) / 2, atol=1e-5)


@pytest.mark.parametrize('angle', [60.0, -60.0])
def test_false_polarity_is_on_the_limbward_side(angle):
  x = np.arange(33) - 16.0
  spot = 1000 * np.exp(-0.5 * (x[:, None] ** 2 + x**2) / 2**2).astype(np.float32)
  seen = np.asarray(transforms.tilt_line_of_sight(spot, angle))
  east, west = seen[16, 16 - 5], seen[16, 16 + 5]
  limbward, centreward = (west, east) if angle > 0 else (east, west)
  assert limbward < 0 < centreward
  assert np.max(seen) < np.max(spot)


def test_no_tilt_changes_nothing_and_missing_pixels_stay():
  field = np.asarray(jax.random.normal(jax.random.key(0), (3, 16, 16))).copy()
  field[0, 1, 2] = np.nan
  np.testing.assert_array_equal(transforms.tilt_line_of_sight(field, 0.0), field)
  angles = np.array([0.0, 20.0, 40.0])[:, None, None]
  seen = np.asarray(transforms.tilt_line_of_sight(field, angles))
  np.testing.assert_array_equal(np.isnan(seen), np.isnan(field))
  np.testing.assert_allclose(seen[2], transforms.tilt_line_of_sight(field[2], 40.0), atol=1e-6)
