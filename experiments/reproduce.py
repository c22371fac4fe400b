"""The main job from end to end: survey, networks, discriminant analysis, skill against lead time.

Each step is one of the other scripts, run as printed, so that any of them can be repeated by hand. Steps whose product
is there already are left out, and an interrupted training goes on where it stopped.
"""

import pathlib
import shlex
import subprocess
import sys
import time

from absl import flags
from astropy.table import Table

from experiments import cli

FLAGS = flags.FLAGS
cli.define_survey_flag()
cli.define_workdir_flag('runs/reproduce')
cli.define_seed_flag()
flags.DEFINE_bool('quick', False, 'Minutes on two cores instead of the size of the paper; shows that it works.')
flags.DEFINE_integer('resamples', 2000, 'Bootstrap resamples of the pairs.')

QUICK = {'pairs': 60, 'folds': 3, 'seeds': 1, 'epochs': 25}
FULL = {'pairs': 182, 'folds': 10, 'seeds': 1, 'epochs': None}


def run_script(name: str, **arguments: object) -> None:
  """Runs one script in a process of its own; its failure ends the chain."""
  given = [f'--{key}={value}' for key, value in arguments.items() if value is not None]
  print(f'\n$ {shlex.join(["python", "-m", f"experiments.{name}", *given])}', flush=True)
  status = subprocess.run([sys.executable, '-m', f'experiments.{name}', *given], check=False).returncode
  if status:
    raise ValueError(f'The step {name} failed (exit status {status}); its message stands above.')


def print_skill(workdir: pathlib.Path) -> None:
  skill = Table.read(workdir / 'skill.ecsv', format='ascii.ecsv')
  skill = skill[skill['threshold_rule'] == 'train']
  models = list(dict.fromkeys(skill['model']))
  intervals = sorted(set(skill['interval']))
  print('\nTrue Skill Statistic [95 %], threshold chosen on the training part')
  print(f'{"hours":>8} ' + ''.join(f'{model:>22}' for model in models))
  for interval in intervals:
    rows = {row['model']: row for row in skill[skill['interval'] == interval]}
    cells = [f'{r["tss"]:.2f} [{r["tss_low"]:.2f}, {r["tss_high"]:.2f}]' for r in (rows[model] for model in models)]
    print(f'{next(iter(rows.values()))["hours"]:8.1f} ' + ''.join(f'{cell:>22}' for cell in cells))


def main() -> None:
  started = time.monotonic()
  size = QUICK if FLAGS.quick else FULL
  workdir = pathlib.Path(FLAGS.workdir)
  survey = pathlib.Path(FLAGS.survey) if FLAGS.survey else workdir / 'survey'
  if not FLAGS.survey and not (survey / 'survey.ecsv').exists():
    run_script('simulate_survey', out=survey, pairs=size['pairs'], seed=FLAGS.seed)
  common = {'survey': survey, 'workdir': workdir, 'seed': FLAGS.seed, 'folds': size['folds']}
  if not (workdir / 'predictions' / 'cnn.ecsv').exists():
    run_script('train', **common, seeds=size['seeds'], epochs=size['epochs'])
  if not (workdir / 'predictions' / 'da_flux.ecsv').exists():
    run_script('baseline', **common)
  run_script('verify', workdir=workdir, resamples=FLAGS.resamples, seed=FLAGS.seed)
  print_skill(workdir)
  print(f'\nDone in {time.monotonic() - started:.0f} s. Everything lies in {workdir}.')


if __name__ == '__main__':
  cli.run(main)
