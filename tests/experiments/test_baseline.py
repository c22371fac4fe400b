"""The script `baseline`, and `verify` on what it leaves, without a network."""

import numpy as np

from hearjax.files import read_table
from hearjax.survey.archive import write_survey
from hearjax.survey.folds import make_splits, read_splits
from hearjax.verification.predictions import read_predictions
from tests.conftest import QUICK, survey_apart
from tests.scripts import fail, in_process, succeed


def test_scripts_from_survey_to_scores(tmp_path):
  survey = survey_apart(8)
  write_survey(tmp_path / 'survey', survey)
  work = tmp_path / 'work'
  where = f'--survey={tmp_path / "survey"}', f'--workdir={work}'
  succeed('baseline', *where, '--folds=2', '--models=da_flux', '--models=da_linear')
  table = read_predictions(work / 'predictions' / 'da_linear.ecsv')
  assert len(table) == len(survey)
  assert 'is there already' in fail('baseline', *where, '--models=da_linear')
  printed = succeed('verify', where[1], '--reference=da_linear', '--resamples=50')
  assert 'da_flux' in printed and 'mean' in printed
  for name in ('skill', 'skill_mean', 'differences', 'differences_mean'):
    assert (work / f'{name}.ecsv').is_file()
  for name in ('skill', 'reliability'):
    assert (work / 'figures' / f'{name}.png').read_bytes().startswith(b'\x89PNG')
  assert 'not looked for; say with --survey' in printed and 'not certified' in printed
  # With the survey more is asked.
  printed = succeed('verify', *where, '--reference=da_linear', '--resamples=50', '--overwrite')
  for word in ('leak:', 'certified: 8 pairs in 2 folds', 'flux:', 'base rate:', 'first alarm:', 'emergence:'):
    assert word in printed
  assert (work / 'verification' / 'verdict.txt').read_text() in printed
  found = {path.stem for path in (work / 'verification').glob('*.ecsv')}
  assert {'balance', 'nuisance', 'matched', 'matched_mean', 'strata', 'base_rates', 'budget', 'first_alarm'} <= found
  for name in ('balance', 'matched', 'strata', 'base_rates', 'first_alarm'):
    assert (work / 'figures' / f'{name}.png').read_bytes().startswith(b'\x89PNG')
  # The folds that are there serve unless others are asked for, which are refused.
  succeed('baseline', *where, '--models=da_kernel')
  assert read_splits(work / 'splits.json', survey) == make_splits(survey, 2, 0)
  assert 'holds 2 folds dealt with seed 0, but 3' in fail('baseline', *where, '--models=da_quadratic', '--folds=3')
  write_survey(tmp_path / 'other', survey_apart(6))
  sentence = fail('verify', f'--survey={tmp_path}/other', where[1], '--overwrite')
  assert 'The predictions are of another survey than' in sentence


def test_what_verify_cannot_do_is_said_in_a_sentence(tmp_path):
  write_survey(tmp_path / 'survey', survey_apart(8))
  where = f'--survey={tmp_path}/survey', f'--workdir={tmp_path}/work'
  succeed('baseline', *where, '--folds=2', '--models=da_flux')
  for flag, told in {
    '--tolerances_dex=': 'no tolerance of flux',
    '--tolerances_dex=-1': 'are positive numbers',
    '--rates=2': 'a share between 0 and 1',
    '--places=0': 'places must be positive',
    '--budgets=': 'no budget',
    f'--series={tmp_path}/none.csv': 'no table of time series',
  }.items():
    assert told in fail('verify', *where, flag, '--resamples=20')
  assert 'where 0.2 of the places emerge' in succeed('verify', *where, '--rates=0.2', '--resamples=20')


def test_time_series_are_scored_beside_the_others(tmp_path):
  survey = survey_apart(8)
  write_survey(tmp_path / 'survey', survey)
  where = f'--survey={tmp_path}/survey', f'--workdir={tmp_path}/work'
  succeed('baseline', *where, '--folds=2', '--models=da_flux')
  rows = [
    f'{region},{hours},{label}'
    for region, hours, label in zip(survey.region_names(), survey.hours, survey.label, strict=True)
  ]
  (tmp_path / 'theirs.csv').write_text('\n'.join(['region_id,hours,score', *rows]))
  series = f'--series={tmp_path}/theirs.csv'
  assert 'are read at the intervals of a survey' in fail('verify', where[1], series)
  printed = succeed('verify', *where, series, '--reference=theirs', '--resamples=20')
  skill = read_table(tmp_path / 'work' / 'skill.ecsv')
  assert np.all(skill['tss'][(skill['model'] == 'theirs') & (skill['threshold_rule'] == 'each')] == 1)
  assert 'theirs has a TSS of 1.00' in printed and 'less that of da_flux' in printed


def test_analyses_are_fitted_again_where_it_is_asked_for(tmp_path):
  write_survey(tmp_path / 'survey', survey_apart(12))
  where = f'--survey={tmp_path}/survey', f'--workdir={tmp_path}/work', '--folds=2', '--models=da_flux'
  printed = succeed('baseline', *where, '--permutations=3', '--learning_pairs=4,6', '--learning_draws=1')
  assert 'p_value' in printed and 'training_pairs' in printed
  tests, curve = (read_table(tmp_path / 'work' / f'{name}.ecsv') for name in ('permutation', 'learning_curve'))
  assert set(tests['model']) == {'da_flux'} and np.all((tests['p_value'] >= 0.25) & (tests['p_value'] <= 1))
  assert set(curve['training_pairs']) == {4, 6} and len(curve) == 2 * len(tests)
  assert 'must lie between 1 and 6' in fail('baseline', *where, '--learning_pairs=7', '--overwrite')


def test_a_model_that_cannot_be_fitted_does_not_stop_the_others(tmp_path):
  write_survey(tmp_path / 'survey', survey_apart(8))
  work = tmp_path / 'work'
  models = ('da_quadratic', 'da_flux', 'da_linear')
  result = in_process(
    'baseline', f'--survey={tmp_path / "survey"}', f'--workdir={work}', '--folds=2', f'--models={",".join(models)}'
  )
  told = result.stderr.splitlines()
  assert result.returncode == 1 and len(told) == 2
  assert told[0].startswith('error: da_quadratic cannot be fitted in fold 0 at interval -2')
  assert told[1] == 'error: 1 of 3 analyses could not be fitted.'
  assert sorted(path.stem for path in (work / 'predictions').iterdir()) == ['da_flux', 'da_linear']
  assert 'da_linear' in succeed('verify', f'--workdir={work}', '--reference=da_linear', '--resamples=20')


def test_folds_of_another_seed_are_refused_by_whoever_comes_second(quick_survey, finished, tmp_path):
  where = f'--survey={quick_survey}', f'--workdir={tmp_path}/work'
  succeed('baseline', *where, '--folds=2', '--models=da_flux', '--seed=0')
  sentence = 'holds 2 folds dealt with seed 0, but 2 with seed 7 were asked for'
  assert sentence in fail('train', *where, *QUICK, '--seed=7')
  assert not (tmp_path / 'work' / 'config.json').exists()  # Which would record the seed.
  assert sentence in fail('baseline', where[0], f'--workdir={finished}', '--folds=2', '--seed=7', '--models=da_flux')
  succeed('train', *where, *QUICK)
