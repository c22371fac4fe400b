"""What trained members say of the magnetograms of their own test folds, as these are or after a change of the field.

And the scores of that which the panel and the spectral response share, with intervals over pairs.
"""

import functools
import itertools
from collections.abc import Callable

import jax
import numpy as np

from hearjax import transforms
from hearjax.chunks import map_chunks
from hearjax.ensemble import member_logits
from hearjax.finished_run import FinishedRun, Member

CHUNK = 64  # Magnetograms on the device at a time: 4 MB of 128 px maps.

# From `[n, y, x]` field [G] and the `[n]` rows of the survey that they are to what the members are shown.
Change = Callable[[np.ndarray, np.ndarray], jax.Array | np.ndarray]


def unchanged(field: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns the maps as they are."""
  return field


def changed_logits(run: FinishedRun, change: Change = unchanged) -> np.ndarray:
  """Returns `[n]` logits of every magnetogram of the survey, each by the members that it is a test for.

  Where a fold has several seeds it is their mean logit, as in the scores. The change is made to the whole map, beyond
  the square that the network looks at, which is cut out afterwards.

  Args:
    run: A finished run.
    change: What is done to the maps before; it must treat each map by itself.

  Raises:
    ValueError: A logit is not finite.
  """
  result = np.full(len(run.survey), np.nan)
  # One shape in all folds, so that there is one compilation.
  chunk = min(CHUNK, max(len(rows.test) for rows in run.folds))
  for _, members in itertools.groupby(run.members(), key=lambda member: member.fold):
    members = list(members)
    test = members[0].rows.test
    result[test] = map_chunks(functools.partial(_mean_logit, run, members, change), test, chunk)
  if not np.isfinite(result).all():
    raise ValueError(f'Some logits of the networks in {run.directory} are not finite; their parameters must be.')
  return result


def _mean_logit(run: FinishedRun, members: list[Member], change: Change, rows: np.ndarray) -> np.ndarray:
  """Returns `[n]` the mean logit by some members of `[n]` rows of the survey after a change."""
  model = run.ensemble.model
  changed = change(run.survey.field[rows], rows)
  seen = transforms.crop(changed, model.settings.visible_px(changed.shape[-1]))
  return np.mean([member_logits(member.params, seen, model=model) for member in members], axis=0)


def tested_in_fold(run: FinishedRun) -> np.ndarray:
  """Returns `[n]` the fold that every magnetogram of the survey is tested in.

  Raises:
    ValueError: No fold tests magnetograms of both classes, so that nothing can be scored.
  """
  label, fold = np.asarray(run.survey.label), np.full(len(run.survey), -1)
  for number, rows in enumerate(run.folds):
    fold[rows.test] = number
  if not any(len(np.unique(label[rows.test])) == 2 for rows in run.folds):
    classes = ' and '.join(str(value) for value in np.unique(label)) or 'no'
    raise ValueError(
      f'The test folds of {run.directory} have no two classes to tell apart (labels {classes}); a survey with emerging '
      'and control regions is needed.'
    )
  return fold


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
