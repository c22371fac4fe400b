"""Figure of the invariance panel: what every change costs the networks, and what it costs the references."""

import itertools
import os

import numpy as np
from astropy.table import Row, Table
from matplotlib.figure import Figure

from hearjax.interpret.maps import MEMBERS
from hearjax.report import style

COLUMNS = (
  ('tss_change', 'Change of TSS\n(threshold of the training)', 'o'),
  ('auc_change', 'Change of AUC\n(no threshold)', 'o'),
)
SHIFTS = (0, -0.3, -0.15, 0.15, 0.3)  # Of the groups of networks about the line of a change.
LARGEST_RMS = 3.0  # Longer bars are cut.
REFERENCE = {'color': '0.4', 'linewidth': 0.8}  # The line of no change, no skill.


@style.in_style
def plot_invariance(table: Table, source: str, path: str | os.PathLike) -> None:
  """Draws the panel: a line for each change, and what becomes of skill and logit.

  Args:
    table: `invariance.ecsv`; of the references the change of the AUC is shown, where there is one.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  of_members = table[table['networks'] == MEMBERS]
  before, rows = of_members[0], of_members[1:]
  # A gap between the groups, so that the eye finds them.
  kinds = list(rows['kind'])
  y = np.arange(len(rows)) + 0.7 * np.cumsum([a != b for a, b in zip(kinds, [kinds[0], *kinds], strict=False)])
  figure = Figure(figsize=(style.WIDTH, 1.6 + 0.2 * y[-1]), layout='constrained')
  axes = figure.subplots(1, 3, sharey=True, width_ratios=(1.2, 1.2, 1))
  for column, (name, label, marker) in zip(axes, COLUMNS, strict=False):
    column.axvline(0, **REFERENCE)
    column.errorbar(
      rows[name],
      y,
      xerr=_bars(rows, name),
      fmt=marker,
      color=style.GROUP_STYLES[MEMBERS][0],
      markersize=3.5,
      elinewidth=1.1,
    )
    column.set_xlabel(label)
  for shift, (group, (colour, marker, _)) in zip(SHIFTS, style.GROUP_STYLES.items(), strict=True):
    others = table[(table['networks'] == group) & (table['networks'] != MEMBERS)]
    places = dict(zip(rows['name'], y, strict=True))
    shown = others[np.isin(others['name'], list(places))]
    if len(shown):
      at = np.array([places[name] for name in shown['name']]) + shift  # Beside each other: bars would hide the next.
      axes[1].errorbar(
        shown['auc_change'],
        at,
        xerr=_bars(shown, 'auc_change'),
        fmt=marker,
        color=colour,
        markersize=4,
        markerfacecolor='white',
        elinewidth=0.8,
        label=group,
      )
  style.add_legend(figure, axes[1])
  rms = np.asarray(rows['rms_change'])
  axes[2].barh(y, np.minimum(rms, LARGEST_RMS), height=0.6, color=style.GREY)
  for place, value in zip(y[rms > LARGEST_RMS], rms[rms > LARGEST_RMS], strict=True):
    axes[2].annotate(f'{value:.1f} ', (LARGEST_RMS, place), ha='right', va='center', fontsize=7, color='white')
  axes[2].set_xlabel('RMS change of logit\n(standard deviations)')
  axes[2].set_xlim(0, None)
  axes[0].set_yticks(y, [_name(row) for row in rows])
  axes[0].set_ylim(y[-1] + 0.8, -0.8)
  for column in axes:
    column.grid(axis='y', color='0.92', linewidth=0.6)
    column.set_axisbelow(True)
  for kind, group in itertools.groupby(zip(kinds, y, strict=True), key=lambda item: item[0]):
    axes[2].annotate(
      kind, (1.02, next(group)[1]), xycoords=('axes fraction', 'data'), va='center', fontsize=8, color='0.35'
    )
  figure.suptitle(
    f'Unchanged: TSS {before["tss"]:.2f}, AUC {before["auc"]:.2f}. Bars: 95 % over pairs and networks. '
    f'{style.source_note(source)}',
  )
  style.save(figure, path)


def _name(row: Row) -> str:
  if not np.isfinite(row['strength']):
    return row['name']
  return f'{row["name"]} {row["strength"]:.3g} {row["unit"]}'.rstrip()


def _bars(table: Table, name: str) -> np.ndarray:
  """Returns `[2, row]` how far the interval of a column reaches below and above it."""
  value, low, high = (np.asarray(table[f'{name}{end}']) for end in ('', '_low', '_high'))
  return np.abs([value - low, high - value])
