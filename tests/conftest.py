"""For all tests: a survey small enough to check by hand, a small run, networks of worlds whose answer is known."""

import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
import pytest

from hearjax.simulate.sun import Sun, change_sun
from hearjax.simulate.worlds import simulate_survey
from hearjax.survey import intervals as hear_intervals
from hearjax.survey.survey import Survey
from hearjax.training.fit import fit
from hearjax.training.run import Run
from hearjax.training.settings import RunSettings, TrainSettings
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


@pytest.fixture
def tiny_survey() -> Survey:
  """Three pairs, two intervals, 32 x 32 px."""
  return make_survey()


@pytest.fixture(scope='session', autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
  """What is compiled once serves the whole session, scripts in processes of their own among it."""
  options = {'compilation_cache_dir': str(tmp_path_factory.mktemp('compiled'))}
  options['persistent_cache_min_compile_time_secs'] = '0.1'
  with pytest.MonkeyPatch.context() as patch:
    for name, value in options.items():
      patch.setenv(f'JAX_{name.upper()}', value)
    jax.config.update('jax_compilation_cache_dir', options['compilation_cache_dir'])
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
    yield


# --- A run of the scripts, as small as can be -------------------------------------------------------------------

QUICK = ('--folds=2', '--epochs=3', '--batch_size=16', '--widths=4,8', '--kernels=3,3', '--strides=2,2')


@pytest.fixture(scope='session')
def quick_survey(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A simulated archive: 12 pairs, two intervals, 32 x 32 px."""
  path = tmp_path_factory.mktemp('quick') / 'survey'
  succeed('simulate_survey', f'--out={path}', '--pairs=12', '--size=32', '--intervals=-3,-1', '--seed=5')
  return path


@pytest.fixture(scope='session')
def quick_run(quick_survey: pathlib.Path) -> pathlib.Path:
  """A finished work directory of two networks on it; tests that write take a copy."""
  workdir = quick_survey.parent / 'work'
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
  'pattern_large': ('pattern', ('pattern_scale_mm=12', 'pattern_bipoles=3', 'pattern_mx=1e20')),
  'flux': ('flux', ('flux_ratio=1.6',)),
  'null': ('null', ()),
}
WORLD_SEED, WORLD_PX = 301, 64
WORLD_PAIRS, WORLD_EPOCHS = 240, 60  # The same everywhere: one compilation trains all.


@pytest.fixture(scope='session')
def known_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
  """Returns a function from a name in `WORLDS` to its finished run; each is trained once in a session."""

  @functools.cache
  def trained(name: str) -> Run:
    world, changes = WORLDS[name]
    sun = change_sun(Sun(), changes)
    survey = simulate_survey(WORLD_SEED, WORLD_PAIRS, (-1,), WORLD_PX, world, sun)
    return train_world(survey)

  return trained


def train_world(survey: Survey) -> Run:
  """Trains two networks on a survey of a known world, in memory."""
  training = TrainSettings(epochs=WORLD_EPOCHS, patience=WORLD_EPOCHS, batch_size=32)
  return fit(survey, settings=RunSettings(folds=2, training=training))
