"""How tests run scripts: as a user does, or in the process of the tests, which has imported and compiled already."""

import contextlib
import io
import os
import pathlib
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from unittest import mock

from absl import app
from absl.testing import flagsaver

import experiments.cli  # noqa: F401  Its flag must be there before flags are saved.

ROOT = pathlib.Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess]

app.define_help_flags()  # Once in a process; a flag that a script defines is gone when it has ended.


def command(name: str, *arguments: object) -> list[str]:
  return [sys.executable, '-m', f'experiments.{name}', *map(str, arguments)]


def as_user(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
  """Runs a script in a process of its own."""
  return subprocess.run(
    command(name, *arguments), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300
  )


def in_process(name: str, *arguments: object) -> subprocess.CompletedProcess:
  """Does the same here; what is no mistake of the user's is raised."""
  arguments = [name, *map(str, arguments)]
  out, err = io.StringIO(), io.StringIO()
  status = None
  with (
    flagsaver.flagsaver(),
    warnings.catch_warnings(),
    mock.patch.object(sys, 'argv', arguments),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
  ):
    warnings.simplefilter('default')
    try:
      runpy.run_module(f'experiments.{name}', run_name='__main__', alter_sys=True)
    except SystemExit as exit:
      status = exit.code
  if isinstance(status, str):  # Python would print it and exit with 1.
    err.write(status + '\n')
    status = 1
  return subprocess.CompletedProcess(arguments, status or 0, out.getvalue(), err.getvalue())


def succeed(name: str, *arguments: object, run: Run = in_process) -> str:
  """Returns what a script prints."""
  result = run(name, *arguments)
  assert result.returncode == 0, result.stderr
  return result.stdout


def fail(name: str, *arguments: object, run: Run = in_process) -> str:
  """Returns the one clear sentence with which a script must end."""
  result = run(name, *arguments)
  assert result.returncode == 1
  assert 'Traceback' not in result.stderr
  assert 'error: ' in result.stderr
  return result.stderr.partition('error: ')[2].splitlines()[0]
