"""Charts of points that tell their numbers: where lines, bars and marks lie within an SVG picture."""

import dataclasses
import math
from collections.abc import Sequence

from matplotlib.colors import to_hex, to_rgb
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 720, 440  # Of the whole picture, in its own units; a phone shows it at half the size.
LEFT, RIGHT, TOP, BOTTOM = 96, 14, 16, 72
TOWARDS_WHITE = 0.35  # How much lighter a colour is on a dark ground.
# Paths of the marks that matplotlib knows by these letters, around the origin.
MARKS = {
  'o': 'M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z',
  's': 'M-4.5 -4.5h9v9h-9z',
  '^': 'M0 -6L5.5 4.5H-5.5z',
  'v': 'M0 6L5.5 -4.5H-5.5z',
  'D': 'M0 -6L6 0L0 6L-6 0z',
  'P': 'M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z',
  'X': 'M-6 -3L-3 -6L0 -3L3 -6L6 -3L3 0L6 3L3 6L0 3L-3 6L-6 3L-3 0z',
  '*': 'M0 -7L2 -2L7 -2L3 1.5L4.5 7L0 3.5L-4.5 7L-3 1.5L-7 -2L-2 -2z',
  'h': 'M0 -6L5.2 -3V3L0 6L-5.2 3V-3z',
  '.': 'M-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z',
}


@dataclasses.dataclass(frozen=True)
class Point:
  """A point of a series.

  Attributes:
    x, y: Where.
    tells: What it says of itself.
    bars: Intervals of y, the thin (wide) one first.
    stands_out: Whether its mark is filled where those of the series are not.
  """

  x: float
  y: float
  tells: str
  bars: tuple[tuple[float, float], ...] = ()
  stands_out: bool = False


@dataclasses.dataclass(frozen=True)
class Series:
  """Points of one kind.

  Attributes:
    name: In the legend; empty for one that is not told there.
    colour: On a light ground.
    mark: Letter of the mark (`MARKS`).
    points: In the order of their line.
    dash: Pattern of the line, empty for a solid one.
    filled: Whether the marks are.
    shift: Of all points to the right, in units of the picture, so that bars do not hide each other.
  """

  name: str
  colour: str
  mark: str
  points: tuple[Point, ...]
  dash: str = ''
  filled: bool = True
  shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A chart as it is laid out: all places in units of the picture.

  Attributes:
    alt: What is drawn.
    x_label, y_label: Of the axes.
    x_ticks, y_ticks: Where, and the number there.
    rules: Lines across the plot: x1, y1, x2, y2.
    width, height: Of the picture.
    left, top, right, bottom: Edges of the plot within it.
    placed: Each series with its path, its colour on a dark ground, and its marks.
  """

  alt: str
  x_label: str
  y_label: str
  x_ticks: tuple[tuple[float, str], ...]
  y_ticks: tuple[tuple[float, str], ...]
  rules: tuple[tuple[float, float, float, float], ...]
  placed: tuple['Placed', ...]
  width: float = WIDTH
  height: float = HEIGHT
  left: float = LEFT
  top: float = TOP
  right: float = WIDTH - RIGHT
  bottom: float = HEIGHT - BOTTOM

  @property
  def legend(self) -> tuple['Placed', ...]:
    """The series that are told of."""
    return tuple(one for one in self.placed if one.series.name)


@dataclasses.dataclass(frozen=True)
class Placed:
  """A series within the picture: `marks` are x, y, bars (y of both ends), what is told, and whether it is filled."""

  series: Series
  dark: str
  shape: str
  path: str
  marks: tuple[tuple[float, float, tuple[tuple[float, float], ...], str, bool], ...]


def draw(
  alt: str,
  x_label: str,
  y_label: str,
  series: Sequence[Series],
  x_zero: bool = False,
  y_zero: bool = False,
) -> Drawing:
  """Lays a chart out.

  Args:
    alt: What is drawn.
    x_label, y_label: Of the axes.
    series: What to draw; points that are not finite are left out.
    x_zero, y_zero: Whether a line marks 0, which is then within the axis.
  """
  points = [point for one in series for point in one.points if _is_finite(point)]
  ends = [end for point in points for bar in point.bars for end in bar if math.isfinite(end)]
  x_axis = _Axis([point.x for point in points] + [0.0] * x_zero, LEFT, WIDTH - RIGHT, 0.03)
  y_axis = _Axis([point.y for point in points] + ends + [0.0] * y_zero, HEIGHT - BOTTOM, TOP, 0.06)
  rules = [(LEFT, y_axis(0), WIDTH - RIGHT, y_axis(0))] * y_zero + [
    (x_axis(0), TOP, x_axis(0), HEIGHT - BOTTOM)
  ] * x_zero
  return Drawing(
    alt,
    x_label,
    y_label,
    x_axis.ticks(7),
    y_axis.ticks(6),
    tuple(rules),
    tuple(_place(one, x_axis, y_axis) for one in series),
  )


def dark_colour(colour: str) -> str:
  """Returns a colour as it is seen on a dark ground: lighter, and white for black."""
  rgb = to_rgb(colour)
  return '#ffffff' if not any(rgb) else to_hex([part + TOWARDS_WHITE * (1 - part) for part in rgb])


class _Axis:
  """Takes values to places of the picture."""

  def __init__(self, values: Sequence[float], start: float, stop: float, margin: float) -> None:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = margin * (high - low) or (0.5 if high == low else 0.0)
    self._low, self._high, self._start, self._stop = low - room, high + room, start, stop

  def __call__(self, value: float) -> float:
    share = (value - self._low) / (self._high - self._low)
    return round(self._start + share * (self._stop - self._start), 1)

  def ticks(self, most: int) -> tuple[tuple[float, str], ...]:
    values = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(self._low, self._high)
    inside = [value for value in values if self._low <= value <= self._high]
    digits = max((len(f'{value:.4f}'.rstrip('0').partition('.')[2]) for value in inside), default=0)
    return tuple((self(value), f'{value:.{digits}f}'.replace('-', '\N{MINUS SIGN}')) for value in inside)


def _is_finite(point: Point) -> bool:
  return math.isfinite(point.x) and math.isfinite(point.y)


def _place(series: Series, x_axis: _Axis, y_axis: _Axis) -> Placed:
  marks, path, pen_is_down = [], [], False
  for point in series.points:
    if not _is_finite(point):
      pen_is_down = False
      continue
    x, y = round(x_axis(point.x) + series.shift, 1), y_axis(point.y)
    bars = tuple((y_axis(low), y_axis(high)) for low, high in point.bars if math.isfinite(low) and math.isfinite(high))
    path.append(f'{"L" if pen_is_down else "M"}{x} {y}')
    pen_is_down = True
    marks.append((x, y, bars, point.tells, series.filled or point.stands_out))
  return Placed(series, dark_colour(series.colour), MARKS[series.mark], ''.join(path), tuple(marks))
