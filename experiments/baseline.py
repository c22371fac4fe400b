"""Cross-validates discriminant analyses of magnetogram features: what the network is measured against."""

import pathlib
import sys

import hearjax
from hearjax.checks import UserError
from hearjax.models.discriminant import DISCRIMINANTS, DiscriminantSettings, survey_features
from hearjax.survey.folds import read_or_make_splits, read_splits, write_splits
from hearjax.training.workdir import SPLITS_NAME
from hearjax.verification.predictions import PREDICTIONS, write_predictions

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.common('survey', 'workdir', 'seed', 'overwrite', 'max_missing')
  flags.integer('folds', 10, 'Folds of the cross-validation, by pair; those of the work directory if it has some.')
  flags.listed('models', DISCRIMINANTS, 'Which analyses.', choices=DISCRIMINANTS)
  flags.settings(DiscriminantSettings)
  flags.require('survey', 'workdir')
  flags.writes('workdir')


def main(flags: cli.Flags) -> None:
  settings = flags.build(DiscriminantSettings)
  directory = pathlib.Path(flags.workdir)
  paths = {model: directory / PREDICTIONS / f'{model}.ecsv' for model in flags.models}
  cli.check_unused(flags, *paths.values())
  survey = hearjax.read_survey(flags.survey, flags.max_missing)
  path_of_splits = directory / SPLITS_NAME
  if path_of_splits.exists() and not (flags.given('folds') or flags.given('seed')):
    splits = read_splits(path_of_splits, survey)
  else:
    splits = read_or_make_splits(path_of_splits, survey, flags.folds, flags.seed)
  write_splits(path_of_splits, splits, survey)
  features = survey_features(survey, settings)
  failed = 0
  for model, path in paths.items():
    try:
      table = hearjax.discriminant_analysis(survey, splits, model, settings, features)
    except UserError as error:
      failed += 1
      print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
      continue
    write_predictions(path, table)
    print(f'{model}: predictions are in {path}.')
  if failed:
    sys.exit(f'error: {failed} of {len(paths)} analyses could not be fitted.')


if __name__ == '__main__':
  cli.run(__name__)
