"""Training: pure steps, one compilation, the same result whichever way a run is cut."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hearjax.maps.augmentation import Augmentation
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.fold_rows import fold_rows, make_splits
from hearjax.training.fit import run
from hearjax.training.loop import epoch_batches, predict
from hearjax.training.placement import Resident
from hearjax.training.settings import RunSettings, TrainSettings
from hearjax.training.step import compiled_eval, compiled_step, create_states, train_step
from tests.conftest import make_survey

MODEL = ModelSettings(widths=(4, 8), kernels=(3, 3), strides=(2, 2))
NO_CHANGES = Augmentation(polarity=False, mirror=False, transpose=False, shift_px=0)
SETTINGS = RunSettings(
  seeds=2, checkpoint_every=2, model=MODEL, training=TrainSettings(epochs=5, batch_size=8, learning_rate=0.01)
)


def survey_and_splits(pairs=8):
  survey = make_survey(pairs=pairs, size=16)
  survey = survey.replace(mjd=55500.0 + 60.0 * survey.region)
  return survey, make_splits(survey, 2, 0, validation_fraction=0.25)


class Killed(Exception):
  """What a test throws to stop a run in the middle."""


def kill_at(fold, seed, epoch):
  def report(line):
    if (line['fold'], line['seed'], line['epoch']) == (fold, seed, epoch):
      raise Killed

  return report


def test_a_step_lowers_the_loss_as_the_optimiser_alone_would():
  survey, _ = survey_and_splits()
  settings = TrainSettings(epochs=1, batch_size=4, average_decay=0.0, augmentation=NO_CHANGES)
  model = build_model(MODEL, 1.39)
  tx = optax.sgd(0.05)
  states = create_states(model, tx, jax.random.key(0)[None], 16)
  state = jax.tree.map(lambda leaf: leaf[0], states)
  rows = np.array([0, 3, 17, 30])
  field, label = jnp.asarray(survey.field), jnp.asarray(survey.label)

  def loss_of(params):  # Written out by hand: the cross-entropy of the sigmoid.
    p = jax.nn.sigmoid(model.apply(params, field[rows]))
    y = label[rows]
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))

  expected_loss, gradient = jax.value_and_grad(loss_of)(state.params)
  expected = jax.tree.map(lambda p, g: np.asarray(p - 0.05 * g), state.params, gradient)
  state, loss = train_step(state, field, rows, label[rows], jax.random.key(1), model=model, tx=tx, settings=settings)
  assert float(loss) == pytest.approx(float(expected_loss), rel=1e-4)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state.params, expected)
  jax.tree.map(np.testing.assert_array_equal, state.params, state.average)


def test_the_planted_bipoles_are_learnt():
  survey, splits = survey_and_splits()
  settings = dataclasses.replace(
    SETTINGS, seeds=1, training=TrainSettings(epochs=25, batch_size=8, learning_rate=0.02, patience=25)
  )
  columns = run(survey, splits, settings)
  label = survey.label[columns['row']]
  assert np.mean(columns['logit'][label == 1]) > np.mean(columns['logit'][label == 0]) + 1
  assert sorted(columns['row']) == list(range(len(survey)))


def test_same_seed_same_predictions_other_seed_others():
  survey, splits = survey_and_splits()
  first, second = (run(survey, splits, SETTINGS) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, first, second)
  other = run(survey, splits, dataclasses.replace(SETTINGS, seed=1))
  assert np.abs(other['logit'] - first['logit']).max() > 0


@pytest.mark.parametrize('where', [(0, 1, 3), (1, 0, 1), (1, 1, 5)])
def test_a_killed_run_resumes_to_the_same_predictions(tmp_path, where):
  survey, splits = survey_and_splits()
  whole = run(survey, splits, SETTINGS, tmp_path / 'whole')
  with pytest.raises(Killed):
    run(survey, splits, SETTINGS, tmp_path / 'cut', kill_at(*where))
  lines = []
  resumed = run(survey, splits, SETTINGS, tmp_path / 'cut', lines.append)
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)
  # It did resume: nothing before the last checkpoint was trained again.
  assert (lines[0]['fold'], lines[0]['seed']) == where[:2] if where[2] < 5 else not lines


def test_one_compilation_serves_all_folds_and_seeds():
  survey, splits = survey_and_splits(pairs=9)  # Folds of different sizes.
  step, evaluation = compiled_step(), compiled_eval()
  step.clear_cache()
  evaluation.clear_cache()
  run(survey, splits, SETTINGS)
  assert step._cache_size() == 1
  assert evaluation._cache_size() == 1 + (SETTINGS.training.batch_size != 64)


def test_predictions_do_not_depend_on_the_batch_size():
  survey, _ = survey_and_splits()
  model = build_model(MODEL, 1.39)
  params = model.init(jax.random.key(0), survey.field[:1])
  rows = np.arange(13)
  feed = Resident(jnp.asarray(survey.field))
  one, five, many = (predict(model, params, feed, rows, size) for size in (1, 5, 64))
  np.testing.assert_allclose(one, five, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


def test_an_epoch_sees_every_row_once():
  batches = epoch_batches(jax.random.key(3), 2, np.arange(100, 124), 3, 8)
  assert sorted(batches.ravel()) == list(range(100, 124))
  again = epoch_batches(jax.random.key(3), 2, np.arange(100, 124), 3, 8)
  np.testing.assert_array_equal(batches, again)
  assert not np.array_equal(batches, epoch_batches(jax.random.key(3), 3, np.arange(100, 124), 3, 8))


def test_training_stops_when_patience_is_over():
  survey, splits = survey_and_splits()
  shuffled = survey.replace(label=np.random.default_rng(0).permutation(survey.label))  # Nothing to learn.
  settings = dataclasses.replace(
    SETTINGS, seeds=1, training=TrainSettings(epochs=60, batch_size=8, learning_rate=0.05, patience=3)
  )
  lines = []
  run(shuffled, splits, settings, report=lines.append)
  for fold in range(2):
    losses = [line['validation_loss'] for line in lines if line['fold'] == fold]
    assert len(losses) < 60
    assert len(losses) - 1 - int(np.argmin(losses)) == 3


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where():
  survey, splits = survey_and_splits()
  settings = dataclasses.replace(
    SETTINGS, training=TrainSettings(epochs=3, batch_size=8, learning_rate=1e30, augmentation=NO_CHANGES)
  )
  with pytest.raises(FloatingPointError, match='not finite at step'):
    run(survey, splits, settings)


def test_training_intervals_are_respected():
  survey, splits = survey_and_splits()
  rows = fold_rows(survey, splits, (-1,))
  for sides in rows:
    assert set(survey.interval[sides.train]) == set(survey.interval[sides.validation]) == {-1}
    assert set(survey.interval[sides.test]) == {-2, -1}
  with pytest.raises(ValueError, match=r'has the classes \[\] at the intervals \[0\]'):
    fold_rows(survey, splits, (0,))


def test_what_has_emerged_is_not_learnt_unless_asked_for():
  survey = make_survey(pairs=8, intervals=(-1, 1), size=4)
  survey = survey.replace(mjd=55500.0 + 60.0 * survey.region)
  splits = make_splits(survey, 2, 0)
  for sides in fold_rows(survey, splits, ()):
    assert set(survey.interval[sides.train]) == {-1}
    assert set(survey.interval[sides.test]) == {-1, 1}


def test_one_class_at_the_training_intervals_is_refused():
  survey, _ = survey_and_splits()
  survey = survey.select((survey.interval == -2) | (survey.label == 1))
  splits = make_splits(survey, 2, 0)
  with pytest.raises(ValueError, match=r'has the classes \[1\] at the intervals \[-1\]'):
    fold_rows(survey, splits, (-1,))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'epochs': 0}, 'epochs must be'),
    ({'learning_rate': float('nan')}, 'must be positive'),
    ({'average_decay': 1.0}, 'in'),
  ],
)
def test_settings_that_cannot_train(change, message):
  with pytest.raises(ValueError, match=message):
    TrainSettings(**change)
