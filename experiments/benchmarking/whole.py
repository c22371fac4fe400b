"""Groups of `benchmark` that run something from end to end: an archive, `reproduce`, the test suite."""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from hearjax.simulate.worlds import simulate_survey
from hearjax.survey.archive import read_survey, write_survey

from .common import FULL, SMALL
from .timing import Group


def archive(size: dict, seed: int) -> Iterator[Group]:
  """Simulating, writing and reading a survey; seconds for one magnetogram of 128 x 128 px."""
  survey = simulate_survey(seed, size['simulated'])
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    write_survey(root / 'survey', survey)

    def write() -> None:
      with tempfile.TemporaryDirectory() as other:
        write_survey(other, survey)

    cases = {
      'read': lambda: read_survey(root / 'survey').field,
      'read, maps mapped from a file': lambda: read_survey(root / 'survey', scratch=root).field[0],
      'write': write,
      'simulate': lambda: simulate_survey(seed, size['simulated']).field,
    }
    yield Group('archive', cases, units=len(survey))


def reproduction(size: dict, seed: int) -> Iterator[Group]:
  """`reproduce --quick` from a cold start, step by step, with the programs that each step compiles."""
  with tempfile.TemporaryDirectory() as folder:
    arguments = ['--quick', f'--workdir={folder}/run', f'--seed={seed}', '--compilation_cache=']
    if size is SMALL:
      arguments.append('--until=simulate_survey')
    started = time.perf_counter()
    _run('reproduce', *arguments)
    whole = time.perf_counter() - started
    steps = json.loads(pathlib.Path(folder, 'run', 'timing.json').read_text())
  seconds = {'whole': whole} | {name: step['seconds'] for name, step in steps.items()}
  programs = {name: step['programs'] for name, step in steps.items()}
  target = {} if size is SMALL else {'target': 'whole', 'largest_seconds': 150}
  yield Group('reproduce', {}, once=True, programs=programs, seconds=seconds, **target)


def suite(size: dict, seed: int) -> Iterator[Group]:
  """The test suite, as `make test` runs it; only from a checkout."""
  root = pathlib.Path(__file__).parents[2]
  tests = [] if size is FULL else ['tests/test_chunks.py']
  if not (root / 'tests').is_dir():
    return
  with tempfile.TemporaryDirectory() as cache:
    command = [
      sys.executable,
      '-m',
      'pytest',
      '-n',
      '2',
      '--dist',
      'loadfile',
      '--no-loadscope-reorder',
      '-o',
      f'cache_dir={cache}',
      *tests,
    ]
    run = functools.partial(subprocess.run, command, check=True, cwd=root, stdout=subprocess.DEVNULL)
    cases = {'two workers, nothing kept': lambda: run().returncode}
    yield Group('test suite', cases, target='two workers, nothing kept', largest_seconds=300, once=True)


def _run(script: str, *arguments: str) -> int:
  command = [sys.executable, '-m', __package__.rpartition('.')[0], script, *arguments]
  return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
