"""Labels, scales and stability of filters, against scipy and against answers known by construction."""

import jax
import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from hearjax.interpret import filters, pole_pairs
from hearjax.interpret.ablation import sweep
from hearjax.interpret.filters import QUANTITIES
from hearjax.interpret.pole_pairs import PairResponse, PairSettings
from hearjax.interpret.pruning import Part
from hearjax.maps.features import length_scale, unsigned_flux
from hearjax.maps.synthetic import Grid
from hearjax.models.network import SYMMETRIES, ModelSettings, build_model
from tests.conftest import make_survey
from tests.hand_made import one_layer
from tests.interpret.test_pruning import NAMED, hand_made, make_part

PIXEL_MM = 1.39


def correlated(contributions, quantities, pairs=30):
  part = Part(np.zeros((2 * pairs, 1, 1)), np.tile([1, 0], pairs), np.repeat(np.arange(pairs), 2))
  return filters.correlations(contributions, quantities, part, part.resamples(200, 0))


def fill(model, size, value):
  """Returns parameters that all have one value."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, size, size)))
  return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.float32), shapes)


def random_quantities(n=60, seed=0):
  return np.random.default_rng(seed).normal(size=(len(QUANTITIES), n))


def test_spearman_in_resamples_is_that_of_scipy():
  rng = np.random.default_rng(0)
  first, second = np.round(rng.normal(size=(3, 20)), 1), rng.integers(0, 4, (2, 20)).astype(float)
  weights = rng.multinomial(20, np.full(20, 0.05), 5)
  ours = filters.spearman(first, second, weights)
  for resample, counts in enumerate(weights):
    rows = np.repeat(np.arange(20), counts)
    for a in range(3):
      for b in range(2):
        expected = spearmanr(first[a, rows], second[b, rows]).statistic
        assert ours[resample, a, b] == pytest.approx(expected, abs=1e-5)


def test_partial_correlation_is_that_of_the_residuals():
  rng = np.random.default_rng(1)
  quantities = random_quantities()
  contributions = quantities[[0]] + quantities[[3]] + rng.normal(size=(2, 60))
  ranks = [np.apply_along_axis(rankdata, 1, values) for values in (contributions, quantities)]
  flux = np.vstack([np.ones(60), ranks[1][0]]).T
  left, right = (values.T - flux @ np.linalg.lstsq(flux, values.T)[0] for values in ranks)
  ours, _, _ = correlated(contributions, quantities)['partial']
  for quantity in range(1, len(QUANTITIES)):
    assert ours[1, quantity] == pytest.approx(pearsonr(left[:, 1], right[:, quantity]).statistic, abs=1e-5)
  assert np.isnan(ours[:, 0]).all()


def test_labels_of_filters_made_to_respond():
  quantities = random_quantities()
  noise = 0.3 * np.random.default_rng(5).normal(size=(4, 60))
  kurtosis = QUANTITIES.index('kurtosis')
  contributions = np.vstack(
    [
      np.exp(quantities[0]) + noise[0],
      -quantities[0] + noise[1],
      quantities[kurtosis]
      - filters.spearman(quantities[[kurtosis]], quantities[[0]], np.ones((1, 60), int))[0, 0, 0] * quantities[0]
      + noise[2],
      noise[3],
      np.zeros(60),
    ]
  )
  words = filters.label_filters(correlated(contributions, quantities), np.array([0, 0, 0, 0, 1], bool))
  assert words[:3] == ['flux+', 'flux-', 'kurtosis']
  assert words[4] == 'dead'


def test_intervals_leave_out_0_for_one_in_twenty_filters_that_respond_to_nothing():
  rng = np.random.default_rng(2)
  _, low, high = correlated(rng.normal(size=(400, 60)), random_quantities())['spearman']
  share = np.mean((low[:, 0] > 0) | (high[:, 0] < 0))
  assert 0.02 < share < 0.11


def test_a_dead_filter_has_no_correlation():
  values, low, _ = correlated(np.zeros((1, 60)), random_quantities())['spearman']
  assert np.isnan(values).all() and np.isnan(low).all()


def test_the_hand_made_network_responds_positively_to_flux():
  model, params = hand_made()
  part = make_part(pairs=20)
  quantities = np.vstack([np.abs(part.field).sum(axis=(1, 2)), random_quantities(40)[1:]])
  swept = sweep(model, params, part.field)
  of_filters = filters.correlations(swept.contributions, quantities, part, part.resamples(200, 0))
  words = filters.label_filters(of_filters, swept.strength.max(axis=1) == 0)
  assert [words[number] for number in NAMED] == ['flux+', 'flux+']


def test_quantities_are_those_of_the_visible_square():
  survey = make_survey(size=32)
  described = filters.describe(survey, 16)
  field = survey.field[3, 8:24, 8:24]
  expected = {'unsigned_flux': unsigned_flux(field, PIXEL_MM), 'length_scale': length_scale(field, PIXEL_MM)}
  for name, value in (expected | {'mu': survey.mu[3]}).items():
    assert described[QUANTITIES.index(name), 3] == pytest.approx(float(value), rel=1e-5)


def test_stability_finds_the_same_filters_in_another_order():
  settings = ModelSettings(widths=(2, 3), kernels=(3, 3), strides=(1, 1))
  first = np.random.default_rng(0).normal(size=(5, 50))
  first[4] = 0  # Dead in both.
  second = np.exp(first[[1, 0, 3, 2, 4]])
  second[4] = 0
  found = filters.stability(settings, np.stack([first, second]))
  np.testing.assert_allclose(found[:, :4], 1, atol=1e-6)
  assert np.isnan(found[:, 4]).all()
  assert np.isnan(filters.stability(settings, first[None])).all()
  # The other sign is another filter.
  assert filters.stability(settings, np.stack([first, -first]))[0, :2].max() < 0.9


def test_the_strongest_patch_is_where_the_filter_looks():
  settings = ModelSettings(widths=(1, 1), kernels=(5, 3), strides=(2, 1), crop_px=16, scale_gauss=1.0)
  model = build_model(settings, PIXEL_MM)
  params = fill(model, 16, 1.0)
  field = np.zeros((3, 24, 24), np.float32)
  field[1, 13, 10] = 100.0
  part = Part(field, np.array([1, 0, 1]), np.arange(3))
  strength = sweep(model, params, field).strength
  patches = filters.strongest_patches(model, params, part, strength[0], 0, 1)
  assert patches[0].shape == (5, 5) and patches[0].max() == 100.0
  # A layer deeper, the receptive field is 5 + 2 * (3 - 1) px wide.
  deeper = filters.strongest_patches(model, params, part, strength[1], 1, 3)
  assert deeper[0].shape == (9, 9) and deeper[0].max() == 100.0


@pytest.mark.parametrize(
  ('symmetries', 'row'),
  [
    ((), [0, 0, 200]),  # 1.5 * 200: one pole alone.
    (('polarity',), [-200, 0, 100]),  # 200 + 1.5 * 100.
    (('mirror_longitude',), [-100, 0, 200]),  # 100 + 1.5 * 200.
    (('polarity', 'mirror_longitude'), [-100, 0, 200]),
    (('mirror_latitude',), [0, 0, 200]),
  ],
)
def test_the_strongest_patch_is_of_the_version_that_excites_the_filter_most(symmetries, row):
  kernel = np.zeros((3, 3, 1))
  kernel[1, :, 0] = -1, 0, 1.5
  settings, params = one_layer(kernel, symmetries=symmetries)
  model = build_model(settings, PIXEL_MM)
  field = np.zeros((1, 12, 12), np.float32)
  field[0, 3, 7], field[0, 3, 9] = 200, -100
  part = Part(field, np.array([1]), np.zeros(1, int))
  (patch,) = filters.strongest_patches(model, params, part, sweep(model, params, field).strength[0], 0, 1)
  np.testing.assert_array_equal(patch, [[0, 0, 0], row, [0, 0, 0]])


@pytest.mark.parametrize('stride', [1, 2])
def test_the_filter_answers_to_the_strongest_patch_alone_as_to_the_map(stride):
  rng = np.random.default_rng(stride)
  kernel = rng.normal(size=(5, 5, 1))
  settings, params = one_layer(kernel, strides=(stride,), symmetries=tuple(SYMMETRIES))
  model = build_model(settings, PIXEL_MM)
  field = rng.normal(0, 100, (12, 16, 16)).astype(np.float32)
  strength = sweep(model, params, field).strength[0]
  part = Part(field, np.arange(12) % 2, np.arange(12))
  patches = filters.strongest_patches(model, params, part, strength, 0, 12)
  answers = [np.sum(kernel[..., 0] * np.nan_to_num(patch)) for patch in patches]
  np.testing.assert_allclose(answers, np.sort(strength)[::-1], rtol=1e-4)


# --- Pole pairs -------------------------------------------------------------------------------------------------


def test_planted_poles_have_the_flux_and_distance_asked_for():
  settings = PairSettings(pairs=1, pole_mx=2e20, width_mm=1.5)
  field = pole_pairs.plant(4, Grid(64, PIXEL_MM), 14.0, settings, 10.0, seed=0)
  area = PIXEL_MM**2 * 1e16
  np.testing.assert_allclose(np.abs(field).sum(axis=(1, 2)) * area, 4e20, rtol=1e-3)
  np.testing.assert_allclose(field.sum(axis=(1, 2)) * area, 0, atol=1e17)
  x = (np.arange(64) - 31.5) * PIXEL_MM
  for polarity in (np.clip(field, 0, None), np.clip(-field, 0, None)):
    assert polarity.shape == field.shape
  centroids = [
    np.array([(part * axis).sum(axis=(1, 2)) / part.sum(axis=(1, 2)) for axis in (x[:, None], x)])
    for part in (np.clip(field, 0, None), np.clip(-field, 0, None))
  ]
  np.testing.assert_allclose(np.hypot(*(centroids[0] - centroids[1])), 14.0, atol=0.05)


def test_lone_poles_are_the_same_poles():
  paired, lone = (
    pole_pairs.plant(50, Grid(96, PIXEL_MM), 20.0, PairSettings(), 30.0, 0, together) for together in (True, False)
  )
  np.testing.assert_allclose(paired.sum(axis=0), lone.sum(axis=0), atol=1e-3)
  assert np.abs(paired - lone).max() > 100


def test_a_filter_tuned_to_a_distance_is_found_to_prefer_it():
  # Filter 0 has a positive lobe in the west and a negative one 5 px of 2.78 Mm east of it: bipoles of 13.9 Mm.
  pixel_mm = 2 * PIXEL_MM
  settings = ModelSettings(
    widths=(2,), kernels=(11,), strides=(1,), crop_px=0, centre_mm=0.0, log_pool=0.0, limit_gauss=5000.0
  )
  model = build_model(settings, pixel_mm)
  params = fill(model, 24, 0.0)
  offset = np.arange(11) - 5.0
  lobes = [np.exp(-0.5 * (offset[:, None] ** 2 + (offset - place) ** 2) / 0.75**2) for place in (2.5, -2.5)]
  params['params']['convolution_0']['kernel'][:, :, 0, 0] = lobes[0] - lobes[1]
  # A single pole moves the filter by 7, half as much as both: only pairs pass the bias.
  params['params']['convolution_0']['bias'][0] = -8.4
  params['params']['logit']['kernel'][0] = 100.0
  controls = np.random.default_rng(0).normal(0, 5, (160, 24, 24)).astype(np.float32)
  planted = PairSettings(pairs=4, distances=9, maps=160)
  contributions = lambda field: sweep(model, params, field).contributions  # noqa: E731
  response = pole_pairs.respond_to_pairs(contributions, controls, pixel_mm, controls.shape[-1], planted, seed=0)
  preferred = response.preferred_mm()
  assert preferred[0] == pytest.approx(13.9, rel=0.15)
  assert np.isnan(preferred[1]) and response.median_mm() == pytest.approx(preferred[0])


def test_peak_of_a_parabola_and_of_curves_without_one():
  positions = np.geomspace(1, 16, 9)
  certain, vague = np.zeros(9), np.full(9, 2.0)
  assert pole_pairs.peak(positions, 4 - np.log2(positions / 3.1) ** 2, certain) == pytest.approx(3.1)
  assert np.isnan(pole_pairs.peak(positions, 4 - np.log2(positions / 3.1) ** 2, vague))
  assert np.isnan(pole_pairs.peak(positions, positions, certain))
  assert np.isnan(pole_pairs.peak(positions, -((positions - 4) ** 2) - 1, certain))
  assert np.isnan(PairResponse(positions, np.zeros((9, 2)), np.zeros((9, 2))).median_mm())


def test_settings_that_cannot_be_planted():
  with pytest.raises(ValueError, match='pole_mx of the planted pairs must be positive, got -1'):
    PairSettings(pole_mx=-1.0)
