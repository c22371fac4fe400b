"""Figures of the invariance panel and of the spectral response."""

import itertools
import os
from collections.abc import Sequence

import numpy as np
from astropy.table import Row, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hearjax.interpret.statistics import POLE_DISTANCE_PER_WAVELENGTH
from hearjax.report import style

TICKS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)
COLUMNS = (
  ('tss_change', 'Change of TSS\n(threshold of the training)', style.RED, 'o'),
  ('auc_change', 'Change of AUC\n(no threshold)', style.BLUE, 's'),
)
LARGEST_RMS = 3.0  # Longer bars are cut.
REFERENCE = {'color': '0.4', 'linewidth': 0.8}  # The line of no change, no skill.
UNCHANGED = {'linewidth': 0.9, 'linestyle': ':'}
PEAK = {'color': style.ORANGE, 'linewidth': 1.2}


def plot_invariance(table: Table, path: str | os.PathLike) -> None:
  """Draws the panel: a line for each change, and what becomes of skill and logit.

  Args:
    table: What `invariance_table` returns.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  before, rows = table[0], table[1:]
  # A gap between the groups, so that the eye finds them.
  kinds = list(rows['kind'])
  y = np.arange(len(rows)) + 0.7 * np.cumsum([a != b for a, b in zip(kinds, [kinds[0], *kinds], strict=False)])
  figure = Figure(figsize=(9.6, 1.6 + 0.2 * y[-1]), layout='constrained')
  axes = figure.subplots(1, 3, sharey=True, width_ratios=(1.2, 1.2, 1))
  for column, (name, label, colour, marker) in zip(axes, COLUMNS, strict=False):
    column.axvline(0, **REFERENCE)
    column.errorbar(rows[name], y, xerr=_bars(rows, name), fmt=marker, color=colour, markersize=3.5, elinewidth=1.1)
    column.set_xlabel(label)
  rms = np.asarray(rows['rms_change'])
  axes[2].barh(y, np.minimum(rms, LARGEST_RMS), height=0.6, color=style.GREY)
  for place, value in zip(y[rms > LARGEST_RMS], rms[rms > LARGEST_RMS], strict=True):
    axes[2].annotate(f'{value:.1f} ', (LARGEST_RMS, place), ha='right', va='center', fontsize=7, color='white')
  axes[2].set_xlabel('RMS change of logit\n(standard deviations)')
  axes[2].set_xlim(0, None)
  axes[0].set_yticks(y, [_name(row) for row in rows], fontsize=8)
  axes[0].set_ylim(y[-1] + 0.8, -0.8)
  for column in axes:
    column.grid(axis='y', color='0.92', linewidth=0.6)
    column.set_axisbelow(True)
  for kind, group in itertools.groupby(zip(kinds, y, strict=True), key=lambda item: item[0]):
    axes[2].annotate(
      kind, (1.02, next(group)[1]), xycoords=('axes fraction', 'data'), va='center', fontsize=8, color='0.35'
    )
  figure.suptitle(
    f'Read by the networks: {table.meta["verdict"]}\n{_shares(table)}Unchanged: TSS {before["tss"]:.2f}, AUC '
    f'{before["auc"]:.2f}. Bars 95 % over pairs. {style.source_note(table.meta.get("survey_source"))}',
    fontsize=10,
  )
  style.save(figure, path)


def plot_spectral(table: Table, path: str | os.PathLike) -> None:
  """Draws the response to each band of wavelengths, and the skill within the band and without it.

  Args:
    table: What `spectral_table` returns.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  meta, wavelength = table.meta, np.asarray(table['wavelength_mm'])
  figure = Figure(figsize=(7.2, 6.8), layout='constrained')
  upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
  _draw_response(upper, table)
  _draw_skill(lower, table)
  for axes in (upper, lower):
    if meta['peak_inside'] and not meta['flat']:
      axes.axvspan(meta['peak_wavelength_mm_low'], meta['peak_wavelength_mm_high'], color=style.YELLOW, alpha=0.25)
      axes.axvline(meta['peak_wavelength_mm'], **PEAK)
    axes.legend(fontsize=8, framealpha=0.8, edgecolor='none')
  low, high = 0.9 * wavelength[0], 1.1 * wavelength[-1]
  lower.set_xscale('log')
  _ticks_mm(lower, low, high)
  lower.minorticks_off()
  poles = upper.secondary_xaxis(
    'top', functions=(lambda x: x * POLE_DISTANCE_PER_WAVELENGTH, lambda x: x / POLE_DISTANCE_PER_WAVELENGTH)
  )
  poles.set_xlabel('Distance of opposite point poles with most power there [Mm]')
  _ticks_mm(poles, low * POLE_DISTANCE_PER_WAVELENGTH, high * POLE_DISTANCE_PER_WAVELENGTH)
  poles.minorticks_off()
  figure.suptitle(
    f'{describe_peak(meta)}\nEach map keeps its unsigned flux. Shading and bars 95 % over pairs.\n'
    f'{style.source_note(meta.get("survey_source"))}',
    fontsize=10,
  )
  style.save(figure, path)


def plot_pairing(table: Table, path: str | os.PathLike) -> None:
  """Draws what pairing the poles adds to the logit against their distance.

  Args:
    table: What `pole_pairs.pairing_table` returned.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  distance, rise, spread = (np.asarray(table[name]) for name in ('pole_distance_mm', 'rise', 'rise_std'))
  figure = Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = figure.subplots()
  axes.axhline(0, **REFERENCE)
  axes.fill_between(distance, rise - spread, rise + spread, color=style.RED, alpha=0.2, linewidth=0)
  axes.plot(distance, rise, color=style.RED, marker='o', markersize=4)
  if table.meta['peak_mm']:
    axes.axvline(table.meta['peak_mm'], **PEAK)
  axes.set(xscale='log', xlabel='Distance of opposite poles [Mm]', ylabel='Logit with pairs less that with lone poles')
  _ticks_mm(axes, distance[0], distance[-1], (3, 5, 10, 20, 30))
  axes.set_title(
    f'{describe_pairing(table.meta)}\nShading: standard deviation over the networks\n'
    f'{style.source_note(table.meta["survey_source"])}',
    fontsize=10,
  )
  style.save(figure, path)


def describe_pairing(meta: dict) -> str:
  """Returns what `pole_pairs.pairing_table` says about scale, from its meta."""
  if meta['peak_mm'] is None:
    return 'Pairing the poles is rewarded at no distance within the range'
  found = sorted(value for value in meta['peaks_mm'] if value)
  members = len(meta['peaks_mm'])
  of_members = f'{found[0]:.1f} to {found[-1]:.1f} in {len(found)}' if found else 'in the mean of them, in none'
  return f'Pairing is rewarded most at {meta["peak_mm"]:.1f} Mm ({of_members} of {members} networks)'


def describe_peak(meta: dict) -> str:
  """Returns what a spectral response says about scale, from the meta of `spectral_table`."""
  if meta['flat']:
    return f'Skill does not depend on the wavelength (AUC varies by {meta["auc_range"]:.2f})'
  if not meta['peak_inside']:
    return f'Response largest at the edge of the bands, {meta["peak_wavelength_mm"]:.1f} Mm: no scale found'
  low, high = meta['peak_pole_distance_mm_low'], meta['peak_pole_distance_mm_high']
  return (
    f'Response largest at {meta["peak_wavelength_mm"]:.1f} Mm: poles {meta["peak_pole_distance_mm"]:.1f} Mm apart\n'
    f'({low:.1f} to {high:.1f}{"" if meta["peak_bounded"] else " or beyond the bands"}, 95 % over folds and pairs)'
  )


def _name(row: Row) -> str:
  if not np.isfinite(row['strength']):
    return row['name']
  return f'{row["name"]} {row["strength"]:.3g} {row["unit"]}'.rstrip()


def _shares(table: Table) -> str:
  if 'share_strength' not in table.meta:
    return ''
  return (
    f'Skill (AUC - 0.5) left with pixels shuffled: {table.meta["share_strength"]:.0%}, in rings: '
    f'{table.meta["share_ring_strength"]:.0%}; lost by reversal: {table.meta["share_polarity"]:.0%}, by drawn signs: '
    f'{table.meta["share_neighbours"]:.0%}\n'
  )


def _draw_response(axes: Axes, table: Table) -> None:
  wavelength = table['wavelength_mm']
  for name, label, colour, marker in (
    ('logit', 'response: mean of both', style.BLACK, 'o'),
    ('logit_pe', 'PE', style.RED, '^'),
    ('logit_ne', 'NE', style.BLUE, 'v'),
  ):
    axes.plot(wavelength, table[name], color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
    axes.fill_between(wavelength, table[f'{name}_low'], table[f'{name}_high'], color=colour, alpha=0.12, linewidth=0)
    if name != 'logit':
      axes.axhline(table.meta[f'unchanged_{name}'], color=colour, **UNCHANGED)
  axes.set_ylabel('Mean logit (dotted: all wavelengths)')


def _draw_skill(axes: Axes, table: Table) -> None:
  for name, label, colour, marker in (
    ('auc', 'within the band', style.GREEN, 's'),
    ('auc_without', 'without the band', style.PURPLE, 'D'),
  ):
    look = {'color': colour, 'marker': marker, 'markersize': 4, 'linewidth': 1.2, 'elinewidth': 1}
    axes.errorbar(table['wavelength_mm'], table[name], _bars(table, name), label=label, **look)
  axes.axhline(table.meta['unchanged_auc'], color='0.3', label='all wavelengths', **UNCHANGED)
  axes.axhline(0.5, **REFERENCE)
  octaves = table.meta['octaves']
  axes.set(ylabel='AUC', xlabel=f'Wavelength [Mm], bands of {octaves:g} octave (full width at half maximum)')


def _bars(table: Table, name: str) -> np.ndarray:
  """Returns `[2, row]` how far the interval of a column reaches below and above it."""
  value, low, high = (np.asarray(table[f'{name}{end}']) for end in ('', '_low', '_high'))
  return np.abs([value - low, high - value])


def _ticks_mm(axes: Axes, low: float, high: float, ticks: Sequence[int] = TICKS_MM) -> None:
  """Labels an axis of lengths with those of some ticks [Mm] that lie between two ends."""
  axes.set_xticks([tick for tick in ticks if low <= tick <= high])
  axes.xaxis.set_major_formatter('{x:g}')
  axes.xaxis.set_minor_formatter(NullFormatter())
