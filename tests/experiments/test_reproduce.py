"""The scripts one after the other: to skill, and all of it by `reproduce`."""

import json
import shutil

import numpy as np
from astropy.table import Table

import hearjax
from experiments.reproduce import INTERPRETATION, keep_times
from hearjax.checks import UserError
from hearjax.survey.archive import read_survey
from hearjax.survey.survey import checksum
from tests.real_maps import SHARP_14159
from tests.scripts import fail, in_process, succeed


def test_the_chain_ends_in_skill_for_every_model(quick_survey, finished):
  succeed('baseline', f'--survey={quick_survey}', f'--workdir={finished}', '--models=da_flux,da_linear')
  printed = succeed('verify', f'--workdir={finished}', '--resamples=50')
  assert 'da_linear' in printed
  skill = Table.read(finished / 'skill.ecsv', format='ascii.ecsv')
  assert set(skill['model']) == {'cnn', 'da_flux', 'da_linear'}
  assert set(skill['n_pairs']) == {12}
  assert np.all(skill['tss_low'] <= skill['tss']) and np.all(skill['tss'] <= skill['tss_high'])
  for name in ('skill', 'reliability'):
    assert (finished / 'figures' / f'{name}.png').stat().st_size > 10_000
  for name in ('skill_mean', 'differences', 'differences_mean'):
    assert (finished / f'{name}.ecsv').is_file()
  assert {'config.json', 'splits.json', 'metrics.jsonl', 'checkpoints'} <= {p.name for p in finished.iterdir()}


def test_it_goes_on_where_it_stopped_and_refuses_another_run(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'work'
  arguments = ['--quick', f'--survey={quick_survey}', f'--workdir={workdir}', '--resamples=20']
  shutil.copytree(finished, workdir)  # As if the training had been done by reproduce.
  shutil.rmtree(workdir / 'figures', ignore_errors=True)
  (workdir / 'splits.json').unlink()
  for product in INTERPRETATION.values():  # And the interpretation, whose scripts have tests of their own.
    (workdir / product).parent.mkdir(exist_ok=True)
    (workdir / product).touch()
  printed = succeed('reproduce', *arguments)
  steps = [line.split()[2] for line in printed.splitlines() if line.startswith('$ hearjax')]
  assert steps == ['baseline', 'verify', 'report']
  # It ends with the verdict of verify and the path of the report.
  verdict = (workdir / 'verification' / 'verdict.txt').read_text()
  assert printed.endswith(f'{verdict}\nThe report: {workdir / "report.html"}\n') and 'leak:' in verdict
  assert (workdir / 'report.html').stat().st_size > 100_000
  assert 'was trained on 2 folds, but its splits.json holds 5' in fail('prune', f'--workdir={workdir}', '--overwrite')
  assert 'True Skill Statistic' in printed
  assert (workdir / 'differences_mean.ecsv').exists()
  assert 'is of another run (seed: was 0, now 1)' in fail('reproduce', *arguments, '--seed=1')


def test_an_analysis_that_cannot_be_fitted_stops_nothing_else_and_is_tried_again(
  quick_survey, quick_run, tmp_path, monkeypatch
):
  workdir = tmp_path / 'work'
  shutil.copytree(quick_run, workdir)
  (workdir / 'splits.json').unlink()
  arguments = ('--quick', f'--survey={quick_survey}', f'--workdir={workdir}', '--resamples=20', '--until=verify')
  analyse = hearjax.discriminant_analysis

  def fails_once(survey, splits, model, *others):
    if model == 'da_linear':
      raise UserError('da_linear cannot be fitted.')
    return analyse(survey, splits, model, *others)

  with monkeypatch.context() as patch:
    patch.setattr(hearjax, 'discriminant_analysis', fails_once)
    result = in_process('reproduce', *arguments)
  assert result.returncode == 1 and '$ hearjax verify' in result.stdout and 'True Skill Statistic' in result.stdout
  assert result.stdout.endswith(f'\nThe report: hearjax report --workdir={workdir}\n')  # Not asked for yet.
  assert result.stderr.splitlines()[-1] == 'error: 1 of 4 analyses could not be fitted.'
  printed = succeed('reproduce', *arguments)
  (again,) = [line for line in printed.splitlines() if line.startswith('$ hearjax baseline')]
  assert '--models=da_linear' in again and '$ hearjax verify' in printed


def test_region_files_alone_are_a_survey(quick_survey, finished, tmp_path):
  own, workdir = tmp_path / 'own', tmp_path / 'work'
  shutil.copytree(quick_survey / 'regions', own)  # The files alone, and no index.
  assert 'is no survey archive' in fail('reproduce', f'--survey={tmp_path}', f'--workdir={workdir}')
  assert not workdir.exists()
  shutil.copytree(finished, workdir)
  printed = succeed('reproduce', '--quick', f'--survey={own}', f'--workdir={workdir}', '--until=train')
  assert f'survey.ecsv was written into {own}, the index of its 24 region files.' in printed
  assert checksum(read_survey(own)) == checksum(read_survey(quick_survey))


def test_times_of_a_run_that_was_interrupted_are_kept(tmp_path):
  path = tmp_path / 'timing.json'
  keep_times(path, {'train': {'seconds': 30.0, 'programs': 3}, 'verify': {'seconds': 2.0, 'programs': 0}}, False)
  keep_times(path, {'train': {'seconds': 0.5, 'programs': 0}, 'prune': {'seconds': 9.0, 'programs': 1}}, False)
  assert {name: step['seconds'] for name, step in json.loads(path.read_text()).items()} == {
    'train': 30.0,
    'verify': 2.0,
    'prune': 9.0,
  }
  keep_times(path, {'train': {'seconds': 0.5, 'programs': 0}}, True)  # Anew.
  assert list(json.loads(path.read_text())) == ['train']
  path.write_text('[1')
  keep_times(path, {'train': {'seconds': 1.0, 'programs': 0}}, False)
  assert list(json.loads(path.read_text())) == ['train']


def test_checkpoints_that_cannot_be_used_are_told(finished, tmp_path):
  arguments = f'--fits={SHARP_14159}', f'--out={tmp_path}/scores'
  copy = shutil.copytree(finished, tmp_path / 'damaged')
  for part in copy.glob('checkpoints/fold00_seed0/*/params/**/*'):
    if part.is_file():
      part.write_bytes(part.read_bytes()[:20])
  assert 'is damaged or of another model' in fail('score', f'--workdir={copy}', *arguments)
  copy = shutil.copytree(finished, tmp_path / 'other')
  config = (copy / 'config.json').read_text()
  changed = config.replace('"widths": [\n    4,\n    8\n   ]', '"widths": [\n    4,\n    6\n   ]')
  assert changed != config
  (copy / 'config.json').write_text(changed)
  assert 'of another model' in fail('score', f'--workdir={copy}', *arguments)
