"""The command line of every script: its help, and how a user's mistake is told."""

import pathlib
import subprocess

import pytest

from tests.scripts import ROOT, as_user, in_process

SCRIPTS = sorted(
  path.stem
  for path in (ROOT / 'experiments').glob('*.py')
  if path.stem not in ('__init__', 'cli') and path.stem[0] != '_'
)


def import_hear(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
  """Runs import_hear with a region table that is not there, unless the arguments say otherwise."""
  required = (f'--cubes={folder}', f'--regions={folder}/none.csv', f'--out={folder}/out')
  return as_user('import_hear', *required, *arguments)


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_lists_the_flags(name):
  result = in_process(name, '--help')
  # absl exits with 1 after --help; what matters is that the text is there and nothing else went wrong.
  assert 'Traceback' not in result.stderr, result.stderr
  own = (ROOT / 'experiments' / f'{name}.py').read_text()
  assert own.split('"""')[1].splitlines()[0].strip() in result.stdout, 'the help begins with the docstring'
  for flag in ('survey', 'workdir', 'seed'):
    if f'define_{flag}_flag(' in own:
      assert f'--{flag}:' in result.stdout


def test_every_script_is_run_through_cli():
  for name in SCRIPTS:
    assert 'cli.run(main)' in (ROOT / 'experiments' / f'{name}.py').read_text(), name


def assert_one_line(result: subprocess.CompletedProcess, sentence: str) -> None:
  assert result.returncode == 1
  assert 'Traceback' not in result.stderr
  lines = [line for line in result.stderr.splitlines() if line and not line.startswith('Pass --helpshort')]
  assert len(lines) == 1, result.stderr
  assert sentence in lines[0]


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    (['--pears=3'], "Unknown command line flag 'pears'"),
    (['pears'], "error: unexpected argument 'pears'; flags are written --name=value"),
    (['--size=large'], 'flag --size=large'),
    (['--intervals=-1,now'], 'error: --intervals are whole numbers from -5 to 1, got -1,now.'),
    ([], 'error: There is no region table'),
  ],
)
def test_a_mistake_is_one_line_and_exit_status_1(tmp_path, arguments, sentence):
  assert_one_line(import_hear(tmp_path, *arguments), sentence)


def test_missing_required_flag(tmp_path):
  result = as_user('import_hear', f'--cubes={tmp_path}', f'--regions={tmp_path}/none.csv')
  assert_one_line(result, 'Flag --out must have a value')


def test_debug_shows_the_traceback(tmp_path):
  result = import_hear(tmp_path, '--debug')
  assert result.returncode == 1
  assert 'Traceback' in result.stderr
  assert 'FileNotFoundError: There is no region table' in result.stderr


@pytest.mark.parametrize('seed', ['-1', str(2**32)])
def test_seed_is_one_that_a_random_key_can_hold(tmp_path, seed):
  result = as_user('simulate_survey', f'--seed={seed}', f'--out={tmp_path}/survey')
  assert_one_line(result, f'flag --seed={seed}')


@pytest.fixture
def without_sunpy(tmp_path) -> dict[str, str]:
  """An environment whose sunpy is not installed."""
  stub = tmp_path / 'stub' / 'sunpy'
  stub.mkdir(parents=True)
  (stub / '__init__.py').write_text("raise ModuleNotFoundError(\"No module named 'sunpy'\", name='sunpy')\n")
  return {'PYTHONPATH': str(stub.parent)}


def test_missing_extra_is_named(tmp_path, without_sunpy):
  (tmp_path / 'a.fits').touch()
  arguments = f'--out={tmp_path}/survey', f'--figure={tmp_path}/a.png', f'--compare_with={tmp_path}/a.fits'
  result = as_user('simulate_survey', *arguments, **without_sunpy)
  assert_one_line(result, 'sunpy is not installed')
  assert 'pip install "hearjax[sun]"' in result.stderr
  assert not (tmp_path / 'survey').exists()
  shown = as_user('score', '--help', **without_sunpy)
  assert 'Traceback' not in shown.stderr and '--step_mm:' in shown.stdout
