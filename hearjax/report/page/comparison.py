"""Two runs side by side: settings that differ, skill, findings, verdicts."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hearjax.checks import UserError
from hearjax.files import plain
from hearjax.interpret.maps import MEMBERS
from hearjax.report.page.captions import Caption
from hearjax.report.page.charts import name_of, skill_drawing, skill_points, skill_rows
from hearjax.report.page.contents import Contents
from hearjax.report.page.making import flatten, shown
from hearjax.report.page.parts import Cell, Chart, NotRun, Part, Section, Words, bounded, interval, number, sheet, text
from hearjax.report.page.remedies import command
from hearjax.report.page.sections import TONES
from hearjax.report.page.svg import Series
from hearjax.report.style import style_of
from hearjax.verification.calibration import EACH
from hearjax.verification.skill import common_rows, difference_tables

RESAMPLES = 500  # Of the paired difference.
SHIFT = 5.0  # Of the points of either run, in units of the picture.
COMPARED = ('settings', 'execution', 'environment')
SKILL = Caption(
  'Skill of both runs',
  'True Skill Statistic against time for both runs, filled marks for this one, hollow ones for the other.',
  'The TSS of both runs at each lead time with 95 % intervals, thin over pairs, folds and training.',
  'Other surveys or seeds: intervals that overlap do not say that the runs are alike, nor do those that part say why; '
  'of one survey, the paired difference beneath is the test.',
)


def comparison_section(contents: Contents, other: Contents) -> Section:
  """Returns this run beside another one.

  Args:
    contents: This run, A.
    other: The other one, B.
  """
  a, b = names(contents, other)
  words = [f'A is {a}, the run of this page; B is {b}.']
  same = bool(set(contents.checksums) & set(other.checksums))
  if not same:
    words.append('The runs are of different surveys: what differs may be the surveys and not the runs.')
  for name, run in ((f'A ({a})', contents), (f'B ({b})', other)):
    if run.is_simulated:
      words.append(f'{name} is of a simulated survey and says nothing about the Sun.')
  words += [f'Of B: {sentence}' for sentence in other.damaged]
  parts: list[Part] = [Words(tuple(words)), *_settings(contents, other), *_skill(contents, other, a, b, same)]
  parts += [*_findings(contents, other), *_verdicts(contents, other)]
  return Section('comparison', 'Two runs side by side', 'What differs between this run and another one.', tuple(parts))


def names(contents: Contents, other: Contents) -> tuple[str, str]:
  """Returns what two runs are called: the names of their folders, with that above where they are the same."""
  if contents.name != other.name:
    return contents.name, other.name
  return tuple('/'.join(run.folder.resolve().parts[-2:]) for run in (contents, other))


def _settings(contents: Contents, other: Contents) -> list[Part]:
  rows = []
  for part in COMPARED:
    ours, theirs = (dict(flatten(shown(run, part), part)) for run in (contents, other))
    for name in dict.fromkeys([*ours, *theirs]):
      if ours.get(name) != theirs.get(name):
        rows.append([text(name), text(ours.get(name, 'not there')), text(theirs.get(name, 'not there'))])
  if not rows:
    return [Words(('All settings, versions and devices are the same.',))]
  return [sheet('What differs', ('Entry', 'A', 'B'), rows)]


def _skill(contents: Contents, other: Contents, a: str, b: str, same: bool) -> list[Part]:
  skills = [run.tables.get('skill') for run in (contents, other)]
  parts: list[Part] = [
    NotRun(f'Scoring of {name}', command(run, 'verify'))
    for name, run, skill in zip((a, b), (contents, other), skills, strict=True)
    if skill is None
  ]
  if parts:
    return parts
  series, cells, hours = [], {}, {}
  for column, (letter, run, skill) in enumerate(zip('AB', (contents, other), skills, strict=True)):
    model = run.reference
    colour, mark = style_of(model, [model])
    called = f'{letter}: {name_of(model)}'
    shift = SHIFT * (2 * column - 1)
    points = skill_points(skill, model, called)
    series.append(Series(called, colour, mark, points, '5 4' * column, not column, shift))
    for each in dict.fromkeys(skill['model']):
      for row in skill_rows(skill, each):
        key = (str(each), int(row['interval']))
        hours.setdefault(key, float(row['hours']))
        cell = interval(row['tss'], row['tss_refit_low'], row['tss_refit_high'])
        cells.setdefault(key, [Cell('', np.nan), Cell('', np.nan)])[column] = cell
  rows = [
    [text(name_of(key[0])), Cell(f'TI{key[1]:+03d}', key[1]), number(hours[key], '+.1f'), *found]
    for key, found in sorted(cells.items())
  ]
  columns = ('Model', 'Interval', 'Middle [h]', 'A: TSS [95 %]', 'B: TSS [95 %]')
  parts = [Chart(skill_drawing(series, SKILL.alt), SKILL), sheet('Skill by lead time', columns, rows)]
  return parts + (_paired(contents, other) if same else [])


def _paired(contents: Contents, other: Contents) -> list[Part]:
  """Returns the difference of two runs on the same pairs, where both kept their predictions."""
  ours, theirs = (run.predictions.get(run.reference) for run in (contents, other))
  if ours is None or theirs is None:
    return []
  ours, theirs = ours.copy(), theirs.copy()
  ours.meta, theirs.meta = ({**plain(dict(table.meta)), 'model': name} for table, name in ((ours, 'A'), (theirs, 'B')))
  try:
    _, mean = difference_tables(common_rows([theirs, ours]), 'B', RESAMPLES, 0)
  except UserError as error:
    return [Words((f'The runs cannot be compared pair by pair: {error}',))]
  (row,) = mean[mean['threshold_rule'] == EACH]
  difference = bounded(row['difference'], row['refit_low'], row['refit_high'], '+.2f')
  return [Words((f'Mean TSS before emergence of B less that of A, on the same pairs: {difference}.',))]


def _findings(contents: Contents, other: Contents) -> list[Part]:
  rows: dict[str, list[Cell]] = {}
  for column, run in enumerate((contents, other)):
    found = run.tables.get('findings')
    if found is None:
      continue
    for row in found[found['networks'] == MEMBERS]:
      cells = rows.setdefault(str(row['text']), [Cell('not asked', '') for _ in range(4)])
      cells[2 * column] = text(row['verdict'], TONES.get(row['verdict'], 'open'))
      cells[2 * column + 1] = interval(row['effect'], row['low'], row['high'], '+.2f')
  if not rows:
    return [Words(('Neither run has findings yet.',))]
  columns = ('Claim', 'A', 'A: effect [95 %]', 'B', 'B: effect [95 %]')
  return [sheet('Findings', columns, [[text(claim), *cells] for claim, cells in rows.items()])]


def _verdicts(contents: Contents, other: Contents) -> list[Part]:
  ours, theirs = dict(contents.verdict), dict(other.verdict)
  lines: Mapping[str, None] = dict.fromkeys([*ours, *theirs])
  if not lines:
    return []
  rows = [[text(name), text(ours.get(name, 'not told')), text(theirs.get(name, 'not told'))] for name in lines]
  return [dataclasses.replace(sheet('Verdicts', ('About', 'A', 'B'), rows), note='Brackets are 95 % intervals.')]
