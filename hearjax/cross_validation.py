"""Folds x seeds: trains the members of a run, resumes what was interrupted, and predicts every pair out of fold."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import expit

from hearjax import folds as fold_module
from hearjax import training
from hearjax.checkpoints import MemberCheckpoint
from hearjax.ensemble import member_name
from hearjax.folds import Splits
from hearjax.model import ModelSettings, build_model
from hearjax.skill import best_threshold, steady_threshold, tss_at
from hearjax.survey.survey import Survey
from hearjax.training import MemberState, TrainSettings

# Called after every epoch with what belongs into one line of metrics.jsonl.
Report = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """What determines a cross-validated run, beside the survey and its folds.

  Attributes:
    seed: The run key.
    seeds: Members per fold, differing in initialisation and in the order of what they see.
    train_intervals: Intervals to learn from; empty for all before the emergence time. All are predicted in any case.
    checkpoint_every: Epochs between checkpoints; also where a killed run resumes.
    model, training: Settings of the network and of its training.
  """

  seed: int = 0
  seeds: int = 1
  train_intervals: tuple[int, ...] = ()
  checkpoint_every: int = 5
  model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
  training: TrainSettings = dataclasses.field(default_factory=TrainSettings)

  def __post_init__(self):
    if self.seeds < 1 or self.checkpoint_every < 1:
      raise ValueError(f'seeds and checkpoint_every must be at least 1, got {self.seeds}, {self.checkpoint_every}.')


@dataclasses.dataclass(frozen=True)
class Trainer:
  """What all members of a run share: built once, so that everything compiles once."""

  field: jax.Array
  label: jax.Array
  model: nn.Module
  tx: optax.GradientTransformation
  steps_per_epoch: int
  settings: RunSettings


@dataclasses.dataclass(frozen=True)
class FoldRows:
  """Rows of the survey on each side of one fold; `train` and `validation` hold the training intervals alone."""

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def learnt_rows(survey: Survey, train_intervals: tuple[int, ...]) -> np.ndarray:
  """Returns `[n]` whether a magnetogram is of an interval to learn from: before emergence, where none are named."""
  return np.isin(survey.interval, train_intervals) if train_intervals else np.asarray(survey.hours) < 0


def fold_rows(survey: Survey, splits: Splits, train_intervals: tuple[int, ...]) -> list[FoldRows]:
  """Returns the rows of every fold.

  Raises:
    ValueError: A side lacks a class at the training intervals.
  """
  learnt = learnt_rows(survey, train_intervals)
  named = f'the intervals {list(train_intervals)}' if train_intervals else 'the intervals before emergence'
  result = []
  for number, fold in enumerate(splits.folds):
    train, validation, test = (fold_module.rows_of(survey, side) for side in (fold.train, fold.validation, fold.test))
    rows = FoldRows(train[learnt[train]], validation[learnt[validation]], test)
    for name, side in (('training', rows.train), ('validation', rows.validation)):
      classes = sorted(set(np.asarray(survey.label)[side].tolist()))
      if classes != [0, 1]:
        raise ValueError(
          f'The {name} part of fold {number} has the classes {classes} at {named}; it needs both, 0 and 1: use more '
          'pairs, other intervals or fewer folds.'
        )
    result.append(rows)
  return result


def build_trainer(survey: Survey, rows: list[FoldRows], settings: RunSettings) -> Trainer:
  """Puts the survey on the device and builds network and optimiser."""
  steps = max(1, max(len(fold.train) for fold in rows) // settings.training.batch_size)
  return Trainer(
    field=jnp.asarray(survey.field),
    label=jnp.asarray(survey.label),
    model=build_model(settings.model, survey.pixel_scale_mm),
    tx=training.build_optimizer(settings.training, steps),
    steps_per_epoch=steps,
    settings=settings,
  )


def run(
  survey: Survey,
  splits: Splits,
  settings: RunSettings,
  directory: str | os.PathLike | None = None,
  report: Report = lambda line: None,
) -> dict[str, np.ndarray]:
  """Trains all members and predicts the test pairs of each fold.

  Args:
    survey: The survey.
    splits: Its folds.
    settings: What to train.
    directory: Where checkpoints are kept and found again; None keeps none.
    report: Called after each epoch of each member.

  Returns:
    Columns of the predictions: `row` (of the survey), `fold`, `seed`, `logit`, `threshold` (a probability). The
    threshold is one for each fold: the steady one for the seed-averaged logit of its training and validation pairs.
  """
  rows = fold_rows(survey, splits, settings.train_intervals)
  trainer = build_trainer(survey, rows, settings)
  label = np.asarray(survey.label)
  columns: dict[str, list[np.ndarray]] = {name: [] for name in ('row', 'fold', 'seed', 'logit', 'threshold')}
  for fold, sides in enumerate(rows):
    fitted = np.concatenate([sides.train, sides.validation])
    wanted = np.concatenate([sides.test, fitted])
    logits = []
    for seed in range(settings.seeds):
      checkpoint = pathlib.Path(directory) / 'checkpoints' / member_name(fold, seed) if directory else None
      state = train_one(trainer, sides, fold, seed, checkpoint, report)
      logits.append(training.predict(trainer.model, state.best, trainer.field, wanted))
    of_test, of_fitted = np.split(np.stack(logits), [len(sides.test)], axis=1)
    threshold = steady_threshold(label[fitted], expit(of_fitted.mean(axis=0)), np.asarray(survey.pair)[fitted])
    for seed in range(settings.seeds):
      columns['row'].append(sides.test)
      columns['logit'].append(of_test[seed])
      for name, value in (('fold', fold), ('seed', seed), ('threshold', threshold)):
        columns[name].append(np.full(len(sides.test), value))
  return {name: np.concatenate(parts) for name, parts in columns.items()}


def train_one(
  trainer: Trainer, sides: FoldRows, fold: int, seed: int, checkpoint: pathlib.Path | None, report: Report
) -> MemberState:
  """Trains one member to its end, from its checkpoint if there is one."""
  settings = trainer.settings
  key = jax.random.fold_in(jax.random.fold_in(jax.random.key(settings.seed), fold), seed)
  init_key, train_key = jax.random.split(key)
  state = training.create_state(trainer.model, trainer.tx, init_key, trainer.field.shape[-1])
  if checkpoint is None:
    return _train(trainer, sides, fold, seed, state, train_key, report)
  with MemberCheckpoint(checkpoint) as store:
    return _train(trainer, sides, fold, seed, store.restore(state) or state, train_key, report, store)


def _train(trainer, sides, fold, seed, state, key, report, store=None) -> MemberState:
  started = time.monotonic()
  validation_label = np.asarray(trainer.label)[sides.validation]
  epochs: Iterator = training.train_member(
    state,
    trainer.field,
    trainer.label,
    sides.train,
    sides.validation,
    key,
    model=trainer.model,
    tx=trainer.tx,
    settings=trainer.settings.training,
    steps_per_epoch=trainer.steps_per_epoch,
  )
  for state, metrics in epochs:
    probability = expit(metrics.pop('validation_logits'))
    threshold = best_threshold(validation_label, probability)
    metrics['validation_tss'] = tss_at(validation_label, probability, threshold)
    finished = training.is_finished(state, trainer.settings.training)
    if store and (finished or metrics['epoch'] % trainer.settings.checkpoint_every == 0):
      store.save(state)
    report({'fold': fold, 'seed': seed, **metrics, 'seconds': time.monotonic() - started, 'finished': finished})
  return state
