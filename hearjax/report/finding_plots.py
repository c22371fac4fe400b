"""Figure of the findings: every claim with its effect, beside the same of what cannot have it, and the verdict."""

import os
import textwrap

from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearjax.interpret.findings import BESIDE, CONTRADICTED, SUPPORTED, UNKNOWN
from hearjax.report import style

ROW = 0.88  # Height of a claim [inch].
VERDICTS = {SUPPORTED: style.GREEN, CONTRADICTED: style.WINE, UNKNOWN: style.BLACK}
TEXT_COLUMNS, REASON_COLUMNS = 42, 24
LEFT, RIGHT = 0.385, 0.77  # Ends of the axes in the figure.


@style.in_style
def plot_findings(found: Table, source: str, file: str | os.PathLike) -> None:
  """Draws a row for each claim: text, effects with their 95 % intervals, verdict with its reason.

  Args:
    found: `findings.ecsv`.
    source: Of the survey.
    file: PNG file to write.

  Raises:
    OSError: The file cannot be written.
  """
  claims = list(dict.fromkeys(found['claim']))
  figure = Figure(figsize=(style.WIDTH, 1.0 + ROW * len(claims)))
  panels = figure.subplots(len(claims), 1, squeeze=False)[:, 0]
  top, bottom = 1 - 0.75 / figure.get_figheight(), 0.55 / figure.get_figheight()
  figure.subplots_adjust(left=LEFT, right=RIGHT, top=top, bottom=bottom, hspace=0.85)
  for axes, name in zip(panels, claims, strict=True):
    _draw_claim(axes, found[found['claim'] == name])
  present = {group: look for group, look in style.GROUP_STYLES.items() if group in found['networks']}
  handles = [
    figure.axes[0].plot([], [], marker, color=colour, label=group)[0] for group, (colour, marker, _) in present.items()
  ]
  hollow = figure.axes[0].plot([], [], 'o', color='black', markerfacecolor='white', label='may have the effect, too')[0]
  figure.legend(handles=[*handles, hollow], loc='upper center', ncols=3)
  figure.text(0.01, 0.006, f'Shaded: smaller than what matters. {style.source_note(source)}', color='0.35')
  style.save(figure, file)


def _draw_claim(axes: Axes, rows: Table) -> None:
  """Draws the effects of one claim: the members above, the references below them."""
  for height, row in enumerate(rows[::-1]):
    colour, marker, _ = style.GROUP_STYLES[row['networks']]
    axes.plot([row['low'], row['high']], [height, height], color=colour, linewidth=2)
    face = 'white' if row['role'] == BESIDE else colour
    axes.plot(row['effect'], height, marker, color=colour, markerfacecolor=face, markersize=5)
  first = rows[0]
  axes.set_ylim(-0.8, len(rows) - 0.2)
  axes.axvline(0, color='black', linewidth=0.6)
  left, right = axes.get_xlim()
  left = min(left, first['smallest'] - 0.1 * (right - left))
  axes.axvspan(left, first['smallest'], color='black', alpha=0.07, linewidth=0)
  axes.set_xlim(left, right)
  axes.set_yticks([])
  axes.tick_params(axis='x', pad=1, length=2)
  for side in ('left', 'right', 'top'):
    axes.spines[side].set_visible(False)
  said = textwrap.fill(f'{first["text"]} [{first["unit"]}]', TEXT_COLUMNS)
  axes.text(-(LEFT - 0.01) / (RIGHT - LEFT), 0.5, said, transform=axes.transAxes, va='center')
  verdict = first['verdict']
  axes.text(1.03, 0.72, verdict, transform=axes.transAxes, va='center', weight='bold', color=VERDICTS[verdict])
  reason = textwrap.fill(first['reason'], REASON_COLUMNS)
  axes.text(1.03, 0.5, reason, transform=axes.transAxes, va='top', fontsize=8, color='0.35')
