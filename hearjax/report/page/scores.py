"""The sections of the scores: skill against lead time, and what it is made of and worth."""

import numpy as np

from hearjax.report.page.captions import VERIFICATION
from hearjax.report.page.charts import models_of, name_of, skill_chart, skill_rows
from hearjax.report.page.contents import Contents
from hearjax.report.page.parts import Cell, NotRun, Part, Section, Words, interval, number, sheet, text
from hearjax.report.page.remedies import command, pictures, section
from hearjax.verification.calibration import EACH, ONE, RULES
from hearjax.verification.reliability import PROBABILITIES

LAST = 1e9  # Sorts behind all numbers of its column.
RULE_NAMES = {
  'train': 'threshold of the model',
  '0.5': 'threshold 0.5',
  ONE: 'one threshold for all lead times',
  EACH: 'calibrated for each lead time',
}


def skill_section(contents: Contents) -> Section:
  """Returns TSS against lead time, of the network and the analyses."""
  remedy = command(contents, 'verify')
  parts: list[Part] = []
  skill, mean = contents.tables.get('skill'), contents.tables.get('skill_mean')
  if skill is not None:
    models = models_of(skill)
    cells: dict[float, dict[str, Cell]] = {}
    for model in models:
      for row in skill_rows(skill, model):
        cell = interval(row['tss'], row['tss_refit_low'], row['tss_refit_high'])
        cells.setdefault(float(row['hours']), {})[model] = cell
    rows = [
      [number(hours, '+.1f'), *(of_models.get(model, Cell('', np.nan)) for model in models)]
      for hours, of_models in sorted(cells.items())
    ]
    if mean is not None:
      of_model = {row['model']: row for row in mean[mean['threshold_rule'] == EACH]}
      found = [of_model.get(model) for model in models]
      means = [Cell('', np.nan) if row is None else _refit(row) for row in found]
      rows.append([Cell('mean before emergence', LAST), *means])
    columns = ('Middle [h]', *(f'{name_of(model)}: TSS [95 %]' for model in models))
    parts = [skill_chart(skill), sheet('TSS, calibrated for each lead time', columns, rows, _which_interval())]
    parts += _differences(contents)
    if len(models) == 1 and contents.config:
      parts.append(NotRun('Discriminant analyses to compare with', command(contents, 'baseline')))
    every = [
      [
        text(name_of(model)),
        text(RULE_NAMES[rule]),
        number(row['hours'], '+.1f'),
        _refit(row),
        number(row['auc']),
        Cell(f'{row["n_pairs"]:.0f}', float(row['n_pairs'])),
      ]
      for model in models
      for rule in RULES
      for row in skill_rows(skill, model, rule)
    ]
    columns = ('Model', 'Threshold', 'Middle [h]', 'TSS [95 %]', 'Area under ROC', 'Pairs')
    parts.append(sheet('By every rule of the threshold', columns, every, folded=True))
  elif contents.predictions:
    listed = ', '.join(f'{model} ({len(table)} forecasts)' for model, table in contents.predictions.items())
    parts = [Words((f'There are predictions of {listed}; they were not scored yet.',)), NotRun('Scoring', remedy)]
  lead = 'How well regions about to emerge are told from controls, by how long before emergence.'
  return section('skill', 'Skill against lead time', lead, parts, remedy)


def _refit(row) -> Cell:
  return interval(row['tss'], row['tss_refit_low'], row['tss_refit_high'])


def _which_interval() -> str:
  return 'Intervals are of 95 % over pairs, other folds and training pairs; over pairs alone they are narrower.'


def _differences(contents: Contents) -> list[Part]:
  table = contents.tables.get('differences_mean')
  if table is None:
    return []
  rows = [
    [
      text(f'{name_of(row["model"])} less {name_of(row["baseline"])}'),
      interval(row['difference'], row['refit_low'], row['refit_high'], '+.2f'),
      text('holds 0', 'open') if row['refit_low'] <= 0 <= row['refit_high'] else text('does not hold 0'),
    ]
    for row in table[table['threshold_rule'] == EACH]
  ]
  columns = ('Pair by pair', 'Difference of the mean TSS [95 %]', 'Interval')
  return [sheet('Paired differences', columns, rows)]


def verification_section(contents: Contents) -> Section:
  """Returns what the skill is made of and what it is worth to who uses it."""
  remedy = command(contents, 'verify', again='skill' in contents.tables)
  parts = [*_matched(contents), *pictures(contents, VERIFICATION, remedy)]
  calibration = contents.tables.get('verification/calibration')
  if calibration is not None:
    names = dict(zip(PROBABILITIES, ('as it came', 'calibrated'), strict=True))
    rows = [
      [
        text(name_of(row['model'])),
        text(names.get(row['of'], row['of'])),
        *(
          number(row[name], form)
          for name, form in (('brier', '.3f'), ('miscalibration', '.3f'), ('threshold_gap', '+.2f'))
        ),
      ]
      for row in calibration
    ]
    columns = ('Model', 'Probability', 'Brier score', 'Miscalibration', 'Best threshold less share of events')
    parts.append(sheet('Calibration', columns, rows))
  alarms = contents.tables.get('verification/first_alarm_summary')
  if alarms is not None:
    rows = [
      [
        text(name_of(row['model'])),
        text('any' if row['alarm'] == 'any' else 'kept until emergence'),
        number(row['median_hours'], '+.0f'),
        number(row['never'], '.0%'),
        number(1 - row['never_cr'], '.0%'),
      ]
      for row in alarms
    ]
    columns = ('Model', 'Alarm', 'Half of those warned by [h]', 'EAR never warned', 'CR warned of falsely')
    parts.append(sheet('First alarms', columns, rows))
  parts += _budget(contents)
  lead = 'What the skill is made of, and what it is worth to somebody who acts on it.'
  return section('verification', 'Verification', lead, parts, remedy)


def _matched(contents: Contents) -> list[Part]:
  table = contents.tables.get('verification/matched_mean')
  if table is None:
    return []
  rows = [
    [
      text(name_of(row['model'])),
      number(row['tolerance_dex'], 'g') if np.isfinite(row['tolerance_dex']) else Cell('all regions', LAST),
      Cell(f'{row["n_couples"]:.0f}', float(row['n_couples'])),
      interval(row['tss'], row['tss_low'], row['tss_high']),
      number(row['p'], '.2g') if np.isfinite(row['tolerance_dex']) else Cell('', np.nan),
    ]
    for row in table
  ]
  columns = ('Model', 'Flux equal to [dex]', 'Couples', 'TSS [95 %]', 'p that it knows no more than flux')
  return [sheet('Among regions of equal flux', columns, rows)]


def _budget(contents: Contents) -> list[Part]:
  table = contents.tables.get('verification/budget')
  if table is None:
    return []
  rows = [
    [
      text(name_of(row['model'])),
      number(row['hours'], '+.1f'),
      number(row['budget'], 'g'),
      number(row['pod'], '.0%'),
      text('yes') if row['resolved'] else text('too few controls to tell', 'open'),
    ]
    for row in table
  ]
  columns = ('Model', 'Middle [h]', 'False alarms borne per disk and day', 'Detected', 'Resolved')
  return [sheet('What is detected within a budget of false alarms', columns, rows, folded=True)]
