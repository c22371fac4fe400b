"""A run that is trained in seconds, and how to kill it."""

import numpy as np

from hearjax.maps.augmentation import Augmentation
from hearjax.models.network import ModelSettings
from hearjax.survey.folds import Splits, make_splits
from hearjax.survey.survey import Survey
from hearjax.training.run import Run
from hearjax.training.settings import Execution, RunSettings, TrainSettings
from tests.conftest import survey_apart

MODEL = ModelSettings(widths=(4, 8), kernels=(3, 3), strides=(2, 2))
NO_CHANGES = Augmentation(polarity=False, mirror=False, transpose=False, shift_px=0)
SETTINGS = RunSettings(
  folds=2, seeds=2, model=MODEL, training=TrainSettings(epochs=5, batch_size=8, learning_rate=0.01)
)
EXECUTION = Execution(checkpoint_every=2)


def survey_and_splits(pairs: int = 8, learnable: bool = True) -> tuple[Survey, Splits]:
  """Returns a survey and two folds of it; half of the pairs have exchanged labels if it is not learnable."""
  survey = survey_apart(pairs)
  if not learnable:
    exchanged = np.random.default_rng(0).permutation(np.arange(pairs) % 2)[survey.pair]
    survey = survey.replace(label=np.where(exchanged, 1 - survey.label, survey.label))
  return survey, make_splits(survey, 2, 0, validation_fraction=0.25)


class Killed(Exception):
  """What a test throws to stop a run in the middle."""


def kill_at(fold: int, seed: int, epoch: int):
  """Returns a report that stops the run after an epoch of a member."""

  def report(line: dict) -> None:
    if (line['fold'], line['seed'], line['epoch']) == (fold, seed, epoch):
      raise Killed

  return report


def assert_same_predictions(ours: Run, theirs: Run) -> None:
  """Two runs say the same, to the bit."""
  assert ours.predictions.colnames == theirs.predictions.colnames
  for column in ours.predictions.colnames:
    np.testing.assert_array_equal(ours.predictions[column], theirs.predictions[column], err_msg=column)


def assert_close_predictions(ours: Run, theirs: Run) -> None:
  """Two forms add up in another order: float32 leaves about 1e-6 of each step."""
  for column in ('region_id', 'interval', 'fold', 'seed', 'label'):
    np.testing.assert_array_equal(ours.predictions[column], theirs.predictions[column], err_msg=column)
  np.testing.assert_allclose(ours.predictions['logit'], theirs.predictions['logit'], rtol=1e-3, atol=1e-3)
