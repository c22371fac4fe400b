"""The bootstrap: how often each unit (a pair, a region) is drawn, and the interval of what was computed from the draws.

Sums over drawn units are then one matrix product of the counts with the values of the units.
"""

import numpy as np

from hearjax.checks import UserError

CONFIDENCE = (2.5, 97.5)  # Percentiles of a 95 % interval.


def draw_counts(units: int, resamples: int, seed: int) -> np.ndarray:
  """Returns `[resample, unit]` how often each unit is drawn, with replacement; the same for the same seed.

  Raises:
    UserError: There is to be no sample.
  """
  if resamples < 1:
    raise UserError(f'The bootstrap needs at least one sample, got {resamples}.')
  return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)


def draw_rows(unit: np.ndarray, resamples: int, seed: int) -> np.ndarray:
  """Returns `[resample, n]` how often each of `[n]` rows counts when whole units (`[n]` the unit of each) are drawn."""
  units, place = np.unique(unit, return_inverse=True)
  return draw_counts(len(units), resamples, seed)[:, place]


def confidence_interval(samples: np.ndarray, axis: int = 0) -> np.ndarray:
  """Returns `[2, ...]` the 95 % percentile interval over the resamples; NaN where none of them has a value.

  Args:
    samples: Values, one for each resample along `axis`; those that are NaN do not count.
    axis: That of the resamples.
  """
  samples = np.moveaxis(np.asarray(samples, np.float64), axis, 0)
  defined = ~np.isnan(samples).all(axis=0)
  return np.where(defined, np.nanpercentile(np.where(defined, samples, 0), CONFIDENCE, axis=0), np.nan)
