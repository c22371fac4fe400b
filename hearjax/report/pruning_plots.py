"""Figures of pruning: skill along the paths of elimination, what excites the filters, contribution against flux."""

import os
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from hearjax.report import style

SHOWN_FILTERS = 6
SHOWN_PATCHES = 5
ORDERS = {
  'greedy': ('Greedy, on validation pairs', style.BLUE, '-'),
  'random': ('Random', style.GREY, '--'),
  'magnitude': ('Smallest kernel first', style.ORANGE, '-.'),
}
PANEL = 1.7  # Side of a patch [inch].
LIMIT_GAUSS = 300.0  # What excites a filter most is strong field.


def plot_path(path: Table, source: str, file: str | os.PathLike) -> None:
  """Draws the test TSS against the number of filters left, for the three orders.

  Lines are means over the members; bands their range, or, for a single member, the 95 % interval over its test pairs.

  Args:
    path: `path.ecsv` of all members.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(8.0, 5.0), layout='constrained')
  axes = figure.subplots()
  members = len(set(path['member']))
  for order, (label, colour, line) in ORDERS.items():
    rows = path[path['order'] == order]
    steps = np.unique(rows['step'])
    at = [rows[rows['step'] == step] for step in steps]
    n_filters = [part['n_filters'][0] for part in at]
    low, high = ('test_tss', 'test_tss') if members > 1 else ('test_tss_low', 'test_tss_high')
    axes.fill_between(
      n_filters, [part[low].min() for part in at], [part[high].max() for part in at], color=colour, alpha=0.2, lw=0
    )
    axes.plot(n_filters, [part['test_tss'].mean() for part in at], color=colour, linestyle=line, label=label)
    chosen = rows[rows['chosen']]
    axes.plot(
      chosen['n_filters'], chosen['test_tss'], 'o', color=colour, markeredgecolor='black', markersize=6, zorder=3
    )
  axes.plot([], [], 'o', color='white', markeredgecolor='black', label='Chosen by the stopping rule')
  axes.axhline(0, color='black', linewidth=0.8)
  axes.set_xscale('log')
  axes.xaxis.set_major_formatter(ScalarFormatter())
  axes.set_xticks(
    [
      number
      for number in (4, 5, 7, 10, 20, 50, 100, 200)
      if path['n_filters'].min() <= number <= path['n_filters'].max()
    ],
    minor=False,
  )
  axes.minorticks_off()
  axes.invert_xaxis()
  axes.set_xlabel('Filters left')
  axes.set_ylabel('True Skill Statistic on test pairs')
  band = f'mean and range of {members} members' if members > 1 else '95 % interval over test pairs'
  axes.set_title(f'Backward elimination: {band}\n{style.source_note(source)}', fontsize=10, loc='left')
  axes.legend(frameon=False, loc='lower left')
  style.save(figure, file)


def plot_filters(
  table: Table, patches: Sequence[Sequence[np.ndarray]], pixel_scale_mm: float, source: str, file: str | os.PathLike
) -> None:
  """Draws, for each of some filters, the patches of the survey that excite it most.

  Args:
    table: Rows of `filters.ecsv`, one for each filter.
    patches: For each filter, `[side, side]` patches [G].
    pixel_scale_mm: Side of a pixel [Mm].
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(PANEL * SHOWN_PATCHES + 3.2, PANEL * len(table) + 1.0), layout='constrained')
  panels = figure.subplots(len(table), SHOWN_PATCHES, squeeze=False)
  image = None
  for line, row, of_filter in zip(panels, table, patches, strict=True):
    for axes in line[len(of_filter) :]:
      axes.set_axis_off()
    for axes, patch in zip(line, of_filter, strict=False):
      image = style.draw_field(axes, patch, pixel_scale_mm, LIMIT_GAUSS)
      axes.tick_params(labelsize=7)
    favoured = 'PE' if row['delta_logit_pe'] < row['delta_logit_ne'] else 'NE'
    line[0].set_axis_on()
    line[0].set_ylabel(
      f'layer {row["layer"]}, filter {row["filter"]}\n{row["label"]}\nadds more to {favoured}\n'
      f'TSS {row["delta_test_tss"]:+.2f} without\n\n[Mm]',
      fontsize=8,
    )
  for axes in panels[-1]:
    axes.set_xlabel('[Mm]', fontsize=8)
  if image:
    figure.colorbar(image, ax=panels, label='Line-of-sight field [G]', extend='both', fraction=0.03)
  figure.suptitle(
    f'{table["member"][0]}: where its most important filters are most active, in test maps of different pairs\n'
    f'(patch: what the filter looks at, as the network sees it; north up, west to the right unless it mirrors maps). '
    f'{style.source_note(source)}',
    fontsize=9,
  )
  style.save(figure, file)


def plot_contribution(
  table: Table,
  contributions: np.ndarray,
  unsigned_flux: np.ndarray,
  label: np.ndarray,
  source: str,
  file: str | os.PathLike,
) -> None:
  """Draws the contribution to the logit against the unsigned flux, for the strongest responder of either sign.

  Args:
    table: Rows of `filters.ecsv` of one member.
    contributions: `[filter, n]` contribution to the logit.
    unsigned_flux: `[n]` of the square that the network sees [Mx].
    label: `[n]` 1 for PE, 0 for NE.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(9.5, 4.4), layout='constrained')
  for axes, kind in zip(figure.subplots(1, 2), ('flux+', 'flux-'), strict=True):
    labelled = np.flatnonzero(np.asarray(table['label']) == kind)
    axes.set_title(f'{"Positive" if kind == "flux+" else "Negative"} responders: {labelled.size}', fontsize=10)
    if labelled.size:
      strongest = labelled[np.argmax(contributions[labelled].std(axis=1))]
      _draw_responder(axes, table[int(strongest)], contributions[strongest], unsigned_flux, label)
    else:
      axes.text(0.5, 0.5, 'none found', transform=axes.transAxes, ha='center')
  figure.suptitle(f'{table["member"][0]}, test pairs. {style.source_note(source)}', fontsize=10)
  style.save(figure, file)


def _draw_responder(axes: Axes, row: Table.Row, contribution: np.ndarray, flux: np.ndarray, label: np.ndarray) -> None:
  for value, name, colour, marker in ((0, 'NE', style.BLUE, 'o'), (1, 'PE', style.ORANGE, '^')):
    of_class = label == value
    axes.plot(
      flux[of_class] / 1e20, contribution[of_class], marker, color=colour, markersize=4, alpha=0.6, label=name, lw=0
    )
  axes.axhline(0, color='black', linewidth=0.6)
  axes.set_xlabel('Unsigned flux of the visible square [$10^{20}$ Mx]')
  axes.set_ylabel('Contribution to the logit')
  axes.legend(frameon=False)
  axes.set_title(
    f'{axes.get_title()}; the strongest: layer {row["layer"]}, filter {row["filter"]}\nSpearman '
    f'{row["spearman_unsigned_flux"]:+.2f} [{row["spearman_unsigned_flux_low"]:+.2f}, '
    f'{row["spearman_unsigned_flux_high"]:+.2f}]',
    fontsize=9,
  )
