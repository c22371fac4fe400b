"""The script `train`, on a survey small enough for a test; once at least as a user runs it."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from astropy.table import Table

from experiments.train import board_writer
from hearjax import progress
from tests.conftest import QUICK
from tests.scripts import ROOT, as_user, command, fail, in_process, succeed, written_elsewhere


def predictions(workdir):
  return Table.read(workdir / 'predictions' / 'cnn.ecsv', format='ascii.ecsv')


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
  succeed('train', *arguments)
  # The run in one piece kept other checkpoints, which changes nothing.
  killed, whole = predictions(workdir), predictions(finished)
  for column in killed.colnames:
    np.testing.assert_array_equal(killed[column], whole[column])


def test_a_finished_run_is_trained_over_only_when_told(quick_survey, finished, tmp_path):
  workdir = shutil.copytree(finished, tmp_path / 'work')
  (workdir / 'skill.ecsv').write_text('of another script')
  arguments = [f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK, '--seed=1']
  assert 'holds 2 folds dealt with seed 0, but 2 with seed 1 were asked for' in fail('train', *arguments)
  assert 'already holds a finished run' in fail('train', *arguments[:-1])
  succeed('train', *arguments, '--overwrite')
  assert np.abs(predictions(workdir)['logit'] - predictions(finished)['logit']).max() > 0
  assert json.loads((workdir / 'config.json').read_text())['settings']['seed'] == 1
  assert (workdir / 'skill.ecsv').read_text() == 'of another script'


def test_a_survey_that_is_not_there(tmp_path):
  assert 'is not a survey archive' in fail('train', f'--survey={tmp_path}', f'--workdir={tmp_path}/w')


def test_a_mistake_can_be_corrected_in_the_same_directory(quick_survey, tmp_path):
  arguments = f'--survey={quick_survey}', f'--workdir={tmp_path}/w'
  sentence = fail('train', *arguments, '--folds=20')
  assert '20 folds were asked for, but the survey has only 12 pairs' in sentence
  assert 'at the intervals [1]' in fail('train', *arguments, '--folds=2', '--train_intervals=1')
  assert 'as many layers each' in fail('train', *arguments, '--widths=4,8')
  assert 'flag --widths=a,b' in fail('train', *arguments, '--widths=a,b')
  assert not (tmp_path / 'w').exists()


def test_a_second_training_is_refused_and_the_first_one_unharmed(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'work'
  arguments = [f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK]
  first = subprocess.Popen(command('train', *arguments), cwd=ROOT, stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + 240
  while not (workdir / 'config.json').exists() and time.monotonic() < deadline:
    assert first.poll() is None
    time.sleep(0.01)
  first.send_signal(signal.SIGSTOP)  # So that it is certainly at work.
  for more in ([], ['--overwrite'], ['--seed=1', '--overwrite']):
    assert f'{workdir} is being written by another train; wait until it has ended' in fail('train', *arguments, *more)
  first.send_signal(signal.SIGCONT)
  assert first.wait(240) == 0
  np.testing.assert_array_equal(predictions(workdir)['logit'], predictions(finished)['logit'])
  assert not (workdir / '.train.lock').exists()


# --- Several processes ------------------------------------------------------------------------------------------


def train_in_two(*arguments: str, surveys: list[pathlib.Path]) -> list[tuple[int, str, str]]:
  """Returns exit status, stdout and stderr of two processes that train together."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    together = [f'--coordinator=localhost:{free.getsockname()[1]}', '--processes=2']
  processes = [
    subprocess.Popen(
      command('train', f'--survey={survey}', *arguments, *QUICK, *together, f'--process={number}'),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number, survey in enumerate(surveys)
  ]
  try:
    told = [process.communicate(timeout=120) for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]


def test_two_processes_train_what_one_does(quick_survey, finished, tmp_path):
  (first, out, error), (second, nothing, _) = train_in_two(f'--workdir={tmp_path}/work', surveys=2 * [quick_survey])
  assert (first, second) == (0, 0), error
  assert 'Trained 2 networks' in out and 'Trained' not in nothing
  ours, theirs = (predictions(workdir) for workdir in (tmp_path / 'work', finished))
  np.testing.assert_allclose(ours['logit'], theirs['logit'], rtol=1e-3, atol=1e-3)


def assert_both_end_with(told: list[tuple[int, str, str]], sentence: str) -> None:
  """Both processes have ended with the same one sentence."""
  for status, _, error in told:
    assert status == 1
    (line,) = error.splitlines()
    assert line.startswith('error: ') and sentence in line


def test_what_the_first_process_refuses_ends_both(quick_survey, finished, tmp_path):
  both = 2 * [quick_survey]
  assert_both_end_with(train_in_two(f'--workdir={finished}', surveys=both), 'already holds a finished run')
  with written_elsewhere(tmp_path, 'train'):
    assert_both_end_with(train_in_two(f'--workdir={tmp_path}', surveys=both), 'is being written by another train')


def test_what_the_second_process_lacks_ends_both(quick_survey, tmp_path):
  told = train_in_two(f'--workdir={tmp_path}/work', surveys=[quick_survey, tmp_path])
  assert_both_end_with(told, f'{tmp_path} is not a survey archive')
  assert not (tmp_path / 'work').exists()


def test_processes_that_do_not_belong_together_are_told(quick_survey, tmp_path):
  arguments = [f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK]
  assert '--processes and --process belong to' in fail('train', *arguments, '--processes=2')
  assert '--coordinator is host:port, or auto; got here.' in fail('train', *arguments, '--coordinator=here')
  sentence = '--coordinator needs --processes and a smaller --process, got 2 and 2.'
  assert sentence in fail('train', *arguments, '--coordinator=localhost:1', '--processes=2', '--process=2')
  assert 'did not find each other' in fail('train', *arguments, '--coordinator=auto', run=as_user)


def test_maps_in_a_file_give_the_same_and_leave_nothing_behind(quick_survey, finished, tmp_path):
  scratch = tmp_path / 'scratch'
  scratch.mkdir()
  arguments = [f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK]
  succeed('train', *arguments, f'--scratch={scratch}', '--block_maps=20')
  np.testing.assert_allclose(
    predictions(tmp_path / 'work')['logit'], predictions(finished)['logit'], rtol=1e-3, atol=1e-3
  )
  assert json.loads((tmp_path / 'work' / 'config.json').read_text())['execution']['streamed'] is True
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


# --- What is told meanwhile -------------------------------------------------------------------------------------


def line(fold, epoch, finished=False):
  metrics = {'loss': 0.5, 'validation_loss': 0.6, 'validation_tss': 0.1}
  return {'fold': fold, 'seed': 0, 'epoch': epoch, 'finished': finished, **metrics}


def test_tensorboard_files_are_written_where_asked_for(tmp_path):
  pytest.importorskip('tensorboardX')
  with board_writer(tmp_path / 'board') as write:
    write(line(0, 1))
  (events,) = (tmp_path / 'board').glob('events.out.tfevents.*')
  found = events.read_bytes()
  for key in ('loss', 'validation_loss', 'validation_tss'):
    assert f'fold00_seed0/{key}'.encode() in found


def test_curves_are_those_of_this_run(quick_survey, finished, tmp_path):
  pytest.importorskip('tensorboardX')
  workdir = shutil.copytree(finished, tmp_path / 'a work')
  (workdir / 'tensorboard').mkdir()
  (workdir / 'tensorboard' / 'events.out.tfevents.old').touch()
  arguments = f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK, '--overwrite', '--tensorboard'
  printed = succeed('train', *arguments)
  assert f"tensorboard --logdir='{workdir}/tensorboard'" in printed
  (events,) = (workdir / 'tensorboard').iterdir()
  found = events.read_bytes()
  # Two networks of three epochs.
  assert found.count(b'fold00_seed0/loss') == found.count(b'fold01_seed0/validation_tss') == 3


def test_epochs_are_counted_from_where_a_run_goes_on_in_a_few_lines(quick_survey, tmp_path, monkeypatch):
  arguments = f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK, '--checkpoint_every=1'
  monkeypatch.setattr(progress, 'DELAY_S', 0.01)  # And then after twice the time, and so on.
  lines = in_process('train', *arguments).stderr.split('\n')
  told = [line for line in lines if line.startswith('training: ')]
  assert told[0].startswith('training: 0/6 epochs (0%)')
  assert told[-1].startswith('training: 6/6 epochs (100%)') and 'fold 1 seed 0 epoch 3: loss 0.' in told[-1]
  assert 2 < len(lines) < 40 and '\r' not in ''.join(lines)
  (tmp_path / 'work' / 'predictions' / 'cnn.ecsv').unlink()
  shutil.rmtree(tmp_path / 'work' / 'checkpoints' / 'fold01_seed0')
  log = tmp_path / 'work' / 'metrics.jsonl'
  log.write_text(''.join(line for line in log.read_text().splitlines(keepends=True) if '"fold": 0' in line))
  told = [line for line in in_process('train', *arguments).stderr.split('\n') if line.startswith('training: ')]
  assert told[0].startswith('training: 3/6 epochs (50%)')
  assert told[-1].startswith('training: 6/6 epochs (100%)')
