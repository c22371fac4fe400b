"""The charts whose points tell their numbers: skill against lead time, and the course of the training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from astropy.table import Table

from hearjax.report import style
from hearjax.report.page.captions import Caption
from hearjax.report.page.parts import Chart, bounded, told
from hearjax.report.page.svg import Drawing, Point, Series, draw
from hearjax.report.style import LABELS, style_of
from hearjax.verification.calibration import EACH

DODGE = 7.0  # Between the bars of neighbouring models, in units of the picture.
MOST_POINTS = 1200  # Of a chart; of longer trainings every second epoch is marked, or every third …
HOURS_LABEL = 'Middle of the averaging window relative to emergence [h]'

SKILL = Caption(
  'Skill against lead time',
  'True Skill Statistic of each model against time relative to emergence, with 95 % intervals.',
  'How well each model tells regions about to emerge from controls at each lead time, its threshold calibrated for '
  'that lead time on other folds. Thick bars are 95 % intervals over pairs, thin ones allow for other folds and '
  'training pairs as well.',
  'A thin bar that holds 0, or a discriminant analysis that does as well: the network would then know nothing, or '
  'nothing that a few numbers of the map do not say. A leak in the metadata (see the verdict) would undo all of it.',
)
LOSS = Caption(
  'Loss by epoch',
  'Loss on training and on validation pairs against the epoch, two lines for each network.',
  'Cross-entropy on the training pairs (dashed, with augmentation) and on the validation pairs (solid) of each '
  'network; the full mark is the last epoch, whose averaged parameters are kept.',
  'A validation loss that rises while that of the training falls on (overfitting), or that still falls at the last '
  'epoch (too few epochs).',
)
VALIDATION_TSS = Caption(
  'TSS on validation pairs by epoch',
  'True Skill Statistic on validation pairs against the epoch, a line for each network.',
  'How the skill on the validation pairs develops. Its threshold is the best on these very pairs, so that this is no '
  'estimate of skill.',
  'Networks that end far apart: one network would then say little of the method, and more seeds would be needed.',
)


def name_of(model: str) -> str:
  """Returns what a model is called on the page."""
  return LABELS.get(model, model)


def models_of(table: Table) -> list[str]:
  """Returns the models of a table, each once, in their order."""
  return [str(model) for model in dict.fromkeys(table['model'])]


def skill_rows(skill: Table, model: str, rule: str = EACH) -> Table:
  """Returns the rows of a model by one threshold rule, towards emergence."""
  rows = skill[(skill['model'] == model) & (skill['threshold_rule'] == rule)]
  rows.sort('hours')
  return rows


def skill_points(skill: Table, model: str, called: str) -> tuple[Point, ...]:
  """Returns the TSS of a model at each interval with both of its intervals."""
  return tuple(
    Point(
      float(row['hours']),
      float(row['tss']),
      f'{called} at {told(row["hours"], ".1f")} h: TSS '
      f'{bounded(row["tss"], row["tss_refit_low"], row["tss_refit_high"])} '
      f'(over pairs alone {told(row["tss_low"])} to {told(row["tss_high"])}; {row["n_pairs"]:.0f} pairs)',
      (
        (float(row['tss_refit_low']), float(row['tss_refit_high'])),
        (float(row['tss_low']), float(row['tss_high'])),
      ),
    )
    for row in skill_rows(skill, model)
  )


def skill_chart(skill: Table) -> Chart:
  """Returns the chart of the TSS of all models."""
  models = models_of(skill)
  series = []
  for index, model in enumerate(models):
    colour, mark = style_of(model, models)
    shift = (index - (len(models) - 1) / 2) * DODGE
    series.append(Series(name_of(model), colour, mark, skill_points(skill, model, name_of(model)), shift=shift))
  return Chart(skill_drawing(series, SKILL.alt), SKILL)


def skill_drawing(series: Sequence[Series], alt: str) -> Drawing:
  """Lays out TSS against time, with lines at TSS 0 and at emergence."""
  return draw(alt, HOURS_LABEL, 'True Skill Statistic', series, x_zero=True, y_zero=True)


# --- Training -----------------------------------------------------------------------------------------------------


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Chart]:
  """Returns the charts of loss and of validation TSS, a line for each network; none where the log says nothing."""
  members: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
  for line in metrics:
    members.setdefault((line['fold'], line['seed']), []).append(line)
  every = math.ceil(len(metrics) / MOST_POINTS)
  colour, _ = style_of('cnn', ['cnn'])
  losses, skills = [], []
  for index, ((fold, seed), lines) in enumerate(sorted(members.items())):
    network = f'Fold {fold}, seed {seed}'
    shown = [line for number, line in enumerate(lines) if number % every == 0 or line is lines[-1]]
    first = index == 0
    for key, name, of_line, dash, values in (
      ('loss', 'training pairs', style.BLUE, '4 3', losses),
      ('validation_loss', 'validation pairs', colour, '', losses),
      ('validation_tss', 'validation pairs', colour, '', skills),
    ):
      points = tuple(
        Point(line['epoch'], value(line, key), _tell(network, line), stands_out=line is lines[-1] and key != 'loss')
        for line in shown
      )
      if any(math.isfinite(point.y) for point in points):
        values.append(Series(name if first else '', of_line, '.', points, dash, filled=False))
  drawn = ((LOSS, 'Cross-entropy', losses), (VALIDATION_TSS, 'True Skill Statistic', skills))
  return [
    Chart(draw(caption.alt, 'Epoch', label, series, y_zero=series is skills), caption)
    for caption, label, series in drawn
    if series
  ]


def value(line: Mapping[str, Any], key: str) -> float:
  """Returns a number of a line of the log, NaN where there is none."""
  found = line.get(key)
  return float(found) if isinstance(found, (int, float)) else math.nan


def _tell(network: str, line: Mapping[str, Any]) -> str:
  return (
    f'{network}, epoch {line["epoch"]}: loss {told(value(line, "loss"), ".3f")} in training, '
    f'{told(value(line, "validation_loss"), ".3f")} in validation, TSS {told(value(line, "validation_tss"))}'
  )
