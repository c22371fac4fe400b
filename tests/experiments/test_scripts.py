"""Every script of the main job, on a survey small enough for a test; once at least as a user runs it."""

import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from astropy.table import Table

from tests.conftest import QUICK
from tests.scripts import ROOT, as_user, command, fail, succeed

# The scripts of interpretation, and what each writes last.
INTERPRETATION = {
  'prune': 'pruning/filters.ecsv',
  'respond': 'response/invariance.ecsv',
  'attribute': 'attribution/maximisation.ecsv',
}
SHARP = ROOT / 'tests' / 'data' / 'hmi.sharp_cea_720s.13561.20250727_150000_TAI.magnetogram.fits'


def predictions(workdir):
  return Table.read(workdir / 'predictions' / 'cnn.ecsv', format='ascii.ecsv')


@pytest.mark.slow
def test_the_chain_ends_in_skill_for_every_model(quick_survey, finished):
  succeed('baseline', f'--survey={quick_survey}', f'--workdir={finished}', '--models=da_flux,da_linear')
  printed = succeed('verify', f'--workdir={finished}', '--resamples=50')
  assert 'da_linear' in printed
  skill = Table.read(finished / 'skill.ecsv', format='ascii.ecsv')
  assert set(skill['model']) == {'cnn', 'da_flux', 'da_linear'}
  assert set(skill['n_pairs']) == {12}
  assert np.all(skill['tss_low'] <= skill['tss']) and np.all(skill['tss'] <= skill['tss_high'])
  assert (finished / 'figures' / 'skill.png').stat().st_size > 10_000
  assert {'config.json', 'splits.json', 'metrics.jsonl', 'checkpoints'} <= {p.name for p in finished.iterdir()}


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_fold_resumes_to_the_same_predictions(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'killed'
  arguments = [f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK, '--checkpoint_every=1']
  process = subprocess.Popen(
    command('train', *arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
  )
  deadline = time.monotonic() + 240
  while not list(workdir.glob('checkpoints/fold01_seed0/1')) and time.monotonic() < deadline:
    assert process.poll() is None, 'the run ended before it could be killed'
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not (workdir / 'predictions').exists()
  succeed('train', *arguments, run=as_user)
  # The run in one piece kept other checkpoints, which changes nothing.
  killed, whole = predictions(workdir), predictions(finished)
  for column in killed.colnames:
    np.testing.assert_array_equal(killed[column], whole[column])


def test_a_finished_run_is_not_trained_over(quick_survey, finished):
  assert 'finished run' in fail('train', f'--survey={quick_survey}', f'--workdir={finished}', *QUICK)


def test_more_folds_than_pairs(quick_survey, tmp_path):
  sentence = fail('train', f'--survey={quick_survey}', f'--workdir={tmp_path}/w', '--folds=20')
  assert '20 folds were asked for, but the survey has only 12 pairs' in sentence


def test_a_survey_that_is_not_there(tmp_path):
  assert 'is not a survey archive' in fail('train', f'--survey={tmp_path}', f'--workdir={tmp_path}/w')


def test_a_checkpoint_of_another_model(quick_survey, finished, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(finished, copy)
  config = (copy / 'config.json').read_text()
  changed = config.replace('"widths": [\n    4,\n    8\n   ]', '"widths": [\n    4,\n    6\n   ]')
  assert changed != config
  (copy / 'config.json').write_text(changed)
  sentence = fail('score', f'--workdir={copy}', f'--fits={SHARP}', f'--out={tmp_path}/scores')
  assert 'of another model' in sentence


def test_a_damaged_checkpoint(finished, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(finished, copy)
  for part in copy.glob('checkpoints/fold00_seed0/*/params/**/*'):
    if part.is_file():
      part.write_bytes(part.read_bytes()[:20])
  sentence = fail('score', f'--workdir={copy}', f'--fits={SHARP}', f'--out={tmp_path}/scores', run=as_user)
  assert 'is damaged or of another model' in sentence


def test_a_mistake_can_be_corrected_in_the_same_directory(quick_survey, tmp_path):
  fail('train', f'--survey={quick_survey}', f'--workdir={tmp_path}/w', '--folds=20')
  fail('train', f'--survey={quick_survey}', f'--workdir={tmp_path}/w', '--folds=2', '--train_intervals=1')
  assert not (tmp_path / 'w').exists()


def test_widths_that_are_no_numbers(quick_survey, tmp_path):
  assert '--widths are whole numbers' in fail(
    'train', f'--survey={quick_survey}', f'--workdir={tmp_path}/w', '--widths=a,b'
  )


@pytest.mark.slow
def test_reproduce_goes_on_where_it_stopped_and_refuses_another_run(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'work'
  arguments = ['--quick', f'--survey={quick_survey}', f'--workdir={workdir}', '--resamples=20']
  shutil.copytree(finished, workdir)  # As if the training had been done by reproduce.
  shutil.rmtree(workdir / 'figures', ignore_errors=True)
  (workdir / 'splits.json').unlink()
  for product in INTERPRETATION.values():  # And the interpretation, whose scripts have tests of their own.
    (workdir / product).parent.mkdir(exist_ok=True)
    (workdir / product).touch()
  printed = succeed('reproduce', *arguments, run=as_user)
  assert not any(f'experiments.{name}' in printed for name in ('train', *INTERPRETATION))
  assert 'was trained on 2 folds, but its splits.json holds 5' in fail('prune', f'--workdir={workdir}', '--overwrite')
  assert 'True Skill Statistic' in printed
  assert (workdir / 'differences_mean.ecsv').exists()
  assert 'is of another run (seed: was 0, now 1)' in fail('reproduce', *arguments, '--seed=1')


def test_a_study_of_other_settings_is_not_gone_on_with(tmp_path):
  out = tmp_path / 'study.ecsv'
  Table({'variant': ['default'], 'survey_seed': [101]}, meta={'pairs': 7}).write(out, format='ascii.ecsv')
  assert 'is of a study with other settings' in fail('study', f'--out={out}', run=as_user)


@pytest.mark.slow
def test_two_processes_train_what_one_does(quick_survey, finished, tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    coordinator = f'localhost:{free.getsockname()[1]}'
  arguments = [f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK, f'--coordinator={coordinator}']
  processes = [
    subprocess.Popen(
      command('train', *arguments, '--processes=2', f'--process={number}'),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  told = [process.communicate(timeout=300) for process in processes]
  assert [process.returncode for process in processes] == [0, 0], told
  assert 'Trained 2 networks' in told[0][0] and 'Trained' not in told[1][0]
  ours, theirs = (predictions(workdir) for workdir in (tmp_path / 'work', finished))
  np.testing.assert_allclose(ours['logit'], theirs['logit'], rtol=1e-3, atol=1e-3)


def test_processes_that_do_not_belong_together_are_told(quick_survey, tmp_path):
  arguments = [f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK]
  assert '--processes and --process belong to' in fail('train', *arguments, '--processes=2')
  assert '--coordinator is host:port, or auto; got here.' in fail('train', *arguments, '--coordinator=here')
  sentence = '--coordinator needs --processes and a smaller --process, got 2 and 2.'
  assert sentence in fail('train', *arguments, '--coordinator=localhost:1', '--processes=2', '--process=2')
  assert 'did not find each other' in fail('train', *arguments, '--coordinator=auto', run=as_user)


@pytest.mark.slow
def test_maps_in_a_file_give_the_same_and_leave_nothing_behind(quick_survey, finished, tmp_path):
  scratch = tmp_path / 'scratch'
  scratch.mkdir()
  arguments = [f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK]
  succeed('train', *arguments, f'--scratch={scratch}', '--block_maps=20')
  np.testing.assert_allclose(
    predictions(tmp_path / 'work')['logit'], predictions(finished)['logit'], rtol=1e-3, atol=1e-3
  )
  assert not list(scratch.iterdir())
  assert 'for a file of the maps is not there' in fail('train', *arguments, f'--scratch={scratch}/none')


def test_compiled_programs_are_kept(quick_survey, tmp_path):
  arguments = [f'--survey={quick_survey}', '--folds=2', '--models=da_flux']
  cache = tmp_path / 'compiled'
  succeed('baseline', *arguments, f'--workdir={tmp_path}/work', f'--compilation_cache={cache}', run=as_user)
  assert list(cache.iterdir())
  assert 'File exists' in fail(
    'baseline', *arguments, f'--workdir={tmp_path}/other', f'--compilation_cache={quick_survey}/survey.ecsv'
  )


@pytest.mark.slow
def test_benchmark_runs_at_a_small_size(tmp_path):
  printed = succeed('benchmark', '--small', '--repeats=1', f'--out={tmp_path}', run=as_user)
  assert 'every filter dropped alone' in printed
  table = Table.read(tmp_path / 'benchmark.ecsv', format='ascii.ecsv')
  assert table.meta['small'] and np.all(table['seconds'] > 0)
  profile = Table.read(tmp_path / 'profile.ecsv', format='ascii.ecsv')
  assert np.sum(profile['share']) == pytest.approx(1) and 'convolution 1, value' in profile['stage']
  assert (tmp_path / 'benchmark.png').stat().st_size > 10_000
  assert 'there are step, lowerings' in fail('benchmark', '--groups=foo', f'--out={tmp_path}/other')


@pytest.mark.slow
def test_respond_leaves_its_products_and_a_summary(finished):
  sweep = ('--family=bipole,random', '--n_scales=4', '--n_strengths=3', '--samples=2')
  injection = ('--trials=4', '--resamples=20', '--false_alarm_rate=0.2')
  printed = succeed('respond', f'--workdir={finished}', *sweep, *injection, run=as_user)
  for part in ('Largest output at fixed flux', 'Half of the injected', 'Pairing', 'The networks read'):
    assert part in printed
  assert 'Response largest' in printed or 'Skill does not depend on the wavelength' in printed
  for name in ('response', 'maximum', 'findings', 'completeness', 'detection_limit', 'pairing', 'spectral'):
    table = Table.read(finished / 'response' / f'{name}.ecsv', format='ascii.ecsv')
    assert len(table) and len(table.meta['survey_checksum']) == 64
  for name in ('response_none', 'response_quiet', 'completeness', 'pairing', 'spectral', 'invariance'):
    assert (finished / 'figures' / f'{name}.png').stat().st_size > 10_000
  assert (finished / INTERPRETATION['respond']).exists()


def test_mistakes_of_respond_are_told_before_anything_is_done(finished, tmp_path):
  workdir = f'--workdir={finished}'
  assert 'There is no part foo' in fail('respond', workdir, '--parts=foo')
  assert 'pole_mx of the planted pairs must be positive' in fail('respond', workdir, '--pole_mx=-1')
  assert 'is not a work directory' in fail('respond', f'--workdir={tmp_path}')
  assert 'say with --survey where it lies' in fail('respond', workdir, f'--survey={tmp_path}', '--overwrite')
