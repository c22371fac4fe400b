"""Attribution against `saliency`, a linear network, and what must hold for any network; and the sanity checks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from astropy.io import fits
from astropy.wcs import WCS
from saliency import core as saliency

from hearjax.interpret import attribution, attribution_maps, sanity
from hearjax.interpret.attribution import AttributionSettings, grad_cam
from hearjax.models.network import ModelSettings, build_model
from tests.conftest import make_survey
from tests.hand_made import make_run

SIZE = 24
SETTINGS = ModelSettings(widths=(4, 6), kernels=(5, 3), strides=(2, 2), crop_px=SIZE)
META = {'survey_source': 'test', 'survey_checksum': '0' * 64, 'settings': {'seed': 0}}


@pytest.fixture(autouse=True)
def chunks_of_three(monkeypatch):
  """As many maps at a time as `fields` returns, so that most tests share what is compiled."""
  monkeypatch.setattr(attribution, 'CHUNK', 3)


@functools.cache  # One model for all tests, so that what was compiled for one serves the others.
def network(seed=0, **changes):
  """Returns an untrained network and its parameters: He's normal kernels, biases that are not 0."""
  # XLA's convolution compiles faster; that the lowerings agree is a test of the model.
  model = build_model(dataclasses.replace(SETTINGS, **changes), 1.39, 'lax')
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE)))
  rng = np.random.default_rng(seed)

  def draw(leaf):
    spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.05
    return rng.normal(0, spread, leaf.shape).astype(np.float32)

  return model, jax.tree.map(draw, shapes)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, field):
  """Returns what the network itself says."""
  return model.apply(params, field)


def fields(n=3, seed=0):
  """Returns noise with a bipole that the network clips in one of the maps."""
  rng = np.random.default_rng(seed)
  x = np.arange(SIZE) - SIZE / 2
  bump = np.exp(-0.5 * ((x[:, None] - 2) ** 2 + x**2) / 3**2)
  peaks = np.array([100.0, 400.0, 1500.0])[:n, None, None]
  return (rng.normal(0, 10, (n, SIZE, SIZE)) + peaks * bump * np.sign(x)).astype(np.float32)


@functools.cache
def oracle(**changes):
  """Returns the interface through which `saliency` sees a network."""
  model, params = network(**changes)
  answers = {
    saliency.OUTPUT_LAYER_VALUES: lambda batch, last: model.apply(params, batch),
    saliency.INPUT_OUTPUT_GRADIENTS: lambda batch, last: jax.grad(lambda maps: model.apply(params, maps).sum())(batch),
    saliency.CONVOLUTION_LAYER_VALUES: lambda batch, last: last,
    saliency.CONVOLUTION_OUTPUT_GRADIENTS: lambda batch, last: jax.grad(
      lambda maps: model.apply(params, maps, SIZE, method='read_out').sum()
    )(last),
  }

  @functools.partial(jax.jit, static_argnames='keys')
  def answer(batch, keys):
    last = model.apply(params, batch, method='activations')[-1]
    return {key: answers[key](batch, last) for key in keys}

  def call(batch, call_model_args=None, expected_keys=None):
    return dict(answer(jnp.asarray(batch, jnp.float32), tuple(expected_keys)))

  return call


def linear(weights, field):
  return jnp.einsum('yx,nyx->n', weights, field) + 3.0


# --- Against saliency -------------------------------------------------------------------------------------------


def test_gradient_is_that_of_saliency():
  model, params = network()
  field = fields()
  call = oracle()
  expected = [saliency.GradientSaliency().GetMask(each, call) for each in field]
  np.testing.assert_allclose(attribution.gradient(model.apply, params, field), expected, rtol=1e-4, atol=1e-8)


def test_integrated_gradients_come_to_those_of_saliency():
  model, params = network()
  field = fields()
  ours = attribution.integrated_gradients(model.apply, params, field, steps=256)[0]
  theirs = saliency.IntegratedGradients().GetMask(field[0], oracle(), x_steps=256, batch_size=1)
  # Theirs takes both ends of the path with full weight, which leaves an error of a step.
  np.testing.assert_allclose(ours, theirs, atol=0.01 * np.abs(theirs).max())


def test_smooth_grad_is_that_of_saliency_for_the_same_noise(monkeypatch):
  model, params = network()
  field = fields()
  key, samples, noise_gauss = jax.random.key(3), 16, 15.0
  draws = iter([jax.random.normal(jax.random.fold_in(key, n), (SIZE, SIZE)) for n in range(samples)])
  monkeypatch.setattr(np.random, 'normal', lambda mean, deviation, shape: noise_gauss * np.asarray(next(draws)))
  theirs = saliency.GradientSaliency().GetSmoothedMask(field[0], oracle(), nsamples=samples, magnitude=False)
  ours = attribution.smooth_grad(model.apply, params, field, key, noise_gauss, samples)
  np.testing.assert_allclose(ours[0], theirs, rtol=1e-3, atol=1e-6 * np.abs(theirs).max())


def test_grad_cam_is_that_of_saliency_where_outputs_lie_on_pixels():
  model, params = network(strides=(1, 1))
  field = fields()
  call = oracle(strides=(1, 1))
  expected = [saliency.GradCam().GetMask(each, call, should_resize=False, three_dims=False) for each in field]
  assert np.max(expected) > 0
  np.testing.assert_allclose(grad_cam(model, params, field), expected, rtol=1e-3, atol=1e-8)


def test_occlusion_is_that_of_saliency_per_pixel_of_a_square():
  model, params = network()
  field = fields()
  side = 5
  theirs = saliency.Occlusion().GetMask(field[0], oracle(), size=side)
  squares = np.convolve(np.ones(SIZE - side + 1), np.ones(side))  # That hold a row; theirs sums over them.
  ours = attribution.occlusion(model.apply, params, field, side, 1)[0]
  np.testing.assert_allclose(ours * np.outer(squares, squares) * side**2, theirs, rtol=1e-3, atol=1e-3)


# --- A network whose answer is known ----------------------------------------------------------------------------


def test_a_linear_network_is_attributed_exactly():
  field = fields()
  weights = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32)
  added = weights * field
  tolerance = {'rtol': 1e-4, 'atol': 1e-4}
  np.testing.assert_allclose(attribution.gradient_x_input(linear, weights, field), added, **tolerance)
  np.testing.assert_allclose(attribution.integrated_gradients(linear, weights, field, steps=20), added, **tolerance)
  np.testing.assert_allclose(attribution.occlusion(linear, weights, field, 1, 1), added, rtol=1e-3, atol=0.05)
  slope = attribution.smooth_grad(linear, weights, field, jax.random.key(0), 5.0, 20)
  np.testing.assert_allclose(slope, np.broadcast_to(weights, field.shape), rtol=1e-5)
  baseline = np.full((SIZE, SIZE), 7.0, np.float32)
  shifted = attribution.integrated_gradients(linear, weights, field, baseline, steps=20)
  np.testing.assert_allclose(shifted, weights * (field - 7.0), **tolerance)


def test_squares_that_do_not_fit_the_map_end_at_its_edge():
  weights = np.ones((SIZE, SIZE), np.float32)
  field = np.full((1, SIZE, SIZE), 2.0, np.float32)
  np.testing.assert_allclose(attribution.occlusion(linear, weights, field, 7, 5), 2.0, rtol=1e-5)


@pytest.mark.parametrize('place', [(5, 17), (12, 12), (16, 8)])
def test_the_last_layer_is_put_where_its_outputs_lie(place):
  model, params = network(centre_mm=0.0, log_pool=0.0, kernels=(5, 5))
  params = jax.tree.map(jnp.ones_like, params)
  params['params']['convolution_0']['bias'] *= 0
  params['params']['convolution_1']['bias'] *= 0
  field = np.zeros((1, SIZE, SIZE), np.float32)
  field[0][place] = 100.0
  for elementwise in (False, True):
    heat = np.asarray(grad_cam(model, params, field, elementwise))[0]
    centre = [np.sum(heat * axis) / heat.sum() for axis in np.indices(heat.shape)]
    # A spot falls on a grid of 4 px; positions that are off by the asymmetric padding would be 1.5 px away.
    np.testing.assert_allclose(centre, place, atol=1.01)


def test_hires_cam_adds_up_to_the_logit_where_the_read_out_is_linear():
  model, params = network(log_pool=0.0, strides=(1, 1))
  field = fields()
  heat = grad_cam(model, params, field, elementwise=True)
  logit = logits(model, params, field) - params['params']['logit']['bias']
  np.testing.assert_allclose(np.sum(heat, axis=(1, 2)), logit, rtol=1e-3)


# --- What must hold for any network -----------------------------------------------------------------------------


def test_integrated_gradients_are_complete_to_a_per_cent():
  model, _ = network()
  _, params = network(4)  # With a change of the logit that is no small rest of large terms.
  field = fields()
  settings = AttributionSettings()
  maps = attribution.complete_integrated_gradients(model.apply, params, field, settings)
  change = logits(model, params, field) - logits(model, params, np.zeros_like(field))
  assert np.all(np.abs(change) > 0.1)
  assert np.all(np.abs(maps.sum(axis=(1, 2)) - change) < 0.01 * np.abs(change))
  # The same map needs more steps than it began with: the logarithm is steep near 0 G, and strong field is clipped.
  coarse = attribution.integrated_gradients(model.apply, params, field, steps=2)
  assert np.max(attribution.completeness_residual(np.asarray(coarse), np.asarray(change))) > 0.01


def test_completeness_residual_by_hand():
  maps = np.full((2, 2, 2), 0.25)
  np.testing.assert_allclose(attribution.completeness_residual(maps, np.array([1.25, 0.98])), [0.2, 0.02 / 0.98])
  np.testing.assert_allclose(attribution.completeness_residual(0 * maps, np.array([0.01, 0.0])), [0.1, 0.0])


@pytest.mark.parametrize('method', attribution.METHODS)
def test_missing_pixels_get_nothing_and_change_nothing(method):
  model, params = network()
  field = fields(2)
  field[:, 8:12, 8:12] = np.nan
  key = jax.random.key(0)
  maps = attribution.attribute(method, model, params, field, AttributionSettings(), key)
  assert np.all(maps[:, 8:12, 8:12] == 0)
  assert np.all(np.isfinite(maps)) and np.all(np.abs(maps).sum(axis=(1, 2)) > 0)
  if method != 'smooth_grad':  # Whose noise falls on a pixel that is there.
    filled = attribution.attribute(method, model, params, np.nan_to_num(field), AttributionSettings(), key)
    there = np.isfinite(field)
    np.testing.assert_allclose(maps[there], filled[there], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('method', attribution.METHODS)
def test_a_map_is_attributed_alike_alone_and_among_others(method):
  model, params = network()
  field = np.concatenate([fields(seed=seed) for seed in range(4)])  # More than a chunk.
  key = jax.random.key(0)
  together = attribution.attribute(method, model, params, field, AttributionSettings(), key)
  alone = attribution.attribute(method, model, params, field[10:11], AttributionSettings(), key)
  np.testing.assert_allclose(together[10:11], alone, rtol=1e-3, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize(
  ('symmetries', 'turn'),
  [
    (('mirror_longitude',), lambda maps: maps[..., ::-1]),
    (('polarity', 'mirror_longitude', 'mirror_latitude', 'transpose'), lambda maps: np.rot90(maps, axes=(1, 2))),
  ],
)
def test_versions_of_a_symmetric_network_are_laid_back_on_the_map(symmetries, turn):
  model, params = network(symmetries=symmetries)
  field = fields()
  for elementwise in (False, True):
    plain, turned = (np.asarray(grad_cam(model, params, maps, elementwise)) for maps in (field, turn(field)))
    np.testing.assert_allclose(turn(plain), turned, rtol=1e-3, atol=1e-4 * np.abs(plain).max())


def test_members_share_one_compilation():
  model, first = network(0)
  _, second = network(1)
  field = fields()
  attribution.gradient(model.apply, first, field)
  before = attribution._weighted_gradient.compiled()._cache_size()
  attribution.gradient(model.apply, second, field)
  attribution.gradient(model.apply, first, field)
  assert attribution._weighted_gradient.compiled()._cache_size() == before


@pytest.mark.parametrize('methods', [['integrated_gradients', 'magic'], []])
def test_unknown_methods_are_named(methods):
  with pytest.raises(ValueError, match=r'Unknown method .*known are integrated_gradients'):
    attribution.check_methods(methods)


@pytest.mark.parametrize('wrong', [{'steps': 0}, {'tolerance': 0.0}, {'noise_gauss': float('nan')}])
def test_settings_that_make_no_sense(wrong):
  with pytest.raises(ValueError, match=next(iter(wrong))):
    AttributionSettings(**wrong)


def test_squares_with_gaps():
  with pytest.raises(ValueError, match='stride <= side of the square'):
    attribution.occlusion(linear, np.ones((SIZE, SIZE)), fields(), 3, 4)


# --- A finished run ---------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def run():
  """Two folds and two seeds of untrained networks; a fold tests every other pair."""
  run = make_run(make_survey(pairs=6), SETTINGS, [network(seed)[1] for seed in range(4)], folds=2)
  return dataclasses.replace(run, ensemble=dataclasses.replace(run.ensemble, model=network()[0]))


def test_every_map_is_the_mean_over_the_seeds_that_did_not_see_it(run):
  attributed = attribution_maps.attribute_run(run, ['gradient_x_input'], AttributionSettings(), jax.random.key(0))
  rows = run.folds[1].test[3:6]
  model = run.ensemble.model
  field = run.survey.field[rows, 4:28, 4:28]
  expected = [attribution.gradient_x_input(model.apply, network(seed)[1], field) for seed in (2, 3)]
  np.testing.assert_allclose(attributed.maps['gradient_x_input'][rows], np.mean(expected, axis=0), rtol=1e-3, atol=1e-6)
  logit = np.mean([logits(model, network(seed)[1], field) for seed in (2, 3)], axis=0)
  np.testing.assert_allclose(attributed.logit[rows], logit, rtol=1e-4, atol=1e-5)
  assert np.all(attributed.fold[rows] == 1) and np.all(attributed.fold >= 0)


def test_region_files_know_where_their_pixels_lie(run, tmp_path):
  methods = ['integrated_gradients', 'smooth_grad']
  rows = np.flatnonzero(run.survey.pair == 1)
  attributed = attribution_maps.attribute_run(run, methods, AttributionSettings(), jax.random.key(0), rows)
  attribution_maps.write_maps(tmp_path, attributed, META)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['CR001.fits', 'EAR001.fits']
  with fits.open(tmp_path / 'EAR001.fits', checksum=True) as hdus:
    assert [hdu.name for hdu in hdus[1:]] == ['MAGNETOGRAM', 'INTEGRATED_GRADIENTS', 'SMOOTH_GRAD', 'INTERVALS']
    assert [hdu.header['BUNIT'] for hdu in hdus[1:4]] == ['Gauss', '', '1/G']
    assert hdus['SMOOTH_GRAD'].data.shape == (2, SIZE, SIZE)
    assert hdus['INTERVALS'].data['interval'].tolist() == [-2, -1]
    header = hdus['INTEGRATED_GRADIENTS'].header
    longitude, latitude = WCS(header, naxis=2).pixel_to_world_values(SIZE / 2 - 0.5, SIZE / 2 - 0.5)
    np.testing.assert_allclose([longitude, latitude], [55.0, -15.0], atol=1e-6)
    distance = WCS(header, naxis=2, key='A')
    np.testing.assert_allclose(distance.pixel_to_world_values(SIZE / 2 + 9.5, SIZE / 2 - 0.5), [13.9, 0], atol=1e-9)
    row = np.flatnonzero((run.survey.region_names() == 'EAR001') & (run.survey.interval == -2))[0]
    np.testing.assert_array_equal(hdus['MAGNETOGRAM'].data[0], run.survey.field[row, 4:28, 4:28])


def test_the_table_says_where_attribution_peaks(run):
  methods = ['gradient_x_input', 'integrated_gradients']
  chosen = np.flatnonzero(run.survey.pair == 1)
  attributed = attribution_maps.attribute_run(run, methods, AttributionSettings(), jax.random.key(0), chosen)
  attributed.maps['gradient_x_input'][:] = 0
  attributed.maps['gradient_x_input'][:, 20, 3] = -2.0  # 8.5 px north, 8.5 px east of the centre.
  attributed.maps['gradient_x_input'][:, 12, 11] = 1.0
  table = attribution_maps.attribution_table(attributed)
  rows = table[table['method'] == 'gradient_x_input']
  assert len(table) == 2 * len(rows) == 2 * len(chosen)
  np.testing.assert_allclose(rows['peak_x'], -8.5 * 1.39)
  np.testing.assert_allclose(rows['peak_y'], 8.5 * 1.39)
  np.testing.assert_allclose(rows['within_10mm'], 1 / 3)
  np.testing.assert_allclose(rows['within_20mm'], 1.0)
  assert np.all(np.isnan(rows['completeness_residual']))
  assert np.all(table['completeness_residual'][table['method'] == 'integrated_gradients'] < 0.01)


# --- Sanity checks ----------------------------------------------------------------------------------------------


def test_rank_correlation_is_that_of_scipy():
  rng = np.random.default_rng(0)
  first = rng.normal(size=(3, 5, 5)).round(1)  # With ties.
  second = first + rng.normal(size=(3, 5, 5)).round(1)
  expected = [scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
  np.testing.assert_allclose(sanity.rank_correlation(first, second), expected)
  assert np.all(sanity.rank_correlation(first, np.zeros_like(first)) == 0)


def test_the_cascade_begins_at_the_logit_and_ends_with_nothing_learnt():
  (_, trained), (_, random) = network(0), network(1)
  stages = sanity.cascade(trained, random)
  assert list(stages) == ['logit', 'convolution_1', 'convolution_0']

  def same(first, second, layer):
    return np.array_equal(first['params'][layer]['kernel'], second['params'][layer]['kernel'])

  assert same(stages['logit'], random, 'logit') and same(stages['logit'], trained, 'convolution_1')
  assert same(stages['convolution_1'], random, 'convolution_1')
  assert same(stages['convolution_1'], trained, 'convolution_0')
  assert all(same(stages['convolution_0'], random, layer) for layer in random['params'])


def test_deletion_and_insertion_by_hand():
  field = np.zeros((1, 2, 2), np.float32)
  field[0] = [[-1.0, 4.0], [np.nan, 5.0]]
  weights = np.array([[1.0, 1.0], [9.0, -1.0]], np.float32)
  order = np.array([[[3.0, 2.0], [0.0, 1.0]]])
  curves = sanity.curves(linear, weights, field, order)
  # The flux is 10: after 0.1, 0.5 and 1 of it, the pixels -1, 4 and 5 are gone; the logit is 3 + (-1 + 4 - 5) at first.
  at = {round(share, 2): number for number, share in enumerate(sanity.SHARES)}
  shares = (0.0, 0.05, 0.1, 0.45, 0.5, 0.95, 1.0)
  assert [curves['deletion'][0, at[share]] for share in shares] == [1, 1, 2, 2, -2, -2, 3]
  assert [curves['insertion'][0, at[share]] for share in shares] == [3, 3, 2, 2, 6, 6, 1]


def test_the_true_order_beats_chance_and_the_reverse_order_loses():
  rng = np.random.default_rng(0)
  field = rng.normal(0, 10, (6, SIZE, SIZE)).astype(np.float32)
  weights = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
  true, chance, reverse = (
    sanity.curves(linear, weights, field, order)
    for order in (weights * field, rng.random(field.shape), -weights * field)
  )
  for check in ('deletion', 'insertion'):
    assert np.all(sanity.area_beyond(true[check], chance[check], check) > 0)
    assert np.all(sanity.area_beyond(reverse[check], chance[check], check) < 0)


def test_a_finished_run_is_checked_with_a_verdict_per_method(run):
  methods = ['gradient_x_input', 'hires_cam']
  summary, networks, curves = sanity.check_run(run, methods, AttributionSettings(), jax.random.key(0), 8, 3.0)
  assert summary['method'].tolist() == methods and np.all(summary['n_maps'] == 8)
  # Untrained networks resemble each other no more than any other random ones.
  assert np.all(np.abs(summary['signed_members']) < 0.5)
  assert set(networks['network']) == {'other', 'logit', 'convolution_1', 'convolution_0'}
  assert set(curves['order']) == {'random', 'field', *methods}
  ends = curves[(curves['check'] == 'deletion') & (curves['share'] == 0)]
  np.testing.assert_allclose(ends['logit'], ends['logit'][0], rtol=1e-5)
