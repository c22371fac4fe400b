"""Variants of a network, of which different filters are left: their loss, their skill, and those that lack one filter.

Dropping a filter shifts all logits. This costs nothing, since thresholds are chosen anew: every variant has its own, of
the validation maps, and the loss is the cross-entropy at its best offset.
"""

import dataclasses
from types import ModuleType

import numpy as np
from astropy.table import Table
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.interpret.maps import Subject
from hearjax.interpret.network import (
  LOOP_CHUNK,
  THREADS,
  contributions,
  filter_layers,
  filter_numbers,
  logits,
  masked_logits,
)
from hearjax.interpret.statistics import Draws
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import steady_threshold

BLOCK = 22  # Variants in one program: a network, its quarter, and as many random orders as there are by default.
HALVINGS = 16  # The offset is then known to a ten-thousandth of the range of the logits.


# --- The loss -----------------------------------------------------------------------------------------------------


def best_offset(label: np.ndarray, values: np.ndarray, xp: ModuleType = np) -> np.ndarray:
  """Returns `[..., 1]` what to add to `[..., n]` logits so that their cross-entropy against `[n]` labels is least.

  There the mean probability is the share of label 1, which bisection finds. `xp` is jax.numpy within a program.
  """
  share = xp.clip(xp.mean(label), 1e-6, 1 - 1e-6)
  odds = xp.log(share) - xp.log1p(-share)
  low = odds - values.max(axis=-1, keepdims=True)
  high = odds - values.min(axis=-1, keepdims=True)
  for _ in range(HALVINGS):
    middle = (low + high) / 2
    above = xp.exp(-xp.logaddexp(0, -values - middle)).mean(axis=-1, keepdims=True) > share
    low, high = xp.where(above, low, middle), xp.where(above, middle, high)
  return (low + high) / 2


def cross_entropy(label: np.ndarray, values: np.ndarray, xp: ModuleType = np) -> np.ndarray:
  """Returns `[..., n]` sigmoid cross-entropy of every one of `[..., n]` logits against `[n]` labels."""
  return xp.logaddexp(0, values) - label * values


def offset_losses(label: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns `[..., n]` the same at the best offset of the logits."""
  return cross_entropy(label, values + best_offset(label, values))


# --- Scores -------------------------------------------------------------------------------------------------------


def both_classes(subject: Subject, survey: Survey, rows: np.ndarray, name: str) -> np.ndarray:
  """Returns the rows.

  Raises:
    UserError: They are all of one class.
  """
  emerging = int(survey.label[rows].sum())
  if emerging in (0, len(rows)):
    raise UserError(
      f'The {name} magnetograms of {subject.name} are all of one class ({emerging} emerging, {len(rows) - emerging} '
      'control); the classes are compared, so train on more pairs or with fewer folds.'
    )
  return rows


def tss_samples(label: np.ndarray, forecast: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns `[variant, draw]` TSS of `[variant, n]` forecasts, each counted `[draw, n]` times; NaN for one class."""
  rates = []
  for value in (1, 0):
    counts = (weight * (label == value)).astype(float)
    total = counts.sum(axis=1)
    unknown = np.full((len(forecast), len(total)), np.nan)
    rates.append(np.divide(forecast @ counts.T, total, out=unknown, where=total > 0))
  return rates[0] - rates[1]


@dataclasses.dataclass(frozen=True)
class Scores:
  """Scores of variants of a network, each with its own threshold, chosen on the validation maps.

  Attributes:
    validation_loss: `[variant, pair]` mean loss of each validation pair.
    validation_tss: `[variant]`.
    test_tss: `[variant, 1 + resample]`.
    test_loss: `[variant]`.
  """

  validation_loss: np.ndarray
  validation_tss: np.ndarray
  test_tss: np.ndarray
  test_loss: np.ndarray


def score(
  subject: Subject, survey: Survey, draws: Draws, validation_logits: np.ndarray, test_logits: np.ndarray
) -> Scores:
  """Scores variants of a network by their `[variant, n]` logits for its validation and test maps."""
  rows = subject.rows
  label, pair = survey.label[rows.validation], survey.pair[rows.validation]
  probability, probability_of_test = (expit(values.astype(float)) for values in (validation_logits, test_logits))
  thresholds = np.array([steady_threshold(label, values, pair) for values in probability])[:, None]
  losses = offset_losses(label, validation_logits)
  _, place = np.unique(pair, return_inverse=True)
  of_pair = np.stack([np.bincount(place, each) / np.bincount(place) for each in losses])
  weight = draws.of_rows(survey.pair[rows.test])
  return Scores(
    of_pair,
    tss_samples(label, probability >= thresholds, np.ones((1, len(label))))[:, 0],
    tss_samples(survey.label[rows.test], probability_of_test >= thresholds, weight),
    offset_losses(survey.label[rows.test], test_logits).mean(axis=1),
  )


def score_masked(subject: Subject, survey: Survey, draws: Draws, kept: np.ndarray) -> Scores:
  """Scores a network of which `[variant, filter]` filters are left."""
  validation = both_classes(subject, survey, subject.rows.validation, 'validation')
  test = both_classes(subject, survey, subject.rows.test, 'test')
  rows = np.concatenate([validation, test])
  field = survey.field[rows]
  parts = []
  for start in range(0, len(kept), BLOCK):
    block = kept[np.minimum(np.arange(start, start + BLOCK), len(kept) - 1)]
    parts.append(masked_logits(subject.network, subject.params, field, block, even_chunk(len(rows))))
  of_validation, of_test = np.split(np.concatenate(parts)[: len(kept)], [len(validation)], axis=1)
  return score(subject, survey, draws, of_validation, of_test)


def even_chunk(n: int, largest: int = LOOP_CHUNK) -> int:
  """Returns the size of equal parts of `n` maps, at most `largest`, so many that all threads have work to the end."""
  rounds = -(-n // (largest * THREADS))
  return -(-n // (rounds * THREADS))


# --- Single filters -----------------------------------------------------------------------------------------------


def sweep_table(subject: Subject, survey: Survey, draws: Draws) -> Table:
  """Returns what a network loses without each of its filters alone, a row for each.

  `delta_test_tss` with its bounds over test pairs, `delta_test_loss`, and the mean of what the filter adds to the logit
  for PE and NE maps, `contribution_pe` and `contribution_ne`.
  """
  network, params, rows = subject.network, subject.params, subject.rows
  validation, test = (
    both_classes(subject, survey, part, name) for part, name in ((rows.validation, 'validation'), (rows.test, 'test'))
  )
  field = survey.field[np.concatenate([validation, test])]
  added = contributions(network, params, field, tuple(range(sum(network.widths))))
  said = logits(network, params, field)
  # Both come from programs of their own, which round differently: a logit that is constant shall stay so.
  without = np.round(np.concatenate([said[None], said - added]), 5)
  scores = score(subject, survey, draws, without[:, : len(validation)], without[:, len(validation) :])
  lost = scores.test_tss[1:] - scores.test_tss[0]
  table = Table({'layer': filter_layers(network), 'filter': filter_numbers(network)})
  table['delta_test_tss'] = lost[:, 0]
  table['delta_test_tss_low'], table['delta_test_tss_high'] = confidence_interval(lost[:, 1:], axis=1)
  table['delta_test_loss'] = scores.test_loss[1:] - scores.test_loss[0]
  for name, value in (('pe', 1), ('ne', 0)):
    of_class = survey.label[test] == value
    table[f'contribution_{name}'] = added[:, len(validation) :][:, of_class].mean(axis=1)
  return table
