"""Trains the cross-validated network on a survey and predicts every pair out of fold.

A run that was interrupted goes on where it stopped when the same command is given again, to the same result.
"""

import dataclasses
import pathlib
import re

import jax
from absl import flags
from tqdm import tqdm

from experiments import cli
from hearjax import cross_validation, folds, transforms, workdir
from hearjax.augmentation import Augmentation
from hearjax.cross_validation import Execution, RunSettings
from hearjax.devices import is_first_process
from hearjax.metrics_log import MetricsLog, read_metrics
from hearjax.model import LOWERINGS, PRECISIONS, SYMMETRIES, ModelSettings
from hearjax.predictions import build_predictions, write_predictions
from hearjax.scoring import training_domain
from hearjax.survey.archive import read_survey
from hearjax.survey.survey import checksum
from hearjax.training import TrainSettings

FLAGS = flags.FLAGS
MODEL, TRAINING, AUGMENTATION, RUN = ModelSettings(), TrainSettings(), Augmentation(), RunSettings()
EXECUTION = Execution()
PRODUCT = 'predictions/cnn.ecsv'

cli.define_survey_flag()
cli.define_workdir_flag()
cli.define_seed_flag()
flags.DEFINE_integer('folds', 10, 'Folds of the cross-validation, by pair.')
flags.DEFINE_integer('seeds', RUN.seeds, 'Networks per fold, averaged in their logits.')
flags.DEFINE_multi_integer(
  'train_intervals', [], 'Intervals to learn from (repeat the flag); by default all before emergence.'
)
flags.DEFINE_float('max_missing', 0.2, 'Largest fraction of missing pixels that a magnetogram may have.')
flags.DEFINE_integer('checkpoint_every', RUN.checkpoint_every, 'Epochs between checkpoints.')
flags.DEFINE_integer(
  'members_at_once',
  EXECUTION.members_at_once,
  'Networks trained side by side in one program; 0 for all on an accelerator and one on a CPU.',
)
flags.DEFINE_bool(
  'streamed', EXECUTION.streamed, 'Feed the magnetograms in blocks instead of keeping them on the device.'
)
flags.DEFINE_integer('block_maps', EXECUTION.block_maps, 'Magnetograms of such a block.')
flags.DEFINE_string(
  'scratch',
  None,
  'Folder for a file of the maps, mapped into memory, where they do not fit into it; implies --streamed.',
)
flags.DEFINE_string(
  'coordinator',
  None,
  'Address host:port of process 0, for a run on several hosts that share the work directory; "auto" where the '
  'scheduler of a cluster tells JAX which process this is.',
)
flags.DEFINE_integer('processes', None, 'Processes of such a run, unless the coordinator is "auto".', lower_bound=1)
flags.DEFINE_integer('process', None, 'Number of this one, from 0 on.', lower_bound=0)
flags.DEFINE_bool('tensorboard', False, 'Also write TensorBoard event files.')
flags.DEFINE_integer('epochs', TRAINING.epochs, 'Passes over the training magnetograms.')
flags.DEFINE_integer('batch_size', TRAINING.batch_size, 'Magnetograms per step.')
flags.DEFINE_float('learning_rate', TRAINING.learning_rate, 'Peak of the learning-rate schedule.')
flags.DEFINE_float('weight_decay', TRAINING.weight_decay, 'Decoupled weight decay.')
flags.DEFINE_float('average_decay', TRAINING.average_decay, 'Decay of the parameter average, 0 for none.')
flags.DEFINE_integer('patience', TRAINING.patience, 'Epochs without a better validation loss before stopping.')
flags.DEFINE_list('widths', list(map(str, MODEL.widths)), 'Filters of each layer.')
flags.DEFINE_list('kernels', list(map(str, MODEL.kernels)), 'Kernel side of each layer [px].')
flags.DEFINE_list('strides', list(map(str, MODEL.strides)), 'Stride of each layer [px].')
flags.DEFINE_float('limit_gauss', MODEL.limit_gauss, 'Field strength at which the input is clipped [G].')
flags.DEFINE_float('scale_gauss', MODEL.scale_gauss, 'Field strength that the network sees as 1 [G].')
flags.DEFINE_integer('crop_px', MODEL.crop_px, 'Side of the central square that the network sees [px]; 0 for all.')
flags.DEFINE_float('centre_mm', MODEL.centre_mm, 'Radius of the central pooling window [Mm]; 0 for none.')
flags.DEFINE_float(
  'log_pool', MODEL.log_pool, 'Added to pooled activations before their logarithm; 0 for no logarithm.'
)
flags.DEFINE_list('symmetries', list(MODEL.symmetries), f'Exact symmetries of the logit, of {", ".join(SYMMETRIES)}.')
flags.DEFINE_enum('lowering', MODEL.lowering, ('auto', *LOWERINGS), 'How convolutions are computed.')
flags.DEFINE_enum('precision', MODEL.precision, PRECISIONS, 'Type of the numbers in the convolutions.')
flags.DEFINE_bool('augment_polarity', AUGMENTATION.polarity, "Reverse polarities at random; destroys Hale's law.")
flags.DEFINE_bool('augment_mirror', AUGMENTATION.mirror, "Mirror at random; destroys Hale's law and Joy's tilt.")
flags.DEFINE_bool('augment_transpose', AUGMENTATION.transpose, 'Exchange the axes at random; destroys orientation.')
flags.DEFINE_integer('augment_shift_px', AUGMENTATION.shift_px, 'Largest random shift along each axis [px].')
flags.DEFINE_float('augment_gain', AUGMENTATION.gain, 'Spread of a random gain, in its logarithm.')
flags.DEFINE_float('augment_noise_gauss', AUGMENTATION.noise_gauss, 'Random noise [G].')
flags.mark_flags_as_required(['survey', 'workdir'])


def settings_from_flags() -> RunSettings:
  """Returns the run's settings; every field of the settings dataclasses has the flag of its name."""

  def fill(kind, prefix='', **given):
    names = [field.name for field in dataclasses.fields(kind) if field.name not in given]
    return kind(**given, **{name: FLAGS[prefix + name].value for name in names})

  shape = {name: whole_numbers(name) for name in ('widths', 'kernels', 'strides')}
  model = fill(ModelSettings, **shape, symmetries=tuple(FLAGS.symmetries))
  training = fill(TrainSettings, augmentation=fill(Augmentation, 'augment_'))
  return fill(RunSettings, model=model, training=training, train_intervals=tuple(FLAGS.train_intervals))


def whole_numbers(name: str) -> tuple[int, ...]:
  """Returns the value of a flag that lists whole numbers.

  Raises:
    ValueError: One of them is not.
  """
  try:
    return tuple(map(int, FLAGS[name].value))
  except ValueError as error:
    raise ValueError(f'--{name} are whole numbers, one for each layer, got {",".join(FLAGS[name].value)}.') from error


class ProgressBar:
  """One bar over all epochs of all members: fold, epoch, loss, validation TSS, time left."""

  def __init__(self, members: int, epochs: int, log: list[dict]):
    """Starts the bar.

    Args:
      members: Networks of the run.
      epochs: Epochs of each, at most.
      log: Lines that an earlier run has logged; what it has done does not count for the time left.
    """
    self._epochs = epochs
    self._done: dict[tuple[int, int], int] = {}
    for line in log:
      self._count(line)
    initial = sum(self._done.values())
    self._bar = tqdm(total=members * epochs, initial=initial, unit='epoch', dynamic_ncols=True)

  def _count(self, line: dict) -> None:
    # A member that stops early gives its remaining epochs away.
    self._done[line['fold'], line['seed']] = self._epochs if line['finished'] else line['epoch']

  def __call__(self, line: dict) -> None:
    self._count(line)
    self._bar.set_description(f'fold {line["fold"]} seed {line["seed"]} epoch {line["epoch"]}', refresh=False)
    self._bar.set_postfix(loss=f'{line["loss"]:.3f}', tss=f'{line["validation_tss"]:.2f}', refresh=False)
    self._bar.update(sum(self._done.values()) - self._bar.n)

  def close(self) -> None:
    self._bar.close()


def join_processes() -> None:
  """Makes this process one of several that train together, where the flags say so.

  Raises:
    ValueError: The flags do not belong together, or the others were not found.
  """
  numbers = FLAGS.processes, FLAGS.process
  if FLAGS.coordinator is None or FLAGS.coordinator == 'auto':
    if numbers != (None, None):
      raise ValueError('--processes and --process belong to --coordinator=host:port.')
    if FLAGS.coordinator is None:
      return
    given = {}
  elif not re.fullmatch(r'.+:\d+', FLAGS.coordinator):
    raise ValueError(f'--coordinator is host:port, or auto; got {FLAGS.coordinator}.')
  elif None in numbers or FLAGS.process >= FLAGS.processes:
    raise ValueError(f'--coordinator needs --processes and a smaller --process, got {numbers[0]} and {numbers[1]}.')
  else:
    given = {'coordinator_address': FLAGS.coordinator, 'num_processes': FLAGS.processes, 'process_id': FLAGS.process}
  try:
    jax.distributed.initialize(**given)
  except (RuntimeError, ValueError) as error:
    raise ValueError(f'The processes did not find each other at {FLAGS.coordinator}: {error}') from error


def main() -> None:
  run_settings = settings_from_flags()
  join_processes()
  execution = Execution(FLAGS.members_at_once, FLAGS.streamed or FLAGS.scratch is not None, FLAGS.block_maps)
  survey = read_survey(FLAGS.survey, FLAGS.max_missing, FLAGS.scratch)
  settings = {
    'survey_checksum': checksum(survey),
    'survey_source': survey.source,
    'folds': FLAGS.folds,
    **dataclasses.asdict(run_settings),
  }
  path_of_splits = pathlib.Path(FLAGS.workdir) / 'splits.json'
  splits = folds.read_or_make_splits(path_of_splits, survey, FLAGS.folds, FLAGS.seed)
  cross_validation.fold_rows(survey, splits, run_settings.train_intervals)  # Fails here, before anything is written.
  if not is_first_process():  # The first one alone writes, but for checkpoints, and speaks to the user.
    cross_validation.run(survey, splits, run_settings, FLAGS.workdir, execution=execution)
    return
  seen = transforms.crop(survey.field, run_settings.model.visible_px(survey.field.shape[-1]))
  domain = training_domain(survey.replace(field=seen))
  directory = workdir.open_workdir(FLAGS.workdir, settings, PRODUCT, domain, FLAGS.survey)
  folds.write_splits(path_of_splits, splits, survey)
  log = MetricsLog(directory / 'metrics.jsonl', FLAGS.tensorboard)
  bar = ProgressBar(FLAGS.folds * FLAGS.seeds, FLAGS.epochs, read_metrics(directory / 'metrics.jsonl'))

  def report(line: dict) -> None:
    log(line)
    bar(line)

  columns = cross_validation.run(survey, splits, run_settings, directory, report, execution)
  bar.close()
  write_predictions(directory / PRODUCT, build_predictions(survey, columns, 'cnn', workdir.plain(settings)))
  print(f'Trained {FLAGS.folds * FLAGS.seeds} networks; predictions are in {directory / PRODUCT}.')


if __name__ == '__main__':
  cli.run(main)
