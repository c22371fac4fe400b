"""Where the time of a training step goes: a trace of its operations, summed over the stages of the network."""

import collections
import itertools
import pathlib
import re
import tempfile

import jax
import numpy as np
from jax.profiler import ProfileData

from hearjax.checks import UserError
from hearjax.models.network import ModelSettings, build_model
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM
from hearjax.training.settings import TrainSettings
from hearjax.training.step import build_optimizer, compiled_step, create_states

from .common import noise

STEPS = 20
OTHER = 'optimiser, averages and the rest'


def profile_step(seed: int) -> list[dict]:
  """Traces training steps of the default network, augmentation included.

  Returns:
    One row per stage with its share of the time, the largest first.

  Raises:
    UserError: This backend leaves no trace of its operations.
  """
  train, settings = TrainSettings(), ModelSettings()
  model = build_model(settings, DEFAULT_PIXEL_SCALE_MM)
  tx = build_optimizer(train, 100)
  field = noise(train.batch_size, seed, settings.crop_px + 2 * train.augmentation.shift_px)
  states = create_states(model, tx, jax.random.key(0)[None], field.shape[-1])
  state = jax.tree.map(lambda leaf: leaf[0], states)
  rows = np.arange(len(field))
  step = compiled_step()
  arguments = (jax.device_put(field), rows, rows % 2, jax.random.key(1))
  fixed = {'model': model, 'tx': tx, 'settings': train}
  stages = stages_of(step.lower(state, *arguments, **fixed).compile().as_text())
  state, _ = step(state, *arguments, **fixed)
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      for _ in range(STEPS):
        state, loss = step(state, *arguments, **fixed)
      loss.block_until_ready()
    file = next(pathlib.Path(folder).glob('**/*.xplane.pb'))
    spent = time_of(ProfileData.from_file(str(file)), stages)
  if not spent:
    raise UserError(f'The profiler of {jax.default_backend()} names no operation of the training step.')
  whole = sum(spent.values())
  return [{'stage': stage, 'share': time / whole} for stage, time in spent.most_common()]


def stages_of(program: str) -> dict[str, str]:
  """Returns the stage of each instruction of a compiled program, from the names that JAX leaves in its text."""
  stages = {}
  for instruction, rest in re.findall(r'^ +(?:ROOT )?%([\w.-]+) = (.*)$', program, re.MULTILINE):
    name = re.search(r'op_name="([^"]*)"', rest)
    # XLA drops the name of a convolution that it turns into another one, as it does with the gradients of kernels.
    unnamed = 'convolutions that XLA made' if 'convolution(' in rest else 'copies that XLA made'
    stages[instruction] = stage_of(name[1]) if name else unnamed
  return stages


def stage_of(name: str) -> str:
  """Returns what of the training step an operation's name says that it belongs to."""
  layer = re.search(r'convolution_(\d+)', name)
  backward = 'transpose(' in name
  if layer:
    return f'convolution {int(layer[1]) + 1}, {"gradient" if backward else "value"}'
  if 'EmergenceNetwork' in name:
    return f'ReLU, averages, logit, {"gradient" if backward else "value"}'
  if 'vmap' in name:
    return 'augmentation'
  return OTHER


def time_of(trace: ProfileData, stages: dict[str, str]) -> collections.Counter:
  """Returns the nanoseconds of the operations of a trace, by stage; what is no operation of the program is left out.

  An operation is taken to last until the next one starts: the trace ends a convolution on a CPU when it is handed over.
  """
  lines = (line for plane in trace.planes for line in plane.lines)
  operations = sorted((event.start_ns, event.name) for line in lines for event in line.events if event.name in stages)
  spent: collections.Counter = collections.Counter()
  for (start, name), (following, _) in itertools.pairwise(operations):
    spent[stages[name]] += following - start
  return spent
