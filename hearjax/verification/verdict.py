"""The verdict: what the scores of a forecast come to, in ten lines that a person can read."""

from collections.abc import Iterator, Mapping

import numpy as np
from astropy.table import Table

from hearjax.verification.base_rates import headline_rate
from hearjax.verification.calibration import EACH, HALF, ONE
from hearjax.verification.certificate import Certificate
from hearjax.verification.predictions import tuned_name
from hearjax.verification.reliability import PROBABILITIES

Products = Mapping[str, Table]
VERDICT_NAME = 'verification/verdict.txt'  # In the work directory.
LEAK, UNCERTIFIED = 'THE CLASSES DIFFER WITHOUT ANY MAP', 'NOT CERTIFIED'
WARNINGS = (LEAK, UNCERTIFIED)  # How a line begins that puts the others in doubt.


def verdict(products: Products, reference: str, certificates: Mapping[str, Certificate]) -> list[str]:
  """Returns the sentences, each after a word that says what it is about; those whose table is missing are left out.

  Args:
    products: The tables of `verify`, by name.
    reference: The model that is told of.
    certificates: Of the predictions of each model; none where no survey was given.
  """
  parts = (
    ('leak', _leak(products)),
    ('folds', _folds(certificates, reference)),
    ('skill', _skill(products, reference)),
    ('rule', _rule(products, reference)),
    ('rivals', _rivals(products, reference)),
    ('flux', _flux(products, reference)),
    ('calibration', _calibration(products, reference)),
    ('base rate', _base_rate(products, reference)),
    ('first alarm', _first_alarm(products, reference)),
    ('emergence', _emergence(products, reference)),
  )
  return [f'{name + ":":<13}{sentence}' for name, sentences in parts for sentence in sentences]


def rows_where(table: Table, **wanted: object) -> Table:
  """Returns the rows of a table whose columns have the values wanted."""
  return table[np.all([np.asarray(table[name] == value, bool) for name, value in wanted.items()], axis=0)]


def _bounds(row: Mapping[str, float], name: str = 'tss', bounds: str = 'tss_refit_', signed: bool = False) -> str:
  form = '+.2f' if signed else '.2f'
  return f'{row[name]:{form}} [{row[bounds + "low"]:{form}}, {row[bounds + "high"]:{form}}]'


def _leak(products: Products) -> Iterator[str]:
  if 'nuisance' not in products:
    yield 'not looked for; say with --survey which survey the predictions are of.'
    return
  row = rows_where(products['nuisance'], threshold_rule=HALF)[0]
  unbalanced = [row['quantity'] for row in products['balance'] if row['unbalanced']]
  named = (
    f'; by themselves EAR and CR differ in {", ".join(unbalanced)} (of twenty, one by chance)' if unbalanced else ''
  )
  if row['tss_refit_low'] > 0:
    yield f'{LEAK}: metadata alone have a TSS of {_bounds(row)}{named}.'
  else:
    yield f'none seen: metadata alone have a TSS of {_bounds(row)}{named}.'


def _folds(certificates: Mapping[str, Certificate], reference: str) -> Iterator[str]:
  if not certificates:
    yield 'not certified; that needs the survey, too.'
  for model, certificate in certificates.items():
    if not certificate.holds:
      yield f'{UNCERTIFIED}, {model}: {certificate}.'
    elif model == reference:
      yield f'certified: {certificate}.'


def _skill(products: Products, reference: str) -> Iterator[str]:
  mean = rows_where(products['skill_mean'], model=reference, threshold_rule=EACH)
  rows = rows_where(products['skill'], model=reference, threshold_rule=EACH)
  before = rows[(rows['hours'] < 0) & np.isfinite(rows['tss'])]
  if len(mean) and len(before):
    each = ', '.join(f'{row["tss"]:.2f} at {row["hours"]:+.0f} h' for row in before)
    yield f'{reference} has a TSS of {_bounds(mean[0])} before emergence ({each}).'


def _rule(products: Products, reference: str) -> Iterator[str]:
  one = rows_where(products['skill_mean'], model=reference, threshold_rule=ONE)
  tuned = rows_where(products['skill_mean'], model=tuned_name(reference), threshold_rule=EACH)
  if len(one):
    copies = f'; copies tuned to each lead time, as analyses are fitted, have {_bounds(tuned[0])}' if len(tuned) else ''
    yield (
      'calibrated for each lead time; with one threshold for all of them, as an operator has, '
      f'{_bounds(one[0])}{copies}.'
    )


def _rivals(products: Products, reference: str) -> Iterator[str]:
  if 'differences_mean' in products:
    rows = rows_where(products['differences_mean'], threshold_rule=EACH)
    rows = rows[rows['baseline'] != tuned_name(reference)]
    if not len(rows):
      return
    row = rows[int(np.argmin(rows['difference']))]
    yield (
      f'its mean TSS less that of {row["baseline"]}, the best of the {len(rows)} others: '
      f'{_bounds(row, "difference", "refit_", True)}.'
    )


def _flux(products: Products, reference: str) -> Iterator[str]:
  if 'matched_mean' not in products:
    return
  rows = rows_where(products['matched_mean'], model=reference)
  rows = rows[np.isfinite(rows['tolerance_dex'])]
  matched = rows[rows['n_couples'] > 0]
  if not len(matched):
    yield f'no two regions have equal flux (to {np.max(rows["tolerance_dex"]):g} dex), so that one cannot tell.'
    return
  row = matched[int(np.argmin(matched['tolerance_dex']))]
  few = ', few regions' if row['small'] else ''
  yield (
    f'among regions of equal flux (to {row["tolerance_dex"]:g} dex, {row["n_couples"]} couples{few}) the TSS is '
    f'{_bounds(row, bounds="tss_")}; p = {row["p"]:.2g} that it knows no more than flux.'
  )


def _calibration(products: Products, reference: str) -> Iterator[str]:
  rows = rows_where(products['calibration'], model=reference)
  if len(rows):
    plain, fitted = (rows_where(rows, of=name)[0] for name in PROBABILITIES)
    yield (
      f'Brier score {plain["brier"]:.3f} as it came, {fitted["brier"]:.3f} calibrated, of which miscalibration '
      f'{plain["miscalibration"]:.3f} and {fitted["miscalibration"]:.3f}; the best threshold lies '
      f'{plain["threshold_gap"]:+.2f} and {fitted["threshold_gap"]:+.2f} from the share of events.'
    )


def _base_rate(products: Products, reference: str) -> Iterator[str]:
  if 'base_rates' not in products:
    return
  rows = rows_where(products['base_rates'], model=reference)
  rate = headline_rate(rows)
  rows = rows[(rows['rate'] == rate) & (rows['hours'] < 0)]
  if len(rows):
    row = rows[int(np.argmax(rows['hours']))]
    yield (
      f'where {rate:.3g} of the places emerge, {row["precision"]:.0%} of the alarms at {row["hours"]:+.0f} h are '
      f'right, and {row["false_alarms"]:.0f} false ones come per disk and day.'
    )


def _first_alarm(products: Products, reference: str) -> Iterator[str]:
  if 'first_alarm_summary' not in products:
    return
  row = rows_where(products['first_alarm_summary'], model=reference, alarm='any')[0]
  early = f'half of the EARs with an alarm have it by {row["median_hours"]:+.0f} h' if row['never'] < 1 else 'none'
  yield f'{early}; {row["never"]:.0%} of the EARs never have one, and {1 - row["never_cr"]:.0%} of the controls do.'


def _emergence(products: Products, reference: str) -> Iterator[str]:
  if 'frames' not in products:
    return
  after = rows_where(products['skill'], model=reference, threshold_rule=EACH)
  share = dict(zip(products['frames']['interval'].tolist(), products['frames']['after_emergence'], strict=True))
  rows = [row for row in after if row['hours'] < 0 and np.isfinite(row['tss'])]
  late = [row for row in rows if share[row['interval']] > 0]
  early = [row['tss'] for row in rows if share[row['interval']] == 0]
  if late and early:
    told = ', '.join(f'{share[row["interval"]]:.0%} of the window at {row["hours"]:+.0f} h' for row in late)
    yield f'{told} lie after the emergence time; without that interval the mean TSS is {np.mean(early):.2f}.'
