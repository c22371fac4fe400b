"""Thresholds by one rule for every model: probabilities calibrated on forecasts of pairs that the weights had not seen.

A network ends its training with a threshold for all lead times, chosen mostly on maps that it was fitted to; an
analysis has one for each lead time. Skill then differs by the rule and not by the model. Here every model gets the
same: the forecasts of its test pairs, which no weights were fitted to, are calibrated fold by fold, by a logistic
regression (Platt 1999) on those of all other folds. It has one slope, and an intercept for each interval that is shrunk
towards the common one, since a hundred pairs say little about each. A threshold is chosen on them in the same way.

What is fitted to the other folds never meets the label of a forecast that it is applied to. The weights of the other
folds did meet it: without signal they lean against it, and a slope below 0, which would turn that into skill, is 0.
"""

from collections.abc import Callable

import numpy as np
from astropy.table import Table
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hearjax.checks import UserError
from hearjax.verification.predictions import average_seeds
from hearjax.verification.scores import steady_threshold

# Which threshold a forecast is compared with: one half; that of the model itself; the best one for all lead times
# together, which an operator has; the one of each lead time, which a paper shows.
RULES = OWN, HALF, ONE, EACH = ('train', '0.5', 'one', 'each')
SHRINKAGE = 1.0  # Inverse strength of the penalty on slope and intercepts, in standardised logits; our choice.


def calibrate(table: Table) -> Table:
  """Averages the seeds of a model and calibrates its forecasts, each fold on the others.

  Args:
    table: A predictions table; what this function returned is returned as it is.

  Returns:
    `average_seeds`, with `calibrated`, the probability of PE in a balanced set, 0.5 being its threshold; and
    `threshold_one`, the threshold of largest TSS of the plain probability in the other folds. With one fold alone, or
    with one class in the others, there is nothing to choose on, and they are the probability and the threshold as they
    came.
  """
  if 'calibrated' in table.colnames:
    return table
  averaged = average_seeds(table)
  averaged['calibrated'] = averaged['probability']
  averaged['threshold_one'] = averaged['threshold']
  label, pair = np.asarray(averaged['label']), np.asarray(averaged['pair_id'])
  for fold in np.unique(averaged['fold']):
    inside = np.asarray(averaged['fold'] == fold)
    if len(set(label[~inside])) < 2:
      continue
    fitted = fit_calibration(*(np.asarray(averaged[name])[~inside] for name in ('logit', 'interval', 'label')))
    averaged['calibrated'][inside] = fitted(*(np.asarray(averaged[name])[inside] for name in ('logit', 'interval')))
    others = averaged[~inside]
    averaged['threshold_one'][inside] = steady_threshold(label[~inside], others['probability'], pair[~inside])
  return averaged


def fit_calibration(
  logit: np.ndarray, interval: np.ndarray, label: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
  """Fits a slope, not below 0, and an intercept for each interval; both classes weigh the same.

  Args:
    logit, interval, label: `[n]` each, of forecasts to learn from.

  Returns:
    A function from `[m]` logits and intervals to calibrated probabilities; an interval that was not there to learn from
    has the common intercept.
  """
  middle, spread = np.mean(logit), np.std(logit) or 1.0
  intervals = np.unique(interval)

  def columns(logit: np.ndarray, interval: np.ndarray) -> np.ndarray:
    return np.column_stack([(logit - middle) / spread, interval[:, None] == intervals])

  model = LogisticRegression(C=SHRINKAGE, class_weight='balanced', max_iter=1000)
  model.fit(columns(logit, interval), label)
  weights = np.append(max(model.coef_[0, 0], 0.0), model.coef_[0, 1:])
  return lambda logit, interval: expit(columns(logit, interval) @ weights + model.intercept_[0])


def forecast(averaged: Table, rule: str = EACH) -> np.ndarray:
  """Returns `[n]` whether emergence is forecast.

  Args:
    averaged: From `calibrate`.
    rule: One of `RULES`.

  Raises:
    UserError: There is no such rule.
  """
  if rule not in RULES:
    raise UserError(f'There is no threshold rule {rule!r}; choose from {", ".join(RULES)}.')
  probability, threshold = {
    HALF: ('probability', None),
    OWN: ('probability', 'threshold'),
    ONE: ('probability', 'threshold_one'),
    EACH: ('calibrated', None),
  }[rule]
  return np.asarray(averaged[probability] >= (0.5 if threshold is None else averaged[threshold]))
