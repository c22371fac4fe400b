"""Many small jobs on frames: by threads here, and by Dask with a scheduler and workers that are processes."""

import concurrent.futures
import errno
import functools
import os
import pathlib
import signal
import threading
import time
import warnings
from collections.abc import Iterator

import dask
import pytest

from hearjax.checks import UserError
from hearjax.observe.building.cluster import ClusterSettings, Crew, Job, open_crew
from hearjax.observe.sources.frames import Frame, Need
from tests.observe.building.dask_cluster import dask_cluster


class FakeSource:
  """Gives each need a frame named after its begin, and says what has happened."""

  name = 'folder'

  def __init__(self, errors: dict[int, Exception] | None = None) -> None:
    self.errors = errors or {}
    self.held: set[float] = set()
    self.most_held = 0
    self.collected: list[int] = []
    self.lock = threading.Lock()

  def collect(self, need: Need) -> list[Frame]:
    number = int(need.start_mjd)
    self.collected.append(number)
    if number in self.errors:
      raise self.errors[number]
    with self.lock:
      self.held.add(number)
      self.most_held = max(self.most_held, len(self.held))
    return [Frame(f'{number}.fits', float(number), 0)]

  def release(self, need: Need) -> None:
    with self.lock:
      self.held.remove(int(need.start_mjd))


def path_of(frames: list[Frame]) -> str:
  return frames[0].path


def fail_on(names: tuple[str, ...], error: Exception, frames: list[Frame]) -> str:
  if frames[0].path in names:
    raise error
  return frames[0].path


def jobs(count: int, work=path_of) -> list[Job]:
  return [Job(f'job {number}', Need(0, 0, number, number + 1, 10), work) for number in range(count)]


@pytest.fixture
def crew() -> Iterator[Crew]:
  with concurrent.futures.ThreadPoolExecutor(2) as executor:
    yield Crew(executor, ahead=3)


def test_every_job_is_done_on_its_own_frames_and_few_are_under_way(crew):
  source = FakeSource()
  outcomes = {job.name: outcome.value for job, outcome in crew.run(jobs(20), source)}
  assert outcomes == {f'job {number}': f'{number}.fits' for number in range(20)}
  assert source.collected == list(range(20))  # In their order: a queue of JSOC goes on where it was.
  assert not source.held and source.most_held <= 3


def test_one_failure_stops_no_other_job_and_its_frames_are_kept(crew):
  work = functools.partial(fail_on, ('1.fits', '4.fits'), UserError('The frame has no observer.'))
  source = FakeSource({2: OSError('JSOC could not make the export.')})
  outcomes = {job.name: outcome for job, outcome in crew.run(jobs(6, work), source)}
  reasons = {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason}
  assert reasons == {
    'job 1': 'The frame has no observer.',
    'job 4': 'The frame has no observer.',
    'job 2': 'JSOC could not make the export.',
  }
  assert outcomes['job 5'].value == '5.fits'
  assert source.held == {1, 4}


def test_a_fault_of_the_program_names_its_place(crew):
  work = functools.partial(fail_on, ('0.fits',), KeyError('colour'))
  (_, outcome), *_ = crew.run(jobs(1, work), FakeSource())
  assert outcome.reason.startswith('KeyError in test_cluster.py, line ') and "'colour'" in outcome.reason


@pytest.mark.parametrize(
  'error', [OSError(errno.ENOSPC, 'No space left on device'), ConnectionError('JSOC does not answer.')]
)
def test_a_full_disk_or_a_lost_network_is_not_tried_again_for_all_others(crew, error):
  source = FakeSource({3: error})
  outcomes = [outcome for _, outcome in crew.run(jobs(50), source)]
  assert sum(bool(outcome.reason) for outcome in outcomes) == 1
  assert 4 <= len(outcomes) < 10
  assert max(source.collected) < 10


def test_a_full_disk_met_in_a_worker_stops_the_others_too(crew):
  work = functools.partial(fail_on, ('0.fits',), OSError(errno.ENOSPC, 'No space left on device'))
  assert len(list(crew.run(jobs(50, work), FakeSource()))) < 10


def test_the_same_refusal_three_times_is_enough(crew):
  refusal = UserError('JSOC does not take the address.')
  source = FakeSource(dict.fromkeys(range(50), refusal))
  assert 3 <= len(list(crew.run(jobs(50), source))) < 10


def test_different_failures_in_a_row_are_those_of_the_jobs(crew):
  source = FakeSource({number: UserError(f'Place {number} lies beyond the limb.') for number in range(9)})
  assert len(list(crew.run(jobs(10), source))) == 10


def test_what_many_workers_warn_of_is_told_once(crew):
  def work(frames: list[Frame]) -> None:
    warnings.warn('B0 is not known.', stacklevel=1)

  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    outcomes = [outcome for _, outcome in crew.run(jobs(1, work), FakeSource())]
    outcomes += [outcome for _, outcome in crew.run(jobs(1, work), FakeSource())]
  assert [outcome.warnings for outcome in outcomes] == [('B0 is not known.',)] * 2
  assert [str(one.message) for one in caught] == ['job 0, perhaps not alone: B0 is not known.']


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'memory_gb': 0.0}, 'memory_gb must be positive'),
    ({'workers': -1}, 'workers must be finite and not negative'),
    ({'queues': 0}, 'At least one of the queues'),
    ({'scheduler': 'localhost'}, 'named as tcp://host:8786'),
  ],
)
def test_settings_that_make_no_sense(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    ClusterSettings(**changes)


# --- Dask -----------------------------------------------------------------------------------------------------------


def mark_and_wait(folder: pathlib.Path, seconds: float, frames: list[Frame]) -> int:
  """Leaves a file that tells which process has begun a job."""
  (folder / f'{frames[0].path}.{os.getpid()}').touch()
  time.sleep(seconds)
  return os.getpid()


@pytest.mark.slow
def test_a_cluster_does_all_jobs_though_a_worker_is_killed_in_the_middle(tmp_path):
  with dask_cluster(tmp_path, 2) as (address, _, workers):
    work = functools.partial(mark_and_wait, tmp_path, 0.3)
    with open_crew(ClusterSettings(scheduler=address), tmp_path) as crew:
      outcomes = {}
      for job, outcome in crew.run(jobs(12, work), FakeSource()):
        outcomes[job.name] = outcome
        if len(outcomes) == 2:
          victim = workers[0].pid
          workers[0].send_signal(signal.SIGKILL)
  assert len(outcomes) == 12 and not any(outcome.reason for outcome in outcomes.values())
  begun = [path.suffix for path in tmp_path.glob('*.fits.*')]
  assert len(begun) >= 12 and f'.{victim}' in begun


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr('hearjax.observe.building.cluster.CONNECT_S', 3.0)


def test_a_scheduler_that_does_not_answer(tmp_path, impatient):
  with (
    pytest.raises(ConnectionError, match=r'No Dask scheduler answers at tcp://127\.0\.0\.1:9'),
    open_crew(ClusterSettings(scheduler='tcp://127.0.0.1:9'), tmp_path),
  ):
    pass


@pytest.mark.slow
def test_a_cluster_that_cannot_work(tmp_path, impatient):
  with (
    dask_cluster(tmp_path, 0) as (address, *_),
    pytest.raises(ConnectionError, match='has no worker; start some'),
    open_crew(ClusterSettings(scheduler=address), tmp_path),
  ):
    pass
  with (
    dask_cluster(tmp_path, 1) as (address, *_),
    pytest.raises(UserError, match=r'1 workers of the cluster do not see .*nowhere'),
    open_crew(ClusterSettings(scheduler=address), tmp_path / 'nowhere'),
  ):
    pass


@pytest.mark.slow
def test_a_scheduler_that_is_lost_in_the_middle(tmp_path):
  with dask_cluster(tmp_path, 1) as (address, scheduler, _):
    work = functools.partial(mark_and_wait, tmp_path, 0.2)
    with (
      dask.config.set({'distributed.comm.timeouts.connect': '1s'}),
      open_crew(ClusterSettings(scheduler=address), tmp_path) as crew,
    ):
      outcomes = crew.run(jobs(20, work), FakeSource())
      next(outcomes)
      scheduler.kill()
      with pytest.raises(ConnectionError, match='The scheduler is gone; start it and run again'):
        list(outcomes)
