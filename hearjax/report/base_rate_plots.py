"""Figures of what forecasts are worth where few places emerge, and of the first alarm."""

import os

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearjax.checks import UserError
from hearjax.report import style
from hearjax.report.style import label_of, style_of
from hearjax.verification.base_rates import headline_rate, value_curve

RATIOS = np.geomspace(1e-4, 0.999, 400)
DODGE = 1.06  # Between the bars of neighbouring models, as a factor of the rate.
DODGE_HOURS = 0.4
KINDS = {'any': ('-', 'any alarm so far'), 'kept': ('--', 'kept until emergence')}
CLASSES = {'ear': 'EAR', 'cr': 'CR (false)'}


@style.in_style
def plot_base_rates(table: Table, source: str | None, path: str | os.PathLike) -> None:
  """Draws precision against base rate, and value against cost-loss ratio, at the last interval before emergence.

  Args:
    table: What `base_rate_table` returned with one rule, for one model or stacked for several.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    UserError: The table has no interval before emergence.
    OSError: The file cannot be written.
  """
  before = table[np.asarray(table['hours']) < 0]
  if not len(before):
    raise UserError('The table has no interval before emergence (hours < 0): there is nothing to draw.')
  rows = before[before['interval'] == before['interval'].max()]
  rate = headline_rate(rows)
  models = list(dict.fromkeys(rows['model']))
  figure = Figure(figsize=(style.WIDTH, 4.6), layout='constrained')
  left, right = figure.subplots(1, 2)
  rates = np.unique(rows['rate'])
  left.plot(rates, rates, color='0.4', linewidth=0.8, linestyle=':', label='chance')
  right.axhline(0, color='0.4', linewidth=0.8)
  right.axvline(rate, color='0.4', linewidth=0.8, linestyle=':')
  for index, model in enumerate(models):
    of_model = rows[rows['model'] == model]
    of_model.sort('rate')
    colour, marker = style_of(model, models)
    _bars(
      left,
      np.asarray(of_model['rate']) * DODGE ** (index - (len(models) - 1) / 2),
      of_model,
      'precision',
      color=colour,
      marker=marker,
      linewidth=1,
      label=label_of(model),
    )
    chosen = of_model[np.isclose(of_model['rate'], rate)][0]
    value = value_curve(chosen['pod'], chosen['pofd'], rate, RATIOS)
    right.plot(RATIOS, value, marker, linestyle='-', color=colour, markevery=(4 * index, 25), markersize=4)
  left.set(
    xscale='log',
    yscale='log',
    xlabel='Base rate (share of places that emerge)',
    ylabel='Precision (share of alarms that are right)',
    ylim=(rates.min() / 2, 1.3),
  )
  right.set(
    xscale='log',
    xlabel='Cost-loss ratio (dotted: the base rate)',
    ylabel='Relative economic value',
    title=f'Where {100 * rate:.3g} % of the places emerge',
    xlim=(RATIOS[0], 1),
    ylim=(-0.1, 1.03),
  )
  figure.suptitle(
    f'Forecasts at {np.mean(rows["hours"]):+.1f} h; bars 95 % over pairs. {style.source_note(source)}', fontsize=10
  )
  figure.legend(loc='outside lower center', ncols=3)
  style.save(figure, path)


@style.in_style
def plot_first_alarm(table: Table, source: str | None, path: str | os.PathLike) -> None:
  """Draws the share of EARs and CRs that have had their first alarm against time, a panel for each model.

  Args:
    table: What `first_alarm_table` returned with one rule, for one model or stacked for several.
    source: Of the survey.
    path: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  models = list(dict.fromkeys(table['model']))
  lines, columns = style.grid_of(len(models))
  figure = Figure(figsize=(max(2.8 * columns, 6.0), 1.4 + 2.5 * lines), layout='constrained')
  panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
  for axes, model in zip(panels, models, strict=False):
    colour, marker = style_of(model, models)
    series = [(name, kind) for name in CLASSES for kind in KINDS]
    for index, (name, kind) in enumerate(series):
      rows = table[(table['model'] == model) & (table['alarm'] == kind)]
      rows.sort('hours')
      _bars(
        axes,
        np.asarray(rows['hours']) + (index - (len(series) - 1) / 2) * DODGE_HOURS,
        rows,
        name,
        color=colour if name == 'ear' else style.GREY,
        marker=marker,
        markerfacecolor='white' if kind == 'kept' else None,
        linestyle=KINDS[kind][0],
        linewidth=1.2,
      )
    last = rows[-1]
    axes.set_title(f'{label_of(model)}\n({last["n_ear"]} EAR, {last["n_cr"]} CR)')
  for axes in panels[len(models) - columns : len(models)]:
    axes.tick_params(labelbottom=True)  # Those with nothing below them.
    axes.set_xlabel('Time from emergence [h]')
  for axes in panels[len(models) :]:
    axes.set_visible(False)
  panels[0].set_ylim(-0.03, 1.03)
  handles = [
    panels[0].plot(
      [], [], color=style.BLACK if name == 'ear' else style.GREY, linestyle=line, label=f'{shown}, {said}'
    )[0]
    for name, shown in CLASSES.items()
    for line, said in KINDS.values()
  ]
  figure.supylabel('Share of regions warned of by then')
  figure.suptitle(f'First alarm before emergence; bars 95 % over pairs\n{style.source_note(source)}')
  figure.legend(handles=handles, loc='outside lower center', ncols=2)
  style.save(figure, path)


def _bars(axes: Axes, x: np.ndarray, rows: Table, name: str, **look: object) -> None:
  """Draws a column of a table with its 95 % intervals."""
  value = np.asarray(rows[name])
  bars = np.abs(np.stack([rows[f'{name}_low'], rows[f'{name}_high']]) - value)
  axes.errorbar(x, value, bars, markersize=5, elinewidth=1, **look)
