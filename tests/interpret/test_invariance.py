"""Invariance panel: networks that read strength, place, polarity or pattern by construction."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.interpret import invariance
from hearjax.interpret.findings import SKILL, SUPPORTED, judge, skill
from hearjax.interpret.invariance import (
  CHANGES,
  COSTING,
  STATES,
  Batch,
  draw_element_signs,
  invariance_table,
  samples,
  show,
)
from hearjax.interpret.maps import MEMBERS, Subject, members_of, subject_logits, survey_of_maps
from hearjax.interpret.network import adapt, logits
from hearjax.interpret.references import ReferenceSettings, make_references
from hearjax.interpret.statistics import Draws
from hearjax.report.invariance_plots import plot_invariance
from hearjax.survey.fold_rows import FoldRows
from hearjax.verification.scores import tss_at
from tests.conftest import make_survey
from tests.hand_made import make_run, one_layer, polarity_flux, with_fields
from tests.interpret.foreign import Foreign, initial

SIZE = 32
SCALE_MM = 1.39


def survey_of(draw, pairs=8):
  return with_fields(make_survey(pairs=pairs, intervals=(-1,), size=SIZE), draw)


def rows_of(table, name):
  return table[table['name'] == name]


def row_of(table, name):
  return rows_of(table, name)[0]


def learnt(run):
  """Returns the networks of a run, which learnt from what they are tested on: their threshold is of the same maps."""
  return [
    Subject(one.name, one.group, one.network, one.params, FoldRows(one.rows.test, np.array([], int), one.rows.test))
    for one in members_of(run)
  ]


def shown(run, resamples=100, states=STATES):
  return show(learnt(run), run.survey, Draws.of(run.survey, resamples, 0), 0, states)


# --- Worlds, and networks that read what tells their classes apart ---------------------------------------------


def stronger(rng, label):
  """The classes differ in strength alone."""
  return rng.normal(0, 20 * np.exp(0.5 * label + 0.1 * rng.normal()), (SIZE, SIZE))


def central(rng, label):
  """As much flux in both classes, near the centre in PE and far from it in NE."""
  axis = np.arange(SIZE) - (SIZE - 1) / 2
  near = np.hypot(axis[:, None], axis) < 10
  field = np.zeros((SIZE, SIZE))
  places = rng.permutation(np.flatnonzero(near == label))[:150]
  field.flat[places] = 100 * rng.choice((-1, 1), 150)
  return field + rng.normal(0, 2, field.shape)


def positive(rng, label):
  """As much unsigned flux in both classes, positive on the whole in PE and negative in NE."""
  sign = np.where(rng.random((SIZE, SIZE)) < 0.6, 1, -1) * (1 if label else -1)
  return sign * np.abs(rng.normal(0, 50, (SIZE, SIZE)))


def dipoles(rng, label):
  """Pixels in pairs, 2 px apart, of opposite sign in PE and of drawn signs in NE."""
  first = rng.choice((-1, 1), (SIZE // 2, SIZE // 8))
  second = -first if label else rng.choice((-1, 1), first.shape)
  field = np.zeros((SIZE, SIZE))
  field[::2, ::8], field[::2, 2::8] = 50 * first, 50 * second
  return field


def dominoes(rng, label):
  """Neighbours in pairs of one sign in PE, the same number of single pixels in NE."""
  field = np.zeros((SIZE, SIZE))
  sign = 50 * rng.choice((-1, 1), (SIZE // 2, SIZE // 4))
  field[::2, ::4], field[::2, (1 if label else 2) :: 4] = sign, sign
  return field


def dipole_network():
  """Returns a network that fires where two pixels, 2 px apart, differ by more than either can alone."""
  kernel = np.zeros((5, 5, 2))
  kernel[2, 2], kernel[2, 4] = (1, -1), (-1, 1)
  return one_layer(kernel, bias=-60.0)


def domino_network():
  """Returns a network that fires where two neighbours of one sign add to more than either has alone."""
  kernel = np.zeros((3, 3, 2))
  kernel[1, 1], kernel[1, 2] = (1, -1), (1, -1)
  return one_layer(kernel, bias=-60.0)


@pytest.mark.parametrize(
  ('draw', 'network', 'expected'),
  [
    (stronger, polarity_flux(log_pool=0.1), set()),
    (central, polarity_flux(centre_mm=8.0, logit=[0, 0, 1, 1]), {'arrangement'}),
    (positive, polarity_flux(logit=[1, -1]), {'polarities', 'sign'}),
    (dipoles, dipole_network(), {'arrangement', 'structure', 'polarities'}),
    (dominoes, domino_network(), {'arrangement', 'structure'}),
  ],
)
def test_what_costs_skill_is_what_the_network_reads(draw, network, expected):
  found = samples(shown(make_run(survey_of(draw, pairs=20), *network, folds=2), states=COSTING))
  lost = {claim.name: np.mean(of[MEMBERS], axis=0) for claim, of in found.items()}
  assert {name for name, values in lost.items() if np.percentile(values[1:], 2.5) > invariance.SMALLEST} == expected


# --- Hand values ------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def strength_table():
  run = make_run(survey_of(stronger), *polarity_flux(), folds=2)
  return run, invariance_table(shown(run), seed=0)


def said(run):
  """Returns `[n]` logits of a run for the maps of its survey."""
  result = np.zeros(len(run.survey))
  for subject in members_of(run):
    result[subject.rows.test] = subject_logits(subject, run.survey)
  return result


def test_meter_of_the_mean_unsigned_field_does_not_mind_symmetries(strength_table):
  _, table = strength_table
  for name in (
    'unchanged',
    'polarity reversed',
    'Hale swap',
    'unsigned field',
    'signs of elements drawn',
    'signs of pixels drawn',
    'pixels shuffled',
    'pixels shuffled in rings',
    'mirrored in longitude',
    'mirrored in latitude',
    'transposed',
    'rotated',
    'shifted north',
    'shifted east',
  ):
    for row in rows_of(table, name):
      assert row['rms_change'] < 1e-5
      assert row['tss_change'] == row['tss_change_low'] == row['tss_change_high'] == 0


def test_gain_changes_the_logit_of_a_linear_meter_by_its_share(strength_table):
  run, table = strength_table
  logit, label = said(run), run.survey.label
  for row in rows_of(table, 'gain'):
    moved = (row['strength'] - 1) * logit
    assert row['change_pe'] == pytest.approx(moved[label == 1].mean(), rel=1e-4)
    assert row['change_ne'] == pytest.approx(moved[label == 0].mean(), rel=1e-4)
    folds = [run.survey.pair % 2 == fold for fold in range(2)]
    of_folds = [np.sqrt(np.mean(moved[fold] ** 2)) / logit[fold].std() for fold in folds]
    assert row['rms_change'] == pytest.approx(np.mean(of_folds), rel=1e-4)
  # At double gain all maps are above the threshold in the middle of them, but their order is the same.
  double = rows_of(table, 'gain')[-1]
  assert double['tss'] == 0 and double['tss_change'] == -row_of(table, 'unchanged')['tss']
  assert double['auc'] == row_of(table, 'unchanged')['auc']


def test_unchanged_skill_is_that_at_the_threshold_of_the_training(strength_table):
  run, table = strength_table
  expected = []
  for subject in learnt(run):
    threshold = invariance.trained_threshold(subject, run.survey)
    expected.append(tss_at(run.survey.label[subject.rows.test], subject_logits(subject, run.survey), threshold))
  assert row_of(table, 'unchanged')['tss'] == pytest.approx(np.mean(expected))


def test_saturation_and_blur_take_flux_away(strength_table):
  _, table = strength_table
  for name in ('saturated', 'blurred'):
    moved = rows_of(table, name)['change_pe']
    assert np.all(np.diff(moved) <= 0) and moved[-1] < -1


def test_a_map_draws_the_same_whichever_maps_stand_beside_it(strength_table):
  run, _ = strength_table
  rows = np.arange(len(run.survey))
  for name, strength in (('pixels shuffled', np.nan), ('signs of elements drawn', np.nan), ('noise added', 10.0)):
    whole = changed(name, run, strength)
    np.testing.assert_allclose(changed(name, run, strength, rows[3:7]), whole[3:7], rtol=1e-5)


def test_every_row_says_what_it_is(strength_table, tmp_path):
  _, table = strength_table
  assert len(table) == sum(len(change.strengths) for change in CHANGES)
  assert len({(row['name'], str(row['strength'])) for row in table}) == len(table)
  assert all(table['effect']) and all(table['kind']) and all(table['unit'])
  table.write(tmp_path / 'panel.ecsv')
  read = Table.read(tmp_path / 'panel.ecsv')
  plot_invariance(read, 'test', tmp_path / 'panel.png')
  assert (tmp_path / 'panel.png').stat().st_size > 10_000


# --- Changes ------------------------------------------------------------------------------------------------------


def changed(name, run, strength=np.nan, rows=None):
  """Returns the maps of some rows of the survey after a change; of all of them for None."""
  change = next(change for change in CHANGES if change.name == name)
  rows = np.arange(len(run.survey)) if rows is None else rows
  return np.asarray(change.apply(Batch(run.survey, run.visible_px, 0, run.survey.field[rows], rows), strength))


@pytest.fixture(scope='module')
def run():
  return make_run(survey_of(stronger), *polarity_flux(crop_px=24))


def test_elements_keep_together_when_they_draw_their_signs():
  field = np.array([[5.0, 4.0, 0.0, -1.0], [np.nan, 3.0, -2.0, -2.0], [7.0, 0.0, 0.0, 6.0]])
  seen = set()
  for seed in range(150):
    drawn = draw_element_signs(field[None], np.array([[seed, 0]]))[0]
    np.testing.assert_array_equal(np.abs(drawn), np.abs(field))
    one, two = np.sign(drawn[[0, 0, 1], [0, 1, 1]]), np.sign(drawn[[0, 1, 1], [3, 2, 3]])
    assert np.ptp(one) == np.ptp(two) == 0
    seen.add((one[0], two[0], np.sign(drawn[2, 0]), np.sign(drawn[2, 3])))
  assert len(seen) == 16  # Four elements, all combinations.


def test_ring_shuffle_keeps_what_is_at_each_distance(run):
  before = run.survey.field[:, 4:28, 4:28]
  after = changed('pixels shuffled in rings', run)
  axis = np.arange(24) - 11.5
  ring = np.hypot(axis[:, None], axis) // invariance.RING_PX
  for number in np.unique(ring):
    np.testing.assert_array_equal(np.sort(after[:, ring == number]), np.sort(before[:, ring == number]))
  assert np.mean(after == before) < 0.1


def test_hale_swap_is_the_region_of_the_other_hemisphere(run):
  np.testing.assert_array_equal(changed('Hale swap', run), -run.survey.field[:, ::-1])


def test_limb_is_on_the_side_of_the_region(run):
  spot = np.zeros_like(run.survey.field)
  spot[:, 15:17, 15:17] = 1000.0
  seen = changed('seen nearer to the limb', make_run(run.survey.replace(field=spot), *polarity_flux()), 60)
  west = run.survey.cmd >= 0
  assert 0 < np.sum(west) < len(west)
  assert np.all(seen[west, 15, 20] < 0) and np.all(seen[west, 15, 11] > 0)
  assert np.all(seen[~west, 15, 11] < 0) and np.all(seen[~west, 15, 20] > 0)


@pytest.mark.parametrize(('part', 'size'), [(5 / 6, 20), (2 / 3, 16), (0.5, 12)])
def test_smaller_map_is_the_middle(run, part, size):
  first = (SIZE - size) // 2
  expected = run.survey.field[:, first : first + size, first : first + size]
  np.testing.assert_array_equal(changed('smaller map', run, part), expected)


def test_larger_map_changes_nothing(run):
  # The network cuts out its square; so do whole maps and maps already cut give the same logit.
  subject = members_of(run)[0]
  whole = logits(subject.network, subject.params, run.survey.field)
  np.testing.assert_allclose(whole, logits(subject.network, subject.params, run.survey.field[:, 4:28, 4:28]), rtol=1e-6)


@pytest.mark.parametrize(
  ('compiled', 'name'),
  [
    (invariance._add_noise, 'noise added'),
    (invariance._blur, 'blurred'),
    (invariance._tilt_line_of_sight, 'seen nearer to the limb'),
    (invariance._shift, 'shifted east'),
  ],
)
def test_strengths_share_one_compilation(run, compiled, name):
  first = changed(name, run, 1.0)
  before = compiled._cache_size()
  assert np.any(changed(name, run, 2.0) != first)
  assert compiled._cache_size() == before


def test_missing_pixels_stay_harmless():
  survey = survey_of(stronger)
  field = survey.field.copy()
  field[:, 10:14, 12:20] = np.nan
  table = invariance_table(shown(make_run(survey.replace(field=field), *polarity_flux(), folds=2), 20), seed=0)
  for name in ('polarity reversed', 'pixels shuffled', 'signs of elements drawn'):
    assert row_of(table, name)['rms_change'] < 1e-5


# --- Who is asked -------------------------------------------------------------------------------------------------


def test_references_are_asked_what_claims_need_alone():
  run = make_run(survey_of(stronger), *polarity_flux(), folds=2)
  reference = [Subject('other', 'untrained', one.network, one.params, one.rows) for one in learnt(run)]
  table = invariance_table(show([*learnt(run), *reference], run.survey, Draws.of(run.survey, 20, 0), 0), seed=0)
  of_reference = table[table['networks'] == 'untrained']
  assert set(of_reference['name']) == invariance.NEEDED
  # The same networks on the same maps.
  for row in of_reference:
    assert row['auc'] == row_of(table[table['networks'] == MEMBERS], row['name'])['auc']


def test_a_foreign_network_is_shown_all_of_it():
  survey = survey_of(stronger)
  survey = survey_of_maps(survey.field, survey.label, SCALE_MM, survey.pair)
  module, rows = Foreign(), np.arange(len(survey))
  params = initial(module, survey.field)
  subject = Subject(
    'theirs', MEMBERS, adapt(module, params, survey.field, SCALE_MM), params, FoldRows(rows, rows, rows)
  )
  found = show([subject], survey, Draws.of(survey, 20, 0), 0)
  assert len(found) == len(STATES)
  assert np.isfinite(invariance_table(found, 0)['auc']).all()


def test_parameters_that_are_not_finite_are_refused():
  run = make_run(survey_of(stronger), *polarity_flux(logit=np.inf))
  with pytest.raises(UserError, match='are not finite'):
    show(learnt(run), run.survey, Draws.of(run.survey, 20, 0), 0)


# --- Worlds whose answer is known ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
  ('world', 'expected'),
  [('pattern_small', {'arrangement', 'structure', 'polarities'}), ('flux', set()), ('null', set())],
)
def test_networks_are_found_to_read_what_is_there(known_world, world, expected):
  run = known_world(world)
  subjects = [*members_of(run), *make_references(run, ReferenceSettings(), 0)]
  draws = Draws.of(run.survey, 200, 0)
  found = judge(
    {SKILL: skill(subjects, run.survey, draws), **samples(show(subjects, run.survey, draws, 0, COSTING))}, 0
  )
  supported = set(found['claim'][found['verdict'] == SUPPORTED]) - {'skill'}
  assert supported == expected
