"""What all figures share: colours, how a magnetogram is drawn, what is said about its source, how a file is written."""

import os
import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

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
LIMIT_GAUSS = 150.0
MISSING = '#9DB7D5'  # No shade of the field.
DPI = 140


def source_note(source: str | None) -> str:
  """Returns what a figure says about where its magnetograms come from, the meta key `survey_source`."""
  if source == 'simulated':
    return 'Simulated survey: no evidence about the Sun'
  return f'Survey: {literal(source)}' if source else 'Source of the survey not stated'


def literal(text: str) -> str:
  """Returns a name that a user gave as matplotlib shows it: without a formula between its dollar signs."""
  return text.replace('$', r'\$')


def draw_field(
  axes: Axes, field: np.ndarray, pixel_scale_mm: float, limit_gauss: float = LIMIT_GAUSS, cmap: str = 'gray'
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


def save(figure: Figure, path: str | os.PathLike) -> None:
  """Writes a figure as PNG, whole or not at all.

  Raises:
    OSError: The file cannot be written.
  """
  # Once: matplotlib would lay out again, and draw, before it draws.
  if (engine := figure.get_layout_engine()) is not None:
    engine.execute(figure)
    figure.set_layout_engine('none')
  write_whole(pathlib.Path(path), lambda temporary: figure.savefig(temporary, format='png', dpi=DPI))
