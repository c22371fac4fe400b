"""Numbers that several methods of interpretation share: draws of pairs and networks, weighted means, peaks."""

import dataclasses

import numpy as np

from hearjax.survey.survey import Survey
from hearjax.verification.resampling import draw_counts

# --- Draws --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Draws:
  """The same pairs for everything that is compared: all of them once, then bootstrap samples of them.

  Attributes:
    pairs: `[1 + resample, pair]` how often each pair of the survey counts; the first row is ones.
    seed: What they were drawn with.
  """

  pairs: np.ndarray
  seed: int

  @classmethod
  def of(cls, survey: Survey, resamples: int, seed: int) -> 'Draws':
    """Returns the draws of the pairs of a survey."""
    drawn = draw_counts(len(survey.pair_ids), resamples, seed)
    return cls(np.concatenate([np.ones_like(drawn[:1]), drawn]), seed)

  def of_rows(self, pair: np.ndarray) -> np.ndarray:
    """Returns `[1 + resample, n]` how often each of `[n]` rows counts, `pair` being the pair of each."""
    return self.pairs[:, pair]


def over_subjects(samples: np.ndarray, seed: int) -> np.ndarray:
  """Averages an effect over networks, which are drawn with replacement as the pairs were.

  Args:
    samples: `[subject, 1 + resample]` the effect of each network, first of all pairs and then of those drawn; NaN where
      none of its pairs was drawn.
    seed: Of the draw of networks.

  Returns:
    `[1 + resample]` mean effect, of all networks and then of those drawn; NaN where there is none.
  """
  samples = np.asarray(samples, float)
  counts = draw_counts(len(samples), max(samples.shape[1] - 1, 1), seed)[: samples.shape[1] - 1]
  weight = np.concatenate([np.ones((1, len(samples))), counts]).T * np.isfinite(samples)
  total = weight.sum(axis=0)
  sums = np.sum(np.nan_to_num(samples) * weight, axis=0)
  return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)


# --- Numbers -------------------------------------------------------------------------------------------------------


def highest(lengths: np.ndarray, values: np.ndarray) -> float:
  """Returns the length at which values are largest: the vertex of a parabola in the logarithm of the length.

  The parabola goes through the largest value and its neighbours; where one of these is missing (at an edge, or not
  finite) it is the length of the largest value itself.

  Args:
    lengths: `[n]` positive, ascending.
    values: `[n]`.
  """
  top = int(np.argmax(values))
  around = slice(top - 1, top + 2)
  if top in (0, len(values) - 1) or not np.isfinite(values[around]).all():
    return float(lengths[top])
  x = np.log(lengths[around]) - np.log(lengths[top])
  curvature, slope, _ = np.polyfit(x, values[around], 2)
  return float(lengths[top] * np.exp(-slope / (2 * curvature) if curvature < 0 else 0.0))


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns the mean of `[n, ...]` values under each of `[..., n]` weights; NaN where all of these are 0."""
  sums = weight @ values.astype(float)
  total = np.asarray(weight.sum(axis=-1), float).reshape(weight.shape[:-1] + (1,) * (values.ndim - 1))
  return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total != 0)


def spread(logit: np.ndarray) -> float:
  """Returns the standard deviation of `[n]` logits: the unit of effects, which every network has its own of."""
  return float(np.std(logit))
