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
from hearjax.report.style import label_of, style_of
from hearjax.verification.calibration import EACH, HALF, ONE, OWN, calibrate
from hearjax.verification.reliability import reliability_curve

THRESHOLDS = {
  OWN: 'threshold of the model',
  HALF: 'threshold 0.5',
  ONE: 'one threshold for all lead times',
  EACH: 'calibrated for each lead time',
}
DODGE_HOURS = 0.35  # Between the bars of neighbouring models, which would hide each other.
BAND_RESAMPLES = 200


@style.in_style
def plot_skill(skill: Table, path: str | os.PathLike, rule: str = EACH) -> None:
  """Draws the TSS of each model against time, with both 95 % intervals; time runs to the right, towards emergence.

  Args:
    skill: What `skill_table` returned, with the meta key `survey_source`.
    path: PNG file to write.
    rule: Which threshold, one of `calibration.RULES`.

  Raises:
    OSError: The file cannot be written.
  """
  skill = skill[skill['threshold_rule'] == rule]
  models = list(dict.fromkeys(skill['model']))
  figure = Figure(figsize=(style.WIDTH, 5.0), layout='constrained')
  axes = figure.subplots()
  axes.axhline(0, color='0.4', linewidth=0.8)
  axes.axvline(0, color='0.4', linewidth=0.8, linestyle=':')
  for index, model in enumerate(models):
    rows = skill[skill['model'] == model]
    rows.sort('hours')
    colour, marker = style_of(model, models)
    hours = np.asarray(rows['hours']) + (index - (len(models) - 1) / 2) * DODGE_HOURS
    axes.plot(hours, rows['tss'], color=colour, linewidth=1, alpha=0.6)
    for kind, width, name in (('tss_refit', 0.8, None), ('tss', 2.2, label_of(model))):
      bars = np.abs(np.stack([rows[f'{kind}_low'], rows[f'{kind}_high']]) - np.asarray(rows['tss']))
      axes.errorbar(hours, rows['tss'], bars, fmt=marker, color=colour, markersize=5, elinewidth=width, label=name)
  lowest = np.nanmin(np.append(skill['tss_refit_low'], 0))
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
  n_pairs = skill['n_pairs']
  n_pairs = f'{min(n_pairs)}' if min(n_pairs) == max(n_pairs) else f'{min(n_pairs)} to {max(n_pairs)}'
  axes.set_title(
    f'{n_pairs} pairs, {THRESHOLDS[rule]}; bars: 95 % over pairs, thin over folds and training, too\n'
    f'{style.source_note(skill.meta.get("survey_source"))}',
  )
  figure.legend(loc='outside lower center', ncols=3)
  style.save(figure, path)


@style.in_style
def plot_reliability(tables: Sequence[Table], interval: int, path: str | os.PathLike) -> None:
  """Draws the ROC curves of all models, and the reliability of each, at one interval.

  Reliability is of the probability as it came, and of the calibrated one with its 95 % band over pairs.

  Args:
    tables: Predictions tables.
    interval: Which interval.
    path: PNG file to write.

  Raises:
    UserError: No model has forecasts for both classes at the interval.
    OSError: The file cannot be written.
  """
  models = [table.meta['model'] for table in tables]
  parts = {}
  for model, table in zip(models, tables, strict=True):
    averaged = calibrate(table)
    part = averaged[averaged['interval'] == interval]
    if len(set(part['label'])) == 2:
      parts[model] = part
  if not parts:
    raise UserError(f'No model has forecasts for both classes at interval {interval}: there is no ROC curve to draw.')
  lines, columns = style.grid_of(len(parts) + 1)
  figure = Figure(figsize=(2.8 * columns, 2.9 * lines + 0.4), layout='constrained')
  panels = figure.subplots(lines, columns, squeeze=False).ravel()
  for axes in panels[len(parts) + 1 :]:
    axes.remove()
  for axes in panels[: len(parts) + 1]:
    axes.plot([0, 1], [0, 1], color='0.6', linewidth=0.8, linestyle=':')
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal')
  panels[0].set(xlabel='False alarm rate (POFD)', ylabel='Detection rate (POD)', title='ROC')
  for axes, (model, part) in zip(panels[1:], parts.items(), strict=False):
    colour, marker = style_of(model, models)
    false_alarms, hits, _ = roc_curve(part['label'], part['probability'], drop_intermediate=False)
    panels[0].plot(false_alarms, hits, color=colour, marker=marker, markevery=0.15, markersize=4, label=label_of(model))
    axes.set(xlabel='Forecast probability', ylabel='Observed frequency', title=label_of(model))
    _draw_reliability(axes, part, colour)
  panels[0].legend(loc='lower right', frameon=True, edgecolor='none', fontsize=8)
  panels[1].legend(loc='upper left', frameon=True, edgecolor='none', fontsize=8)
  figure.suptitle(f'Interval TI{interval:+03d}. {style.source_note(tables[0].meta.get("survey_source"))}')
  style.save(figure, path)


def _draw_reliability(axes: Axes, part: Table, colour: str) -> None:
  plain, calibrated = (
    reliability_curve(np.asarray(part['label']), np.asarray(part[name]), np.asarray(part['pair_id']), resamples, 0)
    for name, resamples in (('probability', 1), ('calibrated', BAND_RESAMPLES))
  )
  axes.plot(plain['probability'], plain['frequency'], color='0.5', linewidth=1, label='as it came')
  axes.plot(calibrated['probability'], calibrated['frequency'], color=colour, linewidth=1.6, label='calibrated, 95 %')
  axes.fill_between(
    calibrated['probability'], calibrated['low'], calibrated['high'], color=colour, alpha=style.BAND, linewidth=0
  )
