"""Figures of the benchmark: each case relative to the others of its group, and lowerings against the size of maps."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hearjax.report import style

BAR = 0.26  # Height of a case [inch].
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # That are named on the axis.
COLOURS = (style.BLACK, style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)


@style.in_style
def plot_benchmark(table: Table, machine: str, file: str | os.PathLike) -> None:
  """Draws the ratio of each case to the reference of its group, with quartiles, on a logarithmic axis.

  Args:
    table: Rows of `benchmark.ecsv`: group, case, seconds, seconds_low, seconds_high, ratio.
    machine: Where it was measured.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  groups = list(dict.fromkeys(table['group']))
  lines = len(table) + len(groups)
  figure = Figure(figsize=(style.WIDTH, 1.4 + BAR * lines), layout='constrained')
  axes = figure.subplots()
  place, labels, places = 0.0, [], []
  for group in groups:
    rows = table[table['group'] == group]
    axes.text(0.0, place, f' {group}', transform=axes.get_yaxis_transform(), va='center', weight='bold')
    place += 1
    for row in rows:
      ratio, per_second = row['ratio'], row['ratio'] / row['seconds']
      spread = [[max(ratio - row['seconds_low'] * per_second, 0)], [max(row['seconds_high'] * per_second - ratio, 0)]]
      colour, marker = (style.ORANGE, 's') if row['case'].startswith('PyTorch') else (style.BLUE, 'o')
      axes.plot(ratio, place, marker, color=colour, markersize=5)
      axes.errorbar(ratio, place, xerr=spread, color=colour, linewidth=1.2, capsize=2)
      axes.text(1.01, place, duration(row['seconds']), transform=axes.get_yaxis_transform(), va='center')
      labels.append(row['case'])
      places.append(place)
      place += 1
  axes.set_yticks(places, labels)
  axes.set_ylim(place - 0.4, -0.8)
  axes.set_xscale('log')
  ratios = np.asarray(table['ratio'])
  axes.set_xlim(min(0.5, 0.7 * ratios.min()), max(2.0, 1.5 * ratios.max()))
  low, high = axes.get_xlim()
  axes.set_xticks(*2 * [[ratio for ratio in RATIOS if low <= ratio <= high]])
  axes.xaxis.set_minor_formatter(NullFormatter())
  axes.axvline(1, color='black', linewidth=0.8)
  axes.grid(axis='x', which='both', color='0.9', linewidth=0.6)
  axes.set_axisbelow(True)
  axes.set_xlabel('Time relative to the reference of the group (median and quartiles; right: of one unit of work)')
  axes.set_title(f'{machine}\nPyTorch orange squares, everything else blue circles', fontsize=9, loc='left')
  style.save(figure, file)


@style.in_style
def plot_lowerings(table: Table, machine: str, file: str | os.PathLike) -> None:
  """Draws the time of a training step per map against the side of the maps, for each way of computing convolutions.

  Args:
    table: Rows of `benchmark.ecsv` of the kind `lowerings`: group, case, side [px], batch, seconds.
    machine: Where it was measured.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  together = np.array(['members' in group for group in table['group']])
  panels = [
    (f'One member, batch {batch}', ~together & (table['batch'] == batch)) for batch in sorted(set(table['batch']))
  ]
  panels += [(table['group'][together][0].partition(',')[0], together)]
  figure = Figure(figsize=(style.WIDTH, 3.9), layout='constrained')
  ways = list(dict.fromkeys(table['case']))
  for axes, (title, such) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
    for way, colour, marker in zip(ways, COLOURS, 'osv^D', strict=False):
      rows = table[such & (table['case'] == way)]
      line = axes.plot(
        rows['side'], 1e3 * rows['seconds'] / rows['batch'], marker, linestyle='-', color=colour, label=way
      )
      line[0].set_markersize(4)
    axes.set_xscale('log', base=2)
    axes.set_yscale('log')
    axes.set_xticks(sorted(set(table['side'])), sorted(set(table['side'])))
    axes.set_xlabel('Side of the maps [px]')
    axes.set_title(title)
    axes.grid(color='0.9', linewidth=0.6)
  figure.axes[0].set_ylabel('Training step [ms per map and member]')
  figure.axes[0].legend(fontsize=7, title='Lowering', title_fontsize=7)
  figure.suptitle(machine)
  style.save(figure, file)


def duration(seconds: float) -> str:
  """Returns seconds as a short text with its unit."""
  for limit, factor, unit in ((1e-3, 1e6, 'µs'), (1.0, 1e3, 'ms')):
    if seconds < limit:
      return f'{seconds * factor:.3g} {unit}'
  return f'{seconds:.3g} s'
