"""Training, step by step: the state of a member, its optimiser, and pure steps."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from hearjax.maps.augmentation import augment
from hearjax.models.compilation import compiler_options
from hearjax.training.settings import TrainSettings

Params = Any


@struct.dataclass
class MemberState:
  """All that a member's training carries from epoch to epoch; for a group, every array has a leading axis.

  Attributes:
    params: Parameters that the optimiser moves.
    average: Their exponential average, which is what is validated, and kept in the end.
    optimizer: State of the optimiser.
    step: Steps taken.
    epoch: Epochs finished.
  """

  params: Params
  average: Params
  optimizer: Any
  step: jax.Array
  epoch: jax.Array


@functools.cache  # One object for equal settings, so that jitted steps are compiled once in a process.
def build_optimizer(settings: TrainSettings, steps_per_epoch: int) -> optax.GradientTransformation:
  """Returns AdamW with the schedule of `TrainSettings`; b2 = 0.99 and the clipping at norm 1 are our choice."""
  steps = settings.epochs * steps_per_epoch
  schedule = optax.warmup_cosine_decay_schedule(
    0.1 * settings.learning_rate, settings.learning_rate, warmup_steps=max(1, steps // 10), decay_steps=max(2, steps)
  )
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.99, weight_decay=settings.weight_decay))


@functools.partial(jax.jit, static_argnames=('model', 'tx', 'size'))
def create_states(model: nn.Module, tx: optax.GradientTransformation, keys: jax.Array, size: int) -> MemberState:
  """Returns the states before the first step, one for each of `[member]` keys, for maps of `size` x `size` px."""

  def create(key: jax.Array) -> MemberState:
    return begin(tx, model.init(key, jnp.zeros((1, size, size))))

  return jax.vmap(create)(keys)


def begin(tx: optax.GradientTransformation, params: Params) -> MemberState:
  """Returns the state of a member before the first step from these parameters."""
  return MemberState(params, params, tx.init(params), step=jnp.int32(0), epoch=jnp.int32(0))


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Returns the sigmoid cross-entropy of logits against labels 0 or 1, in the shape of both."""
  return optax.sigmoid_binary_cross_entropy(logits, label.astype(logits.dtype))


def is_over(state: MemberState, settings: TrainSettings) -> jax.Array | np.ndarray:
  """Says of a member, or of each of a group, whether it has had all its epochs."""
  return state.epoch >= settings.epochs


def train_step(
  state: MemberState,
  field: jax.Array,
  rows: jax.Array,
  label: jax.Array,
  key: jax.Array,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  settings: TrainSettings,
) -> tuple[MemberState, jax.Array]:
  """Takes one step of one member on the rows of a batch; pure, for `compiled_step` or a larger program.

  Args:
    state: The member's state.
    field: `[n, y, x]` maps [G] that all members share; the batch is gathered on the device.
    rows: `[batch]` where in it the maps of the batch are.
    label: `[batch]` their labels.
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
    return jnp.mean(cross_entropy(model.apply(params, batch), label))

  loss, gradient = jax.value_and_grad(loss_of)(state.params)
  updates, optimizer = tx.update(gradient, state.optimizer, state.params)
  params = optax.apply_updates(state.params, updates)
  # The average starts as a plain mean (decay t / (t + 1)), so that the initial parameters are soon forgotten.
  decay = jnp.minimum(settings.average_decay, state.step / (state.step + 1.0))
  average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
  return state.replace(params=params, average=average, optimizer=optimizer, step=state.step + 1), loss


def eval_step(params: Params, field: jax.Array, rows: jax.Array, *, model: nn.Module) -> jax.Array:
  """Returns `[batch]` logits of the given rows of `[n, y, x]` field [G]; pure, as `train_step`."""
  return model.apply(params, field[rows])


@functools.cache
def compiled_step() -> Callable[..., tuple[MemberState, jax.Array]]:
  """Returns `train_step` as a program of its own; the buffers of the state are given up."""
  static = ('model', 'tx', 'settings')
  return jax.jit(train_step, static_argnames=static, donate_argnames='state', compiler_options=compiler_options())


@functools.cache
def compiled_eval() -> Callable[..., jax.Array]:
  """Returns `eval_step` as a program of its own."""
  return jax.jit(eval_step, static_argnames='model', compiler_options=compiler_options())
