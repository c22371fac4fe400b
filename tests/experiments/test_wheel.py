"""An installed wheel: without the checkout, in an environment of its own, as a user has it."""

import os
import pathlib
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

from experiments.__main__ import scripts
from hearjax.survey.archive import read_survey
from tests.scripts import ROOT

BUILT_FROM = ('setup.cfg', 'pyproject.toml', 'requirements.txt', 'README.md', 'LICENSE', 'hearjax', 'experiments')
pytestmark = pytest.mark.slow


def run(folder: pathlib.Path, *words: object, status: int = 0) -> subprocess.CompletedProcess:
  """Runs a program in a folder that has nothing to do with the checkout."""
  environment = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'PYTHONHOME')}
  result = subprocess.run(
    list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
  )
  assert result.returncode == status, result.stderr
  return result


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> pathlib.Path:
  """The wheel of the checkout, built from a copy: a build leaves files behind."""
  folder = tmp_path_factory.mktemp('wheel')
  copy = folder / 'checkout'
  copy.mkdir()
  for name in BUILT_FROM:
    if (ROOT / name).is_dir():
      shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    else:
      shutil.copy(ROOT / name, copy)
  options = ('--quiet', '--no-index', '--no-deps', '--no-build-isolation', '--wheel-dir', folder)
  run(folder, sys.executable, '-m', 'pip', 'wheel', *options, copy)
  (built,) = folder.glob('*.whl')
  return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> pathlib.Path:
  """A new environment with the wheel, in an empty folder; the packages that it needs are those of the tests.

  They are found by a path file: path files beside them, such as that of an editable installation, are not read.
  """
  folder = tmp_path_factory.mktemp('empty')
  environment = folder / 'environment'
  venv.create(environment, symlinks=os.name != 'nt')
  packages = [path for path in sys.path if pathlib.Path(path).name in ('site-packages', 'dist-packages')]
  (own,) = environment.glob('lib/python*/site-packages')
  (own / 'needed.pth').write_text('\n'.join(packages))
  python = environment / 'bin' / 'python'
  options = ('--quiet', '--no-index', '--no-deps', '--no-compile', '--ignore-installed')
  run(folder, sys.executable, '-m', 'pip', '--python', python, 'install', *options, wheel)
  return folder


def hearjax(folder: pathlib.Path, *arguments: object, status: int = 0) -> subprocess.CompletedProcess:
  """Runs the installed command."""
  return run(folder, folder / 'environment' / 'bin' / 'hearjax', *arguments, status=status)


def test_the_wheel_holds_one_package_and_its_command(wheel):
  with zipfile.ZipFile(wheel) as content:
    names = content.namelist()
    (entry_points,) = (name for name in names if name.endswith('.dist-info/entry_points.txt'))
    assert 'hearjax = hearjax.experiments.__main__:main' in content.read(entry_points).decode().splitlines()
  assert {name.partition('/')[0] for name in names} == {'hearjax', entry_points.partition('/')[0]}
  modules = [*ROOT.glob('hearjax/**/*.py'), *ROOT.glob('experiments/**/*.py'), *ROOT.glob('hearjax/**/templates/*')]
  expected = {path.relative_to(ROOT).as_posix().replace('experiments/', 'hearjax/experiments/') for path in modules}
  assert {name for name in names if name.startswith('hearjax/')} == expected


def test_what_is_imported_is_the_installed_package(installed):
  code = 'import hearjax, hearjax.experiments.cli as cli; print(hearjax.__file__, cli.__file__, sep="\\n")'
  files = run(installed, installed / 'environment' / 'bin' / 'python', '-c', code).stdout.splitlines()
  assert all(pathlib.Path(file).is_relative_to(installed) for file in files)
  missing = run(installed, installed / 'environment' / 'bin' / 'python', '-c', 'import experiments', status=1)
  assert "No module named 'experiments'" in missing.stderr


def test_help_has_a_line_for_every_script(installed):
  lines = [line.split() for line in hearjax(installed, '--help').stdout.splitlines() if line.startswith('  ')]
  assert [words[0] for words in lines] == list(scripts())
  assert all(len(words) > 3 for words in lines)


def test_the_command_simulates_a_survey(installed):
  hearjax(installed, 'simulate_survey', f'--out={installed}/survey', '--pairs=2', '--size=16')
  assert read_survey(installed / 'survey').field.shape[1:] == (16, 16)


def test_an_unknown_script_is_told_in_one_sentence(installed):
  result = hearjax(installed, 'simulate_surveys', status=1)
  (line,) = result.stderr.splitlines()
  assert line.startswith("error: there is no script 'simulate_surveys'; there are ")
