"""The first sections of the page: verdict, findings, survey, training."""

import pathlib
import tempfile

import numpy as np
from astropy.time import Time

from hearjax.interpret.findings import CONTRADICTED, SUPPORTED
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.references import EXCHANGED, FIELD_METER, FLUX_METER, UNTRAINED
from hearjax.report.page.captions import BALANCE, FINDINGS, Caption
from hearjax.report.page.charts import training_charts, value
from hearjax.report.page.contents import Contents, entry
from hearjax.report.page.images import Embedded, embed
from hearjax.report.page.parts import (
  Cell,
  Line,
  Lines,
  NotRun,
  Part,
  Picture,
  Section,
  Words,
  interval,
  number,
  sheet,
  text,
)
from hearjax.report.page.remedies import command, pictures, section
from hearjax.report.survey_plots import plot_pairs
from hearjax.survey.survey import Survey
from hearjax.verification.verdict import WARNINGS

QUESTIONS = {
  'leak': 'Do metadata alone tell the classes apart?',
  'folds': 'Are pairs that know each other in one fold?',
  'skill': 'How well are the classes told apart before emergence?',
  'rule': 'By which threshold, and what does an operator get?',
  'rivals': 'Is it better than the best of the others?',
  'flux': 'Is there more to it than the flux that is there already?',
  'calibration': 'Can the probabilities be taken at their word?',
  'base rate': 'How many alarms are right where few places emerge?',
  'first alarm': 'When does a watcher have the first alarm, and how often falsely?',
  'emergence': 'How much of the last window lies after the emergence?',
}
TONES = {SUPPORTED: 'good', CONTRADICTED: 'bad'}
REFERENCES = (FIELD_METER, FLUX_METER, UNTRAINED, EXCHANGED)
SAMPLE_PAIRS = 2
SAMPLES = Caption(
  'Magnetograms by lead time',
  'Magnetograms of the first pairs, the emerging region above its control, from left to right towards emergence.',
  'The first pairs by name, chosen by nothing that they show: PE above NE, from the earliest interval to the last.',
  'A difference to the eye that is not of the Sun, such as sharpness, noise or edges: networks would learn it, too.',
)
# --- On top ---------------------------------------------------------------------------------------------------------


def verdict_section(contents: Contents) -> Section:
  """Returns the lines of `verify`."""
  rows = tuple(
    Line(name, QUESTIONS.get(name, ''), sentence, 'bad' if sentence.startswith(WARNINGS) else '')
    for name, sentence in contents.verdict
  )
  parts = [Lines(rows)] if rows else []
  lead = 'What the scores come to, in the words of verify; brackets are 95 % intervals.'
  return section('verdict', 'Verdict', lead, parts, command(contents, 'verify'))


def findings_section(contents: Contents) -> Section:
  """Returns what may be said of the networks, beside the references."""
  remedy = ' && '.join(command(contents, name) for name in ('prune', 'respond', 'attribute'))
  found, parts = contents.tables.get('findings'), []
  if found is not None:
    references = (name[0].upper() + name[1:] for name in REFERENCES)
    columns = ['Claim', 'Verdict', 'Effect [95 %]', 'Unit', *references]
    rows = []
    for name in dict.fromkeys(found['claim']):
      of_claim = {row['networks']: row for row in found[found['claim'] == name]}
      if MEMBERS not in of_claim:
        continue
      own = of_claim[MEMBERS]
      why = f'{own["reason"]} (at least {own["smallest"]:g} matters)'
      cells = [text(own['text']), text(own['verdict'], TONES.get(own['verdict'], 'open'), why)]
      cells += [interval(own['effect'], own['low'], own['high'], '+.2f'), text(own['unit'])]
      rows.append([*cells, *(_reference_cell(of_claim.get(group)) for group in REFERENCES)])
    note = (
      'Supported: the interval lies above the smallest effect that matters, and beyond every reference that cannot '
      "have the effect. A star marks references that may have it, too. sd: standard deviations of the networks' own "
      'outputs.'
    )
    parts = [sheet('Claims', columns, rows, note), *pictures(contents, [FINDINGS], remedy)]
  lead = 'What the networks learnt, as claims that things which cannot have learnt it do not share.'
  return section('findings', 'Findings', lead, parts, remedy)


def _reference_cell(row) -> Cell:
  if row is None:
    return Cell('', np.nan)
  star = '*' if row['role'] == 'beside' else ''
  return Cell(f'{number(row["effect"], "+.2f").text}{star}', float(row['effect']))


# --- Survey and training --------------------------------------------------------------------------------------------


def survey_section(contents: Contents) -> Section:
  """Returns counts, balance and samples of the survey."""
  parts: list[Part] = []
  remedy = command(contents, 'report')
  if contents.survey is not None:
    parts += _describe_survey(contents.survey)
  else:
    parts.append(NotRun('The survey was not found where the run had it; counts and samples', remedy))
  scored = command(contents, 'verify', again='skill' in contents.tables)
  balance = contents.tables.get('verification/balance')
  if balance is not None:
    rows = [
      [
        text(f'{row["quantity"]} [{row["unit"]}]' if row['unit'] else row['quantity']),
        number(row['mean_ear'], '.4g'),
        number(row['mean_cr'], '.4g'),
        interval(row['standardised'], row['standardised_low'], row['standardised_high'], '+.2f'),
        text('differs', 'bad') if row['unbalanced'] else text('balanced'),
      ]
      for row in balance
    ]
    columns = ['Quantity', 'Mean of EAR', 'Mean of CR', 'Standardised difference [95 %]', '']
    parts.append(sheet('Balance of the classes', columns, rows, 'Of twenty balanced quantities one differs by chance.'))
  parts += pictures(contents, [BALANCE], scored)
  return section('survey', 'Survey', 'What the magnetograms are, and how like their controls are.', parts, remedy)


def _describe_survey(survey: Survey) -> list[Part]:
  y, x = survey.field.shape[1:]
  first, last = (Time(edge, format='mjd').iso[:10] for edge in (survey.mjd.min(), survey.mjd.max()))
  emerging = len(np.unique(survey.region[survey.label == 1]))
  words = Words(
    (
      f'{len(survey.pair_ids)} pairs: {emerging} emerging regions (EAR; before they emerge: PE) '
      f'and {len(survey.region_ids) - emerging} control regions (CR; NE), {len(survey)} magnetograms from {first} to '
      f'{last}. Source: {survey.source}.',
      f'Maps of {y} x {x} px of {survey.pixel_scale_mm:g} Mm ({x * survey.pixel_scale_mm:.0f} Mm wide); mu from '
      f'{survey.mu.min():.2f} to {survey.mu.max():.2f}; missing pixels: {np.mean(survey.missing):.2%} on average, '
      f'{survey.missing.max():.0%} at most.',
    )
  )
  rows = []
  for number_of in np.unique(survey.interval):
    of_interval = survey.interval == number_of
    field = survey.field[of_interval]
    strength = [np.nanmean(np.abs(field[survey.label[of_interval] == label])) for label in (1, 0)]
    counts = [Cell(str(n), float(n)) for n in (np.sum(survey.label[of_interval] == label) for label in (1, 0))]
    rows.append(
      [
        Cell(f'TI{number_of:+03d}', float(number_of)),
        number(np.mean(survey.hours[of_interval]), '+.1f'),
        *counts,
        *(number(mean, '.1f') for mean in strength),
        number(np.mean(survey.n_frames[of_interval]), '.0f'),
      ]
    )
  columns = ('Interval', 'Middle [h]', 'EAR', 'CR', 'Mean |B| of EAR [G]', 'Mean |B| of CR [G]', 'Frames in the mean')
  counts = sheet('Magnetograms', columns, rows)
  return [words, counts, Picture(_draw_samples(survey), SAMPLES)]


def _draw_samples(survey: Survey) -> Embedded:
  """Returns the picture of the first pairs."""
  few = survey.select(survey.pair < SAMPLE_PAIRS)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'pairs.png'
    plot_pairs(few, path, SAMPLE_PAIRS)
    return embed(path.read_bytes(), path.name)


def training_section(contents: Contents) -> Section:
  """Returns the course of the training."""
  remedy = command(contents, 'train')
  parts: list[Part] = []
  if contents.metrics:
    parts = [Words((_describe_training(contents),)), *training_charts(contents.metrics)]
    members: dict[tuple[int, int], list] = {}
    for line in contents.metrics:
      members.setdefault((line['fold'], line['seed']), []).append(line)
    rows = []
    for (fold, seed), lines in sorted(members.items()):
      rows.append(
        [
          *(Cell(str(n), float(n)) for n in (fold, seed, len(lines))),
          number(value(lines[-1], 'validation_loss'), '.3f'),
          number(value(lines[-1], 'validation_tss')),
        ]
      )
    columns = ('Fold', 'Seed', 'Epochs', 'Validation loss at the end', 'TSS on validation pairs at the end')
    parts.append(sheet('Networks', columns, rows, folded=True))
  lead = 'How the networks were trained, each on the pairs of all folds but its own.'
  return section('training', 'Training', lead, parts, remedy)


def _describe_training(contents: Contents) -> str:
  started = {(line['fold'], line['seed']) for line in contents.metrics}
  folds, seeds = (entry(contents.config, 'settings', name) for name in ('folds', 'seeds'))
  wanted = folds * seeds if isinstance(folds, int) and isinstance(seeds, int) else len(started)
  known = f'{wanted} networks ({folds} folds, {seeds} of each)' if wanted and folds else f'{len(started)} networks'
  if 'cnn' in contents.predictions:
    return f'{known}, all of them trained to their end.'
  finished = sum(bool(line.get('finished')) for line in contents.metrics)
  return (
    f'INTERRUPTED: of {known} {len(started)} were begun and {finished} finished. The same command of train as before '
    'goes on where it stopped.'
  )
