"""What all scripts share: how they start, what they write alone, and how a mistake is told.

A script is a module with `define_flags(flags)` and `main(flags)`. Its flags are its own: several scripts run in one
process.
"""

import contextlib
import importlib
import os
import pathlib
import shlex
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from absl import logging

from hearjax.checks import UserError
from hearjax.files import sole_writer

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
  warnings.showwarning = lambda message, *_, **__: logging.warning('%s', message)
  flags = Flags()
  try:
    script.define_flags(flags)
    if any(argument in HELP for argument in argv[1:]):
      print(f'{script.__doc__}\nFlags:\n{flags.help()}')
      return 0
    flags.parse(argv)
    if flags.compilation_cache:
      keep_compiled(flags.compilation_cache, flags.given('compilation_cache'))
    _run_alone(script, flags)
  except KeyboardInterrupt:
    print('interrupted.', file=sys.stderr)
    return 1
  except Exception as error:
    sentence = explain(error)
    if sentence is None or flags.debug:
      raise
    print(f'error: {" ".join(sentence.split())}', file=sys.stderr)
    return 1
  return 0


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
