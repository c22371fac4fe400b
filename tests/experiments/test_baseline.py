"""The script `baseline`, and `verify` on what it leaves, without a network."""

from hearjax.survey.archive import write_survey
from hearjax.survey.folds import make_splits, read_splits
from hearjax.verification.predictions import read_predictions
from tests.conftest import survey_apart
from tests.scripts import fail, succeed


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
  # The folds that are there serve unless others are asked for, which are refused.
  succeed('baseline', *where, '--models=da_kernel')
  assert read_splits(work / 'splits.json', survey) == make_splits(survey, 2, 0)
  assert 'holds 2 folds dealt with seed 0, but 3' in fail('baseline', *where, '--models=da_quadratic', '--folds=3')
  write_survey(tmp_path / 'other', survey_apart(6))
  sentence = fail('verify', f'--survey={tmp_path}/other', where[1], '--overwrite')
  assert 'The predictions are of another survey than' in sentence
