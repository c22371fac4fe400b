"""Figures of skill: TSS against time, ROC and reliability."""

import os
from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from hearjax.checks import UserError
from hearjax.report import style
from hearjax.verification.predictions import average_seeds
from hearjax.verification.skill import reliability

LABELS = {
  'cnn': 'CNN',
  'da_flux': 'DA, unsigned flux',
  'da_linear': 'DA, linear',
  'da_quadratic': 'DA, quadratic',
  'da_kernel': 'DA, kernel density',
}
# Shapes say the same again.
STYLES = {
  'cnn': (style.RED, 'o'),
  'da_flux': (style.BLUE, 's'),
  'da_linear': (style.GREEN, '^'),
  'da_quadratic': (style.PURPLE, 'v'),
  'da_kernel': (style.BLACK, 'D'),
}
OTHER_STYLES = ((style.ORANGE, 'P'), (style.SKY, 'X'), (style.GREY, '*'))
DODGE_HOURS = 0.35  # Between the bars of neighbouring models, which would hide each other.
RELIABILITY_BINS = 6


def label_of(model: str) -> str:
  """Returns what a model is called in a figure."""
  return LABELS.get(model, style.literal(model))


def plot_skill(skill: Table, path: str | os.PathLike, rule: str = 'train') -> None:
  """Draws the TSS of each model against time, with its 95 % interval; time runs to the right, towards emergence.

  Args:
    skill: What `skill_table` returned, with the meta key `survey_source`.
    path: PNG file to write.
    rule: Which threshold: `train` or `0.5`.

  Raises:
    OSError: The file cannot be written.
  """
  skill = skill[skill['threshold_rule'] == rule]
  models = list(dict.fromkeys(skill['model']))
  figure = Figure(figsize=(7.2, 4.6), layout='constrained')
  axes = figure.subplots()
  axes.axhline(0, color='0.4', linewidth=0.8)
  axes.axvline(0, color='0.4', linewidth=0.8, linestyle=':')
  for index, model in enumerate(models):
    rows = skill[skill['model'] == model]
    rows.sort('hours')
    colour, marker = _style_of(model, models)
    hours = np.asarray(rows['hours']) + (index - (len(models) - 1) / 2) * DODGE_HOURS
    bars = np.abs(np.stack([rows['tss_low'], rows['tss_high']]) - np.asarray(rows['tss']))
    axes.plot(hours, rows['tss'], color=colour, linewidth=1, alpha=0.6)
    axes.errorbar(
      hours,
      rows['tss'],
      bars,
      fmt=marker,
      color=colour,
      markersize=5,
      elinewidth=1.2,
      label=label_of(model),
    )
  lowest = np.nanmin(np.append(skill['tss_low'], 0))
  axes.set(
    xlabel='Middle of the averaging window relative to emergence [h]',
    ylabel='True Skill Statistic',
    ylim=(min(-0.1, lowest - 0.05), 1.05),
  )
  axes.annotate(
    'emergence ',
    (0, 0.02),
    xycoords=('data', 'axes fraction'),
    ha='right',
    color='0.4',
  )
  threshold = 'threshold chosen in training' if rule == 'train' else f'threshold {rule}'
  n_pairs = skill['n_pairs']
  n_pairs = f'{min(n_pairs)}' if min(n_pairs) == max(n_pairs) else f'{min(n_pairs)} to {max(n_pairs)}'
  axes.set_title(
    f'{n_pairs} pairs, {threshold}, bars 95 % over pairs\n{style.source_note(skill.meta.get("survey_source"))}',
    fontsize=10,
  )
  figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  style.save(figure, path)


def plot_reliability(tables: Sequence[Table], interval: int, path: str | os.PathLike) -> None:
  """Draws the ROC curve and the reliability of each model at one interval.

  Args:
    tables: Predictions tables.
    interval: Which interval.
    path: PNG file to write.

  Raises:
    UserError: No model has forecasts for both classes at the interval.
    OSError: The file cannot be written.
  """
  figure = Figure(figsize=(9.0, 4.8), layout='constrained')
  left, right = figure.subplots(1, 2)
  for axes in (left, right):
    axes.plot([0, 1], [0, 1], color='0.6', linewidth=0.8, linestyle=':')
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal')
  models = [table.meta['model'] for table in tables]
  for model, table in zip(models, tables, strict=True):
    averaged = average_seeds(table)
    part = averaged[averaged['interval'] == interval]
    if len(set(part['label'])) == 2:
      _draw_model(left, right, part, model, _style_of(model, models))
  handles, labels = right.get_legend_handles_labels()
  if not handles:
    raise UserError(f'No model has forecasts for both classes at interval {interval}: there is no ROC curve to draw.')
  left.set(xlabel='False alarm rate (POFD)', ylabel='Detection rate (POD)', title='ROC')
  right.set(xlabel='Forecast probability', ylabel='Observed frequency', title='Reliability (bars: 1 standard error)')
  figure.suptitle(f'Interval TI{interval:+03d}. {style.source_note(tables[0].meta.get("survey_source"))}', fontsize=10)
  figure.legend(handles, labels, loc='outside lower center', ncols=3, frameon=False, fontsize=9)
  style.save(figure, path)


def _draw_model(left: Axes, right: Axes, part: Table, model: str, look: tuple[str, str]) -> None:
  colour, marker = look
  false_alarms, hits, _ = roc_curve(part['label'], part['probability'], drop_intermediate=False)
  left.plot(false_alarms, hits, color=colour, linewidth=1.4)
  bins = reliability(part['label'], part['probability'], RELIABILITY_BINS)
  error = np.sqrt(bins['frequency'] * (1 - bins['frequency']) / bins['n'])
  right.errorbar(
    bins['probability'],
    bins['frequency'],
    error,
    color=colour,
    marker=marker,
    markersize=5,
    linewidth=1,
    label=label_of(model),
  )


def _style_of(model: str, models: Sequence[str]) -> tuple[str, str]:
  others = [name for name in models if name not in STYLES]
  return STYLES[model] if model in STYLES else OTHER_STYLES[others.index(model) % len(OTHER_STYLES)]
