"""Figures of what flux does to skill: skill among regions of equal flux, and within strata."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearjax.checks import UserError
from hearjax.report import style
from hearjax.report.style import label_of, style_of

TOLERANCE_DEX = 0.05
PALE = 0.45  # Opacity of what is of few regions.
DODGE_HOURS = 0.8  # Between the bars of the two sets.
STRATA_SIDE_BY_SIDE = 4  # Panels.
DODGE_STRATA = 0.15  # Between the bars of neighbouring models; strata are 1 apart.
SCORES = {'tss': ('True Skill Statistic', 0.0), 'auc': ('Area under the ROC curve', 0.5)}  # With that of chance.


@style.in_style
def plot_matched(table: Table, source: str, path: str | os.PathLike, tolerance_dex: float = TOLERANCE_DEX) -> None:
  """Draws the TSS of each model against time, of all regions and of those of equal flux, with 95 % intervals.

  Args:
    table: The first table of `matched_skill_table`, one of its tolerances being `inf`.
    source: Of the survey.
    path: PNG file to write.
    tolerance_dex: Which couples.

  Raises:
    UserError: The table lacks the tolerance or `inf`.
    OSError: The file cannot be written.
  """
  plain, matched = (table[np.isclose(table['tolerance_dex'], tolerance)] for tolerance in (np.inf, tolerance_dex))
  if not (len(plain) and len(matched)):
    known = ', '.join(f'{tolerance:g}' for tolerance in np.unique(table['tolerance_dex']))
    raise UserError(f'The figure needs the tolerances inf and {tolerance_dex:g} dex; the table has {known}.')
  models = list(dict.fromkeys(table['model']))
  lines, columns = style.grid_of(len(models))
  figure = Figure(figsize=(max(2.8 * columns, 6.0), 1.7 + 2.5 * lines), layout='constrained')
  panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
  for axes, model in zip(panels, models, strict=False):
    axes.axhline(0, color='0.4', linewidth=0.8)
    axes.axvline(0, color='0.4', linewidth=0.8, linestyle=':')
    colour, marker = style_of(model, models)
    rows = matched[matched['model'] == model]
    _draw(axes, plain[plain['model'] == model], -DODGE_HOURS / 2, style.GREY, marker, 'white')
    for small, alpha in ((False, 1.0), (True, PALE)):
      _draw(axes, rows[rows['small'] == small], DODGE_HOURS / 2, colour, marker, colour, alpha)
    for row in rows:
      axes.text(row['hours'], 1.08, f'{row["n_couples"]}', ha='center', va='top', fontsize=8, color='0.3')
    axes.set_title(label_of(model))
  for axes in panels[len(models) - columns : len(models)]:
    axes.tick_params(labelbottom=True)  # Those with nothing below them.
  for axes in panels[len(models) :]:
    axes.set_visible(False)
  panels[0].set_ylim(min(-0.3, np.nanmin(np.append(matched['tss_low'], plain['tss_low'])) - 0.05), 1.12)
  figure.supxlabel('Middle of the averaging window relative to emergence (dotted) [h]')
  figure.supylabel('True Skill Statistic')
  there, left = (
    ', '.join(f'{name} {_mean(rows[f"{name}_dex"]):+.3f}' for name in ('total', 'central')) for rows in (plain, matched)
  )
  figure.suptitle(
    f'Filled: couples of equal total and central unsigned flux (to {tolerance_dex:g} dex), their number on top,\n'
    'pale where few. Hollow: all regions. Bars 95 %.\n'
    f'Mean log flux EAR - CR [dex]: couples {left}; all {there}\n{style.source_note(source)}',
  )
  style.save(figure, path)


@style.in_style
def plot_strata(table: Table, source: str, path: str | os.PathLike) -> None:
  """Draws TSS and AUC within the strata of each quantity, with 95 % intervals.

  Args:
    table: What `strata_table` returned.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  models, names = (list(dict.fromkeys(table[column])) for column in ('model', 'quantity'))
  blocks, columns = style.grid_of(len(names), STRATA_SIDE_BY_SIDE)
  figure = Figure(figsize=(style.WIDTH, 1.0 + 4.2 * blocks), layout='constrained')
  panels = figure.subplots(len(SCORES) * blocks, columns, squeeze=False)
  # A quantity goes down a column of one of the blocks.
  places = panels.reshape(blocks, len(SCORES), columns).swapaxes(1, 2).reshape(-1, len(SCORES))
  for axes in places[len(names) :].flat:
    axes.set_axis_off()
  for number, (name, column) in enumerate(zip(names, places, strict=False)):
    rows = table[table['quantity'] == name]
    for axes, (score, (label, chance)) in zip(column, SCORES.items(), strict=True):
      axes.axhline(chance, color='0.4', linewidth=0.8)
      for index, model in enumerate(models):
        _draw_strata(axes, rows[rows['model'] == model], score, index - (len(models) - 1) / 2, style_of(model, models))
      axes.set_xlim(-0.6, np.sum(rows['model'] == models[0]) - 0.4)
      axes.set_xticks([])
      if number % columns:
        axes.tick_params(labelleft=False)
      else:
        axes.set_ylabel(label)
    first = rows[rows['model'] == models[0]]
    column[-1].set_xticks(
      range(len(first)),
      [f'{_digits(row["low"])} to\n{_digits(row["high"])}\n\n{row["n_ear"]} EAR\n{row["n_cr"]} CR' for row in first],
      fontsize=7.5,
    )
    column[0].set_title(name.replace(' [', '\n['))
  for row, (_, chance) in zip(places.T, SCORES.values(), strict=True):
    lowest = min(axes.get_ylim()[0] for axes in row[: len(names)])
    for axes in row:
      axes.set_ylim(top=1.03, bottom=min(chance - 0.25, lowest))
  handles = [
    figure.axes[0].errorbar([], [], [], color=colour, fmt=marker, markersize=5, label=label_of(model))
    for model, (colour, marker) in ((model, style_of(model, models)) for model in models)
  ]
  figure.suptitle(
    'Mean over the intervals before emergence; bars 95 % over pairs; hollow: few regions of a class\n'
    f'{style.source_note(source)}',
  )
  figure.legend(handles=handles, loc='outside lower center', ncols=3)
  style.save(figure, path)


def _draw(axes: Axes, rows: Table, dodge: float, colour: str, marker: str, face: str, alpha: float = 1.0) -> None:
  """Draws the TSS of one set against time."""
  value = np.asarray(rows['tss'])
  axes.errorbar(
    np.asarray(rows['hours']) + dodge,
    value,
    np.abs(np.stack([rows['tss_low'], rows['tss_high']]) - value),
    fmt=marker,
    color=colour,
    markerfacecolor=face,
    markersize=5,
    elinewidth=1.2,
    alpha=alpha,
  )


def _draw_strata(axes: Axes, rows: Table, score: str, place: float, look: tuple[str, str]) -> None:
  """Draws one score of one model, strata side by side."""
  colour, marker = look
  for stratum, row in enumerate(rows):
    bars = np.abs(np.array([[row[f'{score}_low']], [row[f'{score}_high']]]) - row[score])
    face = 'white' if row['small'] else colour
    x = stratum + place * DODGE_STRATA
    axes.errorbar(x, row[score], bars, fmt=marker, color=colour, markerfacecolor=face, markersize=5, elinewidth=1.2)


def _digits(value: float) -> str:
  """Returns a number with three digits and without an exponent."""
  return np.format_float_positional(value, precision=3, fractional=False, trim='-')


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan
