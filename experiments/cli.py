"""What all scripts share: how they start, what they write alone, and how a mistake is told.

A script is a module with `define_flags(flags)` and `main(flags)`. Its flags are its own: several scripts run in one
process.
"""

import contextlib
import importlib
import os
import pathlib
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from absl import logging

from hearjax.checks import UserError
from hearjax.files import sole_writer
from hearjax.progress import aside, close_shown

from .flags import Flags

SUN_PACKAGES = (
  'sunpy',
  'reproject',
  'drms',
  'dask',
  'distributed',
  'watchfiles',
  'h5py',
)  # Of the extra `sun`; imported only where a script is about to use them.
OUT_OF_MEMORY = 'RESOURCE_EXHAUSTED'  # In what JAX says of it.
# Script -> what an interrupted run of it leaves; the same command goes on with that, without --overwrite.
KEPT = {
  'attribute': 'the references, once trained,',
  'build_survey': 'the curves and magnetograms that were ready',
  'import_hear': 'the regions that were ready',
  'prune': 'the references, once trained,',
  'reproduce': 'the steps that were ready, and the training up to its last checkpoints,',
  'respond': 'the references, once trained,',
  'simulate_frames': 'the frames that were ready',
  'study': 'the rows that were ready',
  'train': 'the networks up to their last checkpoints',
}
TAKEN_AGAIN = ('attribute', 'prune', 'reproduce', 'respond')  # All of it, where --overwrite was given.
LEFT = ('scan', 'score')  # They keep the files that were ready, and do not go on with them.
INTERRUPTS = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}
HELP = ('--help', '-help', '-h', '--helpshort', '--helpfull')


# --- Running ------------------------------------------------------------------------------------------------------


def run(name: str) -> None:
  """Runs the script `name`, a module that is loaded, with the arguments of this process, and ends the process."""
  sys.exit(execute(sys.modules[name], sys.argv))


def execute(script: ModuleType, argv: Sequence[str]) -> int:
  """Runs a script; a user's mistake becomes one line, a warning one line.

  Args:
    script: Its module.
    argv: Name and flags.

  Returns:
    The exit status.
  """
  logging.set_verbosity(logging.WARNING)  # JAX tells of every backend that is not there.
  warnings.showwarning = _warn
  flags = Flags()
  try:
    with interruptible():
      script.define_flags(flags)
      if any(argument in HELP for argument in argv[1:]):
        print(f'{script.__doc__}\nFlags:\n{flags.help()}')
        return 0
      flags.parse(argv)
      if flags.compilation_cache:
        keep_compiled(flags.compilation_cache, flags.given('compilation_cache'))
      _run_alone(script, flags)
  except KeyboardInterrupt as interrupt:
    return tell_interrupted(interrupt, pathlib.Path(script.__file__).stem, argv[1:])
  except Exception as error:
    close_shown()
    sentence = explain(error)
    if sentence is None or flags.debug:
      raise
    print(f'error: {" ".join(sentence.split())}', file=sys.stderr)
    return 1
  return 0


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
  """Makes a KeyboardInterrupt with its number of Ctrl-C, and of the signal with which a cluster ends a job.

  The next one ends the process at once, whatever it is at.
  """

  def interrupt(number: int, _: object) -> None:
    for each in before:
      signal.signal(each, signal.SIG_DFL)
    raise KeyboardInterrupt(number)

  before = {}
  if threading.current_thread() is threading.main_thread():  # Which alone may say what a signal does.
    heard = [number for number in INTERRUPTS if signal.getsignal(number) != signal.SIG_IGN]  # As behind nohup.
    before |= {number: signal.signal(number, interrupt) for number in heard}
  try:
    yield
  finally:
    for number, handler in before.items():
      if signal.getsignal(number) is interrupt:  # After one the process is about to end.
        signal.signal(number, handler)


def tell_interrupted(interrupt: KeyboardInterrupt, name: str, given: Sequence[str]) -> int:
  """Says what an interrupted script leaves, and how to go on; returns the exit status."""
  close_shown()
  number = interrupt.args[0] if interrupt.args else signal.SIGINT
  print(f'{INTERRUPTS[number]}: {how_to_go_on(name, given)}', file=sys.stderr, flush=True)
  return 128 + number


def how_to_go_on(name: str, given: Sequence[str]) -> str:
  """Returns in one sentence what an interrupted script leaves, and the command that goes on.

  Args:
    name: The script.
    given: Its flags, as they were given.
  """
  others = [flag for flag in given if flag.lstrip('-').partition('=')[0] != 'overwrite']
  as_given, without, anew = (
    shlex.join(['hearjax', name, *flags]) for flags in (given, others, [*others, '--overwrite'])
  )
  if name in LEFT:
    return f'the files that were ready are kept; begin again with: {anew}'
  if name not in KEPT:
    return f'nothing is kept; begin again with: {as_given}'
  if len(others) < len(given) and name in TAKEN_AGAIN:
    return f'with --overwrite all of it is taken again: {as_given}'
  return f'{KEPT[name]} are kept; go on with: {without}'


def _warn(message: Warning | str, *_: object, **__: object) -> None:
  with aside():
    logging.warning('%s', message)


def explain(error: Exception) -> str | None:
  """Returns what to tell a user of an error that he can mend; None where the program itself is at fault."""
  if isinstance(error, (UserError, OSError)):
    return str(error)
  if isinstance(error, ImportError) and (error.name or '').partition('.')[0] in SUN_PACKAGES:
    return f'{error.name} is not installed, and real magnetograms need it: pip install "hearjax[sun]".'
  if isinstance(error, MemoryError) or OUT_OF_MEMORY in str(error):
    return (
      f'The memory does not suffice ({str(error).splitlines()[0] if str(error) else "no more is to be had"}); take '
      'fewer or smaller maps at a time, where the script has a flag for it (see --help), or a larger machine.'
    )
  return _missing_device()


def _missing_device() -> str | None:
  """Says that JAX has no device to compute on, where that is so."""
  jax = sys.modules.get('jax')
  try:
    if jax:
      jax.devices()
  except Exception as error:  # Of several types, with and without words.
    named = next((name for name in ('JAX_PLATFORM_NAME', 'JAX_PLATFORMS') if os.environ.get(name)), None)
    asked = f'{named}={os.environ[named]} asks for devices that are not here' if named else 'JAX finds no device'
    told = f' ({error})' if str(error) else ''
    return f'{asked}{told}; set it to cpu to compute on the processor, or leave it empty.'
  return None


def call(name: str, **values: object) -> None:
  """Runs another script in this process; what it raises is raised.

  Args:
    name: The script.
    **values: Its flags; those that are None are left out, and those that are lists given once for each value.
  """
  listed = {flag: value if isinstance(value, list) else [value] for flag, value in values.items() if value is not None}
  given = [f'--{flag}={value}' for flag, those in listed.items() for value in those]
  print(f'\n$ hearjax {shlex.join([name, *given])}', flush=True)
  script = importlib.import_module(f'.{name}', __package__)
  flags = Flags()
  script.define_flags(flags)
  flags.parse([name, *given])
  _run_alone(script, flags)


def _run_alone(script: ModuleType, flags: Flags) -> None:
  """Runs a script while no other process runs it on the same folder."""
  with contextlib.ExitStack() as held:
    for folder in flags.folders_written():
      held.enter_context(sole_writer(folder, pathlib.Path(script.__file__).stem))
    script.main(flags)


# --- Shared steps -------------------------------------------------------------------------------------------------


def check_unused(flags: Flags, *products: pathlib.Path) -> None:
  """Raises FileExistsError where a product of this script is there already and may not be replaced."""
  there = next((path for path in products if path.exists()), None)
  if there and not flags.overwrite:
    raise FileExistsError(f'{there} is there already; replace it with --overwrite, or name another place.')


def load_run(flags: Flags) -> Any:
  """Returns the run of --workdir at the intervals that it learnt from."""
  from hearjax.training.run import Run  # Only here: `--help` and `verify` do without.

  return Run.load(flags.workdir, flags.survey).at_learnt_intervals()


def keep_compiled(folder: str, is_asked_for: bool) -> None:
  """Lets JAX keep what it compiles in a folder, and look there first.

  Args:
    folder: Where; made if it is not there.
    is_asked_for: Whether the user named it. The default one is left where the environment names another, and done
      without where it cannot be written.

  Raises:
    OSError: The folder that was asked for cannot be made.
  """
  jax, named = sys.modules.get('jax'), 'jax_compilation_cache_dir'
  if not is_asked_for and (os.environ.get(named.upper()) or (jax and getattr(jax.config, named))):
    return
  try:
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
      raise PermissionError(f'Cannot write {folder}; name another folder for compiled programs, or none.')
  except OSError:
    if is_asked_for:
      raise
    return
  options = {named: os.path.abspath(folder), 'jax_persistent_cache_min_compile_time_secs': 0.1}
  for name, value in options.items():
    if jax:
      jax.config.update(name, value)
    else:  # A script that may do without JAX has not imported it.
      os.environ[name.upper()] = str(value)
