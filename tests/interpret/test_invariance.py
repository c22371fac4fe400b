"""Invariance panel: networks that read strength, place, polarity or pattern by construction."""

import dataclasses
import functools

import numpy as np
import pytest
from astropy.table import Table
from scipy.special import expit

from hearjax.interpret import invariance, maps
from hearjax.interpret.invariance import CHANGES, draw_element_signs, invariance_table
from hearjax.interpret.maps import changed_logits
from hearjax.report.panel_plots import plot_invariance
from hearjax.training.ensemble import member_logits
from hearjax.verification.scores import tss_at
from tests.conftest import make_survey
from tests.hand_made import make_run, one_layer, polarity_flux, with_fields

SIZE = 32
SCALE_MM = 1.39


def survey_of(draw, pairs=8):
  return with_fields(make_survey(pairs=pairs, intervals=(-1,), size=SIZE), draw)


def rows_of(table, name):
  return table[table['name'] == name]


def row_of(table, name):
  return rows_of(table, name)[0]


def only(monkeypatch, names):
  """Lets the panel make some of its changes alone."""
  monkeypatch.setattr(invariance, 'CHANGES', tuple(change for change in CHANGES if change.name in names))


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


# The changes that the verdict follows from, and those that depend on the row of a map.
JUDGED = ('unchanged', 'polarity reversed', 'pixels shuffled', 'pixels shuffled in rings', 'signs of elements drawn')
OF_ROWS = (*JUDGED[2:], 'signs of pixels drawn', 'noise added', 'seen nearer to the limb')


@pytest.mark.parametrize(
  ('draw', 'network', 'verdict'),
  [
    (stronger, polarity_flux(log_pool=0.1), 'strength'),
    (central, polarity_flux(centre_mm=8.0, logit=[0, 0, 1, 1]), 'strength and place'),
    (positive, polarity_flux(logit=[1, -1]), 'polarity'),
    (dipoles, dipole_network(), 'pattern of the polarities'),
    (dominoes, domino_network(), 'pattern of the unsigned field'),
    (stronger, polarity_flux(logit=0.0), 'no skill'),
  ],
)
def test_verdict(monkeypatch, draw, network, verdict):
  only(monkeypatch, JUDGED)
  table = invariance_table(make_run(survey_of(draw), *network, folds=2), seed=0, resamples=100)
  assert table.meta['verdict'] == verdict


def test_shares_and_their_intervals_by_hand():
  # The skill left by the first shuffle is 1/8 of the whole in the first sample and 7/8 in the last, evenly between.
  grid = np.linspace(0, 1, 201)
  whole, shuffled = np.full(201, 0.9), 0.5 + 0.4 * (1 + 6 * grid) / 8
  auc_of = {
    'unchanged': np.append(0.9, whole),
    'polarity reversed': np.append(0.8, 0.5 + 0.4 * (0.5 + grid)),  # Half of the samples gain, and lose nothing.
    'pixels shuffled': np.append(0.75, shuffled),
    'pixels shuffled in rings': np.append(0.86, whole),
    'signs of elements drawn': np.append(0.9, whole - 0.7),  # Worse than chance: all is lost.
  }
  auc_of['unchanged'][1] = 0.4  # A sample without skill, which does not count.
  found = invariance.verdict(auc_of)
  assert found.pop('verdict') == 'strength'
  q = np.percentile(grid[1:], (2.5, 97.5))
  for name, expected in {
    'polarity': (0.25, 0, 0.5 - q[0]),
    'strength': (0.625, (1 + 6 * q[0]) / 8, (1 + 6 * q[1]) / 8),
    'ring_strength': (0.9, 1, 1),
    'neighbours': (0, 1, 1),
  }.items():
    ends = [found.pop(f'share_{name}{end}') for end in ('', '_low', '_high')]
    np.testing.assert_allclose(ends, expected, atol=1e-12)
  assert not found
  assert invariance.verdict(auc_of | {'unchanged': np.append(0.9, 0.4 + grid / 2)}) == {'verdict': 'no skill'}


# --- Hand values ------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def strength_table():
  run = make_run(survey_of(stronger), *polarity_flux(), folds=2)
  return run, invariance_table(run, seed=0, resamples=100)


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
  logit, label = changed_logits(run), run.survey.label
  for row in rows_of(table, 'gain'):
    moved = (row['strength'] - 1) * logit
    assert row['change_pe'] == pytest.approx(moved[label == 1].mean(), rel=1e-4)
    assert row['change_ne'] == pytest.approx(moved[label == 0].mean(), rel=1e-4)
    assert row['rms_change'] == pytest.approx(np.sqrt(np.mean(moved**2)) / logit.std(), rel=1e-4)
  # At double gain all maps are above the threshold in the middle of them, but their order is the same.
  double = rows_of(table, 'gain')[-1]
  assert double['tss'] == 0 and double['tss_change'] == -row_of(table, 'unchanged')['tss']
  assert double['auc'] == row_of(table, 'unchanged')['auc']


def test_unchanged_skill_is_that_of_the_predictions(strength_table):
  run, table = strength_table
  logit = changed_logits(run).astype(float)
  expected = tss_at(run.survey.label, expit(logit), expit(np.median(logit)))
  assert row_of(table, 'unchanged')['tss'] == pytest.approx(expected)


def test_saturation_and_blur_take_flux_away(strength_table):
  _, table = strength_table
  for name in ('saturated', 'blurred'):
    moved = rows_of(table, name)['change_pe']
    assert np.all(np.diff(moved) <= 0) and moved[-1] < -1


def test_same_seed_same_table_however_many_maps_at_a_time(strength_table, monkeypatch):
  run, table = strength_table
  only(monkeypatch, JUDGED + OF_ROWS)
  monkeypatch.setattr(maps, 'CHUNK', 3)
  again = invariance_table(run, seed=0, resamples=100)
  table = table[np.isin(table['name'], JUDGED + OF_ROWS)]
  for column in ('rms_change', 'tss', 'tss_change_low', 'auc'):
    np.testing.assert_allclose(again[column], table[column], rtol=1e-4, atol=1e-6)


def test_every_row_says_what_it_is(strength_table, tmp_path):
  _, table = strength_table
  assert len(table) == sum(len(change.strengths) for change in CHANGES)
  assert len({(row['name'], str(row['strength'])) for row in table}) == len(table)
  assert all(table['effect']) and all(table['kind']) and all(table['unit'])
  table.write(tmp_path / 'panel.ecsv')
  read = Table.read(tmp_path / 'panel.ecsv')
  assert read.meta == table.meta
  plot_invariance(read, tmp_path / 'panel.png')
  assert (tmp_path / 'panel.png').stat().st_size > 10_000
  read.meta = {'verdict': 'no skill'}  # And no shares.
  plot_invariance(read, tmp_path / 'no_skill.png')
  assert (tmp_path / 'no_skill.png').stat().st_size > 10_000


# --- Changes ------------------------------------------------------------------------------------------------------


def changed(name, run, strength=np.nan):
  """Returns the maps of the whole survey after a change."""
  change = next(change for change in CHANGES if change.name == name)
  rows = np.arange(len(run.survey))
  return np.asarray(invariance.changer(run, change, strength, 0)(run.survey.field, rows))


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
  logits = functools.partial(member_logits, next(run.members()).params, model=run.ensemble.model)
  whole = logits(run.survey.field)
  np.testing.assert_allclose(whole, logits(run.survey.field[:, 4:28, 4:28]), rtol=1e-6)
  np.testing.assert_allclose(whole, changed_logits(run), rtol=1e-6)


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
  run = make_run(survey.replace(field=field), *polarity_flux(), folds=2)
  table = invariance_table(run, seed=0, resamples=20)
  assert table.meta['verdict'] == 'strength'
  for name in ('polarity reversed', 'pixels shuffled', 'signs of elements drawn'):
    assert row_of(table, name)['rms_change'] < 1e-5


# --- Bad input ----------------------------------------------------------------------------------------------------


def test_one_class_is_refused():
  survey = survey_of(stronger)
  run = make_run(survey.replace(label=np.zeros_like(survey.label)), *polarity_flux())
  with pytest.raises(ValueError, match='no two classes'):
    invariance_table(run, seed=0)


def test_parameters_that_are_not_finite_are_refused():
  run = make_run(survey_of(stronger), *polarity_flux())
  bad = make_run(survey_of(stronger), *polarity_flux(logit=np.inf))
  bad = dataclasses.replace(bad, predictions=run.predictions)
  with pytest.raises(ValueError, match='are not finite'):
    invariance_table(bad, seed=0)
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    invariance_table(run, seed=0, resamples=0)
