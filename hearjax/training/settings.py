"""What determines a run, and apart from it how the run is computed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from hearjax.checks import UserError, check_choices
from hearjax.maps.augmentation import Augmentation
from hearjax.models.convolution import LOWERINGS
from hearjax.models.network import ModelSettings


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """How a member is trained; every entry is a choice of ours, made by the study that the manual tells of.

  Attributes:
    epochs: Passes over the training rows, up to a last batch that is not full.
    batch_size: Maps per step.
    learning_rate: Peak of the schedule: linear warm-up over the first tenth, then half a cosine to zero.
    weight_decay: Decoupled weight decay (AdamW).
    average_decay: Decay per step of the exponential average of the parameters, which is what is validated and kept;
      0 keeps the raw parameters. The last average is kept, not that of the lowest validation loss, which falls before
      the ranking is at its best.
    augmentation: Random changes of the maps.
  """

  epochs: int = 40
  batch_size: int = 64
  learning_rate: float = 1e-2
  weight_decay: float = 1e-3
  average_decay: float = 0.98
  augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

  def __post_init__(self):
    for name in ('epochs', 'batch_size'):
      if getattr(self, name) < 1:
        raise UserError(f'{name} must be at least 1, got {getattr(self, name)}.')
    if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.average_decay < 1):
      raise UserError(
        'learning_rate must be positive, weight_decay not negative and average_decay in [0, 1), got '
        f'{self.learning_rate}, {self.weight_decay}, {self.average_decay}.'
      )


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """What determines a cross-validated run, beside the survey and its folds.

  Attributes:
    seed: The one random key of the run, a non-negative integer.
    folds: Folds of the cross-validation, by pair.
    seeds: Networks per fold, averaged in their logits; they differ in initialisation and in the order of what they see.
    train_intervals: Intervals to learn from; empty for all before the emergence time. All are predicted in any case.
    tuned: Also tune a copy of each network to each interval, for a comparison with analyses that are fitted to each.
    model, training: Settings of the network and of its training.
  """

  seed: int = 0
  folds: int = 10
  seeds: int = 1
  train_intervals: tuple[int, ...] = ()
  tuned: bool = False
  model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
  training: TrainSettings = dataclasses.field(default_factory=TrainSettings)

  def __post_init__(self):
    if self.seed < 0 or self.folds < 2 or self.seeds < 1:
      raise UserError(
        'seed must not be negative, folds at least 2 and seeds at least 1, got '
        f'{self.seed}, {self.folds}, {self.seeds}.'
      )


@dataclasses.dataclass(frozen=True)
class Execution:
  """How a run is computed; the result is the same but for the rounding of floats.

  Attributes:
    members_at_once: Networks trained side by side in one program, spread over all devices; 1 for one after the other,
      step by step; 0 for all of them on an accelerator, and one on a CPU, which is the faster form on each.
    streamed: Leave the magnetograms on the host and feed them in blocks. So it is done, too, where they would take
      more than half of the memory of a device.
    block_maps: Magnetograms of such a block.
    checkpoint_every: Epochs between checkpoints; also where a killed run resumes.
    lowering: How convolutions are computed: one way for all layers, or `auto` for what is fastest for each.
  """

  members_at_once: int = 0
  streamed: bool = False
  block_maps: int = 4096
  checkpoint_every: int = 10
  lowering: str = dataclasses.field(default='auto', metadata={'choices': ('auto', *LOWERINGS)})

  def __post_init__(self):
    if self.members_at_once < 0 or min(self.block_maps, self.checkpoint_every) < 1:
      raise UserError(
        'members_at_once must not be negative, block_maps and checkpoint_every at least 1, got '
        f'{self.members_at_once}, {self.block_maps}, {self.checkpoint_every}.'
      )
    check_choices(self)

  def group_size(self, members: int) -> int:
    """Returns how many of a run's members are trained at once."""
    if jax.process_count() > 1:
      return members  # Members are what processes share.
    return min(self.members_at_once or (1 if jax.default_backend() == 'cpu' else members), members)


def numeric_settings() -> dict[str, Any]:
  """Returns the settings of JAX that change what a run computes: types, and how random numbers are drawn."""
  names = ('jax_enable_x64', 'jax_default_prng_impl', 'jax_threefry_partitionable', 'jax_default_matmul_precision')
  return {name: getattr(jax.config, name, None) for name in names}


def parse_settings(kind: type, content: Mapping[str, Any]) -> Any:
  """Returns a settings dataclass from what JSON made of it: lists become tuples, dictionaries dataclasses.

  Raises:
    UserError: An entry is unknown, or out of its range.
  """
  known = {field.name: field.type for field in dataclasses.fields(kind)}
  unknown = sorted(set(content) - set(known))
  if unknown:
    raise UserError(f'{kind.__name__} has no entry {unknown[0]!r}; it has {", ".join(known)}.')
  values = {
    name: parse_settings(known[name], value)
    if dataclasses.is_dataclass(known[name])
    else tuple(value)
    if isinstance(value, list)
    else value
    for name, value in content.items()
  }
  return kind(**values)
