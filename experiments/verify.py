"""Scores predictions tables, of any model or program: skill at each interval, differences between models, figures."""

import pathlib

import numpy as np
from absl import logging
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import visible_files, write_table
from hearjax.report.skill_plots import plot_reliability, plot_skill
from hearjax.survey.archive import read_survey
from hearjax.survey.survey import checksum
from hearjax.verification.predictions import PREDICTIONS, read_predictions
from hearjax.verification.skill import common_rows, difference_tables, skill_mean_table, skill_table

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.path('survey', None, 'Folder of the survey archive that the predictions must be of; not looked at without it.')
  flags.common('workdir', 'seed', 'overwrite')
  flags.paths('predictions', 'Predictions tables to score; all in the work directory for none.')
  flags.string('reference', 'cnn', 'Model that the others are compared with.')
  flags.integer('resamples', 2000, 'Bootstrap samples of the pairs.', lower_bound=1)
  flags.require('workdir')
  flags.writes('workdir')


def main(flags: cli.Flags) -> None:
  directory = pathlib.Path(flags.workdir)
  cli.check_unused(flags, directory / 'skill.ecsv')
  paths = flags.predictions or visible_files(directory / PREDICTIONS, '*.ecsv')
  if not paths:
    raise FileNotFoundError(f'There is no table in {directory / PREDICTIONS}; run train or baseline first.')
  tables = common_rows([read_predictions(path) for path in paths])
  if flags.survey and checksum(read_survey(flags.survey, max_missing=1.0)) != tables[0].meta['survey_checksum']:
    raise UserError(f'The predictions are of another survey than {flags.survey} (checksums differ).')
  models = [table.meta['model'] for table in tables]
  products = {
    'skill': skill_table(tables, flags.resamples, flags.seed),
    'skill_mean': skill_mean_table(tables, flags.resamples, flags.seed),
  }
  if flags.reference in models and len(models) > 1:
    products['differences'], products['differences_mean'] = difference_tables(
      tables, flags.reference, flags.resamples, flags.seed
    )
  else:
    logging.warning('No differences: they need a table of the model %s and one more.', flags.reference)
  source = {key: tables[0].meta[key] for key in ('survey_checksum', 'survey_source') if key in tables[0].meta}
  for table in products.values():
    table.meta = {**source, 'resamples': flags.resamples, 'seed': flags.seed}
  for name, table in reversed(products.items()):  # The one that marks the scoring as finished comes last.
    write_table(directory / f'{name}.ecsv', table)
  plot_skill(products['skill'], directory / 'figures' / 'skill.png')
  plot_reliability(tables, last_before_emergence(products['skill']), directory / 'figures' / 'reliability.png')
  print_summary(products['skill'], products['skill_mean'])
  if 'differences' in products:
    print_differences(products['differences_mean'])


def last_before_emergence(skill: Table) -> int:
  """Returns the last interval before emergence that can be scored, or the first one after it where there is none."""
  scored = skill[np.isfinite(skill['tss'])]
  before = scored[scored['hours'] < 0]
  return int(before['interval'].max() if len(before) else scored['interval'].min())


def print_summary(skill: Table, mean: Table) -> None:
  """Prints the TSS of each model for the threshold chosen in training, with its 95 % interval."""
  skill, mean = (table[table['threshold_rule'] == 'train'] for table in (skill, mean))
  models = list(dict.fromkeys(skill['model']))
  rows = [['hours', *models]]
  for interval in sorted(set(skill['interval'])):
    of_interval = skill[skill['interval'] == interval]
    cells = {row['model']: _bounds(row) for row in of_interval}
    rows.append([f'{of_interval["hours"][0]:+.1f}', *(cells.get(model, '') for model in models)])
  rows.append(['mean < 0', *(_bounds(mean[mean['model'] == model][0]) for model in models)])
  print('True Skill Statistic [95 % interval], threshold chosen in training:')
  for row in rows:
    print(f'{row[0]:>8}' + ''.join(f'{cell:>22}' for cell in row[1:]))


def print_differences(mean: Table) -> None:
  """Prints how far the reference is ahead of each other model, on average over the intervals before emergence."""
  print('Difference of the mean TSS [95 % interval, same pairs]:')
  for row in mean[mean['threshold_rule'] == 'train']:
    print(f'  {row["model"]} - {row["baseline"]}: {row["difference"]:+.2f} [{row["low"]:+.2f}, {row["high"]:+.2f}]')


def _bounds(row) -> str:
  return f'{row["tss"]:.2f} [{row["tss_low"]:.2f}, {row["tss_high"]:.2f}]'


if __name__ == '__main__':
  cli.run(__name__)
