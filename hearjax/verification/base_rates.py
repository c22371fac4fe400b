"""What forecasts are worth where few places emerge: precision, false alarms and value at the rate of the Sun.

The True Skill Statistic of a set of pairs does not depend on how many places emerge (Bloomfield et al. 2012, ApJ 747,
L41), and so does not say how many alarms are false. Detections (POD) and false detections (POFD) are taken from the
pairs; the classes are then weighted as they come at a base rate, the share of looks at a place after which it emerges.
A control region is taken for a typical place that does not: where controls were chosen to be quiet, there are more
false alarms than told here.

The threshold is one half of a balanced set, which is the base rate itself once the probability is turned to it: the
choice of a user whose cost-loss ratio is the base rate. A stricter one has fewer false alarms, and fewer detections:
`budget_table`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table
from sklearn.metrics import roc_curve

from hearjax.checks import UserError, check_positive
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM, SOLAR_RADIUS_MM
from hearjax.survey.intervals import SPACING_HOURS
from hearjax.verification import scores
from hearjax.verification.calibration import EACH
from hearjax.verification.intervals import pair_counts
from hearjax.verification.predictions import interval_hours
from hearjax.verification.resampling import confidence_interval, draw_counts

SITE_MM = 48 * DEFAULT_PIXEL_SCALE_MM  # Side of the square that the discriminant analyses look at.
DISK_DEG = 60.0  # From the centre of the disk to where magnetograms are still good; our choice.
TAIL = 0.025  # Of a 95 % interval.
HEADLINE = 0.01  # Rate that sentences and figures tell of, or what is nearest to it.


def sites_on_disk() -> int:
  """Returns how many squares of `SITE_MM` have the area of the Sun's surface within `DISK_DEG` of the disk's centre."""
  cap_mm2 = 2 * np.pi * SOLAR_RADIUS_MM**2 * (1 - np.cos(np.deg2rad(DISK_DEG)))
  return int(cap_mm2 / SITE_MM**2)


@dataclasses.dataclass(frozen=True)
class BaseRateSettings:
  """How many places there are, how often they are looked at, and how many of them emerge.

  Attributes:
    rates: Shares of the looks after which a place emerges, from the balanced set to the Sun; our choice.
    places: Sites on the visible disk whose forecasts are independent. Ours are squares of 67 Mm side by side within 60
      degrees of the centre of the disk, 341 for a radius of 695.7 Mm.
    looks_per_day: How often each is forecast a day. Ours is the spacing of HEAR, 5.33 h.
  """

  rates: tuple[float, ...] = (0.5, 0.1, 0.01, 0.001)
  places: int = dataclasses.field(default_factory=sites_on_disk)
  looks_per_day: float = 24 / SPACING_HOURS

  def __post_init__(self) -> None:
    if not self.rates:
      raise UserError('There is no base rate; give one at least, a share of places between 0 and 1.')
    for rate in self.rates:
      _check_share('A base rate', rate)
    check_positive('places', self.places)
    check_positive('looks_per_day', self.looks_per_day)

  @property
  def looks(self) -> float:
    """Forecasts per disk and day."""
    return self.places * self.looks_per_day


def base_rate_table(averaged: Table, settings: BaseRateSettings, resamples: int, seed: int, rule: str = EACH) -> Table:
  """Scores a model at each interval as if other shares of places emerged.

  Args:
    averaged: What `calibrate` returns for the model.
    settings: The rates, and what false alarms are counted over.
    resamples, seed: Of the bootstrap of the pairs.
    rule: Which threshold, one of `calibration.RULES`.

  Returns:
    A row for each interval and rate. Undefined scores are NaN.

    - n_ear, n_cr: Magnetograms of each class.
    - pod, pofd: Of the pairs, the same at all rates.
    - precision: Share of alarms that are followed by emergence.
    - false_alarms: Per disk and day.
    - sedi: Symmetric extremal dependence index, the same at all rates; NaN where one of the four counts is 0.
    - frequency_bias: Alarms for each emergence.
    - hss: Heidke skill score.
    - bss: Brier skill score of the calibrated probability at that rate (whatever the rule) over the constant forecast
      of the rate.
    - value: Largest relative economic value. It is that of users whose cost-loss ratio is the rate, and is the TSS
      (Richardson 2000, Q. J. R. Meteorol. Soc. 126, 649).
    - missed: Share of places without alarm that emerge. The value is positive, if the TSS is, for cost-loss ratios from
      `missed` to `precision`, and for no others.

    `precision`, `false_alarms` and `sedi` have 95 % intervals over pairs, for the models as they were fitted. Where not
    one alarm was false, no sample has one: the first two then end where the POFD is `largest_unseen`.

  Raises:
    UserError: There is one class only, no such rule, or there is to be no sample.
  """
  check_classes(averaged)
  counts = pair_counts(averaged, rule)
  draws = np.concatenate([np.ones((1, len(counts)), int), draw_counts(len(counts), resamples, seed)])
  drawn = np.tensordot(draws, counts, axes=1)  # All pairs first, then the samples.
  rows = []
  for index, interval in enumerate(np.unique(averaged['interval'])):
    part = averaged[averaged['interval'] == interval]
    found = drawn[:, index]
    for rate in settings.rates:
      scored = _scores_at(found, rate, settings.looks)
      rows.append(
        {
          'model': averaged.meta['model'],
          'threshold_rule': rule,
          **_describe(part),
          'rate': float(rate),
          **scored,
          'bss': brier_skill(np.asarray(part['label']), np.asarray(part['calibrated']), rate),
        }
      )
  return _with_hours(rows)


def headline_rate(table: Table) -> float:
  """Returns the rate in a `base_rate_table` that is told of: the nearest to `HEADLINE`, in its logarithm."""
  rates = np.unique(table['rate'])
  return float(rates[np.argmin(np.abs(np.log(rates / HEADLINE)))])


def budget_table(averaged: Table, settings: BaseRateSettings, budgets: Sequence[float] = (100, 10, 1, 0.1)) -> Table:
  """Tells how much is detected where only so many false alarms are borne: points of the ROC curve.

  The threshold of the calibrated probability is the best one for the very forecasts that are scored, so that the POD is
  what could be had at best. Of n controls the smallest POFD but 0 is 1/n. A budget that asks for less cannot be tested:
  `resolved` is False, and the POD is that without any false alarm among the n, which says nothing about how many there
  would be among the many places of a disk. It bounds what the budget allows from neither side.

  Args:
    averaged: What `calibrate` returns for the model.
    settings: What false alarms are counted over; nearly all places are taken not to emerge, the rates are not used.
    budgets: False alarms per disk and day.

  Returns:
    A row for each interval and budget: `pofd_limit`, the POFD that the budget allows; `pod`, the largest with no more
    than that; `pofd`, what goes with it; `resolved`. POD and POFD are NaN at intervals of one class.

  Raises:
    UserError: A budget is not positive, or there is none, or one class only.
  """
  if not len(budgets):
    raise UserError('There is no budget; give a number of false alarms per disk and day.')
  check_positive('A budget of false alarms', budgets)
  check_classes(averaged)
  rows = []
  for interval in np.unique(averaged['interval']):
    part = averaged[averaged['interval'] == interval]
    described = _describe(part)
    complete = bool(described['n_ear'] and described['n_cr'])
    if complete:
      pofd, pod, _ = roc_curve(part['label'], part['calibrated'], drop_intermediate=False)
    for budget in budgets:
      limit = budget / settings.looks
      # Both grow along the curve: the last point that is allowed has the largest POD.
      last = int(np.sum(pofd <= limit)) - 1 if complete else None
      rows.append(
        {
          'model': averaged.meta['model'],
          **described,
          'budget': float(budget),
          'pofd_limit': limit,
          'pofd': pofd[last] if complete else np.nan,
          'pod': pod[last] if complete else np.nan,
          'resolved': complete and limit >= 1 / described['n_cr'],
        }
      )
  return _with_hours(rows)


# --- Scores at a base rate --------------------------------------------------------------------------------------------


def shares_at(pod: np.ndarray, pofd: np.ndarray, rate: float) -> np.ndarray:
  """Returns `[..., 4]` shares of hits, misses, false alarms and correct negatives where `rate` of the places emerge."""
  return np.stack([rate * pod, rate * (1 - pod), (1 - rate) * pofd, (1 - rate) * (1 - pofd)], axis=-1)


def precision(pod: np.ndarray, pofd: np.ndarray, rate: float) -> np.ndarray:
  """Returns `[...]` the share of alarms that are followed by emergence; NaN where there are none."""
  hits, _, false_alarms, _ = np.moveaxis(shares_at(pod, pofd, rate), -1, 0)
  return _share(hits, false_alarms)


def sedi(pod: np.ndarray, pofd: np.ndarray) -> np.ndarray:
  """Returns `[...]` the symmetric extremal dependence index (Ferro & Stephenson 2011, Weather Forecast. 26, 699).

  It is 1 at best and 0 for chance, and is made for rare events: it does not change with the base rate. Where POD or
  POFD is 0 or 1 it has its limit; NaN where both are, and their limits differ.
  """
  with np.errstate(divide='ignore', invalid='ignore'):
    wrong = np.log(pofd) + np.log1p(-np.asarray(pod, float))
    right = np.log(pod) + np.log1p(-np.asarray(pofd, float))
    score = (wrong - right) / (wrong + right)
  score = np.where(np.isinf(wrong) & np.isfinite(right), 1.0, score)
  return np.where(np.isinf(right) & np.isfinite(wrong), -1.0, score)


def brier_skill(label: np.ndarray, calibrated: np.ndarray, rate: float) -> float:
  """Returns the Brier skill score at a base rate over the constant forecast of that rate; NaN where a class is missing.

  Args:
    label: `[n]` 1 for PE, 0 for NE.
    calibrated: `[n]` probability of PE in a balanced set.
    rate: Share of the cases that emerge.
  """
  n_ear = np.sum(label == 1)
  if not 0 < n_ear < len(label):
    return np.nan
  weight = np.where(label == 1, rate / n_ear, (1 - rate) / (len(label) - n_ear))
  brier = weight @ (scores.at_prior(calibrated, rate) - label) ** 2
  return float(1 - brier / (rate * (1 - rate)))


def value_curve(pod: float, pofd: float, rate: float, ratios: np.ndarray) -> np.ndarray:
  """Returns the relative economic value of alarms for users of different cost-loss ratios (Richardson 2000).

  A user pays a cost at each alarm, and a loss at each emergence without one. The value is what is saved of the expense
  without forecast (always or never protected, whichever is cheaper), as a share of what a perfect forecast would save.

  Args:
    pod, pofd: Of the forecast.
    rate: Share of the places that emerge.
    ratios: `[ratio]` cost over loss, between 0 and 1.

  Returns:
    `[ratio]` 1 for a perfect forecast, below 0 where one had better not look at it.

  Raises:
    UserError: The rate or a ratio is not between 0 and 1.
  """
  ratios = np.asarray(ratios, float)
  for name, values in (('A base rate', rate), ('A cost-loss ratio', ratios)):
    _check_share(name, values)
  hits, misses, false_alarms, _ = shares_at(pod, pofd, rate)
  without = np.minimum(ratios, rate)
  expense = ratios * (hits + false_alarms) + misses
  return (without - expense) / (without - rate * ratios)


def largest_unseen(n: int) -> float:
  """Returns the largest share that is not excluded where none of `n` cases was seen, nor any in a sample of them.

  It is the end of the exact 95 % interval (Clopper & Pearson 1934, Biometrika 26, 404).
  """
  return 1 - TAIL ** (1 / n)


def check_classes(averaged: Table) -> None:
  """Raises UserError where all magnetograms are of one class."""
  if len(set(averaged['label'])) < 2:
    raise UserError(
      f'{averaged.meta["model"]} has only one class: there is nothing to score; give tables of whole pairs.'
    )


def _scores_at(counts: np.ndarray, rate: float, looks: float) -> dict[str, float]:
  """Returns the scores at a rate of `[1 + resample, 4]` counts: all pairs, and samples of them."""
  pod, pofd = scores.pod(counts), scores.pofd(counts)
  samples = {
    'precision': precision(pod, pofd, rate),
    'false_alarms': (1 - rate) * looks * pofd,
    'sedi': sedi(pod, pofd),
  }
  if not counts[0].all():
    samples['sedi'] = np.full(len(counts), np.nan)
  scored = {'pod': pod[0], 'pofd': pofd[0]}
  for name, values in samples.items():
    low, high = confidence_interval(values[1:])
    scored |= {name: values[0], f'{name}_low': low, f'{name}_high': high}
  if pofd[0] == 0:
    largest = largest_unseen(counts[0, 2:].sum())
    scored['precision_low'] = precision(pod[0], largest, rate) if pod[0] > 0 else np.nan
    scored['false_alarms_high'] = (1 - rate) * looks * largest
  shares = shares_at(pod[0], pofd[0], rate)
  hits, misses, false_alarms, negatives = shares
  return {
    **scored,
    'frequency_bias': (hits + false_alarms) / rate,
    'hss': scores.hss(shares),
    'value': pod[0] - pofd[0],
    'missed': _share(misses, negatives),
  }


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
  total = np.asarray(part + rest)
  return np.divide(part, total, out=np.full(total.shape, np.nan), where=total != 0)


def _check_share(name: str, values: np.ndarray | float) -> None:
  for value in np.ravel(values):
    if not 0 < value < 1:
      raise UserError(f'{name} is a share between 0 and 1, both excluded; got {value:g}.')


def _describe(part: Table) -> dict[str, float]:
  ((interval, hours),) = interval_hours(part).items()
  n_ear, n_cr = (int(np.sum(part['label'] == value)) for value in (1, 0))
  return {'interval': interval, 'hours': hours, 'n_ear': n_ear, 'n_cr': n_cr}


def _with_hours(rows: list[dict]) -> Table:
  table = Table(rows)
  table['hours'].unit = u.hour
  return table
