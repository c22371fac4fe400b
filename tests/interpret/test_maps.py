"""What is asked of which maps: the logits of test folds, thresholds, foreign maps as a survey."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.interpret import maps
from hearjax.interpret.maps import control_rows, members_of, subject_logits, survey_of_maps, trained_threshold
from hearjax.survey.fold_rows import FoldRows
from hearjax.verification.scores import best_threshold
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux, with_fields


def noise(rng, label):
  """Returns 48 x 48 px of white noise, stronger in PE."""
  return rng.normal(0, 20 + 10 * label, (48, 48))


@pytest.fixture(scope='module')
def noisy_survey():
  return with_fields(make_survey(pairs=4, intervals=(-1,), size=48), noise)


@pytest.fixture(scope='module')
def members(noisy_survey):
  settings, params = polarity_flux()
  scaled = [
    {'params': params['params'] | {'logit': {'kernel': np.full((2, 1), w), 'bias': np.zeros(1)}}} for w in (1, 3, 5, 9)
  ]
  return members_of(make_run(noisy_survey, settings, scaled, folds=2))


def test_logits_are_those_of_the_maps_of_the_test_fold(noisy_survey, members, monkeypatch):
  flux = np.abs(noisy_survey.field).mean(axis=(1, 2))
  for subject, weight in zip(members, (1, 3, 5, 9), strict=True):
    rows = subject.rows.test
    assert set(noisy_survey.pair[rows] % 2) == {members.index(subject) // 2}
    np.testing.assert_allclose(subject_logits(subject, noisy_survey), weight * flux[rows], rtol=1e-5)
  subject = members[0]
  doubled = subject_logits(subject, noisy_survey, lambda field, rows: field * rows[:, None, None])
  np.testing.assert_allclose(doubled, flux[subject.rows.test] * subject.rows.test, rtol=1e-5)
  monkeypatch.setattr(maps, 'CHUNK', 3)
  np.testing.assert_allclose(subject_logits(subject, noisy_survey), flux[subject.rows.test], rtol=1e-5)


def test_the_threshold_is_that_of_the_maps_learnt_from(noisy_survey, members):
  learnt = FoldRows(np.arange(8), np.array([], int), np.arange(2))
  subject = dataclasses.replace(members[0], rows=learnt)
  probability = expit(subject_logits(subject, noisy_survey, rows=learnt.train))
  threshold = expit(trained_threshold(subject, noisy_survey))
  # The classes are parted by a gap, within which every threshold is a best one.
  label = noisy_survey.label[learnt.train]
  assert probability[label == 0].max() < threshold <= probability[label == 1].min()
  assert best_threshold(label, probability) <= probability[label == 1].min()


def test_a_network_that_is_not_finite_is_refused(noisy_survey, members):
  params = {'params': members[0].params['params'] | {'logit': {'kernel': np.full((2, 1), np.nan), 'bias': np.zeros(1)}}}
  with pytest.raises(UserError, match='not finite'):
    subject_logits(dataclasses.replace(members[0], params=params), noisy_survey)


def test_foreign_maps_become_a_survey():
  field = np.zeros((4, 8, 8))
  field[0, 0, 0] = np.nan
  survey = survey_of_maps(field, [1, 0, 1, 0], 1.4, pair=[7, 7, 9, 9])
  assert survey.pair_ids == ('7', '9')
  assert survey.missing.tolist() == [1 / 64, 0, 0, 0]
  assert len(survey.region_ids) == 4
  assert len(survey_of_maps(field, [1, 0, 1, 0], 1.4).pair_ids) == 4
  assert len(survey.select(np.array([2, 3])).pair_ids) == 1


@pytest.mark.parametrize(
  ('field', 'label', 'sentence'),
  [
    (np.zeros((2, 8, 9)), [0, 1], 'Square maps'),
    (np.zeros((3, 8, 8)), [0, 1], 'with a label'),
    (np.zeros((2, 8, 8)), [0, 2], 'Labels must be 1'),
  ],
)
def test_foreign_maps_that_do_not_fit_are_refused(field, label, sentence):
  with pytest.raises(UserError, match=sentence):
    survey_of_maps(field, label, 1.4)


def test_subjects_need_both_classes_and_quiet_sun(noisy_survey, members):
  emerging = np.flatnonzero(noisy_survey.label == 1)
  alone = dataclasses.replace(members[0], rows=FoldRows(emerging, emerging, emerging))
  with pytest.raises(UserError, match='no two classes'):
    maps.check_subjects([alone], noisy_survey)
  with pytest.raises(UserError, match='no control region'):
    control_rows(alone, noisy_survey)
  with pytest.raises(UserError, match='no network'):
    maps.check_subjects([], noisy_survey)
  rows = control_rows(members[0], noisy_survey)
  assert (noisy_survey.label[rows] == 0).all()
