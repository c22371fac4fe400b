"""A finished run: what training gives, and what every interpretation of trained members begins with."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import plain
from hearjax.survey.archive import INDEX_NAME, read_survey
from hearjax.survey.fold_rows import FoldRows, fold_rows, learnt_rows
from hearjax.survey.folds import Splits, read_splits
from hearjax.survey.survey import Survey, checksum
from hearjax.training.ensemble import Ensemble
from hearjax.training.settings import RunSettings, numeric_settings, parse_settings
from hearjax.training.step import Params
from hearjax.training.workdir import PRODUCT, SPLITS_NAME, TUNED, read_config
from hearjax.verification.predictions import read_predictions


@dataclasses.dataclass(frozen=True)
class Member:
  """One trained network, and the magnetograms on each side of its fold."""

  name: str
  fold: int
  seed: int
  params: Params
  rows: FoldRows


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
  """The members of a cross-validation, the survey that they were trained on, and what they said of it out of fold.

  Attributes:
    survey: The survey.
    splits: Its folds.
    settings: What the run was trained with.
    ensemble: The networks.
    predictions: Table of the forecasts, each by a network that was not trained on the region (`verification`).
    tuned: The same by copies that were tuned to each interval; None where none were.
    directory: The work directory; None where everything stayed in memory.
  """

  survey: Survey
  splits: Splits
  settings: RunSettings
  ensemble: Ensemble
  predictions: Table | None
  tuned: Table | None = None
  directory: pathlib.Path | None = None

  def __repr__(self) -> str:
    lines = [self.ensemble, self.splits, self.survey, *([self.directory] if self.directory else [])]
    return '\n'.join(['<Run>', *(f'  {line}' for line in lines)])

  @functools.cached_property
  def folds(self) -> tuple[FoldRows, ...]:
    """Rows of the survey on each side of every fold."""
    return fold_rows(self.survey, self.splits, self.settings.train_intervals)

  @property
  def visible_px(self) -> int:
    """Side of the central square that the networks look at [px]."""
    return self.ensemble.model.settings.visible_px(self.survey.field.shape[-1])

  def describe(self, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the meta keys of a table that was made from this run with these settings."""
    return {
      'survey_source': self.survey.source,
      'survey_checksum': self.splits.survey_checksum,
      'settings': plain(settings),
    }

  def members(self) -> Iterator[Member]:
    """Yields every network, fold by fold and seed by seed."""
    seeds = len(self.ensemble.names) // len(self.folds)
    for number, name in enumerate(self.ensemble.names):
      fold, seed = divmod(number, seeds)
      params = jax.tree.map(lambda leaf, number=number: jnp.asarray(leaf[number]), self.ensemble.params)
      yield Member(name, fold, seed, params, self.folds[fold])

  def at_learnt_intervals(self) -> 'Run':
    """Returns the run with the survey at the intervals that the networks learnt from, which is what is interpreted."""
    return dataclasses.replace(self, survey=self.survey.select(learnt_rows(self.survey, self.settings.train_intervals)))

  @classmethod
  def load(cls, workdir: str | os.PathLike, survey: Survey | str | os.PathLike | None = None) -> 'Run':
    """Loads a finished work directory and the survey that it was trained on.

    Args:
      workdir: The work directory.
      survey: The survey, or the folder of its archive; None for where it lay when the run was trained.

    Raises:
      FileNotFoundError: It is not a finished work directory, a member has no checkpoint, or the survey is not there.
      UserError: A file is damaged, the survey is another one, or the folds are not those of the training.
    """
    workdir = pathlib.Path(workdir)
    ensemble = Ensemble.load(workdir)
    config = read_config(workdir)
    identity = config['settings']
    survey = _find_survey(workdir, survey or config['environment']['survey'])
    if checksum(survey) != identity['survey_checksum']:
      raise UserError(f'{workdir} was trained on another survey than {survey!r} (checksums differ); give that one.')
    splits = read_splits(workdir / SPLITS_NAME, survey)
    if splits.checksum != identity['splits_checksum']:
      raise UserError(
        f'{workdir} was trained on {identity["folds"]} folds, but its {SPLITS_NAME} holds {len(splits.folds)} others; '
        'bring that of the training back, or train again.'
      )
    names = (field.name for field in dataclasses.fields(RunSettings))
    settings = parse_settings(RunSettings, {name: identity[name] for name in names})
    tuned = read_predictions(workdir / TUNED) if (workdir / TUNED).is_file() else None
    return cls(survey, splits, settings, ensemble, read_predictions(workdir / PRODUCT), tuned, workdir)


def identity_of(survey_checksum: str, splits: Splits, settings: RunSettings) -> dict[str, Any]:
  """Returns what determines the result of a run; a run resumes only where all of it is the same."""
  return {
    'survey_checksum': survey_checksum,
    'splits_checksum': splits.checksum,
    **dataclasses.asdict(settings),
    'jax': numeric_settings(),
  }


def _find_survey(workdir: pathlib.Path, survey: Survey | str | os.PathLike | None) -> Survey:
  if isinstance(survey, Survey):
    return survey
  if survey is None:
    raise FileNotFoundError(f'{workdir} was trained on a survey in memory; say which, or where its archive lies.')
  if not (pathlib.Path(survey) / INDEX_NAME).is_file():
    raise FileNotFoundError(
      f'The survey that {workdir} was trained on is not in {survey}; say with --survey where it lies.'
    )
  return read_survey(survey, max_missing=1.0)  # What is too incomplete was refused before the training.
