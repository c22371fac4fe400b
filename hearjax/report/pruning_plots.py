"""Figures of pruning: skill along the path, responders against lead time and flux, what excites the filters."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from hearjax.interpret.filter_tables import NEGATIVE, POSITIVE, WHOLE
from hearjax.interpret.filters import FLUXES
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.pruning import MAGNITUDE, MEAN, RANDOM
from hearjax.interpret.references import UNTRAINED
from hearjax.report import style

SHOWN_FILTERS = 6
SHOWN_PATCHES = 5
TICKS = (1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 200, 500)
BAND = (2.5, 97.5)  # Percentiles of the random orders.
PARTS = {WHOLE: (style.BLACK, 'o'), POSITIVE: (style.ORANGE, '^'), NEGATIVE: (style.BLUE, 'v')}
DODGE_HOURS = 0.45  # Between the bars of neighbouring parts.
CHOSEN = style.GROUP_STYLES[MEMBERS][0]
PANEL = 1.35  # Side of a patch [inch].
LIMIT_GAUSS = 300.0  # What excites a filter most is strong field.


# --- The path -----------------------------------------------------------------------------------------------------


@style.in_style
def plot_path(path: Table, source: str, file: str | os.PathLike) -> None:
  """Draws the test TSS against the number of filters left: the chosen order, random ones, and that by magnitude.

  Args:
    path: `path.ecsv`.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(style.WIDTH, 5.0), layout='constrained')
  axes = figure.subplots()
  mean = path[path['member'] == MEAN]
  mean.sort('n_filters')
  axes.fill_between(
    mean['n_filters'], mean['test_tss_low'], mean['test_tss_high'], color=CHOSEN, alpha=style.BAND, lw=0
  )
  axes.plot(mean['n_filters'], mean['test_tss'], color=CHOSEN, linewidth=2, label='Chosen on training pairs')
  for order, colour, line, label in (
    (RANDOM, style.GREY, '--', 'Random orders, dotted the range of 95 %'),
    (MAGNITUDE, style.ORANGE, '-.', 'Smallest kernel first'),
  ):
    rows = path[path['order'] == order]
    sizes = np.unique(rows['n_filters'])
    at = [np.asarray(rows['test_tss'][rows['n_filters'] == size]) for size in sizes]
    if order == RANDOM:
      low, high = np.array([np.percentile(values, BAND) for values in at]).T
      # Its edges alone: a second band would hide the first.
      axes.plot(sizes, low, sizes, high, color=colour, linestyle=':', linewidth=1)
    axes.plot(sizes, [values.mean() for values in at], color=colour, linestyle=line, label=label)
  chosen = path[path['chosen']]
  axes.plot(
    chosen['n_filters'],
    chosen['test_tss'],
    'o',
    color=CHOSEN,
    markeredgecolor='black',
    label='Left of each network',
  )
  axes.axhline(0, color='black', linewidth=0.8)
  axes.set_xscale('log')
  axes.xaxis.set_major_formatter(ScalarFormatter())
  axes.set_xticks([number for number in TICKS if mean['n_filters'][0] <= number <= mean['n_filters'][-1]])
  axes.minorticks_off()
  axes.invert_xaxis()
  axes.set_xlabel('Filters left')
  axes.set_ylabel('True Skill Statistic on test pairs')
  axes.set_title(
    f'Pruning: mean of {len(chosen)} networks, 95 % over pairs and networks\n{style.source_note(source)}',
    fontsize=10,
    loc='left',
  )
  axes.legend(frameon=False, loc='lower left')
  style.save(figure, file)


# --- Responders ---------------------------------------------------------------------------------------------------


@style.in_style
def plot_lead_time(table: Table, source: str, file: str | os.PathLike) -> None:
  """Draws the TSS of whole networks, and of their responders alone, against lead time; beside it untrained ones.

  Args:
    table: `lead_time.ecsv`.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  groups = [group for group in (MEMBERS, UNTRAINED) if group in table['networks']]
  figure = Figure(figsize=(style.WIDTH if len(groups) > 1 else 5.0, 4.2), layout='constrained')
  panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
  for axes, group in zip(panels, groups, strict=True):
    for place, (part, (colour, marker)) in enumerate(PARTS.items()):
      rows = table[(table['networks'] == group) & (table['part'] == part)]
      rows.sort('hours')
      hours = -rows['hours'] + DODGE_HOURS * (place - 1)  # So that bars of one interval stand side by side.
      bars = np.abs(np.stack([rows['tss_low'], rows['tss_high']]) - rows['tss'])
      label = part if part == WHOLE else f'{part} alone'
      axes.errorbar(hours, rows['tss'], bars, color=colour, marker=marker, capsize=2, label=label)
    axes.axhline(0, color='black', linewidth=0.6)
    axes.invert_xaxis()
    axes.set_xlabel('Lead time [h]')
    axes.set_title(f'{group} ({rows["n"][0]})')
  panels[0].set_ylabel('True Skill Statistic on test pairs')
  panels[0].legend(frameon=False)
  figure.suptitle(
    f'Responders to the unsigned flux, alone: 95 % over pairs and networks. {style.source_note(source)}', fontsize=10
  )
  style.save(figure, file)


@style.in_style
def plot_contribution(filters: Table, contributions: Table, source: str, file: str | os.PathLike) -> None:
  """Draws what filters of the last layer add to the logit against flux, for the strongest responder of either sign.

  Args:
    filters: `filters.ecsv` of one network.
    contributions: `contributions.fits` of the same.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(style.WIDTH, 4.0), layout='constrained')
  last = filters[filters['layer'] == filters['layer'].max()]
  for axes, sign, word in zip(figure.subplots(1, 2), (1, -1), ('Positive', 'Negative'), strict=True):
    found = last[last['responder'] == sign]
    axes.set_title(f'{word} responders: {len(found)} of {len(last)}')
    if len(found):
      _draw_responder(axes, found[int(np.argmax(found['spread']))], contributions)
    else:
      axes.set_axis_off()  # Nothing to measure on it; the title stays.
      axes.text(0.5, 0.5, 'none found', transform=axes.transAxes, ha='center')
  figure.suptitle(f'{filters["name"][0]}, test pairs. {style.source_note(source)}')
  style.save(figure, file)


def _draw_responder(axes: Axes, row: Table.Row, contributions: Table) -> None:
  """Draws one filter against the flux that it answers to more."""
  flux = max(FLUXES, key=lambda name: abs(row[f'{name}_per_dex']))
  added = contributions['contributions'][:, row['filter']]
  for value, name in ((0, 'NE'), (1, 'PE')):
    colour, marker = style.CLASS_STYLES[name]
    inside = contributions['label'] == value
    values = 10.0 ** contributions[f'log_{flux}_flux'][inside]
    axes.plot(values, added[inside], marker, color=colour, markersize=4, alpha=0.6, label=name, lw=0)
  axes.set_xscale('log')
  axes.axhline(0, color='black', linewidth=0.6)
  axes.set_xlabel(f'{flux.capitalize()} unsigned flux [Mx]')
  axes.set_ylabel('Contribution to the logit')
  axes.legend(frameon=False)
  axes.set_title(
    f'{axes.get_title()}; the strongest: filter {row["filter"]}\n{row[f"{flux}_per_dex"]:+.2f} '
    f'[{row[f"{flux}_per_dex_low"]:+.2f}, {row[f"{flux}_per_dex_high"]:+.2f}] per factor of ten, '
    f'p = {row[f"{flux}_p"]:.3f}',
  )


# --- What excites a filter ----------------------------------------------------------------------------------------


@style.in_style
def plot_filters(filters: Table, patches: Table, pixel_scale_mm: float, source: str, file: str | os.PathLike) -> None:
  """Draws, for each of some filters, the patches of the survey that excite it most.

  Args:
    filters: `filters.ecsv` of one network.
    patches: `patches.fits` of the same: its filters are shown.
    pixel_scale_mm: Side of a pixel [Mm].
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  shown = list(dict.fromkeys(zip(patches['layer'].tolist(), patches['filter'].tolist(), strict=True)))
  figure = Figure(figsize=(style.WIDTH, PANEL * max(len(shown), 1) + 1.6), layout='constrained')
  panels = figure.subplots(max(len(shown), 1), SHOWN_PATCHES, squeeze=False)
  for axes in panels.ravel():
    axes.set_axis_off()
  image = None
  for line, (layer, number) in zip(panels, shown, strict=False):
    row = filters[(filters['layer'] == layer) & (filters['filter'] == number)][0]
    for patch in patches[(patches['layer'] == layer) & (patches['filter'] == number)]:
      axes, side = line[patch['rank']], patch['side']
      start = (patch['patch'].shape[0] - side) // 2
      inside = slice(start, start + side)
      axes.set_axis_on()
      image = style.draw_field(axes, patch['patch'][inside, inside], pixel_scale_mm, LIMIT_GAUSS)
      axes.locator_params(nbins=3)
      axes.tick_params(labelsize=7.5, pad=1)
    favoured = 'PE' if row['contribution_pe'] > row['contribution_ne'] else 'NE'
    answer = {1: '\nresponds positively to flux', -1: '\nresponds negatively to flux'}.get(row['responder'], '')
    line[0].set_ylabel(
      f'layer {layer}, filter {number}{answer}\nadds more to {favoured}\n'
      f'TSS {round(row["delta_test_tss"], 2) + 0.0:+.2f} without\n\n[Mm]',
      fontsize=8,
    )
  for axes in panels[-1]:
    axes.set_xlabel('[Mm]')
  if image:
    bar = {'location': 'bottom', 'shrink': 0.6, 'aspect': 40}
    figure.colorbar(image, ax=panels, label='Line-of-sight field [G]', extend='both', **bar)
  figure.suptitle(
    f'{filters["name"][0]}: where its most important filters are most active, in test maps of different pairs\n'
    '(patch: what the filter looks at, as the network sees it; north up, west to the right unless it mirrors maps).\n'
    f'{style.source_note(source)}',
  )
  style.save(figure, file)
