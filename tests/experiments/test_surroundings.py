"""What a user's machine and shell may be like: devices, folders and programs that are not there, memory, paths."""

import functools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

from hearjax.verification.predictions import write_predictions
from tests.conftest import QUICK
from tests.hand_made import random_table
from tests.scripts import ROOT, as_user, fail, succeed

NO_HOME = {
  'HOME': '/proc/none',
  **dict.fromkeys(('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR', 'JAX_COMPILATION_CACHE_DIR'), ''),
}
MEMORY = 'The memory does not suffice'


def logits(workdir) -> np.ndarray:
  return np.asarray(Table.read(workdir / 'predictions' / 'cnn.ecsv', format='ascii.ecsv')['logit'])


@pytest.fixture
def scored(tmp_path):
  """A work directory with the predictions of one model, and nothing else."""
  write_predictions(tmp_path / 'work' / 'predictions' / 'cnn.ecsv', random_table(n_pairs=12, model='cnn', skill=1.0))
  return tmp_path / 'work'


def written_figures(workdir) -> bool:
  pictures = [workdir / 'figures' / f'{name}.png' for name in ('skill', 'reliability')]
  return all(path.read_bytes().startswith(b'\x89PNG') for path in pictures)


# --- The environment of the shell -------------------------------------------------------------------------------


@pytest.mark.parametrize('platform', ['cuda', 'nonsense'])
def test_devices_that_are_not_here_are_told_before_the_survey_is_read(tmp_path, platform):
  run = functools.partial(as_user, JAX_PLATFORMS=platform)
  sentence = fail('train', f'--survey={tmp_path}/none', f'--workdir={tmp_path}/work', run=run)
  assert sentence.startswith(f'JAX_PLATFORMS={platform} asks for devices that are not here')
  assert 'set it to cpu to compute on the processor' in sentence
  assert not (tmp_path / 'work').exists()


def test_the_backend_of_a_notebook_is_not_needed(scored):
  run = functools.partial(as_user, MPLBACKEND='module://matplotlib_inline.backend_inline')
  succeed('verify', f'--workdir={scored}', '--resamples=20', run=run)
  assert written_figures(scored)


def test_a_home_that_cannot_be_written(quick_survey, finished, tmp_path):
  run = functools.partial(as_user, **NO_HOME)
  succeed('train', f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK, run=run)
  np.testing.assert_array_equal(logits(tmp_path / 'work'), logits(finished))
  succeed('verify', f'--workdir={tmp_path}/work', '--resamples=20', run=run)
  assert written_figures(tmp_path / 'work')


def test_git_is_not_needed(quick_survey, tmp_path):
  run = functools.partial(as_user, PATH=str(tmp_path))
  succeed('train', f'--survey={quick_survey}', f'--workdir={tmp_path}/work', *QUICK, run=run)
  assert json.loads((tmp_path / 'work' / 'config.json').read_text())['environment']['commit'] is None


def test_a_shell_with_64_bits_does_not_go_on_with_a_run_of_32(quick_survey, finished, tmp_path):
  workdir = shutil.copytree(finished, tmp_path / 'work')
  shutil.rmtree(workdir / 'predictions')
  shutil.rmtree(workdir / 'checkpoints' / 'fold01_seed0')
  arguments = f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK
  sentence = fail('train', *arguments, run=functools.partial(as_user, JAX_ENABLE_X64='1'))
  assert 'an interrupted run with other settings (jax.jax_enable_x64: was False, now True)' in sentence


# --- Paths ------------------------------------------------------------------------------------------------------


def test_the_tilde_is_the_folder_of_the_user(quick_survey, monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir(tmp_path / 'elsewhere')
  succeed('train', f'--survey={quick_survey}', '--workdir=~/run', *QUICK)
  assert (tmp_path / 'home' / 'run' / 'predictions' / 'cnn.ecsv').is_file()
  assert not list((tmp_path / 'elsewhere').iterdir())


def test_a_path_may_have_any_characters(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'run #1 100% é?x'
  succeed('train', f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK)
  np.testing.assert_array_equal(logits(workdir), logits(finished))


# --- Memory, and faults of the program --------------------------------------------------------------------------


def run_script(body: str) -> subprocess.CompletedProcess:
  """Runs a script whose `main` is the given line."""
  code = (
    'import sys, types\nfrom experiments import cli\n'
    "script = types.ModuleType('stub', 'A script.')\nscript.define_flags = lambda flags: None\n"
    f"def main(flags):\n  {body}\nscript.main = main\nsys.exit(cli.execute(script, ['stub']))"
  )
  return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
  'body',
  [
    'raise MemoryError',
    'import numpy; numpy.zeros((2**30, 2**25))',
    'import jax; jax.numpy.zeros((2**20, 2**30)).block_until_ready()',
  ],
)
def test_too_little_memory_is_one_sentence(body):
  done = run_script(body)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'error: {MEMORY} (') and 'take fewer or smaller maps at a time' in line


@pytest.mark.parametrize(
  ('body', 'kind'),
  [
    ('import jax; jax.numpy.zeros(3) + jax.numpy.zeros(4)', 'TypeError'),
    ('import numpy; numpy.zeros(3) + numpy.zeros(4)', 'ValueError'),
    ('import jax; jax.numpy.zeros(3).reshape(2)', 'TypeError'),
  ],
)
def test_a_fault_of_the_program_shows_where_it_is(body, kind):
  done = run_script(body)
  assert done.returncode == 1
  assert 'Traceback' in done.stderr and f'\n{kind}: ' in done.stderr
  assert 'error: ' not in done.stderr.splitlines()[0]
