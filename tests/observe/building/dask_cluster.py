"""A cluster of Dask for tests: a scheduler and workers that are processes of their own, on this machine alone."""

import contextlib
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.scripts import ROOT


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen]:
  """Runs a command of Dask."""
  command = [sys.executable, '-m', 'distributed.cli.' + str(arguments[0]), *map(str, arguments[1:])]
  with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
    try:
      yield process
    finally:
      process.kill()


@contextlib.contextmanager
def dask_cluster(folder: pathlib.Path, workers: int) -> Iterator[tuple[str, subprocess.Popen, list[subprocess.Popen]]]:
  """Runs a scheduler and workers as processes of their own, on this machine alone."""
  with contextlib.ExitStack() as stack:
    file = folder / 'scheduler.json'
    file.unlink(missing_ok=True)
    place = ('--host', '127.0.0.1', '--no-dashboard')
    scheduler = stack.enter_context(running('dask_scheduler', *place, '--port', 0, '--scheduler-file', file))
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
      time.sleep(0.05)
    place = ('--host', '127.0.0.1', '--no-dashboard', '--nthreads', 1, '--no-nanny', '--local-directory', folder)
    processes = [stack.enter_context(running('dask_worker', '--scheduler-file', file, *place)) for _ in range(workers)]
    address = json.loads(file.read_text())['address']
    yield address, scheduler, processes
