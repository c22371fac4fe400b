"""Synthetic fields: they have the strength, place, scale and gradients that were asked for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import j0

from hearjax.maps import features, synthetic, transforms
from hearjax.maps.synthetic import FAMILIES, Grid, check_shape, create_shape

GRID = Grid(48, 1.39)
PIXEL_MX = 1.39**2 * 1e16  # 1 G over one pixel [Mx].
ALL = tuple(FAMILIES)
BALANCED = tuple(name for name in ALL if name != 'spot')


pattern = jax.jit(synthetic.pattern, static_argnums=(0, 1))  # Compiled once for each family.


def make(family, scale_mm=9.0, width_mm=1.5, **shape):
  return pattern(family, GRID, create_shape(scale_mm, width_mm, **shape))


def centroid(field):
  """Returns (x, y) [Mm] of the flux of one polarity, by hand."""
  axis = (np.arange(48) - 23.5) * 1.39
  return np.sum(field * axis) / np.sum(field), np.sum(field * axis[:, None]) / np.sum(field)


@pytest.mark.parametrize('family', ALL)
def test_strength_is_what_was_asked_for(family):
  field = make(family)
  flux = synthetic.at_flux(field, GRID, 3e20)
  np.testing.assert_allclose(np.abs(np.asarray(flux, np.float64)).sum() * PIXEL_MX, 3e20, rtol=1e-5)
  np.testing.assert_allclose(features.unsigned_flux(flux, 1.39), 3e20, rtol=1e-5)
  # Under a window: of the upper half alone.
  window = (np.arange(48) >= 24)[:, None] * np.ones(48)
  flux = np.abs(np.asarray(synthetic.at_flux(field, GRID, 3e20, window), np.float64))
  np.testing.assert_allclose(flux[24:].sum() * PIXEL_MX, 3e20, rtol=1e-5)


@pytest.mark.parametrize('family', BALANCED)
@pytest.mark.parametrize('imbalance', [0.0, 0.3, -0.6])
def test_net_flux_is_the_imbalance_times_the_flux(family, imbalance):
  field = np.asarray(synthetic.at_flux(make(family, imbalance=imbalance), GRID, 2e20), np.float64)
  np.testing.assert_allclose(field.sum() * PIXEL_MX, imbalance * 2e20, atol=2e15)


@pytest.mark.parametrize('width_mm', [0.2, 0.7, 3.0])
def test_a_pole_keeps_its_flux_and_its_place_however_narrow(width_mm):
  # Before any strength is set, each pole holds the flux 1 in pixels that integrate over it, wherever it lies in them.
  shape = create_shape(4.0, width_mm, x_mm=2.3, y_mm=-5.1)
  poles = jax.jit(synthetic.bipole, static_argnums=0)(GRID, shape.replace(scale_mm=jnp.float32(20.0)))
  plus, minus = np.maximum(poles, 0), np.maximum(-poles, 0)
  np.testing.assert_allclose([plus.sum(), minus.sum()], 1.0, atol=2e-3)
  # A narrow pole is found to within its pixel, whose mean it is.
  np.testing.assert_allclose(centroid(plus), (12.3, -5.1), atol=0.7 if width_mm < 0.7 else 0.02)


def test_spot_against_the_formula():
  # FWHM 11.775 Mm is a sigma of 5 Mm: peak = flux / (2 pi sigma^2) where pixels are small against it.
  field = np.asarray(synthetic.at_flux(make('spot', 11.775), GRID, 1e20))
  middle = field[23:25, 23:25].mean()  # The four middle pixels lie 0.98 Mm from the centre.
  expected = 1e20 / (2 * np.pi * 25 * 1e16) * np.exp(-0.5 * (0.983**2 + 1.39**2 / 6) / 25)
  np.testing.assert_allclose(middle, expected, rtol=2e-3)
  assert field.min() >= 0


@pytest.mark.parametrize(('tilt', 'direction'), [(0, (1, 0)), (90, (0, -1)), (30, (np.sqrt(3) / 2, -0.5))])
def test_bipole_has_its_separation_and_its_tilt(tilt, direction):
  field = np.asarray(make('bipole', 12.0, 1.5, tilt_deg=tilt), np.float64)
  plus, minus = (np.array(centroid(np.maximum(sign * field, 0))) for sign in (1, -1))
  np.testing.assert_allclose(plus - minus, 12.0 * np.array(direction), atol=0.02)
  np.testing.assert_allclose(plus + minus, 0, atol=0.01)
  np.testing.assert_allclose(features.polarity_separation(field / np.abs(field).max() * 1e3, 1.39), 12, rtol=0.01)


@pytest.mark.parametrize('family', ['bipole', 'quadrupole', 'checkerboard'])
def test_a_quarter_turn_is_a_tilt_of_90_degrees(family):
  turned = transforms.rotate(make(family, tilt_deg=20.0), -1)  # A tilt is clockwise.
  np.testing.assert_allclose(make(family, tilt_deg=110.0), turned, atol=1e-6)


def test_quadrupole_has_poles_at_the_corners_of_its_square():
  field = np.asarray(make('quadrupole', 10 * 1.39, 1.0))
  rows, columns = np.nonzero(np.abs(field) > 0.5 * np.abs(field).max())
  centres = {(round(float(r) * 2) / 2, round(float(c) * 2) / 2) for r, c in zip(rows, columns, strict=True)}
  assert {r for r, _ in centres} == {18, 19, 28, 29} and {c for _, c in centres} == {18, 19, 28, 29}
  np.testing.assert_array_equal(np.sign(field[[28, 28, 18, 18], [28, 18, 18, 28]]), [1, -1, 1, -1])


def test_checkerboard_alternates_with_its_side():
  field = np.asarray(make('checkerboard', 8 * 1.39, 0.3))
  squares = np.sign(field).reshape(6, 8, 6, 8)
  assert (squares == squares[:, :1, :, :1]).all()
  np.testing.assert_array_equal(squares[:, 0, :, 0][:2, :3], [[1, -1, 1], [-1, 1, -1]])


@pytest.mark.parametrize('scale_mm', [4.0, 8.0, 16.0])
def test_random_field_has_its_power_where_asked(scale_mm):
  grid = Grid(128, 1.39)
  shapes = [create_shape(scale_mm, 1.0, key=jax.random.key(seed)) for seed in range(8)]
  maps = np.stack([pattern('random', grid, shape) for shape in shapes])
  power = np.mean(np.abs(np.fft.fft2(maps)) ** 2, axis=0)
  wavenumber = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, 1.39)] * 2))
  edges = np.geomspace(0.5, 2, 16) / (2 * scale_mm)
  per_mode = [power[(wavenumber >= low) & (wavenumber < high)].mean() for low, high in itertools.pairwise(edges)]
  peak = np.sqrt(edges[:-1] * edges[1:])[np.argmax(per_mode)]
  np.testing.assert_allclose(1 / peak, 2 * scale_mm, rtol=0.12)


def test_several_bipoles_are_bipoles_of_one_distance():
  # All flux of a wide grid comes in pairs: its power spectrum is that of two poles, 1 - J0(k d), at small k about k^2.
  grid = Grid(192, 1.0)
  d, k = 16.0, np.hypot(*np.meshgrid(*[np.fft.fftfreq(192)] * 2))
  one = lambda key: synthetic.bipoles(grid, create_shape(d, 0.5, key=key))  # noqa: E731
  maps = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 60))
  power = np.mean(np.abs(np.fft.fft2(maps)) ** 2, axis=0)
  ring = lambda low, high: power[(k >= low) & (k < high)].mean()  # noqa: E731
  measured = ring(0.030, 0.042) / ring(0.060, 0.072)
  expected = (1 - j0(2 * np.pi * 0.036 * d)) / (1 - j0(2 * np.pi * 0.066 * d))
  np.testing.assert_allclose(measured, expected, rtol=0.15)


def test_several_bipoles_lie_in_a_disc_about_the_middle():
  # Of a quarter of the side, and half a pole distance beyond; narrow poles hold their flux within three widths.
  shapes = [create_shape(6.0, 0.8, x_mm=3.0, y_mm=-2.0, key=jax.random.key(seed)) for seed in range(40)]
  maps = np.abs(np.stack([pattern('bipoles', GRID, shape) for shape in shapes])).sum(axis=0)
  axis = (np.arange(48) - 23.5) * 1.39
  distance = np.hypot(axis[:, None] + 2.0, axis - 3.0)
  assert maps[distance > 48 * 1.39 / 4 + 3 + 3 * 0.8 + 1].sum() < 1e-3 * maps.sum()
  # Evenly: the middle half of the area holds half of the middles.
  inner = maps[distance < 48 * 1.39 / 4 / np.sqrt(2)].sum() / maps.sum()
  np.testing.assert_allclose(inner, 0.5, atol=0.08)


@pytest.mark.parametrize('family', ALL)
def test_vmap_equals_a_loop_and_jit_no_jit(family):
  shapes = [create_shape(scale, 1.2, 40.0 * scale, 0.1, 1.0, -2.0, jax.random.key(int(scale))) for scale in (4, 7, 11)]
  many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *shapes)
  batch = jax.jit(jax.vmap(lambda shape: synthetic.pattern(family, GRID, shape)))(many)
  np.testing.assert_allclose(batch, [synthetic.pattern(family, GRID, shape) for shape in shapes], atol=2e-5)


@pytest.mark.parametrize('family', ALL)
def test_gradients_against_finite_differences(family):
  names = ('scale_mm', 'width_mm', 'tilt_deg', 'imbalance', 'x_mm', 'y_mm')
  weight = np.random.default_rng(1).normal(size=(48, 48))
  with jax.enable_x64(True):  # Differences of float32 would say little.

    def number(values):
      shape = create_shape(1.0, 1.0, key=jax.random.key(2)).replace(**dict(zip(names, values, strict=True)))
      return jnp.sum(weight * synthetic.at_flux(synthetic.pattern(family, GRID, shape), GRID, 1e20))

    values = jnp.array([9.0, 2.0, 25.0, 0.2, 1.0, 0.5], jnp.float64)
    size, gradient = (np.asarray(result) for result in jax.jit(jax.value_and_grad(number))(values))
    steps = 1e-5 * np.eye(len(names))
    ahead, behind = np.asarray(jax.jit(jax.vmap(number))(values + np.concatenate([steps, -steps]))).reshape(2, -1)
  np.testing.assert_allclose(gradient, (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-6 * np.abs(size))
  for name in ('width_mm', 'tilt_deg', 'imbalance'):
    assert (gradient[names.index(name)] != 0) == (name in FAMILIES[family].parameters)


def test_same_key_same_field_and_another_key_another():
  first, again, other = (make('random', key=jax.random.key(seed)) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, other)


@pytest.mark.parametrize('family', ALL)
def test_the_largest_scale_fits_and_a_larger_one_does_not(family):
  largest = synthetic.largest_scale_mm(family, GRID)
  width = synthetic.default_width_mm(family, GRID, largest)
  check_shape(family, GRID, create_shape(largest, width))
  # The flux of all poles is on the grid, but for the 1 % that each loses to each neighbour of the other polarity.
  if family in ('bipole', 'spot', 'quadrupole'):
    raw = np.abs(FAMILIES[family].pattern(GRID, create_shape(largest, width))).sum()
    poles = {'spot': 1, 'quadrupole': 4}.get(family, 2)
    np.testing.assert_allclose(raw, poles, rtol=0.03)
  with pytest.raises(ValueError, match=f'cannot hold a {family} with a scale of'):
    check_shape(family, GRID, create_shape(2.3 * largest, synthetic.default_width_mm(family, GRID, 2.3 * largest)))


@pytest.mark.parametrize(
  ('family', 'shape', 'sentence'),
  [
    (
      'bipole',
      {'scale_mm': 2.0, 'width_mm': 0.5},
      'cannot resolve a scale of 2 Mm .distance of the poles.; give at least',
    ),
    ('bipole', {'scale_mm': 20.0, 'width_mm': 2.0, 'x_mm': 25.0}, 'it reaches 41 Mm from the middle'),
    ('bipole', {'scale_mm': np.nan, 'width_mm': 2.0}, 'scale_mm of a synthetic field must be finite, got nan'),
    ('bipole', {'scale_mm': 9.0, 'width_mm': 2.0, 'tilt_deg': np.inf}, 'tilt_deg of a synthetic field must be finite'),
    ('spot', {'scale_mm': -3.0, 'width_mm': 2.0}, 'scale_mm of a synthetic field must be positive, got -3'),
    ('bipole', {'scale_mm': 9.0, 'width_mm': 0.0}, 'width_mm of a synthetic field must be positive'),
    ('random', {'scale_mm': 9.0, 'width_mm': 2.0, 'imbalance': 1.0}, 'between -1 and 1, got 1.0; one polarity alone'),
    ('tripole', {'scale_mm': 9.0, 'width_mm': 2.0}, "no family 'tripole' of synthetic fields; there are bipole"),
  ],
)
def test_what_cannot_be_made_is_told(family, shape, sentence):
  with pytest.raises(ValueError, match=sentence):
    check_shape(family, GRID, create_shape(**shape))


def test_one_bad_field_among_many_is_found():
  shapes = [create_shape(scale, 1.0) for scale in (5.0, 90.0, 6.0)]
  many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *shapes)
  with pytest.raises(ValueError, match='scale of 90 Mm'):
    check_shape('bipole', GRID, many)
