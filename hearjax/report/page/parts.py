"""What a page is made of: sections of sentences, tables, pictures, charts, and parts that were not run."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from hearjax.report.page.captions import Caption
from hearjax.report.page.images import Embedded
from hearjax.report.page.svg import Drawing

MINUS = '\N{MINUS SIGN}'


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell of a table.

  Attributes:
    text: What it shows.
    key: What its column is sorted by: a number, or the text; NaN goes last.
    tone: Class of its colour: a verdict, or empty.
    note: A second line in small letters.
  """

  text: str
  key: float | str = ''
  tone: str = ''
  note: str = ''


@dataclasses.dataclass(frozen=True)
class Sheet:
  """A table.

  Attributes:
    title: What it is of.
    columns: Names of the columns.
    rows: Of cells.
    note: A sentence beneath it.
    folded: Whether it opens only on demand.
  """

  title: str
  columns: tuple[str, ...]
  rows: tuple[tuple[Cell, ...], ...]
  note: str = ''
  folded: bool = False
  kind: str = 'sheet'


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture within the page, with its words."""

  image: Embedded
  caption: Caption
  kind: str = 'picture'


@dataclasses.dataclass(frozen=True)
class Chart:
  """A chart whose points tell their numbers, with its words."""

  drawing: Drawing
  caption: Caption
  kind: str = 'chart'


@dataclasses.dataclass(frozen=True)
class Words:
  """Paragraphs."""

  sentences: tuple[str, ...]
  kind: str = 'words'


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a verdict: what it is about, what that asks, the sentence, and the class of its colour."""

  name: str
  question: str
  sentence: str
  tone: str = ''


@dataclasses.dataclass(frozen=True)
class Lines:
  """The lines of a verdict."""

  rows: tuple[Line, ...]
  kind: str = 'lines'


@dataclasses.dataclass(frozen=True)
class NotRun:
  """What is not there, and the command that makes it."""

  what: str
  command: str
  kind: str = 'not run'


Part = Sheet | Picture | Chart | Words | Lines | NotRun


@dataclasses.dataclass(frozen=True)
class Section:
  """A section: its anchor, its title, what it asks in one sentence, and its parts."""

  anchor: str
  title: str
  lead: str
  parts: tuple[Part, ...]

  @property
  def is_run(self) -> bool:
    """Whether there is anything but what was not run."""
    return any(part.kind != 'not run' for part in self.parts)


# --- Numbers ------------------------------------------------------------------------------------------------------


def told(value: float, form: str = '.2f') -> str:
  """Returns a number as text, with a true minus sign; a dash where there is none."""
  return format(value, form).replace('e+', 'e').replace('-', MINUS) if math.isfinite(value) else '\N{EN DASH}'


def bounded(value: float, low: float, high: float, form: str = '.2f') -> str:
  """Returns a number with its interval."""
  return f'{told(value, form)} [{told(low, form)}, {told(high, form)}]'


def number(value: float, form: str = '.2f') -> Cell:
  """Returns the cell of a number."""
  return Cell(told(float(value), form), float(value))


def interval(value: float, low: float, high: float, form: str = '.2f') -> Cell:
  """Returns the cell of a number with its interval, sorted by the number."""
  return Cell(bounded(float(value), float(low), float(high), form), float(value))


def text(value: object, tone: str = '', note: str = '') -> Cell:
  """Returns the cell of a text, sorted as such."""
  return Cell(str(value), str(value).lower(), tone, note)


def sheet(title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = '', folded=False) -> Sheet:
  """Returns a table."""
  return Sheet(title, tuple(columns), tuple(tuple(row) for row in rows), note, folded)
