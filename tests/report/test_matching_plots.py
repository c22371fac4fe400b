"""Figures of flux-matched skill and of strata."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from hearjax.report import matching_plots
from hearjax.report.matching_plots import plot_matched, plot_strata
from hearjax.verification.matching import matched_skill_table
from hearjax.verification.strata import strata_table
from tests.conftest import make_survey
from tests.hand_made import random_table

TIMES = (-5, -1)


@pytest.fixture(scope='module')
def tables():
  """Tables of four models: of each interval, and of strata, where some have no score."""
  survey = make_survey(30, TIMES, size=16)
  predictions = [
    random_table(30, TIMES, skill=1.0, seed=seed, model=model)
    for seed, model in enumerate(('cnn', 'da_flux', 'da_linear', 'theirs_$1'))
  ]
  matched, _ = matched_skill_table(predictions, survey, (0.05, np.inf), 20, 0)
  # Bipoles in all EARs and in no CR: there are no couples, and some are made up.
  chosen = (matched['tolerance_dex'] == 0.05) & (matched['interval'] == -5)
  for name in ('tss', 'tss_low', 'tss_high', 'total_dex', 'central_dex'):
    matched[name][chosen] = 0.01
  return matched, strata_table(predictions, survey, 20, 0)


def test_figures_are_written_without_warnings_whatever_is_missing(tables, tmp_path):
  matched, strata = tables
  assert np.isnan(matched['tss']).any() and np.isnan(strata['auc']).any()
  plot_matched(matched, 'simulated', tmp_path / 'matched.png')
  plot_matched(matched[(matched['model'] == 'cnn') & (matched['interval'] == -1)], 'hear', tmp_path / 'none.png')
  plot_strata(strata, 'simulated', tmp_path / 'strata.png')
  plot_strata(strata[strata['model'] == 'cnn'], 'hear', tmp_path / 'one.png')
  assert len(list(tmp_path.iterdir())) == 4


def test_figures_say_what_they_are_of(tables, tmp_path, monkeypatch):
  figures = []
  monkeypatch.setattr(matching_plots, 'Figure', lambda **keywords: figures.append(Figure(**keywords)) or figures[-1])
  matched, strata = tables
  plot_matched(matched, 'simulated', tmp_path / 'matched.png')
  plot_strata(strata, 'simulated', tmp_path / 'strata.png')
  texts = [' '.join(text.get_text() for text in figure.findobj(Text)) for figure in figures]
  assert all('Simulated survey: no evidence about the Sun' in text for text in texts)
  assert all(label in text for text in texts for label in ('CNN', 'DA, unsigned flux', r'theirs_\$1'))
  assert 'to 0.05 dex' in texts[0] and 'couples total +0.010, central +0.010' in texts[0]
  assert all(quantity in texts[1].replace('\n', ' ') for quantity in set(strata['quantity']))


def test_the_points_are_those_of_the_table(tables, tmp_path, monkeypatch):
  figures = []
  monkeypatch.setattr(matching_plots, 'Figure', lambda **keywords: figures.append(Figure(**keywords)) or figures[-1])
  matched, strata = tables
  plot_matched(matched, 'simulated', tmp_path / 'matched.png')
  plot_strata(strata, 'simulated', tmp_path / 'strata.png')
  drawn = [[line.get_ydata() for line in figure.axes[0].lines] for figure in figures]
  plain = matched[(matched['model'] == 'cnn') & np.isinf(matched['tolerance_dex'])]
  assert any(np.array_equal(line, plain['tss']) for line in drawn[0])
  rows = strata[strata['quantity'] == 'mu']
  assert all(any(np.array_equal(line, [value]) for line in drawn[1]) for value in rows['tss'][np.isfinite(rows['tss'])])


def test_a_tolerance_that_is_not_there_is_named(tables, tmp_path):
  with pytest.raises(ValueError, match=r'needs the tolerances inf and 0\.2 dex; the table has 0\.05, inf'):
    plot_matched(tables[0], 'simulated', tmp_path / 'figure.png', tolerance_dex=0.2)
