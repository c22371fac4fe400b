"""All of it from end to end: survey, networks, discriminant analysis, skill against lead time, interpretation.

Each step is one of the other scripts, run as printed, so that any of them can be repeated by hand. Steps whose product
is there already are left out, and an interrupted training goes on where it stopped.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import time

from absl import flags

from experiments import cli
from hearjax import baselines
from hearjax.files import write_whole
from hearjax.survey.archive import INDEX_NAME
from hearjax.workdir import compare

FLAGS = flags.FLAGS
cli.define_survey_flag()
cli.define_workdir_flag('runs/reproduce')
cli.define_seed_flag()
flags.DEFINE_bool('quick', False, 'Minutes on two cores instead of the size of the paper; shows that it works.')
flags.DEFINE_integer('resamples', 2000, 'Bootstrap samples of the pairs.')

# The paper's size is that of the HEAR survey in its latest use, 182 pairs; folds, seeds and epochs are our choice.
QUICK = {'pairs': 80, 'folds': 5, 'seeds': 1, 'epochs': 40}
FULL = {'pairs': 182, 'folds': 10, 'seeds': 2, 'epochs': 40}
# Scripts of interpretation, and the product that each writes last.
INTERPRETATION = {
  'prune': 'pruning/filters.ecsv',
  'respond': 'response/invariance.ecsv',
  'attribute': 'attribution/maximisation.ecsv',
}


def run_script(name: str, **arguments: object) -> None:
  """Runs one script in a process of its own.

  Raises:
    ValueError: It failed; its own message stands above.
  """
  if FLAGS.compilation_cache:
    arguments['compilation_cache'] = FLAGS.compilation_cache
  given = [f'--{key}={value}' for key, value in arguments.items()]
  print(f'\n$ {shlex.join(["python", "-m", f"experiments.{name}", *given])}', flush=True)
  status = subprocess.run([sys.executable, '-m', f'experiments.{name}', *given], check=False).returncode
  if status:
    raise ValueError(f'The step {name} failed (exit status {status}); its message stands above.')


def check_same_run(workdir: pathlib.Path, settings: dict) -> None:
  """Records what this run is, so that another one cannot take its products for its own.

  Raises:
    ValueError: The work directory is that of a run with other settings.
  """
  path = workdir / 'reproduce.json'
  if path.exists():
    different = compare(json.loads(path.read_text()), settings)
    if different:
      raise ValueError(f'{workdir} is of another run ({"; ".join(different)}); name another work directory.')
  write_whole(path, lambda temporary: temporary.write_text(json.dumps(settings) + '\n'))


def main() -> None:
  started = time.monotonic()
  size = QUICK if FLAGS.quick else FULL
  workdir = pathlib.Path(FLAGS.workdir)
  check_same_run(workdir, {'survey': FLAGS.survey, 'seed': FLAGS.seed, **size})
  survey = pathlib.Path(FLAGS.survey or workdir / 'survey')
  if not FLAGS.survey and not (survey / INDEX_NAME).exists():
    run_script('simulate_survey', out=survey, pairs=size['pairs'], seed=FLAGS.seed)
  common = {'survey': survey, 'workdir': workdir, 'seed': FLAGS.seed, 'folds': size['folds']}
  predictions = workdir / 'predictions'
  if not (predictions / 'cnn.ecsv').exists():
    run_script('train', **common, seeds=size['seeds'], epochs=size['epochs'])
  missing = [name for name in baselines.MODELS if not (predictions / f'{name}.ecsv').exists()]
  if missing:
    run_script('baseline', **common, models=','.join(missing))
  run_script('verify', workdir=workdir, resamples=FLAGS.resamples, seed=FLAGS.seed, overwrite=True)
  for name, product in INTERPRETATION.items():
    if not (workdir / product).exists():
      run_script(name, workdir=workdir, survey=survey, seed=FLAGS.seed, overwrite=True)
  print(f'\nDone in {time.monotonic() - started:.0f} s. Everything lies in {workdir}:')
  for path in sorted(path for path in workdir.rglob('*.*') if path.suffix in ('.ecsv', '.png', '.json', '.jsonl')):
    print(f'  {path}')


if __name__ == '__main__':
  cli.run(main)
