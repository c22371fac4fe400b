"""A survey small enough to check by hand, and networks trained on worlds whose answer is known, for all tests."""

import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hearjax import finished_run
from hearjax.finished_run import FinishedRun
from hearjax.survey import intervals as hear_intervals
from hearjax.survey.survey import Survey


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


ROOT = pathlib.Path(__file__).parents[1]
# Few strong bipoles on small maps: learnt from 120 pairs in seconds, at both planted scales.
WORLDS = {
  'pattern_small': ('pattern', ['--sun=pattern_scale_mm=6', '--sun=pattern_bipoles=3', '--sun=pattern_mx=1e20'], 240),
  'pattern_large': ('pattern', ['--sun=pattern_scale_mm=12', '--sun=pattern_bipoles=3', '--sun=pattern_mx=1e20'], 240),
  'flux': ('flux', ['--sun=flux_ratio=1.6'], 160),
  'null': ('null', [], 120),
}
SMALL_SURVEY = ('--size=64', '--intervals=-1', '--seed=301')
QUICK_TRAINING = ('--folds=2', '--epochs=60', '--patience=60', '--batch_size=32')


@pytest.fixture(scope='session')
def known_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], FinishedRun]:
  """Returns a function from a name in `WORLDS` to its finished run; each is trained once in a session."""
  runs: dict[str, FinishedRun] = {}

  def trained(name: str) -> FinishedRun:
    if name not in runs:
      folder = tmp_path_factory.mktemp(name)
      world, changes, pairs = WORLDS[name]
      survey, workdir = folder / 'survey', folder / 'work'
      _script('simulate_survey', f'--out={survey}', f'--world={world}', f'--pairs={pairs}', *SMALL_SURVEY, *changes)
      _script('train', f'--survey={survey}', f'--workdir={workdir}', *QUICK_TRAINING)
      runs[name] = finished_run.load(workdir)
    return runs[name]

  return trained


def _script(name: str, *arguments: str) -> None:
  subprocess.run([sys.executable, '-m', f'experiments.{name}', *arguments], cwd=ROOT, capture_output=True, check=True)
