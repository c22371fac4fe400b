"""The rooms of the library: none looks upward, all are installed, and nobody pays for what he does not use."""

import ast
import configparser
import pathlib
import subprocess
import sys

import pytest

import hearjax
from hearjax.verification.predictions import write_predictions
from tests.hand_made import random_table
from tests.scripts import ROOT

LIBRARY = ROOT / 'hearjax'
# From the ground up; rooms on one floor do not know each other.
FLOORS = (
  ('solar', 'files', 'checks', 'chunks', 'progress'),
  ('survey',),
  ('maps',),
  ('verification',),
  ('simulate', 'observe'),
  ('models',),
  ('forecast',),
  ('training',),
  ('interpret',),
  ('report',),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imported(path: pathlib.Path) -> set[str]:
  """Returns the full names of all modules that a file imports, anywhere in it."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: rooms are named in full'
      # A name may be that of a module or of something in it.
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def test_every_room_has_its_floor():
  rooms = {path.stem for path in LIBRARY.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()}
  assert rooms - {'__init__'} == set(FLOOR_OF)


@pytest.mark.parametrize('room', FLOOR_OF)
def test_no_room_looks_upward(room):
  files = [LIBRARY / f'{room}.py'] if (LIBRARY / f'{room}.py').exists() else sorted((LIBRARY / room).rglob('*.py'))
  assert files
  for path in files:
    for name in imported(path):
      assert name.partition('.')[0] not in ('experiments', 'tests'), f'{path} imports {name}'
      if name.startswith('hearjax.'):
        other = name.split('.')[1]
        below = FLOOR_OF[other] < FLOOR_OF[room] or other == room or not FLOOR_OF[room]
        assert below, f'{path} imports {name}, which is not below {room}'


def test_scripts_know_the_library_and_each_other_alone():
  for path in (ROOT / 'experiments').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and not node.level:
        assert node.module.partition('.')[0] not in ('experiments', 'tests'), f'{path}: scripts are named relatively'


def test_setup_cfg_lists_all_packages():
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg')
  listed = parser['options']['packages'].split()
  folders = {
    '.'.join(path.parent.relative_to(ROOT).parts)
    for top in ('hearjax', 'experiments')
    for path in (ROOT / top).rglob('__init__.py')
  }
  expected = {f'hearjax.{name}' if name.startswith('experiments') else name for name in folders}
  assert sorted(listed) == sorted(expected)


# --- What an import costs ---------------------------------------------------------------------------------------


def run_python(code: str, *arguments: object) -> None:
  """Runs code in a process of its own; it must end well."""
  command = [sys.executable, '-c', code, *map(str, arguments)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  ('module', 'absent'),
  [
    ('hearjax', ('jax', 'astropy', 'numpy', 'flax')),
    ('hearjax.verification.skill', ('jax',)),
    ('hearjax.verification.predictions', ('jax',)),
    ('hearjax.verification.scores', ('jax',)),
    ('hearjax.survey.archive', ('jax',)),
    ('hearjax.observe.building.build', ('jax', 'distributed', 'drms')),
    ('experiments.cli', ('jax',)),
  ],
)
def test_an_import_does_not_bring_what_it_has_no_use_for(module, absent):
  run_python(
    f'import sys, {module}\nthere = [name for name in {absent!r} if name in sys.modules]\nassert not there, there'
  )


def test_scores_are_computed_without_jax(tmp_path):
  for name in ('cnn', 'da_flux'):
    table = random_table(n_pairs=12, model=name, skill=1.0)
    write_predictions(tmp_path / 'predictions' / f'{name}.ecsv', table)
  run_python(
    'import sys\n'
    'from experiments import cli, verify\n'
    "status = cli.execute(verify, ['verify', f'--workdir={sys.argv[1]}', '--resamples=20'])\n"
    "assert status == 0 and 'jax' not in sys.modules",
    tmp_path,
  )
  assert (tmp_path / 'skill.ecsv').is_file()


def test_names_of_the_package_are_there_when_they_are_used():
  for name in hearjax.__all__:
    assert name == 'DISCRIMINANTS' or getattr(hearjax, name).__name__ == name
  assert 'fit' in dir(hearjax)
  with pytest.raises(AttributeError, match='nothing'):
    _ = hearjax.nothing
