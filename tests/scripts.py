"""How tests run scripts: as a user does, or in the process of the tests, which has imported and compiled already."""

import contextlib
import importlib
import io
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

from absl import logging

from experiments import cli

ROOT = pathlib.Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess]


def command(name: str, *arguments: object) -> list[str]:
  return [sys.executable, '-m', 'experiments', name, *map(str, arguments)]


def as_user(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
  """Runs a script in a process of its own."""
  return subprocess.run(
    command(name, *arguments), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300
  )


def in_process(name: str, *arguments: object) -> subprocess.CompletedProcess:
  """Does the same here; what is no mistake of the user's is raised."""
  out, err, verbosity = io.StringIO(), io.StringIO(), logging.get_verbosity()
  argv = [name, *map(str, arguments)]
  with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    warnings.simplefilter('default')
    try:
      status = cli.execute(importlib.import_module(f'experiments.{name}'), argv)
    except SystemExit as end:  # With a sentence, which Python would print, or a status.
      status = end.code
      if isinstance(status, str):
        status = print(status, file=err) or 1
    finally:
      logging.set_verbosity(verbosity)
  return subprocess.CompletedProcess(argv, status or 0, out.getvalue(), err.getvalue())


def succeed(name: str, *arguments: object, run: Run = in_process) -> str:
  """Returns what a script prints."""
  result = run(name, *arguments)
  assert result.returncode == 0, result.stderr
  return result.stdout


def broken(*_: object, **__: object) -> None:
  """Stands for a figure that cannot be drawn."""
  raise RuntimeError('no figure')


def fail(name: str, *arguments: object, run: Run = in_process) -> str:
  """Returns the one clear sentence with which a script must end."""
  result = run(name, *arguments)
  assert result.returncode == 1
  assert 'Traceback' not in result.stderr
  assert 'error: ' in result.stderr
  return result.stderr.partition('error: ')[2].splitlines()[0]


@contextlib.contextmanager
def written_elsewhere(folder: pathlib.Path, what: str) -> Iterator[subprocess.Popen]:
  """Lets another process be the one that writes into a folder."""
  code = (
    'import sys\nfrom hearjax.files import sole_writer\n'
    "with sole_writer(*sys.argv[1:]):\n  print('there', flush=True)\n  sys.stdin.read()"
  )
  command = [sys.executable, '-c', code, str(folder), what]
  with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout.readline() == 'there\n'
    yield process
