import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.interpret import response
from hearjax.interpret.maps import draw_backgrounds
from hearjax.interpret.probes import PARAMETERS, create_fields, measure_probes
from hearjax.interpret.response import Plane, Sweep, respond
from hearjax.models.network import ModelSettings, build_model
from hearjax.training.ensemble import member_logits
from tests.conftest import make_survey
from tests.hand_made import make_run

SCALE_MM = 1.39
ONE_LAYER = ModelSettings(widths=(2,), kernels=(1,), strides=(1,), crop_px=32, centre_mm=0.0, log_pool=0.0)


DOMAIN = {'peak_gauss': [50.0, 400.0], 'unsigned_flux_mx': [5e19, 5e20]}
WIDE = {'peak_gauss': [1.0, 1e5], 'unsigned_flux_mx': [1e17, 1e23]}  # A training range that holds everything.


def run_of(settings, params, members=1, survey=None, **domain):
  """Returns a run of equal members whose test fold is the whole survey."""
  return make_run(survey or make_survey(pairs=4), settings, [params] * members, **(DOMAIN | domain))


def flux_meter(gain=1.0):
  """Returns parameters with which `ONE_LAYER` gives the mean of |B| in units of 100 G: relu(B) + relu(-B)."""
  return {
    'params': {
      'convolution_0': {'kernel': np.array([[[[1.0, -1.0]]]]), 'bias': np.zeros(2)},
      'logit': {'kernel': gain * np.ones((2, 1)), 'bias': np.zeros(1)},
    }
  }


SMALL = {'n_scales': 6, 'n_strengths': 3, 'samples': 4, 'backgrounds': ('none',)}
MILD = {**SMALL, 'peaks_gauss': (20.0, 200.0), 'fluxes_mx': (1e18, 1e19)}  # Nothing is clipped at 1000 G.


@pytest.fixture(scope='module')
def meter():
  return run_of(ONE_LAYER, flux_meter())


def test_a_flux_meter_is_flat_at_fixed_flux_and_its_logit_is_the_flux(meter):
  for family in ('spot', 'random'):
    _, plane = respond(meter, Sweep(families=(family,), derivatives=True, **MILD))
    assert (plane.fixed, plane.background) == ('flux', 'none')
    expected = plane.strength / (32 * 32 * SCALE_MM**2 * 1e16) / 100  # Mean |B| in units of 100 G.
    np.testing.assert_allclose(plane.logit[0], np.broadcast_to(expected, (6, 3)), rtol=1e-4)
    np.testing.assert_allclose(plane.change, plane.logit, rtol=1e-5)
    # By hand: d logit / d ln(flux) is the logit, and nothing else changes the flux.
    np.testing.assert_allclose(plane.gradient['ln_strength'], plane.logit, rtol=1e-4)
    np.testing.assert_allclose(plane.gradient['ln_scale'], 0, atol=1e-4 * plane.logit.max())
    np.testing.assert_allclose(plane.flux_mx, np.broadcast_to(plane.strength, (6, 3)), rtol=1e-4)


def test_at_fixed_peak_the_flux_of_a_spot_grows_with_its_area(meter):
  plane, _ = respond(meter, Sweep(families=('spot',), scales_mm=(5.0, 10.0), derivatives=True, **MILD))
  assert plane.fixed == 'peak'
  np.testing.assert_allclose(plane.logit[0, -1] / plane.logit[0, 0], 4, rtol=0.1)  # Pixels average a small peak away.
  np.testing.assert_allclose(plane.gradient['ln_scale'][0, -1], 2 * plane.logit[0, -1], rtol=0.1)
  assert np.isnan(plane.gradient['ln_width']).all() and np.isnan(plane.gradient['imbalance']).all()


def test_a_clipping_network_prefers_large_fields_at_fixed_flux():
  run = run_of(dataclasses.replace(ONE_LAYER, limit_gauss=100.0), flux_meter(), **WIDE)
  _, plane = respond(run, Sweep(families=('spot',), fluxes_mx=(1e20, 1e21), **SMALL))
  (row,) = [row for row in response.maximum_table([plane]) if row['within'] == 'plane']
  assert row['scale_mm'] > 0.9 * plane.scale_mm[-1] and row['scale_at_edge'] == 1
  found = response.small_and_intense([plane])[0]
  assert found['determined'] and not found['found'] and (found['small'], found['intense']) == (0, 1)


def test_small_and_intense_is_found_where_the_network_squares_the_field():
  # relu(|B| - 50 G): what is weak gives nothing, so that at fixed flux a small field gives most.
  params = flux_meter()
  params['params']['convolution_0']['bias'] = np.full(2, -0.5)
  run = run_of(ONE_LAYER, params, members=2, **WIDE)
  sweep = Sweep(families=('bipole', 'spot'), fluxes_mx=(5e18, 2e20), **SMALL)
  found = response.small_and_intense(list(respond(run, sweep)))
  assert list(found['family']) == ['bipole', 'spot'] and found['found'].all() and list(found['both']) == [2, 2]
  assert found['determined'].all() and list(found['inside']) == list(found['points']) == [18, 18]


def test_a_network_with_a_scale_of_its_own_is_found_out():
  # A matched filter: the second difference over +-5 px (6.95 Mm) answers most to poles that far apart, along the rows.
  kernel = np.zeros((11, 11, 1, 2))
  kernel[5, [0, 5, 10], 0, 0] = -1, 2, -1
  kernel[5, [0, 5, 10], 0, 1] = 1, -2, 1
  params = flux_meter()
  params['params']['convolution_0'] = {'kernel': kernel, 'bias': np.full(2, -2.0)}
  run = run_of(dataclasses.replace(ONE_LAYER, kernels=(11,), limit_gauss=1e4), params)
  # The pole in the middle is worth 2 and the one at the end 1: just above 3 / 2 of it the bias leaves the pair alone.
  sweep = Sweep(
    families=('point_bipole',), scales_mm=(3.0, 16.0), fluxes_mx=(1e19, 2e19), tilt_deg=0.0, width_mm=1.0,
    n_scales=16, n_strengths=2, samples=8, backgrounds=('none',),
  )  # fmt: skip
  plane = list(respond(run, sweep))[1]
  row = response.maximum_table([plane])[0]
  assert row['scale_at_edge'] == 0
  np.testing.assert_allclose(row['scale_mm'], 5 * SCALE_MM, rtol=0.1)


def test_derivatives_are_those_of_the_output():
  settings = ModelSettings(widths=(4, 4), kernels=(3, 3), strides=(2, 1), crop_px=32)
  model = build_model(settings, SCALE_MM)
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32)))
  rng = np.random.default_rng(3)
  run = run_of(settings, jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape), shapes))
  base = {'families': ('bipole',), 'n_scales': 2, 'n_strengths': 2, 'samples': 3, 'backgrounds': ('quiet',)}
  fixed = {'scales_mm': (6.0, 9.0), 'peaks_gauss': (100.0, 300.0), 'fluxes_mx': (1e20, 2e20), 'width_mm': 2.0}
  centre = list(respond(run, Sweep(derivatives=True, **base, **fixed)))
  for name, change in (
    ('ln_width', lambda f: {'width_mm': 2.0 * f}),
    ('ln_scale', lambda f: {'scales_mm': (6.0 * f, 9.0 * f)}),
    ('ln_strength', lambda f: {'peaks_gauss': (100.0 * f, 300.0 * f), 'fluxes_mx': (1e20 * f, 2e20 * f)}),
  ):
    ahead, behind = (list(respond(run, Sweep(**base, **(fixed | change(np.exp(step)))))) for step in (0.01, -0.01))
    for at, plus, minus in zip(centre, ahead, behind, strict=True):
      assert plus.gradient == {}  # Not asked for.
      np.testing.assert_allclose(at.gradient[name], (plus.logit - minus.logit) / 0.02, rtol=0.05, atol=0.03)


def test_scores_do_not_depend_on_the_chunk(meter):
  _, _, probes = response._plan(meter, 'bipole', Sweep(**SMALL), 0)
  member = next(meter.members())
  behind = np.random.default_rng(0).normal(size=(4, 32, 32)).astype(np.float32)
  arguments = (meter.ensemble.model, [member.params], probes, [behind])
  (scored,), (described,), derivatives = measure_probes(*arguments, chunk=7)
  (at_once,), (same,), _ = measure_probes(*arguments)
  np.testing.assert_allclose(at_once, scored, rtol=1e-5)
  np.testing.assert_allclose(same, described, rtol=1e-5)
  assert derivatives is None
  # By the network's own front door.
  made = np.asarray(jax.jit(create_fields)(probes)) + behind[probes.background]
  logits = jax.jit(meter.ensemble.model.apply)(member.params, made)
  np.testing.assert_allclose(logits, scored, rtol=1e-4)


def test_every_network_sees_the_fields_in_front_of_its_own_background(meter):
  _, _, probes = response._plan(meter, 'bipole', Sweep(**SMALL), 0)
  model, params = meter.ensemble.model, next(meter.members()).params
  doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
  behind = list(np.random.default_rng(0).normal(size=(2, 4, 32, 32)).astype(np.float32))
  together = measure_probes(model, [params, doubled], probes, behind)
  for number, member in enumerate((params, doubled)):
    alone = measure_probes(model, [member], probes, behind[number : number + 1])
    for many, one in zip(together[:2], alone[:2], strict=True):
      np.testing.assert_allclose(many[number], one[0], rtol=1e-5)


def test_one_compilation_for_all_members_backgrounds_and_strengths():
  run = run_of(dataclasses.replace(ONE_LAYER, scale_gauss=77.0), flux_meter(), members=3)
  before = member_logits.compiled()._cache_size()
  planes = list(respond(run, Sweep(families=('spot',), **(SMALL | {'backgrounds': response.BACKGROUNDS}))))
  assert len(planes) == 6 and planes[0].logit.shape == (3, 6, 3)
  assert member_logits.compiled()._cache_size() == before + 1


def test_quiet_backgrounds_are_control_regions_or_what_is_given(meter):
  member = next(meter.members())
  drawn = draw_backgrounds(meter, member, 'quiet', 40, 0.6, 0)
  controls = meter.survey.field[np.asarray(meter.survey.label) == 0]
  assert all((patch == controls).all(axis=(1, 2)).any() for patch in drawn)
  given = draw_backgrounds(meter, member, 'quiet', 40, 0.6, 0, quiet=np.full((2, 32, 32), 3.0))
  np.testing.assert_array_equal(given, 3.0)
  noise = draw_backgrounds(meter, member, 'noise', 40, 0.6, 0)
  np.testing.assert_allclose(noise.std(), 0.6, rtol=0.05)


def test_missing_pixels_of_a_background_stay_missing(meter):
  quiet = np.zeros((1, 32, 32), np.float32)
  quiet[:, :, :16] = np.nan  # Half of the field is not seen.
  sweep = Sweep(families=('random',), place_mm=0.0, **(MILD | {'backgrounds': ('quiet',)}))
  _, plane = respond(meter, sweep, quiet=quiet)
  whole = plane.strength / (32 * 32 * SCALE_MM**2 * 1e16) / 100
  np.testing.assert_allclose(plane.logit[0, 0], whole / 2, rtol=0.1)


def hand_plane(change, inside=None):
  change = np.asarray(change, float)
  scale, strength = np.geomspace(3, 24, change.shape[1]), np.geomspace(1e19, 1e21, change.shape[2])
  flux = np.broadcast_to(strength, change.shape[1:])
  inside = np.ones(change.shape[1:], bool) if inside is None else inside
  gradient = dict.fromkeys(PARAMETERS, change)
  return Plane('bipole', 'quiet', 'flux', scale, strength, change - 1, change, gradient, flux / 1e18, flux, inside)


def test_maximum_by_hand():
  # Four scales 3, 6, 12, 24; a parabola in the logarithm about ln 6 + 0.25 ln 2 for every member.
  ln = np.arange(4.0)
  change = np.stack([10 - (ln - 1.25) ** 2 for _ in range(3)])[..., None] + np.array([0.0, 2.0, 1.0])
  row = response.maximum_table([hand_plane(change)])[0]
  np.testing.assert_allclose(row['scale_mm'], 6 * 2**0.25, rtol=1e-6)
  np.testing.assert_allclose(row['flux_mx'], 1e20)
  assert (row['scale_at_edge'], row['strength_at_edge'], row['members']) == (0, 0, 3)


def test_maximum_within_the_training_range():
  change = np.zeros((2, 4, 3))
  change[:, 3, 2], change[:, 1, 0] = 9.0, 4.0
  inside = np.zeros((4, 3), bool)
  inside[:, 0] = True
  whole, training = response.maximum_table([hand_plane(change, inside)])
  assert (whole['within'], training['within']) == ('plane', 'training')
  np.testing.assert_allclose((whole['scale_mm'], whole['scale_at_edge'], whole['strength_at_edge']), (24, 2, 2))
  np.testing.assert_allclose((training['scale_mm'], training['change']), (6, 4))
  assert training['strength_at_edge'] == 2  # A single strength was searched.
  assert (whole['inside'], training['inside']) == (0, 2)


def test_small_and_intense_looks_within_the_training_range_alone():
  # Within it, 3 and 6 Mm at the two weaker fluxes and 12 Mm besides: there small and intense fields give most.
  inside = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
  change = np.array([[3.0, 4.0, -9.0], [2.0, 3.0, -9.0], [1.0, 2.0, -9.0], [9.0, 9.0, 9.0]])
  plane = hand_plane(np.stack([change, change, -change]), inside)
  (row,) = response.small_and_intense([plane])
  assert (row['points'], row['inside']) == (12, 6) and row['determined'] and row['found']
  assert (row['small'], row['intense'], row['both'], row['members']) == (2, 2, 2, 3)
  # On the whole plane it is the other way round.
  assert not response.small_and_intense([hand_plane(plane.change)])['found'][0]


@pytest.mark.parametrize('left', [np.s_[:, :1], np.s_[:2, :], np.s_[:0]])  # One flux, two scales, nothing.
def test_a_finding_is_not_determined_where_too_little_is_inside(left):
  inside = np.zeros((4, 3), bool)
  inside[left] = True
  change = np.array([[3.0, 4.0, 5.0], [2.0, 3.0, 4.0], [1.0, 2.0, 3.0], [0.0, 1.0, 2.0]])[None]
  (row,) = response.small_and_intense([hand_plane(change, inside)])
  assert row['inside'] == inside.sum() and not row['determined'] and not row['found']


def test_response_table_has_a_row_for_each_point():
  change = np.arange(2 * 4 * 3.0).reshape(2, 4, 3)
  table = response.response_table([hand_plane(change)])
  assert len(table) == 12
  row = table[(table['scale_mm'] == 24) & (table['flux_mx'] == 1e21)][0]
  np.testing.assert_allclose((row['logit'], row['change'], row['logit_std']), (16, 17, 6))
  assert str(table['d_tilt_deg'].unit) == '1 / deg' and str(table['scale_mm'].unit) == 'Mm'


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'families': ('tripole',)}, "Unknown families 'tripole'; known are bipole, point_bipole"),
    ({'backgrounds': ('plage',)}, "Unknown backgrounds 'plage'; known are none, noise, quiet"),
    ({'families': ()}, 'at least one family'),
    ({'scales_mm': (9.0, 9.0)}, r'scales_mm must be two finite positive numbers, .*got \[9.0, 9.0\]'),
    ({'fluxes_mx': (1e20,)}, 'fluxes_mx must be two'),
    ({'peaks_gauss': (10.0, float('inf'))}, 'peaks_gauss must be two finite'),
    ({'n_scales': 1}, 'at least two scales'),
    ({'noise_gauss': float('nan')}, 'noise_gauss must be finite'),
  ],
)
def test_sweeps_that_make_no_sense(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    Sweep(**settings)


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'scales_mm': (1.0, 9.0)}, 'cannot resolve a scale of 1 Mm'),
    ({'scales_mm': (4.0, 300.0)}, 'cannot hold a bipole with a scale of 300 Mm'),
    ({'tilt_deg': float('nan')}, 'tilt_deg of a synthetic field must be finite'),
    ({'width_mm': -1.0}, 'width_mm of a synthetic field must be positive'),
    ({'width_mm': 7.0, 'place_mm': 4.0}, 'resolves no bipole that it can hold'),
  ],
)
def test_sweeps_that_the_grid_cannot_make(meter, settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    list(respond(meter, Sweep(families=('bipole',), **(SMALL | settings))))


def test_a_survey_without_control_regions_is_told():
  survey = make_survey(pairs=4)
  run = run_of(ONE_LAYER, flux_meter(), survey=survey.select(survey.label == 1))
  with pytest.raises(ValueError, match=r'holds no control region .label 0.*use a survey with both classes'):
    list(respond(run, Sweep(**(SMALL | {'backgrounds': ('quiet',)}))))
