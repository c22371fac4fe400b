"""Cross-validates discriminant analyses of magnetogram features: what the network is measured against."""

import pathlib

from absl import flags

from experiments import cli
from hearjax import baselines, folds
from hearjax.predictions import write_predictions
from hearjax.survey.archive import read_survey

FLAGS = flags.FLAGS
DEFAULT = baselines.DiscriminantSettings()

cli.define_survey_flag()
cli.define_workdir_flag()
cli.define_seed_flag()
flags.DEFINE_integer('folds', 10, 'Folds of the cross-validation, by pair; those of the work directory if it has some.')
flags.DEFINE_list('models', list(baselines.MODELS), f'Which analyses, of {", ".join(baselines.MODELS)}.')
flags.DEFINE_integer('crop_px', DEFAULT.crop_px, 'Central square of the features [px]; 0 for the whole map.')
flags.DEFINE_list('features', list(DEFAULT.features), 'Features of the multi-variable analyses.')
flags.DEFINE_bool('logarithm', DEFAULT.logarithm, 'Take log10 of features with a long tail.')
flags.DEFINE_float('max_missing', 0.2, 'Largest fraction of missing pixels that a magnetogram may have.')
cli.define_overwrite_flag()
flags.mark_flags_as_required(['survey', 'workdir'])


def main() -> None:
  settings = baselines.DiscriminantSettings(
    crop_px=FLAGS.crop_px, features=tuple(FLAGS.features), logarithm=FLAGS.logarithm
  )
  directory = pathlib.Path(FLAGS.workdir)
  paths = {model: directory / 'predictions' / f'{model}.ecsv' for model in FLAGS.models}
  for model in FLAGS.models:
    baselines.feature_names(model, settings)
  cli.check_unused(*paths.values())
  survey = read_survey(FLAGS.survey, max_missing=FLAGS.max_missing)
  path_of_splits = directory / 'splits.json'
  if not FLAGS['folds'].present and path_of_splits.exists():
    splits = folds.read_splits(path_of_splits, survey)
  else:
    splits = folds.read_or_make_splits(path_of_splits, survey, FLAGS.folds, FLAGS.seed)
  folds.write_splits(path_of_splits, splits, survey)
  features = baselines.survey_features(survey, settings)
  for model, path in paths.items():
    write_predictions(path, baselines.cross_validate(survey, splits, model, settings, features))
    print(f'{model}: predictions are in {path}.')


if __name__ == '__main__':
  cli.run(main)
