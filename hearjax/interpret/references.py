"""Networks that cannot know what is claimed of others: meters, untrained ones, and ones that learnt exchanged labels.

Whatever a method says of the networks of a run it also says of these. For each fold there is one of each kind (of
untrained ones more), asked about the test maps of that fold as its members are, so that nothing else differs.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.files import plain, told_as_damaged, write_json
from hearjax.interpret.maps import MEMBERS, Subject
from hearjax.interpret.network import EmergenceAdapter, Params
from hearjax.models.network import ModelSettings, build_model
from hearjax.progress import Progress, silent
from hearjax.training.checkpoints import restore_params, save_params
from hearjax.training.group import Trainer, build_trainer, member_key
from hearjax.training.loop import train_members
from hearjax.training.run import Run
from hearjax.training.settings import Execution
from hearjax.training.step import create_states

FIELD_METER, FLUX_METER = 'meter of |B|', 'meter of flux'
UNTRAINED, EXCHANGED = 'untrained', 'labels exchanged'
GROUPS = (MEMBERS, FIELD_METER, FLUX_METER, UNTRAINED, EXCHANGED)
FOLDER = 'references'
STREAM = 14  # Of random numbers, apart from those of the training.


@dataclasses.dataclass(frozen=True)
class ReferenceSettings:
  """How many references there are; the numbers are our choice.

  Attributes:
    untrained: Untrained networks for each fold.
    exchanged: Networks for each fold that learn labels which are exchanged at random within pairs.
    exchanged_epochs: Epochs for which they learn.
    window_mm: Radius (standard deviation) of the central window of the meter of |B| [Mm], where the networks have none.
  """

  untrained: int = 2
  exchanged: int = 1
  exchanged_epochs: int = 8
  window_mm: float = 5.0

  def __post_init__(self):
    if min(self.untrained, self.exchanged, self.exchanged_epochs) < 1 or not 0 < self.window_mm < float('inf'):
      raise UserError(
        'References need at least one network of each kind and one epoch, and a positive window, got '
        f'{self.untrained}, {self.exchanged}, {self.exchanged_epochs} and {self.window_mm} Mm.'
      )


def make_references(run: Run, settings: ReferenceSettings, seed: int, progress: Progress = silent) -> list[Subject]:
  """Makes the references of a run, or finds those again that learnt exchanged labels in its work directory.

  Args:
    run: A finished run.
    settings: How many of each.
    seed: Of untrained networks and exchanged labels.
    progress: Goes through the networks that are trained, and may show how far it is.

  Raises:
    UserError: A fold has one class alone, so that there are no labels to exchange, or what the work directory holds is
      damaged.
    OSError: They cannot be kept.
  """
  model, folds = run.ensemble.model, run.folds
  own = EmergenceAdapter(model)
  references = []
  for group, of_centre in ((FIELD_METER, True), (FLUX_METER, False)):
    meter, params = make_meter(model.settings, model.pixel_scale_mm, of_centre, settings.window_mm)
    references += [Subject(f'{group}, fold {fold}', group, meter, params, rows) for fold, rows in enumerate(folds)]
  init = jax.jit(model.init)
  size = own.visible_px(run.survey.field.shape[-1])
  keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), STREAM), (len(folds), settings.untrained))
  for (fold, rows), number in itertools.product(enumerate(folds), range(settings.untrained)):
    params = init(keys[fold, number], jnp.zeros((1, size, size)))
    references.append(Subject(f'untrained {number}, fold {fold}', UNTRAINED, own, params, rows))
  places = list(itertools.product(range(len(folds)), range(settings.exchanged)))  # Fold, and number within it.
  exchanged = _kept_exchanged(run, places, settings.exchanged_epochs, seed, progress)
  references += [
    Subject(f'labels exchanged {number}, fold {fold}', EXCHANGED, own, params, folds[fold])
    for (fold, number), params in zip(places, exchanged, strict=True)
  ]
  return references


def make_meter(
  like: ModelSettings, pixel_scale_mm: float, of_centre: bool, window_mm: float
) -> tuple[EmergenceAdapter, Params]:
  """Returns a network whose logit is the mean of |B| [100 G], over the central window or over the whole square.

  Two filters of one pixel, one for each polarity; nothing is clipped, so that it is blind to scale.

  Args:
    like: Settings of the networks that it stands beside: square and window.
    pixel_scale_mm: Side of a pixel [Mm].
    of_centre: Whether it is the mean over the window.
    window_mm: That window, where the networks have none [Mm].
  """
  settings = dataclasses.replace(
    like,
    widths=(2,),
    kernels=(1,),
    strides=(1,),
    limit_gauss=1e6,
    scale_gauss=100.0,
    centre_mm=like.centre_mm or window_mm,
    log_pool=0.0,
    symmetries=(),
    precision='float32',
  )
  weights = np.repeat([0.0, 1.0] if of_centre else [1.0, 0.0], 2)[:, None]
  params = {
    'convolution_0': {'kernel': jnp.array([[[[1.0, -1.0]]]]), 'bias': jnp.zeros(2)},
    'logit': {'kernel': jnp.asarray(weights, jnp.float32), 'bias': jnp.zeros(1)},
  }
  return EmergenceAdapter(build_model(settings, pixel_scale_mm)), {'params': params}


# --- Exchanged labels ---------------------------------------------------------------------------------------------


def exchange_labels(label: np.ndarray, pair: np.ndarray, seed: Sequence[int]) -> np.ndarray:
  """Returns `[n]` labels of which those of half of the pairs, drawn at random, have changed sides."""
  changed = np.random.default_rng(seed).random(int(pair.max()) + 1) < 0.5
  return np.where(changed[pair], 1 - label, label)


def _kept_exchanged(
  run: Run, places: Sequence[tuple[int, int]], epochs: int, seed: int, progress: Progress
) -> list[Params]:
  """Returns parameters of a network for each fold and number in it, from the work directory where they are there."""
  if run.directory is None:
    return _train_exchanged(run, places, epochs, seed, progress)
  folder = pathlib.Path(run.directory) / FOLDER
  record, paths = folder / 'references.json', [folder / f'fold{fold:02d}_{number}' for fold, number in places]
  settings = dataclasses.asdict(run.settings)
  identity = plain({'splits': run.splits.checksum, 'run': settings, 'places': places, 'epochs': epochs, 'seed': seed})
  if record.is_file():
    with told_as_damaged(record, f'remove {folder}'):
      known = json.loads(record.read_text())
    if known == identity:
      like = jax.tree.map(lambda leaf: leaf[0], run.ensemble.params)
      return [restore_params(path, like) for path in paths]
    record.unlink()
  found = _train_exchanged(run, places, epochs, seed, progress)
  for path, params in zip(paths, found, strict=True):
    save_params(path, params)
  write_json(record, identity)
  return found


def _train_exchanged(
  run: Run, places: Sequence[tuple[int, int]], epochs: int, seed: int, progress: Progress
) -> list[Params]:
  for number, rows in enumerate(run.folds):
    if len(np.unique(run.survey.label[rows.train])) < 2:
      raise UserError(
        f'The training part of fold {number} is of one class, so that there are no labels to exchange and no reference '
        'can be made; a survey with emerging and control regions is needed.'
      )
  trainer = build_trainer(run.survey, run.folds, run.settings, Execution(members_at_once=1))
  return [_train_one(trainer, run, fold, number, epochs, seed) for fold, number in progress(places)]


def _train_one(trainer: Trainer, run: Run, fold: int, number: int, epochs: int, seed: int) -> Params:
  rows = run.folds[fold]
  keys = jax.random.split(jax.random.fold_in(member_key(seed, fold, number), STREAM))[:, None]
  states = create_states(trainer.model, trainer.tx, keys[0], trainer.size)
  label = exchange_labels(run.survey.label, run.survey.pair, [seed, fold, number, STREAM])
  training = train_members(
    states,
    trainer.feed,
    label,
    [rows.train],
    [rows.validation],
    keys[1],
    model=trainer.model,
    tx=trainer.tx,
    settings=trainer.settings.training,
    steps_per_epoch=trainer.steps_per_epoch,
  )
  # The schedule is that of the run, so that nothing is compiled again; it is left after its first epochs.
  for states, _ in itertools.islice(training, epochs):  # noqa: B007
    pass
  return jax.tree.map(lambda leaf: np.asarray(leaf[0]), states.average)
