"""Folds: no pair, NOAA number or place on two sides, and the certificate notices when one is."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearjax.survey.archive import read_survey, write_survey
from hearjax.survey.folds import certify, make_splits, read_or_make_splits, read_splits, write_splits
from hearjax.survey.survey import checksum
from tests.conftest import make_survey, survey_apart


@settings(max_examples=15, deadline=None)
@given(pairs=st.integers(6, 30), n_folds=st.integers(2, 5), seed=st.integers(0, 1000))
def test_every_pair_is_tested_once_and_never_seen_before(pairs, n_folds, seed):
  survey = survey_apart(pairs, size=4)
  splits = make_splits(survey, n_folds, seed)
  tested = sorted(pair for fold in splits.folds for pair in fold.test)
  assert tested == list(survey.pair_ids)
  sizes = [len(fold.test) for fold in splits.folds]
  assert max(sizes) - min(sizes) <= 1
  for fold in splits.folds:
    assert not set(fold.test) & set(fold.train + fold.validation)
    assert not set(fold.validation) & set(fold.train)


def test_pairs_of_one_noaa_number_stay_together():
  survey = survey_apart(12, size=4)
  shared = survey.noaa.copy()
  shared[(survey.noaa > 0) & (survey.pair < 3)] = 11999
  survey = survey.replace(noaa=shared)
  for seed in range(5):
    splits = make_splits(survey, 4, seed)
    assert any({'pair000', 'pair001', 'pair002'} <= set(fold.test) for fold in splits.folds)


def test_same_seed_same_folds_other_seed_others():
  survey = survey_apart(12, size=4)
  assert make_splits(survey, 4, 7) == make_splits(survey, 4, 7)
  assert make_splits(survey, 4, 7) != make_splits(survey, 4, 8)


def test_folds_of_a_part_of_a_survey_are_those_of_its_pairs(tmp_path):
  whole = survey_apart(12, size=4)
  part = whole.select(whole.pair >= 5)
  splits = make_splits(part, 3, 0)
  assert sorted(pair for fold in splits.folds for pair in fold.test) == list(whole.pair_ids[5:])
  write_survey(tmp_path, part)
  assert make_splits(read_survey(tmp_path), 3, 0) == splits
  assert certify(splits, part)['pairs'] == 7 and certify(splits, part)['regions'] == 14
  with pytest.raises(ValueError, match='8 folds were asked for, but the survey has only 7 pairs'):
    make_splits(part, 8, 0)


def test_splits_survive_the_disk_and_carry_a_certificate(tmp_path):
  survey = survey_apart(8, size=4)
  splits = make_splits(survey, 4, 0)
  path = tmp_path / 'splits.json'
  write_splits(path, splits, survey)
  assert read_splits(path, survey) == splits
  assert json.loads(path.read_text())['certificate']['pairs'] == 8
  assert read_or_make_splits(path, survey, 4, 0) == splits
  with pytest.raises(ValueError, match='holds 4 folds dealt with seed 0, but 4 with seed 99 were asked for'):
    read_or_make_splits(path, survey, 4, 99)
  with pytest.raises(ValueError, match='holds 4 folds dealt with seed 0, but 5 with seed 0 were asked for'):
    read_or_make_splits(path, survey, 5, 0)


def test_absent_folds_are_made_and_not_written(tmp_path):
  survey = survey_apart(8, size=4)
  assert read_or_make_splits(tmp_path / 'splits.json', survey, 4, 3) == make_splits(survey, 4, 3)
  assert not list(tmp_path.iterdir())


def test_the_checksum_is_of_who_is_on_which_side():
  survey = survey_apart(8, size=4)
  splits = make_splits(survey, 4, 0)
  assert splits.checksum == dataclasses.replace(splits, gap_days=4.0).checksum
  first, *others = splits.folds
  moved = dataclasses.replace(first, train=first.train[1:], validation=first.validation + first.train[:1])
  assert splits.checksum != dataclasses.replace(splits, folds=(moved, *others)).checksum
  assert repr(splits) == '<Splits: 4 folds with 2, 2, 2, 2 test pairs, seed 0>'


def test_folds_of_another_survey_are_refused(tmp_path):
  survey = survey_apart(8, size=4)
  write_splits(tmp_path / 'splits.json', make_splits(survey, 4, 0), survey)
  with pytest.raises(ValueError, match='another survey'):
    read_splits(tmp_path / 'splits.json', make_survey(pairs=8, size=4, seed=1))


def test_the_certificate_notices_tampering():
  survey = survey_apart(8, size=4)
  splits = make_splits(survey, 4, 0)
  first, *others = splits.folds

  def with_first(**changes):
    return dataclasses.replace(splits, folds=(dataclasses.replace(first, **changes), *others))

  with pytest.raises(ValueError, match='two sides'):
    certify(with_first(train=first.train + first.test[:1]), survey)
  with pytest.raises(ValueError, match='exactly one fold'):
    certify(with_first(test=first.test[1:]), survey)
  noaa = np.where(survey.pair_names() == first.test[0], 11999, survey.noaa)
  noaa = np.where(survey.pair_names() == first.train[0], 11999, noaa).astype(np.int32)
  shared = survey.replace(noaa=noaa)
  moved = dataclasses.replace(splits, survey_checksum=checksum(shared))
  with pytest.raises(ValueError, match='parts the pairs'):
    certify(moved, shared)


def test_one_class_only_is_refused():
  survey = survey_apart(4, size=4)
  splits = make_splits(survey, 2, 0)
  emerging = survey.select(survey.label == 1)
  with pytest.raises(ValueError, match='holds only the classes'):
    certify(dataclasses.replace(splits, survey_checksum=checksum(emerging)), emerging)


@pytest.mark.parametrize(
  ('n_folds', 'pairs', 'message'),
  [(1, 4, 'at least 2 folds'), (9, 4, 'only 4 pairs'), (2, 2, 'no pair to train on')],
)
def test_impossible_folds(n_folds, pairs, message):
  with pytest.raises(ValueError, match=message):
    make_splits(survey_apart(pairs, size=4), n_folds, 0)


def test_a_file_that_holds_no_folds(tmp_path, tiny_survey):
  path = tmp_path / 'splits.json'
  path.write_text('{"folds": 3}')
  with pytest.raises(ValueError, match=r'is damaged \(.*\); bring it back'):
    read_splits(path, tiny_survey)
  with pytest.raises(FileNotFoundError, match='There is no'):
    read_splits(tmp_path / 'other.json', tiny_survey)
