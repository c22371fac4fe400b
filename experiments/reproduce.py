"""All of it from end to end: survey, networks, discriminant analysis, skill against lead time, interpretation, report.

Each step is one of the other scripts, called as printed, so that any of them can be repeated by hand. Steps whose
product is there already are left out, and an interrupted training goes on where it stopped.

With --from_frames the survey is not simulated region by region: a simulated Sun is observed as a full disk, the survey
is built from the frames as from those of HMI, and the networks are laid over the disk in the end. That shows the way
through every step. Its regions are far too few for a skill, and analyses and interpretation are left out.
"""

import contextlib
import json
import pathlib
import sys
import time

import jax

from hearjax.checks import UserError
from hearjax.files import told_as_damaged, write_json
from hearjax.models.discriminant import DISCRIMINANTS
from hearjax.survey.archive import INDEX_NAME
from hearjax.survey.standalone import index_regions
from hearjax.training.workdir import PRODUCT, compare
from hearjax.verification.predictions import PREDICTIONS
from hearjax.verification.verdict import VERDICT_NAME

from . import cli, report

STEPS = (
  'simulate_frames',
  'build_survey',
  'simulate_survey',
  'train',
  'baseline',
  'verify',
  'prune',
  'respond',
  'attribute',
  'scan',
  'report',
)
# The paper's size is that of the HEAR survey in its latest use, 182 pairs; folds, seeds and epochs are our choice.
QUICK = {'pairs': 80, 'folds': 5, 'seeds': 1, 'epochs': 40, 'tuned': False}
FULL = {'pairs': 182, 'folds': 10, 'seeds': 2, 'epochs': 40, 'tuned': True}
# Of the simulated Sun, and how its survey is built: a frame of two hours that is lost leaves a gap of four.
FEW_FRAMES = {'size': 512, 'days': 8, 'cadence_minutes': 120, 'emergences': 4, 'decaying': 2}
MORE_FRAMES = {'size': 1024, 'days': 8, 'cadence_minutes': 60, 'emergences': 6, 'decaying': 4}
MAX_GAP_HOURS = 7
FEW_FOLDS = 3
SCANNED = ('*_000000_TAI.fits', '*_120000_TAI.fits')  # Two of the frames of a day.
# Scripts of interpretation, and the product that each writes last: a figure, since tables are written before them.
INTERPRETATION = {
  'prune': 'pruning/contribution.png',
  'respond': 'figures/invariance.png',
  'attribute': 'attribution/sanity.png',
}


def define_flags(flags: cli.Flags) -> None:
  flags.path('survey', None, 'Folder of the survey archive; a simulated one in the work directory without it.')
  flags.path('workdir', 'runs/reproduce', 'Work directory: everything lies in it.')
  flags.common('seed', 'overwrite')
  flags.switch('from_frames', False, 'Build the survey from frames of a simulated full disk, and scan them.')
  flags.choice('until', STEPS[-1], STEPS, 'Last step to take.')
  flags.switch('quick', False, 'Minutes on two cores instead of the size of the paper; shows that it works.')
  flags.integer('resamples', 2000, 'Bootstrap samples of the pairs.', lower_bound=1)
  flags.writes('workdir')


def main(flags: cli.Flags) -> None:
  started = time.monotonic()
  size = QUICK if flags.quick else FULL
  workdir = pathlib.Path(flags.workdir)
  programs, taken = ProgramCount(), {}
  failures = []

  def step(name: str, product: str | None, **values: object) -> None:
    """Runs a script unless its product is there."""
    if product and (workdir / product).exists() and not flags.overwrite:
      return
    if STEPS.index(name) > STEPS.index(flags.until):
      return
    begun, compiled = time.monotonic(), programs.count
    try:
      cli.call(name, **({'seed': flags.seed, 'overwrite': flags.overwrite} | values))
    except SystemExit as error:  # Part of it failed, and was told; what there is can be gone on with.
      failures.append(str(error))
    taken[name] = {'seconds': round(time.monotonic() - begun, 1), 'programs': programs.count - compiled}
    keep_times(workdir / 'timing.json', taken, flags.overwrite)  # At once: the report shows them, a later call as well.

  if flags.from_frames:
    if flags.survey:
      raise UserError('Give --survey, or --from_frames to have one built, not both.')
    size = {**size, 'folds': FEW_FOLDS, 'pairs': 0, 'frames': FEW_FRAMES if flags.quick else MORE_FRAMES}
  if flags.survey and not pathlib.Path(flags.survey, INDEX_NAME).exists():
    regions = index_regions(flags.survey)
    print(f'{INDEX_NAME} was written into {flags.survey}, the index of its {regions} region files.', flush=True)
  check_same_run(workdir, {'survey': flags.survey, 'seed': flags.seed, **size}, flags.overwrite)
  survey, sky = pathlib.Path(flags.survey or workdir / 'survey'), workdir / 'sky'
  if flags.from_frames:
    step('simulate_frames', None, out=sky, overwrite=None, **size['frames'])  # It knows itself what is missing.
    built = {'catalogue': sky / 'sightings.ecsv', 'frames': sky / 'frames', 'emergence_max_gap_hours': MAX_GAP_HOURS}
    step('build_survey', f'survey/{INDEX_NAME}', out=survey, seed=None, **built)
  elif not flags.survey:
    step('simulate_survey', f'survey/{INDEX_NAME}', out=survey, pairs=size['pairs'])
  common = {'survey': survey, 'workdir': workdir}
  sizes = {name: size[name] for name in ('folds', 'seeds', 'epochs', 'tuned')}
  step('train', PRODUCT, **common, **sizes)
  missing = [name for name in DISCRIMINANTS if flags.overwrite or not (workdir / PREDICTIONS / f'{name}.ecsv').exists()]
  if missing and not flags.from_frames:
    step('baseline', None, **common, folds=size['folds'], models=','.join(missing))
  step('verify', None, survey=survey, workdir=workdir, resamples=flags.resamples, overwrite=True)
  if flags.from_frames:
    known = {'sightings': sky / 'sightings.ecsv', 'emergences': sky / 'truth.ecsv'}
    fits = [str(sky / 'frames' / pattern) for pattern in SCANNED]
    step('scan', 'scan/alarms.ecsv', workdir=workdir, fits=fits, out=workdir / 'scan', seed=None, **known)
  else:
    for name, product in INTERPRETATION.items():
      step(name, product, **common, overwrite=True)  # What an interrupted one left is of no use.
  step('report', None, survey=survey, workdir=workdir, seed=None)
  told = ', '.join(f'{name} {step["seconds"]:.0f} s' for name, step in taken.items())
  print(f'\nDone in {time.monotonic() - started:.0f} s ({told}). Everything lies in {workdir}.\n')
  print_end(workdir, 'report' in taken)
  if failures:
    sys.exit('\n'.join(failures))


def keep_times(path: pathlib.Path, taken: dict[str, dict], overwrite: bool) -> None:
  """Writes how long each step took, beside those of an earlier call of the same run.

  A step that finds its work done takes no time: of two calls the longer one tells what it costs.
  """
  before = {}
  if path.exists() and not overwrite:
    with contextlib.suppress(ValueError, OSError):  # No result: what cannot be read is written anew.
      before = dict(json.loads(path.read_text()))
  longer = {
    name: before[name]
    for name, now in taken.items()
    if isinstance(before.get(name), dict) and before[name].get('seconds', 0) > now['seconds']
  }
  write_json(path, {**before, **taken, **longer})


def print_end(workdir: pathlib.Path, has_report: bool) -> None:
  """Prints what a run comes to: the verdict of `verify`, and where the report lies."""
  verdict = workdir / VERDICT_NAME
  if verdict.is_file():
    print(verdict.read_text())
  print(f'The report: {workdir / report.NAME}' if has_report else f'The report: hearjax report --workdir={workdir}')


class ProgramCount:
  """Counts the programs that JAX compiles, or finds among those that were kept."""

  def __init__(self) -> None:
    self.count = 0
    jax.monitoring.register_event_duration_secs_listener(self._hear)

  def _hear(self, event: str, duration: float, **_: object) -> None:
    self.count += event == '/jax/core/compile/backend_compile_duration'


def check_same_run(workdir: pathlib.Path, settings: dict, overwrite: bool) -> None:
  """Records what this run is, so that another one cannot take its products for its own.

  Raises:
    UserError: The work directory is that of a run with other settings, and shall not be overwritten.
  """
  path = workdir / 'reproduce.json'
  if path.exists() and not overwrite:
    with told_as_damaged(path, 'name another work directory, or --overwrite'):
      different = compare(json.loads(path.read_text()), settings)
    if different:
      raise UserError(f'{workdir} is of another run ({"; ".join(different)}); name another work directory.')
  write_json(path, settings)


if __name__ == '__main__':
  cli.run(__name__)
