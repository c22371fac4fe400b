"""Figures of attribution: a gallery of maps, composites by lead time, sanity checks, the fields of highest logit."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearjax.interpret.attribution_maps import AttributionMaps
from hearjax.interpret.composites import FAMILY_ERROR, Composite
from hearjax.report import style

NAMES = {
  'integrated_gradients': 'Integrated gradients',
  'gradient_x_input': 'Gradient x input',
  'smooth_grad': 'SmoothGrad x input',
  'grad_cam': 'Grad-CAM',
  'hires_cam': 'HiResCAM',
  'occlusion': 'Occlusion',
}
COLOURS = dict(zip(NAMES, (style.RED, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.BLACK), strict=True))
DIVERGING = 'RdBu_r'  # Red speaks for emergence, blue against it.
CLIPPED = 99.5  # Percentile of the strength at which a colour scale ends.
PANEL = 1.75  # Side of a map [inch].


# --- Gallery ----------------------------------------------------------------------------------------------------


def plot_gallery(attributed: AttributionMaps, rows: Sequence[int], path: str | os.PathLike) -> None:
  """Draws magnetograms beside what their pixels add to the logit by each method, a magnetogram per line.

  Args:
    attributed: What `attribute_run` returned.
    rows: Magnetograms to draw.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  survey, methods = attributed.survey, list(attributed.maps)
  figure = Figure(figsize=(PANEL * (len(methods) + 1) + 1.6, PANEL * len(rows) + 1.2), layout='constrained')
  panels = figure.subplots(len(rows), len(methods) + 1, squeeze=False, sharex=True, sharey=True)
  for line, row in zip(panels, rows, strict=True):
    image = style.draw_field(line[0], survey.field[row], survey.pixel_scale_mm)
    kind = 'PE' if survey.label[row] else 'NE'
    line[0].set_ylabel(
      f'{kind}, {survey.hours[row]:+.1f} h\nlogit {attributed.logit[row]:+.1f}\n\nNorth [Mm]', fontsize=8
    )
    for axes, method in zip(line[1:], methods, strict=True):
      added = attributed.contribution(method)[row]
      limit = _limit(added)
      style.draw_field(axes, added, survey.pixel_scale_mm, limit, DIVERGING)
      axes.text(0.03, 0.03, f'±{limit:.2g}', transform=axes.transAxes, fontsize=7)
  for axes, title in zip(panels[0], ['Field', *(NAMES[method] for method in methods)], strict=True):
    axes.set_title(title, fontsize=9)
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]', fontsize=8)
  for axes in panels.flat:
    axes.tick_params(labelsize=7)
  figure.colorbar(image, ax=panels[:, 0], location='left', label='Line-of-sight field [G]', shrink=0.6, extend='both')
  figure.suptitle(
    'What each pixel adds to the logit, by networks that did not see the region. Red: for emergence, blue: '
    f'against; the number is the end of the scale [logit per pixel].\n{style.source_note(survey.source)}',
    fontsize=9,
  )
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


def _limit(values: np.ndarray) -> float:
  return float(np.percentile(np.abs(values), CLIPPED)) or 1.0


# --- Composites -------------------------------------------------------------------------------------------------


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
  figure = Figure(figsize=(PANEL * n_columns + 2.0, PANEL * n_rows + 1.2), layout='constrained')
  panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
  for number, (name, stacked) in enumerate(composites.items()):
    block = panels[len(parts) * number : len(parts) * (number + 1)]
    limits = [_limit(np.stack([stacked.emerging, stacked.control]))] * 2 + [_limit(stacked.difference)]
    for line, (part, attribute), limit in zip(block, parts.items(), limits, strict=True):
      for axes, values in zip(line, getattr(stacked, attribute), strict=True):
        image = style.draw_field(axes, values, pixel_scale_mm, limit, DIVERGING)
        axes.tick_params(labelsize=7)
      line[0].set_ylabel(f'{part}\nNorth [Mm]', fontsize=8)
      if part != 'PE':  # Both classes share one scale.
        beside = line if part == 'PE - NE' else block[:2]
        figure.colorbar(image, ax=beside, label=labels[name], extend='both').ax.tick_params(labelsize=7)
    for axes, significant in zip(block[-1], stacked.significant, strict=True):
      _outline(axes, significant, pixel_scale_mm)
  for axes, hours, n in zip(panels[0], first.hours, first.n_pairs, strict=True):
    axes.set_title(f'{hours:+.1f} h, {n} pairs', fontsize=9)
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]', fontsize=8)
  figure.suptitle(
    f'Composites about the emergence site, south brought to the northern convention.\nOutlined: PE and NE differ, '
    f'{FAMILY_ERROR:.0%} over all pixels and times of a quantity.\n{note}',
    fontsize=9,
  )
  style.save(figure, path)


def _outline(axes: Axes, significant: np.ndarray, pixel_scale_mm: float) -> None:
  if not significant.any():
    return
  y, x = ((np.arange(size) - (size - 1) / 2) * pixel_scale_mm for size in significant.shape)
  axes.contour(x, y, significant.astype(float), levels=[0.5], colors='black', linewidths=0.9)


# --- Sanity -----------------------------------------------------------------------------------------------------


def plot_sanity(randomised: Table, curves: Table, path: str | os.PathLike) -> None:
  """Draws the rank correlation with randomised networks, and the deletion and insertion curves.

  Args:
    randomised: Columns method, network, signed, absolute (rank correlations).
    curves: Columns check, order, share, logit; meta key `survey_source`.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(11.0, 8.0), layout='constrained')
  upper, lower = figure.subplots(2, 2)
  networks = list(dict.fromkeys(randomised['network']))
  positions = np.arange(len(networks))
  titles = {'signed': 'Signed, smoothed', 'absolute': 'Absolute value, pixel by pixel'}
  for axes, kind in zip(upper, titles, strict=True):
    axes.axhline(0, color='0.4', linewidth=0.8)
    axes.axvline(0.5, color='0.4', linewidth=0.8, linestyle=':')
    for method in dict.fromkeys(randomised['method']):
      values = np.asarray(randomised[kind])[np.asarray(randomised['method']) == method]
      axes.plot(positions, values, marker='o', markersize=4, color=COLOURS[method], label=NAMES[method])
    axes.set_xticks(positions, [_network_label(network) for network in networks], fontsize=8)
    axes.set(ylim=(-0.3, 1.0), ylabel='Rank correlation with the trained network', title=titles[kind])
  for axes, check in zip(lower, ('deletion', 'insertion'), strict=True):
    for order in dict.fromkeys(curves['order']):
      rows = curves[(np.asarray(curves['check']) == check) & (np.asarray(curves['order']) == order)]
      look = {'random': {'color': '0.5', 'linestyle': '--'}, 'field': {'color': '0.2', 'linestyle': ':'}}
      label = {'random': 'Random order', 'field': 'Strongest field first'}.get(order, NAMES.get(order))
      axes.plot(rows['share'], rows['logit'], label=label, **look.get(order, {'color': COLOURS.get(order)}))
    done = 'set to 0 G' if check == 'deletion' else 'put into a map of 0 G'
    axes.set(xlabel=f'Share of the unsigned flux {done}', ylabel='Mean logit', title=check.capitalize())
  handles, labels = lower[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside lower center', ncols=4, frameon=False, fontsize=9)
  figure.suptitle(
    'Sanity of attribution: maps must change when weights do, and the logit when the marked flux does. '
    f'{style.source_note(curves.meta.get("survey_source"))}',
    fontsize=10,
  )
  style.save(figure, path)


def _network_label(network: str) -> str:
  if network == 'other':
    return 'other\nmembers'
  return 'logit\nrandom' if network == 'logit' else f'… to layer\n{int(network.rpartition("_")[2]) + 1}'


# --- Maximisation -----------------------------------------------------------------------------------------------


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
  figure = Figure(figsize=(PANEL * n_columns + 2.0, PANEL * len(fields) + 1.4), layout='constrained')
  panels = figure.subplots(len(fields), n_columns, squeeze=False, sharex=True, sharey=True)
  limit = _limit(np.concatenate(list(fields.values())))
  for line, name in zip(panels, fields, strict=True):
    for axes, start in zip(line, np.argsort(-logits[name]), strict=False):
      image = style.draw_field(axes, fields[name][start], pixel_scale_mm, limit)
      axes.set_title(f'logit {logits[name][start]:+.1f}', fontsize=8)
      axes.tick_params(labelsize=7)
    line[0].set_ylabel(f'{name}\nNorth [Mm]', fontsize=8)
  for axes in panels[-1]:
    axes.set_xlabel('West [Mm]', fontsize=8)
  figure.colorbar(image, ax=panels, label='Field [G]', extend='both', shrink=0.7)
  figure.suptitle(f'Fields of highest logit under constraints: what a network has learnt.\n{note}', fontsize=9)
  style.save(figure, path)
