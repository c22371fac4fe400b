"""The rows of a survey on each side of a fold."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hearjax.checks import UserError
from hearjax.survey.folds import Fold, Splits
from hearjax.survey.survey import Survey


@dataclasses.dataclass(frozen=True)
class FoldRows:
  """Rows of the survey on each side of one fold; `train` and `validation` hold the training intervals alone."""

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def learnt_rows(survey: Survey, train_intervals: tuple[int, ...]) -> np.ndarray:
  """Returns `[n]` whether a magnetogram is of an interval to learn from: before emergence, where none are named."""
  return np.isin(survey.interval, train_intervals) if train_intervals else survey.hours < 0


def fold_rows(survey: Survey, splits: Splits, train_intervals: tuple[int, ...] = ()) -> tuple[FoldRows, ...]:
  """Returns the rows of every fold."""
  learnt = learnt_rows(survey, train_intervals)

  def sides(fold: Fold) -> FoldRows:
    train, validation, test = (rows_of(survey, side) for side in (fold.train, fold.validation, fold.test))
    return FoldRows(train[learnt[train]], validation[learnt[validation]], test)

  return tuple(map(sides, splits.folds))


def check_fold_rows(survey: Survey, folds: Sequence[FoldRows], train_intervals: tuple[int, ...]) -> None:
  """Raises UserError where a side of a fold that is learnt from lacks a class at the training intervals."""
  named = f'the intervals {list(train_intervals)}' if train_intervals else 'the intervals before emergence'
  for number, rows in enumerate(folds):
    for name, side in (('training', rows.train), ('validation', rows.validation)):
      classes = sorted(set(survey.label[side].tolist()))
      if classes != [0, 1]:
        raise UserError(
          f'The {name} part of fold {number} has the classes {classes} at {named}; it needs both, 0 and 1: use more '
          'pairs, other intervals or fewer folds.'
        )


def rows_of(survey: Survey, pairs: Sequence[str]) -> np.ndarray:
  """Returns the rows of the survey that belong to the given pairs, in the survey's order."""
  return np.flatnonzero(np.isin(survey.pair_names(), list(pairs)))
