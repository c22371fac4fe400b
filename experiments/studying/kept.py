"""A table that grows row by row on disk, so that an interrupted study goes on where it stopped."""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import plain, read_table, write_table


class KeptRows:
  """Rows that are on disk as soon as they are added.

  Attributes:
    rows: All of them, as dictionaries.
  """

  def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Reads what is there.

    Args:
      path: The table (ECSV).
      settings: What its rows depend on beside their columns.
      overwrite: Begin anew.

    Raises:
      UserError: It is of other settings, or no such table.
    """
    self._path, self._meta = pathlib.Path(path), plain(dict(settings))
    self.rows: list[dict[str, Any]] = []
    if self._path.exists() and not overwrite:
      table = read_table(self._path, 'study')
      if table.meta != self._meta:
        raise UserError(f'{self._path} is of a study with other settings; name another --out.')
      self.rows = [dict(row) for row in table]

  def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows and writes all."""
    self.rows += map(dict, rows)
    write_table(self._path, Table(rows=self.rows, meta=self._meta))
