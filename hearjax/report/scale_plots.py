"""Figure of the scales that networks look for: the width of poles, their distance, bands of wavelengths."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hearjax.interpret.maps import MEMBERS
from hearjax.report import style

DODGE = 0.02  # Between bars of neighbouring groups, of their place on the axis.
TICKS_MM = (2, 3, 5, 10, 20, 50, 100)
PANELS = (
  ('width', 'Full width at half maximum of poles [Mm]', 'Logit [sd], poles of one sign'),
  ('pairing', 'Distance of the poles of a pair [Mm]', 'What pairing adds to the logit [sd]'),
  ('wavelength', 'Wavelength of a band [Mm]', 'Logit of maps reduced to the band,\nat their own flux [sd]'),
  ('auc', 'Wavelength of a band [Mm]', 'AUC within the band'),
)


@style.in_style
def plot_scale(table: Table, source: str, file: str | os.PathLike) -> None:
  """Draws the responses to width, distance and wavelength: members and references.

  Args:
    table: `scale.ecsv`, with what was found in its meta.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(style.WIDTH, 6.8), layout='constrained')
  for axes, (kind, along, what) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
    style.draw_groups(axes, table[table['kind'] == kind], 'at_mm', 'response', DODGE)
    _label_sizes(axes)
    axes.set_xlabel(along)
    axes.set_ylabel(what)
    axes.axhline(0.5 if kind == 'auc' else 0, color='black', linewidth=0.6)
  width, distance, _, _ = figure.axes
  if table.meta['width_supported']:
    width.axvspan(
      table.meta['width_mm_low'], table.meta['width_mm_high'], color=style.GROUP_STYLES[MEMBERS][0], alpha=0.12, lw=0
    )
    width.set_title(
      f'{table.meta["width_mm"]:.1f} Mm [{table.meta["width_mm_low"]:.1f}, {table.meta["width_mm_high"]:.1f}]',
    )
  else:
    width.set_title('no width is supported')
  if np.isfinite(table.meta['distance_mm']) and table.meta['pairing_supported']:
    distance.axvline(table.meta['distance_mm'], color=style.GROUP_STYLES[MEMBERS][0], linestyle=':')
    distance.set_title(f'{table.meta["distance_mm"]:.1f} Mm')
  else:
    distance.set_title('no distance is supported')
  style.add_legend(figure, width)
  figure.suptitle(f'95 % over pairs and networks: band (members), bars. {style.source_note(source)}')
  style.save(figure, file)


def _label_sizes(axes: Axes) -> None:
  axes.set_xscale('log')
  low, high = axes.get_xlim()
  axes.set_xticks(
    [tick for tick in TICKS_MM if low < tick < high], [str(tick) for tick in TICKS_MM if low < tick < high]
  )
  axes.xaxis.set_minor_formatter(NullFormatter())
