"""A group of members: what they share, where their states come from, and their training to the end."""

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

from hearjax.maps import transforms
from hearjax.models.network import build_model
from hearjax.survey.fold_rows import FoldRows
from hearjax.survey.survey import Survey
from hearjax.training.checkpoints import restore_state, save_state
from hearjax.training.loop import train_members
from hearjax.training.placement import Feed, build_feed, fetch, member_mesh, spread
from hearjax.training.settings import Execution, RunSettings
from hearjax.training.step import MemberState, Params, build_optimizer, create_states
from hearjax.training.workdir import CHECKPOINTS, member_name
from hearjax.verification.scores import best_threshold, tss_at

Member = tuple[int, int]  # Fold, and number within it.
# Called after every epoch with what belongs into one line of metrics.jsonl.
Report = Callable[[dict[str, Any]], None]


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
    The parameters of each, averaged over its last steps, on the host.
  """
  settings, started = trainer.settings, time.monotonic()
  paths = [pathlib.Path(directory) / CHECKPOINTS / member_name(*member) if directory else None for member in members]
  filled = fill_members(trainer, members)
  init_keys, train_keys = jax.vmap(jax.random.split, out_axes=1)(
    jnp.stack([member_key(settings.seed, *member) for member in filled])
  )
  states = fetch(create_states(trainer.model, trainer.tx, init_keys, trainer.size))
  states = [_restored(path, one_of(states, index)) for index, path in enumerate(paths)]
  states += states[-1:] * (len(filled) - len(members))
  group = put(trainer, states)
  epochs = train_members(
    group,
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
  for group, metrics in epochs:
    trained = [index for index in range(len(members)) if metrics['trained'][index]]
    due = [index for index in trained if _is_due(metrics['over'][index], metrics['epoch'][index], trainer.execution)]
    if directory and due:
      on_host = fetch(group)
      for index in due:
        save_state(paths[index], one_of(on_host, index))
    for index in trained:
      fold, seed = members[index]
      line = {'fold': fold, 'seed': seed, **_metrics_of(metrics, index, trainer.label[rows[fold].validation])}
      report({**line, 'seconds': time.monotonic() - started, 'finished': bool(metrics['over'][index])})
  average = fetch(group.average)
  return {member: one_of(average, index) for index, member in enumerate(members)}


def fill_members(trainer: Trainer, members: list[Member]) -> list[Member]:
  """Returns members that the devices share evenly: where there are too few, the last one is trained once more."""
  n_devices = trainer.mesh.size if trainer.mesh else 1
  return [members[min(index, len(members) - 1)] for index in range(-(-len(members) // n_devices) * n_devices)]


def put(trainer: Trainer, states: Sequence[MemberState]) -> MemberState:
  """Puts the states of members, which lie on the host, where they are trained as a group."""
  group = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
  return spread(group, trainer.mesh) if trainer.mesh else jax.device_put(group)


def one_of(group: Any, index: int) -> Any:
  """Returns one member of a group that lies on the host."""
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
