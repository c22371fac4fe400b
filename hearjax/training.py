"""Training of one member: pure jitted steps, and one flat loop that can be killed and resumed at any time."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from hearjax.augmentation import Augmentation, augment

Params = Any


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """How a member is trained; every entry is a choice of ours, made by the study that the README shows.

  Attributes:
    epochs: Passes over the training rows, up to a last batch that is not full.
    batch_size: Maps per step.
    learning_rate: Peak of the schedule: linear warm-up over the first tenth, then half a cosine to zero.
    weight_decay: Decoupled weight decay (AdamW).
    average_decay: Decay per step of the exponential average of the parameters, which is what is validated and kept;
      0 keeps the raw parameters.
    patience: Epochs without a better validation loss after which the training stops.
    augmentation: Random changes of the maps.
  """

  epochs: int = 40
  batch_size: int = 64
  learning_rate: float = 1e-2
  weight_decay: float = 1e-3
  average_decay: float = 0.98
  patience: int = 20
  augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

  def __post_init__(self):
    for name in ('epochs', 'batch_size', 'patience'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1, got {getattr(self, name)}.')
    if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.average_decay < 1):
      raise ValueError(
        'learning_rate must be positive, weight_decay not negative and average_decay in [0, 1), got '
        f'{self.learning_rate}, {self.weight_decay}, {self.average_decay}.'
      )


@struct.dataclass
class MemberState:
  """All that a member's training carries from epoch to epoch.

  Attributes:
    params: Parameters that the optimiser moves.
    average: Their exponential average, which is what is validated.
    optimizer: State of the optimiser.
    step: Steps taken.
    epoch: Epochs finished.
    best: The average parameters of the epoch with the lowest validation loss.
    best_loss, best_epoch: That loss and epoch.
  """

  params: Params
  average: Params
  optimizer: Any
  step: jax.Array
  epoch: jax.Array
  best: Params
  best_loss: jax.Array
  best_epoch: jax.Array


@functools.cache  # One object for equal settings, so that jitted steps are compiled once in a process.
def build_optimizer(settings: TrainSettings, steps_per_epoch: int) -> optax.GradientTransformation:
  """Returns AdamW with the schedule of `TrainSettings`; b2 = 0.99 and the clipping at norm 1 are our choice."""
  steps = settings.epochs * steps_per_epoch
  schedule = optax.warmup_cosine_decay_schedule(
    0.1 * settings.learning_rate, settings.learning_rate, warmup_steps=max(1, steps // 10), decay_steps=max(2, steps)
  )
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.99, weight_decay=settings.weight_decay))


def create_state(model: nn.Module, tx: optax.GradientTransformation, key: jax.Array, size: int) -> MemberState:
  """Returns the state before the first step, for maps of `size` x `size` px."""
  params = model.init(key, jnp.zeros((1, size, size)))
  return MemberState(
    params=params,
    average=jax.tree.map(jnp.copy, params),
    optimizer=tx.init(params),
    step=jnp.int32(0),
    epoch=jnp.int32(0),
    best=jax.tree.map(jnp.copy, params),
    best_loss=jnp.float32(jnp.inf),
    best_epoch=jnp.int32(0),
  )


def mean_loss(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Returns the mean sigmoid cross-entropy of `[n]` logits against `[n]` labels 0 or 1."""
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, label.astype(logits.dtype)))


@functools.partial(jax.jit, static_argnames=('model', 'tx', 'settings'), donate_argnames='state')
def train_step(
  state: MemberState,
  field: jax.Array,
  label: jax.Array,
  rows: jax.Array,
  key: jax.Array,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  settings: TrainSettings,
) -> tuple[MemberState, jax.Array]:
  """Takes one step on the rows of a batch.

  Args:
    state: The member's state; its buffers are given up.
    field: `[n, y, x]` all maps [G]; the batch is gathered on the device, so that folds share one copy.
    label: `[n]` all labels.
    rows: `[batch]` rows of the batch.
    key: The member's key; the step's randomness is `fold_in(key, step)`, whatever happened before.
    model: The network.
    tx: The optimiser.
    settings: How to train.

  Returns:
    The new state and the loss of the batch.
  """
  keys = jax.random.split(jax.random.fold_in(key, state.step), len(rows))
  batch = jax.vmap(functools.partial(augment, settings=settings.augmentation))(keys, field[rows])

  def loss_of(params: Params) -> jax.Array:
    return mean_loss(model.apply(params, batch), label[rows])

  loss, gradient = jax.value_and_grad(loss_of)(state.params)
  updates, optimizer = tx.update(gradient, state.optimizer, state.params)
  params = optax.apply_updates(state.params, updates)
  # The average starts as a plain mean (decay t / (t + 1)), so that the initial parameters are soon forgotten.
  decay = jnp.minimum(settings.average_decay, state.step / (state.step + 1.0))
  average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
  return state.replace(params=params, average=average, optimizer=optimizer, step=state.step + 1), loss


@functools.partial(jax.jit, static_argnames='model')
def eval_step(params: Params, field: jax.Array, rows: jax.Array, *, model: nn.Module) -> jax.Array:
  """Returns `[batch]` logits of the given rows of `[n, y, x]` field [G]."""
  return model.apply(params, field[rows])


def predict(model: nn.Module, params: Params, field: jax.Array, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
  """Returns `[len(rows)]` logits; the last batch is filled up, so that one compilation serves all."""
  padded = np.resize(rows, -(-len(rows) // batch_size) * batch_size).reshape(-1, batch_size)
  logits = [eval_step(params, field, batch, model=model) for batch in padded]
  return np.concatenate([np.asarray(part) for part in logits])[: len(rows)]


def epoch_batches(key: jax.Array, epoch: int, rows: np.ndarray, steps: int, batch_size: int) -> np.ndarray:
  """Returns `[steps, batch]` the shuffled rows of one epoch, drawn from the member's key and the epoch alone.

  Rows that do not fill a batch wait for another epoch; where there are too few rows for the steps, some come twice.
  """
  seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch)))
  shuffled = np.random.default_rng(seed).permutation(rows)
  return np.resize(shuffled, (steps, batch_size))


def train_member(
  state: MemberState,
  field: jax.Array,
  label: jax.Array,
  train_rows: np.ndarray,
  validation_rows: np.ndarray,
  key: jax.Array,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  settings: TrainSettings,
  steps_per_epoch: int,
) -> Iterator[tuple[MemberState, dict[str, Any]]]:
  """Trains a member epoch by epoch, from wherever its state stands.

  Args:
    state: From `create_state`, or restored from a checkpoint.
    field: `[n, y, x]` all maps of the survey [G].
    label: `[n]` all labels.
    train_rows: Rows to learn from.
    validation_rows: Rows that stop the training.
    key: The member's key.
    model: The network.
    tx: From `build_optimizer`, built once for all members.
    settings: How to train.
    steps_per_epoch: Steps of an epoch, the same for all members.

  Yields:
    After every epoch, the state and the epoch's metrics, `validation_logits` (`[len(validation_rows)]`) among them.

  Raises:
    FloatingPointError: The loss is not finite; says at which step.
  """
  validation_label = np.asarray(label)[validation_rows]
  while not is_finished(state, settings):
    epoch = int(state.epoch)
    losses = []
    for batch in epoch_batches(key, epoch, train_rows, steps_per_epoch, settings.batch_size):
      state, loss = train_step(state, field, label, batch, key, model=model, tx=tx, settings=settings)
      losses.append(loss)
    logits = predict(model, state.average, field, validation_rows, settings.batch_size)
    validation_loss = float(mean_loss(jnp.asarray(logits), jnp.asarray(validation_label)))
    finite = np.isfinite([*losses, validation_loss])
    if not np.all(finite):
      first = epoch * steps_per_epoch + int(np.argmin(finite))
      raise FloatingPointError(f'The loss is not finite at step {first}; lower the learning rate.')
    better = validation_loss < float(state.best_loss)
    state = state.replace(epoch=jnp.int32(epoch + 1))
    if better:
      state = state.replace(
        best=jax.tree.map(jnp.copy, state.average),
        best_loss=jnp.float32(validation_loss),
        best_epoch=jnp.int32(epoch + 1),
      )
    yield (
      state,
      {
        'epoch': epoch + 1,
        'loss': float(np.mean(losses)),
        'validation_loss': validation_loss,
        'validation_logits': logits,
      },
    )


def is_finished(state: MemberState, settings: TrainSettings) -> bool:
  """Says whether the member has had all its epochs, or its patience is over."""
  epoch = int(state.epoch)
  return epoch >= settings.epochs or epoch - int(state.best_epoch) >= settings.patience
