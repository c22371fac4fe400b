"""Many small jobs on frames: collected one after another, worked on by Dask on one machine or a cluster.

A job says which frames it needs and what to do with them. Frames are collected in the process that drives; workers
only read files, and give back a few numbers. So many jobs are under way at a time as the settings allow, however many
there are: that bounds the memory, and the space that frames take on disk. A job that fails stops no other one.

Dask needs the extra `sun`.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import logging
import os
import pathlib
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from typing import Any

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.files import is_disk_full
from hearjax.observe.sources.frames import Frame, FrameSource, Need

CONNECT_S = 20.0  # How long a scheduler, and its first worker, may take to answer.
SAME_REASON = 3  # A source that fails so often in a row for the same reason will not do better.


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
  """Where the work is done.

  Attributes:
    scheduler: Address of a Dask scheduler (tcp://host:8786) whose workers see the same files; processes on this
      machine for ''.
    workers: Processes on this machine; as many as it has cores for 0.
    memory_gb: Memory of each of them [GB]; one that takes more is started anew.
    ahead: Region and interval pairs under way at a time, which bounds the space that frames take on disk; twice the
      number of workers for 0.
    queues: Of these, how many ask for frames at the same time.
  """

  scheduler: str = ''
  workers: int = 0
  memory_gb: float = 1.9
  ahead: int = 0
  queues: int = 1

  def __post_init__(self) -> None:
    check_positive('memory_gb', self.memory_gb)
    check_not_negative('workers', self.workers)
    check_not_negative('ahead', self.ahead)
    if self.queues < 1:
      raise UserError(f'At least one of the queues must ask for frames, got {self.queues}.')
    if self.scheduler and '://' not in self.scheduler:
      raise UserError(f'A scheduler is named as tcp://host:8786, got {self.scheduler!r}.')


@dataclasses.dataclass(frozen=True)
class Job:
  """Something to do with the frames of a need.

  Attributes:
    name: What to call it in a sentence.
    need: Its frames.
    work: What to do with them; it travels to a worker, and gives back little.
  """

  name: str
  need: Need
  work: Callable[[list[Frame]], Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a job ended.

  Attributes:
    value: What it gave back; None where it failed.
    reason: Why it failed, a sentence; '' where it did not.
    warnings: What it warned of.
    is_hopeless: Whether the others will fail for the same reason: the disk is full, the network is gone.
  """

  value: Any = None
  reason: str = ''
  warnings: tuple[str, ...] = ()
  is_hopeless: bool = False


class Crew:
  """Those who do the work: a standard executor, and how many jobs to give it."""

  def __init__(self, executor: concurrent.futures.Executor, ahead: int, queues: int = 1) -> None:
    self.executor = executor
    self.ahead = max(ahead, 1)
    self.queues = queues
    self._warned: set[str] = set()

  def run(self, jobs: Iterable[Job], source: FrameSource) -> Iterator[tuple[Job, Outcome]]:
    """Does jobs as their frames arrive; ends early where the others could only fail, too.

    Args:
      jobs: What to do.
      source: Whose frames; those of a job that is done are released, those of one that failed are kept.

    Yields:
      Each job with its outcome, in the order in which they end.

    Raises:
      ConnectionError: The scheduler is gone.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()
    wanted: queue.SimpleQueue = queue.SimpleQueue()
    # Threads that do not keep the program from ending: an export of JSOC may take hours.
    for _ in range(self.queues):
      threading.Thread(target=_collect, args=(source, wanted, events), daemon=True).start()
    try:
      yield from self._run(iter(jobs), source, wanted, events)
    finally:
      _empty(wanted)
      for _ in range(self.queues):
        wanted.put(None)

  def _run(
    self, waiting: Iterator[Job], source: FrameSource, wanted: queue.SimpleQueue, events: queue.SimpleQueue
  ) -> Iterator[tuple[Job, Outcome]]:
    under_way, reasons = 0, []
    while True:
      for job in itertools.islice(waiting, self.ahead - under_way):
        wanted.put(job)
        under_way += 1
      if not under_way:
        return
      job, result = events.get()
      if isinstance(result, list):
        self._submit(job, result, events)
        continue
      outcome = self._outcome(result)
      under_way -= 1
      if not outcome.reason:
        source.release(job.need)
      self._warn(job, outcome)
      yield job, outcome
      reasons = [*reasons, outcome.reason][-SAME_REASON:]
      is_same = len(reasons) == SAME_REASON and len(set(reasons)) == 1 and outcome.reason
      if outcome.is_hopeless or is_same:
        waiting = iter(())
        under_way -= _empty(wanted)

  def _submit(self, job: Job, frames: list[Frame], events: queue.SimpleQueue) -> None:
    try:
      future = self.executor.submit(_work, job.work, frames)
    except RuntimeError as error:  # Of a client that has lost its scheduler.
      raise _scheduler_gone() from error
    future.add_done_callback(lambda done: events.put((job, done)))

  def _warn(self, job: Job, outcome: Outcome) -> None:
    """Passes on what workers warned of, each once: a thousand jobs share one cause."""
    for text in outcome.warnings:
      if text not in self._warned:
        self._warned.add(text)
        warnings.warn(f'{job.name}, perhaps not alone: {text}', stacklevel=4)

  def _outcome(self, result: Outcome | concurrent.futures.Future) -> Outcome:
    if isinstance(result, Outcome):
      return result
    if result.cancelled():
      raise _scheduler_gone()
    try:
      return result.result()
    except Exception as error:
      # What the work itself raises is in its outcome: this is of a worker that died, again and again.
      return Outcome(reason=f'its worker died again and again ({type(error).__name__}); raise memory_gb if it is that.')


def _empty(wanted: queue.SimpleQueue) -> int:
  """Takes back what nobody has begun to collect; returns how many there were."""
  count = 0
  with contextlib.suppress(queue.Empty):
    while True:
      wanted.get_nowait()
      count += 1
  return count


def _scheduler_gone() -> ConnectionError:
  return ConnectionError('The scheduler is gone; start it and run again: what is done stays done.')


def _collect(source: FrameSource, wanted: queue.SimpleQueue, events: queue.SimpleQueue) -> None:
  """Collects frames until None is wanted; what goes wrong is the outcome of the job."""
  while (job := wanted.get()) is not None:
    try:
      events.put((job, source.collect(job.need)))
    except Exception as error:
      events.put((job, _failure(error)))


def _work(work: Callable[[list[Frame]], Any], frames: list[Frame]) -> Outcome:
  """Does a job, in a worker."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('default')
    try:
      value = work(frames)
    except Exception as error:
      return _failure(error)
  return Outcome(value, warnings=tuple(dict.fromkeys(str(one.message) for one in caught)))


def _failure(error: Exception) -> Outcome:
  is_hopeless = isinstance(error, ConnectionError) or is_disk_full(error)
  if isinstance(error, (UserError, OSError)):
    return Outcome(reason=' '.join(str(error).split()), is_hopeless=is_hopeless)
  last = traceback.extract_tb(error.__traceback__)[-1]
  where = f'{pathlib.Path(last.filename).name}, line {last.lineno}'
  return Outcome(reason=f'{type(error).__name__} in {where}: {" ".join(str(error).split())}')


# --- Dask -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_crew(settings: ClusterSettings, folder: str | os.PathLike) -> Iterator[Crew]:
  """Starts processes on this machine, or finds those of a cluster.

  A worker that dies costs no job: Dask gives what it had to another one, up to three times.

  Args:
    settings: Where.
    folder: What the workers must see.

  Raises:
    ConnectionError: The scheduler does not answer, or has no worker.
    UserError: A worker of the cluster does not see the folder.
  """
  import distributed  # Only here: it is not needed to look at a survey.

  with contextlib.ExitStack() as stack:
    if settings.scheduler:
      client = stack.enter_context(_connected(settings.scheduler))
      _check_sight(client, pathlib.Path(folder).resolve())
    else:
      client = stack.enter_context(distributed.Client(stack.enter_context(_started(settings))))
    threads = sum(client.nthreads().values())
    yield Crew(client.get_executor(pure=False), settings.ahead or 2 * threads, settings.queues)


def _started(settings: ClusterSettings) -> Any:
  """Starts processes on this machine: all of them, or none where it is interrupted."""
  import distributed

  # In a thread that Ctrl-C does not interrupt: half a cluster cannot be closed.
  with concurrent.futures.ThreadPoolExecutor(1, initializer=_turn_deaf) as pool:
    cluster = pool.submit(
      distributed.LocalCluster,
      n_workers=settings.workers or _cores(),
      threads_per_worker=1,
      memory_limit=int(settings.memory_gb * 1e9),
      dashboard_address=None,
      silence_logs=logging.CRITICAL,  # Of a worker that takes its time to end, or is ended in the middle of a job.
    )
    try:
      return cluster.result()
    except KeyboardInterrupt:
      cluster.result().close()
      raise


def _turn_deaf() -> None:
  """Lets the processes that this thread starts not hear Ctrl-C in a terminal: who has started them ends them."""
  if hasattr(signal, 'pthread_sigmask'):
    resource_tracker.ensure_running()  # As it starts it opens the ears of its thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _cores() -> int:
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
  import distributed

  try:
    client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
  except (OSError, ValueError) as error:
    raise ConnectionError(
      f'No Dask scheduler answers at {address}; start one (dask scheduler), or leave the scheduler out to work on this '
      'machine.'
    ) from error
  with client:
    try:
      client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
      raise ConnectionError(f'The scheduler {address} has no worker; start some (dask worker {address}).') from error
    yield client


def _check_sight(client: Any, folder: pathlib.Path) -> None:
  blind = [worker for worker, sees in client.run(os.path.isdir, str(folder)).items() if not sees]
  if blind:
    raise UserError(
      f'{len(blind)} workers of the cluster do not see {folder}, the first is {blind[0]}; they must share the file '
      'system: name a folder that all see.'
    )
