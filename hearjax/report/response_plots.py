"""Figures of the response to synthetic fields, and of the completeness: functions of their tables."""

import os
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.planting import UNIT_MX
from hearjax.interpret.references import FIELD_METER
from hearjax.interpret.synthetic import BIPOLE, EXAMPLES, FIXED, TOTAL, WINDOW
from hearjax.report import style
from hearjax.report.finding_plots import COLOURS

FIXED_LABELS = {TOTAL: 'equal total flux', WINDOW: 'equal flux in the central window'}
AXIS_LABELS = {
  'width': 'Width of poles [Mm]',
  'distance': 'Distance of poles [Mm]',
  'scale': 'Scale [Mm]',
  'flux': 'Flux [Mx]',
}
RISE_LABEL = 'Rise of the logit [sd]'
TICKS = (3, 5, 10, 20, 40)  # [Mm]


def plot_fields(examples: Table, pixel_scale_mm: float, source: str | None, path: str | os.PathLike) -> None:
  """Draws example fields, all in one grey scale: sizes grow downwards, and the width of bipoles to the right.

  Args:
    examples: What `synthetic.example_fields` returned.
    pixel_scale_mm: Side of a pixel [Mm].
    source: Where the survey comes from.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  columns = len(examples) // EXAMPLES
  figure = Figure(figsize=(1.0 + 1.6 * columns, 0.9 + 1.9 * EXAMPLES), layout='constrained')
  panels = figure.subplots(EXAMPLES, columns, squeeze=False, sharex=True, sharey=True)
  for axes, row in zip(panels.T.flat, examples, strict=True):
    image = style.draw_field(axes, np.asarray(row['field']), pixel_scale_mm)
    named = {'width': row['width_mm'], 'distance': row['distance_mm'], 'scale': row['scale_mm']}
    sizes = [f'{name} {value:.1f} Mm' for name, value in named.items() if np.isfinite(value)]
    axes.set_title('\n'.join([row['family'], *sizes]), fontsize=8)
    axes.tick_params(labelsize=7)
  for axes in panels[-1]:
    axes.set_xlabel('west [Mm]', fontsize=8)
  for axes in panels[:, 0]:
    axes.set_ylabel('north [Mm]', fontsize=8)
  figure.colorbar(image, ax=panels, label='Field [G]', extend='both', fraction=0.02)
  figure.suptitle(
    f'Synthetic fields, their total unsigned flux {_scientific(UNIT_MX)} Mx. {style.source_note(source)}', fontsize=10
  )
  style.save(figure, path)


def plot_plane(response: Table, source: str | None, path: str | os.PathLike) -> None:
  """Draws what bipoles add to the logit over the width and the distance of their poles, the mean over the fluxes.

  Args:
    response: What `preferences.response_table` returned.
    source: Where the survey comes from.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  bipoles = response[response['family'] == BIPOLE]
  groups = [group for group in (MEMBERS, FIELD_METER) if group in bipoles['networks']]
  figure = Figure(figsize=(8.4, 0.7 + 3.1 * len(groups)), layout='constrained')
  panels = figure.subplots(len(groups), len(FIXED), squeeze=False, sharex=True, sharey=True)
  for group, row in zip(groups, panels, strict=True):
    for fixed, axes in zip(FIXED, row, strict=True):
      shown = bipoles[(bipoles['networks'] == group) & (bipoles['fixed'] == fixed)]
      width, distance = (np.unique(shown[name]) for name in ('width_mm', 'distance_mm'))
      rise = np.array([[_mean_at(shown, x, y) for x in width] for y in distance])
      largest = np.abs(rise).max() or 1.0
      norm = TwoSlopeNorm(0, -largest, largest)
      mesh = _draw_cells(axes, width, distance, rise, norm=norm, cmap='PuOr_r')
      axes.set_title(f'{group}, {FIXED_LABELS[fixed]}', fontsize=9)
      for axis, low, high in ((axes.xaxis, *axes.get_xlim()), (axes.yaxis, *axes.get_ylim())):
        _label_sizes(axis, low, high)
      figure.colorbar(mesh, ax=axes, label=RISE_LABEL)
  for axes in panels[-1]:
    axes.set_xlabel(AXIS_LABELS['width'], fontsize=9)
  for axes in panels[:, 0]:
    axes.set_ylabel(AXIS_LABELS['distance'], fontsize=9)
  figure.suptitle(f'Bipoles in quiet Sun, mean over their fluxes. {style.source_note(source)}', fontsize=10)
  style.save(figure, path)


def plot_curves(curves: Table, source: str | None, path: str | os.PathLike) -> None:
  """Draws what fields add to the logit along each axis, for the members and for every kind of reference.

  Args:
    curves: What `preferences.curve_table` returned.
    source: Where the survey comes from.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  pairs = dict.fromkeys(zip(curves['family'], curves['axis'], strict=True))
  lines = [(family, axis) for family, axis in pairs if axis != 'flux' or family == BIPOLE]
  figure = Figure(figsize=(1.2 + 2.1 * len(lines), 5.8), layout='constrained')
  panels = figure.subplots(len(FIXED), len(lines), squeeze=False)
  for column, (family, axis) in zip(panels.T, lines, strict=True):
    for fixed, axes in zip(FIXED, column, strict=True):
      chosen = (curves['family'] == family) & (curves['axis'] == axis) & (curves['fixed'] == fixed)
      _draw_groups(axes, curves[chosen], 'value', 'rise')
      axes.axhline(0, color='black', linewidth=0.6)
      axes.set_xscale('log')
      axes.tick_params(labelsize=8)
      if axis == 'flux':
        steps = np.unique(curves['value'][chosen])
        axes.set_xticks(steps, [f'{step:.0e}' for step in steps])
        axes.xaxis.set_minor_formatter(NullFormatter())
      else:
        _label_sizes(axes.xaxis, *axes.get_xlim())
      axes.set_title(family, fontsize=9)
      axes.set_xlabel(AXIS_LABELS[axis], fontsize=8)
  for axes, fixed in zip(panels[:, 0], FIXED, strict=True):
    axes.set_ylabel(f'{RISE_LABEL}\n{FIXED_LABELS[fixed]}', fontsize=9)
  _add_legend(figure, panels[0, 0])
  figure.suptitle(
    'Synthetic fields in quiet Sun, mean over the other axes; references turned to grow with flux as the members do. '
    f'{style.source_note(source)}',
    fontsize=10,
  )
  style.save(figure, path)


def plot_completeness(table: Table, limits: Table, source: str | None, path: str | os.PathLike) -> None:
  """Draws the probability of detection by the members, and the flux of one half over separation and ring for all.

  A dashed line shows where the peak of the bipoles passes that of the magnetograms.

  Args:
    table, limits: What `completeness.completeness_tables` returned.
    source: Where the survey comes from.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(13.0, 4.4), layout='constrained')
  surface, by_separation, by_ring = figure.subplots(1, 3, sharey=True)
  group = MEMBERS if MEMBERS in table['networks'] else table['networks'][0]
  members = table[(table['networks'] == group) & np.isfinite(table['separation_mm'])]
  separation, flux = (np.unique(members[name]) for name in ('separation_mm', 'flux_mx'))
  pod, peak = (np.asarray(members[name]).reshape(len(separation), len(flux)).T for name in ('pod', 'peak_gauss'))
  mesh = _draw_cells(surface, separation, flux, pod, vmin=0, vmax=1, cmap='viridis')
  surface.set_ylabel('Total unsigned flux of the bipole [Mx]')
  bounds = surface.get_ylim()
  most = table.meta['most_peak_gauss']
  if peak.min() < most < peak.max():
    surface.contour(separation, flux, peak, levels=[most], colors=style.RED, linestyles='--')
    surface.plot([], [], '--', color=style.RED, label=f'above: peak beyond {most:.0f} G')
    surface.legend(loc='lower right', fontsize=8, facecolor='0.3', labelcolor='white')
  figure.colorbar(mesh, ax=surface, label='Probability of detection')
  alarms = table.meta['false_alarms'][group]
  surface.set_title(
    f'{group}; false alarms {alarms["false_alarm_rate"]:.3f}, on other controls {alarms["unseen"]:.3f}\n'
    f'[{alarms["unseen_low"]:.3f}, {alarms["unseen_high"]:.3f}]',
    fontsize=9,
  )
  of_ring = np.isnan(limits['separation_mm'])
  rings = limits[of_ring]
  rings['middle_mm'] = np.sqrt((rings['inner_mm'] ** 2 + rings['outer_mm'] ** 2) / 2)  # Halves the area.
  for axes, rows, column in ((by_separation, limits[~of_ring], 'separation_mm'), (by_ring, rings, 'middle_mm')):
    for name in ('flux_mx', 'low', 'high'):
      rows[name] = np.clip(np.asarray(rows[name]), *bounds)  # What is not reached lies at the edge.
    _draw_groups(axes, rows, column, 'flux_mx')
    axes.set_title('Flux of which half is detected (at an edge: a bound)', fontsize=9)
  by_separation.set_xscale('log')
  for axes in (surface, by_separation):
    axes.set_xlabel('Separation of the poles [Mm]')
    _label_sizes(axes.xaxis, *axes.get_xlim())
  by_ring.set_xlabel('Distance from the middle of the map [Mm]')
  _add_legend(figure, by_separation)
  surface.set_ylim(bounds)
  figure.suptitle(f'Bipoles injected into control maps. {style.source_note(source)}', fontsize=10)
  style.save(figure, path)


def _draw_cells(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, **how: Any) -> QuadMesh:
  """Draws `[y, x]` values over logarithmic axes, each point in the middle of its cell."""
  x, y = (_cell_edges(np.asarray(at, float)) for at in (x, y))
  axes.set(xscale='log', yscale='log', xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
  return axes.pcolormesh(x, y, values, **how)


def _cell_edges(at: np.ndarray) -> np.ndarray:
  between = np.sqrt(at[1:] * at[:-1])
  return np.concatenate([[at[0] ** 2 / between[0]], between, [at[-1] ** 2 / between[-1]]])


def _draw_groups(axes: Axes, rows: Table, x: str, y: str) -> None:
  """Draws a line with its 95 % interval for each group of networks, the members on top."""
  for group in (each for each in COLOURS if each in rows['networks']):
    line = rows[rows['networks'] == group]
    low, high = (np.asarray(line[name]) for name in ('low', 'high'))
    order = 3 if group == MEMBERS else 2
    axes.plot(line[x], line[y], 'o-', color=COLOURS[group], markersize=3, linewidth=1.4, label=group, zorder=order)
    axes.fill_between(np.asarray(line[x]), low, high, color=COLOURS[group], alpha=0.18, linewidth=0)


def _add_legend(figure: Figure, axes: Axes) -> None:
  handles, labels = axes.get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), frameon=False, fontsize=9)


def _mean_at(rows: Table, width_mm: float, distance_mm: float) -> float:
  return float(np.mean(rows['rise'][(rows['width_mm'] == width_mm) & (rows['distance_mm'] == distance_mm)]))


def _label_sizes(axis: Axis, low: float, high: float) -> None:
  axis.set_ticks([tick for tick in TICKS if low <= tick <= high])
  axis.set_major_formatter(ScalarFormatter())
  axis.set_minor_formatter(NullFormatter())
  axis.set_minor_locator(LogLocator(subs=range(1, 10)))
  axis.set_tick_params(labelsize=8)


def _scientific(value: float) -> str:
  mantissa, exponent = f'{value:.1e}'.split('e')
  return rf'{mantissa}$\times$10$^{{{int(exponent)}}}$'
