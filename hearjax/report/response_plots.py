"""Figures of the response to synthetic fields, and of the completeness: functions of their tables."""

import os
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.planting import UNIT_MX
from hearjax.interpret.references import FIELD_METER
from hearjax.interpret.synthetic import BIPOLE, EXAMPLES, FIXED, TOTAL, WINDOW
from hearjax.report import style

FIXED_LABELS = {TOTAL: 'equal total flux', WINDOW: 'equal flux in the central window'}
AXIS_LABELS = {
  'width': 'Width of poles [Mm]',
  'distance': 'Distance of poles [Mm]',
  'scale': 'Scale [Mm]',
  'flux': 'Flux [Mx]',
}
RISE_LABEL = 'Rise of the logit [sd]'
TICKS = (3, 5, 10, 20, 40)  # [Mm]
SIDE_BY_SIDE = 4  # Panels.
DODGE = 0.02  # Between bars of neighbouring groups, of their place on the axis.


@style.in_style
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
  kinds = len(examples) // EXAMPLES
  blocks, columns = style.grid_of(kinds, SIDE_BY_SIDE)
  figure = Figure(figsize=(style.WIDTH, 1.3 + 2.05 * EXAMPLES * blocks), layout='constrained')
  panels = figure.subplots(EXAMPLES * blocks, columns, squeeze=False, sharex=True, sharey=True)
  # A kind of field goes down a column of one of the blocks.
  places = panels.reshape(blocks, EXAMPLES, columns).swapaxes(1, 2).reshape(-1, EXAMPLES)
  for axes in places[kinds:].flat:
    axes.set_axis_off()
  for axes, row in zip(places[:kinds].flat, examples, strict=True):
    image = style.draw_field(axes, np.asarray(row['field']), pixel_scale_mm)
    named = {'width': row['width_mm'], 'distance': row['distance_mm'], 'scale': row['scale_mm']}
    sizes = [f'{name} {value:.1f} Mm' for name, value in named.items() if np.isfinite(value)]
    axes.set_title('\n'.join([row['family'], *sizes]), fontsize=8.5)
  for axes in panels[-1]:
    axes.set_xlabel('west [Mm]')
  for axes in panels[:, 0]:
    axes.set_ylabel('north [Mm]')
  figure.colorbar(image, ax=panels, location='bottom', label='Field [G]', extend='both', shrink=0.6, aspect=40)
  figure.suptitle(
    f'Synthetic fields, their total unsigned flux {_scientific(UNIT_MX)} Mx. {style.source_note(source)}', fontsize=10
  )
  style.save(figure, path)


@style.in_style
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
  figure = Figure(figsize=(style.WIDTH, 0.9 + 2.9 * len(groups)), layout='constrained')
  panels = figure.subplots(len(groups), len(FIXED), squeeze=False, sharex=True, sharey=True)
  meshes: list[QuadMesh] = []
  for group, row in zip(groups, panels, strict=True):
    for fixed, axes in zip(FIXED, row, strict=True):
      shown = bipoles[(bipoles['networks'] == group) & (bipoles['fixed'] == fixed)]
      width, distance = (np.unique(shown[name]) for name in ('width_mm', 'distance_mm'))
      rise = np.array([[_mean_at(shown, x, y) for x in width] for y in distance])
      meshes.append(_draw_cells(axes, width, distance, rise, cmap=style.DIVERGING))
      axes.set_title(f'{group}, {FIXED_LABELS[fixed]}')
      for axis, low, high in ((axes.xaxis, *axes.get_xlim()), (axes.yaxis, *axes.get_ylim())):
        _label_sizes(axis, low, high)
  # One scale, symmetric about no rise, so that the panels can be compared.
  largest = max(float(np.abs(mesh.get_array()).max()) for mesh in meshes) or 1.0
  for mesh in meshes:
    mesh.set_clim(-largest, largest)
  figure.colorbar(meshes[0], ax=panels, label=RISE_LABEL, shrink=0.8)
  for axes in panels[-1]:
    axes.set_xlabel(AXIS_LABELS['width'])
  for axes in panels[:, 0]:
    axes.set_ylabel(AXIS_LABELS['distance'])
  figure.suptitle(f'Bipoles in quiet Sun, mean over their fluxes. {style.source_note(source)}')
  style.save(figure, path)


@style.in_style
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
  blocks, columns = style.grid_of(len(lines), SIDE_BY_SIDE)
  figure = Figure(figsize=(style.WIDTH, 1.0 + 2.2 * len(FIXED) * blocks), layout='constrained')
  panels = figure.subplots(len(FIXED) * blocks, columns, squeeze=False)
  # A family goes down a column of one of the blocks.
  places = panels.reshape(blocks, len(FIXED), columns).swapaxes(1, 2).reshape(-1, len(FIXED))
  for axes in places[len(lines) :].flat:
    axes.set_axis_off()
  for column, (family, axis) in zip(places, lines, strict=False):
    for fixed, axes in zip(FIXED, column, strict=True):
      chosen = (curves['family'] == family) & (curves['axis'] == axis) & (curves['fixed'] == fixed)
      style.draw_groups(axes, curves[chosen], 'value', 'rise', DODGE)
      axes.axhline(0, color='black', linewidth=0.6)
      axes.set_xscale('log')
      if axis == 'flux':
        steps = np.unique(curves['value'][chosen])
        axes.set_xticks(steps, [f'{step:.0e}' for step in steps])
        axes.xaxis.set_minor_formatter(NullFormatter())
      else:
        _label_sizes(axes.xaxis, *axes.get_xlim())
      axes.set_title(family)
      axes.set_xlabel(AXIS_LABELS[axis])
  for axes, fixed in zip(panels[:, 0], FIXED * blocks, strict=True):
    axes.set_ylabel(f'{RISE_LABEL}\n{FIXED_LABELS[fixed]}')
  style.add_legend(figure, panels[0, 0])
  figure.suptitle(
    'Synthetic fields in quiet Sun, mean over the other axes; references turned to grow with flux as the members do.\n'
    f'95 % over pairs and networks: band (members), bars. {style.source_note(source)}',
  )
  style.save(figure, path)


@style.in_style
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
  figure = Figure(figsize=(style.WIDTH, 7.2), layout='constrained')
  grid = figure.add_gridspec(2, 2)
  surface = figure.add_subplot(grid[0, 0])
  by_separation, by_ring = (figure.add_subplot(grid[1, column], sharey=surface) for column in (0, 1))
  by_ring.tick_params(labelleft=False)
  group = MEMBERS if MEMBERS in table['networks'] else table['networks'][0]
  members = table[(table['networks'] == group) & np.isfinite(table['separation_mm'])]
  separation, flux = (np.unique(members[name]) for name in ('separation_mm', 'flux_mx'))
  pod, peak = (np.asarray(members[name]).reshape(len(separation), len(flux)).T for name in ('pod', 'peak_gauss'))
  mesh = _draw_cells(surface, separation, flux, pod, vmin=0, vmax=1, cmap=style.SEQUENTIAL)
  for axes in (surface, by_separation):
    axes.set_ylabel('Total unsigned flux of the bipole [Mx]')
  bounds = surface.get_ylim()
  most = table.meta['most_peak_gauss']
  if peak.min() < most < peak.max():
    surface.contour(separation, flux, peak, levels=[most], colors=style.RED, linestyles='--')
    surface.plot([], [], '--', color=style.RED, label=f'above: peak beyond {most:.0f} G')
    surface.legend(loc='lower right', frameon=True, facecolor='0.3', labelcolor='white')
  figure.colorbar(mesh, cax=surface.inset_axes((1.03, 0.0, 0.06, 1.0)), label='Probability of detection')
  alarms = table.meta['false_alarms'][group]
  surface.set_title(
    f'{group}; false alarms {alarms["false_alarm_rate"]:.3f}, on other controls {alarms["unseen"]:.3f}\n'
    f'[{alarms["unseen_low"]:.3f}, {alarms["unseen_high"]:.3f}]',
  )
  of_ring = np.isnan(limits['separation_mm'])
  rings = limits[of_ring]
  rings['middle_mm'] = np.sqrt((rings['inner_mm'] ** 2 + rings['outer_mm'] ** 2) / 2)  # Halves the area.
  for axes, rows, column in ((by_separation, limits[~of_ring], 'separation_mm'), (by_ring, rings, 'middle_mm')):
    for name in ('flux_mx', 'low', 'high'):
      rows[name] = np.clip(np.asarray(rows[name]), *bounds)  # What is not reached lies at the edge.
    style.draw_groups(axes, rows, column, 'flux_mx', DODGE)
    axes.set_title('Flux of which half is detected\n(at an edge: a bound)')
  by_separation.set_xscale('log')
  for axes in (surface, by_separation):
    axes.set_xlabel('Separation of the poles [Mm]')
    _label_sizes(axes.xaxis, *axes.get_xlim())
  by_ring.set_xlabel('Distance from the middle of the map [Mm]')
  style.add_legend(figure, by_separation)
  surface.set_ylim(bounds)
  figure.suptitle(f'Bipoles injected into control maps; 95 % over pairs and networks. {style.source_note(source)}')
  style.save(figure, path)


def _draw_cells(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, **how: Any) -> QuadMesh:
  """Draws `[y, x]` values over logarithmic axes, each point in the middle of its cell."""
  x, y = (_cell_edges(np.asarray(at, float)) for at in (x, y))
  axes.set(xscale='log', yscale='log', xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
  return axes.pcolormesh(x, y, values, **how)


def _cell_edges(at: np.ndarray) -> np.ndarray:
  between = np.sqrt(at[1:] * at[:-1])
  return np.concatenate([[at[0] ** 2 / between[0]], between, [at[-1] ** 2 / between[-1]]])


def _mean_at(rows: Table, width_mm: float, distance_mm: float) -> float:
  return float(np.mean(rows['rise'][(rows['width_mm'] == width_mm) & (rows['distance_mm'] == distance_mm)]))


def _label_sizes(axis: Axis, low: float, high: float) -> None:
  axis.set_ticks([tick for tick in TICKS if low <= tick <= high])
  axis.set_major_formatter(ScalarFormatter())
  axis.set_minor_formatter(NullFormatter())
  axis.set_minor_locator(LogLocator(subs=range(1, 10)))


def _scientific(value: float) -> str:
  mantissa, exponent = f'{value:.1e}'.split('e')
  return rf'{mantissa}$\times$10$^{{{int(exponent)}}}$'
