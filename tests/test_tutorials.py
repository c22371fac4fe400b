"""The tutorials of the manual: what its build, which runs them, does not look at."""

import ast
import pathlib
import re

import pytest
import yaml

import hearjax
from tests.scripts import ROOT

TUTORIALS = sorted(path for path in (ROOT / 'docs' / 'tutorials').glob('*.md') if path.stem != 'index')
BLOCK = re.compile(r'^```([^\n]*)\n(.*?)^```$', flags=re.M | re.S)
CELL, PYTHON = '{code-cell} ipython3', 'python'
DRAWS = re.compile(r'\bImage\(|\bplt\.')


def blocks(path: pathlib.Path, kind: str) -> list[str]:
  return [block for known, block in BLOCK.findall(path.read_text()) if known == kind]


def options(cell: str) -> dict:
  """Returns what a cell says about itself above its code."""
  if cell.startswith('---\n'):
    return yaml.safe_load(cell.split('---\n')[1])
  lines = [line[1:] for line in cell.splitlines() if line.startswith(':')]
  return yaml.safe_load('\n'.join(lines)) or {}


def every_tutorial(function):
  return pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)(function)


def test_there_are_six():
  assert len(TUTORIALS) == 6


@every_tutorial
def test_python_that_is_shown_names_what_there_is(path):
  for block in blocks(path, PYTHON):
    used = [node.attr for node in ast.walk(ast.parse(block)) if is_of_hearjax(node)]
    assert used and set(used) <= set(hearjax.__all__)


def is_of_hearjax(node: ast.AST) -> bool:
  return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'hearjax'


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
