"""Trains the cross-validated network on a survey and predicts every pair out of fold.

A run that was interrupted goes on where it stopped when the same command is given again, to the same result.
"""

import contextlib
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
from tqdm import tqdm

import hearjax
from hearjax.checks import UserError
from hearjax.training.placement import is_first_process, refusing_together
from hearjax.training.settings import Execution, RunSettings
from hearjax.training.workdir import LOG_NAME, PRODUCT, read_metrics, sole_training

from . import cli

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
  with contextlib.ExitStack() as held:
    with refusing_together():
      held.enter_context(sole_training(workdir))  # Before a large survey is read in vain.
      survey = hearjax.read_survey(flags.survey, flags.max_missing, flags.scratch)
      observers = build_observers(flags, workdir, settings)

    def report(line: dict[str, Any]) -> None:
      for observe in observers:
        observe(line)

    hearjax.fit(
      survey, settings=settings, workdir=workdir, execution=execution, report=report, overwrite=flags.overwrite
    )
  if is_first_process():
    observers[-1].close()
    print(f'Trained {settings.folds * settings.seeds} networks; predictions are in {workdir / PRODUCT}.')


def build_observers(flags: cli.Flags, workdir: pathlib.Path, settings: RunSettings) -> list[Callable[[dict], None]]:
  """Returns what is shown, and where, after each epoch; on the first process the bar is the last one."""
  observers: list[Callable[[dict], None]] = []
  if flags.tensorboard:
    observers.append(board_writer(workdir / 'tensorboard'))
  if is_first_process():
    log = [] if flags.overwrite else read_metrics(workdir / LOG_NAME)
    observers.append(ProgressBar(settings.folds * settings.seeds, settings.training.epochs, log))
  return observers


class ProgressBar:
  """One bar over all epochs of all members: fold, epoch, loss, validation TSS, time left."""

  def __init__(self, members: int, epochs: int, log: list[dict]):
    """Prepares the bar, which appears with the first epoch.

    Args:
      members: Networks of the run.
      epochs: Epochs of each, at most.
      log: Lines that an earlier run has logged; what it has done does not count for the time left.
    """
    self._total, self._epochs = members * epochs, epochs
    self._done: dict[tuple[int, int], int] = {}
    self._bar = None
    for line in log:
      self._count(line)

  def _count(self, line: dict) -> None:
    # A member that stops early gives its remaining epochs away.
    self._done[line['fold'], line['seed']] = self._epochs if line['finished'] else line['epoch']

  def __call__(self, line: dict) -> None:
    if self._bar is None:
      self._bar = tqdm(total=self._total, initial=sum(self._done.values()), unit='epoch', dynamic_ncols=True)
    self._count(line)
    self._bar.set_description(f'fold {line["fold"]} seed {line["seed"]} epoch {line["epoch"]}', refresh=False)
    self._bar.set_postfix(loss=f'{line["loss"]:.3f}', tss=f'{line["validation_tss"]:.2f}', refresh=False)
    self._bar.update(sum(self._done.values()) - self._bar.n)

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()


def board_writer(folder: pathlib.Path) -> Callable[[dict], None]:
  """Returns what writes the metrics of an epoch as TensorBoard events.

  Raises:
    UserError: tensorboardX is not installed.
  """
  try:
    from tensorboardX import SummaryWriter
  except ImportError as error:
    raise UserError('--tensorboard needs the package tensorboardX: pip install "hearjax[tensorboard]".') from error
  writer = SummaryWriter(str(folder))

  def write(line: dict) -> None:
    for key in BOARD_KEYS:
      writer.add_scalar(f'fold{line["fold"]:02d}_seed{line["seed"]}/{key}', line[key], line['epoch'])
    writer.flush()

  return write


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
