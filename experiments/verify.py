"""Scores predictions tables, of any model or program, and says in ten lines what the scores come to.

Skill at each interval, by one threshold rule for all models, differences between models, calibration, base rates and
first alarms need the tables alone. With the survey that they are of it also asks what the skill is made of: a leak in
the metadata, folds that know each other, the flux that is there already, parts of the disk.

hearjax verify --workdir=work --survey=survey
"""

import pathlib
from collections.abc import Callable

import numpy as np
from absl import logging
from astropy.table import Table, vstack

from hearjax.checks import UserError
from hearjax.files import visible_files, write_table, write_whole
from hearjax.progress import meter
from hearjax.report.balance_plots import plot_balance
from hearjax.report.base_rate_plots import plot_base_rates, plot_first_alarm
from hearjax.report.matching_plots import plot_matched, plot_strata
from hearjax.report.skill_plots import plot_reliability, plot_skill
from hearjax.survey.archive import read_survey
from hearjax.survey.intervals import share_after_emergence
from hearjax.survey.survey import Survey, checksum
from hearjax.verification.alarms import first_alarm_summary, first_alarm_table
from hearjax.verification.base_rates import BaseRateSettings, base_rate_table, budget_table
from hearjax.verification.calibration import EACH, calibrate
from hearjax.verification.certificate import certify_predictions
from hearjax.verification.nuisance import balance_table, nuisance_predictions
from hearjax.verification.predictions import PREDICTIONS, read_predictions
from hearjax.verification.reliability import calibration_table
from hearjax.verification.series import predictions_of_series, read_series
from hearjax.verification.skill import SURVEY_KEYS, common_rows, difference_tables, skill_mean_table, skill_table
from hearjax.verification.verdict import VERDICT_NAME, verdict

from . import cli

FOLDER = 'verification'
Part = Callable[[], dict[str, Table]]  # Makes tables: name -> table.
IN_ROOT = ('skill', 'skill_mean', 'differences', 'differences_mean')


def define_flags(flags: cli.Flags) -> None:
  flags.path('survey', None, 'Folder of the survey archive that the predictions are of; less is asked without it.')
  flags.common('workdir', 'seed', 'overwrite')
  flags.paths('predictions', 'Predictions tables to score; all in the work directory for none.')
  flags.paths(
    'series', 'Time series of forecasts of another program to score as well (CSV or ECSV); they need --survey.'
  )
  flags.string('reference', 'cnn', 'Model that the others are compared with.')
  flags.integer('resamples', 2000, 'Bootstrap samples of the pairs.', lower_bound=1)
  flags.listed('tolerances_dex', (0.05, 0.1, 0.2), 'Differences of flux within which regions are matched [dex].', float)
  flags.listed('budgets', (100.0, 10.0, 1.0), 'False alarms per disk and day that are borne.', float)
  flags.settings(BaseRateSettings)
  flags.require('workdir')
  flags.writes('workdir')


def main(flags: cli.Flags) -> None:
  directory = pathlib.Path(flags.workdir)
  rates = flags.build(BaseRateSettings)
  cli.check_unused(flags, directory / 'skill.ecsv')
  if not flags.tolerances_dex:
    raise UserError('There is no tolerance of flux to match regions with; give one at least with --tolerances_dex.')
  survey = read_survey(flags.survey, 1.0, progress=meter('reading', 'file')) if flags.survey else None
  tables = read_tables(flags, directory, survey)
  parts = score(tables, flags) + forecasts_as_used(tables, rates, flags)
  certificates = {}
  if survey is not None:
    certificates = {table.meta['model']: certify_predictions(table, survey) for table in tables}
    parts += look_closer(tables, survey, flags)
  products: dict[str, Table] = {}
  for part in meter('scoring', 'part')(parts):
    products |= part()
  source = {key: tables[0].meta[key] for key in SURVEY_KEYS if key in tables[0].meta}
  lines = verdict(products, reference_of(tables, flags), certificates)
  for name, table in reversed(products.items()):  # The one that marks the scoring as finished comes last.
    table.meta = {**source, 'resamples': flags.resamples, 'seed': flags.seed}
    write_table(directory / ('' if name in IN_ROOT else FOLDER) / f'{name}.ecsv', table)
  text = '\n'.join(lines) + '\n'
  write_whole(directory / VERDICT_NAME, lambda temporary: temporary.write_text(text))
  draw(tables, products, source.get('survey_source'), directory / 'figures', flags)
  print_summary(products['skill'], products['skill_mean'])
  print('\n' + text, end='')


# --- What is scored -----------------------------------------------------------------------------------------------


def read_tables(flags: cli.Flags, directory: pathlib.Path, survey: Survey | None) -> list[Table]:
  """Reads all predictions, brings them to the magnetograms that they have in common, and calibrates them."""
  paths = flags.predictions or visible_files(directory / PREDICTIONS, '*.ecsv')
  if not (paths or flags.series):
    raise FileNotFoundError(f'There is no table in {directory / PREDICTIONS}; run train or baseline first.')
  tables = [read_predictions(path) for path in paths]
  wanted = {checksum(survey)} if survey is not None else {table.meta['survey_checksum'] for table in tables}
  if not {table.meta['survey_checksum'] for table in tables} <= wanted:
    raise UserError(f'The predictions are of another survey than {flags.survey} (checksums differ).')
  if flags.series and survey is None:
    raise UserError('Time series are read at the intervals of a survey; name it with --survey.')
  folds = dict(zip(tables[0]['pair_id'], tables[0]['fold'], strict=True)) if tables else None
  tables += [predictions_of_series(read_series(path), survey, folds) for path in flags.series]
  return [calibrate(table) for table in common_rows(tables)]


def reference_of(tables: list[Table], flags: cli.Flags) -> str:
  """Returns the model that the verdict is about: the reference, or the first where it is not there."""
  models = [table.meta['model'] for table in tables]
  return flags.reference if flags.reference in models else models[0]


# --- Tables -------------------------------------------------------------------------------------------------------


def score(tables: list[Table], flags: cli.Flags) -> list[Part]:
  """Returns what makes the tables of skill, and of differences between models where there are some."""
  drawn = {'resamples': flags.resamples, 'seed': flags.seed}
  parts: list[Part] = [
    lambda: {'skill': skill_table(tables, **drawn)},
    lambda: {'skill_mean': skill_mean_table(tables, **drawn)},
  ]
  if len(tables) > 1 and reference_of(tables, flags) == flags.reference:
    names = ('differences', 'differences_mean')
    parts.append(lambda: dict(zip(names, difference_tables(tables, flags.reference, **drawn), strict=True)))
  else:
    logging.warning('No differences: they need a table of the model %s and one more.', flags.reference)
  return [*parts, lambda: {'calibration': calibration_table(tables)}]


def forecasts_as_used(tables: list[Table], rates: BaseRateSettings, flags: cli.Flags) -> list[Part]:
  """Returns what tells what forecasts are worth where few places emerge, and when the first alarm comes."""

  def alarms() -> dict[str, Table]:
    first = stack(first_alarm_table(each, flags.resamples, flags.seed) for each in tables)
    return {'first_alarm': first, 'first_alarm_summary': first_alarm_summary(first)}

  parts: list[Part] = [
    lambda: {'base_rates': stack(base_rate_table(each, rates, flags.resamples, flags.seed) for each in tables)},
    lambda: {'budget': stack(budget_table(each, rates, flags.budgets) for each in tables)},
  ]
  return [*parts, alarms] if all(np.any(np.asarray(each['hours']) < 0) for each in tables) else parts


def look_closer(tables: list[Table], survey: Survey, flags: cli.Flags) -> list[Part]:
  """Returns what needs the survey: metadata, folds, flux, strata, frames after emergence."""
  from hearjax.verification.matching import matched_skill_table  # Only here: they need JAX, the scores do not.
  from hearjax.verification.strata import strata_table

  drawn = {'resamples': flags.resamples, 'seed': flags.seed}
  folds = dict(zip(tables[0]['pair_id'], tables[0]['fold'], strict=True))
  tolerances = [*flags.tolerances_dex, np.inf]

  def leak() -> dict[str, Table]:
    nuisance = nuisance_predictions(survey.select(np.isin(survey.pair_names(), list(folds))), folds)
    return {'nuisance': skill_mean_table([nuisance], **drawn)}

  def match() -> dict[str, Table]:
    found = matched_skill_table(tables, survey, tolerances, **drawn)
    return dict(zip(('matched', 'matched_mean'), found, strict=True))

  parts: list[Part] = [lambda: {'balance': balance_table(survey, **drawn)}]
  parts += [leak, match] if len(set(folds.values())) > 1 else [match]
  if np.any(np.asarray(tables[0]['hours']) < 0):
    parts.append(lambda: {'strata': strata_table(tables, survey, **drawn)})
  return [*parts, lambda: {'frames': frames_table(survey)}]


def frames_table(survey: Survey) -> Table:
  """Returns for each interval the mean share of its window that lies after the emergence time."""
  after = share_after_emergence(survey.hours_start, survey.hours_end)
  intervals, place = np.unique(survey.interval, return_inverse=True)
  return Table({'interval': intervals, 'after_emergence': np.bincount(place, after) / np.bincount(place)})


def stack(tables) -> Table:
  return vstack(list(tables), metadata_conflicts='silent')


# --- Figures and words --------------------------------------------------------------------------------------------


def draw(tables: list[Table], products: dict[str, Table], source: str, figures: pathlib.Path, flags: cli.Flags) -> None:
  """Draws all figures, after all tables."""
  last = last_before_emergence(products['skill'])
  drawings: list[Callable[[], object]] = [
    lambda: plot_skill(products['skill'], figures / 'skill.png'),
    lambda: plot_reliability(tables, last, figures / 'reliability.png'),
  ]
  if 'first_alarm' in products:
    drawings += [
      lambda: plot_base_rates(products['base_rates'], source, figures / 'base_rates.png'),
      lambda: plot_first_alarm(products['first_alarm'], source, figures / 'first_alarm.png'),
    ]
  if 'balance' in products:
    nearest = min(flags.tolerances_dex)
    drawings += [
      lambda: plot_balance(products['balance'], source, figures / 'balance.png'),
      lambda: plot_matched(products['matched'], source, figures / 'matched.png', nearest),
    ]
  if 'strata' in products:
    of_reference = products['strata'][products['strata']['model'] == reference_of(tables, flags)]
    drawings.append(lambda: plot_strata(of_reference, source, figures / 'strata.png'))
  for drawing in meter('drawing', 'figure')(drawings):
    drawing()


def last_before_emergence(skill: Table) -> int:
  """Returns the last interval before emergence that can be scored, or the first one after it where there is none."""
  scored = skill[np.isfinite(skill['tss'])]
  before = scored[scored['hours'] < 0]
  return int(before['interval'].max() if len(before) else scored['interval'].min())


def print_summary(skill: Table, mean: Table) -> None:
  """Prints the TSS of each model, calibrated for each lead time, with its 95 % interval."""
  skill, mean = (table[table['threshold_rule'] == EACH] for table in (skill, mean))
  models = list(dict.fromkeys(skill['model']))
  rows = [['hours', *models]]
  for interval in sorted(set(skill['interval'])):
    of_interval = skill[skill['interval'] == interval]
    cells = {row['model']: _bounds(row) for row in of_interval}
    rows.append([f'{of_interval["hours"][0]:+.1f}', *(cells.get(model, '') for model in models)])
  rows.append(['mean < 0', *(_bounds(mean[mean['model'] == model][0]) for model in models)])
  print('True Skill Statistic, calibrated for each lead time [95 % interval over pairs, folds and training]:')
  for row in rows:
    print(f'{row[0]:>8}' + ''.join(f'{cell:>22}' for cell in row[1:]))


def _bounds(row) -> str:
  return f'{row["tss"]:.2f} [{row["tss_refit_low"]:.2f}, {row["tss_refit_high"]:.2f}]'


if __name__ == '__main__':
  cli.run(__name__)
