"""Synthetic fields: they have the flux that is fixed, lie alike, are as strong as maps, and are shown in quiet Sun."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from hearjax.checks import UserError
from hearjax.interpret import network, planting, synthetic
from hearjax.interpret.maps import MEMBERS, Subject, members_of, survey_of_maps
from hearjax.interpret.network import adapt
from hearjax.interpret.synthetic import NONE, NOTHING, SyntheticSettings, create_fields, measure, size_axes
from hearjax.maps.synthetic import FAMILIES, Grid
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.fold_rows import FoldRows
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux
from tests.interpret.foreign import Foreign, initial

GRID = Grid(48, 1.39)
PIXEL_MX = 1.39**2 * 1e16  # 1 G over one pixel [Mx].
SMALL = SyntheticSettings(families=('bipole', 'spot'), sizes=3, fluxes=2, samples=4)


@pytest.fixture(scope='module')
def survey():
  return make_survey(pairs=8, size=48)


def subjects_of(survey, params=None, folds=1, **settings):
  made, ours = polarity_flux(**settings)
  return members_of(make_run(survey, made, params or ours, folds))


@pytest.fixture(scope='module')
def meter(survey):
  return subjects_of(survey)


# --- Fields -------------------------------------------------------------------------------------------------------


def test_fields_have_the_flux_that_is_fixed():
  fields = create_fields(GRID, dataclasses.replace(SMALL, families=tuple(FAMILIES), window_mm=6.0), 0)
  axis = (np.arange(48) - 23.5) * 1.39
  window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 36))  # Within 2 % of 1 on the four pixels in the middle.
  total, weighted = np.abs(fields.field.astype(float))
  np.testing.assert_allclose(total.sum(axis=(-2, -1)) * PIXEL_MX, 1e20, rtol=1e-4)
  np.testing.assert_allclose((weighted * window).sum(axis=(-2, -1)) * PIXEL_MX, 1e20, rtol=0.02)
  spread = (weighted * window).sum(axis=(-2, -1))
  np.testing.assert_allclose(spread, spread.mean(), rtol=1e-4)


def test_width_and_distance_are_two_axes_and_all_lie_alike():
  fields = create_fields(GRID, dataclasses.replace(SMALL, families=tuple(FAMILIES)), 0)
  bipoles = fields.points[fields.points['family'] == 'bipole']
  assert len(bipoles) == 9 and len(set(zip(bipoles['width_mm'], bipoles['distance_mm'], strict=True))) == 9
  for name in ('x_mm', 'y_mm', 'tilt_deg'):
    of_family = [np.asarray(getattr(shape, name)).reshape(-1, 4) for shape in fields.shapes.values()]
    assert all((rows == of_family[0][0]).all() for rows in of_family)  # One of each for a sample, at all points.
  # By moments: a spot's full width at half maximum, a wide one so that pixels do not matter.
  field = fields.field[0, np.flatnonzero(fields.points['family'] == 'spot')[-1], 0].astype(float)
  axis = (np.arange(48) - 23.5) * 1.39
  weight = field.sum(axis=0) / field.sum()
  variance = np.sum(weight * axis**2) - np.sum(weight * axis) ** 2
  np.testing.assert_allclose(2.3548 * np.sqrt(variance), 8.0, rtol=0.02)


def test_the_grid_holds_the_widest_pair_placed_farthest():
  axes = size_axes(GRID, SMALL)
  np.testing.assert_allclose(axes['width'][[0, -1]], (2.78, 8.0))
  np.testing.assert_allclose(axes['distance'][[0, -1]], (2.78, 20.0))  # Four radii of the window.
  small = size_axes(Grid(24, 1.39), SMALL)
  room = 12 * 1.39 - 4.0
  np.testing.assert_allclose(small['distance'][-1] / 2 + 3 * small['width'][-1] / 2.3548, room, rtol=1e-3)
  create_fields(Grid(24, 1.39), dataclasses.replace(SMALL, families=tuple(FAMILIES)), 0)


@pytest.mark.parametrize(
  ('grid', 'changes', 'sentence'),
  [
    (Grid(12, 1.39), {}, 'A square of 12 px of 1.39 Mm holds no range of pole widths'),
    (GRID, {'widths_mm': (3.0, 40.0)}, 'holds no range of pole distances'),
    (GRID, {'distances_mm': (1.0, 9.0)}, 'cannot resolve a scale of 1 Mm'),
    (GRID, {'distances_mm': (5.0, 90.0)}, 'cannot hold a bipole with a scale of 90 Mm'),
  ],
)
def test_what_the_grid_cannot_hold_is_told(grid, changes, sentence):
  with pytest.raises(UserError, match=sentence):
    create_fields(grid, dataclasses.replace(SMALL, **changes), 0)


def test_no_field_is_stronger_than_the_maps(survey, meter):
  fields = create_fields(GRID, SMALL, 0)
  fluxes, inside = synthetic.choose_fluxes(meter, survey, fields, SMALL)
  assert inside.all()
  np.testing.assert_allclose(fluxes[:, 1] / fluxes[:, 0], 4.0)
  size = np.abs(survey.field.astype(float))
  most_flux, most_peak = (np.percentile(values, 99) for values in (size.sum(axis=(1, 2)) * PIXEL_MX, size.max((1, 2))))
  quiet = np.median(size[survey.label == 0].sum(axis=(1, 2))) * PIXEL_MX
  for family in ('bipole', 'spot'):
    chosen = fields.points['family'] == family
    shown = np.abs(fields.field[:, chosen]) * (fluxes[:, 1, chosen] / 1e20)[..., None, None, None]
    flux = shown.sum(axis=(-2, -1)).mean(axis=-1) * PIXEL_MX + quiet
    peak = shown.max(axis=(-2, -1)).mean(axis=-1)
    nearest = np.maximum(flux / most_flux, peak / most_peak).max(axis=1)
    assert np.all(flux <= most_flux * (1 + 1e-4)) and np.all(peak <= most_peak * (1 + 1e-4))
    # At one end: the flux to quiet's, or the peak; then it is the largest such flux.
    assert np.all((nearest > 1 - 1e-4) | ((flux - quiet).max(axis=1) > (most_flux - quiet) * (1 - 1e-4)))
  given = dataclasses.replace(SMALL, fluxes_mx=(1e18, 1e23))
  fluxes, inside = synthetic.choose_fluxes(meter, survey, fields, given)
  assert inside[0, 0].all() and not inside[0, 1].any()


def test_maps_without_a_stronger_one_give_no_flux(meter):
  flat = make_survey(pairs=4, size=48).replace(field=np.full((16, 48, 48), 5.0, np.float32))
  with pytest.raises(UserError, match='no map is stronger than its quiet Sun; give fluxes_mx and window_fluxes_mx'):
    measure(subjects_of(flat), flat, SMALL)


def test_examples_are_of_three_sizes_each():
  table = synthetic.example_fields(GRID, SMALL, 0)
  assert len(table) == 9 + 3 and table['field'].shape == (12, 48, 48)
  np.testing.assert_allclose(np.abs(table['field']).sum(axis=(1, 2)) * PIXEL_MX, 1e20, rtol=1e-4)


# --- What networks are shown --------------------------------------------------------------------------------------


def test_what_is_shown_is_the_field_in_front_of_the_background(survey, meter):
  table = measure(meter, survey, SMALL)
  assert list(table['family'][:1]) == [NOTHING] and len(table) == 1 + 2 * 2 * 12
  backgrounds, pair = planting.draw_backgrounds(meter[0], survey, 4, 0)
  # By hand: the mean of |B| of both together.
  np.testing.assert_allclose(table['logit'][0], np.abs(backgrounds).mean(axis=(1, 2)), rtol=1e-5)
  fields = create_fields(GRID, SMALL, 0)
  row = table[1 + 3 * 12 + 5]  # The larger window flux of the sixth point.
  axis = (np.arange(48) - 23.5) * 1.39
  window = np.exp(-(axis[:, None] ** 2 + axis**2 - 2 * axis[24] ** 2) / 50)

  def missing_flux(factor, field, behind):
    return np.sum(window * (np.abs(factor * field + behind) - np.abs(behind))) * PIXEL_MX - row['flux_mx']

  parts = zip(fields.field[1, 5].astype(float), backgrounds.astype(float), strict=True)
  shown = np.stack([brentq(missing_flux, 0, 10, args=part) * part[0] + part[1] for part in parts])
  assert (row['fixed'], row['width_mm'], row['distance_mm']) == (
    'window',
    fields.points['width_mm'][5],
    fields.points['distance_mm'][5],
  )
  np.testing.assert_allclose(row['logit'], np.abs(shown).mean(axis=(1, 2)), rtol=1e-5)
  assert (table['pair'] == pair).all()
  said = np.abs(survey.field).mean(axis=(1, 2))
  np.testing.assert_allclose(table['spread'], np.std(said), rtol=1e-5)


def test_backgrounds_are_control_maps_of_the_test_part_and_of_different_pairs(survey):
  for subject in subjects_of(survey, folds=2):
    field, pair = planting.draw_backgrounds(subject, survey, 4, 3)
    test = survey.field[subject.rows.test[survey.label[subject.rows.test] == 0]]
    assert all((each == test).all(axis=(1, 2)).any() for each in field)
    assert len(set(pair)) == 4  # As many as there are in a fold.
    again, _ = planting.draw_backgrounds(dataclasses.replace(subject, name='another'), survey, 4, 3)
    np.testing.assert_array_equal(field, again)
    more, pair = planting.draw_backgrounds(subject, survey, 8, 3)
    assert sorted(pair) == sorted(2 * sorted(set(pair))) and len(np.unique(more, axis=0)) == 8


def test_other_backgrounds(survey, meter):
  nothing = measure(meter, survey, dataclasses.replace(SMALL, background=NONE))
  assert (nothing['logit'][0] == 0).all() and (nothing['pair'] == planting.NO_PAIR).all()
  given = measure(meter, survey, SMALL, quiet=np.full((2, 48, 48), 3.0))
  np.testing.assert_allclose(given['logit'][0], 3.0, rtol=1e-5)
  with pytest.raises(UserError, match=r'Patches of quiet Sun must be of 48 px, got \(32, 32\)'):
    measure(meter, survey, SMALL, quiet=np.zeros((2, 32, 32)))


def test_missing_pixels_of_a_background_stay_missing(survey, meter):
  quiet = np.zeros((1, 48, 48), np.float32)
  quiet[:, :, :24] = np.nan  # Half of the field is not seen.
  chosen = dataclasses.replace(SMALL, families=('random',), place_mm=0.0, fluxes_mx=(1e19, 2e19), samples=8)
  table = measure(meter, survey, chosen, quiet=quiet)
  half = table[table['fixed'] == 'total']
  whole = np.asarray(half['flux_mx'])[:, None] / PIXEL_MX / 48**2
  np.testing.assert_allclose(half['logit'].mean(axis=1), whole[:, 0] / 2, rtol=0.15)  # 0 G behind cancels nothing.


def test_a_survey_without_quiet_sun_is_told(meter):
  emerging = make_survey(pairs=4, size=48)
  emerging = emerging.select(emerging.label == 1)
  with pytest.raises(UserError, match=r'no control region .label 0.*no quiet Sun to put a field into'):
    measure(subjects_of(emerging), emerging, SMALL)


def test_networks_of_other_squares_are_asked_one_after_the_other(survey, meter):
  others = subjects_of(survey, crop_px=32)
  with pytest.raises(UserError, match='squares of 32 and 48 px'):
    measure([*meter, *others], survey, SMALL)


def test_nothing_depends_on_the_chunk_and_all_compile_once(survey):
  subjects = subjects_of(survey, folds=2, scale_gauss=77.0)
  before = network._logit.compiled()._cache_size()
  whole = measure(subjects, survey, dataclasses.replace(SMALL, samples=3), chunk=16)
  # One program for the maps of the test part, and one for all fields and backgrounds.
  assert network._logit.compiled()._cache_size() <= before + 3
  parts = measure(subjects, survey, dataclasses.replace(SMALL, samples=3), chunk=7)
  np.testing.assert_allclose(parts['logit'], whole['logit'], rtol=1e-5)


def test_a_foreign_network_is_asked_with_maps_and_labels_alone():
  made = make_survey(pairs=6, size=32)
  survey = survey_of_maps(made.field, made.label, 1.39, made.pair)
  module = Foreign()
  params = initial(module, survey.field)
  rows = np.arange(len(survey))
  none = rows[:0]
  subject = Subject('foreign', MEMBERS, adapt(module, params, survey.field, 1.39), params, FoldRows(none, none, rows))
  table = measure([subject], survey, dataclasses.replace(SMALL, families=('bipole', 'random')))
  assert np.isfinite(table['logit']).all() and len(table) == 1 + 4 * 12


def test_derivatives_are_those_of_the_output(survey):
  settings = ModelSettings(widths=(4, 4), kernels=(3, 3), strides=(2, 1), crop_px=48)
  model = build_model(settings, 1.39)
  shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 48, 48), np.float32))
  rng = np.random.default_rng(3)
  subjects = members_of(make_run(survey, settings, jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape), shapes)))
  sizes = {'widths_mm': (4.0, 6.0), 'distances_mm': (6.0, 9.0), 'fluxes_mx': (1e20, 2e20)}
  base = SyntheticSettings(families=('bipole',), sizes=2, fluxes=2, samples=3, window_fluxes_mx=(1e20, 2e20), **sizes)
  table = measure(subjects, survey, dataclasses.replace(base, derivatives=True))[1:]
  for name, changed in (
    ('d_ln_width', ('widths_mm',)),
    ('d_ln_size', ('distances_mm',)),
    ('d_ln_flux', ('fluxes_mx', 'window_fluxes_mx')),
  ):
    moved = []
    for step in (0.01, -0.01):
      values = {key: tuple(np.exp(step) * value for value in getattr(base, key)) for key in changed}
      moved.append(measure(subjects, survey, dataclasses.replace(base, **values))[1:]['logit'])
    expected = np.asarray(moved[0] - moved[1]) / 0.02
    # ReLUs have kinks, which differences may cross.
    close = np.isclose(table[name], expected, rtol=0.05, atol=0.02 * np.abs(expected).max())
    assert close.mean() > 0.95


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'families': ('tripole',)}, "Unknown families 'tripole'; known are bipole, spot"),
    ({'families': ()}, 'At least one family'),
    ({'background': 'noise'}, "Unknown background 'noise'; known are quiet, none"),
    ({'widths_mm': (9.0, 9.0)}, r'widths_mm must be two finite positive numbers, .*got \[9.0, 9.0\]'),
    ({'window_fluxes_mx': (1e20,)}, 'window_fluxes_mx must be two'),
    ({'sizes': 1}, 'at least two sizes'),
    ({'samples': 0}, 'one sample'),
    ({'place_mm': float('nan')}, 'place_mm must be finite'),
    ({'window_mm': 0.0}, 'window_mm must be positive'),
  ],
)
def test_settings_that_make_no_sense(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    SyntheticSettings(**changes)
