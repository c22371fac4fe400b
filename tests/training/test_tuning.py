"""Copies tuned to each interval: they learn what no single network can, and leave the networks themselves alone."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from sklearn.metrics import roc_auc_score

import hearjax
from hearjax.survey.folds import make_splits
from hearjax.training.run import Run
from hearjax.training.settings import Execution, TrainSettings
from hearjax.training.tuning import interval_rows, tuning_settings
from hearjax.training.workdir import TUNED
from tests.conftest import survey_apart
from tests.hand_made import with_fields
from tests.training.small_run import SETTINGS, Killed, assert_same_predictions, kill_at

TUNED_RUN = dataclasses.replace(
  SETTINGS, seeds=1, tuned=True, training=TrainSettings(epochs=60, batch_size=16, learning_rate=0.02)
)


def turning_survey(pairs=16):
  """Returns a survey whose emerging regions have the stronger field at one interval and the weaker one at the next."""
  survey = survey_apart(pairs)
  strong = (survey.label == 1) == (survey.interval == -2)
  noise = with_fields(
    survey.replace(label=strong.astype(int)), lambda rng, high: rng.normal(0, 20 + 20 * high, (16, 16))
  )
  return noise.replace(label=survey.label)


@pytest.fixture(scope='module')
def turning() -> Run:
  survey = turning_survey()
  return hearjax.fit(survey, make_splits(survey, 2, 0, validation_fraction=0.25), TUNED_RUN)


def aucs(table: Table) -> list[float]:
  return [
    roc_auc_score(rows['label'], rows['logit']) for rows in (table[table['interval'] == number] for number in (-2, -1))
  ]


def test_copies_learn_what_turns_from_interval_to_interval(turning):
  assert np.mean(aucs(turning.predictions)) < 0.7
  assert min(aucs(turning.tuned)) > 0.95
  assert turning.tuned.meta['model'] == 'cnn_tuned'


def test_every_magnetogram_is_forecast_by_a_copy_that_has_not_seen_its_pair(turning):
  for ours, theirs in zip(
    *(np.sort(each['region_id', 'interval', 'fold']) for each in (turning.tuned, turning.predictions)), strict=True
  ):
    assert ours == theirs
  for row in turning.tuned:
    assert row['pair_id'] in turning.splits.folds[row['fold']].test


def test_the_networks_are_those_of_a_run_without_copies(turning):
  settings = dataclasses.replace(TUNED_RUN, tuned=False)
  plain = hearjax.fit(turning.survey, turning.splits, settings)
  assert plain.tuned is None
  np.testing.assert_array_equal(plain.predictions['logit'], turning.predictions['logit'])


def test_side_by_side_as_one_after_the_other(turning):
  together = hearjax.fit(turning.survey, turning.splits, TUNED_RUN, execution=Execution(members_at_once=2))
  for table in (together.tuned, turning.tuned):
    table.sort(['region_id', 'interval'])
  difference = np.abs(together.tuned['probability'] - turning.tuned['probability'])
  assert np.max(difference) < 0.05


def test_a_work_directory_keeps_them_and_an_interrupted_run_gives_the_same(turning, tmp_path):
  with pytest.raises(Killed):
    hearjax.fit(turning.survey, turning.splits, TUNED_RUN, tmp_path, report=kill_at(1, 0, 20))
  assert not (tmp_path / TUNED).exists()
  hearjax.fit(turning.survey, turning.splits, TUNED_RUN, tmp_path)
  loaded = Run.load(tmp_path, turning.survey)
  assert_same_predictions(loaded, turning)
  for table in (loaded.tuned, turning.tuned):
    table.sort(['region_id', 'interval'])
  np.testing.assert_array_equal(loaded.tuned['logit'], turning.tuned['logit'])
  hearjax.fit(turning.survey, turning.splits, dataclasses.replace(TUNED_RUN, tuned=False), tmp_path, overwrite=True)
  assert not (tmp_path / TUNED).exists() and Run.load(tmp_path, turning.survey).tuned is None


def test_an_interval_that_a_part_lacks_is_left_to_the_networks(turning):
  survey = turning.survey
  test_of_one = np.isin(survey.pair_names(), turning.splits.folds[0].test)
  survey = survey.select((survey.interval == -1) | test_of_one)  # At -2, the first fold has no pair to learn from.
  splits = make_splits(survey, 2, 0, validation_fraction=0.25)
  if turning.splits.folds[0].test not in [fold.test for fold in splits.folds]:
    pytest.fail('The folds depend on the intervals.')
  assert [interval for interval, _ in interval_rows(survey, splits)] == [-1]
  run = hearjax.fit(survey, splits, dataclasses.replace(TUNED_RUN, train_intervals=(-1,)))
  for table in (run.tuned, run.predictions):
    table.sort(['region_id', 'interval'])
  same = run.tuned['logit'] == run.predictions['logit']
  np.testing.assert_array_equal(same, run.tuned['interval'] == -2)


def test_tuning_takes_half_of_the_epochs_in_batches_of_half_the_size():
  settings = tuning_settings(TrainSettings(epochs=5, batch_size=1))
  assert (settings.epochs, settings.batch_size) == (3, 1)
