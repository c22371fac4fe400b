"""Folds x seeds: trains the members of a run, resumes what was interrupted, and predicts every pair out of fold."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.forecast.domain import training_domain
from hearjax.maps import transforms
from hearjax.models.network import build_model
from hearjax.progress import Progress, silent
from hearjax.survey.fold_rows import FoldRows, check_fold_rows, fold_rows
from hearjax.survey.folds import Splits, certify, make_splits, read_or_make_splits, read_splits, write_splits
from hearjax.survey.survey import Survey
from hearjax.training.ensemble import Ensemble, stack_members
from hearjax.training.group import Member, Report, Trainer, build_trainer, train_group
from hearjax.training.loop import predict
from hearjax.training.placement import is_first_process, refusing_together
from hearjax.training.run import Run, identity_of
from hearjax.training.settings import Execution, RunSettings
from hearjax.training.step import Params
from hearjax.training.tuning import interval_rows, tune_group
from hearjax.training.workdir import (
  LOG_NAME,
  PRODUCT,
  SPLITS_NAME,
  TUNED,
  MetricsLog,
  member_name,
  open_workdir,
  remove_run,
  sole_training,
)
from hearjax.verification.predictions import build_predictions, mean_threshold, tuned_name, write_predictions
from hearjax.verification.scores import steady_threshold


def fit(
  survey: Survey,
  splits: Splits | None = None,
  settings: RunSettings | None = None,
  workdir: str | os.PathLike | None = None,
  execution: Execution | None = None,
  report: Report | None = None,
  overwrite: bool = False,
  progress: Progress = silent,
) -> Run:
  """Trains the cross-validated networks on a survey and predicts every pair by networks that have not seen it.

  A work directory keeps everything: a run that was interrupted goes on where it stopped when the same is asked for
  again, to the same result, and `Run.load` gives the same run later. Of several processes the first one alone writes
  (but for checkpoints) and reports.

  Args:
    survey: The survey.
    splits: Its folds; None for those of the work directory, or else new ones (`survey.folds.make_splits`).
    settings: What determines the run; the default ones for None. The number of folds is that of `splits`, where given.
    workdir: The work directory; None keeps everything in memory.
    execution: How to compute it; the default way for None.
    report: Called after each epoch of each member with its metrics, once for each.
    overwrite: Replace what an earlier run left in the work directory, rather than resume or refuse it.
    progress: Goes through the tuning of copies after the training, and may show how far it is.

  Returns:
    The run: predictions, networks, survey, folds, settings.

  Raises:
    UserError: The folds do not fit the survey, a side of a fold lacks a class, the work directory is of other folds or
      settings, or the loss of a member is not finite (says at which step).
    FileExistsError: The work directory holds a finished run.
    BlockingIOError: Another process trains in it.
    OSError: A file cannot be written.
  """
  settings, execution = settings or RunSettings(), execution or Execution()
  workdir = pathlib.Path(workdir) if workdir else None
  with contextlib.ExitStack() as held:
    with refusing_together():
      held.enter_context(sole_training(workdir))
      plan = _prepare(survey, splits, settings, workdir, execution, overwrite)

    def tell(line: dict[str, Any]) -> None:
      if is_first_process() and plan.append(line) and report:
        report(line)

    return _carry_out(plan, survey, workdir, execution, tell, progress)


@dataclasses.dataclass(frozen=True)
class _Plan:
  """A run that nothing stands against: folds, their rows, settings, what it is trained on, what determines it."""

  splits: Splits
  rows: tuple[FoldRows, ...]
  settings: RunSettings
  domain: dict[str, Any]
  identity: dict[str, Any]
  append: Callable[[dict[str, Any]], bool]  # Writes a line of the log; says whether it is a new one.


def _prepare(
  survey: Survey,
  splits: Splits | None,
  settings: RunSettings,
  workdir: pathlib.Path | None,
  execution: Execution,
  overwrite: bool,
) -> _Plan:
  """Checks all of it and opens the work directory; raises as `fit`."""
  path = workdir / SPLITS_NAME if workdir else None
  splits = _find_splits(survey, splits, settings, None if overwrite else path)
  settings = dataclasses.replace(settings, folds=len(splits.folds))
  rows = fold_rows(survey, splits, settings.train_intervals)
  check_fold_rows(survey, rows, settings.train_intervals)  # Before anything is written.
  seen = transforms.crop(survey.field, settings.model.visible_px(survey.field.shape[-1]))
  domain = training_domain(survey.replace(field=seen))
  identity = identity_of(splits.survey_checksum, splits, settings)
  append = lambda line: True  # noqa: E731
  if workdir and is_first_process():
    if overwrite:
      remove_run(workdir)
    open_workdir(workdir, identity, execution, domain, survey.folder)
    write_splits(path, splits, survey)
    append = MetricsLog(workdir / LOG_NAME).append
  return _Plan(splits, rows, settings, domain, identity, append)


def _carry_out(
  plan: _Plan,
  survey: Survey,
  workdir: pathlib.Path | None,
  execution: Execution,
  report: Report,
  progress: Progress,
) -> Run:
  """Trains all members, group by group, and lets them predict."""
  settings, rows = plan.settings, plan.rows
  trainer = build_trainer(survey, rows, settings, execution)
  members = [(fold, seed) for fold in range(len(rows)) for seed in range(settings.seeds)]
  at_once = execution.group_size(len(members))
  groups = [members[start : start + at_once] for start in range(0, len(members), at_once)]
  params: dict[Member, Params] = {}
  for group in groups:
    params |= train_group(trainer, rows, group, workdir, report)
  columns = predict_out_of_fold(trainer, rows, params, survey.pair)
  predictions = build_predictions(survey, columns, 'cnn', plan.identity)
  tuned = None
  if settings.tuned:
    by_group = [{member: params[member] for member in group} for group in groups]
    columns = predict_tuned(trainer, survey, plan.splits, by_group, columns, progress)
    tuned = build_predictions(survey, columns, tuned_name('cnn'), plan.identity)
  if workdir and is_first_process():
    if tuned is not None:
      write_predictions(workdir / TUNED, tuned)
    write_predictions(workdir / PRODUCT, predictions)  # Last: it marks the run as finished.
  names = tuple(member_name(*member) for member in members)
  model = build_model(settings.model, survey.pixel_scale_mm)
  networks = stack_members([params[member] for member in members])
  ensemble = Ensemble(model, networks, names, plan.domain, mean_threshold(predictions))
  return Run(survey, plan.splits, settings, ensemble, predictions, tuned, workdir)


def _find_splits(survey: Survey, splits: Splits | None, settings: RunSettings, path: pathlib.Path | None) -> Splits:
  """Returns the folds that are given, or those of the work directory, or new ones; certified for the survey."""
  if splits is None:
    if path is None:
      return make_splits(survey, settings.folds, settings.seed)
    return read_or_make_splits(path, survey, settings.folds, settings.seed)
  certify(splits, survey)
  if path and path.exists() and read_splits(path, survey).checksum != splits.checksum:
    raise UserError(f'{path} holds other folds than those given; name another work directory.')
  return splits


def predict_out_of_fold(
  trainer: Trainer, rows: Sequence[FoldRows], params: dict[Member, Params], pair: np.ndarray
) -> dict[str, np.ndarray]:
  """Predicts the test rows of each fold, with the threshold that its other rows suggest.

  Returns:
    Columns of the predictions: `row` (of the survey), `fold`, `seed`, `logit`, `threshold` (a probability). The
    threshold is one for each fold: the steady one for the seed-averaged logit of its training and validation pairs.
  """
  columns: dict[str, list[np.ndarray]] = {name: [] for name in ('row', 'fold', 'seed', 'logit', 'threshold')}
  for fold, sides in enumerate(rows):
    fitted = np.concatenate([sides.train, sides.validation])
    wanted = np.concatenate([sides.test, fitted])
    logits = np.stack(
      [predict(trainer.model, params[fold, seed], trainer.feed, wanted) for seed in range(trainer.settings.seeds)]
    )
    of_test, of_fitted = np.split(logits, [len(sides.test)], axis=1)
    threshold = steady_threshold(trainer.label[fitted], expit(of_fitted.mean(axis=0)), pair[fitted])
    for seed, of_seed in enumerate(of_test):
      columns['row'].append(sides.test)
      columns['logit'].append(of_seed)
      for name, value in (('fold', fold), ('seed', seed), ('threshold', threshold)):
        columns[name].append(np.full(len(sides.test), value))
  return {name: np.concatenate(parts) for name, parts in columns.items()}


def predict_tuned(
  trainer: Trainer,
  survey: Survey,
  splits: Splits,
  groups: Sequence[Mapping[Member, Params]],
  untuned: Mapping[str, np.ndarray],
  progress: Progress = silent,
) -> dict[str, np.ndarray]:
  """Tunes copies of all members to each interval, which then predict its test rows.

  Args:
    trainer: What the members share.
    survey: The survey.
    splits: Its folds.
    groups: Trained parameters of the members that are tuned side by side.
    untuned: What the members themselves predict (`predict_out_of_fold`); kept at intervals to which none can be tuned.
    progress: Goes through intervals and groups, and may show how far it is.

  Returns:
    Columns as those of `predict_out_of_fold`.
  """
  rows_at = dict(interval_rows(survey, splits))
  tuned: dict[int, dict[Member, Params]] = {interval: {} for interval in rows_at}
  for interval, group in progress([(interval, group) for interval in rows_at for group in groups]):
    tuned[interval] |= tune_group(trainer, interval, rows_at[interval], group)
  left = ~np.isin(survey.interval[untuned['row']], list(rows_at))
  parts = [{name: values[left] for name, values in untuned.items()}]
  parts += [predict_out_of_fold(trainer, rows, tuned[interval], survey.pair) for interval, rows in rows_at.items()]
  return {name: np.concatenate([part[name] for part in parts]) for name in untuned}
