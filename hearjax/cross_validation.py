"""Folds x seeds: trains the members of a run, resumes what was interrupted, and predicts every pair out of fold."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from scipy.special import expit

from hearjax import devices, training, transforms
from hearjax import folds as fold_module
from hearjax.checkpoints import restore_state, save_state
from hearjax.devices import fetch
from hearjax.ensemble import member_name
from hearjax.feed import Feed, build_feed
from hearjax.folds import Splits
from hearjax.model import ModelSettings, build_model
from hearjax.skill import best_threshold, steady_threshold, tss_at
from hearjax.survey.survey import Survey
from hearjax.training import MemberState, Params, TrainSettings

Member = tuple[int, int]  # Fold, and number within it.
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
class Execution:
  """How a run is computed; the result is the same but for the rounding of floats.

  Attributes:
    members_at_once: Members trained side by side in one program, spread over all devices; 1 for one after the other,
      step by step; 0 for all of them on an accelerator, and one on a CPU, which is the faster form on each.
    streamed: Leave the magnetograms on the host and feed them in blocks. So it is done, too, where they would take
      more than half of the memory of a device.
    block_maps: Maps of such a block.
  """

  members_at_once: int = 0
  streamed: bool = False
  block_maps: int = 4096

  def __post_init__(self):
    if self.members_at_once < 0 or self.block_maps < 1:
      raise ValueError(
        f'members_at_once must not be negative and block_maps at least 1, got {self.members_at_once}, '
        f'{self.block_maps}.'
      )

  def group_size(self, members: int) -> int:
    """Returns how many of a run's members are trained at once."""
    if jax.process_count() > 1:
      return members  # Members are what processes share.
    return min(self.members_at_once or (1 if jax.default_backend() == 'cpu' else members), members)


@dataclasses.dataclass(frozen=True)
class Trainer:
  """What all members of a run share: built once, so that everything compiles once.

  Attributes:
    feed: All maps, cut to what the network can see of them.
    size: Their side [px].
    label: `[n]` their labels.
    model, tx: The network and its optimiser.
    steps_per_epoch: Steps of an epoch.
    settings: Settings of the run.
    mesh: Devices over which a group is spread; None where members are trained one after the other.
  """

  feed: Feed
  size: int
  label: np.ndarray
  model: nn.Module
  tx: optax.GradientTransformation
  steps_per_epoch: int
  settings: RunSettings
  mesh: Mesh | None


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


def build_trainer(survey: Survey, rows: list[FoldRows], settings: RunSettings, execution: Execution) -> Trainer:
  """Lets the survey reach the devices and builds network and optimiser."""
  at_once = execution.group_size(len(rows) * settings.seeds)
  mesh = devices.member_mesh() if at_once > 1 else None
  model = settings.model
  if mesh and model.lowering == 'auto':  # Members batch well as matrix products, not as convolutions.
    model = dataclasses.replace(model, lowering='patches')
  steps = max(1, max(len(fold.train) for fold in rows) // settings.training.batch_size)
  field = visible_maps(survey.field, settings)
  return Trainer(
    feed=build_feed(field, mesh, execution.streamed, execution.block_maps),
    size=field.shape[-1],
    label=np.asarray(survey.label),
    model=build_model(model, survey.pixel_scale_mm),
    tx=training.build_optimizer(settings.training, steps),
    steps_per_epoch=steps,
    settings=settings,
    mesh=mesh,
  )


def visible_maps(field: np.ndarray, settings: RunSettings) -> np.ndarray:
  """Cuts `[n, y, x]` maps to what the network sees of them when they are shifted, which is the same to it."""
  size = field.shape[-1]
  margin = settings.training.augmentation.shift_px
  return transforms.crop(field, min(settings.model.visible_px(size) + 2 * margin, size))


def run(
  survey: Survey,
  splits: Splits,
  settings: RunSettings,
  directory: str | os.PathLike | None = None,
  report: Report = lambda line: None,
  execution: Execution = Execution(),
) -> dict[str, np.ndarray]:
  """Trains all members and predicts the test pairs of each fold.

  Args:
    survey: The survey.
    splits: Its folds.
    settings: What to train.
    directory: Where checkpoints are kept and found again; None keeps none.
    report: Called after each epoch of each member.
    execution: How to compute it.

  Returns:
    Columns of the predictions: `row` (of the survey), `fold`, `seed`, `logit`, `threshold` (a probability). The
    threshold is one for each fold: the steady one for the seed-averaged logit of its training and validation pairs.
  """
  rows = fold_rows(survey, splits, settings.train_intervals)
  trainer = build_trainer(survey, rows, settings, execution)
  members = [(fold, seed) for fold in range(len(rows)) for seed in range(settings.seeds)]
  at_once = execution.group_size(len(members))
  params: dict[Member, Params] = {}
  for start in range(0, len(members), at_once):
    params |= train_group(trainer, rows, members[start : start + at_once], directory, report)
  return predict_out_of_fold(trainer, rows, params, np.asarray(survey.pair))


def member_key(seed: int, fold: int, number: int) -> jax.Array:
  """Returns the key of a member of the run with key `seed`, whichever members are trained beside it."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), fold), number)


def train_group(
  trainer: Trainer, rows: list[FoldRows], members: list[Member], directory: str | os.PathLike | None, report: Report
) -> dict[Member, Params]:
  """Trains members side by side to their end, from their checkpoints where there are some.

  Args:
    trainer: What they share.
    rows: Rows of every fold.
    members: Fold and number of each member.
    directory: Where checkpoints are kept and found again; None keeps none.
    report: Called after each epoch of each member that was trained in it.

  Returns:
    The best parameters of each, on the host.
  """
  settings, started = trainer.settings, time.monotonic()
  paths = [pathlib.Path(directory) / 'checkpoints' / member_name(*member) if directory else None for member in members]
  # The devices share the members evenly: where there are too few, the last one is trained once more.
  n_devices = trainer.mesh.size if trainer.mesh else 1
  filled = [members[min(index, len(members) - 1)] for index in range(-(-len(members) // n_devices) * n_devices)]
  init_keys, train_keys = jax.vmap(jax.random.split, out_axes=1)(
    jnp.stack([member_key(settings.seed, *member) for member in filled])
  )
  states = fetch(training.create_states(trainer.model, trainer.tx, init_keys, trainer.size))
  states = [_restored(path, _one_of(states, index)) for index, path in enumerate(paths)]
  states += states[-1:] * (len(filled) - len(members))
  states = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
  epochs = training.train_members(
    devices.spread(states, trainer.mesh) if trainer.mesh else jax.device_put(states),
    trainer.feed,
    trainer.label,
    [rows[fold].train for fold, _ in filled],
    [rows[fold].validation for fold, _ in filled],
    train_keys,
    model=trainer.model,
    tx=trainer.tx,
    settings=settings.training,
    steps_per_epoch=trainer.steps_per_epoch,
  )
  for states, metrics in epochs:
    trained = [index for index in range(len(members)) if metrics['trained'][index]]
    due = [index for index in trained if _is_due(metrics['over'][index], metrics['epoch'][index], settings)]
    if directory and due:
      on_host = fetch(states)
      for index in due:
        save_state(paths[index], _one_of(on_host, index))
    for index in trained:
      fold, seed = members[index]
      line = {'fold': fold, 'seed': seed, **_metrics_of(metrics, index, trainer.label[rows[fold].validation])}
      report({**line, 'seconds': time.monotonic() - started, 'finished': bool(metrics['over'][index])})
  best = fetch(states.best)
  return {member: _one_of(best, index) for index, member in enumerate(members)}


def _one_of(group: Any, index: int) -> Any:
  return jax.tree.map(lambda leaf: np.asarray(leaf[index]), group)  # Orbax takes no NumPy scalars.


def _restored(path: pathlib.Path | None, initial: MemberState) -> MemberState:
  restored = restore_state(path, initial) if path else None
  return initial if restored is None else fetch(restored)


def _is_due(over: bool, epoch: int, settings: RunSettings) -> bool:
  return over or epoch % settings.checkpoint_every == 0


def _metrics_of(metrics: dict[str, Any], index: int, validation_label: np.ndarray) -> dict[str, Any]:
  """Returns the metrics of one member for its line of metrics.jsonl."""
  probability = expit(metrics['validation_logits'][index])
  return {
    'epoch': int(metrics['epoch'][index]),
    'loss': float(metrics['loss'][index]),
    'validation_loss': float(metrics['validation_loss'][index]),
    'validation_tss': tss_at(validation_label, probability, best_threshold(validation_label, probability)),
  }


def predict_out_of_fold(
  trainer: Trainer, rows: list[FoldRows], params: dict[Member, Params], pair: np.ndarray
) -> dict[str, np.ndarray]:
  """Predicts the test rows of each fold, with the threshold that its other rows suggest; returns what `run` does."""
  columns: dict[str, list[np.ndarray]] = {name: [] for name in ('row', 'fold', 'seed', 'logit', 'threshold')}
  for fold, sides in enumerate(rows):
    fitted = np.concatenate([sides.train, sides.validation])
    wanted = np.concatenate([sides.test, fitted])
    logits = np.stack(
      [
        training.predict(trainer.model, params[fold, seed], trainer.feed, wanted)
        for seed in range(trainer.settings.seeds)
      ]
    )
    of_test, of_fitted = np.split(logits, [len(sides.test)], axis=1)
    threshold = steady_threshold(trainer.label[fitted], expit(of_fitted.mean(axis=0)), pair[fitted])
    for seed, of_seed in enumerate(of_test):
      columns['row'].append(sides.test)
      columns['logit'].append(of_seed)
      for name, value in (('fold', fold), ('seed', seed), ('threshold', threshold)):
        columns[name].append(np.full(len(sides.test), value))
  return {name: np.concatenate(parts) for name, parts in columns.items()}
