"""Tables of filters: scores of responders alone by hand, and patches that excite a filter as their maps do."""

import numpy as np
import pytest
from scipy.special import expit

from hearjax.interpret import filter_tables
from hearjax.interpret.filter_tables import NEGATIVE, PARTS, POSITIVE, WHOLE
from hearjax.interpret.filters import FLUXES, measure
from hearjax.interpret.maps import Subject, subject_logits
from hearjax.interpret.network import EmergenceAdapter, contributions
from hearjax.interpret.statistics import Draws
from hearjax.interpret.variants import sweep_table
from hearjax.models.network import SYMMETRIES, ModelSettings, build_model
from hearjax.survey.fold_rows import FoldRows
from hearjax.verification.scores import steady_threshold, tss_at
from tests.conftest import make_survey
from tests.hand_made import one_layer
from tests.interpret.test_filters import SETTINGS, bright_survey, meter

PIXEL_MM = 1.39


@pytest.fixture(scope='module')
def responses():
  survey = bright_survey()
  draws = Draws.of(survey, 40, 0)
  subjects = [meter(survey, weight) for weight in ([1.0, -0.9], [1.0, 1.0])]
  subjects = [
    Subject(name, 'members', each.network, each.params, each.rows) for name, each in zip('ab', subjects, strict=True)
  ]
  return [measure(subject, survey, draws, SETTINGS) for subject in subjects], survey, draws


def test_the_table_tells_of_every_filter(responses):
  found, survey, draws = responses
  swept = {'a': sweep_table(found[0].subject, survey, draws)}
  table = filter_tables.filter_table(found, swept, {'a': np.array([True, False])})
  assert table['name'].tolist() == ['a', 'a', 'b', 'b']
  assert table['responder'].tolist() == [1, -1, 1, 1]
  assert np.isnan(table['delta_test_tss'][2:]).all() and np.isfinite(table['delta_test_tss'][:2]).all()
  assert table['minimal'].tolist() == [True, False, False, False]
  for name in FLUXES:
    inside = (table[f'{name}_per_dex_low'] < table[f'{name}_per_dex']) & (
      table[f'{name}_per_dex'] < table[f'{name}_per_dex_high']
    )
    assert inside.all()
  np.testing.assert_allclose(table['flow'][2:].sum(), found[1].samples['flux_positive'][0])


def test_lower_layers_have_no_flux_labels():
  survey = make_survey(pairs=12, size=16)
  settings = ModelSettings(widths=(2, 3), kernels=(3, 3), strides=(1, 1), crop_px=0)
  model = build_model(settings, PIXEL_MM)
  rng = np.random.default_rng(0)
  layers = {
    'convolution_0': {'kernel': rng.normal(size=(3, 3, 1, 2)), 'bias': np.zeros(2)},
    'convolution_1': {'kernel': rng.normal(size=(3, 3, 2, 3)), 'bias': np.zeros(3)},
    'logit': {'kernel': rng.normal(size=(6, 1)), 'bias': np.zeros(1)},
  }
  third = survey.pair % 3
  rows = FoldRows(*(np.flatnonzero(third == part) for part in range(3)))
  subject = Subject('a', 'members', EmergenceAdapter(model), {'params': layers}, rows)
  draws = Draws.of(survey, 20, 0)
  found = measure(subject, survey, draws, SETTINGS)
  table = filter_tables.filter_table([found], {'a': sweep_table(subject, survey, draws)}, {})
  assert table['layer'].tolist() == [0, 0, 1, 1, 1]
  assert np.isnan(table['central_per_dex'][:2]).all() and np.isfinite(table['central_per_dex'][2:]).all()
  assert np.all(table['responder'][:2] == 0) and np.isfinite(table['delta_test_loss']).all()
  # The whole layer adds up to the logit.
  written = filter_tables.contribution_table([found], survey)
  np.testing.assert_allclose(written['contributions'].sum(axis=1), written['logit'], atol=1e-4)
  np.testing.assert_allclose(written['logit'], subject_logits(subject, survey), atol=1e-5)


def test_contributions_of_networks_of_other_widths_stand_in_one_table(responses):
  found, survey, _ = responses
  wide = measure(
    Subject('c', 'members', *wide_network(), found[0].subject.rows), survey, Draws.of(survey, 20, 0), SETTINGS
  )
  table = filter_tables.contribution_table([found[0], wide], survey)
  assert table['contributions'].shape == (2 * len(found[0].logit), 3)
  assert np.isnan(table['contributions'][table['name'] == 'a', 2]).all()
  assert np.isfinite(table['contributions'][table['name'] == 'c']).all()
  rows = found[0].subject.rows.test
  assert table['region_id'][: len(rows)].tolist() == survey.region_names()[rows].tolist()


def wide_network():
  settings, params = one_layer([[[1.0, -1.0, 2.0]]])
  return EmergenceAdapter(build_model(settings, PIXEL_MM)), params


def test_skill_of_responders_alone_is_that_of_their_sum(responses):
  found, survey, draws = responses
  table = filter_tables.lead_time_table(found[:1], survey, draws)
  assert len(table) == 2 * len(PARTS)
  subject = found[0].subject
  added = contributions(subject.network, subject.params, survey.field).astype(float)
  for part, chosen in ((WHOLE, [0, 1]), (POSITIVE, [0]), (NEGATIVE, [1])):
    score = added[chosen].sum(axis=0)
    score = (score - score[subject.rows.validation].mean()) / score[subject.rows.validation].std()
    validation = subject.rows.validation
    threshold = steady_threshold(survey.label[validation], expit(score[validation]), survey.pair[validation])
    for interval in (-2, -1):
      rows = subject.rows.test[survey.interval[subject.rows.test] == interval]
      row = table[(table['part'] == part) & (table['interval'] == interval)][0]
      assert row['tss'] == pytest.approx(tss_at(survey.label[rows], expit(score[rows]), threshold))
      assert row['tss_low'] <= row['tss'] <= row['tss_high'] and row['n'] == 1
      assert np.isnan(row['flow']) == (part == WHOLE)
  one = {part: table[table['part'] == part]['tss'] for part in PARTS}
  # The negative one speaks for the wrong side, and the whole of both is the worse for it.
  assert np.all(one[POSITIVE] > 0.5) and np.all(one[NEGATIVE] < 0)


def test_the_group_is_the_mean_of_its_networks(responses):
  found, survey, draws = responses
  together = filter_tables.lead_time_table(found, survey, draws)
  alone = [filter_tables.lead_time_table([each], survey, draws) for each in found]
  np.testing.assert_allclose(together['tss'], np.mean([table['tss'] for table in alone], axis=0))
  assert np.all(together['n'] == 2)


# --- What excites a filter ----------------------------------------------------------------------------------------


def patches_of(settings, params, field, filters, count):
  """Returns the patches of a network that sees `[n, y, x]` field, each map of a pair of its own."""
  survey = make_survey(pairs=len(field), intervals=(-1,), size=field.shape[-1])
  rows = np.array([np.flatnonzero(survey.pair == pair)[0] for pair in range(len(field))])
  maps = survey.field * 0
  maps[rows] = field
  network = EmergenceAdapter(build_model(settings, PIXEL_MM))
  subject = Subject('a', 'members', network, params, FoldRows(rows[:0], rows[:0], rows))
  table = filter_tables.patch_table(subject, survey.replace(field=maps), filters, count)
  widest = table['patch'].shape[-1] if len(table) else 0
  cut = [slice((widest - side) // 2, (widest + side) // 2) for side in table['side']]
  return table, [patch[inside, inside] for patch, inside in zip(table['patch'] if len(table) else [], cut, strict=True)]


def test_the_strongest_patch_is_where_the_filter_looks():
  settings = ModelSettings(widths=(1, 1), kernels=(5, 3), strides=(2, 1), crop_px=16, scale_gauss=1.0)
  params = {
    'convolution_0': {'kernel': np.ones((5, 5, 1, 1)), 'bias': np.zeros(1)},
    'convolution_1': {'kernel': np.ones((3, 3, 1, 1)), 'bias': np.zeros(1)},
    'logit': {'kernel': np.ones((2, 1)), 'bias': np.zeros(1)},
  }
  field = np.zeros((3, 24, 24), np.float32)
  field[1, 13, 10] = 100.0
  table, patches = patches_of(settings, {'params': params}, field, [0, 1], 2)
  # Only one map excites them; a layer deeper, the receptive field is 5 + 2 * (3 - 1) px wide.
  assert table['side'].tolist() == [5, 9] and table['layer'].tolist() == [0, 1]
  assert all(patch.shape == (side, side) and patch.max() == 100.0 for patch, side in zip(patches, (5, 9), strict=True))


def test_a_dead_filter_has_no_patch(tmp_path):
  table, patches = patches_of(*one_layer([[[1.0, -1.0]]]), np.zeros((2, 8, 8), np.float32), [0, 1], 2)
  assert len(table) == 0 and not patches
  table.write(tmp_path / 'patches.fits')


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
  field = np.zeros((1, 12, 12), np.float32)
  field[0, 3, 7], field[0, 3, 9] = 200, -100
  _, (patch,) = patches_of(*one_layer(kernel, symmetries=symmetries), field, [0], 1)
  np.testing.assert_array_equal(patch, [[0, 0, 0], row, [0, 0, 0]])


@pytest.mark.parametrize('stride', [1, 2])
def test_the_filter_answers_to_the_strongest_patch_alone_as_to_the_map(stride):
  rng = np.random.default_rng(stride)
  kernel = rng.normal(size=(5, 5, 1))
  settings, params = one_layer(kernel, strides=(stride,), symmetries=tuple(SYMMETRIES))
  field = rng.normal(0, 100, (12, 16, 16)).astype(np.float32)
  maps = build_model(settings, PIXEL_MM).apply(params, field, method='activations')[1]
  strength = np.asarray(maps).reshape(-1, 12, *maps.shape[1:]).max(axis=(0, 2, 3, 4))
  _, patches = patches_of(settings, params, field, [0], 12)
  answers = [np.sum(kernel[..., 0] * np.nan_to_num(patch)) for patch in patches]
  np.testing.assert_allclose(answers, np.sort(strength)[::-1], rtol=1e-4)
