"""A finished work directory with its survey: what every interpretation of trained members begins with."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from hearjax import ensemble, workdir
from hearjax.cross_validation import FoldRows, fold_rows, learnt_rows
from hearjax.ensemble import Ensemble
from hearjax.folds import read_splits
from hearjax.survey.archive import INDEX_NAME, read_survey
from hearjax.survey.survey import Survey, checksum
from hearjax.training import Params


@dataclasses.dataclass(frozen=True)
class Member:
  """One trained network, and the magnetograms on each side of its fold."""

  name: str
  fold: int
  seed: int
  params: Params
  rows: FoldRows


@dataclasses.dataclass(frozen=True)
class FinishedRun:
  """The members of a work directory and the survey that they were trained on.

  Attributes:
    directory: The work directory.
    ensemble: The networks.
    survey: The whole survey, at the intervals that the networks learnt from.
    folds: Rows of `survey` on each side of every fold.
    survey_checksum: That of the survey with all its intervals.
  """

  directory: pathlib.Path
  ensemble: Ensemble
  survey: Survey
  folds: list[FoldRows]
  survey_checksum: str

  @property
  def visible_px(self) -> int:
    """Side of the central square that the networks look at [px]."""
    return self.ensemble.model.settings.visible_px(self.survey.field.shape[-1])

  def describe(self, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the meta keys of a table that was made from this run with these settings."""
    return {
      'survey_source': self.survey.source,
      'survey_checksum': self.survey_checksum,
      'settings': workdir.plain(settings),
    }

  def members(self) -> Iterator[Member]:
    """Yields every network, fold by fold and seed by seed."""
    seeds = len(self.ensemble.names) // len(self.folds)
    for number, name in enumerate(self.ensemble.names):
      fold, seed = divmod(number, seeds)
      params = jax.tree.map(lambda leaf, number=number: leaf[number], self.ensemble.params)
      yield Member(name, fold, seed, params, self.folds[fold])


def load(directory: str | os.PathLike, survey_path: str | os.PathLike | None = None) -> FinishedRun:
  """Loads a finished work directory and the survey that it was trained on.

  Args:
    directory: The work directory.
    survey_path: The survey archive; None for where it lay when the run was trained.

  Raises:
    FileNotFoundError: It is not a finished work directory, a member has no checkpoint, or the survey is not there.
    ValueError: A file is damaged, the survey is another one, or the folds are not those of the training.
  """
  directory = pathlib.Path(directory)
  members = ensemble.load(directory)
  config = workdir.read_config(directory)
  path = pathlib.Path(survey_path or config['environment'].get('survey', ''))
  if not (path / INDEX_NAME).is_file():
    raise FileNotFoundError(
      f'The survey that {directory} was trained on is not in {path}; say with --survey where it lies.'
    )
  survey = read_survey(path, max_missing=1.0)  # What is too incomplete was refused before the training.
  if checksum(survey) != config['settings']['survey_checksum']:
    raise ValueError(f'{directory} was trained on another survey than {path} (checksums differ); give that one.')
  train_intervals = tuple(config['settings']['train_intervals'])
  splits = read_splits(directory / 'splits.json', survey)
  if len(splits.folds) != config['settings']['folds']:
    raise ValueError(
      f'{directory} was trained on {config["settings"]["folds"]} folds, but its splits.json holds {len(splits.folds)}; '
      'bring the splits.json of the training back, or train again.'
    )
  survey = survey.select(learnt_rows(survey, train_intervals))
  folds = fold_rows(survey, splits, train_intervals)
  return FinishedRun(directory, members, survey, folds, config['settings']['survey_checksum'])
