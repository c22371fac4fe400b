"""Groups of `benchmark` about training: steps, layers, members, whole runs; PyTorch's cases among them."""

import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.models.compilation import compiler_options
from hearjax.models.convolution import LOWERINGS, choose_lowerings, edges
from hearjax.models.network import ModelSettings, build_model
from hearjax.simulate.worlds import simulate_survey
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM
from hearjax.survey.fold_rows import fold_rows
from hearjax.survey.folds import make_splits
from hearjax.training.fit import fit
from hearjax.training.loop import train_members
from hearjax.training.placement import Feed, Resident, Streamed
from hearjax.training.settings import Execution, RunSettings, TrainSettings
from hearjax.training.step import build_optimizer, compiled_eval, compiled_step, create_states

from .common import BATCH, UNCHANGED, build, forward_flop, noise, pytorch, step_flop
from .timing import Case, Group


def steps_alone(settings: ModelSettings, field: np.ndarray, batch: int, steps: int, lowering: str = 'auto') -> Case:
  """Returns a case of some training steps of one member, as a CPU takes them."""
  model = build_model(settings, DEFAULT_PIXEL_SCALE_MM, lowering)
  train = TrainSettings(augmentation=UNCHANGED)
  tx = build_optimizer(train, 100)
  states = create_states(model, tx, jax.random.key(0)[None], field.shape[-1])
  state = jax.tree.map(lambda leaf: leaf[0], states)
  maps, rows, key = jnp.asarray(field), np.arange(batch), jax.random.key(1)
  label = rows % 2
  step = compiled_step()

  def case() -> jax.Array:
    nonlocal state
    for _ in range(steps):
      state, loss = step(state, maps, rows, label, key, model=model, tx=tx, settings=train)
    return loss

  return case


def epoch(
  settings: ModelSettings, feed: Feed, n: int, side: int, members: int, batch: int, lowering: str = 'auto'
) -> Case:
  """Returns a case of one epoch of members side by side (one after the other for a single one) on `n` maps."""
  model = build_model(settings, DEFAULT_PIXEL_SCALE_MM, lowering)
  train = TrainSettings(epochs=1, batch_size=batch, augmentation=UNCHANGED)
  steps = n // batch
  tx = build_optimizer(train, steps)
  keys = jax.random.split(jax.random.key(0), members)
  label, rows = np.arange(n) % 2, np.arange(n)

  def case() -> Any:
    states = create_states(model, tx, keys, side)
    fixed = {'model': model, 'tx': tx, 'settings': train, 'steps_per_epoch': steps}
    epochs = train_members(states, feed, label, [rows] * members, [rows[:batch]] * members, keys, **fixed)
    return [states for states, _ in epochs]

  return case


def inference(settings: ModelSettings, field: np.ndarray, times: int) -> Case:
  """Returns a case of the logits of some maps, several times."""
  model, params = build(settings)
  maps, rows = jnp.asarray(field), np.arange(len(field))
  evaluate = compiled_eval()
  return lambda: [evaluate(params, maps, rows, model=model).block_until_ready() for _ in range(times)]


def step(size: dict, seed: int) -> Iterator[Group]:
  """A training step of the default network, and the logits of a batch: hearjax against PyTorch."""
  settings, field, times = ModelSettings(), noise(BATCH, seed), size['steps']
  model, params = build(settings)
  for name, work, rivals, limit in (
    ('training step', steps_alone(settings, field, BATCH, times), 'step_cases', 1.0),
    ('inference', inference(settings, field, times), 'inference_cases', 0.8),
  ):
    theirs = getattr(pytorch, rivals)(model, params, field, times) if pytorch else {}
    side = field.shape[-1]
    flop = BATCH * (step_flop(settings, side) if name == 'training step' else forward_flop(settings, side)[0])
    target = {'target': 'hearjax', 'largest_ratio': limit} if theirs else {}
    yield Group(name, {'hearjax': work} | theirs, tuple(theirs), units=times, flop=flop, **target)


def lowerings(size: dict, seed: int) -> Iterator[Group]:
  """Every lowering for maps of several sizes, batches of several sizes, and several members side by side."""
  ways = ('auto', *LOWERINGS)
  for side in size['sides']:
    settings = ModelSettings(crop_px=0)
    for batch in size['batches']:
      if side * side * batch > 128**2 * 256:
        continue  # Activations of gigabytes.
      field = noise(batch, seed, side)
      cases = {way: steps_alone(settings, field, batch, 1, way) for way in ways}
      flop = batch * step_flop(settings, side)
      yield Group(f'step, {side} px, batch {batch}', cases, side=side, batch=batch, flop=flop, rounds=3)
    members, batch = size['members'][-2], size['batches'][0]
    field = Resident(jnp.asarray(noise(batch, seed, side)))
    cases = {way: epoch(settings, field, batch, side, members, batch, way) for way in LOWERINGS}
    flop = batch * step_flop(settings, side)
    name = f'{members} members in one program, {side} px, batch {batch}'
    yield Group(name, cases, side=side, batch=batch, units=members, flop=flop, rounds=3)


def layers(size: dict, seed: int) -> Iterator[Group]:
  """Every lowering for each layer of the default network: what `choose_lowerings` says, beside all that it may say."""
  settings, side, channels = ModelSettings(), ModelSettings().crop_px, 1
  rng = np.random.default_rng(seed)
  for number, (width, kernel, stride) in enumerate(
    zip(settings.widths, settings.kernels, settings.strides, strict=True)
  ):
    maps = jnp.asarray(rng.normal(size=(BATCH, side, side, channels)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(kernel, kernel, channels, width)), jnp.float32)
    wanted = (1,) if number == 0 else (0, 1)  # Nobody asks for the gradient by the map.

    def value(maps: jax.Array, weights: jax.Array, way: str, stride: int = stride) -> jax.Array:
      return LOWERINGS[way](maps, weights, stride, settings.padding)

    def total(maps: jax.Array, weights: jax.Array, way: str, stride: int = stride) -> jax.Array:
      return jnp.sum(jnp.square(LOWERINGS[way](maps, weights, stride, 'same')))

    for name, function in (('value', value), ('value and gradient', jax.value_and_grad(total, wanted))):
      program = jax.jit(function, static_argnames='way', compiler_options=compiler_options())
      chosen = choose_lowerings(stride, channels, jax.default_backend())[name != 'value']
      cases = {
        f'{way}{" (chosen)" if way == chosen else ""}': functools.partial(program, maps, weights, way=way)
        for way in LOWERINGS
      }
      yield Group(f'layer {number + 1}, {name}', cases)
    side, channels = edges(side, kernel, stride, settings.padding)[1], width


def members(size: dict, seed: int) -> Iterator[Group]:
  """An epoch of several members: one after the other, and side by side in one program."""
  n, side = size['maps'][0], ModelSettings().crop_px
  feed = Resident(jnp.asarray(noise(n, seed)))
  batch = min(BATCH, n)
  for count in size['members'][1:]:
    alone = epoch(ModelSettings(), feed, n, side, 1, batch)
    together = epoch(ModelSettings(), feed, n, side, count, batch, 'patches')
    cases = {'one after the other': lambda alone=alone, count=count: [alone() for _ in range(count)]}
    yield Group(f'{count} members', {**cases, 'side by side': together}, units=count * (n // batch))


def survey_size(size: dict, seed: int) -> Iterator[Group]:
  """A step of an epoch, for surveys of several sizes: resident, and fed in blocks."""
  side, batch = ModelSettings().crop_px, min(BATCH, size['maps'][0])
  for n in size['maps']:
    field = noise(n, seed)
    feeds = {'resident': Resident(jnp.asarray(field)), 'in blocks': Streamed(field, Execution().block_maps)}
    cases = {name: epoch(ModelSettings(), feed, n, side, 1, batch) for name, feed in feeds.items()}
    yield Group(f'survey of {n} maps', cases, units=n // batch)


def precision(size: dict, seed: int) -> Iterator[Group]:
  """A training step in float32 and in bfloat16."""
  field = noise(BATCH, seed)
  cases = {
    name: steps_alone(ModelSettings(precision=name), field, BATCH, size['steps']) for name in ('float32', 'bfloat16')
  }
  yield Group('precision', cases, units=size['steps'])


def whole_run(size: dict, seed: int) -> Iterator[Group]:
  """A whole cross-validation at the paper's size: 5 seeds of 30 epochs, all in one program, on an accelerator."""
  on_cpu = jax.default_backend() == 'cpu'
  seeds, epochs = (1, size['epochs']) if on_cpu else (5, min(30, size['epochs']))
  survey = simulate_survey(seed, size['pairs'], size=64)
  splits = make_splits(survey, size['folds'], seed)
  train = TrainSettings(epochs=epochs, augmentation=UNCHANGED)
  settings = RunSettings(seeds=seeds, training=train)
  rows = fold_rows(survey, splits, ())
  cases: dict[str, Case] = {'hearjax': lambda: fit(survey, splits, settings).predictions['logit']}
  if pytorch:
    model, _ = build(settings.model)
    cases['PyTorch, one by one'] = lambda: pytorch.cross_validate(model, survey, rows, settings)
  name = f'{size["folds"]} folds x {seeds} seeds x {epochs} epochs, {len(survey)} maps'
  yield Group(name, cases, target='hearjax', largest_seconds=600 if on_cpu else 60, once=True)


FIRST_STEP = """
import sys
import jax, numpy as np
if len(sys.argv) > 1:
  jax.config.update('jax_compilation_cache_dir', sys.argv[1])
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
from {package} import common, learning
jax.block_until_ready(learning.steps_alone(learning.ModelSettings(), common.noise(64, 0), 64, 1)())
"""


def first_step(size: dict, seed: int) -> Iterator[Group]:
  """From the start of Python to the end of the first training step."""
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, '-c', FIRST_STEP.format(package=__package__)]
    cases = {
      'nothing compiled before': lambda: subprocess.run(command, check=True).returncode,
      'with a compilation cache': lambda: subprocess.run([*command, folder], check=True).returncode,
    }
    yield Group('first step', cases, target='nothing compiled before', largest_seconds=10, rounds=3)
