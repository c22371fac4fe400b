"""Copies of the networks that are tuned to one interval: what is compared with analyses fitted to each interval.

One network serves all intervals before emergence, as it must where the lead time is not known. An analysis that is
fitted to each interval knows it. On equal terms with that, a copy of each trained network goes on learning from one
interval alone, for each interval anew; what is tuned forecasts that interval and nothing else.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.survey.fold_rows import FoldRows, fold_rows
from hearjax.survey.folds import Splits
from hearjax.survey.survey import Survey
from hearjax.training.group import Member, Trainer, fill_members, member_key, one_of, put
from hearjax.training.loop import train_members
from hearjax.training.placement import fetch
from hearjax.training.settings import TrainSettings
from hearjax.training.step import Params, begin, build_optimizer

STREAM = 64  # Sets the keys of the tuning apart from those of the training.


def interval_rows(survey: Survey, splits: Splits) -> Iterator[tuple[int, tuple[FoldRows, ...]]]:
  """Yields each interval of a survey to which networks can be tuned, and its rows alone on each side of every fold.

  An interval that lacks a class in the training or the validation part of a fold is left out.
  """
  for interval in np.unique(survey.interval).tolist():
    rows = fold_rows(survey, splits, (interval,))
    sides = [survey.label[side] for fold in rows for side in (fold.train, fold.validation)]
    if all(len(np.unique(labels)) == 2 for labels in sides):
      at = lambda fold, interval=interval: fold.test[survey.interval[fold.test] == interval]  # noqa: E731
      yield interval, tuple(dataclasses.replace(fold, test=at(fold)) for fold in rows)


def tuning_settings(training: TrainSettings) -> TrainSettings:
  """Returns how copies are tuned: as networks are trained, for half of the epochs and in batches of half the size."""
  return dataclasses.replace(training, epochs=-(-training.epochs // 2), batch_size=-(-training.batch_size // 2))


def tune_group(
  trainer: Trainer, interval: int, rows: Sequence[FoldRows], params: Mapping[Member, Params]
) -> dict[Member, Params]:
  """Tunes a copy of each of some members to an interval.

  Args:
    trainer: What the members share.
    interval: The interval.
    rows: Its rows on each side of every fold (`interval_rows`).
    params: Trained parameters of each member.

  Returns:
    The parameters of each member's copy, on the host.
  """
  members = list(params)
  filled = fill_members(trainer, members)
  settings = tuning_settings(trainer.settings.training)
  steps = max(1, max(len(fold.train) for fold in rows) // settings.batch_size)
  tx = build_optimizer(settings, steps)
  keys = jnp.stack([member_key(trainer.settings.seed, *member) for member in filled])
  epochs = train_members(
    put(trainer, [fetch(begin(tx, params[member])) for member in filled]),
    trainer.feed,
    trainer.label,
    [rows[fold].train for fold, _ in filled],
    [rows[fold].validation for fold, _ in filled],
    jax.vmap(jax.random.fold_in, (0, None))(keys, STREAM + interval),
    model=trainer.model,
    tx=tx,
    settings=settings,
    steps_per_epoch=steps,
  )
  for states, _ in epochs:  # noqa: B007  The last ones are wanted.
    pass
  average = fetch(states.average)
  return {member: one_of(average, index) for index, member in enumerate(members)}
