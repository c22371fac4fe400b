"""Folds x seeds: trains the members of a run, resumes what was interrupted, and predicts every pair out of fold."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.forecast.domain import training_domain
from hearjax.maps import transforms
from hearjax.models.network import build_model
from hearjax.survey.fold_rows import FoldRows, check_fold_rows, fold_rows
from hearjax.survey.folds import Splits, certify, make_splits, read_or_make_splits, read_splits, write_splits
from hearjax.survey.survey import Survey
from hearjax.training.checkpoints import restore_state, save_state
from hearjax.training.ensemble import Ensemble, stack_members
from hearjax.training.loop import predict, train_members
from hearjax.training.placement import (
  Feed,
  build_feed,
  fetch,
  is_first_process,
  member_mesh,
  refusing_together,
  spread,
)
from hearjax.training.run import Run, identity_of
from hearjax.training.settings import Execution, RunSettings
from hearjax.training.step import MemberState, Params, build_optimizer, create_states
from hearjax.training.workdir import (
  CHECKPOINTS,
  LOG_NAME,
  PRODUCT,
  SPLITS_NAME,
  MetricsLog,
  member_name,
  open_workdir,
  remove_run,
  sole_training,
)
from hearjax.verification.predictions import build_predictions, mean_threshold, write_predictions
from hearjax.verification.scores import best_threshold, steady_threshold, tss_at

Member = tuple[int, int]  # Fold, and number within it.
# Called after every epoch with what belongs into one line of metrics.jsonl.
Report = Callable[[dict[str, Any]], None]


def fit(
  survey: Survey,
  splits: Splits | None = None,
  settings: RunSettings | None = None,
  workdir: str | os.PathLike | None = None,
  execution: Execution | None = None,
  report: Report | None = None,
  overwrite: bool = False,
) -> Run:
  """Trains the cross-validated networks on a survey and predicts every pair by networks that have not seen it.

  A work directory keeps everything: a run that was interrupted goes on where it stopped when the same is asked for
  again, to the same result, and `Run.load` gives the same run later. Of several processes the first one alone writes
  (but for checkpoints) and reports.

  Args:
    survey: The survey.
    splits: Its folds; None for those of the work directory, or else new ones (`survey.folds.make_splits`).
    settings: What determines the run; the default ones for None. The number of folds is that of `splits`, where given.
    workdir: The work directory; None keeps everything in memory.
    execution: How to compute it; the default way for None.
    report: Called after each epoch of each member with its metrics, once for each.
    overwrite: Replace what an earlier run left in the work directory, rather than resume or refuse it.

  Returns:
    The run: predictions, networks, survey, folds, settings.

  Raises:
    UserError: The folds do not fit the survey, a side of a fold lacks a class, the work directory is of other folds or
      settings, or the loss of a member is not finite (says at which step).
    FileExistsError: The work directory holds a finished run.
    BlockingIOError: Another process trains in it.
    OSError: A file cannot be written.
  """
  settings, execution = settings or RunSettings(), execution or Execution()
  workdir = pathlib.Path(workdir) if workdir else None
  with contextlib.ExitStack() as held:
    with refusing_together():
      held.enter_context(sole_training(workdir))
      plan = _prepare(survey, splits, settings, workdir, execution, overwrite)

    def tell(line: dict[str, Any]) -> None:
      if is_first_process() and plan.append(line) and report:
        report(line)

    return _carry_out(plan, survey, workdir, execution, tell)


@dataclasses.dataclass(frozen=True)
class _Plan:
  """A run that nothing stands against: folds, their rows, settings, what it is trained on, what determines it."""

  splits: Splits
  rows: tuple[FoldRows, ...]
  settings: RunSettings
  domain: dict[str, Any]
  identity: dict[str, Any]
  append: Callable[[dict[str, Any]], bool]  # Writes a line of the log; says whether it is a new one.


def _prepare(
  survey: Survey,
  splits: Splits | None,
  settings: RunSettings,
  workdir: pathlib.Path | None,
  execution: Execution,
  overwrite: bool,
) -> _Plan:
  """Checks all of it and opens the work directory; raises as `fit`."""
  path = workdir / SPLITS_NAME if workdir else None
  splits = _find_splits(survey, splits, settings, None if overwrite else path)
  settings = dataclasses.replace(settings, folds=len(splits.folds))
  rows = fold_rows(survey, splits, settings.train_intervals)
  check_fold_rows(survey, rows, settings.train_intervals)  # Before anything is written.
  seen = transforms.crop(survey.field, settings.model.visible_px(survey.field.shape[-1]))
  domain = training_domain(survey.replace(field=seen))
  identity = identity_of(splits.survey_checksum, splits, settings)
  append = lambda line: True  # noqa: E731
  if workdir and is_first_process():
    if overwrite:
      remove_run(workdir)
    open_workdir(workdir, identity, execution, domain, survey.folder)
    write_splits(path, splits, survey)
    append = MetricsLog(workdir / LOG_NAME).append
  return _Plan(splits, rows, settings, domain, identity, append)


def _carry_out(plan: _Plan, survey: Survey, workdir: pathlib.Path | None, execution: Execution, report: Report) -> Run:
  """Trains all members, group by group, and lets them predict."""
  settings, rows = plan.settings, plan.rows
  trainer = build_trainer(survey, rows, settings, execution)
  members = [(fold, seed) for fold in range(len(rows)) for seed in range(settings.seeds)]
  at_once = execution.group_size(len(members))
  params: dict[Member, Params] = {}
  for start in range(0, len(members), at_once):
    params |= train_group(trainer, rows, members[start : start + at_once], workdir, report)
  columns = predict_out_of_fold(trainer, rows, params, survey.pair)
  predictions = build_predictions(survey, columns, 'cnn', plan.identity)
  if workdir and is_first_process():
    write_predictions(workdir / PRODUCT, predictions)
  names = tuple(member_name(*member) for member in members)
  model = build_model(settings.model, survey.pixel_scale_mm)
  networks = stack_members([params[member] for member in members])
  ensemble = Ensemble(model, networks, names, plan.domain, mean_threshold(predictions))
  return Run(survey, plan.splits, settings, ensemble, predictions, workdir)


def _find_splits(survey: Survey, splits: Splits | None, settings: RunSettings, path: pathlib.Path | None) -> Splits:
  """Returns the folds that are given, or those of the work directory, or new ones; certified for the survey."""
  if splits is None:
    if path is None:
      return make_splits(survey, settings.folds, settings.seed)
    return read_or_make_splits(path, survey, settings.folds, settings.seed)
  certify(splits, survey)
  if path and path.exists() and read_splits(path, survey).checksum != splits.checksum:
    raise UserError(f'{path} holds other folds than those given; name another work directory.')
  return splits


@dataclasses.dataclass(frozen=True)
class Trainer:
  """What all members of a run share: built once, so that everything compiles once.

  Attributes:
    feed: All maps, cut to what the network can see of them.
    size: Their side [px].
    label: `[n]` their labels.
    model, tx: The network and its optimiser.
    steps_per_epoch: Steps of an epoch.
    settings, execution: Of the run.
    mesh: Devices over which a group is spread; None where members are trained one after the other.
  """

  feed: Feed
  size: int
  label: np.ndarray
  model: nn.Module
  tx: optax.GradientTransformation
  steps_per_epoch: int
  settings: RunSettings
  execution: Execution
  mesh: Mesh | None


def build_trainer(survey: Survey, rows: Sequence[FoldRows], settings: RunSettings, execution: Execution) -> Trainer:
  """Lets the survey reach the devices and builds network and optimiser."""
  at_once = execution.group_size(len(rows) * settings.seeds)
  mesh = member_mesh() if at_once > 1 else None
  # Members batch well as matrix products, not as convolutions.
  lowering = 'patches' if mesh and execution.lowering == 'auto' else execution.lowering
  steps = max(1, max(len(fold.train) for fold in rows) // settings.training.batch_size)
  field = visible_maps(survey.field, settings)
  return Trainer(
    feed=build_feed(field, mesh, execution.streamed, execution.block_maps),
    size=field.shape[-1],
    label=survey.label,
    model=build_model(settings.model, survey.pixel_scale_mm, lowering),
    tx=build_optimizer(settings.training, steps),
    steps_per_epoch=steps,
    settings=settings,
    execution=execution,
    mesh=mesh,
  )


def visible_maps(field: np.ndarray, settings: RunSettings) -> np.ndarray:
  """Cuts `[n, y, x]` maps to what the network sees of them when they are shifted, which is the same to it."""
  size = field.shape[-1]
  margin = settings.training.augmentation.shift_px
  return transforms.crop(field, min(settings.model.visible_px(size) + 2 * margin, size))


def member_key(seed: int, fold: int, number: int) -> jax.Array:
  """Returns the key of a member of the run with key `seed`, whichever members are trained beside it."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), fold), number)


def train_group(
  trainer: Trainer, rows: Sequence[FoldRows], members: list[Member], directory: str | os.PathLike | None, report: Report
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
  paths = [pathlib.Path(directory) / CHECKPOINTS / member_name(*member) if directory else None for member in members]
  # The devices share the members evenly: where there are too few, the last one is trained once more.
  n_devices = trainer.mesh.size if trainer.mesh else 1
  filled = [members[min(index, len(members) - 1)] for index in range(-(-len(members) // n_devices) * n_devices)]
  init_keys, train_keys = jax.vmap(jax.random.split, out_axes=1)(
    jnp.stack([member_key(settings.seed, *member) for member in filled])
  )
  states = fetch(create_states(trainer.model, trainer.tx, init_keys, trainer.size))
  states = [_restored(path, _one_of(states, index)) for index, path in enumerate(paths)]
  states += states[-1:] * (len(filled) - len(members))
  states = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
  epochs = train_members(
    spread(states, trainer.mesh) if trainer.mesh else jax.device_put(states),
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
    due = [index for index in trained if _is_due(metrics['over'][index], metrics['epoch'][index], trainer.execution)]
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


def _is_due(over: bool, epoch: int, execution: Execution) -> bool:
  return over or epoch % execution.checkpoint_every == 0


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
  trainer: Trainer, rows: Sequence[FoldRows], params: dict[Member, Params], pair: np.ndarray
) -> dict[str, np.ndarray]:
  """Predicts the test rows of each fold, with the threshold that its other rows suggest.

  Returns:
    Columns of the predictions: `row` (of the survey), `fold`, `seed`, `logit`, `threshold` (a probability). The
    threshold is one for each fold: the steady one for the seed-averaged logit of its training and validation pairs.
  """
  columns: dict[str, list[np.ndarray]] = {name: [] for name in ('row', 'fold', 'seed', 'logit', 'threshold')}
  for fold, sides in enumerate(rows):
    fitted = np.concatenate([sides.train, sides.validation])
    wanted = np.concatenate([sides.test, fitted])
    logits = np.stack(
      [predict(trainer.model, params[fold, seed], trainer.feed, wanted) for seed in range(trainer.settings.seeds)]
    )
    of_test, of_fitted = np.split(logits, [len(sides.test)], axis=1)
    threshold = steady_threshold(trainer.label[fitted], expit(of_fitted.mean(axis=0)), pair[fitted])
    for seed, of_seed in enumerate(of_test):
      columns['row'].append(sides.test)
      columns['logit'].append(of_seed)
      for name, value in (('fold', fold), ('seed', seed), ('threshold', threshold)):
        columns[name].append(np.full(len(sides.test), value))
  return {name: np.concatenate(parts) for name, parts in columns.items()}
