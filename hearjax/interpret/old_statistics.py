"""Numbers that several methods of interpretation share: peaks, weighted means, the area under the ROC curve."""

import numpy as np

# Point poles of opposite sign a distance d apart, in random directions, have a power spectrum 1 - J0(k d) times that of
# single poles; it is largest at k d = 3.8317, the first zero of J1, which is a wavelength of d / 0.6098.
POLE_DISTANCE_PER_WAVELENGTH = 0.6098


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


def auc(label: np.ndarray, logit: np.ndarray, fold: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns the probability that a PE magnetogram has a larger logit than an NE one of its fold; ties count one half.

  Without weights and with one fold this is the area under the ROC curve (Hanley & McNeil 1982, Radiology 143, 29).
  Logits are compared within a fold alone: on maps unlike those of the training the members of two folds may differ
  by any constant.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    logit: `[n]` logits.
    fold: `[n]` fold of each.
    weight: `[..., n]` how often each counts.

  Returns:
    `[...]` the probability; NaN where no two classes meet.
  """
  wins, meetings = np.zeros(weight.shape[:-1]), np.zeros(weight.shape[:-1])
  for number in np.unique(fold):
    rows = np.flatnonzero(fold == number)
    rows = rows[np.argsort(logit[rows], kind='stable')]
    starts = np.flatnonzero(np.diff(logit[rows], prepend=-np.inf))
    positive, negative = (
      np.add.reduceat(weight[..., rows] * (label[rows] == value), starts, axis=-1, dtype=float) for value in (1, 0)
    )
    below = np.cumsum(negative, axis=-1) - negative
    wins += np.sum(positive * (below + negative / 2), axis=-1)
    meetings += positive.sum(axis=-1) * negative.sum(axis=-1)
  return np.divide(wins, meetings, out=np.full(wins.shape, np.nan), where=meetings > 0)
