"""What is claimed of attribution, and the tables of its checks, from what `sanity.measure` found.

Regions are the units: maps of one region are averaged first, and intervals are over pairs and networks.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from hearjax.interpret.findings import SIGMA, Claim, Samples
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.references import EXCHANGED, UNTRAINED
from hearjax.interpret.sanity import BY, CHECKS, FIELD, KIN, RANDOM, RESEMBLANCE, SHARES, SIGNED, STRANGERS, area_beyond
from hearjax.interpret.statistics import Draws, over_subjects, weighted_mean
from hearjax.verification.resampling import confidence_interval

# A reference gives the order in which flux is taken from the maps that a member is shown. That of the meter of flux is
# strongest field first, that of the meter of |B| strong and central field first: both are known without attribution.
# Untrained networks and those of exchanged labels do not know what the member has learnt.
PLACES = Claim(
  'places',
  'What attribution marks matters to the output more than strong field, and than strong and central field',
  SIGMA,
  0.1,
)
# The resemblance of each reference to others of its own kind; meters do not learn, and are all the same.
LEARNT = Claim(
  'learnt',
  'The attribution of a network is more like that of others which learnt the same than that of untrained ones',
  'correlation',
  0.1,
  (UNTRAINED, EXCHANGED),
)
CLAIMS = (PLACES, LEARNT)


# --- What it says -----------------------------------------------------------------------------------------------


def claims(alike: Table, followed: Table, draws: Draws) -> dict[Claim, Samples]:
  """Returns the claims with their samples, of the first method.

  `PLACES`: area of deletion in the order of what pixels add beyond that of strongest field first. `LEARNT`: the signed
  resemblance to a network of the same kind less that to untrained ones; without other networks there is no such claim.

  Args:
    alike, followed: From `measure`.
    draws: Of the pairs.
  """
  method = followed['order'][0]
  found: dict[Claim, dict[str, list[np.ndarray]]] = {PLACES: {}}
  of_field = {name: _curve(rows, 'deletion') for name, rows in _by(followed[followed['order'] == FIELD], 'judge')}
  for _, rows in _by(followed[(followed['order'] == method) & (followed['by'] == SIGNED)], 'subject'):
    beyond = area_beyond(_curve(rows, 'deletion'), of_field[rows['judge'][0]], 'deletion')
    found[PLACES].setdefault(rows['group'][0], []).append(of_regions(beyond, rows, draws))
  of_method = alike[alike['method'] == method] if len(alike) else []
  if {KIN, STRANGERS} <= {row['to'] for row in of_method if row['group'] == MEMBERS}:
    found[LEARNT] = {}
    for _, rows in _by(of_method, 'subject'):
      kin, strangers = (_resembles(rows, to, SIGNED, draws) for to in (KIN, STRANGERS))
      found[LEARNT].setdefault(rows['group'][0], []).append(kin - strangers)
  return found


def of_regions(values: np.ndarray, rows: Table, draws: Draws) -> np.ndarray:
  """Returns `[1 + resample]` the mean over regions of `[n]` values, which are averaged over those of a region first.

  Args:
    values: One for each row.
    rows: Rows with `region` and `pair`.
    draws: Of the pairs.
  """
  _, first, index = np.unique(rows['region'], return_index=True, return_inverse=True)
  means = np.bincount(index, values) / np.bincount(index)
  return weighted_mean(means, draws.of_rows(np.asarray(rows['pair'])[first]))


def sanity_table(alike: Table, followed: Table, draws: Draws) -> Table:
  """Returns what both checks say of the members.

  A row for each `order` (a method, or `FIELD`), `by` one of `BY`, `check` (`RESEMBLANCE` or one of `CHECKS`) and what
  it is `against`: `value` with the 95 % interval `low` to `high` over pairs and `n` networks. Resemblance is a rank
  correlation; areas beyond those of another order are in spreads, positive where the order does better.
  """
  rows = []

  def add(samples: list[np.ndarray], **names: str) -> None:
    if samples:
      values = over_subjects(np.stack(samples), draws.seed)
      low, high = confidence_interval(values[1:])
      rows.append(names | {'n': len(samples), 'value': float(values[0]), 'low': float(low), 'high': float(high)})

  of_members = alike[alike['group'] == MEMBERS] if len(alike) else []
  for method, of_method in _by(of_members, 'method'):
    for by, to in itertools.product(BY, (KIN, STRANGERS)):
      found = [_resembles(each, to, by, draws) for _, each in _by(of_method, 'subject') if to in each['to']]
      add(found, order=method, by=by, check=RESEMBLANCE, against=to)
  shown = followed[followed['group'] == MEMBERS]
  for check, against in itertools.product(CHECKS, (FIELD, RANDOM)):
    reference = {name: _curve(each, check) for name, each in _by(shown[shown['order'] == against], 'judge')}
    for (order, by), of_order in _by(shown, 'order', 'by'):
      if order in (against, RANDOM):
        continue
      beyond = [
        of_regions(area_beyond(_curve(each, check), reference[name], check), each, draws)
        for name, each in _by(of_order, 'judge')
      ]
      add(beyond, order=order, by=by, check=check, against=against)
  return Table(rows)


def curve_table(followed: Table) -> Table:
  """Returns the mean curves of the members: `check`, `order`, `by`, `share` of the flux, `logit` in spreads.

  The logit is less that of the whole map, averaged over the maps of a region, over regions, and over networks.
  """
  every = Draws(np.ones((1, int(np.max(followed['pair'])) + 1)), 0)
  parts = []
  for (order, by), rows in _by(followed[followed['group'] == MEMBERS], 'order', 'by'):
    for check in CHECKS:
      means = [
        [of_regions(values, each, every)[0] for values in _curve(each, check).T] for _, each in _by(rows, 'judge')
      ]
      curve = {'share': SHARES, 'logit': np.mean(means, axis=0)}
      names = {'check': check, 'order': order, 'by': by}
      parts.append(Table({name: [value] * len(SHARES) for name, value in names.items()} | curve))
  return vstack(parts)


def _by(table: Table, *names: str) -> Iterator[tuple[Any, Table]]:
  """Yields the values of some columns, as they come in a table, and the rows that hold them."""
  columns = [np.asarray(table[name]) for name in names] if len(table) else []
  for values in dict.fromkeys(zip(*(column.tolist() for column in columns), strict=True)):
    rows = table[np.all([column == value for column, value in zip(columns, values, strict=True)], axis=0)]
    yield (values if len(values) > 1 else values[0]), rows


def _curve(rows: Table, check: str) -> np.ndarray:
  return np.asarray(rows[check], float)


def _resembles(rows: Table, to: str, by: str, draws: Draws) -> np.ndarray:
  """Returns `[1 + resample]` resemblance to networks of one kind; NaN where there is none."""
  chosen = rows[rows['to'] == to]
  return of_regions(np.asarray(chosen[by], float), chosen, draws) if len(chosen) else np.full(len(draws.pairs), np.nan)
