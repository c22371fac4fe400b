"""Scores of forecasts from contingency counts, and the threshold that turns a probability into a forecast."""

import numpy as np
from scipy.special import expit, logit

from hearjax.checks import UserError

RESAMPLES = 50
BALANCED = 0.5  # Share of the cases that emerge in a set of pairs.


def contingency(label: np.ndarray, forecast: np.ndarray) -> np.ndarray:
  """Returns `[n, 4]` one 1 in each row: hit, miss, false alarm or correct negative.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    forecast: `[n]` whether emergence is forecast.
  """
  emerges, warned = np.asarray(label) == 1, np.asarray(forecast, bool)
  return np.stack([emerges & warned, emerges & ~warned, ~emerges & warned, ~emerges & ~warned], axis=-1).astype(int)


def pod(counts: np.ndarray) -> np.ndarray:
  """Returns the probability of detection of `[..., 4]` contingency counts; NaN without events."""
  hits, misses, _, _ = np.moveaxis(counts, -1, 0)
  return _ratio(hits, hits + misses)


def pofd(counts: np.ndarray) -> np.ndarray:
  """Returns the probability of false detection of `[..., 4]` contingency counts; NaN without non-events."""
  _, _, false_alarms, negatives = np.moveaxis(counts, -1, 0)
  return _ratio(false_alarms, false_alarms + negatives)


def tss(counts: np.ndarray) -> np.ndarray:
  """Returns the True Skill Statistic, POD - POFD (Hanssen & Kuipers 1965); NaN where one class is missing."""
  return pod(counts) - pofd(counts)


def hss(counts: np.ndarray) -> np.ndarray:
  """Returns the Heidke skill score: the fraction correct, 0 for chance and 1 for perfection (Heidke 1926)."""
  hits, misses, false_alarms, negatives = np.moveaxis(counts, -1, 0)
  chance = (hits + misses) * (misses + negatives) + (hits + false_alarms) * (false_alarms + negatives)
  return _ratio(2 * (hits * negatives - misses * false_alarms), chance)


def tss_at(label: np.ndarray, probability: np.ndarray, threshold: np.ndarray | float) -> float:
  """Returns the TSS of `[n]` probabilities at a threshold (one, or `[n]`); NaN where one class is missing."""
  return float(tss(contingency(label, np.asarray(probability) >= threshold).sum(axis=0)))


def auc(label: np.ndarray, logit: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns the probability that a PE magnetogram has a larger logit than an NE one; ties count one half.

  Without weights this is the area under the ROC curve (Hanley & McNeil 1982, Radiology 143, 29).

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    logit: `[n]` logits, of one network.
    weight: `[..., n]` how often each counts.

  Returns:
    `[...]` the probability; NaN where no two classes meet.
  """
  order = np.argsort(logit, kind='stable')
  ranked = logit[order]
  drawn = np.moveaxis(np.asarray(weight, float), -1, 0)[order]  # [n, ...], since whole rows are quick to move.
  positive, negative = (drawn[label[order] == value] for value in (1, 0))
  # Of the NE below each PE; those of its own logit are halfway between below and above.
  below = np.concatenate([np.zeros((1, *drawn.shape[1:])), np.cumsum(negative, axis=0)])
  places = [np.searchsorted(ranked[label[order] == 0], ranked[label[order] == 1], side) for side in ('left', 'right')]
  wins = np.einsum('n...,n...->...', positive, below[places[0]] + below[places[1]]) / 2
  meetings = positive.sum(axis=0) * negative.sum(axis=0)
  return np.divide(wins, meetings, out=np.full(meetings.shape, np.nan), where=meetings > 0)


def best_threshold(label: np.ndarray, probability: np.ndarray) -> float:
  """Returns the threshold of largest True Skill Statistic; a probability at or above it forecasts emergence.

  Candidates are the midpoints between neighbouring distinct probabilities; among equally good ones the nearest to
  0.5 wins, the lower one of two equally near. Never call it with the data that the threshold will be scored on.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    probability: `[n]` forecast probability of PE.

  Returns:
    The threshold; 0.5 where all probabilities are equal.

  Raises:
    UserError: Only one class is there, or a probability is not finite.
  """
  return float(_best_thresholds(label, probability, np.ones((1, len(label)), int))[0])


def steady_threshold(label: np.ndarray, probability: np.ndarray, pair: np.ndarray) -> float:
  """Returns the mean of `best_threshold` over bootstrap resamples of the pairs.

  The TSS of a hundred pairs has many near-equal maxima, so that a single best threshold is noisy; their mean (bagging,
  Breiman 1996) is not. The resamples are always the same.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    probability: `[n]` forecast probability of PE.
    pair: `[n]` index of the pair, the unit of resampling.

  Raises:
    UserError: Only one class is there, or a probability is not finite.
  """
  label = np.asarray(label)
  pairs, place = np.unique(pair, return_inverse=True)
  rng = np.random.default_rng(0)
  counts = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), RESAMPLES)[:, place]
  complete = np.all([counts[:, label == value].any(axis=1) for value in (0, 1)], axis=0)
  counts = counts[complete] if complete.any() else np.ones((1, len(label)), int)
  return float(np.mean(_best_thresholds(label, probability, counts)))


def at_prior(probability: np.ndarray | float, prior: float) -> np.ndarray:
  """Turns probabilities of a balanced set into those where another share of cases emerges (Bayes' theorem).

  The training set has as many control regions as emerging ones, and the odds that come of it are the likelihood
  ratio; on the Sun few places are about to emerge. Order and TSS of forecasts stay what they are, if the threshold is
  turned as well.

  Args:
    probability: `[...]` probability of emergence where half of the cases emerge.
    prior: Share of cases that emerge, between 0 and 1.

  Raises:
    UserError: The share is none.
  """
  if not 0 < prior < 1:
    raise UserError(f'The prior is a share between 0 and 1, both excluded; got {prior}.')
  if prior == BALANCED:
    return np.asarray(probability)
  return expit(logit(np.asarray(probability, np.float64)) + logit(prior))


def _best_thresholds(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns `[resample]` the best threshold where each of `[n]` forecasts counts `[resample, n]` whole times."""
  label, probability = np.asarray(label), np.asarray(probability, np.float64)
  positives, negatives = (weight[:, label == value].sum(axis=1) for value in (1, 0))
  if not np.all(positives * negatives):
    raise UserError(
      f'A threshold needs both classes; got {positives.min()} emerging and {negatives.min()} control magnetograms. '
      'Give more pairs to the training part.'
    )
  if not np.all(np.isfinite(probability)):
    raise UserError('A threshold cannot be chosen: some probabilities are not finite.')
  scores, place = np.unique(probability, return_inverse=True)
  if len(scores) == 1:
    return np.full(len(weight), 0.5)
  below, above = scores[:-1], scores[1:]
  middle = (below + above) / 2
  middle = np.where(middle > below, middle, above)  # Neighbouring floats have no number between them.
  # What lies at or above each candidate, of both classes: counts summed from the highest score down.
  order = np.argsort(place, kind='stable')[::-1]
  last = np.searchsorted(-place[order], -np.arange(1, len(scores)), side='right') - 1
  hits, false_alarms = (np.cumsum((weight * (label == value))[:, order], axis=1)[:, last] for value in (1, 0))
  # TSS times both class sizes: whole numbers, so that ties are exact.
  skill = hits * negatives[:, None] - false_alarms * positives[:, None]
  best = skill == skill.max(axis=1, keepdims=True)
  return middle[np.argmin(np.where(best, np.abs(middle - 0.5), np.inf), axis=1)]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator != 0)
