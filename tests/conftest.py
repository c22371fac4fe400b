"""A survey small enough to check by hand, for all tests."""

from collections.abc import Sequence

import numpy as np
import pytest

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
