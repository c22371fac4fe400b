"""The split certificate of predictions: whether what a fold was tested on is unknown to what it was fitted to.

A predictions table says which fold tested a region. Taken that the models of a fold were fitted to the other folds
alone, two pairs that know each other (`survey.links`: one NOAA number, or one place on the Sun at about one time) must
be of one fold. A random split parts them, and its skill is inflated (Ahmadzadeh et al. 2019, 2021).
"""

import dataclasses

import numpy as np
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.survey.links import GAP_DAYS, SEPARATION_DEG, linked_pairs
from hearjax.survey.survey import Survey


@dataclasses.dataclass(frozen=True)
class Certificate:
  """What was found.

  Attributes:
    pairs: Pairs that are forecast.
    missing: Pairs of the survey that are not.
    folds: Folds that they are dealt into.
    links: Couples of pairs that know each other.
    parted: Those of them, by name, that are in different folds.
  """

  pairs: int
  missing: int
  folds: int
  links: int
  parted: tuple[tuple[str, str], ...]

  @property
  def holds(self) -> bool:
    """Whether there is more than one fold, and no fold was tested on what another one's models may have learnt."""
    return self.folds > 1 and not self.parted

  def __str__(self) -> str:
    if self.folds < 2:
      return 'one fold alone: nothing says that the models had not learnt from what they forecast'
    if self.parted:
      first, second = self.parted[0]
      return (
        f'{len(self.parted)} of {self.links} couples of pairs that know each other are in different folds, as '
        f'{first} and {second}: the skill may be inflated'
      )
    known = f'links between pairs: {self.links}, none from fold to fold' if self.links else 'no two know each other'
    return f'{self.pairs} pairs in {self.folds} folds; {known}'


def certify_predictions(
  table: Table, survey: Survey, separation_deg: float = SEPARATION_DEG, gap_days: float = GAP_DAYS
) -> Certificate:
  """Checks predictions against the survey that they are of.

  Args:
    table: A predictions table.
    survey: The survey.
    separation_deg, gap_days: When two regions are one place (`survey.links.group_pairs`).

  Raises:
    UserError: The survey has no such region, or has it with another label or in another pair.
  """
  model = table.meta['model']
  _, first = np.unique(survey.region, return_index=True)
  known = dict(
    zip(survey.region_names()[first], zip(survey.pair_names()[first], survey.label[first], strict=True), strict=True)
  )
  for region, pair, label in zip(table['region_id'], table['pair_id'], table['label'], strict=True):
    if region not in known:
      raise UserError(
        f'{model} forecasts the region {region}, which is not in the survey; score it with its own survey.'
      )
    if known[region] != (pair, label):
      raise UserError(
        f'{model} has the region {region} with pair {pair} and label {label}, the survey with pair {known[region][0]} '
        f'and label {known[region][1]}; the predictions are of another survey, or were changed.'
      )
  fold_of = dict(zip(table['pair_id'], table['fold'], strict=True))
  couples = {
    (survey.pair_ids[a], survey.pair_ids[b])
    for a, b in zip(*linked_pairs(survey, separation_deg, gap_days), strict=True)
    if a < b and survey.pair_ids[a] in fold_of and survey.pair_ids[b] in fold_of
  }
  return Certificate(
    pairs=len(fold_of),
    missing=len(survey.pair_ids) - len(fold_of),
    folds=len(set(fold_of.values())),
    links=len(couples),
    parted=tuple(sorted(couple for couple in couples if fold_of[couple[0]] != fold_of[couple[1]])),
  )
