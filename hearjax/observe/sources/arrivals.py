"""Files that arrive in a folder, each once it is whole. Needs watchfiles."""

import pathlib
import time
from collections.abc import Iterator

from hearjax.checks import UserError
from hearjax.files import visible_files

SETTLE_S = 1.0  # Our choice: a file that has not changed for so long is taken for whole.
TICK_S = 0.5  # Between looks at the folder; also where the system does not tell of changes, as on a network.

Signature = tuple[int, int]


def arrivals(
  folder: pathlib.Path, pattern: str, seconds: float | None = None, settle_s: float = SETTLE_S
) -> Iterator[pathlib.Path]:
  """Yields the files of a folder, those that are there first, then those that come; again where one has changed.

  A file is yielded once it has not changed for a while. Should it be half written all the same, it comes again when its
  writer has gone on.

  Args:
    folder: The folder; folders below it are not looked at.
    pattern: Of the names.
    seconds: How long to wait for more; None until the caller stops.
    settle_s: How long a file must not have changed [s].

  Raises:
    FileNotFoundError: There is no such folder.
    UserError: watchfiles is not installed.
  """
  try:
    import watchfiles  # Only here: nothing else watches a folder.
  except ImportError as error:
    raise UserError('watchfiles is not installed, and --watch needs it: pip install watchfiles.') from error
  if not folder.is_dir():
    raise FileNotFoundError(f'There is no folder {folder} to watch; make it, or mend --watch.')
  # It only wakes: what is there is looked up in the folder, since changes may be lost.
  awake = watchfiles.watch(
    folder, recursive=False, step=50, debounce=200, rust_timeout=int(TICK_S * 1000), yield_on_timeout=True
  )
  return _arrivals(awake, folder, pattern, seconds, settle_s)


def _arrivals(
  awake: Iterator, folder: pathlib.Path, pattern: str, seconds: float | None, settle_s: float
) -> Iterator[pathlib.Path]:
  end = None if seconds is None else time.monotonic() + seconds
  known: dict[pathlib.Path, Signature] = {}
  waiting: dict[pathlib.Path, tuple[Signature, float]] = {}
  while True:
    yield from _settled(folder, pattern, known, waiting, settle_s)
    if end is not None and time.monotonic() >= end:
      return
    next(awake)


def _settled(
  folder: pathlib.Path,
  pattern: str,
  known: dict[pathlib.Path, Signature],
  waiting: dict[pathlib.Path, tuple[Signature, float]],
  settle_s: float,
) -> list[pathlib.Path]:
  """Returns the files that have not changed for a while, and were not returned as they are."""
  now, settled = time.monotonic(), []
  for path in visible_files(folder, pattern):
    try:
      status = path.stat()
    except OSError:  # It is gone again, a temporary name.
      continue
    signature = (status.st_size, status.st_mtime_ns)
    if known.get(path) == signature:
      continue
    if waiting.get(path, (None, 0.0))[0] != signature:
      waiting[path] = (signature, now)
    elif now - waiting[path][1] >= settle_s and status.st_size > 0:
      known[path] = signature
      del waiting[path]
      settled.append(path)
  return settled
