"""Speed, side by side: cases of a group are timed in turns within one run, and told as ratios of their medians.

python -m experiments.benchmark --out=runs/benchmark
"""

import dataclasses
import json
import pathlib
import resource
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from astropy import units as u
from astropy.table import Table
from scipy.special import erf

from experiments import cli
from hearjax.constants import CM2_PER_MM2, DEFAULT_PIXEL_SCALE_MM
from hearjax.fields import Grid, Shape
from hearjax.files import write_table, write_whole
from hearjax.interpret import ablation, probes, pruning
from hearjax.model import EmergenceNetwork, ModelSettings, build_model
from hearjax.training import Params
from hearjax.workdir import describe_environment

FLAGS = flags.FLAGS
flags.DEFINE_string('out', 'runs/benchmark', 'Folder for benchmark.json and benchmark.ecsv.')
flags.DEFINE_list('groups', [], 'Groups of cases to run; all for none.')
flags.DEFINE_integer('repeats', 5, 'Rounds, in each of which every case of a group runs once.', lower_bound=1)
flags.DEFINE_bool('small', False, 'Few maps and fields: shows that it works, measures nothing.')
cli.define_seed_flag()
cli.define_overwrite_flag()

# The sizes that the targets are stated for, and those that only show that a group works.
FULL = {'sweep_maps': 512, 'path_maps': 200, 'fields': 4096, 'wide': (16, 32, 64, 64)}
SMALL = {'sweep_maps': 16, 'path_maps': 16, 'fields': 64, 'wide': (2, 3, 3, 3)}

Case = Callable[[], object]  # Does the work once and returns what must be waited for.


@dataclasses.dataclass(frozen=True)
class Group:
  """Cases that are told as ratios to the first of them.

  Attributes:
    cases: What to time, by name.
    largest_ratio: Target for the last case: its largest ratio to the first, None for no target.
    largest_seconds: Target for the last case in seconds, None for no target.
    once: Whether a case takes so long that it runs once, its compilation included.
  """

  cases: dict[str, Case]
  largest_ratio: float | None = None
  largest_seconds: float | None = None
  once: bool = False


def noise(n: int, seed: int) -> np.ndarray:
  """Returns `[n, y, x]` white noise of 50 G on what the default network looks at: speed asks for no Sun."""
  size = ModelSettings().crop_px
  return np.random.default_rng(seed).normal(0, 50, (n, size, size)).astype(np.float32)


def build(settings: ModelSettings) -> tuple[EmergenceNetwork, Params]:
  """Returns an untrained network and its parameters."""
  model = build_model(settings, DEFAULT_PIXEL_SCALE_MM)
  return model, model.init(jax.random.key(0), noise(1, 0))


# --- Groups -----------------------------------------------------------------------------------------------------


def sweep(size: dict, seed: int) -> Group:
  """All single-filter ablations of the default network against plain passes over the same maps."""
  model, params = build(ModelSettings())
  field = noise(size['sweep_maps'], seed)
  return Group(
    {
      'one forward pass': lambda: probes.score_fields(model, params, field),
      'every filter dropped alone': lambda: ablation.sweep(model, params, field).without,
    },
    largest_ratio=12,
  )


def elimination(size: dict, seed: int) -> Group:
  """Greedy backward elimination down to one filter in each layer: the default network, and one of 176 filters."""
  default = build(ModelSettings(widths=ModelSettings().widths if size is FULL else size['wide']))
  wide = build(ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)))
  n = size['path_maps']
  part = pruning.Part(noise(n, seed), np.arange(n) % 2, np.arange(n) // 2)
  return Group(
    {
      'the default network': lambda: pruning.eliminate(*default, part),
      '176 filters, strides 2, 2, 2, 2': lambda: pruning.eliminate(*wide, part),
    },
    largest_seconds=60,
    once=True,
  )


def synthetic(size: dict, seed: int) -> Group:
  """Synthetic bipoles made and scored one by one in NumPy, against all in batches."""
  model, params = build(ModelSettings())
  grid = Grid(ModelSettings().crop_px, DEFAULT_PIXEL_SCALE_MM)
  rng = np.random.default_rng(seed)
  n = size['fields']
  scale, flux, tilt = rng.uniform(4, 20, n), rng.uniform(1e19, 1e21, n), rng.uniform(0, 360, n)
  nothing = np.zeros(n)
  keys = jnp.broadcast_to(jax.random.key(0), (n,))
  shape = Shape(scale, scale / 5, tilt, nothing, nothing, nothing, keys)
  batch = probes.Probes('bipole', grid, shape, flux, np.ones(n, bool), np.zeros(n, int))
  background = np.zeros((1, grid.size, grid.size), np.float32)

  def one_by_one() -> list[float]:
    fields = (numpy_bipole(grid, *parameters) for parameters in zip(scale, flux, tilt, strict=True))
    return [float(probes.score_fields(model, params, field[None])[0]) for field in fields]

  return Group(
    {
      'one by one in NumPy': one_by_one,
      'in batches': lambda: probes.score_probes(model, params, batch, background),
    },
    largest_ratio=1 / 5,
  )


def numpy_bipole(grid: Grid, scale_mm: float, flux_mx: float, tilt_deg: float) -> np.ndarray:
  """Returns `[y, x]` the bipole of `hearjax.fields` [G], as a user of NumPy would write it."""
  axis = scale_mm / 2 * np.array([np.cos(np.deg2rad(tilt_deg)), -np.sin(np.deg2rad(tilt_deg))])
  field = np.zeros((grid.size, grid.size))
  for sign in (1, -1):
    in_x, in_y = (np.diff(erf((grid.edges_mm() - sign * place) / (scale_mm / 5 * np.sqrt(2)))) / 2 for place in axis)
    field += sign * in_y[:, None] * in_x
  field *= flux_mx / (np.abs(field).sum() * grid.pixel_scale_mm**2 * CM2_PER_MM2)
  return field.astype(np.float32)


GROUPS = {'sweep': sweep, 'elimination': elimination, 'synthetic': synthetic}


# --- Measuring --------------------------------------------------------------------------------------------------


def time_cases(cases: dict[str, Case], repeats: int, warm: bool = True) -> dict[str, np.ndarray]:
  """Times cases in turns, so that a slow spell of the machine meets all alike.

  Args:
    cases: What to time.
    repeats: Rounds.
    warm: Whether each case runs once beforehand, which compiles it.

  Returns:
    `[repeats]` seconds of every case.
  """
  if warm:
    for case in cases.values():
      jax.block_until_ready(case())
  seconds = np.empty((repeats, len(cases)))
  for turn in range(repeats):
    for number, case in enumerate(cases.values()):
      started = time.perf_counter()
      jax.block_until_ready(case())
      seconds[turn, number] = time.perf_counter() - started
  return dict(zip(cases, seconds.T, strict=True))


def describe(name: str, group: Group, seconds: dict[str, np.ndarray]) -> list[dict]:
  """Returns one table row for every case of a group; the target stands in that of the last."""
  reference = np.median(next(iter(seconds.values())))
  rows = []
  for case, times in seconds.items():
    low, median, high = np.percentile(times, (25, 50, 75)).tolist()
    row = {'group': name, 'case': case, 'seconds': median, 'seconds_low': low, 'seconds_high': high}
    rows.append({**row, 'ratio': median / reference, 'target': ''})
  for name_of, limit in (('ratio', group.largest_ratio), ('seconds', group.largest_seconds)):
    if limit is not None:
      rows[-1]['target'] = f'{name_of} <= {limit:g}: {"met" if rows[-1][name_of] <= limit else "missed"}'
  return rows


def main() -> None:
  unknown = sorted(set(FLAGS.groups) - set(GROUPS))
  if unknown:
    raise ValueError(f'--groups has {", ".join(unknown)}; there are {", ".join(GROUPS)}.')
  out = pathlib.Path(FLAGS.out)
  cli.check_unused(out / 'benchmark.ecsv')
  rows = []
  for name in FLAGS.groups or GROUPS:
    group = GROUPS[name](SMALL if FLAGS.small else FULL, FLAGS.seed)
    part = describe(name, group, time_cases(group.cases, 1 if group.once else FLAGS.repeats, warm=not group.once))
    for row in part:
      print(
        f'{name:12} {row["case"]:30} {row["seconds"]:8.3f} s  ratio {row["ratio"]:8.3f}  {row["target"]}', flush=True
      )
    rows += part
  peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  table = Table(rows)
  for column in ('seconds', 'seconds_low', 'seconds_high'):
    table[column].unit = u.s
  table.meta = {'environment': describe_environment(), 'repeats': FLAGS.repeats, 'small': FLAGS.small}
  record = {**table.meta, 'peak_memory_mb': peak_mb, 'rows': rows}
  write_whole(out / 'benchmark.json', lambda temporary: temporary.write_text(json.dumps(record, indent=1) + '\n'))
  write_table(out / 'benchmark.ecsv', table)
  print(f'Largest memory {peak_mb:.0f} MB; written to {out}.')


if __name__ == '__main__':
  cli.run(main)
