"""What all scripts share: the common flags, and how a user's mistake is told."""

import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence

import jax
from absl import app, flags, logging

SUN_PACKAGES = ('sunpy', 'reproject')  # Of the extra `sun`; imported only where a script is about to use them.

flags.DEFINE_bool('debug', False, 'Show the full traceback of an error instead of one sentence.')
flags.DEFINE_string(
  'compilation_cache',
  None,
  'Folder that keeps compiled programs, so that another run with the same shapes starts at once.',
)
flags.disclaim_key_flags()  # The flags below belong to the script that asks for them, so that its --help lists them.


def define_survey_flag(default: str | None = None) -> None:
  flags.DEFINE_string('survey', default, 'Folder of the survey archive.')


def define_workdir_flag(default: str | None = None) -> None:
  flags.DEFINE_string('workdir', default, 'Work directory: what a run writes and later scripts read.')


def define_seed_flag() -> None:
  flags.DEFINE_integer(
    'seed', 0, 'The one random key of the run, a non-negative integer.', lower_bound=0, upper_bound=2**32 - 1
  )


def define_overwrite_flag() -> None:
  flags.DEFINE_bool('overwrite', False, 'Replace what an earlier run of this script left.')


def check_unused(*products: pathlib.Path) -> None:
  """Raises FileExistsError where a product of this script is there already and may not be replaced."""
  there = next((path for path in products if path.exists()), None)
  if there and not flags.FLAGS.overwrite:
    raise FileExistsError(f'{there} is there already; replace it with --overwrite, or name another place.')


def define_pair_flags() -> None:
  flags.DEFINE_integer('planted_pairs', 3, 'Bipoles planted in a control map to find the scale.', lower_bound=1)
  flags.DEFINE_float('pole_mx', 1e20, 'Flux of a planted pole [Mx].')


def define_intervals_flag(default: Sequence[int], verb: str) -> None:
  flags.DEFINE_list('intervals', [str(number) for number in default], f'Intervals to {verb}, from -5 to 1.')


def intervals_from_flag() -> tuple[int, ...]:
  """Returns the value of --intervals.

  Raises:
    ValueError: One of them is not a whole number.
  """
  try:
    return tuple(int(interval) for interval in flags.FLAGS.intervals)
  except ValueError as error:
    raise ValueError(f'--intervals are whole numbers from -5 to 1, got {",".join(flags.FLAGS.intervals)}.') from error


def keep_compiled(folder: pathlib.Path) -> None:
  """Lets JAX keep what it compiles in a folder, and look there first.

  Raises:
    OSError: The folder cannot be made.
  """
  folder.mkdir(parents=True, exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(folder.resolve()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


def run(main: Callable[[], None]) -> None:
  """Parses the flags and runs `main`; a user's mistake becomes one line and exit status 1, a warning one line."""
  logging.set_verbosity(logging.WARNING)  # JAX tells of every backend that is not there.
  warnings.showwarning = lambda message, *_, **__: logging.warning('%s', message)

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      sys.exit(f'error: unexpected argument {argv[1]!r}; flags are written --name=value (see --help).')
    try:
      if flags.FLAGS.compilation_cache:
        keep_compiled(pathlib.Path(flags.FLAGS.compilation_cache))
      main()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
      if flags.FLAGS.debug:
        raise
      sys.exit(f'error: {" ".join(str(error).split())}')
    except KeyboardInterrupt:
      sys.exit('interrupted.')
    except ImportError as error:
      if flags.FLAGS.debug or (error.name or '').partition('.')[0] not in SUN_PACKAGES:
        raise
      sys.exit(f'error: {error.name} is not installed, and real magnetograms need it: pip install "hearjax[sun]".')

  app.run(guarded)
