"""Figure of the scales that networks look for: the width of poles, their distance, bands of wavelengths."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hearjax.interpret.maps import MEMBERS
from hearjax.report import style
from hearjax.report.finding_plots import COLOURS

TICKS_MM = (2, 3, 5, 10, 20, 50, 100)
PANELS = (
  ('width', 'Full width at half maximum of poles [Mm]', 'Logit [sd], poles of one sign'),
  ('pairing', 'Distance of the poles of a pair [Mm]', 'What pairing adds to the logit [sd]'),
  ('wavelength', 'Wavelength of a band [Mm]', 'Logit of maps reduced to the band,\nat their own flux [sd]'),
  ('auc', 'Wavelength of a band [Mm]', 'AUC within the band'),
)


def plot_scale(table: Table, source: str, file: str | os.PathLike) -> None:
  """Draws the responses to width, distance and wavelength: members with 95 % intervals, references as lines.

  Args:
    table: `scale.ecsv`, with what was found in its meta.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(10.0, 7.2), layout='constrained')
  for axes, (kind, along, what) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
    _draw(axes, table[table['kind'] == kind])
    axes.set_xlabel(along)
    axes.set_ylabel(what)
    axes.axhline(0.5 if kind == 'auc' else 0, color='black', linewidth=0.6)
  width, distance, _, _ = figure.axes
  if table.meta['width_supported']:
    width.axvspan(table.meta['width_mm_low'], table.meta['width_mm_high'], color=COLOURS[MEMBERS], alpha=0.12, lw=0)
    width.set_title(
      f'{table.meta["width_mm"]:.1f} Mm [{table.meta["width_mm_low"]:.1f}, {table.meta["width_mm_high"]:.1f}]',
      fontsize=9,
    )
  else:
    width.set_title('no width is supported', fontsize=9)
  if np.isfinite(table.meta['distance_mm']) and table.meta['pairing_supported']:
    distance.axvline(table.meta['distance_mm'], color=COLOURS[MEMBERS], linestyle=':')
    distance.set_title(f'{table.meta["distance_mm"]:.1f} Mm', fontsize=9)
  else:
    distance.set_title('no distance is supported', fontsize=9)
  width.legend(fontsize=8, frameon=False)
  figure.supxlabel(style.source_note(source), x=0.01, ha='left', fontsize=8, color=style.GREY)
  style.save(figure, file)


def _draw(axes: Axes, rows: Table) -> None:
  for group, colour in COLOURS.items():
    of_group = rows[rows['networks'] == group]
    if not len(of_group):
      continue
    is_members = group == MEMBERS
    axes.plot(of_group['at_mm'], of_group['response'], color=colour, linewidth=2 if is_members else 1.2, label=group)
    if is_members:
      axes.fill_between(of_group['at_mm'], of_group['low'], of_group['high'], color=colour, alpha=0.2, lw=0)
  axes.set_xscale('log')
  low, high = axes.get_xlim()
  axes.set_xticks(
    [tick for tick in TICKS_MM if low < tick < high], [str(tick) for tick in TICKS_MM if low < tick < high]
  )
  axes.xaxis.set_minor_formatter(NullFormatter())
