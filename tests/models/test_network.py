"""The network: the stated invariances hold."""

import dataclasses

import jax
import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.models.convolution import LOWERINGS
from hearjax.models.network import SYMMETRIES, ModelSettings, build_model, central_window

SMALL = ModelSettings(widths=(4, 6), kernels=(5, 3), strides=(2, 2), crop_px=0, centre_mm=0.0, log_pool=0.0)


def logits(settings, field, seed=0, lowering='auto'):
  model = build_model(settings, 1.39, lowering)
  params = jax.jit(model.init)(jax.random.key(seed), field[:1])
  return np.asarray(jax.jit(model.apply)(params, field))


def random_field(*shape, seed=0):
  return 100 * np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('name', LOWERINGS)
def test_lowerings_share_parameters_and_logits(name):
  field = random_field(3, 32, 32)
  ours, automatic = (logits(SMALL, field, lowering=lowering) for lowering in (name, 'auto'))
  np.testing.assert_allclose(ours, automatic, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_coarser_and_leaves_parameters_and_logit_in_float32():
  field = random_field(8, 32, 32)
  fine, coarse = (build_model(dataclasses.replace(SMALL, precision=name), 1.39) for name in ('float32', 'bfloat16'))
  params = jax.jit(fine.init)(jax.random.key(0), field)
  assert {leaf.dtype for leaf in jax.tree.leaves(jax.jit(coarse.init)(jax.random.key(0), field))} == {
    np.dtype('float32')
  }
  exact, rounded = fine.apply(params, field), coarse.apply(params, field)
  assert rounded.dtype == np.float32
  assert coarse.apply(params, field, method='activations')[-1].dtype == jax.numpy.bfloat16
  # Eight bits of mantissa, in sums over some hundred products.
  np.testing.assert_allclose(rounded, exact, atol=0.03 * float(np.abs(exact).max()))
  assert np.abs(rounded - exact).max() > 0


def test_default_network_has_the_stated_size():
  params = jax.eval_shape(build_model(ModelSettings(), 1.39).init, jax.random.key(0), np.zeros((1, 32, 32)))
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  layers = 5 * 5 * 16 + 9 * (16 * 32 + 32 * 32 + 32 * 32) + (16 + 32 + 32 + 32)
  assert count == layers + 2 * 32 + 1  # Two pooled averages of 32 filters and the bias of the logit.


def test_missing_pixels_count_as_zero_field():
  field = random_field(2, 32, 32)
  holes = field.copy()
  holes[:, 3:7, 5:9] = np.nan
  zeros = np.nan_to_num(holes)
  result = logits(SMALL, holes)
  assert np.all(np.isfinite(result))
  np.testing.assert_array_equal(result, logits(SMALL, zeros))


def test_fields_beyond_the_limit_look_alike():
  field = random_field(1, 32, 32)
  strong = np.where(np.abs(field) > 50, np.sign(field) * 5000, field)
  settings = dataclasses.replace(SMALL, limit_gauss=50.0)
  np.testing.assert_array_equal(logits(settings, strong), logits(settings, field))


@pytest.mark.parametrize('name', SYMMETRIES)
def test_a_symmetry_in_the_settings_is_exact(name):
  field = random_field(2, 32, 32)
  changed = np.asarray(SYMMETRIES[name](field))
  symmetric = dataclasses.replace(SMALL, symmetries=(name,))
  np.testing.assert_allclose(logits(symmetric, field), logits(symmetric, changed), rtol=1e-4, atol=1e-5)
  assert np.abs(logits(SMALL, field) - logits(SMALL, changed)).max() > 1e-2


def test_map_size_does_not_matter():
  # A field that repeats itself has the same average response on a larger map, edges apart.
  tile = random_field(1, 32, 32)
  small, large = logits(SMALL, np.tile(tile, (1, 4, 4))), logits(SMALL, np.tile(tile, (1, 16, 16)))
  np.testing.assert_allclose(small, large, rtol=0.1)


def test_central_window_is_a_normalised_gaussian():
  x = np.arange(-30.0, 31.0)
  window = central_window(x, x, 4.0)
  assert window.sum() == pytest.approx(1.0)
  assert np.sqrt((window.sum(axis=0) * x**2).sum()) == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize('size', [48, 49, 128])
def test_the_central_window_lies_at_the_centre_of_the_map(size):
  # With all weights equal and positive field, the sensitivity of the logit is the window seen through the layers.
  settings = ModelSettings(widths=(1, 1, 1), kernels=(5, 3, 3), strides=(2, 2, 1), crop_px=0, log_pool=0.0)
  model = build_model(settings, 1.39)
  params = jax.tree.map(np.ones_like, jax.jit(model.init)(jax.random.key(0), np.zeros((1, size, size))))
  params['params']['logit']['kernel'] = np.array([[0.0], [1.0]], np.float32)  # The central window alone.
  sensitivity = jax.jit(jax.grad(lambda field: model.apply(params, field[None])[0]))(np.full((size, size), 10.0))
  position = np.arange(size) - (size - 1) / 2
  for axis in (0, 1):
    profile = np.asarray(sensitivity, np.float64).sum(axis=axis)
    assert (profile * position).sum() / profile.sum() == pytest.approx(0.0, abs=0.15)


def test_central_pooling_sees_where_the_field_is():
  settings = dataclasses.replace(SMALL, centre_mm=5.0)
  field = np.zeros((1, 64, 64), np.float32)
  field[0, 30:34, 30:34] = 500.0
  moved = np.roll(field, 16, axis=2)
  assert np.abs(logits(settings, field) - logits(settings, moved)).max() > 1e-3
  np.testing.assert_allclose(logits(SMALL, field), logits(SMALL, moved), rtol=1e-4, atol=1e-5)


def test_the_network_sees_the_central_square_alone():
  field = random_field(2, 32, 32)
  around = random_field(2, 32, 32, seed=9)
  around[:, 8:24, 8:24] = field[:, 8:24, 8:24]
  settings = dataclasses.replace(SMALL, crop_px=16)
  np.testing.assert_array_equal(logits(settings, field), logits(settings, around))
  np.testing.assert_array_equal(logits(settings, field), logits(SMALL, field[:, 8:24, 8:24]))


def test_a_logarithm_in_the_pooling_is_one():
  # A network whose last layer is all that differs: logit = w . log(a + pooled) + b.
  field = random_field(3, 32, 32)
  plain, logarithmic = build_model(SMALL, 1.39), build_model(dataclasses.replace(SMALL, log_pool=0.5), 1.39)
  params = jax.jit(plain.init)(jax.random.key(0), field[:1])
  pooled = [np.asarray(plain.apply(with_weight(params, unit), field)) for unit in range(6)]
  weight = np.asarray(params['params']['logit']['kernel'])[:, 0]
  expected = np.log1p(np.stack(pooled, axis=-1) / 0.5) @ weight
  np.testing.assert_allclose(logarithmic.apply(params, field), expected, rtol=1e-4, atol=1e-5)


def with_weight(params, unit):
  """Returns the parameters with a last layer that gives out one pooled activation."""
  kernel = np.zeros((6, 1), np.float32)
  kernel[unit] = 1.0
  return {'params': {**params['params'], 'logit': {'kernel': kernel, 'bias': np.zeros(1, np.float32)}}}


def test_without_padding_an_output_sees_its_receptive_field_alone():
  settings = dataclasses.replace(SMALL, padding='valid')
  assert settings.receptive_px == 5 + 2 * 2 and ModelSettings().receptive_px == 25
  model = build_model(settings, 1.39)
  field = random_field(1, 21, 21)
  params = model.init(jax.random.key(0), field)
  whole = model.apply(params, field, method='activations')[-1]
  assert whole.shape[1:3] == (4, 4)
  piece = model.apply(params, field[:, 4:13, 8:17], method='activations')[-1]
  np.testing.assert_allclose(piece[:, 0, 0], whole[:, 1, 2], rtol=1e-4, atol=1e-5)
  positions = settings.positions_px(21)
  np.testing.assert_array_equal(positions, [-6, -2, 2, 6])  # Of the middles of the receptive fields.
  with pytest.raises(UserError, match='sees a square of 8 px, and a single output of it 9 px'):
    settings.visible_px(8)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'widths': (4,)}, 'as many layers each'),
    ({'widths': (), 'kernels': (), 'strides': ()}, 'at least one layer'),
    ({'scale_gauss': 0.0}, 'must be positive'),
    ({'crop_px': -1}, 'must not be negative'),
    ({'scale_gauss': float('nan')}, 'must be positive'),
    ({'symmetries': ('hale',)}, 'Unknown symmetries'),
    ({'precision': 'float64'}, 'Unknown precision'),
    ({'symmetries': ('transpose', 'mirror_latitude')}, 'turns one mirror into the other'),
  ],
)
def test_settings_that_make_no_network(change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
  ('backend', 'expected'),
  [
    ('cpu', (('shifts', 'space_to_depth'), ('lax', 'patches'), ('lax', 'lax'))),
    ('gpu', (('lax', 'lax'),) * 3),
  ],
)
def test_the_ways_of_the_layers_are_chosen_for_a_backend(backend, expected):
  settings = ModelSettings(widths=(4, 6, 8), kernels=(5, 3, 3), strides=(2, 2, 1))
  assert build_model(settings, 1.39, backend=backend).lowerings == expected
  assert build_model(settings, 1.39, 'patches', backend).lowerings == (('patches', 'patches'),) * 3
  assert build_model(settings, 1.39) == build_model(settings, 1.39, backend=jax.default_backend())
  with pytest.raises(ValueError, match="Unknown lowering 'fft'; known are auto, lax, patches, shifts, space_to_depth"):
    build_model(settings, 1.39, 'fft')
