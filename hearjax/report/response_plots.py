"""Figures of the response to synthetic magnetograms: the fields, the planes of scale and strength, the completeness."""

import os
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from hearjax.interpret.response import FIXED, Plane
from hearjax.report import style

STRENGTH_LABELS = {'peak': 'Peak |B| [G]', 'flux': 'Total unsigned flux [Mx]'}
BACKGROUND_LABELS = {'none': 'on nothing', 'noise': 'on noise', 'quiet': 'in quiet Sun'}
HATCH = '////'
# Of a maximum, by whether it has the flux and the peak of training magnetograms.
STARS = {
  True: {'marker': '*', 'ms': 11, 'linestyle': '', 'color': 'white', 'mec': 'black', 'mew': 0.8},
  False: {'marker': '*', 'ms': 11, 'linestyle': '', 'color': 'black', 'mec': 'white', 'mew': 0.8},
}
SCALE_TICKS = (3, 5, 10, 20, 40)  # [Mm]


def plot_fields(
  examples: dict[str, Sequence[tuple[float, np.ndarray]]],
  pixel_scale_mm: float,
  flux_mx: float,
  path: str | os.PathLike,
  source: str | None = None,
) -> None:
  """Draws example fields, a column for each family and the scale growing downwards, all in one grey scale.

  Args:
    examples: Family -> scale [Mm] and `[y, x]` field [G] of each example; as many for each family.
    pixel_scale_mm: Side of a pixel [Mm].
    flux_mx: Total unsigned flux of every field [Mx], for the title.
    path: PNG file to write.
    source: Where the survey comes from whose fluxes they have.

  Raises:
    OSError: The file cannot be written.
  """
  rows, columns = len(next(iter(examples.values()))), len(examples)
  figure = Figure(figsize=(1.0 + 1.9 * columns, 0.9 + 1.9 * rows), layout='constrained')
  panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
  for column, (family, fields) in zip(panels.T, examples.items(), strict=True):
    for axes, (scale, field) in zip(column, fields, strict=True):
      image = style.draw_field(axes, field, pixel_scale_mm)
      axes.set_title(f'{scale:.1f} Mm, peak {np.abs(field).max():.0f} G', fontsize=8)
      axes.tick_params(labelsize=8)
    column[0].set_title(f'{_name(family)}\n{column[0].get_title()}', fontsize=8)
    column[-1].set_xlabel('west [Mm]', fontsize=8)
  for axes in panels[:, 0]:
    axes.set_ylabel('north [Mm]', fontsize=8)
  figure.colorbar(image, ax=panels, label='Field [G]', extend='both', fraction=0.02)
  figure.suptitle(
    f'Synthetic fields of equal total unsigned flux, {_scientific(flux_mx)} Mx, as in the training magnetograms.\n'
    f'{style.source_note(source)}',
    fontsize=10,
  )
  style.save(figure, path)


def plot_response(planes: Sequence[Plane], source: str | None, path: str | os.PathLike) -> None:
  """Draws the change of the logit over scale and strength, a column for each family, at fixed peak and at fixed flux.

  What has not the flux and the peak of training magnetograms is hatched; a star marks the maximum of the members'
  mean, which at the edge of a plane is a bound. It is black where it lies beyond the training magnetograms.

  Args:
    planes: What `response.respond` yielded for one background.
    source: Where the survey comes from.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  families = list(dict.fromkeys(plane.family for plane in planes))
  figure = Figure(figsize=(1.6 + 2.1 * len(families), 5.8), layout='constrained')
  panels = figure.subplots(len(FIXED), len(families), squeeze=False, sharey='row')
  largest = max(np.abs(plane.change.mean(axis=0)).max() for plane in planes) or 1.0
  norm = TwoSlopeNorm(0, -largest, largest)
  for plane in planes:
    axes = panels[FIXED.index(plane.fixed), families.index(plane.family)]
    change = plane.change.mean(axis=0)
    mesh = axes.pcolormesh(plane.scale_mm, plane.strength, change.T, norm=norm, cmap='PuOr_r', shading='nearest')
    axes.set(xscale='log', yscale='log')
    _label_scales(axes)
    if not plane.inside.all():
      axes.contourf(plane.scale_mm, plane.strength, ~plane.inside.T, levels=[0.5, 1.5], colors='none', hatches=[HATCH])
    if 0 < plane.inside.sum() < plane.inside.size:
      axes.contour(plane.scale_mm, plane.strength, plane.inside.T, levels=[0.5], colors='black', linewidths=1.2)
    scale, strength = np.unravel_index(change.argmax(), change.shape)
    look = STARS[bool(plane.inside[scale, strength])]
    axes.plot(plane.scale_mm[scale], plane.strength[strength], clip_on=False, **look)
    axes.set_title(_name(plane.family) if plane.fixed == FIXED[0] else '', fontsize=9)
    axes.set_xlabel('Scale [Mm]' if plane.fixed == FIXED[-1] else '', fontsize=9)
  for axes, fixed in zip(panels[:, 0], FIXED, strict=True):
    axes.set_ylabel(f'{STRENGTH_LABELS[fixed]}, kept', fontsize=9)
  figure.colorbar(mesh, ax=panels, label='Logit less that of the background', fraction=0.025)
  entries = [
    Patch(facecolor='none', edgecolor='black', hatch=HATCH, label='flux or peak outside that of training magnetograms'),
    Line2D([], [], label='maximum (a bound at an edge)', **STARS[True]),
    Line2D([], [], label='maximum outside that range', **STARS[False]),
  ]
  figure.legend(handles=entries, loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  members = len(planes[0].change)
  behind = BACKGROUND_LABELS[planes[0].background]
  figure.suptitle(f'Synthetic fields {behind}: mean of {members} networks. {style.source_note(source)}', fontsize=10)
  style.save(figure, path)


def plot_completeness(table: Table, limits: Table, path: str | os.PathLike) -> None:
  """Draws the probability of detection over flux and separation, and the flux at which it is one half.

  A dashed line shows where the peak of the bipoles passes that of the training magnetograms.

  Args:
    table: What `completeness.completeness_table` returned, with the meta key `survey_source` besides.
    limits: What `completeness.limit_table` returned.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  flux, separation = (np.unique(table[name]) for name in ('flux_mx', 'separation_mm'))
  figure = Figure(figsize=(6.4, 4.8), layout='constrained')
  axes = figure.subplots()
  pod = np.asarray(table['pod']).reshape(len(flux), len(separation))
  mesh = axes.pcolormesh(separation, flux, pod, vmin=0, vmax=1, cmap='viridis', shading='nearest')
  axes.set(xscale='log', yscale='log')
  bounds = axes.get_ylim()
  low, middle, high = (np.asarray(limits[name]) for name in ('flux_mx_low', 'flux_mx', 'flux_mx_high'))
  known = np.isfinite(middle) & (middle > 0)
  low, middle, high = (np.clip(values[known], *bounds) for values in (low, middle, high))
  axes.errorbar(
    np.asarray(limits['separation_mm'])[known],
    middle,
    np.stack([middle - low, high - middle]),
    color='white',
    marker='o',
    markersize=4,
    label='half of them detected (95 % over regions)',
  )
  axes.set(xlabel='Separation of the poles [Mm]', ylabel='Total unsigned flux of the bipole [Mx]', ylim=bounds)
  _label_scales(axes)
  peak, limit = np.asarray(table['peak_gauss']).reshape(pod.shape), table.meta['training_peak_gauss']
  if peak.min() < limit < peak.max():
    axes.contour(separation, flux, peak, levels=[limit], colors=style.RED, linestyles='--')
    axes.plot([], [], '--', color=style.RED, label=f'above: peak beyond {limit:.0f} G, that of the training')
  if axes.get_legend_handles_labels()[1]:
    axes.legend(loc='lower right', fontsize=8, facecolor='0.3', labelcolor='white')
  figure.colorbar(mesh, label='Probability of detection')
  axes.set_title(
    f'Bipoles injected into control regions, false-alarm rate {table.meta["false_alarm_rate"]:.3f}, '
    f'{table["n"][0]} trials each\n{style.source_note(table.meta.get("survey_source"))}',
    fontsize=10,
  )
  style.save(figure, path)


def _label_scales(axes) -> None:
  low, high = axes.get_xlim()
  axes.set_xticks([tick for tick in SCALE_TICKS if low <= tick <= high])
  axes.xaxis.set_major_formatter(ScalarFormatter())
  axes.xaxis.set_minor_formatter(NullFormatter())
  axes.xaxis.set_minor_locator(LogLocator(subs=range(1, 10)))
  axes.tick_params(labelsize=8)


def _name(family: str) -> str:
  return family.replace('_', ' ')


def _scientific(value: float) -> str:
  mantissa, exponent = f'{value:.1e}'.split('e')
  return rf'{mantissa}$\times$10$^{{{int(exponent)}}}$'
