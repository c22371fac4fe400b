"""Cross-validation by pair, and the certificate that no two sides of a split know each other.

Pairs are first joined into groups that must stay together (`links`), and whole groups are dealt out to the folds.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from hearjax.checks import UserError
from hearjax.files import told_as_damaged, write_whole
from hearjax.survey.links import GAP_DAYS, SEPARATION_DEG, group_pairs, linked_pairs
from hearjax.survey.survey import Survey, checksum


@dataclasses.dataclass(frozen=True)
class Fold:
  """The pairs (pair_id) of one fold: those scored, those that tell how the training goes, those trained on."""

  test: tuple[str, ...]
  validation: tuple[str, ...]
  train: tuple[str, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class Splits:
  """The folds of a run, for one survey.

  Attributes:
    folds: Each pair is in `test` of exactly one fold.
    seed: Seed of the draw.
    separation_deg: Two regions nearer than this on the Carrington grid [deg] …
    gap_days: … and observed within this time of each other [d] count as one place; their pairs stay together.
    survey_checksum: Content of the survey that the folds were made for.
  """

  folds: tuple[Fold, ...]
  seed: int
  separation_deg: float
  gap_days: float
  survey_checksum: str

  def __repr__(self) -> str:
    sizes = ', '.join(str(len(fold.test)) for fold in self.folds)
    return f'<Splits: {len(self.folds)} folds with {sizes} test pairs, seed {self.seed}>'

  @property
  def checksum(self) -> str:
    """SHA-256 of which pair is on which side of which fold: part of the identity of a run."""
    return hashlib.sha256(json.dumps([dataclasses.asdict(fold) for fold in self.folds]).encode()).hexdigest()


def make_splits(
  survey: Survey,
  n_folds: int,
  seed: int,
  validation_fraction: float = 0.15,
  separation_deg: float = SEPARATION_DEG,
  gap_days: float = GAP_DAYS,
) -> Splits:
  """Deals the pairs of a survey out to folds.

  Args:
    survey: The survey.
    n_folds: Number of folds, at least 2.
    seed: Seed of the draw.
    validation_fraction: Share of a fold's training pairs that is kept aside to tell how the training goes.
    separation_deg, gap_days: See `Splits`.

  Raises:
    UserError: There are more folds than independent groups of pairs, or too few pairs to train on.
  """
  if n_folds < 2:
    raise UserError(f'Cross-validation needs at least 2 folds, got {n_folds}.')
  if not 0 < validation_fraction < 1:
    raise UserError(f'validation_fraction must lie between 0 and 1, got {validation_fraction}.')
  if n_folds > len(survey.pair_ids):
    raise UserError(f'{n_folds} folds were asked for, but the survey has only {len(survey.pair_ids)} pairs.')
  group_of_pair = group_pairs(survey, separation_deg, gap_days)
  n_groups = int(group_of_pair.max()) + 1
  if n_folds > n_groups:
    raise UserError(
      f'{n_folds} folds were asked for, but the {len(survey.pair_ids)} pairs form only {n_groups} independent groups '
      f'(regions within {separation_deg} deg and {gap_days} days of each other stay together).'
    )
  fold_of_group = _deal(np.bincount(group_of_pair), n_folds, np.random.default_rng([seed, 0]))
  folds = []
  for number in range(n_folds):
    inside = np.flatnonzero(fold_of_group != number)
    if len(inside) < 2:
      raise UserError(f'Fold {number} would leave no pair to train on; use more pairs or fewer folds.')
    shuffled = np.random.default_rng([seed, 1, number]).permutation(inside)
    n_validation = max(1, round(validation_fraction * len(inside)))
    folds.append(
      Fold(
        test=_pairs_of(survey, group_of_pair, np.flatnonzero(fold_of_group == number)),
        validation=_pairs_of(survey, group_of_pair, shuffled[:n_validation]),
        train=_pairs_of(survey, group_of_pair, shuffled[n_validation:]),
      )
    )
  splits = Splits(tuple(folds), seed, separation_deg, gap_days, checksum(survey))
  certify(splits, survey)
  return splits


def certify(splits: Splits, survey: Survey) -> dict[str, int]:
  """Checks that the folds fit the survey and that no two sides of a fold know each other.

  Returns:
    How many pairs, regions and links were checked; written beside the folds as their certificate.

  Raises:
    UserError: The folds belong to another survey, a pair is missing or on two sides, or linked pairs are parted.
  """
  if splits.survey_checksum != checksum(survey):
    raise UserError('The folds were made for another survey (checksums differ); use a new work directory.')
  everything = set(survey.pair_ids)
  tested = [pair for fold in splits.folds for pair in fold.test]
  if sorted(tested) != sorted(everything):
    raise UserError('Every pair of the survey must be tested in exactly one fold; these folds miss or repeat some.')
  first, second = linked_pairs(survey, splits.separation_deg, splits.gap_days)
  labels, pair = survey.label, survey.pair_names()
  for number, fold in enumerate(splits.folds):
    side = {name: s for s, names in enumerate((fold.test, fold.validation, fold.train)) for name in names}
    if len(side) < len(fold.test) + len(fold.validation) + len(fold.train) or set(side) != everything:
      raise UserError(f'Fold {number} has a pair on two sides, or on none.')
    sides = np.array([side[name] for name in survey.pair_ids])
    parted = np.flatnonzero(sides[first] != sides[second])
    if parted.size:
      a, b = survey.pair_ids[first[parted[0]]], survey.pair_ids[second[parted[0]]]
      raise UserError(
        f'Fold {number} parts the pairs {a} and {b}, which share a NOAA number or a place on the Sun at one time.'
      )
    for name, pairs in (('test', fold.test), ('validation', fold.validation), ('train', fold.train)):
      classes = set(labels[np.isin(pair, pairs)].tolist())
      if classes != {0, 1}:
        raise UserError(f'The {name} part of fold {number} holds only the classes {sorted(classes)}; both are needed.')
  return {
    'pairs': len(everything),
    'regions': len(survey.region_ids),
    'linked_pairs_kept_together': len({(min(a, b), max(a, b)) for a, b in zip(first, second, strict=True)}),
  }


def write_splits(path: str | os.PathLike, splits: Splits, survey: Survey) -> None:
  """Writes splits.json: the folds and their certificate."""
  text = json.dumps({**dataclasses.asdict(splits), 'certificate': certify(splits, survey)}, indent=1)
  write_whole(pathlib.Path(path), lambda temporary: temporary.write_text(text + '\n'))


def read_splits(path: str | os.PathLike, survey: Survey) -> Splits:
  """Reads splits.json and certifies it anew for the survey.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is not a splits file, or does not fit the survey (see `certify`).
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no {path}.')
  with told_as_damaged(path, 'bring it back, or train again'):
    content = json.loads(path.read_text())
    content.pop('certificate', None)
    folds = tuple(Fold(**{side: tuple(names) for side, names in fold.items()}) for fold in content.pop('folds'))
    splits = Splits(folds=folds, **content)
  certify(splits, survey)
  return splits


def read_or_make_splits(path: str | os.PathLike, survey: Survey, n_folds: int, seed: int) -> Splits:
  """Reads the folds of a work directory, or makes them where there are none yet; writes nothing.

  Raises:
    UserError: The folds there are another number or of another seed, or do not fit the survey, or none can be made.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return make_splits(survey, n_folds, seed)
  splits = read_splits(path, survey)
  if (len(splits.folds), splits.seed) != (n_folds, seed):
    raise UserError(
      f'{path} holds {len(splits.folds)} folds dealt with seed {splits.seed}, but {n_folds} with seed {seed} were '
      'asked for; use another directory.'
    )
  return splits


def _deal(group_sizes: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
  """Deals groups out to folds, the large ones first, each to the fold with the fewest pairs so far."""
  order = rng.permutation(len(group_sizes))
  order = order[np.argsort(-group_sizes[order], kind='stable')]
  fold_of_group = np.empty(len(group_sizes), int)
  filled = np.zeros(n_folds, int)
  for group in order:
    fold_of_group[group] = np.argmin(filled)
    filled[fold_of_group[group]] += group_sizes[group]
  return fold_of_group


def _pairs_of(survey: Survey, group_of_pair: np.ndarray, groups: np.ndarray) -> tuple[str, ...]:
  return tuple(survey.pair_ids[index] for index in np.flatnonzero(np.isin(group_of_pair, groups)))
