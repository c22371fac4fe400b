"""Figures of base rates and of the first alarm."""

import numpy as np
import pytest
from astropy.table import vstack
from matplotlib.figure import Figure
from matplotlib.text import Text

from hearjax.report import base_rate_plots
from hearjax.report.base_rate_plots import plot_base_rates, plot_first_alarm
from hearjax.verification.alarms import first_alarm_table
from hearjax.verification.base_rates import BaseRateSettings, base_rate_table
from hearjax.verification.calibration import calibrate
from tests.hand_made import random_table

TIMES = (-5, -1, 0)
MODELS = ('cnn', 'da_flux', 'da_linear', 'theirs_$1')


@pytest.fixture(scope='module')
def tables():
  """Tables of four models, one of which never warns."""
  averaged = [
    calibrate(random_table(30, TIMES, skill=1.0, seed=seed, model=model)) for seed, model in enumerate(MODELS)
  ]
  averaged[1]['calibrated'] = 0.1
  return (
    vstack([base_rate_table(one, BaseRateSettings(), 20, 0) for one in averaged]),
    vstack([first_alarm_table(one, 20, 0) for one in averaged]),
  )


@pytest.fixture
def figures(monkeypatch):
  """The figures that are drawn."""
  drawn = []
  monkeypatch.setattr(base_rate_plots, 'Figure', lambda **keywords: drawn.append(Figure(**keywords)) or drawn[-1])
  return drawn


def test_figures_are_written_without_warnings_whatever_is_missing(tables, tmp_path):
  rates, alarms = tables
  assert np.isnan(rates['precision']).any()
  plot_base_rates(rates, 'simulated', tmp_path / 'rates.png')
  plot_base_rates(rates[rates['model'] == 'da_flux'], None, tmp_path / 'silent.png')
  plot_first_alarm(alarms, 'simulated', tmp_path / 'alarms.png')
  plot_first_alarm(alarms[alarms['model'] == 'cnn'], 'hear', tmp_path / 'one.png')
  assert len(list(tmp_path.iterdir())) == 4


def test_figures_say_what_they_are_of(tables, tmp_path, figures):
  plot_base_rates(tables[0], 'simulated', tmp_path / 'rates.png')
  plot_first_alarm(tables[1], 'simulated', tmp_path / 'alarms.png')
  texts = [' '.join(text.get_text() for text in figure.findobj(Text)) for figure in figures]
  assert all('Simulated survey: no evidence about the Sun' in text for text in texts)
  assert all(label in text for text in texts for label in ('CNN', 'DA, unsigned flux', r'theirs_\$1'))
  assert 'at -2.9 h' in texts[0] and 'Where 1 % of the places emerge' in texts[0]
  assert '30 EAR, 30 CR' in texts[1]


def test_the_points_are_those_of_the_table(tables, tmp_path, figures):
  plot_base_rates(tables[0], 'simulated', tmp_path / 'rates.png')
  plot_first_alarm(tables[1], 'simulated', tmp_path / 'alarms.png')
  rows = tables[0][(tables[0]['model'] == 'cnn') & (tables[0]['interval'] == -1)]
  left, right = figures[0].axes
  assert any(np.array_equal(line.get_ydata(), rows['precision'][::-1]) for line in left.lines)
  # The largest value is the TSS.
  largest = [np.max(line.get_ydata()) for line in right.lines if len(line.get_xdata()) > 2]
  assert len(largest) == 4 and largest[0] == pytest.approx(rows['value'][0], abs=0.01)
  for axes, model in zip(figures[1].axes, MODELS, strict=False):
    of_model = tables[1][tables[1]['model'] == model]
    drawn = [line.get_ydata() for line in axes.lines]
    for kind in ('any', 'kept'):
      for name in ('ear', 'cr'):
        wanted = of_model[of_model['alarm'] == kind][name]
        assert any(np.array_equal(line, wanted) for line in drawn), (model, kind, name)


def test_what_cannot_be_drawn_is_refused(tables, tmp_path):
  rates, _ = tables
  with pytest.raises(ValueError, match='no interval before emergence'):
    plot_base_rates(rates[rates['hours'] > 0], 'simulated', tmp_path / 'figure.png')
