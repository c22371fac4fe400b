"""Trains the cross-validated network on a survey and predicts every pair out of fold.

A run that was interrupted goes on where it stopped when the same command is given again, to the same result.
"""

import contextlib
import pathlib
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax

import hearjax
from hearjax.checks import UserError
from hearjax.progress import Meter, meter, silent
from hearjax.training.placement import is_first_process, refusing_together
from hearjax.training.settings import Execution, RunSettings
from hearjax.training.workdir import LOG_NAME, PRODUCT, read_metrics, sole_training

from . import cli

BOARD = 'tensorboard'
BOARD_KEYS = ('loss', 'validation_loss', 'validation_tss')


def define_flags(flags: cli.Flags) -> None:
  flags.common('survey', 'workdir', 'seed', 'overwrite', 'max_missing')
  flags.settings(RunSettings, augmentation='augment_')
  flags.settings(Execution)
  flags.path(
    'scratch', None, 'Folder for a file of the maps, mapped into memory, where they do not fit into it; streams them.'
  )
  flags.string(
    'coordinator',
    None,
    'Address host:port of process 0, for a run on several hosts that share the work directory; "auto" where the '
    'scheduler of a cluster tells JAX which process this is.',
  )
  flags.integer('processes', None, 'Processes of such a run, unless the coordinator is "auto".', lower_bound=1)
  flags.integer('process', None, 'Number of this one, from 0 on.', lower_bound=0)
  flags.switch('tensorboard', False, 'Also write TensorBoard event files.')
  flags.require('survey', 'workdir')


def main(flags: cli.Flags) -> None:
  settings = flags.build(RunSettings)
  streamed = {'streamed': True} if flags.scratch else {}
  execution = flags.build(Execution, **streamed)
  join_processes(flags)
  workdir = pathlib.Path(flags.workdir)
  show = meter if is_first_process() else lambda *_: silent
  with contextlib.ExitStack() as held:
    with refusing_together():
      held.enter_context(sole_training(workdir))  # Before a large survey is read in vain.
      survey = hearjax.read_survey(flags.survey, flags.max_missing, flags.scratch, show('reading', 'file'))
      observers = build_observers(flags, workdir, settings, held)

    def report(line: dict[str, Any]) -> None:
      for observe in observers:
        observe(line)

    hearjax.fit(
      survey,
      settings=settings,
      workdir=workdir,
      execution=execution,
      report=report,
      overwrite=flags.overwrite,
      progress=show('tuning copies'),
    )
  if is_first_process():
    print(f'Trained {settings.folds * settings.seeds} networks; predictions are in {workdir / PRODUCT}.')
    if flags.tensorboard:
      print(f'Its curves: tensorboard --logdir={shlex.quote(str(workdir / BOARD))}')


def build_observers(
  flags: cli.Flags, workdir: pathlib.Path, settings: RunSettings, held: contextlib.ExitStack
) -> list[Callable[[dict], None]]:
  """Returns what is shown, and where, after each epoch: on the first process alone. Closes with `held`."""
  if not is_first_process():
    return []
  log = [] if flags.overwrite else read_metrics(workdir / LOG_NAME)
  observers: list[Callable[[dict], None]] = []
  if flags.overwrite:
    shutil.rmtree(workdir / BOARD, ignore_errors=True)  # Curves of another run would lie among those of this one.
  if flags.tensorboard:
    observers.append(held.enter_context(board_writer(workdir / BOARD)))
  epochs = settings.folds * settings.seeds * settings.training.epochs
  shown = held.enter_context(Meter('training', 'epoch', epochs, initial=len(log)))
  return [*observers, lambda line: shown.update(note=describe(line))]


def describe(line: dict) -> str:
  """Returns what a bar says of an epoch."""
  return (
    f'fold {line["fold"]} seed {line["seed"]} epoch {line["epoch"]}: loss {line["loss"]:.3f}, '
    f'TSS {line["validation_tss"]:.2f}'
  )


@contextlib.contextmanager
def board_writer(folder: pathlib.Path) -> Iterator[Callable[[dict], None]]:
  """Gives what writes the metrics of an epoch as TensorBoard events.

  Raises:
    UserError: tensorboardX is not installed.
  """
  try:
    from tensorboardX import SummaryWriter
  except ImportError as error:
    raise UserError('--tensorboard needs the package tensorboardX: pip install "hearjax[tensorboard]".') from error
  with SummaryWriter(str(folder)) as writer:

    def write(line: dict) -> None:
      for key in BOARD_KEYS:
        writer.add_scalar(f'fold{line["fold"]:02d}_seed{line["seed"]}/{key}', line[key], line['epoch'])
      writer.flush()

    yield write


def join_processes(flags: cli.Flags) -> None:
  """Makes this process one of several that train together, where the flags say so.

  Raises:
    UserError: The flags do not belong together, or the others were not found.
  """
  numbers = flags.processes, flags.process
  if flags.coordinator is None or flags.coordinator == 'auto':
    if numbers != (None, None):
      raise UserError('--processes and --process belong to --coordinator=host:port.')
    if flags.coordinator is None:
      return
    given = {}
  elif not re.fullmatch(r'.+:\d+', flags.coordinator):
    raise UserError(f'--coordinator is host:port, or auto; got {flags.coordinator}.')
  elif None in numbers or flags.process >= flags.processes:
    raise UserError(f'--coordinator needs --processes and a smaller --process, got {numbers[0]} and {numbers[1]}.')
  else:
    given = {'coordinator_address': flags.coordinator, 'num_processes': flags.processes, 'process_id': flags.process}
  try:
    jax.distributed.initialize(**given)
  except (RuntimeError, ValueError) as error:
    raise UserError(f'The processes did not find each other at {flags.coordinator}: {error}') from error


if __name__ == '__main__':
  cli.run(__name__)
