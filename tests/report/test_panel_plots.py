"""What is said and drawn of pairing, where the mean of the networks shows more than any of them."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.interpret import pole_pairs
from hearjax.report.panel_plots import describe_pairing, plot_pairing

DISTANCE = np.geomspace(3, 30, 9)


def table_of(errors) -> Table:
  """Returns the table of networks with one curve, a peak of 1 at 10 Mm, each known to within its error."""
  rise = 1 - np.log(DISTANCE / 10) ** 2
  of_mean = np.sqrt(np.sum(np.square(errors))) / len(errors)
  peaks = [pole_pairs.peak(DISTANCE, rise, np.full(9, error)) for error in (of_mean, *errors)]
  peaks = [float(value) if np.isfinite(value) else None for value in peaks]
  table = Table({'pole_distance_mm': DISTANCE, 'rise': rise, 'rise_std': np.zeros(9)})
  table.meta = {'survey_source': 'test', 'peak_mm': peaks[0], 'peaks_mm': peaks[1:]}
  return table


@pytest.mark.parametrize(
  ('errors', 'said'),
  [
    ([0.4] * 4, 'most at 10.0 Mm (in the mean of them, in none of 4 networks)'),  # 2.5 standard errors, together 5.
    ([0.1, 0.4, 0.1], 'most at 10.0 Mm (10.0 to 10.0 in 2 of 3 networks)'),
    ([1.0, 1.0], 'at no distance within the range'),
  ],
)
def test_pairing_is_described_and_drawn_whoever_shows_it(tmp_path, errors, said):
  table = table_of(errors)
  assert said in describe_pairing(table.meta)
  plot_pairing(table, tmp_path / 'pairing.png')
  assert (tmp_path / 'pairing.png').stat().st_size > 10_000
