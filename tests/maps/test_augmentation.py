"""Augmentation: it moves the field and changes none of its elements, by as much as was asked for."""

import jax
import numpy as np
import pytest

from hearjax.maps.augmentation import Augmentation, augment

FIELD = np.array([[1.0, -2.0, 3.0], [0.0, 5.0, -6.0], [7.0, 8.0, 9.0]], np.float32)


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
