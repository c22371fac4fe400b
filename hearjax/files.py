"""Files that appear complete or not at all."""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from astropy.table import Table


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
    reason = 'the disk is full' if _is_disk_full(error) else error.strerror or str(error)
    raise OSError(f'Cannot write {path}: {reason}; nothing was left half written.') from error
  finally:
    with contextlib.suppress(OSError):  # The folder itself may be what is wrong.
      temporary.unlink(missing_ok=True)


def write_table(path: pathlib.Path, table: Table) -> None:
  """Writes a table as ECSV, whole or not at all; raises as `write_whole`."""
  write_whole(path, lambda temporary: table.write(temporary, format='ascii.ecsv'))


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes JSON, dataclasses as dictionaries, whole or not at all; raises as `write_whole`."""
  text = json.dumps(content, indent=1, default=dataclasses.asdict)
  write_whole(path, lambda temporary: temporary.write_text(text + '\n'))


def plain(value: Any) -> Any:
  """Returns settings as JSON would give them back: dataclasses as dicts, tuples as lists."""
  return json.loads(json.dumps(value, default=dataclasses.asdict))


def _is_disk_full(error: BaseException | None) -> bool:
  # astropy.io.fits raises its own OSError, without the number, from the one of the system.
  return error is not None and (getattr(error, 'errno', None) == errno.ENOSPC or _is_disk_full(error.__context__))
