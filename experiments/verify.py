"""Scores predictions tables, of any model or program: skill at each interval, differences between models, figures."""

import pathlib

import numpy as np
from absl import flags, logging
from astropy.table import Table

from experiments import cli
from hearjax import verification
from hearjax.files import write_table
from hearjax.predictions import read_predictions
from hearjax.report.plots import plot_reliability, plot_skill

FLAGS = flags.FLAGS

cli.define_workdir_flag()
cli.define_seed_flag()
flags.DEFINE_list('predictions', [], 'Predictions tables to score; all in the work directory for none.')
flags.DEFINE_string('reference', 'cnn', 'Model that the others are compared with.')
flags.DEFINE_integer('resamples', 2000, 'Bootstrap samples of the pairs.', lower_bound=1)
cli.define_overwrite_flag()
flags.mark_flag_as_required('workdir')


def main() -> None:
  directory = pathlib.Path(FLAGS.workdir)
  cli.check_unused(directory / 'skill.ecsv')
  paths = FLAGS.predictions or sorted((directory / 'predictions').glob('*.ecsv'))
  if not paths:
    raise FileNotFoundError(f'There is no table in {directory / "predictions"}; run train or baseline first.')
  tables = verification.common_rows([read_predictions(path) for path in paths])
  models = [table.meta['model'] for table in tables]
  products = {
    'skill': verification.skill_table(tables, FLAGS.resamples, FLAGS.seed),
    'skill_mean': verification.skill_mean_table(tables, FLAGS.resamples, FLAGS.seed),
  }
  if FLAGS.reference in models and len(models) > 1:
    products['differences'], products['differences_mean'] = verification.difference_tables(
      tables, FLAGS.reference, FLAGS.resamples, FLAGS.seed
    )
  else:
    logging.warning('No differences: they need a table of the model %s and one more.', FLAGS.reference)
  source = {key: tables[0].meta[key] for key in ('survey_checksum', 'survey_source') if key in tables[0].meta}
  for table in products.values():
    table.meta = {**source, 'resamples': FLAGS.resamples, 'seed': FLAGS.seed}
  plot_skill(products['skill'], directory / 'figures' / 'skill.png')
  plot_reliability(tables, last_before_emergence(products['skill']), directory / 'figures' / 'reliability.png')
  # The table whose presence marks the scoring as finished is written last.
  for name, table in reversed(products.items()):
    write_table(directory / f'{name}.ecsv', table)
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
  cli.run(main)
