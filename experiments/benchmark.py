"""Speed, side by side: cases of a group are timed in turns within one run, and told as ratios of their medians.

hearjax benchmark --out=runs/benchmark

PyTorch is measured where it is installed (pip install torch). Nothing else should run on the machine meanwhile.
"""

import os
import pathlib
import resource

import jax
import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_json, write_table
from hearjax.progress import meter, say
from hearjax.report import benchmark_plots
from hearjax.training.workdir import describe_environment

from . import cli
from .benchmarking import common, groups, profile
from .benchmarking.timing import describe, time_cases


def define_flags(flags: cli.Flags) -> None:
  flags.path('out', 'runs/benchmark', 'Folder for benchmark.json, the tables and the figure.')
  flags.listed('groups', (), 'Groups of cases to run; all for none.', choices=tuple(groups.GROUPS))
  flags.integer('repeats', 9, 'Rounds, in each of which every case of a group runs once.', lower_bound=1)
  flags.switch('small', False, 'Few maps and fields: shows that it works, measures nothing.')
  flags.common('seed', 'overwrite')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  out = pathlib.Path(flags.out)
  cli.check_unused(flags, out / 'benchmark.ecsv')
  size = common.SMALL if flags.small else common.FULL
  product = common.matrix_product(size)
  (seconds,) = time_cases(product, flags.repeats).values()
  peak = product.flop / float(np.median(seconds))
  print(f'Matrix product: {peak / 1e9:.0f} Gflop/s.')
  rows = []
  for name in meter('measuring', 'kind')(list(flags.groups or groups.GROUPS)):
    for group in groups.GROUPS[name](size, flags.seed):
      part = describe(group, time_cases(group, flags.repeats), peak)
      print_group(part)
      rows += [{'kind': name, **row} for row in part]
  if not rows:
    raise UserError('None of the groups that were asked for can be measured here.')
  profiled = profile.profile_step(flags.seed)
  print('Where the time of a training step goes:')
  for row in profiled:
    print(f'  {row["share"]:6.1%}  {row["stage"]}')
  memory = common.memory() | {'MB at most, all of this': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
  print('Memory: ' + ', '.join(f'{value:.3g} {name}' for name, value in memory.items()) + '.')
  environment = describe_environment() | {'cores': os.cpu_count(), 'pytorch': common.pytorch_version()}
  meta = {'environment': environment, 'repeats': flags.repeats, 'small': flags.small, 'peak_flop_per_s': peak}
  record = {**meta, 'memory': memory, 'rows': rows, 'profile': profiled}
  write_json(out / 'benchmark.json', record)
  table = Table(rows, meta=meta)
  for column in ('seconds', 'seconds_low', 'seconds_high'):
    table[column].unit = u.s
  write_table(out / 'profile.ecsv', Table(profiled, meta=meta))
  write_table(out / 'benchmark.ecsv', table)
  of_lowerings = table['kind'] == 'lowerings'
  if not of_lowerings.all():
    benchmark_plots.plot_benchmark(table[~of_lowerings], machine(environment), out / 'benchmark.png')
  if of_lowerings.any():
    benchmark_plots.plot_lowerings(table[of_lowerings], machine(environment), out / 'lowerings.png')
  print(f'Written to {out}.')


def print_group(rows: list[dict]) -> None:
  """Prints the cases of a group."""
  say(f'{rows[0]["group"]}:')
  for row in rows:
    spread = f'[{1e3 * row["seconds_low"]:.4g}, {1e3 * row["seconds_high"]:.4g}]'
    peak = f'{row["share_of_peak"]:.0%} of peak' if row['share_of_peak'] else ''
    told = f'{1e3 * row["seconds"]:10.4g} ms {spread:20} ratio {row["ratio"]:7.3f}'
    peak += f'{row["programs"]} programs' if row['programs'] else ''
    say(f'  {row["case"]:36} {told}  {peak} {row["target"]}')


def machine(environment: dict) -> str:
  """Returns what a figure says about where it was measured."""
  pytorch = environment['pytorch'] or 'not installed'
  return f'{environment["device"]}, {environment["cores"]} cores; jax {jax.__version__}, PyTorch {pytorch}'


if __name__ == '__main__':
  cli.run(__name__)
