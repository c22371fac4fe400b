"""Skill tables: by hand, by simulation, and with intervals that cover the truth."""

import numpy as np
import pytest
from astropy.table import vstack
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.verification.calibration import RULES
from hearjax.verification.skill import common_rows, difference_tables, skill_mean_table, skill_table
from tests.hand_made import make_table, random_table

SKILL_COLUMNS = [
  'model',
  'interval',
  'hours',
  'n_pairs',
  'tss',
  'tss_low',
  'tss_high',
  'tss_refit_low',
  'tss_refit_high',
  'tss_fold_mean',
  'tss_fold_std',
  'pod',
  'pofd',
  'hss',
  'auc',
  'brier',
  'bss',
  'threshold_rule',
]


def row_of(skill, interval=-1, rule='0.5', model='cnn'):
  chosen = (skill['interval'] == interval) & (skill['threshold_rule'] == rule) & (skill['model'] == model)
  (index,) = np.flatnonzero(chosen)
  return skill[int(index)]


def test_skill_table_by_hand():
  # [pair, region, interval]: four pairs; of the EARs 0.9 0.8 0.7 0.2 are forecast, of the controls 0.1 0.3 0.6 0.4.
  probability = np.array([[0.1, 0.9], [0.3, 0.8], [0.6, 0.7], [0.4, 0.2]])[..., None]
  skill = skill_table([make_table(probability, threshold=0.65, n_folds=2)], 100, 0)
  assert skill.colnames == SKILL_COLUMNS
  assert set(skill.meta) <= {'survey_checksum', 'survey_source'} and skill.meta['survey_checksum']
  half, train = row_of(skill), row_of(skill, rule='train')
  assert half['n_pairs'] == 4 and half['hours'] == pytest.approx(-2.93)
  assert (half['pod'], half['pofd'], half['tss']) == (0.75, 0.25, 0.5)
  assert (train['pod'], train['pofd'], train['tss']) == (0.75, 0.0, 0.75)
  # Fold 0 holds pairs 0 and 2, fold 1 the others.
  assert half['tss_fold_mean'] == pytest.approx((0.5 + 0.5) / 2) and half['tss_fold_std'] == 0
  assert train['tss_fold_mean'] == pytest.approx((1 + 0.5) / 2)
  assert train['tss_fold_std'] == pytest.approx(np.sqrt(0.125))
  # Of the 16 couples 13 are in order: the EAR at 0.2 beats the control at 0.1 only.
  assert half['auc'] == pytest.approx(13 / 16)
  brier = np.mean(np.array([0.1, 0.1, 0.3, 0.2, 0.6, 0.3, 0.4, 0.8]) ** 2)
  assert half['brier'] == pytest.approx(brier) and half['bss'] == pytest.approx(1 - brier / 0.25)


def test_auc_counts_couples():
  table = random_table(n_pairs=25, skill=0.7, intervals=(-1,))
  probability, label = np.asarray(table['probability']), np.asarray(table['label'])
  couples = probability[label == 1][:, None] > probability[label == 0]
  assert row_of(skill_table([table], 5, 0))['auc'] == pytest.approx(couples.mean())


def test_seeds_are_scored_as_an_ensemble():
  first = np.array([[0.2, 0.9], [0.2, 0.3]])[..., None]
  second = np.array([[0.3, 0.9], [0.2, 0.9]])[..., None]
  members = vstack([make_table(first), make_table(second, seed=1)], metadata_conflicts='silent')
  # The mean logit of 0.3 and 0.9 is positive: the miss of one seed is made good.
  assert row_of(skill_table([members], 5, 0))['tss'] == 1


def test_planted_classifiers():
  perfect = make_table(np.tile(np.array([0.1, 0.9])[:, None], (30, 1, 2)), intervals=(-5, -1))
  for rule in RULES:
    row = row_of(skill_table([perfect], 200, 0), rule=rule)
    assert (row['tss'], row['tss_low'], row['tss_high'], row['hss'], row['auc']) == (1, 1, 1, 1, 1)
  for seed in range(5):
    skill = skill_table([random_table(seed=seed)], 500, 0)
    mean = skill_mean_table([random_table(seed=seed)], 500, 0)
    assert np.sum((skill['tss_low'] <= 0) & (skill['tss_high'] >= 0)) >= 3
    assert mean['tss_low'][0] <= 0 <= mean['tss_high'][0]


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
  # Detection 0.8 and false detection 0.3 in every pair, independently: the TSS is 0.5.
  rng, covered = np.random.default_rng(0), 0
  for world in range(120):
    warned = rng.uniform(size=(60, 2, 1)) < np.array([0.3, 0.8])[:, None]
    row = row_of(skill_table([make_table(np.where(warned, 0.9, 0.1))], 400, world))
    covered += row['tss_low'] <= 0.5 <= row['tss_high']
  # Of 120 intervals 114 should hold it, give or take 2.4; percentile intervals of 60 pairs are a little short.
  assert 105 <= covered <= 120


def test_bootstrap_width_follows_from_the_binomial():
  warned = np.random.default_rng(1).uniform(size=(400, 2, 1)) < np.array([0.3, 0.8])[:, None]
  row = row_of(skill_table([make_table(np.where(warned, 0.9, 0.1))], 2000, 0))
  error = np.sqrt((row['pod'] * (1 - row['pod']) + row['pofd'] * (1 - row['pofd'])) / 400)
  # In this draw, regions of a pair are nearly, but not exactly, uncorrelated.
  assert row['tss_high'] - row['tss_low'] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_bootstrap_draws_both_regions_and_all_intervals_of_a_pair_together():
  # Half of the pairs are warned of, region and control alike, at all intervals: no resample of pairs has any skill.
  alike = np.tile(np.where(np.arange(20) % 2, 0.9, 0.1)[:, None, None], (1, 2, 2))
  table = make_table(alike, intervals=(-5, -1))
  row = row_of(skill_table([table], 300, 0))
  assert (row['tss'], row['tss_low'], row['tss_high']) == (0, 0, 0)
  # The same forecast at two intervals: their mean is as uncertain as each, not less by the root of two.
  once = np.random.default_rng(0).uniform(0.05, 0.95, (40, 2, 1))
  twice = make_table(np.repeat(once, 2, axis=2), intervals=(-5, -1))
  single, mean = (make([twice], 500, 0) for make in (skill_table, skill_mean_table))
  assert mean['tss_high'][0] - mean['tss_low'][0] == pytest.approx(
    row_of(single)['tss_high'] - row_of(single)['tss_low']
  )


def test_mean_is_over_the_intervals_before_emergence():
  probability = np.random.default_rng(0).uniform(0.1, 0.9, (30, 2, 3))
  table = make_table(probability, intervals=(-5, -1, 0))
  skill = skill_table([table], 10, 0)
  mean = skill_mean_table([table], 10, 0)
  assert mean['n_intervals'][0] == 2 and mean['n_pairs'][0] == 30
  assert mean['tss'][0] == pytest.approx((row_of(skill, -5)['tss'] + row_of(skill, -1)['tss']) / 2)
  after = skill_mean_table([table[table['interval'] == 0]], 10, 0)
  assert after['n_intervals'][0] == 0 and np.isnan(after['tss'][0])


def test_difference_of_a_table_with_itself_is_exactly_zero():
  table = random_table(skill=1.0)
  twin = table.copy()
  twin.meta['model'] = 'twin'
  for differences in difference_tables([table, twin], 'cnn', 300, 0):
    for column in ('difference', 'low', 'high'):
      assert np.all(differences[column] == 0)


def test_differences_are_those_of_the_skill_table_and_narrower_than_unpaired_ones():
  good = random_table(skill=2.0, n_pairs=80)
  noisy = good.copy()
  noisy['logit'] += 0.3 * np.random.default_rng(5).standard_normal(len(noisy))
  noisy['probability'] = expit(noisy['logit'])
  noisy.meta['model'] = 'noisy'
  skill = skill_table([good, noisy], 1000, 0)
  differences, mean = difference_tables([good, noisy], 'cnn', 1000, 0)
  for row in differences:
    both = [row_of(skill, row['interval'], row['threshold_rule'], model) for model in ('cnn', 'noisy')]
    assert row['difference'] == pytest.approx(both[0]['tss'] - both[1]['tss'])
    unpaired = np.hypot(*(one['tss_high'] - one['tss_low'] for one in both))
    assert row['high'] - row['low'] < 0.8 * unpaired
  for rule in RULES:
    of_rule = differences['difference'][differences['threshold_rule'] == rule]
    assert mean['difference'][mean['threshold_rule'] == rule][0] == pytest.approx(np.mean(of_rule))


def test_tables_are_compared_on_what_they_share():
  cnn, da = random_table(), random_table(seed=1, model='da_linear')
  assert all(len(table) == len(cnn) for table in common_rows([cnn, da]))
  with pytest.warns(UserWarning, match='cnn has 240 magnetograms, of which 160 are in all tables'):
    shared = common_rows([cnn, da[da['pair_id'] < 'pair040']])
  assert [len(table) for table in shared] == [160, 160]


def test_tables_that_cannot_be_compared():
  cnn, da = random_table(), random_table(seed=1, model='da_linear')
  with pytest.raises(ValueError, match='no predictions table'):
    common_rows([])
  with pytest.raises(ValueError, match='same model name'):
    common_rows([cnn, cnn])
  with pytest.raises(ValueError, match='no magnetogram in common'):
    common_rows([cnn[cnn['interval'] == -1], da[da['interval'] == -5]])
  other = da.copy()
  other['label'] = 1 - other['label']
  with pytest.raises(ValueError, match='they must agree'):
    common_rows([cnn, other])
  earlier = da.copy()
  earlier['hours'] = earlier['hours'] * 2
  with pytest.raises(ValueError, match=r'da_linear has interval -\d of region \w+ at .* h, cnn or another table at'):
    common_rows([cnn, earlier])
  da.meta['survey_checksum'] = 'other'
  with pytest.raises(ValueError, match='different surveys'):
    common_rows([cnn, da])
  with pytest.raises(ValueError, match='No predictions table is of the model da_flux; there are cnn'):
    difference_tables([cnn], 'da_flux', 10, 0)
  with pytest.raises(ValueError, match='at least one sample, got 0'):
    skill_table([cnn], 0, 0)


def test_an_interval_with_one_class_is_left_undefined_and_said():
  table = random_table()
  table = table[(table['interval'] == -1) | (table['label'] == 1)]
  with pytest.warns(UserWarning, match=r'cnn has only one class at the intervals \[-5\]'):
    skill = skill_table([table], 50, 0)
  for column in ('tss', 'tss_low', 'tss_high', 'auc', 'bss', 'tss_fold_mean'):
    assert np.isnan(row_of(skill, -5)[column]) and np.isfinite(row_of(skill, -1)[column])
  assert skill_mean_table([table], 50, 0)['n_intervals'][0] == 1
  with pytest.raises(ValueError, match='nothing can be scored'):
    skill_table([table[table['label'] == 1]], 50, 0)


def test_same_seed_same_table_other_seed_other_bounds():
  table = random_table(skill=1.0)
  first, again, other = (skill_table([table], 200, seed) for seed in (0, 0, 1))
  assert np.all(first.as_array() == again.as_array())
  assert np.all(first['tss'] == other['tss']) and np.any(first['tss_low'] != other['tss_low'])


def test_a_single_pair_is_refused():
  with pytest.raises(UserError, match='a single pair, pair000'):
    skill_table([random_table(n_pairs=1, n_folds=1)], 20, 0)
