"""Where a model has its skill: scores within strata of the place on the disk and of the flux that is there.

A stratum holds magnetograms, not regions: one whose flux grows may go from a stratum to the next. The threshold is that
of all strata. A model that follows the quantity itself forecasts nearly the same throughout a stratum, so that its TSS
goes to 0; the AUC, which no threshold enters, says whether it still ranks EARs above CRs there.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.survey.survey import Survey
from hearjax.verification.calibration import calibrate, forecast
from hearjax.verification.matching import SMALL, central_square, region_fluxes, rows_in_survey
from hearjax.verification.resampling import confidence_interval, draw_rows
from hearjax.verification.scores import auc, contingency, tss

PARTS = 3  # Strata of a quantity, of equal population.
FLUX_UNIT_MX = 1e20
HEMISPHERE = 'latitude [deg]'
HEMISPHERES = np.array([-90.0, 0.0, 90.0])


def quantities(survey: Survey) -> dict[str, np.ndarray]:
  """Returns `[n]` each, by name with its unit, what strata are made of.

  Fluxes and fields are those of the central square that models look at, a missing pixel being 0 G. The earliest flux of
  a region is what was there before, as long before emergence as the survey goes.
  """
  flux = 10 ** region_fluxes(survey) / FLUX_UNIT_MX
  order = np.lexsort((survey.hours, survey.region))
  _, first = np.unique(survey.region[order], return_index=True)
  strength = np.abs(np.nan_to_num(central_square(survey))).reshape(len(survey), -1)
  return {
    'mu': survey.mu,
    '|latitude| [deg]': np.abs(survey.latitude),
    HEMISPHERE: survey.latitude,
    'central unsigned flux [1e20 Mx]': flux[:, 1],
    'earliest unsigned flux [1e20 Mx]': flux[order[first], 0][survey.region],
    'peak |B| [G]': strength.max(axis=1),
    '99.9th percentile of |B| [G]': np.quantile(strength, 0.999, axis=1),
  }


def strata_table(tables: Sequence[Table], survey: Survey, resamples: int, seed: int) -> Table:
  """Scores models within thirds of each of the `quantities`, and south and north of the equator.

  Args:
    tables: Predictions tables.
    survey: The survey that they are of.
    resamples, seed: Of the bootstrap of the pairs.

  Returns:
    A row for each model, quantity and stratum, from `low` to `high` in the unit that its name says. Before emergence
    (hours < 0) alone: `n_pairs`, `n_ear` and `n_cr`, which count regions; `small`, fewer than 20 regions of a class;
    `tss` (rule `each`) and `auc` (of the calibrated probability), means over the intervals at which the stratum has
    both classes, with their 95 % intervals, NaN where it never has.

  Raises:
    UserError: No row lies before emergence, there is to be no sample, or the survey lacks a magnetogram of a table.
  """
  of_survey = quantities(survey)
  rows = []
  for table in tables:
    averaged = calibrate(table)
    model = averaged.meta['model']
    before = averaged[np.asarray(averaged['hours']) < 0]
    if not len(before):
      raise UserError(f'{model} has no forecast before emergence (hours < 0): there are no strata.')
    in_survey = rows_in_survey(survey, before)
    weight = np.concatenate([np.ones((1, len(before)), int), draw_rows(before['pair_id'], resamples, seed)])
    for quantity, values in of_survey.items():
      values = values[in_survey]
      edges = HEMISPHERES if quantity == HEMISPHERE else np.quantile(values, np.linspace(0, 1, PARTS + 1))
      stratum = np.searchsorted(edges[1:-1], values, side='right')
      for number, (low, high) in enumerate(itertools.pairwise(edges)):
        part = before[stratum == number]
        n_ear, n_cr = (len(set(part['region_id'][part['label'] == value])) for value in (1, 0))
        counts = {'n_pairs': len(set(part['pair_id'])), 'n_ear': n_ear, 'n_cr': n_cr, 'small': min(n_ear, n_cr) < SMALL}
        names = {'model': model, 'quantity': quantity, 'low': float(low), 'high': float(high)}
        rows.append({**names, **counts, **_scores(part, weight[:, stratum == number])})
  return Table(rows)


def _scores(part: Table, weight: np.ndarray) -> dict[str, float]:
  """Returns TSS and AUC with their 95 % intervals, each row counting `[draw, n]` times; all count in the first draw."""
  label, calibrated, warned = np.asarray(part['label']), np.asarray(part['calibrated']), forecast(part)
  sums, n_intervals = np.zeros((2, len(weight))), np.zeros((2, len(weight)))
  for interval in np.unique(part['interval']):
    rows = np.flatnonzero(part['interval'] == interval)
    scores = np.stack(
      [
        tss(weight[:, rows] @ contingency(label[rows], warned[rows])),
        auc(label[rows], calibrated[rows], weight[:, rows]),
      ]
    )
    sums += np.nan_to_num(scores)
    n_intervals += np.isfinite(scores)
  found = {}
  for name, samples in zip(
    ('tss', 'auc'), np.where(n_intervals, sums, np.nan) / np.maximum(n_intervals, 1), strict=True
  ):
    low, high = confidence_interval(samples[1:])
    found |= {name: samples[0], f'{name}_low': low, f'{name}_high': high}
  return found
