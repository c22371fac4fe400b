"""The certificate of predictions: linked pairs in one fold and in two, and predictions of another survey."""

import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.survey.folds import make_splits
from hearjax.verification.certificate import certify_predictions
from hearjax.verification.predictions import build_predictions
from tests.conftest import make_survey


@pytest.fixture
def survey():
  """Eight pairs, a year from each other; the second and the third emerge in one NOAA region."""
  survey = make_survey(pairs=8, size=8)
  noaa = survey.noaa.copy()
  noaa[(survey.pair == 2) & (survey.label == 1)] = noaa[(survey.pair == 1) & (survey.label == 1)][0]
  return survey.replace(noaa=noaa, mjd=survey.mjd + 365.0 * survey.pair)


def predictions(survey, fold_of_pair):
  n = len(survey)
  columns = {'row': np.arange(n), 'fold': np.asarray(fold_of_pair)[survey.pair], 'seed': np.zeros(n, int)}
  return build_predictions(survey, columns | {'logit': np.zeros(n), 'threshold': np.full(n, 0.5)}, 'cnn', {})


def test_pairs_that_know_each_other_must_be_in_one_fold(survey):
  together = certify_predictions(predictions(survey, [0, 1, 1, 0, 0, 1, 0, 1]), survey)
  assert together.holds and together.links == 1 and together.parted == ()
  assert str(together) == '8 pairs in 2 folds; links between pairs: 1, none from fold to fold'
  parted = certify_predictions(predictions(survey, [0, 1, 0, 0, 0, 1, 0, 1]), survey)
  assert not parted.holds and parted.parted == ((survey.pair_ids[1], survey.pair_ids[2]),)
  assert f'as {survey.pair_ids[1]} and {survey.pair_ids[2]}' in str(parted)


def test_a_place_on_the_sun_at_one_time_is_a_link_as_well(survey):
  near = survey.replace(
    longitude=np.where(survey.pair == 5, survey.longitude[0], survey.longitude),
    latitude=np.where(survey.pair == 5, survey.latitude[0], survey.latitude),
    mjd=np.where(survey.pair == 5, survey.mjd[0], survey.mjd),
  )
  dealt = predictions(near, [0, 1, 1, 0, 0, 1, 0, 1])
  assert not certify_predictions(dealt, near).holds
  far_apart_in_time = near.replace(mjd=np.where(near.pair == 5, near.mjd + 100, near.mjd))
  assert certify_predictions(predictions(far_apart_in_time, [0, 1, 1, 0, 0, 1, 0, 1]), far_apart_in_time).holds


def test_folds_of_our_own_are_certified(survey):
  splits = make_splits(survey, 3, 0)
  fold_of = {pair: number for number, fold in enumerate(splits.folds) for pair in fold.test}
  found = certify_predictions(predictions(survey, [fold_of[name] for name in survey.pair_ids]), survey)
  assert found.holds and (found.pairs, found.missing, found.folds) == (8, 0, 3)


def test_one_fold_says_nothing_of_what_was_learnt(survey):
  found = certify_predictions(predictions(survey, np.zeros(8, int)), survey)
  assert not found.holds and 'one fold alone' in str(found)


def test_pairs_that_are_not_forecast_are_counted(survey):
  table = predictions(survey, [0, 1, 1, 0, 0, 1, 0, 1])
  found = certify_predictions(table[table['pair_id'] != survey.pair_ids[1]], survey)
  assert (found.pairs, found.missing, found.links) == (7, 1, 0)


def test_predictions_of_another_survey_are_refused(survey):
  table = predictions(survey, [0, 1, 1, 0, 0, 1, 0, 1])
  with pytest.raises(UserError, match='which is not in the survey'):
    certify_predictions(table, survey.select(survey.pair < 7))
  changed = table.copy()
  changed['label'] = 1 - changed['label']
  with pytest.raises(UserError, match='and label 1, the survey with pair'):
    certify_predictions(changed, survey)
