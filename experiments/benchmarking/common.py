"""What all groups of `benchmark` share: sizes, networks, operations, the machine and its memory."""

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.maps.augmentation import Augmentation
from hearjax.models.convolution import edges
from hearjax.models.network import EmergenceNetwork, ModelSettings, build_model
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM
from hearjax.training.settings import TrainSettings
from hearjax.training.step import Params, build_optimizer, compiled_step, create_states

from .timing import Group

try:
  from . import pytorch
except ImportError:
  pytorch = None

# PyTorch's step has no augmentation, and so has none here what is compared with it.
UNCHANGED = Augmentation(polarity=False, mirror=False, transpose=False, shift_px=0)
BATCH = TrainSettings().batch_size
# The sizes that the targets are stated for, and those that only show that a group works.
FULL = {
  'steps': 10,
  'sides': (32, 64, 128, 256),
  'batches': (16, 64, 256),
  'members': (1, 2, 4, 8),
  'maps': (500, 2000, 8000),
  'sweep_maps': 512,
  'path_maps': 200,
  'fields': 4096,
  'wide': (16, 32, 64, 64),
  'pairs': 182,
  'folds': 10,
  'epochs': 40,
  'simulated': 10,
}
SMALL = {
  'steps': 1,
  'sides': (32,),
  'batches': (4,),
  'members': (1, 2),
  'maps': (32,),
  'sweep_maps': 16,
  'path_maps': 16,
  'fields': 64,
  'wide': (2, 3, 3, 3),
  'pairs': 12,
  'folds': 2,
  'epochs': 1,
  'simulated': 2,
}


def noise(n: int, seed: int, side: int = ModelSettings().crop_px) -> np.ndarray:
  """Returns `[n, y, x]` white noise of 50 G, by default on what the default network looks at: speed asks for no Sun."""
  return np.random.default_rng(seed).normal(0, 50, (n, side, side)).astype(np.float32)


def build(settings: ModelSettings) -> tuple[EmergenceNetwork, Params]:
  """Returns an untrained network and its parameters."""
  model = build_model(settings, DEFAULT_PIXEL_SCALE_MM)
  return model, model.init(jax.random.key(0), noise(1, 0))


def forward_flop(settings: ModelSettings, side: int) -> tuple[float, float]:
  """Returns the operations of the convolutions for one map of `side` px: of all, and of the first alone."""
  flop, channels, side = [], 1, settings.visible_px(side)
  for width, kernel, stride in zip(settings.widths, settings.kernels, settings.strides, strict=True):
    _, side, _ = edges(side, kernel, stride, settings.padding)
    flop.append(2.0 * side**2 * kernel**2 * channels * width)
    channels = width
  return sum(flop), flop[0]


def step_flop(settings: ModelSettings, side: int) -> float:
  """Returns those of a training step per map: the gradient costs twice the value, but no layer is before the first."""
  whole, first = forward_flop(settings, side)
  return 3 * whole - first


def matrix_product(size: dict) -> Group:
  """Returns the group whose time says what the machine can do: a product of two square matrices."""
  n = 2048 if size is FULL else 128
  matrix = jnp.ones((n, n))
  product = jax.jit(jnp.matmul)
  return Group('matrix product', {f'{n} x {n}': lambda: product(matrix, matrix)}, flop=2.0 * n**3)


def memory() -> dict[str, float]:
  """Returns the memory of the default training [MB]: of a member, of a map kept, of a map within a step."""
  model = build_model(ModelSettings(), DEFAULT_PIXEL_SCALE_MM)
  train = TrainSettings()
  tx = build_optimizer(train, 100)
  margin = train.augmentation.shift_px
  side = ModelSettings().crop_px + 2 * margin
  states = create_states(model, tx, jax.random.key(0)[None], side)
  state = jax.tree.map(lambda leaf: leaf[0], states)

  def temporary(batch: int) -> float:
    rows = np.arange(batch)
    lowered = compiled_step().lower(
      state, noise(batch, 0, side), rows, rows % 2, jax.random.key(1), model=model, tx=tx, settings=train
    )
    return lowered.compile().memory_analysis().temp_size_in_bytes

  per_map = (temporary(2 * BATCH) - temporary(BATCH)) / BATCH
  bytes_of = {
    'member': sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
    'kept map': 4 * side**2,
    'map in a step': per_map,
  }
  return {f'MB of a {name}': value / 1e6 for name, value in bytes_of.items()}


def pytorch_version() -> str | None:
  """Returns the version of PyTorch, None where it is not installed."""
  return str(pytorch.torch.__version__) if pytorch else None
