"""Transforms: hand values, and what physics says must stay."""

import jax
import numpy as np
import pytest

from hearjax import transforms
from hearjax.augmentation import Augmentation, augment

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


def test_augmentation_keeps_the_magnetic_elements():
  field = np.asarray(jax.random.normal(jax.random.key(0), (16, 16)))
  seen = set()
  for number in range(12):
    changed = np.asarray(augment(jax.random.key(number), field, Augmentation()))
    np.testing.assert_array_equal(np.sort(np.abs(changed), axis=None), np.sort(np.abs(field), axis=None))
    seen.add(changed.tobytes())
  assert len(seen) > 6


def test_augmentation_that_is_off_changes_nothing():
  off = Augmentation(polarity=False, mirror=False, transpose=False, shift_px=0)
  np.testing.assert_array_equal(augment(jax.random.key(1), FIELD, off), FIELD)


def test_gain_and_noise_have_the_spread_that_was_asked_for():
  off = {'polarity': False, 'mirror': False, 'transpose': False, 'shift_px': 0}
  keys = jax.random.split(jax.random.key(0), 400)
  flat = np.full((8, 8), 10.0, np.float32)
  gain = jax.vmap(lambda key: augment(key, flat, Augmentation(**off, gain=0.2)))(keys)
  assert np.std(np.log(gain[:, 0, 0] / 10.0)) == pytest.approx(0.2, rel=0.15)
  noisy = jax.vmap(lambda key: augment(key, flat, Augmentation(**off, noise_gauss=3.0)))(keys)
  assert np.std(noisy) == pytest.approx(3.0, rel=0.05)
