"""Figures of attribution: a gallery of maps, composites by lead time, sanity checks, the fields of highest logit."""

import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearjax.interpret.attribution_maps import AttributionMaps
from hearjax.interpret.composites import FAMILY_ERROR, Composite
from hearjax.interpret.sanity import ABSOLUTE, CHECKS, FIELD, RANDOM, RESEMBLANCE, SIGNED, STRANGERS
from hearjax.report import style

NAMES = {
  'expected_gradients': 'Expected gradients',
  'integrated_gradients': 'Integrated gradients',
  'gradient_x_input': 'Gradient x input',
  'smooth_grad': 'SmoothGrad x input',
  'occlusion': 'Occlusion',
}
COLOURS = dict(zip(NAMES, (style.RED, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE), strict=True))
COLOURS |= {FIELD: style.BLACK, RANDOM: style.GREY}
LINES = {SIGNED: '-', ABSOLUTE: '--'}
CLIPPED = 99.5  # Percentile of the strength at which a colour scale ends.
PANEL = 1.45  # Side of a map [inch].
COLUMNS = 14  # Letters of a title that an inch holds.


# --- Gallery ----------------------------------------------------------------------------------------------------


@style.in_style
def plot_gallery(attributed: AttributionMaps, rows: Sequence[int], path: str | os.PathLike) -> None:
  """Draws magnetograms beside what their pixels add to the logit by each method, a magnetogram per line.

  Args:
    attributed: What `attribute_subjects` returned.
    rows: Magnetograms to draw.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  survey, methods = attributed.survey, list(attributed.maps)
  figure = Figure(figsize=(max(PANEL * (len(methods) + 1) + 1.4, 5.6), PANEL * len(rows) + 1.8), layout='constrained')
  panels = _panels(figure, len(rows), len(methods) + 1)
  for line, row in zip(panels, rows, strict=True):
    image = style.draw_field(line[0], survey.field[row], survey.pixel_scale_mm)
    kind = 'PE' if survey.label[row] else 'NE'
    line[0].set_ylabel(
      f'{kind}, {survey.hours[row]:+.1f} h\nlogit {attributed.logit[row]:+.1f}\nNorth [Mm]', fontsize=8
    )
    for axes, method in zip(line[1:], methods, strict=True):
      added = attributed.contribution(method)[row]
      limit = _limit(added)
      style.draw_field(axes, added, survey.pixel_scale_mm, limit, style.DIVERGING)  # Red speaks for emergence.
      axes.text(0.03, 0.03, f'±{limit:.2g}', transform=axes.transAxes, fontsize=8)
  for axes, title in zip(panels[0], ['Field', *(NAMES[method] for method in methods)], strict=True):
    axes.set_title(title)
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]')
  figure.colorbar(
    image, ax=panels, location='bottom', label='Line-of-sight field [G]', shrink=0.6, aspect=35, extend='both'
  )
  said = (
    'What each pixel adds to the logit, by networks that did not see the region. Red: for emergence, blue: against; '
    f'the number is the end of the scale [logit per pixel]. {style.source_note(survey.source)}'
  )
  figure.suptitle(textwrap.fill(said, int(COLUMNS * figure.get_figwidth())))
  style.save(figure, path)


def gallery_rows(attributed: AttributionMaps, pairs: int = 3) -> list[int]:
  """Returns rows of both halves of some pairs at the last interval before emergence (else the first one there is).

  The pairs are spread over the logits of their emerging halves, from the surest to the least sure.
  """
  survey = attributed.survey
  before = survey.interval[survey.hours < 0]
  at = survey.interval == (before.max() if len(before) else survey.interval.min())
  emerging = np.flatnonzero(at & (survey.label == 1))
  emerging = emerging[np.argsort(-attributed.logit[emerging])]
  chosen = emerging[np.unique(np.linspace(0, len(emerging) - 1, min(pairs, len(emerging))).round().astype(int))]
  controls = [np.flatnonzero(at & (survey.label == 0) & (survey.pair == survey.pair[row])) for row in chosen]
  return [*chosen.tolist(), *np.concatenate(controls).tolist()]


def _panels(figure: Figure, rows: int, columns: int) -> np.ndarray:
  """Returns `[row, column]` axes for maps of one size, with ticks at the left and lower edge alone.

  Shared axes would do the same, but take matplotlib seconds for the 45 panels of composites.
  """
  panels = figure.subplots(rows, columns, squeeze=False)
  for axes in panels.flat:
    axes.tick_params(labelsize=7.5, pad=2)
  for axes in panels[:, 1:].flat:
    axes.set_yticks([])
  for axes in panels[:-1].flat:
    axes.set_xticks([])
  return panels


def _limit(values: np.ndarray) -> float:
  return float(np.percentile(np.abs(values), CLIPPED)) or 1.0


# --- Composites -------------------------------------------------------------------------------------------------


@style.in_style
def plot_composites(
  composites: Mapping[str, Composite],
  labels: Mapping[str, str],
  pixel_scale_mm: float,
  note: str,
  path: str | os.PathLike,
) -> None:
  """Draws the mean maps of both classes and their difference by lead time; what is significant is outlined.

  Args:
    composites: Name of a quantity -> its composite; all of the same intervals.
    labels: Name of a quantity -> what it is, with its unit.
    pixel_scale_mm: Side of a pixel [Mm].
    note: What is said of smoothing and source.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  first = next(iter(composites.values()))
  parts = {'PE': 'emerging', 'NE': 'control', 'PE - NE': 'difference'}
  n_rows, n_columns = len(parts) * len(composites), len(first.interval)
  side = min(PANEL, (style.WIDTH - 2.2) / n_columns)
  figure = Figure(figsize=(side * n_columns + 2.2, (side + 0.12) * n_rows + 1.2), layout='compressed')
  panels = _panels(figure, n_rows, n_columns)
  for number, (name, stacked) in enumerate(composites.items()):
    block = panels[len(parts) * number : len(parts) * (number + 1)]
    limits = [_limit(np.stack([stacked.emerging, stacked.control]))] * 2 + [_limit(stacked.difference)]
    for line, (part, attribute), limit in zip(block, parts.items(), limits, strict=True):
      signed = attribute == 'difference' or min(stacked.emerging.min(), stacked.control.min()) < 0
      for axes, values in zip(line, getattr(stacked, attribute), strict=True):
        image = style.draw_field(axes, values, pixel_scale_mm, limit, style.DIVERGING if signed else style.SEQUENTIAL)
        image.set_clim(-limit if signed else 0, limit)
      line[0].set_ylabel(f'{part}\nNorth [Mm]')
      if part != 'PE':  # Both classes share one scale.
        beside = line if part == 'PE - NE' else block[:2]
        figure.colorbar(image, ax=beside, label=labels[name], extend='both' if signed else 'max')
    for axes, significant in zip(block[-1], stacked.significant, strict=True):
      _outline(axes, significant, pixel_scale_mm)
  for axes, hours, n in zip(panels[0], first.hours, first.n_pairs, strict=True):
    axes.set_title(f'{hours:+.1f} h, {n} pairs')
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]')
  figure.suptitle(
    f'Composites about the emergence site, south brought to the northern convention.\nOutlined: PE and NE differ, '
    f'{FAMILY_ERROR:.0%} over all pixels and times of a quantity.\n{note}',
  )
  style.save(figure, path)


def _outline(axes: Axes, significant: np.ndarray, pixel_scale_mm: float) -> None:
  if not significant.any():
    return
  y, x = ((np.arange(size) - (size - 1) / 2) * pixel_scale_mm for size in significant.shape)
  axes.contour(x, y, significant.astype(float), levels=[0.5], colors='black', linewidths=0.9)


# --- Sanity -----------------------------------------------------------------------------------------------------


@style.in_style
def plot_sanity(checks: Table, curves: Table, source: str, path: str | os.PathLike) -> None:
  """Draws how alike the maps of networks are, and the deletion and insertion curves of the orders.

  Args:
    checks: `sanity.ecsv`.
    curves: `sanity_curves.ecsv`.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(style.WIDTH, 7.0), layout='constrained')
  grid = figure.add_gridspec(2, 2)
  first = figure.add_subplot(grid[0, :])
  others = [figure.add_subplot(grid[1, column]) for column in (0, 1)]
  alike = checks[checks['check'] == RESEMBLANCE]
  labels = []
  for place, (order, by) in enumerate(dict.fromkeys(zip(alike['order'], alike['by'], strict=True))):
    labels.append(f'{NAMES[order]},\n{by}')
    for row in alike[(alike['order'] == order) & (alike['by'] == by)]:
      colour, marker, _ = style.GROUP_STYLES['untrained' if row['against'] == STRANGERS else style.MEMBERS]
      first.plot([place, place], [row['low'], row['high']], color=colour, linewidth=2)
      first.plot(place, row['value'], marker, color=colour)
  for group, label in ((style.MEMBERS, 'other members'), ('untrained', 'untrained networks')):
    colour, marker, _ = style.GROUP_STYLES[group]
    first.plot([], [], marker, color=colour, label=label)
  first.axhline(0, color='0.4', linewidth=0.8)
  first.set_xticks(range(len(labels)), labels)
  first.set_xlim(-0.5, len(labels) - 0.5)
  first.set(
    ylabel='Rank correlation of the attribution',
    title='Resemblance; bars 95 % over pairs and networks',
    ylim=(-0.3, 1.0),
  )
  first.legend(fontsize=8)
  for axes, check in zip(others, CHECKS, strict=True):
    of_check = curves[curves['check'] == check]
    for order, by in dict.fromkeys(zip(of_check['order'], of_check['by'], strict=True)):
      rows = of_check[(of_check['order'] == order) & (of_check['by'] == by)]
      label = order if order in (FIELD, RANDOM) else f'{NAMES[order]}, {by}'
      line = {FIELD: '-.', RANDOM: ':'}.get(order) or LINES[by]
      axes.plot(rows['share'], rows['logit'], line, color=COLOURS[order], label=label)
    done = 'set to 0 G' if check == 'deletion' else 'put in'
    axes.set(xlabel=f'Share of the flux {done}', ylabel='Logit less that of the whole map [sd]')
    axes.set_title(check.capitalize())
  figure.legend(*others[0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
  figure.suptitle(style.source_note(source))
  style.save(figure, path)


# --- Maximisation -----------------------------------------------------------------------------------------------


@style.in_style
def plot_maximisation(
  fields: Mapping[str, np.ndarray],
  logits: Mapping[str, np.ndarray],
  pixel_scale_mm: float,
  note: str,
  path: str | os.PathLike,
) -> None:
  """Draws the fields of highest logit, a member per line, the highest on the left.

  Args:
    fields: Name of a member -> `[start, y, x]` field [G].
    logits: Name of a member -> `[start]` logit.
    pixel_scale_mm: Side of a pixel [Mm].
    note: What is said of the constraints and the source.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  n_columns = min(5, *(len(values) for values in logits.values()))
  figure = Figure(figsize=(min(PANEL * n_columns + 1.6, style.WIDTH), PANEL * len(fields) + 1.4), layout='constrained')
  panels = figure.subplots(len(fields), n_columns, squeeze=False, sharex=True, sharey=True)
  limit = _limit(np.concatenate(list(fields.values())))
  for line, name in zip(panels, fields, strict=True):
    for axes, start in zip(line, np.argsort(-logits[name]), strict=False):
      image = style.draw_field(axes, fields[name][start], pixel_scale_mm, limit)
      axes.set_title(f'logit {logits[name][start]:+.1f}')
      axes.tick_params(labelsize=7)
    line[0].set_ylabel(f'{name}\nNorth [Mm]')
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]')
  figure.colorbar(image, ax=panels, label='Field [G]', extend='both', shrink=0.7)
  figure.suptitle(f'Fields of highest logit under constraints: what a network has learnt.\n{note}')
  style.save(figure, path)
