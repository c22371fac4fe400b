"""Whether EARs and CRs differ in anything but the Sun: what is known of a magnetogram without looking at its centre.

CRs are drawn to be like EARs in latitude and central-meridian distance. What they may differ in beside these (time of
the year, distance from the limb, frames lost, missing pixels, noise, quality) a network can read from the maps, and its
skill is then no knowledge of emergence. Two looks:

  nuisance_predictions   A classifier of these quantities alone, judged like any other model: its TSS is 0 without a
                         leak.
  balance_table          Each quantity by itself.
"""

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import Table
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hearjax.checks import UserError
from hearjax.solar import INCLINATION_DEG
from hearjax.survey.survey import Survey
from hearjax.verification.predictions import build_predictions
from hearjax.verification.resampling import confidence_interval, draw_counts
from hearjax.verification.scores import auc

MODEL = 'nuisance'
INVERSE_PENALTY = 1.0  # Of the logistic regression; our choice.
LOGIT_LIMIT = 10.0  # Log odds end here: a quantity far from all that were fitted would set their scale.
UNBALANCED = 0.1  # Standardised difference beyond which a quantity is out of balance (Austin 2009).
LARGEST = 10.0  # Standardised differences end here; of classes that do not scatter they would be infinite.
MAD_OF_NORMAL = 0.6745  # Median of |x| of a normal distribution, in standard deviations.
MAPS_AT_ONCE = 64
J2000_MJD = 51544.5
DAYS_PER_CENTURY = 36525.0


# --- The quantities -------------------------------------------------------------------------------------------------


def nuisance_table(survey: Survey) -> Table:
  """Returns what is known of each magnetogram beside its label and the field in its centre.

  Args:
    survey: The survey.

  Returns:
    A row for each magnetogram, in the order of the survey: `latitude`, `|latitude|`, `cmd`, `|cmd|`, `b0` [deg];
    `mu`; `season_sine`, `season_cosine` of the ecliptic longitude of the Sun, which is 0 at the March equinox;
    `n_frames`; `missing`; `noise` [G], see `noise_gauss`; `quality_bits`, how many are set. Not finite where the survey
    does not know.
  """
  latitude, cmd = (np.asarray(values, np.float64) for values in (survey.latitude, survey.cmd))
  season = np.deg2rad(sun_longitude(survey.mjd))
  starts = range(0, len(survey), MAPS_AT_ONCE)
  return Table(
    {
      'latitude': latitude * u.deg,
      '|latitude|': np.abs(latitude) * u.deg,
      'cmd': cmd * u.deg,
      '|cmd|': np.abs(cmd) * u.deg,
      'mu': survey.mu,
      'b0': disk_centre_latitude(survey.mjd) * u.deg,
      'season_sine': np.sin(season),
      'season_cosine': np.cos(season),
      'n_frames': survey.n_frames,
      'missing': survey.missing,
      'noise': np.concatenate([noise_gauss(survey.field[start : start + MAPS_AT_ONCE]) for start in starts]) * u.G,
      'quality_bits': np.bitwise_count(np.asarray(survey.quality, np.int32).view(np.uint32)),
    }
  )


def sun_longitude(mjd: np.ndarray) -> np.ndarray:
  """Returns `[n]` the ecliptic longitude of the Sun [deg] at modified Julian dates, to 0.01 deg.

  The low-accuracy series of Meeus (1998, Astronomical Algorithms, 2nd ed., chapter 25).
  """
  centuries = (np.asarray(mjd, np.float64) - J2000_MJD) / DAYS_PER_CENTURY
  anomaly = np.deg2rad(357.52911 + 35999.05029 * centuries)
  centre = (
    (1.914602 - 0.004817 * centuries) * np.sin(anomaly)
    + 0.019993 * np.sin(2 * anomaly)
    + 0.000289 * np.sin(3 * anomaly)
  )
  return (280.46646 + 36000.76983 * centuries + centre) % 360


def disk_centre_latitude(mjd: np.ndarray) -> np.ndarray:
  """Returns `[n]` B0, the heliographic latitude of the centre of the disk [deg] (Meeus 1998, chapter 29)."""
  node = 75.7604 + 1.3958333 * (np.asarray(mjd, np.float64) - J2000_MJD) / DAYS_PER_CENTURY
  inclination = np.deg2rad(INCLINATION_DEG)
  return np.rad2deg(np.arcsin(np.sin(np.deg2rad(sun_longitude(mjd) - node)) * np.sin(inclination)))


def noise_gauss(field: np.ndarray) -> np.ndarray:
  """Estimates the noise of a pixel from the differences of neighbours, outside the central half of each side.

  The median of |difference| is that of noise where most pixels are quiet, whatever strong field stands between them. It
  is too small where neighbours share their noise, by the same factor in maps of one instrument.

  Args:
    field: `[n, y, x]` line-of-sight field [G], NaN where missing.

  Returns:
    `[n]` standard deviation [G]; NaN where no two neighbours are there.
  """
  outside = np.ones(field.shape[1:], bool)
  height, width = outside.shape
  outside[height // 4 : height - height // 4, width // 4 : width - width // 4] = False
  difference = np.abs(
    np.concatenate(
      [
        np.diff(field, axis=1)[:, outside[1:] & outside[:-1]],
        np.diff(field, axis=2)[:, outside[:, 1:] & outside[:, :-1]],
      ],
      axis=1,
    )
  )
  there = np.isfinite(difference).any(axis=1)
  median = np.nanmedian(np.where(there[:, None], difference, 0), axis=1)
  return np.where(there, median, np.nan) / MAD_OF_NORMAL / np.sqrt(2)


# --- The classifier -------------------------------------------------------------------------------------------------


def nuisance_predictions(survey: Survey, fold_of_pair: Mapping[str, int]) -> Table:
  """Forecasts emergence from the quantities of `nuisance_table` alone, by a logistic regression for each interval.

  It is fitted to single regions and not to differences within pairs, as a network is. It finds what shifts or widens
  the distribution of a quantity in one class, and weighted sums of such. It does not find what is the same in both
  classes of each pair, as latitude and central-meridian distance are by their matching; nor a difference within pairs
  that is small beside the scatter between them (which `balance_table` sees, and a network hardly can use); nor
  combinations, as frames lost in the north alone; nor what no quantity says. The noise is measured in the maps: should
  the quiet Sun around EARs be different, that is found, too, and is no fault of the survey. So a TSS of 0 is no proof
  that there is no leak, while one above 0 shows that the classes differ.

  Args:
    survey: The survey.
    fold_of_pair: Fold in which each pair is tested, that of the models to be judged.

  Returns:
    A predictions table with the seed 0 and the threshold 0.5. A quantity that is not finite counts as its mean over the
    pairs that are fitted.

  Raises:
    UserError: A pair has no fold, there is one fold alone, or the other folds lack a class at an interval.
  """
  pair = survey.pair_names()
  absent = sorted(set(pair.tolist()) - set(fold_of_pair))
  if absent:
    raise UserError(
      f'The pair {absent[0]} of the survey has no fold; give the survey and the predictions of one run, or leave the '
      'pair out of the survey.'
    )
  fold = np.array([fold_of_pair[name] for name in pair.tolist()])
  if len(set(fold)) < 2:
    raise UserError(
      f'All pairs are in fold {fold[0]}: the nuisance classifier has no others to be fitted to; give predictions of at '
      'least two folds.'
    )
  table = nuisance_table(survey)
  values = np.column_stack([np.asarray(table[name], np.float64) for name in table.colnames])
  values[~np.isfinite(values)] = np.nan
  log_odds = np.empty(len(survey))
  for time in np.unique(survey.interval):
    there = survey.interval == time
    for number in np.unique(fold[there]):
      fitted, scored = (np.flatnonzero(there & side) for side in (fold != number, fold == number))
      n_cr, n_ear = np.bincount(survey.label[fitted], minlength=2)
      if not (n_ear and n_cr):
        raise UserError(
          f'The nuisance classifier needs both classes to be fitted to; at interval {time} the folds other than '
          f'{number} have {n_ear} EARs and {n_cr} CRs: use more pairs, or leave the interval out.'
        )
      model = build_classifier().fit(values[fitted], survey.label[fitted])
      log_odds[scored] = np.clip(model.decision_function(values[scored]), -LOGIT_LIMIT, LOGIT_LIMIT)
  n = len(survey)
  columns = {
    'row': np.arange(n),
    'fold': fold,
    'seed': np.zeros(n, int),
    'logit': log_odds,
    'threshold': np.full(n, 0.5),
  }
  settings = {'quantities': table.colnames, 'inverse_penalty': INVERSE_PENALTY, 'logit_limit': LOGIT_LIMIT}
  return build_predictions(survey, columns, MODEL, settings)


def build_classifier() -> Pipeline:
  """Returns the unfitted pipeline: missing values the mean, standardised, squares beside them, logistic regression."""
  return make_pipeline(
    SimpleImputer(keep_empty_features=True),
    StandardScaler(),
    FunctionTransformer(with_squares),
    StandardScaler(),
    LogisticRegression(C=INVERSE_PENALTY, class_weight='balanced', solver='newton-cholesky'),
  )


def with_squares(values: np.ndarray) -> np.ndarray:
  """Returns `[n, 2 m]` the values `[n, m]` and their squares."""
  return np.concatenate([values, values**2], axis=1)


# --- The balance ----------------------------------------------------------------------------------------------------


def balance_table(survey: Survey, resamples: int, seed: int) -> Table:
  """Compares EARs and CRs in each quantity of `nuisance_table`, pair by pair.

  A region counts with the mean over its magnetograms, a pair where both its classes have a finite one.

  Args:
    survey: The survey.
    resamples, seed: Of the bootstrap of the pairs.

  Returns:
    A row for each quantity: `quantity`, `unit`, `n_pairs`; `mean_ear`, `mean_cr`; `difference`, the mean over the pairs
    of EAR - CR; `standardised`, that over the root mean variance of the classes (Austin 2009, Stat. Med. 28, 3083), at
    most 10; both with their 95 % intervals over the pairs, `_low` to `_high`; `auc`, the probability that an EAR has
    the larger value than a CR of any pair. `unbalanced` where the interval of the difference leaves out 0 and the
    standardised difference is beyond 0.1 on either side. Where EARs and CRs are drawn alike, but for their matching,
    chance makes at least one of the quantities so in a third of all surveys.

  Raises:
    UserError: No pair has both classes, or there is to be no sample.
  """
  n_pairs = len(survey.pair_ids)
  classes = [np.bincount(survey.pair[survey.label == value], minlength=n_pairs) > 0 for value in (0, 1)]
  if not np.any(classes[0] & classes[1]):
    raise UserError('No pair of the survey has both an EAR and a CR: their balance cannot be told; give whole pairs.')
  counts = draw_counts(n_pairs, resamples, seed)
  table, rows = nuisance_table(survey), []
  for name in table.colnames:
    cr, ear = _class_means(survey, np.asarray(table[name], np.float64))
    complete = np.isfinite(cr) & np.isfinite(ear)
    cr, ear = cr[complete], ear[complete]
    weight = np.concatenate([np.ones((1, len(ear)), int), counts[:, complete]])  # All pairs once, then the resamples.
    difference, standardised = _differences(ear, cr, weight)
    low, high = confidence_interval(difference[1:])
    standardised_low, standardised_high = confidence_interval(standardised[1:])
    label, both = np.repeat([1, 0], len(ear)), np.concatenate([ear, cr])
    rows.append(
      {
        'quantity': name,
        'unit': str(table[name].unit or ''),
        'n_pairs': len(ear),
        'mean_ear': _mean(ear, weight[0]),
        'mean_cr': _mean(cr, weight[0]),
        'difference': difference[0],
        'difference_low': low,
        'difference_high': high,
        'standardised': standardised[0],
        'standardised_low': standardised_low,
        'standardised_high': standardised_high,
        'auc': auc(label, both, np.ones(len(both))),
        'unbalanced': bool((low > 0 or high < 0) and abs(standardised[0]) > UNBALANCED),
      }
    )
  return Table(rows)


def _class_means(survey: Survey, values: np.ndarray) -> list[np.ndarray]:
  """Returns `[pair]` the means of `[n]` values over CRs and over EARs, of the means over each region's magnetograms."""
  n_regions = len(survey.region_ids)
  pair, label = np.zeros((2, n_regions), int)
  pair[survey.region], label[survey.region] = survey.pair, survey.label
  of_region = _group_means(values, survey.region, n_regions)
  return [_group_means(of_region[label == value], pair[label == value], len(survey.pair_ids)) for value in (0, 1)]


def _group_means(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
  """Returns `[group]` the means of the finite ones of `[n]` values; NaN where there is none."""
  there = np.isfinite(values)
  number = np.bincount(group[there], minlength=n_groups)
  return _ratio(np.bincount(group[there], values[there], minlength=n_groups), number)


def _differences(ear: np.ndarray, cr: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[draw]` each the mean and the standardised difference of `[pair]` values counting `[draw, pair]` times."""
  difference = _mean(ear - cr, weight)
  scatter = np.sqrt((_variance(ear, weight) + _variance(cr, weight)) / 2)
  unlimited = np.divide(difference, scatter, out=LARGEST * np.sign(difference), where=scatter != 0)
  return difference, np.clip(unlimited, -LARGEST, LARGEST)


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  return _ratio(weight @ values, weight.sum(axis=-1))


def _variance(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns `[draw]` the sample variance; NaN of less than two."""
  deviation = values - _mean(values, weight)[:, None]
  n = weight.sum(axis=-1)
  return _ratio(np.sum(weight * deviation**2, axis=-1), np.where(n > 1, n - 1, 0))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator > 0)
