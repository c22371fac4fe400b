"""What all figures share: colours, how a magnetogram is drawn, what is said about its source, how a file is written.

A page shows a figure some 700 px wide: figures are at most `WIDTH` wide, so that letters of 8 points are read there.
One colour and one marker belong to a model wherever it is drawn; markers and lines say the same again, for a print in
grey and for readers who see colours otherwise.
"""

import functools
import io
import os
import pathlib
import zlib
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import matplotlib
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image, ImageChops

from hearjax.files import write_whole

# Okabe & Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PURPLE, RED, YELLOW, SKY, BLACK, GREY = (
  '#0072B2',
  '#E69F00',
  '#009E73',
  '#CC79A7',
  '#D55E00',
  '#F0E442',
  '#56B4E9',
  '#000000',
  '#7F7F7F',
)
WINE, TEAL, OLIVE, BROWN, ROSE = '#882255', '#44AA99', '#999933', '#661100', '#CC6677'  # From the palette of P. Tol.
LIMIT_GAUSS = 150.0
# A magnetogram is black, grey and white, as everywhere in the field: symmetric about 0 G, and the same in print. What
# is derived from it, and means and differences of many, are in two colours.
FIELD_MAP = 'gray'
DIVERGING = 'RdBu_r'
SEQUENTIAL = 'viridis'
MISSING = '#9DB7D5'  # No shade of the field.
DPI = 140
WIDTH = 8.4  # Of a figure [inch].
BAND = 0.18  # Opacity of a band over an interval: lines are seen through it.
SETTINGS = {
  'font.size': 9,
  'axes.titlesize': 9,
  'axes.labelsize': 9,
  'axes.linewidth': 0.7,
  'xtick.labelsize': 8,
  'ytick.labelsize': 8,
  'legend.fontsize': 8.5,
  'legend.frameon': False,
  'figure.titlesize': 9.5,
  'figure.labelsize': 9,
  'lines.linewidth': 1.4,
  'lines.markersize': 5,
}

LABELS = {
  'cnn': 'CNN',
  'cnn_tuned': 'CNN, tuned to the interval',
  'da_flux': 'DA, unsigned flux',
  'da_linear': 'DA, linear',
  'da_quadratic': 'DA, quadratic',
  'da_kernel': 'DA, kernel density',
}
STYLES = {
  'cnn': (RED, 'o'),
  'cnn_tuned': (ORANGE, 'h'),
  'da_flux': (BLUE, 's'),
  'da_linear': (GREEN, '^'),
  'da_quadratic': (PURPLE, 'v'),
  'da_kernel': (BLACK, 'D'),
}
OTHER_STYLES = ((TEAL, 'P'), (OLIVE, 'X'), (BROWN, '*'), (ROSE, 'P'), ('#332288', 'X'), ('#AA4499', '*'))
# Networks that are asked what they learnt, by their names in tables (`interpret.references.GROUPS`): colour, marker,
# line. The members are the networks of the model `cnn`.
GROUP_STYLES = {
  'members': (*STYLES['cnn'], '-'),
  'meter of |B|': (ORANGE, 's', '--'),
  'meter of flux': (SKY, '^', '-.'),
  'untrained': (GREY, 'v', ':'),
  'labels exchanged': (WINE, 'D', (0, (5, 1, 1, 1, 1, 1))),
}
MEMBERS = 'members'
CLASS_STYLES = {'PE': (ORANGE, '^'), 'NE': (BLUE, 'o')}

Arguments = ParamSpec('Arguments')
Drawn = TypeVar('Drawn')


def in_style(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
  """Makes a function draw with `SETTINGS`, whatever the settings of matplotlib are where it is called."""

  @functools.wraps(draw)
  def drawn(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Drawn:
    with matplotlib.rc_context(SETTINGS):
      return draw(*arguments, **keywords)

  return drawn


def label_of(model: str) -> str:
  """Returns what a model is called in a figure."""
  return LABELS.get(model, literal(model))


def style_of(model: str, models: Sequence[str]) -> tuple[str, str]:
  """Returns the colour and the marker of a model among those that are drawn.

  That of another program's model follows from its name; where two would look alike, from their order as well.
  """
  if model in STYLES:
    return STYLES[model]
  free = list(range(len(OTHER_STYLES)))
  for name in sorted({model, *(name for name in models if name not in STYLES)}):
    free = free or list(range(len(OTHER_STYLES)))
    wanted = zlib.crc32(name.encode()) % len(OTHER_STYLES)
    taken = free.pop(free.index(wanted) if wanted in free else 0)
    if name == model:
      break
  return OTHER_STYLES[taken]


def source_note(source: str | None) -> str:
  """Returns what a figure says about where its magnetograms come from, the meta key `survey_source`."""
  if is_simulated(source):
    return 'Simulated survey: no evidence about the Sun'
  return f'Survey: {literal(source)}' if source else 'Source of the survey not stated'


def is_simulated(source: str | None) -> bool:
  """Whether magnetograms are simulated, or some of them: then nothing made from them is evidence about the Sun."""
  return 'simulated' in (source or '').lower()


def literal(text: str) -> str:
  """Returns a name that a user gave as matplotlib shows it: without a formula between its dollar signs."""
  return text.replace('$', r'\$')


def draw_field(
  axes: Axes, field: np.ndarray, pixel_scale_mm: float, limit_gauss: float = LIMIT_GAUSS, cmap: str = FIELD_MAP
) -> AxesImage:
  """Draws `[y, x]` field [G], north up and west to the right, on axes in Mm from the centre of the map."""
  half_x, half_y = (side * pixel_scale_mm / 2 for side in field.shape[::-1])
  axes.set_facecolor(MISSING)
  return axes.imshow(
    field,
    cmap=cmap,
    vmin=-limit_gauss,
    vmax=limit_gauss,
    origin='lower',
    extent=(-half_x, half_x, -half_y, half_y),
    interpolation='nearest',
  )


def grid_of(panels: int, most: int = 3) -> tuple[int, int]:
  """Returns how many rows and columns of panels a figure has, `most` side by side."""
  columns = max(min(panels, most), 1)
  return -(-panels // columns), columns


def draw_groups(axes: Axes, rows: Table, x: str, y: str, dodge: float = 0.0) -> None:
  """Draws a line with its 95 % interval for each group of networks: a band for the members, bars for all others.

  Bands of several groups would hide each other.

  Args:
    axes: Where.
    rows: Columns `networks`, `low`, `high` and those of x and y.
    x, y: Names of columns.
    dodge: Distance of the bars of neighbouring groups, as a factor less 1 of x.
  """
  present = [group for group in GROUP_STYLES if group in rows['networks']]
  for place, group in enumerate(present):
    line = rows[rows['networks'] == group]
    colour, marker, dashes = GROUP_STYLES[group]
    at, value, low, high = (np.asarray(line[name], float) for name in (x, y, 'low', 'high'))
    if group == MEMBERS:
      axes.fill_between(at, low, high, color=colour, alpha=BAND, linewidth=0, zorder=1)
      axes.plot(at, value, marker, linestyle=dashes, color=colour, linewidth=2, markersize=4, label=group, zorder=4)
      continue
    axes.plot(at, value, marker, linestyle=dashes, color=colour, linewidth=1.1, markersize=3, label=group, zorder=3)
    beside = at * (1 + dodge) ** (place - (len(present) - 1) / 2)
    axes.vlines(beside, low, high, color=colour, linewidth=0.8, alpha=0.8, zorder=2)


def add_legend(figure: Figure, axes: Axes, columns: int = 0) -> None:
  """Puts what is drawn on axes into a legend below all panels."""
  handles, labels = axes.get_legend_handles_labels()
  if labels:
    figure.legend(handles, labels, loc='outside lower center', ncols=columns or len(labels))


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes a figure as PNG, whole or not at all.

  Raises:
    OSError: The file cannot be written.
  """
  # Once: matplotlib would lay out again, and draw, before it draws.
  if (engine := figure.get_layout_engine()) is not None:
    engine.execute(figure)
    figure.set_layout_engine('none')
  content = io.BytesIO()
  figure.savefig(content, format='png', dpi=DPI, pil_kwargs={'compress_level': 0})
  picture = Image.open(content).convert('RGB')
  if is_grey(picture):  # As magnetograms are: a third of the bytes.
    picture = picture.convert('L')
  how = {'format': 'png', 'optimize': True, 'dpi': (DPI, DPI)}
  write_whole(pathlib.Path(path), lambda temporary: picture.save(temporary, **how))


def is_grey(picture: Image.Image) -> bool:
  """Says whether red, green and blue are the same in every pixel of a picture."""
  red, green, blue = picture.split()
  return all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
