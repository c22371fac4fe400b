"""For all tests: a survey small enough to check by hand, a small run, networks of worlds whose answer is known."""

import contextlib
import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
import pytest

import hearjax
from hearjax.simulate.sun import Sun, change_sun
from hearjax.simulate.worlds import simulate_survey
from hearjax.survey import intervals as hear_intervals
from hearjax.survey.archive import read_survey, write_survey
from hearjax.survey.survey import Survey
from hearjax.training.fit import fit
from hearjax.training.run import Run
from hearjax.training.settings import Execution, RunSettings, TrainSettings
from hearjax.training.workdir import PRODUCT
from tests.scripts import succeed


def make_survey(pairs: int = 3, intervals: Sequence[int] = (-2, -1), size: int = 32, seed: int = 0) -> Survey:
  """Returns a survey of `pairs` EARs and as many control regions, sorted by region and interval.

  The field is noise of 10 G; every EAR carries a bipole of 200 G in the middle besides, so that the two classes can
  be told apart. This is a test object and no picture of the Sun.
  """
  rng = np.random.default_rng(seed)
  names = sorted(
    (f'{kind}{pair:03d}', f'pair{pair:03d}', int(kind == 'EAR')) for pair in range(pairs) for kind in ('EAR', 'CR')
  )
  region = np.repeat(np.arange(len(names)), len(intervals))
  label = np.array([label for _, _, label in names])[region]
  pair = np.array([int(pair_id[4:]) for _, pair_id, _ in names])[region]
  interval = np.tile(np.sort(intervals), len(names))
  hours = np.array([hear_intervals.CENTRE_HOURS[int(number)] for number in interval])
  x = np.arange(size) - (size - 1) / 2
  bump = np.exp(-0.5 * (x[:, None] ** 2 + x**2) / (size / 10) ** 2)
  bipole = 200.0 * bump * np.sign(x)
  field = rng.normal(0.0, 10.0, (len(label), size, size)) + label[:, None, None] * bipole
  cmd = -20.0 + 5.0 * pair + 13.2 * hours / 24
  latitude = np.where(pair % 2, -15.0, 15.0)
  float32 = {
    'field': field,
    'hours': hours,
    'hours_start': hours - hear_intervals.WINDOW_HOURS / 2,
    'hours_end': hours + hear_intervals.WINDOW_HOURS / 2,
    'latitude': latitude,
    'longitude': (30.0 + 25.0 * pair + 90.0 * (1 - label)) % 360.0,
    'cmd': cmd,
    'mu': np.cos(np.deg2rad(latitude)) * np.cos(np.deg2rad(cmd)),
    'missing': np.zeros(len(label)),
  }
  int32 = {
    'label': label,
    'interval': interval,
    'noaa': (11100 + pair) * label,
    'n_frames': np.full(len(label), hear_intervals.FRAMES_PER_INTERVAL),
    'quality': np.zeros(len(label)),
    'region': region,
    'pair': pair,
  }
  return Survey(
    **{name: np.asarray(values, np.float32) for name, values in float32.items()},
    **{name: np.asarray(values, np.int32) for name, values in int32.items()},
    mjd=55500.0 + 7.0 * pair + 30.0 * (1 - label) + hours / 24,
    region_ids=tuple(name for name, _, _ in names),
    pair_ids=tuple(f'pair{number:03d}' for number in range(pairs)),
    pixel_scale_mm=1.39,
    source='test',
  )


def survey_apart(pairs: int, size: int = 16, intervals: Sequence[int] = (-2, -1)) -> Survey:
  """Returns such a survey whose regions follow each other at intervals of months, so that no two pairs are linked."""
  survey = make_survey(pairs=pairs, size=size, intervals=intervals)
  return survey.replace(mjd=55500.0 + 60.0 * survey.region)


@pytest.fixture
def tiny_survey() -> Survey:
  """Three pairs, two intervals, 32 x 32 px."""
  return make_survey()


# --- What is kept -------------------------------------------------------------------------------------------------

MOST_COMPILED = 2**30  # [bytes] A larger folder of compiled programs is emptied.


def pytest_configure(config: pytest.Config) -> None:
  """Lets what is compiled once serve all workers, scripts in processes of their own, and later sessions."""
  # Half of the time of a suite without kept programs is compilation; at this level it is less, and the programs are
  # as fast to the tests. Another choice of the environment stays.
  os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=1')
  folder = config.cache.mkdir('compiled')
  is_worker = 'PYTEST_XDIST_WORKER' in os.environ
  if not is_worker and sum(path.stat().st_size for path in folder.iterdir()) > MOST_COMPILED:
    shutil.rmtree(folder)
  for name, value in {'compilation_cache_dir': str(folder), 'persistent_cache_min_compile_time_secs': 0.0}.items():
    os.environ[f'JAX_{name.upper()}'] = str(value)
    jax.config.update(f'jax_{name}', value)
  worker = os.environ.get('PYTEST_XDIST_WORKER', '')
  if worker.startswith('gw') and hasattr(os, 'sched_setaffinity'):
    # A core for each worker: threads of several that share all cores are in each other's way.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})
  # Of an entry that another process has not written to its end: it is compiled here then.
  config.addinivalue_line('filterwarnings', 'ignore:Error reading persistent compilation cache entry')


@pytest.fixture(scope='module', autouse=True)
def forget_programs() -> Iterator[None]:
  """Lets the programs of a module go when it is over: a thousand of them take gigabytes. They are kept on disk."""
  yield
  jax.clear_caches()


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
  """Lets other processes wait here."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


@pytest.fixture(scope='session')
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A folder of the session that its workers share."""
  folder = tmp_path_factory.getbasetemp()
  return folder.parent if 'PYTEST_XDIST_WORKER' in os.environ else folder


# --- A run of the scripts, as small as can be -------------------------------------------------------------------

QUICK = ('--folds=2', '--epochs=3', '--batch_size=16', '--widths=4,8', '--kernels=3,3', '--strides=2,2')


@pytest.fixture(scope='session')
def quick_survey(session_folder: pathlib.Path) -> pathlib.Path:
  """A simulated archive: 12 pairs, two intervals, 32 x 32 px."""
  path = session_folder / 'quick' / 'survey'
  with locked(session_folder / 'quick_survey.lock'):
    if not path.exists():
      succeed('simulate_survey', f'--out={path}', '--pairs=12', '--size=32', '--intervals=-3,-1', '--seed=5')
  return path


@pytest.fixture(scope='session')
def quick_run(quick_survey: pathlib.Path, session_folder: pathlib.Path) -> pathlib.Path:
  """A finished work directory of two networks on it; tests that write take a copy."""
  workdir = quick_survey.parent / 'work'
  with locked(session_folder / 'quick_run.lock'):
    if not workdir.exists():
      succeed('train', f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK)
  return workdir


@pytest.fixture(scope='module')
def finished(quick_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A copy of `quick_run` for the tests of one module."""
  return pathlib.Path(shutil.copytree(quick_run, tmp_path_factory.mktemp('finished') / 'work'))


# --- Worlds whose answer is known -------------------------------------------------------------------------------

# Few strong bipoles on small maps: learnt in seconds, at both planted scales.
WORLDS = {
  'pattern_small': ('pattern', ('pattern_scale_mm=6', 'pattern_bipoles=3', 'pattern_mx=1e20')),
  'pattern_wide': (
    'pattern',
    (
      'pattern_width_mm=6',
      'pattern_scale_mm=14',
      'pattern_control_width_mm=24',
      'pattern_control_scale_mm=56',
      'pattern_bipoles=3',
      'pattern_mx=1e20',
    ),
  ),
  'flux': ('flux', ('flux_ratio=1.6',)),
  'null': ('null', ()),
}
WORLD_SEED, WORLD_PX = 301, 64
WORLD_PAIRS, WORLD_EPOCHS = 240, 40  # The same everywhere: one compilation trains all.


# What they depend on; all else may change and they are still the same.
ROOMS = ('.', 'survey', 'maps', 'verification', 'simulate', 'models', 'forecast', 'training')


@pytest.fixture(scope='session')
def known_world(request: pytest.FixtureRequest) -> Callable[[str], Run]:
  """Returns a function from a name in `WORLDS` to its finished run; each is trained once, and kept between sessions."""
  source = hashlib.sha256(f'{jax.__version__} {WORLD_SEED} {WORLD_PX} {WORLD_PAIRS} {WORLD_EPOCHS}'.encode())
  for room in ROOMS:
    for path in sorted((pathlib.Path(hearjax.__file__).parent / room).glob('*.py')):
      source.update(path.read_bytes())
  root = request.config.cache.mkdir('known_worlds')

  @functools.cache
  def trained(name: str) -> Run:
    world, changes = WORLDS[name]
    key = hashlib.sha256(repr((source.hexdigest(), world, changes)).encode()).hexdigest()[:16]
    folder = root / f'{name}_{key}'
    with locked(root / f'{name}.lock'):
      for stale in set(root.glob(f'{name}_*')) - {folder}:
        shutil.rmtree(stale)
      if not (folder / 'survey').exists():
        sun = change_sun(Sun(), changes)
        survey = simulate_survey(WORLD_SEED, WORLD_PAIRS, (-1,), WORLD_PX, world, sun)
        write_survey(folder / 'writing', survey)
        (folder / 'writing').rename(folder / 'survey')
      if not (folder / 'work' / PRODUCT).exists():
        train_world(read_survey(folder / 'survey'), folder / 'work')
      return Run.load(folder / 'work', folder / 'survey')

  return trained


def train_world(survey: Survey, workdir: pathlib.Path) -> None:
  """Trains two networks on a survey of a known world."""
  training = TrainSettings(epochs=WORLD_EPOCHS, batch_size=32)
  settings = RunSettings(folds=2, training=training)
  fit(survey, settings=settings, workdir=workdir, execution=Execution(checkpoint_every=WORLD_EPOCHS))
