"""Does a model know more than flux? Its skill among regions of equal unsigned flux.

Emerging regions have more flux than their controls, and a meter of flux has skill for that reason alone. At each
interval, EARs are therefore coupled with CRs of any pair whose total and central unsigned fluxes are the same within a
tolerance; the others are left out. A model that reads nothing but these fluxes has no skill there, up to the difference
that remains, which is told beside it: on 120 pairs whose classes lie 0.15 dex apart, a noisy meter of flux had a TSS of
nearly 0.4, with a tolerance of 0.1 dex of 0.05, with 0.05 dex of 0.01, and p < 0.05 in 0.3 and 0.1 of 80 draws.

Skill that is left is of something else in the map: perhaps of structure, perhaps of flux all the same, in another
window or with other weights of weak and strong field. Skill that is lost may not be of flux: the EARs that find
partners are those of little flux, which may show little else, too. The fluxes are those of the line-of-sight field,
which is what a model sees.

The two forecasts of a couple give the skill of the matched set: TSS is the mean over the couples of (EAR warned of) -
(CR warned of), and `ahead` that of +1 where the EAR has the larger calibrated probability, -1 where the CR has it, 0
where neither. The latter is blind to how much larger: a meter of flux orders its couples by what is left of the
difference, and by the fits of their folds (on 100 simulated pairs `da_flux` had -0.35 beside a TSS of 0.00). Read it
beside that of `da_flux`.

Intervals and tests hold the couples fixed, as is usual for matching without replacement (Austin & Small 2014, Stat.
Med. 33, 4306). A region is in couples of several intervals, an EAR and its CR not in the same ones. Drawing EARs, or
exchanging labels by EAR, takes the CRs of different intervals for independent: where forecasts persist, the 95 %
intervals of the mean over five intervals then held the truth in 0.89 of 300 draws, and tests at 0.05 rejected in 0.09.
The variance is therefore clustered by both (Cameron, Gelbach & Miller 2011, J. Bus. Econ. Stat. 29, 238).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.optimize import linear_sum_assignment

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.maps.features import central_unsigned_flux, unsigned_flux
from hearjax.maps.transforms import crop
from hearjax.survey.survey import Survey
from hearjax.verification.calibration import calibrate, forecast
from hearjax.verification.predictions import interval_hours

CENTRAL_SQUARE_PX = 48  # What the discriminant analyses look at; the default network sees a little more.
MAPS_AT_ONCE = 64
FLUXES = (unsigned_flux, central_unsigned_flux)
SMALL = 20  # Regions of a class below which a score says little; our choice.
NORMAL_95 = 1.96  # Standard errors on each side of a 95 % interval.
SCORES = ('tss', 'ahead')


def central_square(survey: Survey) -> np.ndarray:
  """Returns `[n, y, x]` field [G] of the part of each map that models look at; smaller maps are whole."""
  return crop(survey.field, min(CENTRAL_SQUARE_PX, survey.field.shape[-1]))


def region_fluxes(survey: Survey) -> np.ndarray:
  """Returns `[n, 2]` log10 of the total and central unsigned flux [Mx] of each magnetogram's central square.

  The centre is that of `features.central_unsigned_flux`. Without any flux it is -inf. Missing pixels add none.
  """
  scale = survey.pixel_scale_mm
  fluxes = map_chunks(lambda maps: _fluxes(np.asarray(maps, np.float32), scale), central_square(survey), MAPS_AT_ONCE)
  with np.errstate(divide='ignore'):
    return np.log10(fluxes.astype(np.float64))


def rows_in_survey(survey: Survey, averaged: Table) -> np.ndarray:
  """Returns `[n]` the row of the survey that each row of a table is about.

  Raises:
    UserError: The survey lacks one.
  """
  keys = zip(survey.region_names().tolist(), survey.interval.tolist(), strict=True)
  row_of = {key: row for row, key in enumerate(keys)}
  wanted = list(zip(averaged['region_id'].tolist(), averaged['interval'].tolist(), strict=True))
  lost = [key for key in wanted if key not in row_of]
  if lost:
    raise UserError(
      f'The survey has no magnetogram of region {lost[0][0]} at interval {lost[0][1]}, which {averaged.meta["model"]} '
      'forecasts; give the survey that the predictions were made for.'
    )
  return np.array([row_of[key] for key in wanted])


def match(fluxes: np.ndarray, label: np.ndarray, tolerance_dex: float) -> tuple[np.ndarray, np.ndarray]:
  """Couples EARs with CRs of equal flux, each with one at most.

  The difference of two regions is the larger one of those of their fluxes. The sum of the differences is smallest, an
  EAR without a partner counting as the tolerance: the most couples that there can be would each lean the same way, the
  EARs being the ones of more flux. (In a test of 120 pairs with classes 0.15 dex apart, these kept 0.03 dex of it at a
  tolerance of 0.1 dex; the couples as they are keep 0.01 dex, and are 15 % fewer.)

  Args:
    fluxes: `[n, quantity]` logarithms of the fluxes [dex]; where one is not finite, there is no partner.
    label: `[n]` 1 for an EAR, 0 for a CR.
    tolerance_dex: Largest difference; `inf` for any.

  Returns:
    `[couple]` rows of the EARs, and those of their CRs.
  """
  ears, controls = (np.flatnonzero((label == value) & np.isfinite(fluxes).all(axis=1)) for value in (1, 0))
  difference = np.abs(fluxes[ears][:, None] - fluxes[controls]).max(axis=-1)
  ear, control = linear_sum_assignment(np.minimum(difference, tolerance_dex))
  kept = difference[ear, control] <= tolerance_dex
  return ears[ear[kept]], controls[control[kept]]


def matched_skill_table(
  tables: Sequence[Table], survey: Survey, tolerances_dex: Sequence[float], resamples: int, seed: int
) -> tuple[Table, Table]:
  """Scores each model among regions of equal flux, with the thresholds of the rule `each`.

  Args:
    tables: Predictions tables.
    survey: The survey that they are of.
    tolerances_dex: Largest differences of flux within a couple. With `inf` every magnetogram that has flux has a
      partner, the classes being equal in number, and the TSS is that of the plain set.
    resamples: Random exchanges of the labels.
    seed: Of the exchanges.

  Returns:
    A row for each model, tolerance and interval, and one for each model and tolerance: the means over the intervals
    before emergence (hours < 0), each of which counts the same. `n_couples`; `total_dex` and `central_dex`, the mean
    difference EAR - CR that remains; `tss` and `ahead` (see the head of this module) with their 95 % intervals; and
    `p`, that of the TSS in `exchange_test`. `small` marks fewer than 20 EARs or CRs. Without couples the scores are
    NaN; where all couples score alike, the interval has no width, however few they are.

  Raises:
    UserError: A tolerance is not positive, there is to be no exchange, a table has one class alone, or the survey lacks
      one of its magnetograms.
  """
  if not tolerances_dex or not all(tolerance > 0 for tolerance in tolerances_dex):
    raise UserError(f'Tolerances of flux are positive numbers [dex], one at least; got {list(tolerances_dex)}.')
  fluxes = region_fluxes(survey)
  rows, mean_rows = [], []
  for table in tables:
    averaged = calibrate(table)
    if len(set(averaged['label'])) < 2:
      raise UserError(f'{table.meta["model"]} has only one class: there are no couples; give tables of whole pairs.')
    hours = interval_hours(averaged)
    of_row = fluxes[rows_in_survey(survey, averaged)]
    for tolerance in tolerances_dex:
      couples = _couple(averaged, of_row, tolerance)
      names = {'model': table.meta['model'], 'tolerance_dex': float(tolerance)}
      for interval, hour in hours.items():
        scores = _score(couples[couples['interval'] == interval], resamples, seed)
        rows.append({**names, 'interval': interval, 'hours': hour, **scores})
      before = couples[np.isin(couples['interval'], [interval for interval, hour in hours.items() if hour < 0])]
      n_intervals = len(set(before['interval']))
      mean_rows.append({**names, 'n_intervals': n_intervals, **_score(before, resamples, seed)})
  found, mean = Table(rows), Table(mean_rows)
  if rows:
    found['hours'].unit = u.hour
  return found, mean


def exchange_test(values: np.ndarray, ear: np.ndarray, control: np.ndarray, draws: int, seed: int) -> float:
  """Tests whether the EARs of couples have the larger values, one-sided, by exchanging labels within couples.

  Where a forecast knows nothing but what the couples agree in, either region of a couple may be the EAR. In a draw, the
  labels of all couples of an EAR, those of its several intervals, are exchanged or not. The statistic is the sum over
  its standard error by both regions, so that the test also holds where couples share CRs (Chung & Romano 2013, Ann.
  Stat. 41, 484); where they do not, this is the test of the sum. p = (1 + draws at least as large) / (1 + draws)
  (Phipson & Smyth 2010, SAGMB 9, 39).

  Args:
    values: `[couple]` how far the EAR is ahead, as it counts in the sum.
    ear, control: `[couple]` index of the region.
    draws: Number of random exchanges.
    seed: Of the draws.

  Raises:
    UserError: There is to be no draw.
  """
  if draws < 1:
    raise UserError(f'A test by exchange needs at least one draw, got {draws}.')
  ears, place = np.unique(ear, return_inverse=True)
  signs = np.random.default_rng(seed).choice([-1.0, 1.0], (draws, len(ears)))
  # The sums come in one order of addition or another: equal ones may differ by rounding.
  drawn, observed = (_studentised(each, ear, control) for each in (signs[:, place] * values, values))
  return (1 + int(np.sum(drawn >= observed - 1e-9))) / (1 + draws)


def two_way_variance(values: np.ndarray, ear: np.ndarray, control: np.ndarray) -> np.ndarray:
  """Returns `[...]` the variance of the sum of `[..., couple]` values of mean 0, those that share a region dependent.

  That by EAR plus that by CR less that by both at once, the same two regions at several intervals (Cameron, Gelbach &
  Miller 2011); not below the last, which it is where no two couples share one region alone.
  """
  by_ear, by_control, by_both = (
    np.sum(_sums(values, group) ** 2, axis=-1) for group in (ear, control, ear * (control.max(initial=0) + 1) + control)
  )
  return np.maximum(by_ear + by_control - by_both, by_both)


@jax.jit
def _fluxes(field: jax.Array, pixel_scale_mm: float) -> jax.Array:
  """Returns `[n, 2]` total and central unsigned flux [Mx] of `[n, y, x]` field [G]."""
  return jnp.stack([jax.vmap(flux, (0, None))(field, pixel_scale_mm) for flux in FLUXES], axis=-1)


def _couple(averaged: Table, fluxes: np.ndarray, tolerance_dex: float) -> Table:
  """Returns a row for each couple of each interval: its regions, its differences of flux, its two scores."""
  label, interval = (np.asarray(averaged[name]) for name in ('label', 'interval'))
  region = np.unique(averaged['region_id'], return_inverse=True)[1]
  couples = []
  for number in np.unique(interval):
    rows = np.flatnonzero(interval == number)
    couples.append([rows[chosen] for chosen in match(fluxes[rows], label[rows], tolerance_dex)])
  ear, control = (np.concatenate(rows) for rows in zip(*couples, strict=True))
  total, central = (fluxes[ear] - fluxes[control]).T
  warned, calibrated = forecast(averaged).astype(float), np.asarray(averaged['calibrated'])
  return Table(
    {
      'interval': interval[ear],
      'ear': region[ear],
      'control': region[control],
      'total_dex': total,
      'central_dex': central,
      'tss': warned[ear] - warned[control],
      'ahead': np.sign(calibrated[ear] - calibrated[control]),
    }
  )


def _score(couples: Table, resamples: int, seed: int) -> dict[str, float]:
  """Returns what is told of couples, as means over the intervals of the means over their couples."""
  ear, control = (np.asarray(couples[name]) for name in ('ear', 'control'))
  intervals, place, n = np.unique(couples['interval'], return_inverse=True, return_counts=True)
  share = 1 / (n[place] * max(len(intervals), 1))
  scores = {'n_couples': len(couples)}
  for name in ('total_dex', 'central_dex'):
    scores[name] = float(share @ couples[name]) if len(couples) else np.nan
  for name in SCORES:
    values = np.asarray(couples[name])
    centred = share * (values - (np.bincount(place, values) / n)[place])
    value = float(share @ values) if len(couples) else np.nan
    error = NORMAL_95 * float(np.sqrt(two_way_variance(centred, ear, control)))
    low, high = np.clip([value - error, value + error], -1, 1).tolist()
    scores |= {name: value, f'{name}_low': low, f'{name}_high': high}
  p = exchange_test(share * couples['tss'], ear, control, resamples, seed) if len(couples) else np.nan
  return {**scores, 'p': p, 'small': min(len(set(ear)), len(set(control))) < SMALL}


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
  """Returns `[..., group]` the sums of `[..., n]` values over those of one group, `[n]` whole numbers."""
  order = np.argsort(group, kind='stable')
  return np.add.reduceat(values[..., order], np.flatnonzero(np.diff(group[order], prepend=-1)), axis=-1)


def _studentised(values: np.ndarray, ear: np.ndarray, control: np.ndarray) -> np.ndarray:
  """Returns `[...]` the sum of `[..., couple]` values over its standard error; 0 where all are 0."""
  error = np.sqrt(two_way_variance(values, ear, control))
  return np.divide(values.sum(axis=-1), error, out=np.zeros(error.shape), where=error > 0)
