"""Reliability: how often emergence follows a forecast probability, and what of the Brier score that costs.

The frequency that belongs to a probability is the isotonic regression of the outcome on it (pool adjacent violators),
without bins to choose: the CORP diagram of Dimitriadis, Gneiting & Jordan (2021, PNAS 118, e2016191118). Their score
decomposition goes with it: Brier score = miscalibration - discrimination + uncertainty. Bands are from drawn pairs,
since the two regions of a pair, and their intervals, go together.
"""

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from hearjax.verification.calibration import calibrate
from hearjax.verification.resampling import confidence_interval, draw_rows
from hearjax.verification.scores import best_threshold

PROBABILITIES = ('probability', 'calibrated')


def reliability_curve(
  label: np.ndarray, probability: np.ndarray, pair: np.ndarray, resamples: int, seed: int
) -> dict[str, np.ndarray]:
  """Returns the frequency of emergence at each probability that was forecast.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    probability: `[n]` forecast probability of PE.
    pair: `[n]` the pair of each, the unit of resampling.
    resamples, seed: Of the bootstrap.

  Returns:
    `[m]` each: the distinct `probability`, ascending, `frequency`, and the 95 % interval `low` to `high`.
  """
  places = np.unique(probability)
  weights = np.concatenate([np.ones((1, len(label))), draw_rows(pair, resamples, seed)])
  curves = np.stack([_isotonic(label, probability, weight).predict(places) for weight in weights])
  low, high = confidence_interval(curves[1:])
  return {'probability': places, 'frequency': curves[0], 'low': low, 'high': high}


def brier_parts(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
  """Returns `brier`, and the `miscalibration`, `discrimination` and `uncertainty` that it is made of.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    probability: `[n]` forecast probability of PE.
  """
  label, probability = np.asarray(label), np.asarray(probability)
  mended = _isotonic(label, probability, np.ones(len(label))).predict(probability)
  whole, best = (brier_score_loss(label, each, pos_label=1) for each in (probability, mended))
  uncertainty = np.mean(label) * (1 - np.mean(label))
  return {
    'brier': whole,
    'miscalibration': whole - best,
    'discrimination': uncertainty - best,
    'uncertainty': float(uncertainty),
  }


def calibration_table(tables: Sequence[Table]) -> Table:
  """Returns what the Brier score of each model is made of, over all intervals before emergence.

  A row for each model and `of`, the plain `probability` or the `calibrated` one: `brier_parts`, and `threshold_gap`,
  how far the threshold of largest TSS lies above the share of events, which is its place for a calibrated forecast.
  That one is of the forecasts that it is told of: for diagnosis, not for forecasting.
  """
  rows = []
  for table in tables:
    averaged = calibrate(table)
    averaged = averaged[averaged['hours'] < 0]
    label = np.asarray(averaged['label'])
    if len(set(label.tolist())) < 2:
      continue
    for name in PROBABILITIES:
      probability = np.asarray(averaged[name])
      gap = best_threshold(label, probability) - float(np.mean(label))
      rows.append({'model': table.meta['model'], 'of': name, **brier_parts(label, probability), 'threshold_gap': gap})
  return Table(rows)


def _isotonic(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> IsotonicRegression:
  return IsotonicRegression(y_min=0, y_max=1, out_of_bounds='clip').fit(probability, label, weight)
