"""Attribution against `saliency`, a linear network, and what must hold for any network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from saliency import core as saliency

from hearjax.checks import UserError
from hearjax.interpret import attribution, attribution_maps
from hearjax.interpret.attribution import EXPECTED, INTEGRATED, METHODS, PATHS, AttributionSettings
from hearjax.interpret.maps import MEMBERS, Subject, members_of, survey_of_maps
from hearjax.interpret.network import EmergenceAdapter, adapt
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.fold_rows import FoldRows
from tests.conftest import make_survey
from tests.hand_made import make_run
from tests.interpret.foreign import Foreign, initial

SIZE = 24
SETTINGS = ModelSettings(widths=(4, 6), kernels=(5, 3), strides=(2, 2), crop_px=SIZE, padding='same')
META = {'survey_source': 'test', 'survey_checksum': '0' * 64, 'settings': {'seed': 0}}
NOTHING = np.zeros((1, SIZE, SIZE), np.float32)


@pytest.fixture(autouse=True)
def chunks_of_three(monkeypatch):
  """As many maps at a time as `fields` returns, so that most tests share what is compiled."""
  monkeypatch.setattr(attribution, 'CHUNK', 3)


@functools.cache  # One network for all tests, so that what was compiled for one serves the others.
def untrained(seed=0):
  """Returns an untrained network and its parameters: He's normal kernels, biases that are not 0."""
  # XLA's convolution compiles faster; that the lowerings agree is a test of the model.
  model = build_model(SETTINGS, 1.39, 'lax')
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE)))
  rng = np.random.default_rng(seed)

  def draw(leaf):
    spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.05
    return rng.normal(0, spread, leaf.shape).astype(np.float32)

  return EmergenceAdapter(model), jax.tree.map(draw, shapes)


def fields(n=3, seed=0):
  """Returns noise with a bipole that the network clips in one of the maps."""
  rng = np.random.default_rng(seed)
  x = np.arange(SIZE) - SIZE / 2
  bump = np.exp(-0.5 * ((x[:, None] - 2) ** 2 + x**2) / 3**2)
  peaks = np.array([100.0, 400.0, 1500.0])[:n, None, None]
  return (rng.normal(0, 10, (n, SIZE, SIZE)) + peaks * bump * np.sign(x)).astype(np.float32)


@functools.cache
def oracle():
  """Returns the interface through which `saliency` sees a network."""
  network, params = untrained()
  answers = {
    saliency.OUTPUT_LAYER_VALUES: lambda batch: network.logit(params, batch),
    saliency.INPUT_OUTPUT_GRADIENTS: jax.grad(lambda batch: network.logit(params, batch).sum()),
  }

  @functools.partial(jax.jit, static_argnames='keys')
  def answer(batch, keys):
    return {key: answers[key](batch) for key in keys}

  def call(batch, call_model_args=None, expected_keys=None):
    return dict(answer(jnp.asarray(batch, jnp.float32), tuple(expected_keys)))

  return call


@dataclasses.dataclass(frozen=True)
class Linear:
  """A network whose answer is known: a weight for each pixel."""

  pixel_scale_mm: float = 1.39
  widths: tuple[int, ...] = ()

  def visible_px(self, size):
    return size

  def logit(self, params, field):
    return jnp.einsum('yx,nyx->n', params, field) + 3.0


# --- Against saliency -------------------------------------------------------------------------------------------


def test_gradient_x_input_is_that_of_saliency():
  network, params = untrained()
  field = fields()
  expected = [saliency.GradientSaliency().GetMask(each, oracle()) * each for each in field]
  np.testing.assert_allclose(attribution.gradient_x_input(network, params, field), expected, rtol=1e-4, atol=1e-6)


def test_paths_from_nothing_come_to_integrated_gradients_of_saliency():
  network, params = untrained()
  field = fields()
  ours = attribution.path_attribution(network, params, field, NOTHING, 256)[0]
  theirs = saliency.IntegratedGradients().GetMask(field[0], oracle(), x_steps=256, batch_size=1)
  # Theirs takes both ends of the path with full weight, which leaves an error of a step.
  np.testing.assert_allclose(ours, theirs, atol=0.01 * np.abs(theirs).max())


def test_paths_from_many_maps_are_the_mean_of_paths_from_each():
  network, params = untrained()
  field, baselines = fields(), np.random.default_rng(5).normal(0, 10, (3, SIZE, SIZE)).astype(np.float32)
  ours = attribution.path_attribution(network, params, field, baselines, 128)
  each = [
    [saliency.IntegratedGradients().GetMask(field[0], oracle(), x_baseline=one, x_steps=256, batch_size=1)]
    for one in baselines
  ]
  expected = np.mean(each, axis=0)[0]
  np.testing.assert_allclose(ours[0], expected, atol=0.02 * np.abs(expected).max())


def test_smooth_grad_is_that_of_saliency_for_the_same_noise(monkeypatch):
  network, params = untrained()
  field = fields()
  key, samples, noise_gauss = jax.random.key(3), 16, 15.0
  draws = iter([jax.random.normal(jax.random.fold_in(key, n), (SIZE, SIZE)) for n in range(samples)])
  monkeypatch.setattr(np.random, 'normal', lambda mean, deviation, shape: noise_gauss * np.asarray(next(draws)))
  theirs = saliency.GradientSaliency().GetSmoothedMask(field[0], oracle(), nsamples=samples, magnitude=False)
  ours = attribution.smooth_grad(network, params, field, key, noise_gauss, samples)
  np.testing.assert_allclose(ours[0], theirs, rtol=1e-3, atol=1e-6 * np.abs(theirs).max())


def test_occlusion_is_that_of_saliency_per_pixel_of_a_square():
  network, params = untrained()
  field = fields()
  side = 5
  theirs = saliency.Occlusion().GetMask(field[0], oracle(), size=side)
  squares = np.convolve(np.ones(SIZE - side + 1), np.ones(side))  # That hold a row; theirs sums over them.
  ours = attribution.occlusion(network, params, field, side, 1)[0]
  np.testing.assert_allclose(ours * np.outer(squares, squares) * side**2, theirs, rtol=1e-3, atol=1e-3)


# --- A network whose answer is known ----------------------------------------------------------------------------


def test_a_linear_network_is_attributed_exactly():
  network, field = Linear(), fields()
  weights = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32)
  added = weights * field
  tolerance = {'rtol': 1e-4, 'atol': 1e-3}
  np.testing.assert_allclose(attribution.gradient_x_input(network, weights, field), added, **tolerance)
  np.testing.assert_allclose(attribution.path_attribution(network, weights, field, NOTHING, 20), added, **tolerance)
  np.testing.assert_allclose(attribution.occlusion(network, weights, field, 1, 1), added, rtol=1e-3, atol=0.05)
  slope = attribution.smooth_grad(network, weights, field, jax.random.key(0), 5.0, 20)
  np.testing.assert_allclose(slope, np.broadcast_to(weights, field.shape), rtol=1e-5)
  baselines = np.random.default_rng(2).normal(0, 20, (5, SIZE, SIZE)).astype(np.float32)
  expected = weights * (field - baselines.mean(axis=0))
  np.testing.assert_allclose(attribution.path_attribution(network, weights, field, baselines, 4), expected, **tolerance)


def test_squares_that_do_not_fit_the_map_end_at_its_edge():
  weights = np.ones((SIZE, SIZE), np.float32)
  field = np.full((1, SIZE, SIZE), 2.0, np.float32)
  np.testing.assert_allclose(attribution.occlusion(Linear(), weights, field, 7, 5), 2.0, rtol=1e-5)


def test_points_of_a_path_are_of_one_weight_and_no_two_at_one_place():
  baseline, fraction, weight = attribution.path_points(4, 3)
  assert len(set(fraction)) == 12
  assert fraction.min() > 0 and fraction.max() < 1
  np.testing.assert_allclose(np.bincount(baseline, weight), 1 / 4)
  # The integral of t^2 from 0 to 1, over all paths.
  baseline, fraction, weight = attribution.path_points(16, 8)
  assert np.sum(weight * fraction**2) == pytest.approx(1 / 3, rel=0.01)


# --- What must hold for any network -----------------------------------------------------------------------------


def test_path_attribution_adds_up_to_the_difference_of_the_logits():
  network, params = untrained(4)  # With a change of the logit that is no small rest of large terms.
  field, baselines = fields(), np.random.default_rng(5).normal(0, 10, (16, SIZE, SIZE)).astype(np.float32)
  for starts, points in ((NOTHING, 256), (baselines, 16)):
    maps = np.asarray(attribution.path_attribution(network, params, field, starts, points))
    change = np.asarray(network.logit(params, field) - network.logit(params, starts).mean())
    assert np.all(np.abs(change) > 0.1)
    assert np.all(np.abs(maps.sum(axis=(1, 2)) - change) < 0.03 * np.abs(change))
    np.testing.assert_allclose(
      attribution.completeness_residual(maps, change, 2.0), np.abs(maps.sum(axis=(1, 2)) - change) / 2, atol=1e-4
    )


@pytest.mark.parametrize('method', METHODS)
def test_missing_pixels_get_nothing_and_a_map_is_the_same_among_others(method):
  network, params = untrained()
  field = np.concatenate([fields(seed=seed) for seed in range(2)])  # More than a chunk.
  field[:, 8:12, 8:12] = np.nan
  settings, baselines = AttributionSettings(points=2, steps=4, samples=4), fields(2, seed=9)
  maps = attribution.attribute(method, network, params, field, baselines, settings, 0)
  assert np.all(maps[:, 8:12, 8:12] == 0)
  assert np.all(np.isfinite(maps)) and np.all(np.abs(maps).sum(axis=(1, 2)) > 0)
  alone = attribution.attribute(method, network, params, field[4:5], baselines, settings, 0)
  np.testing.assert_allclose(maps[4:5], alone, rtol=1e-3, atol=1e-5 * np.abs(alone).max())


def test_networks_of_one_shape_share_one_compilation():
  (network, first), (_, second) = untrained(0), untrained(1)
  attribution.gradient_x_input(network, first, fields())
  before = attribution._weighted_slope.compiled()._cache_size()
  attribution.gradient_x_input(network, second, fields())
  assert attribution._weighted_slope.compiled()._cache_size() == before


# --- Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('methods', [['integrated_gradients', 'magic'], []])
def test_unknown_methods_are_named(methods):
  with pytest.raises(UserError, match=r'Unknown method .*known are expected_gradients'):
    attribution.check_methods(methods)


@pytest.mark.parametrize('wrong', [{'steps': 0}, {'baselines': 0}, {'noise_gauss': float('nan')}])
def test_settings_that_make_no_sense(wrong):
  with pytest.raises(UserError, match=next(iter(wrong))):
    AttributionSettings(**wrong)


def test_squares_with_gaps():
  with pytest.raises(UserError, match='stride <= side of the square'):
    attribution.occlusion(Linear(), np.ones((SIZE, SIZE)), fields(), 3, 4)


# --- Networks and their maps ------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def run():
  """Two folds and two seeds of untrained networks; a fold tests every other pair, and has learnt from the others."""
  return make_run(make_survey(pairs=6), SETTINGS, [untrained(seed)[1] for seed in range(4)], folds=2)


@pytest.fixture(scope='module')
def members(run):
  found = []
  for one in members_of(run):
    others = np.setdiff1d(np.arange(len(run.survey)), one.rows.test)
    found.append(dataclasses.replace(one, rows=FoldRows(others, others, one.rows.test)))
  return found


SMALL = AttributionSettings(baselines=4, points=8, steps=64)


def test_baselines_are_control_maps_of_the_training_of_as_many_regions_as_there_are(run, members):
  drawn = attribution.control_baselines(members[0], run.survey, 3, seed=0)
  rows = members[0].rows.train
  controls = rows[run.survey.label[rows] == 0]
  seen = run.survey.field[controls, 4:28, 4:28]
  of = [int(np.flatnonzero((seen == one).all(axis=(1, 2)))[0]) for one in drawn]
  assert len(set(run.survey.region[controls[of]])) == 3
  emerging = np.flatnonzero(run.survey.label == 1)
  alone = dataclasses.replace(members[0], rows=FoldRows(emerging, emerging, members[0].rows.test))
  with pytest.raises(UserError, match='no control region'):
    attribution.control_baselines(alone, run.survey, 3, seed=0)


def test_every_map_is_the_mean_over_the_networks_that_did_not_see_it(run, members):
  attributed = attribution_maps.attribute_subjects(members, run.survey, ['gradient_x_input'], SMALL, 0)
  rows = members[2].rows.test[3:6]
  field = run.survey.field[rows, 4:28, 4:28]
  expected = [attribution.gradient_x_input(*untrained(seed), field) for seed in (2, 3)]
  np.testing.assert_allclose(attributed.maps['gradient_x_input'][rows], np.mean(expected, axis=0), rtol=1e-3, atol=1e-6)
  logit = np.mean([untrained(seed)[0].logit(untrained(seed)[1], field) for seed in (2, 3)], axis=0)
  np.testing.assert_allclose(attributed.logit[rows], logit, rtol=1e-4, atol=1e-5)
  assert np.all(attributed.fold[rows] == 1) and np.all(attributed.fold >= 0)


def test_region_files_know_where_their_pixels_lie(run, members, tmp_path):
  methods = [EXPECTED, 'smooth_grad']
  rows = np.flatnonzero(run.survey.pair == 1)
  attributed = attribution_maps.attribute_subjects(members, run.survey, methods, SMALL, 0, rows)
  attribution_maps.write_maps(tmp_path, attributed, META)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['CR001.fits', 'EAR001.fits']
  with fits.open(tmp_path / 'EAR001.fits', checksum=True) as hdus:
    assert [hdu.name for hdu in hdus[1:]] == ['MAGNETOGRAM', 'EXPECTED_GRADIENTS', 'SMOOTH_GRAD', 'INTERVALS']
    assert [hdu.header['BUNIT'] for hdu in hdus[1:4]] == ['Gauss', '', '1/G']
    assert hdus['INTERVALS'].data['interval'].tolist() == [-2, -1]
    header = hdus['EXPECTED_GRADIENTS'].header
    longitude, latitude = WCS(header, naxis=2).pixel_to_world_values(SIZE / 2 - 0.5, SIZE / 2 - 0.5)
    np.testing.assert_allclose([longitude, latitude], [55.0, -15.0], atol=1e-6)
    row = np.flatnonzero((run.survey.region_names() == 'EAR001') & (run.survey.interval == -2))[0]
    np.testing.assert_array_equal(hdus['MAGNETOGRAM'].data[0], run.survey.field[row, 4:28, 4:28])


def test_the_table_says_where_attribution_peaks(run, members):
  methods = ['gradient_x_input', INTEGRATED]
  chosen = np.flatnonzero(run.survey.pair == 1)
  attributed = attribution_maps.attribute_subjects(members, run.survey, methods, SMALL, 0, chosen)
  attributed.maps['gradient_x_input'][:] = 0
  attributed.maps['gradient_x_input'][:, 20, 3] = -2.0  # 8.5 px north, 8.5 px east of the centre.
  attributed.maps['gradient_x_input'][:, 12, 11] = 1.0
  table = attribution_maps.attribution_table(attributed)
  rows = table[table['method'] == 'gradient_x_input']
  assert len(table) == 2 * len(rows) == 2 * len(chosen)
  np.testing.assert_allclose(rows['peak_x'], -8.5 * 1.39)
  np.testing.assert_allclose(rows['peak_y'], 8.5 * 1.39)
  np.testing.assert_allclose(rows['within_10mm'], 1 / 3)
  assert np.all(np.isnan(rows['completeness_residual']))
  assert np.all(np.isfinite(table['completeness_residual'][table['method'] == INTEGRATED]))


def test_a_foreign_network_is_attributed():
  survey = make_survey(pairs=3, size=16)
  survey = survey_of_maps(survey.field, survey.label, 1.39, survey.pair)
  module, rows = Foreign(), np.arange(len(survey))
  params = initial(module, survey.field)
  subject = Subject('theirs', MEMBERS, adapt(module, params, survey.field, 1.39), params, FoldRows(rows, rows, rows))
  attributed = attribution_maps.attribute_subjects([subject], survey, PATHS, SMALL, 0)
  for method in PATHS:
    added = attributed.maps[method].sum(axis=(1, 2)) + attributed.baseline_logit[method]
    np.testing.assert_allclose(added, attributed.logit, atol=0.2 * np.std(attributed.logit))
