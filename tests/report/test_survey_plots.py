"""Figures of surveys, and the spectrum that they show."""

import numpy as np
import pytest

from hearjax.report import survey_plots
from hearjax.simulate.worlds import simulate_survey

SIZE = 64


def test_comparison_figure_and_its_spectrum(tmp_path):
  null = simulate_survey(3, 4, (-1,), SIZE, 'null')
  real = np.random.default_rng(0).normal(0, 3, (SIZE, SIZE))
  real[:, :8] = np.nan
  survey_plots.plot_comparison(null, {'noise': real}, tmp_path / 'comparison.png')
  assert (tmp_path / 'comparison.png').stat().st_size > 10_000
  # White noise of 3 G on pixels of 2 Mm: 3^2 x 2^2 at every wavenumber.
  tiles = np.random.default_rng(1).normal(0, 3, (500, 32, 32))
  wavenumber, power = survey_plots.power_spectrum(tiles, 2.0)
  np.testing.assert_allclose(power, 36, rtol=0.1)
  assert wavenumber[[0, -1]] == pytest.approx([1 / 64, 1 / 4])
  with pytest.raises(ValueError, match='empty has no square of 32 x 32 px without missing pixels'):
    survey_plots.complete_tiles('empty', np.full((64, 64), np.nan))
