"""What `benchmark` times. A group is asked for by name and yields one or more `Group`s, PyTorch's cases among them."""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from hearjax.interpret import ablation, pruning
from hearjax.interpret.probes import Probes, field_logits, measure_probes
from hearjax.maps.augmentation import Augmentation
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.compilation import compiler_options
from hearjax.models.convolution import LOWERINGS, choose_lowerings, same_padding
from hearjax.models.network import EmergenceNetwork, ModelSettings, build_model
from hearjax.simulate.worlds import simulate_survey
from hearjax.solar import CM2_PER_MM2, DEFAULT_PIXEL_SCALE_MM
from hearjax.survey.archive import read_survey, write_survey
from hearjax.survey.fold_rows import fold_rows
from hearjax.survey.folds import make_splits
from hearjax.training.fit import fit
from hearjax.training.loop import train_members
from hearjax.training.placement import Feed, Resident, Streamed
from hearjax.training.settings import Execution, RunSettings, TrainSettings
from hearjax.training.step import Params, build_optimizer, compiled_eval, compiled_step, create_states

from .timing import Case, Group

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
  'sides': (16,),
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
    _, side, _ = same_padding(side, kernel, stride)
    flop.append(2.0 * side**2 * kernel**2 * channels * width)
    channels = width
  return sum(flop), flop[0]


def step_flop(settings: ModelSettings, side: int) -> float:
  """Returns those of a training step per map: the gradient costs twice the value, but no layer is before the first."""
  whole, first = forward_flop(settings, side)
  return 3 * whole - first


# --- Training ---------------------------------------------------------------------------------------------------


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
      return LOWERINGS[way](maps, weights, stride)

    def total(maps: jax.Array, weights: jax.Array, way: str, stride: int = stride) -> jax.Array:
      return jnp.sum(jnp.square(LOWERINGS[way](maps, weights, stride)))

    for name, function in (('value', value), ('value and gradient', jax.value_and_grad(total, wanted))):
      program = jax.jit(function, static_argnames='way', compiler_options=compiler_options())
      chosen = choose_lowerings(stride, channels, jax.default_backend())[name != 'value']
      cases = {
        f'{way}{" (chosen)" if way == chosen else ""}': functools.partial(program, maps, weights, way=way)
        for way in LOWERINGS
      }
      yield Group(f'layer {number + 1}, {name}', cases)
    side, channels = -(-side // stride), width


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
  train = TrainSettings(epochs=epochs, patience=epochs, augmentation=UNCHANGED)
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
from {package} import groups
jax.block_until_ready(groups.steps_alone(groups.ModelSettings(), groups.noise(64, 0), 64, 1)())
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


# --- Interpretation ---------------------------------------------------------------------------------------------


def sweep(size: dict, seed: int) -> Iterator[Group]:
  """All single-filter ablations of a network: one forward pass each, by hooks, against the sweep of hearjax."""
  n = size['sweep_maps']
  for name, settings, limits in (
    ('sweep', ModelSettings(), {'smallest_speedup': 20}),
    ('sweep, strides 2, 2, 2, 2', ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)), {}),
  ):
    model, params = build(settings)
    field = noise(n, seed)
    ours: dict[str, Case] = {
      'one forward pass': functools.partial(field_logits, model, params, field),
      'every filter dropped alone': lambda model=model, params=params, field=field: ablation.sweep(
        model, params, field
      ),
    }
    theirs = pytorch.sweep_cases(model, params, field) if pytorch else {}
    # Relative to the hooks where they can be run, else to a forward pass.
    target = 'every filter dropped alone' if theirs and limits else ''
    yield Group(name, {**ours, **theirs}, tuple(theirs), target=target, **limits)


def elimination(size: dict, seed: int) -> Iterator[Group]:
  """Greedy backward elimination down to one filter in each layer: the default network, and one of 176 filters."""
  default = build(ModelSettings(widths=ModelSettings().widths if size is FULL else size['wide']))
  wide = build(ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)))
  n = size['path_maps']
  part = pruning.Part(noise(n, seed), np.arange(n) % 2, np.arange(n) // 2)
  cases = {
    'the default network': lambda: pruning.eliminate(*default, part),
    '176 filters, strides 2, 2, 2, 2': lambda: pruning.eliminate(*wide, part),
  }
  yield Group('elimination', cases, target='176 filters, strides 2, 2, 2, 2', largest_seconds=60, once=True)


def response(size: dict, seed: int) -> Iterator[Group]:
  """Synthetic bipoles made and scored one by one in NumPy, against all in batches."""
  model, params = build(ModelSettings())
  grid = Grid(ModelSettings().crop_px, DEFAULT_PIXEL_SCALE_MM)
  rng = np.random.default_rng(seed)
  n = size['fields']
  scale, flux, tilt = rng.uniform(4, 20, n), rng.uniform(1e19, 1e21, n), rng.uniform(0, 360, n)
  nothing = np.zeros(n)
  keys = jnp.broadcast_to(jax.random.key(0), (n,))
  shape = Shape(scale, scale / 5, tilt, nothing, nothing, nothing, keys)
  batch = Probes('bipole', grid, shape, flux, np.ones(n, bool), np.zeros(n, int))
  background = np.zeros((1, grid.size, grid.size), np.float32)

  def one_by_one() -> list[float]:
    fields = (numpy_bipole(grid, *parameters) for parameters in zip(scale, flux, tilt, strict=True))
    return [float(field_logits(model, params, field[None], chunk=1)[0]) for field in fields]

  cases = {
    'one by one in NumPy': one_by_one,
    'in batches': lambda: measure_probes(model, [params], batch, [background])[0],
  }
  yield Group('response', cases, target='in batches', smallest_speedup=5)


def numpy_bipole(grid: Grid, scale_mm: float, flux_mx: float, tilt_deg: float) -> np.ndarray:
  """Returns `[y, x]` the bipole of `hearjax.maps.synthetic` [G], as a user of NumPy would write it."""
  axis = scale_mm / 2 * np.array([np.cos(np.deg2rad(tilt_deg)), -np.sin(np.deg2rad(tilt_deg))])
  field = np.zeros((grid.size, grid.size))
  for sign in (1, -1):
    in_x, in_y = (np.diff(erf((grid.edges_mm() - sign * place) / (scale_mm / 5 * np.sqrt(2)))) / 2 for place in axis)
    field += sign * in_y[:, None] * in_x
  field *= flux_mx / (np.abs(field).sum() * grid.pixel_scale_mm**2 * CM2_PER_MM2)
  return field.astype(np.float32)


# --- Surveys ----------------------------------------------------------------------------------------------------


def archive(size: dict, seed: int) -> Iterator[Group]:
  """Simulating, writing and reading a survey; seconds for one magnetogram of 128 x 128 px."""
  survey = simulate_survey(seed, size['simulated'])
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    write_survey(root / 'survey', survey)

    def write() -> None:
      with tempfile.TemporaryDirectory() as other:
        write_survey(other, survey)

    cases = {
      'read': lambda: read_survey(root / 'survey').field,
      'read, maps mapped from a file': lambda: read_survey(root / 'survey', scratch=root).field[0],
      'write': write,
      'simulate': lambda: simulate_survey(seed, size['simulated']).field,
    }
    yield Group('archive', cases, units=len(survey))


# --- The whole of it ------------------------------------------------------------------------------------------------


def reproduction(size: dict, seed: int) -> Iterator[Group]:
  """`reproduce --quick` from a cold start, step by step, with the programs that each step compiles."""
  with tempfile.TemporaryDirectory() as folder:
    arguments = ['--quick', f'--workdir={folder}/run', f'--seed={seed}', '--compilation_cache=']
    if size is SMALL:
      arguments.append('--until=simulate_survey')
    started = time.perf_counter()
    _run('reproduce', *arguments)
    whole = time.perf_counter() - started
    steps = json.loads(pathlib.Path(folder, 'run', 'timing.json').read_text())
  seconds = {'whole': whole} | {name: step['seconds'] for name, step in steps.items()}
  programs = {name: step['programs'] for name, step in steps.items()}
  target = {} if size is SMALL else {'target': 'whole', 'largest_seconds': 150}
  yield Group('reproduce', {}, once=True, programs=programs, seconds=seconds, **target)


def suite(size: dict, seed: int) -> Iterator[Group]:
  """The test suite, as `make test` runs it; only from a checkout."""
  root = pathlib.Path(__file__).parents[2]
  tests = [] if size is FULL else ['tests/test_chunks.py']
  if not (root / 'tests').is_dir():
    return
  with tempfile.TemporaryDirectory() as cache:
    command = [sys.executable, '-m', 'pytest', '-n', '2', '--dist', 'loadfile', '-o', f'cache_dir={cache}', *tests]
    run = functools.partial(subprocess.run, command, check=True, cwd=root, stdout=subprocess.DEVNULL)
    cases = {'two workers, nothing kept': lambda: run().returncode}
    yield Group('test suite', cases, target='two workers, nothing kept', largest_seconds=300, once=True)


def _run(script: str, *arguments: str) -> int:
  command = [sys.executable, '-m', __package__.rpartition('.')[0], script, *arguments]
  return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


GROUPS: dict[str, Callable[[dict, int], Iterator[Group]]] = {
  'step': step,
  'layers': layers,
  'lowerings': lowerings,
  'members': members,
  'survey_size': survey_size,
  'precision': precision,
  'first_step': first_step,
  'whole_run': whole_run,
  'sweep': sweep,
  'elimination': elimination,
  'response': response,
  'archive': archive,
  'reproduce': reproduction,
  'suite': suite,
}


# --- The machine, and memory ------------------------------------------------------------------------------------


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
