"""Files that appear complete or not at all, in folders that one program writes at a time."""

import codecs
import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from astropy.table import Table
from filelock import FileLock, Timeout

from hearjax.checks import UserError

CANNOT_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)  # What such a file system answers.


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
  """Calls `write(temporary_path)` and renames: the file appears complete or not at all.

  Raises:
    OSError: The folder cannot be written or the disk is full; says which file, and leaves nothing behind.
  """
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.partial{path.suffix}')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(temporary)
    os.replace(temporary, path)
  except OSError as error:
    reason = 'the disk is full' if is_disk_full(error) else error.strerror or str(error)
    raise OSError(f'Cannot write {path}: {reason}; nothing was left half written.') from error
  finally:
    with contextlib.suppress(OSError):  # The folder itself may be what is wrong.
      temporary.unlink(missing_ok=True)


def write_table(path: pathlib.Path, table: Table) -> None:
  """Writes a table as ECSV, or as FITS where its name says so, whole or not at all; raises as `write_whole`."""
  form = 'fits' if path.suffix == '.fits' else 'ascii.ecsv'
  write_whole(path, lambda temporary: table.write(temporary, format=form))


def read_table(path: str | os.PathLike, what: str = 'table', names: Sequence[str] = ()) -> Table:
  """Reads a table: ECSV where it says so in its first line, else CSV with commas, semicolons, tabs or bars.

  Encoded in UTF-8 or UTF-16. Empty cells are masked. A byte-order mark, which Excel and other editors put in front, is
  no part of the table.

  Args:
    path: The file.
    what: What to call it in a message.
    names: Columns of CSV that hold names: an id such as 0011 must not become a number.

  Raises:
    FileNotFoundError: There is no such file.
    OSError: The system does not let it be read.
    UserError: It cannot be read as a table.
  """
  path = pathlib.Path(path)
  try:
    with open(path, 'rb') as file:
      content = file.read()
  except (FileNotFoundError, NotADirectoryError) as error:
    raise FileNotFoundError(f'There is no {what} {path}.') from error
  except OSError as error:
    raise type(error)(f'Cannot read {path}: {error.strerror}.') from error
  if content.startswith(b'PK'):
    raise UserError(f'{path} is a file of a spreadsheet; save the table as CSV.')
  encoding = 'utf-16' if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 'utf-8-sig'
  try:
    lines = content.decode(encoding).splitlines()
    if lines and lines[0].startswith('# %ECSV'):
      return Table.read(lines, format='ascii.ecsv')
    lines = [line for line in lines if line.strip(',;|\t "')]  # A spreadsheet leaves rows of empty cells at the end.
    if lines and lines[0].startswith('sep='):  # It tells itself the delimiter.
      del lines[0]
    if not lines:
      raise UserError(f'{path} is empty; a {what} was expected.')
    delimiter = next((mark for mark in ',;\t|' if mark in lines[0]), ',')
    columns = [name.strip(' "') for name in lines[0].split(delimiter)]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
      raise UserError(f'{path} has the column {twice!r} twice; remove one of them.')
    return Table.read(lines, format='ascii.csv', delimiter=delimiter, converters=dict.fromkeys(names, str))
  except (UserError, MemoryError):
    raise
  except Exception as error:  # The readers raise many types; all mean the same to the user.
    raise UserError(f'{path} cannot be read as a {what} ({error}).') from error


def visible_files(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
  """Returns the files of a folder that match a pattern, sorted; none whose name begins with a dot.

  Such files are nobody's products: leftovers of a killed program, or what an operating system keeps beside others.
  """
  return sorted(path for path in folder.glob(pattern) if not path.name.startswith('.'))


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes JSON, dataclasses as dictionaries, whole or not at all; raises as `write_whole`."""
  text = json.dumps(content, indent=1, default=dataclasses.asdict)
  write_whole(path, lambda temporary: temporary.write_text(text + '\n'))


@contextlib.contextmanager
def told_as_damaged(path: pathlib.Path, remedy: str) -> Iterator[None]:
  """Turns what goes wrong while one of our own files is parsed into one sentence.

  Args:
    path: The file.
    remedy: What to do about it.

  Raises:
    UserError: Its content is not what was written.
  """
  try:
    yield
  except UserError:
    raise
  except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
    lacking = 'it lacks ' if isinstance(error, KeyError) else ''
    raise UserError(f'{path} is damaged ({lacking}{error}); {remedy}.') from error


def plain(value: Any) -> Any:
  """Returns settings as JSON would give them back: dataclasses as dicts, tuples as lists."""
  return json.loads(json.dumps(value, default=dataclasses.asdict))


@contextlib.contextmanager
def sole_writer(folder: str | os.PathLike, what: str) -> Iterator[None]:
  """Keeps all other processes out that would write the same into a folder.

  The lock is one of the system, on a hidden file: it ends with the process, however that ends. Within one thread it
  may be taken again. The file, and the folder where nothing was written into it, are gone afterwards.

  Args:
    folder: Where; made if it is not there.
    what: What is written: the name of a script. Others may write at the same time.

  Raises:
    BlockingIOError: Another process writes it.
    OSError: The folder cannot be written.
  """
  place = pathlib.Path(os.path.realpath(folder))  # The same one by whichever name it is called.
  path = place / f'.{what}.lock'
  lock = FileLock(path, timeout=0, is_singleton=True, fallback_to_soft=False)
  with _made(place):
    try:
      place.mkdir(parents=True, exist_ok=True)
      lock.acquire()
    except Timeout as error:
      raise BlockingIOError(
        f'{folder} is being written by another {what}; wait until it has ended, or name another folder.'
      ) from error
    except OSError as error:
      reason = error.strerror or str(error)
      if error.errno not in CANNOT_LOCK:
        raise OSError(f'Cannot write {error.filename or folder}: {reason}.') from error
      _remove(path)
      warnings.warn(
        f'The file system of {folder} cannot lock files ({reason}): no other {what} may write there meanwhile, and '
        'nothing keeps it out.',
        stacklevel=3,
      )
    try:
      yield
    finally:
      if lock.is_locked:
        if lock.lock_counter == 1:
          _remove(path)  # While it is held: afterwards it may be the file of another process.
        lock.release()


@contextlib.contextmanager
def _made(folder: pathlib.Path) -> Iterator[None]:
  """Removes a folder and those above it at the end, as far as they were not there before and are empty."""
  absent = [each for each in (folder, *folder.parents) if not os.path.exists(each)]
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # Something is in it.
      for each in absent:
        each.rmdir()


def _remove(path: pathlib.Path) -> None:
  with contextlib.suppress(OSError):  # Windows keeps a file that is open.
    path.unlink()


def is_disk_full(error: BaseException | None) -> bool:
  """Says whether an error, or what it came from, is that of a disk without room."""
  # astropy.io.fits raises its own OSError, without the number, from the one of the system.
  return error is not None and (getattr(error, 'errno', None) == errno.ENOSPC or is_disk_full(error.__context__))
