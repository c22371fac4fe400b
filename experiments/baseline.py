"""Cross-validates discriminant analyses of magnetogram features: what the network is measured against.

Where it is asked for, they are fitted many times more: with labels exchanged within pairs, which tests whether they
have any skill, and to fewer pairs, which tells whether more pairs would help.
"""

import functools
import pathlib
import sys

from astropy.table import Table, vstack

import hearjax
from hearjax.checks import UserError
from hearjax.files import write_table
from hearjax.models.discriminant import DISCRIMINANTS, DiscriminantSettings, survey_features
from hearjax.progress import meter, say
from hearjax.survey.folds import read_or_make_splits, read_splits, write_splits
from hearjax.training.workdir import SPLITS_NAME
from hearjax.verification.intervals import learning_curve, permutation_table
from hearjax.verification.predictions import PREDICTIONS, write_predictions

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.common('survey', 'workdir', 'seed', 'overwrite', 'max_missing')
  flags.integer('folds', 10, 'Folds of the cross-validation, by pair; those of the work directory if it has some.')
  flags.listed('models', DISCRIMINANTS, 'Which analyses.', choices=DISCRIMINANTS)
  flags.integer('permutations', 0, 'Exchanges of the labels for the test of no skill; 0 for no test.', lower_bound=0)
  flags.listed('learning_pairs', (), 'Training pairs of the learning curve; none for no curve.', int)
  flags.integer('learning_draws', 5, 'Draws of these pairs.', lower_bound=1)
  flags.settings(DiscriminantSettings)
  flags.require('survey', 'workdir')
  flags.writes('workdir')


def main(flags: cli.Flags) -> None:
  settings = flags.build(DiscriminantSettings)
  directory = pathlib.Path(flags.workdir)
  paths = {model: directory / PREDICTIONS / f'{model}.ecsv' for model in flags.models}
  cli.check_unused(flags, *paths.values())
  survey = hearjax.read_survey(flags.survey, flags.max_missing, progress=meter('reading', 'file'))
  path_of_splits = directory / SPLITS_NAME
  if path_of_splits.exists() and not (flags.given('folds') or flags.given('seed')):
    splits = read_splits(path_of_splits, survey)
  else:
    splits = read_or_make_splits(path_of_splits, survey, flags.folds, flags.seed)
  write_splits(path_of_splits, splits, survey)
  features = survey_features(survey, settings)
  failed, fitted = 0, []
  for model, path in meter('fitting', 'model')(list(paths.items())):
    try:
      table = hearjax.discriminant_analysis(survey, splits, model, settings, features)
    except UserError as error:
      failed += 1
      say(f'error: {" ".join(str(error).split())}', sys.stderr)
      continue
    write_predictions(path, table)
    say(f'{model}: predictions are in {path}.')
    fitted.append(model)
  analyses = {
    model: functools.partial(hearjax.discriminant_analysis, model=model, settings=settings, features=features)
    for model in fitted
  }
  if flags.permutations:
    tests = [
      permutation_table(
        analyse, survey, splits, flags.permutations, flags.seed, meter(f'{model}, labels exchanged', 'exchange')
      )
      for model, analyse in analyses.items()
    ]
    keep(directory / 'permutation.ecsv', tests)
  if flags.learning_pairs:
    curves = [
      learning_curve(
        analyse,
        survey,
        splits,
        flags.learning_pairs,
        flags.learning_draws,
        flags.seed,
        meter(f'{model}, fewer pairs', 'draw'),
      )
      for model, analyse in analyses.items()
    ]
    keep(directory / 'learning_curve.ecsv', curves)
  if failed:
    sys.exit(f'error: {failed} of {len(paths)} analyses could not be fitted.')


def keep(path: pathlib.Path, tables: list[Table]) -> None:
  """Writes tables of all models as one, and prints it."""
  table = vstack(tables)
  write_table(path, table)
  for column in table.itercols():
    if column.dtype.kind == 'f':
      column.format = '.3f'
  table.pprint(max_lines=-1, max_width=-1)


if __name__ == '__main__':
  cli.run(__name__)
