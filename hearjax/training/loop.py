"""Training: pure steps of one member, many members side by side in one program, and one loop that can be resumed.

A group of members is a `MemberState` with a leading axis. A group of one is trained step by step: on a CPU that is the
fastest form, since XLA's convolution is many times slower there inside a compiled loop. A larger group is trained
through all steps of an epoch inside one program, every member on its own rows of the same maps.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hearjax.checks import UserError
from hearjax.training.placement import Feed, fetch
from hearjax.training.settings import TrainSettings
from hearjax.training.step import (
  MemberState,
  Params,
  compiled_eval,
  compiled_step,
  cross_entropy,
  eval_step,
  is_over,
  train_step,
)


@jax.jit
def _first(group: Any) -> Any:
  return jax.tree.map(lambda leaf: leaf[0], group)


@jax.jit
def _as_group(one: Any) -> Any:
  return jax.tree.map(lambda leaf: leaf[None], one)


# --- A group through some steps ---------------------------------------------------------------------------------


def _take_steps(states, field, rows, label, keys, **static) -> tuple[MemberState, jax.Array]:
  """Trains a group on `[member, step, batch]` rows of the maps; returns the states and `[member, step]` losses."""
  if len(keys) > 1:  # The bits of the keys lie on the host, so that every process may put them where it needs them.
    return _steps_in_one_program(states, field, rows, label, np.asarray(jax.random.key_data(keys)), **static)
  state, losses = _first(states), []
  for batch in zip(rows[0], label[0], strict=True):
    state, loss = compiled_step()(state, field, *batch, keys[0], **static)
    losses.append(loss)
  return _as_group(state), _as_group(jnp.stack(losses))


@functools.partial(jax.jit, static_argnames=('model', 'tx', 'settings'), donate_argnames='states')
def _steps_in_one_program(states, field, rows, label, key_data, *, model, tx, settings):
  def of_member(state, rows, label, key_data):
    key = jax.random.wrap_key_data(key_data)

    def step(state, batch):
      return train_step(state, field, *batch, key, model=model, tx=tx, settings=settings)

    trained, losses = jax.lax.scan(step, state, (rows, label))
    # A member that is over stays as it is, while the others go on.
    over = is_over(state, settings)
    return jax.tree.map(lambda old, new: jnp.where(over, old, new), state, trained), losses

  return jax.vmap(of_member)(states, rows, label, key_data)


def _evaluate(params, field, rows, *, model) -> jax.Array:
  """Returns `[member, step, batch]` logits of a group for such rows of the maps."""
  if len(rows) > 1:
    return _evaluate_in_one_program(params, field, rows, model=model)
  one = _first(params)
  return _as_group(jnp.stack([compiled_eval()(one, field, batch, model=model) for batch in rows[0]]))


@functools.partial(jax.jit, static_argnames='model')
def _evaluate_in_one_program(params, field, rows, *, model):
  def of_member(params, rows):
    return jax.lax.map(lambda batch: eval_step(params, field, batch, model=model), rows)

  return jax.vmap(of_member)(params, rows)


@functools.partial(jax.jit, static_argnames='settings')
def _end_epoch(states, logits, label, weight, *, settings):
  """Validates a group at the end of an epoch; returns the states and `[member]` validation losses."""

  def loss_of(logits, label, weight):
    return jnp.average(cross_entropy(logits, label), weights=weight)

  return states.replace(epoch=states.epoch + ~is_over(states, settings)), jax.vmap(loss_of)(logits, label, weight)


# --- What they are shown ----------------------------------------------------------------------------------------


def epoch_batches(key: jax.Array, epoch: int, rows: np.ndarray, steps: int, batch_size: int) -> np.ndarray:
  """Returns `[steps, batch]` the shuffled rows of one epoch, drawn from the member's key and the epoch alone.

  Rows that do not fill a batch wait for another epoch; where there are too few rows for the steps, some come twice.
  """
  seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch)))
  shuffled = np.random.default_rng(seed).permutation(rows)
  return np.resize(shuffled, (steps, batch_size))


def fill_batches(rows: Sequence[np.ndarray], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
  """Arranges the rows of each member in as many batches for all; what is filled up repeats rows, with weight 0.

  Returns:
    `[member, step, batch]` rows and weights, 0 or 1.
  """
  steps = -(-max(map(len, rows)) // batch_size)
  filled = np.stack([np.resize(of_member, steps * batch_size) for of_member in rows])
  weight = np.arange(steps * batch_size) < np.array([[len(of_member)] for of_member in rows])
  shape = (len(rows), steps, batch_size)
  return filled.reshape(shape), weight.reshape(shape).astype(np.float32)


def predict(model: nn.Module, params: Params, feed: Feed, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
  """Returns `[len(rows)]` logits of one member; the last batch is filled up, so that one compilation serves all."""
  filled, _ = fill_batches([rows], batch_size)
  blocks = feed.blocks(filled)
  logits = [compiled_eval()(params, field, batch, model=model) for field, places, _ in blocks for batch in places[0]]
  return np.concatenate(fetch(logits))[: len(rows)]


# --- Epoch by epoch ---------------------------------------------------------------------------------------------


def train_members(
  states: MemberState,
  feed: Feed,
  label: np.ndarray,
  train_rows: Sequence[np.ndarray],
  validation_rows: Sequence[np.ndarray],
  keys: jax.Array,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  settings: TrainSettings,
  steps_per_epoch: int,
) -> Iterator[tuple[MemberState, dict[str, Any]]]:
  """Trains a group of members epoch by epoch, each from wherever its state stands, until all are over.

  Args:
    states: `[member]` states, from `create_states` or restored from checkpoints; their buffers are given up.
    feed: All maps of the survey.
    label: `[n]` all labels.
    train_rows: Rows to learn from, for each member.
    validation_rows: Rows that tell how it goes, for each member.
    keys: `[member]` keys.
    model: The network.
    tx: From `build_optimizer`, built once for all members.
    settings: How to train.
    steps_per_epoch: Steps of an epoch, the same for all members.

  Yields:
    After every epoch, the states and the epoch's metrics, `[member]` each: `trained`, whether the member was not over
    before; `epoch`, `over` after it, `loss`, `validation_loss`; `validation_logits`, a list of as many as rows.

  Raises:
    UserError: The loss of a member is not finite; says at which step.
  """
  static = {'model': model, 'tx': tx, 'settings': settings}
  validation, weight = fill_batches(validation_rows, settings.batch_size)
  # The states stay where they were put: a program that got them from elsewhere would be compiled again.
  keep = functools.partial(jax.device_put, device=jax.tree.map(lambda leaf: leaf.sharding, states))
  states = keep(states)
  epoch, over = fetch((states.epoch, is_over(states, settings)))
  while not over.all():
    members = zip(keys, epoch, train_rows, strict=True)
    batches = np.stack([epoch_batches(*member, steps_per_epoch, settings.batch_size) for member in members])
    losses, logits = [], []
    for field, places, rows in feed.blocks(batches):
      states, loss = _take_steps(states, field, places, label[rows], keys, **static)
      states = keep(states)
      losses.append(loss)
    for field, places, _ in feed.blocks(validation):
      logits.append(_evaluate(states.average, field, places, model=model))
    logits = jnp.concatenate(logits, axis=1)
    states, validation_loss = _end_epoch(states, logits, label[validation], weight, settings=settings)
    states = keep(states)
    trained = ~over
    losses, validation_loss, logits, epoch, over = fetch(
      (jnp.concatenate(losses, axis=1), validation_loss, logits, states.epoch, is_over(states, settings))
    )
    _check_finite(np.column_stack([losses, validation_loss]), trained, (epoch - 1) * steps_per_epoch)
    yield (
      states,
      {
        'trained': trained,
        'epoch': epoch,
        'over': over,
        'loss': losses.mean(axis=1),
        'validation_loss': validation_loss,
        'validation_logits': [of.ravel()[: len(rows)] for of, rows in zip(logits, validation_rows, strict=True)],
      },
    )


def _check_finite(losses: np.ndarray, trained: np.ndarray, first: np.ndarray) -> None:
  """Raises UserError for `[member, step]` losses of members that were trained from step `first` on."""
  bad = ~np.isfinite(losses) & trained[:, None]
  if bad.any():
    member, step = np.argwhere(bad)[0]
    raise UserError(f'The loss is not finite at step {first[member] + step}; lower the learning rate.')
