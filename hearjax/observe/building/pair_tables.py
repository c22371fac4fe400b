"""Tables of matched pairs: the region table that a survey is built from, and how alike its two classes are.

Once there are magnetograms, `verification.nuisance.balance_table` judges the survey; the table here needs none, and
knows the flux before.
"""

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from astropy.time import Time

from hearjax.verification.nuisance import LARGEST, sun_longitude


def region_table(pairs: Table) -> Table:
  """Returns the regions of matched pairs, as `region_table.read_regions` reads them.

  Args:
    pairs: What `match_controls` returns.

  Returns:
    Two rows for each pair, the emerging region and its control region: `region_id` (ar11158, ar11158-cr), `pair_id`,
    `kind`, `latitude`, `longitude` (Carrington) [deg], `emergence_time` (ISO, UTC), `noaa` (0 of a control region),
    `cmd`, `b0` [deg].
  """
  halves = []
  for kind, prefix, ending in (('EAR', 'ear', ''), ('CR', 'cr', '-cr')):
    time = Time(np.asarray(pairs[f'{prefix}_mjd'], float), format='mjd', scale='utc', precision=3).isot
    half = Table(
      {
        'region_id': [f'{pair}{ending}' for pair in pairs['pair_id']],
        'pair_id': [str(pair) for pair in pairs['pair_id']],
        'kind': np.full(len(pairs), kind),
        'latitude': pairs[f'{prefix}_latitude'],
        'longitude': pairs[f'{prefix}_longitude'],
        'emergence_time': time,
        'noaa': pairs['ear_noaa'] if kind == 'EAR' else np.zeros(len(pairs), int),
        'cmd': pairs[f'{prefix}_cmd'],
        'b0': pairs[f'{prefix}_b0'],
      }
    )
    halves.append(half)
  table = vstack(halves)
  table.sort(['pair_id', 'region_id'])
  table.meta = {}
  return table


def control_balance(pairs: Table) -> Table:
  """Compares emerging regions and control regions in what they were matched by, and in the season.

  Args:
    pairs: What `match_controls` returns.

  Returns:
    A row for each quantity, named as in `verification.nuisance.nuisance_table`: `quantity`, `unit`, `n_pairs` that know
    it; `mean_ear`, `mean_cr`; `difference`, the mean over the pairs of EAR - CR; `deviation`, the standard deviation of
    that over the pairs; `standardised`, the difference over the root mean variance of the classes (Austin 2009, Stat.
    Med. 28, 3083), at most 10. NaN where there are too few pairs. The last quantity is the flux before, `flux_mx`.
  """
  ear, cr = (_quantities(pairs, prefix) for prefix in ('ear', 'cr'))
  return Table(rows=[_compare(name, unit, ear[name][0], cr[name][0]) for name, (_, unit) in ear.items()])


def _quantities(pairs: Table, prefix: str) -> dict[str, tuple[np.ndarray, str]]:
  """Returns name -> `[pair]` values of one class, and their unit."""
  column = {
    name: np.asarray(pairs[f'{prefix}_{name}'], float) for name in ('latitude', 'cmd', 'mu', 'b0', 'mjd', 'flux_mx')
  }
  season, degree = np.deg2rad(sun_longitude(column['mjd'])), u.deg.to_string()
  return {
    'latitude': (column['latitude'], degree),
    '|latitude|': (np.abs(column['latitude']), degree),
    'cmd': (column['cmd'], degree),
    '|cmd|': (np.abs(column['cmd']), degree),
    'mu': (column['mu'], ''),
    'b0': (column['b0'], degree),
    'season_sine': (np.sin(season), ''),
    'season_cosine': (np.cos(season), ''),
    'flux_mx': (column['flux_mx'], 'Mx'),
  }


def _compare(name: str, unit: str, ear: np.ndarray, cr: np.ndarray) -> dict[str, object]:
  """Returns a row of the balance of one quantity, from `[pair]` values of both classes."""
  known = np.isfinite(ear) & np.isfinite(cr)
  ear, cr = ear[known], cr[known]
  mean_ear, mean_cr = (values.mean() if values.size else np.nan for values in (ear, cr))
  difference, deviation, standardised = mean_ear - mean_cr, np.nan, np.nan
  if ear.size > 1:
    deviation = np.std(ear - cr, ddof=1)
    scatter = np.sqrt((np.var(ear, ddof=1) + np.var(cr, ddof=1)) / 2)
    unlimited = difference / scatter if scatter else LARGEST * np.sign(difference)
    standardised = np.clip(unlimited, -LARGEST, LARGEST)
  return {
    'quantity': name,
    'unit': unit,
    'n_pairs': ear.size,
    'mean_ear': mean_ear,
    'mean_cr': mean_cr,
    'difference': difference,
    'deviation': deviation,
    'standardised': standardised,
  }
