"""The tutorials of the manual: what its build, which runs them, does not look at."""

import ast
import importlib
import pathlib
import re
import shlex

import pytest
import yaml

import hearjax
from experiments import cli
from experiments.__main__ import scripts
from experiments.flags import Flags
from tests.scripts import ROOT

TUTORIALS = sorted(path for path in (ROOT / 'docs' / 'tutorials').glob('*.md') if path.stem != 'index')
BLOCK = re.compile(r'^```([^\n]*)\n(.*?)^```$', flags=re.M | re.S)
CELL, SHELL, PYTHON = '{code-cell} ipython3', 'sh', 'python'
DRAWS = re.compile(r'\bImage\(|\bplt\.')


def blocks(path: pathlib.Path, kind: str) -> list[str]:
  return [block for known, block in BLOCK.findall(path.read_text()) if known == kind]


def options(cell: str) -> dict:
  """Returns what a cell says about itself above its code."""
  if cell.startswith('---\n'):
    return yaml.safe_load(cell.split('---\n')[1])
  lines = [line[1:] for line in cell.splitlines() if line.startswith(':')]
  return yaml.safe_load('\n'.join(lines)) or {}


def flags_of(name: str) -> Flags:
  assert name in scripts(), f'There is no script {name!r}.'
  flags = Flags()
  importlib.import_module(f'experiments.{name}').define_flags(flags)
  return flags


def commands(text: str) -> list[list[str]]:
  """Returns the words after `hearjax` of every command."""
  lines = text.replace('\\\n', ' ').splitlines()
  words = [shlex.split(line, comments=True) for line in lines if re.match(r'(srun )?hearjax\b', line)]
  return [line[line.index('hearjax') + 1 :] for line in words]


def every_tutorial(function):
  return pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)(function)


def test_there_are_six():
  assert len(TUTORIALS) == 6


@every_tutorial
def test_commands_that_are_shown_are_taken_by_their_scripts(path):
  for name, *arguments in (command for block in blocks(path, SHELL) for command in commands(block)):
    flags = flags_of(name)
    if not set(arguments) & set(cli.HELP):
      flags.parse([name, *arguments])


def test_a_command_behind_a_scheduler_is_found_and_refused():
  ((name, *arguments),) = commands('#SBATCH --nodes=2\nsrun hearjax train --survey=a \\\n  --workdir=b --fold=3\n')
  with pytest.raises(hearjax.UserError, match="Unknown command line flag 'fold'"):
    flags_of(name).parse([name, *arguments])


@every_tutorial
def test_python_that_is_shown_names_what_there_is(path):
  for block in blocks(path, PYTHON):
    used = [node.attr for node in ast.walk(ast.parse(block)) if is_of_hearjax(node)]
    assert used and set(used) <= set(hearjax.__all__)


def is_of_hearjax(node: ast.AST) -> bool:
  return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'hearjax'


@every_tutorial
def test_flags_in_sentences_are_those_of_a_script(path):
  known = {name for script in scripts() for name in re.findall(r'^  --(\w+):', flags_of(script).help(), flags=re.M)}
  code = ' '.join(re.findall('`([^`]+)`', BLOCK.sub('', path.read_text())))
  assert set(re.findall(r'(?<![\w-])--(\w+)', code)) <= known | {'help'}


@every_tutorial
def test_every_picture_is_described(path):
  drawn = [cell for cell in blocks(path, CELL) if DRAWS.search(cell)]
  assert drawn
  for cell in drawn:
    assert len(options(cell)['mystnb']['image']['alt']) > 30, cell


@every_tutorial
def test_nothing_is_written_into_the_checkout(path):
  front = yaml.safe_load(path.read_text().split('---\n')[1])
  assert front['mystnb']['execution_in_temp'] is True


@every_tutorial
def test_nothing_passes_for_evidence_about_the_sun(path):
  assert re.search(r'simulat.*says\s+nothing\s+about\s+the\s+Sun', path.read_text(), flags=re.S | re.I)


@every_tutorial
def test_a_command_that_fails_stops_the_build(path):
  for cell in blocks(path, CELL):
    first = next(line for line in cell.splitlines() if not line.startswith(':'))
    assert '!' not in cell.split() and first.startswith(('%%bash -e',)) == ('%%' in cell)


@every_tutorial
def test_code_fits_beside_the_navigation(path):
  longest = max(len(line) for cell in blocks(path, CELL) for line in code_of(cell).splitlines())
  assert longest <= 78


def code_of(cell: str) -> str:
  return cell.split('---\n', 2)[2] if cell.startswith('---\n') else re.sub(r'^:.*\n', '', cell, flags=re.M)
