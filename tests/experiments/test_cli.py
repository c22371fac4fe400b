"""The command line: flags that are made of settings, the help of every script, how a user's mistake is told."""

import ast
import dataclasses
import importlib
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from experiments import cli
from experiments.__main__ import scripts
from experiments.flags import REPEAT
from hearjax.interpret.synthetic import SyntheticSettings
from hearjax.models.network import ModelSettings
from hearjax.training.settings import Execution, RunSettings
from tests.scripts import ROOT, as_user, in_process, written_elsewhere

SCRIPTS = tuple(scripts())
REQUIRED = ('survey', 'workdir', 'out', 'cubes', 'regions', 'fits')  # By some script or other.


def flags_of(name: str) -> cli.Flags:
  """Returns the flags of a script, not parsed yet."""
  flags = cli.Flags()
  importlib.import_module(f'experiments.{name}').define_flags(flags)
  return flags


def parsed(name: str, *arguments: str) -> cli.Flags:
  """Returns the flags of a script with some values, and something for all that it needs."""
  flags = flags_of(name)
  needed = [f'--{flag}=some' for flag in REQUIRED if flag in flags._names and f'--{flag}=' not in ' '.join(arguments)]
  flags.parse([name, *needed, *arguments])
  return flags


def import_hear(folder: pathlib.Path, *arguments: str, run=in_process) -> subprocess.CompletedProcess:
  """Runs import_hear with a region table that is not there, unless the arguments say otherwise."""
  required = (f'--cubes={folder}', f'--regions={folder}/none.csv', f'--out={folder}/out')
  return run('import_hear', *required, *arguments)


# --- Flags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', SCRIPTS)
def test_every_entry_of_settings_has_a_flag_with_its_text_and_its_default(name):
  flags = flags_of(name)
  for kind, names in flags._entries.items():
    documented = ' '.join(ast.get_docstring(ast.parse(_source(kind)).body[0]).split())
    for field in dataclasses.fields(kind):
      if dataclasses.is_dataclass(field.type):
        assert field.type in flags._entries
        continue
      flag = flags._values[names[field.name]]
      default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
      assert getattr(flags, names[field.name]) == default, (kind, field.name)
      own = re.sub(r'^<[^>]*>: ', '', flag.help.partition(REPEAT)[0])  # absl puts the choices before it.
      assert own in documented or own in SHARED_TEXTS, (kind, field.name)
      assert f'--{names[field.name]}: ' in flags.help()
  assert name not in ('train', 'baseline', 'prune', 'respond', 'attribute', 'import_hear') or flags._entries


# Flags of several scripts that are entries of settings as well.
SHARED_TEXTS = (
  'The one random key of the run, a non-negative integer.',
  'Radius (standard deviation) of the central window of the meter of |B| [Mm], where the networks have none.',
)


def _source(kind: type) -> str:
  tree = ast.parse(pathlib.Path(sys.modules[kind.__module__].__file__).read_text())
  return ast.unparse(next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__))


@pytest.mark.parametrize('name', SCRIPTS)
def test_without_flags_the_settings_are_the_default_ones(name):
  flags = parsed(name)
  for kind in flags._entries:
    assert flags.build(kind) == kind()


def test_settings_are_built_of_the_values_given():
  given = ['--seed=7', '--widths=4,8', '--kernels=3', '--kernels=5', '--strides=2,1', '--learning_rate=0.02']
  given += ['--noaugment_mirror', '--augment_shift_px=0', '--train_intervals=-2,-1', '--symmetries=polarity']
  flags = parsed('train', *given, '--streamed', '--lowering=lax', '--checkpoint_every=3')
  settings = flags.build(RunSettings)
  default = RunSettings()
  training = dataclasses.replace(
    default.training,
    learning_rate=0.02,
    augmentation=dataclasses.replace(default.training.augmentation, mirror=False, shift_px=0),
  )
  model = ModelSettings(widths=(4, 8), kernels=(3, 5), strides=(2, 1), symmetries=('polarity',))
  assert settings == RunSettings(seed=7, train_intervals=(-2, -1), model=model, training=training)
  assert flags.build(Execution) == Execution(streamed=True, lowering='lax', checkpoint_every=3)
  assert flags.build(Execution, streamed=False, block_maps=7).block_maps == 7
  assert flags.given('seed') and not flags.given('folds')


def test_lists_take_commas_and_repetition_and_may_be_emptied():
  assert parsed('respond', '--family=spot,bipole', '--family=random').build(SyntheticSettings).families == (
    'spot',
    'bipole',
    'random',
  )
  assert parsed('respond', '--scales_mm=4, 9.5').build(SyntheticSettings).scales_mm == (4.0, 9.5)
  assert parsed('train', '--train_intervals=').build(RunSettings).train_intervals == ()
  assert parsed('score', '--fits=a,b.fits', '--fits=c').fits == ('a,b.fits', 'c')  # Files may have commas in them.
  assert parsed('simulate_survey', '--sun=bipole_hours=[8, 20]').sun == ('bipole_hours=[8, 20]',)
  with pytest.raises(ValueError, match='flag --parts= names nothing; leave it out for the default'):
    parsed('respond', '--parts=')


def test_the_folder_of_the_user_is_found(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  flags = parsed('verify', '--workdir=~/work', '--predictions=~/a.ecsv', '--predictions=b.ecsv')
  assert flags.workdir == f'{tmp_path}/work'
  assert flags.predictions == (f'{tmp_path}/a.ecsv', 'b.ecsv')
  assert flags.compilation_cache == f'{tmp_path}/.cache/hearjax'


def test_scripts_that_follow_each_other_know_nothing_of_one_another(tmp_path):
  first, second = parsed('prune', '--members=3'), parsed('respond', '--seed=4')
  assert (first.members, first.seed, second.seed) == (3, 0, 4)
  with pytest.raises(AttributeError, match='no flag members'):
    _ = second.members
  assert not {'members', 'survey', 'workdir'} & set(absl_flags.FLAGS)
  # With one value after the other in one process.
  out = tmp_path / 'survey'
  for pairs in (2, 1):
    small = (f'--pairs={pairs}', '--size=16', '--intervals=-1', '--overwrite')
    assert f'of {pairs} pairs' in in_process('simulate_survey', f'--out={out}', *small).stdout
  assert 'no table' in in_process('verify', f'--workdir={tmp_path}').stderr


def test_tests_do_not_write_into_the_folder_of_the_user(monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  small = ('--pairs=1', '--size=16', '--intervals=-1')
  assert in_process('simulate_survey', f'--out={tmp_path}/survey', *small).returncode == 0
  assert [path.name for path in tmp_path.iterdir()] == ['survey']


# --- Help -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', SCRIPTS)
@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_lists_the_flags(name, flag):
  result = in_process(name, flag)
  assert (result.returncode, result.stderr) == (0, '')
  module = importlib.import_module(f'experiments.{name}')
  assert result.stdout.startswith(module.__doc__.splitlines()[0]), 'the help begins with the docstring'
  for own in flags_of(name)._names:
    assert f'\n  --{own}:' in result.stdout


def test_the_command_lists_its_scripts():
  for arguments in ([], ['--help']):
    shown = subprocess.run(
      [sys.executable, '-m', 'experiments', *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (shown.returncode, shown.stderr) == (0, '')
    for name, line in scripts().items():
      assert f'  {name} ' in shown.stdout and line in shown.stdout
  assert "error: there is no script 'foo'; there are attribute" in as_user('foo').stderr
  assert set(SCRIPTS) == {'benchmark', 'study', 'foreign', 'reproduce', *_scripts_of_the_chain()}


def _scripts_of_the_chain() -> set[str]:
  from experiments.reproduce import STEPS

  return {*STEPS, 'import_hear', 'score'}


@pytest.mark.parametrize('name', SCRIPTS)
def test_every_script_is_run_through_cli(name):
  assert "if __name__ == '__main__':\n  cli.run(__name__)" in (ROOT / 'experiments' / f'{name}.py').read_text()


def test_a_script_can_be_run_as_a_module(tmp_path):
  command = [sys.executable, '-m', 'experiments.verify', f'--workdir={tmp_path}']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
  assert_one_line(done, 'error: There is no table in')


# --- Mistakes ---------------------------------------------------------------------------------------------------


def assert_one_line(result: subprocess.CompletedProcess, sentence: str) -> None:
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: ') and sentence in line


MISTAKES = [
  (['--pears=3'], "Unknown command line flag 'pears'"),
  (['pears'], "unexpected argument 'pears'; flags are written --name=value"),
  (['--size=large'], 'flag --size=large'),
  (['--intervals=-1,now'], 'flag --intervals=-1,now'),
  ([], 'There is no region table'),
]


@pytest.mark.parametrize(('arguments', 'sentence'), MISTAKES)
def test_a_mistake_is_one_line_and_exit_status_1(tmp_path, arguments, sentence):
  assert_one_line(import_hear(tmp_path, *arguments), sentence)


@pytest.mark.parametrize(('arguments', 'sentence'), [MISTAKES[0], MISTAKES[-1]])
def test_so_it_is_to_a_user(tmp_path, arguments, sentence):
  assert_one_line(import_hear(tmp_path, *arguments, run=as_user), sentence)


def test_missing_required_flag(tmp_path):
  result = in_process('import_hear', f'--cubes={tmp_path}', f'--regions={tmp_path}/none.csv')
  assert_one_line(result, 'Flag --out must have a value')


@pytest.mark.parametrize(
  ('name', 'argument', 'sentence'),
  [
    ('train', '--lowering=fft', 'flag --lowering=fft: value should be one of'),
    ('train', '--epochs=0', 'epochs must be at least 1, got 0'),
    ('train', '--precision=float64', 'flag --precision=float64'),
    ('baseline', '--models=da_cubic', 'flag --models=da_cubic'),
    ('respond', '--family=tripole', 'flag --family=tripole'),
    ('attribute', '--resamples=3', 'flag --resamples=3'),
    ('score', '--latitude=100', 'flag --latitude=100'),
  ],
)
def test_values_that_cannot_be(tmp_path, name, argument, sentence):
  needed = [f'--{flag}={tmp_path}/none' for flag in REQUIRED if flag in flags_of(name)._names]
  assert_one_line(in_process(name, *needed, argument), sentence)


def test_debug_shows_the_traceback(tmp_path):
  result = import_hear(tmp_path, '--debug', run=as_user)
  assert result.returncode == 1
  assert 'Traceback' in result.stderr
  assert 'FileNotFoundError: There is no region table' in result.stderr


@pytest.mark.parametrize('seed', ['-1', str(2**32)])
def test_seed_is_one_that_a_random_key_can_hold(tmp_path, seed):
  result = in_process('simulate_survey', f'--seed={seed}', f'--out={tmp_path}/survey')
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
  assert shown.returncode == 0 and '--step_mm:' in shown.stdout


# --- One run at a time ------------------------------------------------------------------------------------------

WRITERS = tuple(name for name in SCRIPTS if flags_of(name)._written)


@pytest.mark.parametrize('name', WRITERS)
def test_a_second_run_of_a_script_is_refused(tmp_path, name):
  needed = [f'--{flag}={tmp_path}' for flag in REQUIRED if flag in flags_of(name)._names]
  with written_elsewhere(tmp_path, name):
    assert_one_line(in_process(name, *needed), f'{tmp_path} is being written by another {name}; wait until it has')
    assert [path.name for path in tmp_path.iterdir()] == [f'.{name}.lock']


def test_scripts_that_write_are_kept_apart():
  assert {'simulate_survey', 'baseline', 'prune', 'respond', 'attribute', 'reproduce'} <= set(WRITERS)


@pytest.mark.parametrize('name', ['prune', 'respond', 'attribute'])
def test_what_is_no_work_directory_does_not_become_one(tmp_path, name):
  assert_one_line(in_process(name, f'--workdir={tmp_path}/none'), 'is not a work directory: there is no config.json')
  assert not list(tmp_path.iterdir())


def test_a_script_that_another_one_calls_is_kept_apart_as_well(tmp_path):
  with written_elsewhere(tmp_path, 'simulate_survey'), pytest.raises(BlockingIOError, match='another simulate_survey'):
    cli.call('simulate_survey', out=tmp_path, pairs=1)
