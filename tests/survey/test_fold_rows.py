"""The rows of a fold: what is learnt from, what is tested."""

import numpy as np
import pytest

from hearjax.survey.fold_rows import check_fold_rows, fold_rows, learnt_rows, rows_of
from hearjax.survey.folds import make_splits
from tests.conftest import survey_apart


def test_rows_of_pairs_are_in_the_order_of_the_survey(tiny_survey):
  np.testing.assert_array_equal(rows_of(tiny_survey, ('pair002', 'pair000')), np.flatnonzero(tiny_survey.pair != 1))
  assert len(rows_of(tiny_survey, ())) == 0


def test_sides_of_a_fold_are_those_of_its_pairs():
  survey = survey_apart(8, size=4)
  splits = make_splits(survey, 4, 0)
  for fold, rows in zip(splits.folds, fold_rows(survey, splits), strict=True):
    for side in ('train', 'validation', 'test'):
      pairs = survey.pair_names()[getattr(rows, side)]
      assert set(pairs) == set(getattr(fold, side))
      assert len(pairs) == 4 * len(set(pairs))  # Two regions, two intervals.


def test_training_intervals_are_respected():
  survey = survey_apart(8, size=4)
  splits = make_splits(survey, 2, 0)
  rows = fold_rows(survey, splits, (-1,))
  for sides in rows:
    assert set(survey.interval[sides.train]) == set(survey.interval[sides.validation]) == {-1}
    assert set(survey.interval[sides.test]) == {-2, -1}
  np.testing.assert_array_equal(learnt_rows(survey, (-1,)), survey.interval == -1)
  check_fold_rows(survey, rows, (-1,))
  with pytest.raises(ValueError, match=r'has the classes \[\] at the intervals \[0\]'):
    check_fold_rows(survey, fold_rows(survey, splits, (0,)), (0,))


def test_what_has_emerged_is_not_learnt_unless_asked_for():
  survey = survey_apart(8, size=4, intervals=(-1, 1))
  splits = make_splits(survey, 2, 0)
  for sides in fold_rows(survey, splits, ()):
    assert set(survey.interval[sides.train]) == {-1}
    assert set(survey.interval[sides.test]) == {-1, 1}
  for sides in fold_rows(survey, splits, (-1, 1)):
    assert set(survey.interval[sides.train]) == {-1, 1}


def test_one_class_at_the_training_intervals_is_refused():
  survey = survey_apart(8, size=4)
  survey = survey.select((survey.interval == -2) | (survey.label == 1))
  splits = make_splits(survey, 2, 0)
  with pytest.raises(ValueError, match=r'has the classes \[1\] at the intervals \[-1\]'):
    check_fold_rows(survey, fold_rows(survey, splits, (-1,)), (-1,))
  early = survey.select(survey.interval == -2)
  late = early.replace(hours=-early.hours)
  with pytest.raises(ValueError, match=r'has the classes \[\] at the intervals before emergence'):
    check_fold_rows(late, fold_rows(late, make_splits(late, 2, 0)), ())
