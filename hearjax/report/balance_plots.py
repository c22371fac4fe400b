"""Figure of the balance: in what EARs and CRs differ beside the Sun."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from hearjax.report import style
from hearjax.verification.nuisance import UNBALANCED

LINE = 0.3  # Height of a quantity [inch].
NARROWEST, WIDEST = 0.5, 1.5  # Of half the axis, in standardised differences; what lies beyond is an arrow at its end.
COLUMNS = {'EAR': 1.18, 'CR': 1.34, 'AUC': 1.45}  # Right ends of the numbers, in widths of the axes.


@style.in_style
def plot_balance(table: Table, source: str, path: str | os.PathLike) -> None:
  """Draws the standardised difference of each quantity with its 95 % interval, and the means of both classes.

  Args:
    table: What `balance_table` returned.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(style.WIDTH, 1.6 + LINE * len(table)))
  axes = figure.subplots()
  height = figure.get_figheight()
  figure.subplots_adjust(left=0.16, right=0.68, top=1 - 0.8 / height, bottom=0.55 / height)
  bounds = np.stack([table['standardised_low'], table['standardised_high']])
  limit = np.clip(1.1 * np.nanmax(np.abs(bounds), initial=0), NARROWEST, WIDEST)
  axes.axvspan(-UNBALANCED, UNBALANCED, color='black', alpha=0.07, linewidth=0)
  axes.axvline(0, color='black', linewidth=0.6)
  for line, row in enumerate(table):
    colour = style.RED if row['unbalanced'] else style.BLUE
    value = row['standardised']
    inside = 'D' if row['unbalanced'] else 'o'
    marker = inside if not abs(value) > limit else '>' if value > 0 else '<'
    axes.plot([row['standardised_low'], row['standardised_high']], [line, line], color=colour, linewidth=2)
    axes.plot(np.clip(value, -limit, limit), line, marker, color=colour, markersize=6, clip_on=False)
    if np.isnan(value):
      axes.text(0, line, 'not known', ha='center', va='center', fontsize=8, color=style.GREY)
    for name, number in (('EAR', row['mean_ear']), ('CR', row['mean_cr']), ('AUC', row['auc'])):
      text = '' if np.isnan(number) else f'{number:.2f}' if name == 'AUC' else f'{number:.4g}'
      axes.text(COLUMNS[name], line, text, transform=axes.get_yaxis_transform(), ha='right', va='center')
  for name, place in COLUMNS.items():
    axes.text(place, -0.9, name, transform=axes.get_yaxis_transform(), ha='right', va='center')
  labels = [f'{row["quantity"]} [{row["unit"]}]' if row['unit'] else row['quantity'] for row in table]
  axes.set_yticks(range(len(table)), labels)
  axes.set(xlim=(-limit, limit), ylim=(len(table) - 0.4, -0.6), xlabel='Standardised difference EAR - CR')
  axes.spines[['left', 'right', 'top']].set_visible(False)
  axes.tick_params(axis='y', length=0)
  figure.suptitle(
    f'{max(table["n_pairs"])} pairs; bars 95 % over pairs; shaded: ±{UNBALANCED:g}; red diamonds: out of balance\n'
    f'{style.source_note(source)}',
  )
  style.save(figure, path)
