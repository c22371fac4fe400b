"""How far a long step is: a bar in a terminal, now and then a plain line elsewhere, nothing for a quick step.

Functions of the library go through their parts with what they are given as `progress`, and are silent by default;
`tqdm.tqdm` will do, too. Scripts give them `meter(what, unit)`.
"""

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TextIO, TypeVar

from tqdm import tqdm

DELAY_S = 3.0  # A quicker step shows nothing.
REFRESH_S = 0.5  # Of a bar.
COLUMNS, ROWS = 80, 24  # Of a terminal that does not tell.
# Between lines: as long again as it has taken, but at most half a minute; later a tenth of what it has taken, so that a
# day leaves some hundred lines.
STEADY_S, STEADY_SHARE, LONGEST_S = 30.0, 0.1, 600.0

Part = TypeVar('Part')


class Progress(Protocol):
  """Goes through the parts of a step, and may show how far it is."""

  def __call__(self, parts: Iterable[Part], *, total: int | None = None, initial: int = 0) -> Iterable[Part]:
    """Gives the parts one by one.

    Args:
      parts: The parts.
      total: How many the step has; None for as many as `parts`.
      initial: How many of these were done before.
    """


def silent(parts: Iterable[Part], *, total: int | None = None, initial: int = 0) -> Iterable[Part]:
  """Shows nothing."""
  return parts


def meter(what: str, unit: str = 'part') -> Progress:
  """Returns what shows on stderr how far a step is.

  Args:
    what: What is done, such as `pruning`.
    unit: What the parts are, in the singular.
  """
  return functools.partial(_go_through, what, unit)


def _go_through(
  what: str, unit: str, parts: Iterable[Part], *, total: int | None = None, initial: int = 0
) -> Iterator[Part]:
  if total is None:
    parts = parts if isinstance(parts, Sequence) else list(parts)
    total = len(parts)
  if total < 2:  # It would say nothing; what the one part consists of may.
    yield from parts
    return
  with Meter(what, unit, total, initial) as shown:
    for part in parts:
      yield part
      shown.update()


class Meter:
  """Shows how many parts of a step are done, how long it has taken, and how long it will.

  A step within another that is shown is silent: one line tells of one thing.
  """

  _shown: 'Meter | None' = None

  def __init__(self, what: str, unit: str, total: int, initial: int = 0) -> None:
    """Prepares it; it begins as a context.

    Args:
      what: What is done.
      unit: What its parts are, in the singular.
      total: How many they are.
      initial: How many of them were done before; they do not count for the time left.
    """
    self._what, self._units, self._total = what, f'{unit}s', total
    self._first = self._last = self._begun = Mark(initial, time.monotonic())
    self._stream, self._note = sys.stderr, ''
    self._bar: tqdm | None = None
    self._has_lines = False
    self._is_over = threading.Event()
    self._thread = threading.Thread(target=self._show, daemon=True)

  def __enter__(self) -> 'Meter':
    if Meter._shown is None and self._last.done < self._total:
      Meter._shown = self
      self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    if Meter._shown is not self:
      return
    Meter._shown = None
    self._is_over.set()
    self._thread.join()
    with contextlib.suppress(OSError, ValueError):  # Whoever looked has gone; the step goes on.
      if self._bar is not None:
        self._bring_up_to_date(self._bar)
        self._bar.close()
      elif self._has_lines:
        self._write_line()

  def update(self, parts: int = 1, note: str = '') -> None:
    """Counts parts as done; `note` says something of the last one."""
    self._note = note
    last = Mark(self._last.done + parts, time.monotonic())
    if self._first is self._begun:
      self._first = last
    self._last = last
    if last.done >= self._total:  # What comes after it in the same context is another step.
      self.__exit__()

  def _show(self) -> None:
    """Shows it again and again, in a thread of its own: a part that takes minutes must not look dead."""
    pause = DELAY_S
    while not self._is_over.wait(pause):
      try:
        if self._stream.isatty():
          self._refresh()
          pause = REFRESH_S
        else:
          self._write_line()
          pause = pause_after(time.monotonic() - self._begun.time)
      except (OSError, ValueError):  # Nobody looks any more.
        return

  def _refresh(self) -> None:
    if self._bar is None:
      self._bar = tqdm(
        desc=self._what,
        total=self._total,
        unit=self._units,
        bar_format='{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}',
        file=self._stream,
        ncols=COLUMNS,
        nrows=ROWS,
        delay=1e-9,  # It must not show itself before it is up to date.
      )
    self._bring_up_to_date(self._bar)
    self._bar.refresh()

  def _bring_up_to_date(self, bar: tqdm) -> None:
    bar.n = self._last.done
    bar.ncols = os.get_terminal_size(self._stream.fileno()).columns or COLUMNS
    bar.set_postfix_str(self._times(), refresh=False)

  def _write_line(self) -> None:
    self._has_lines = True
    done = f'{self._last.done}/{self._total} {self._units} ({self._last.done / self._total:.0%})'
    print(f'{self._what}: {done}, {self._times()}', file=self._stream, flush=True)

  def _times(self) -> str:
    now = time.monotonic()
    told = [f'{tqdm.format_interval(now - self._begun.time)} taken']
    left = seconds_left(self._begun, self._first, self._last, self._total, now)
    if left is not None and not self._is_over.is_set():
      told.append(f'{tqdm.format_interval(left)} left')
    return ', '.join([*told, *filter(None, [self._note])])


class Mark(NamedTuple):
  """How many parts were done at a time [s]."""

  done: int
  time: float


def seconds_left(begun: Mark, first: Mark, last: Mark, total: int, now: float) -> float | None:
  """Returns how long a step will take [s]; None as long as no part is done.

  The first part compiles what the others only run, so that it counts only as long as it is the only one.

  Args:
    begun, first, last: The begin, and when the first and the last part were done.
    total: All parts.
    now: Time [s].
  """
  since = first if last.done > first.done else begun
  if last.done == since.done:
    return None
  each = (last.time - since.time) / (last.done - since.done)
  left = total - last.done
  # While a part takes longer than the others, those after it still take their time.
  return max(left * each - (now - last.time), (left - 1) * each, 0.0)


def pause_after(seconds: float) -> float:
  """Returns when to write the next line [s], so long after the begin of a step."""
  return min(seconds, max(STEADY_S, STEADY_SHARE * seconds), LONGEST_S)


def close_shown() -> None:
  """Ends what is shown, where an error or an interrupt has left it behind."""
  if Meter._shown is not None:
    Meter._shown.__exit__()


def aside() -> contextlib.AbstractContextManager[None]:
  """Returns within what something else may be written; a bar makes room for it."""
  return tqdm.external_write_mode()


def say(text: str, stream: TextIO | None = None) -> None:
  """Prints a line at once, on stdout for None; a bar makes room for it."""
  stream = stream or sys.stdout
  tqdm.write(text, file=stream)
  stream.flush()


def counted(progress: Progress, total: int, initial: int = 0) -> Callable[[], None]:
  """Returns what counts a part as done, for a step whose parts are not those of one loop.

  Args:
    progress: Shows how far it is.
    total: How many parts there are.
    initial: How many of them were done before.
  """
  parts = iter(progress(range(initial, total), total=total, initial=initial))
  next(parts, None)
  return lambda: next(parts, None)
