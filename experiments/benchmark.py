"""Speed, side by side: cases of a group are timed in turns within one run, and told as ratios of their medians.

python -m experiments.benchmark --out=runs/benchmark

PyTorch is measured where it is installed (pip install torch). Nothing else should run on the machine meanwhile.
"""

import json
import os
import pathlib
import resource

import jax
import numpy as np
from absl import flags
from astropy import units as u
from astropy.table import Table

from experiments import _groups, _profile, cli
from experiments._timing import describe, time_cases
from hearjax.files import write_table, write_whole
from hearjax.report import benchmark_plots
from hearjax.workdir import describe_environment

FLAGS = flags.FLAGS
flags.DEFINE_string('out', 'runs/benchmark', 'Folder for benchmark.json, the tables and the figure.')
flags.DEFINE_list('groups', [], f'Groups of cases to run, of {", ".join(_groups.GROUPS)}; all for none.')
flags.DEFINE_integer('repeats', 9, 'Rounds, in each of which every case of a group runs once.', lower_bound=1)
flags.DEFINE_bool('small', False, 'Few maps and fields: shows that it works, measures nothing.')
cli.define_seed_flag()
cli.define_overwrite_flag()


def main() -> None:
  unknown = sorted(set(FLAGS.groups) - set(_groups.GROUPS))
  if unknown:
    raise ValueError(f'--groups has {", ".join(unknown)}; there are {", ".join(_groups.GROUPS)}.')
  out = pathlib.Path(FLAGS.out)
  cli.check_unused(out / 'benchmark.ecsv')
  size = _groups.SMALL if FLAGS.small else _groups.FULL
  product = _groups.matrix_product(size)
  (seconds,) = time_cases(product, FLAGS.repeats).values()
  peak = product.flop / float(np.median(seconds))
  print(f'Matrix product: {peak / 1e9:.0f} Gflop/s.')
  rows = []
  for name in FLAGS.groups or _groups.GROUPS:
    for group in _groups.GROUPS[name](size, FLAGS.seed):
      part = describe(group, time_cases(group, FLAGS.repeats), peak)
      print_group(part)
      rows += [{'kind': name, **row} for row in part]
  profile = _profile.profile_step(FLAGS.seed)
  print('Where the time of a training step goes:')
  for row in profile:
    print(f'  {row["share"]:6.1%}  {row["stage"]}')
  memory = _groups.memory() | {'MB at most, all of this': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
  print('Memory: ' + ', '.join(f'{value:.3g} {name}' for name, value in memory.items()) + '.')
  environment = describe_environment() | {'cores': os.cpu_count(), 'pytorch': _groups.pytorch_version()}
  meta = {'environment': environment, 'repeats': FLAGS.repeats, 'small': FLAGS.small, 'peak_flop_per_s': peak}
  record = {**meta, 'memory': memory, 'rows': rows, 'profile': profile}
  write_whole(out / 'benchmark.json', lambda temporary: temporary.write_text(json.dumps(record, indent=1) + '\n'))
  table = Table(rows, meta=meta)
  for column in ('seconds', 'seconds_low', 'seconds_high'):
    table[column].unit = u.s
  of_lowerings = table['kind'] == 'lowerings'
  if not of_lowerings.all():
    benchmark_plots.plot_benchmark(table[~of_lowerings], machine(environment), out / 'benchmark.png')
  if of_lowerings.any():
    benchmark_plots.plot_lowerings(table[of_lowerings], machine(environment), out / 'lowerings.png')
  write_table(out / 'profile.ecsv', Table(profile, meta=meta))
  write_table(out / 'benchmark.ecsv', table)
  print(f'Written to {out}.')


def print_group(rows: list[dict]) -> None:
  """Prints the cases of a group."""
  print(f'{rows[0]["group"]}:')
  for row in rows:
    spread = f'[{1e3 * row["seconds_low"]:.4g}, {1e3 * row["seconds_high"]:.4g}]'
    peak = f'{row["share_of_peak"]:.0%} of peak' if row['share_of_peak'] else ''
    told = f'{1e3 * row["seconds"]:10.4g} ms {spread:20} ratio {row["ratio"]:7.3f}'
    print(f'  {row["case"]:36} {told}  {peak} {row["target"]}', flush=True)


def machine(environment: dict) -> str:
  """Returns what a figure says about where it was measured."""
  pytorch = environment['pytorch'] or 'not installed'
  return f'{environment["device"]}, {environment["cores"]} cores; jax {jax.__version__}, PyTorch {pytorch}'


if __name__ == '__main__':
  cli.run(main)
