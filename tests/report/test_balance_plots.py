"""The figure of the balance."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hearjax.report import style
from hearjax.report.balance_plots import plot_balance
from hearjax.verification.nuisance import balance_table
from tests.conftest import make_survey


@pytest.fixture(scope='module')
def table():
  """Frames without scatter, missing pixels in most EARs, no mu."""
  survey = make_survey(20, size=16)
  rng = np.random.default_rng(0)
  return balance_table(
    survey.replace(
      mu=np.full(len(survey), np.nan),
      n_frames=540 - 40 * survey.label,
      missing=rng.random(len(survey)) + 0.2 * survey.label,
    ),
    50,
    0,
  )


@pytest.fixture
def figure(table, tmp_path, monkeypatch):
  drawn: list[Figure] = []
  monkeypatch.setattr(style, 'save', lambda figure, path: drawn.append(figure))
  plot_balance(table, 'simulated', tmp_path / 'balance.png')
  return drawn[0]


def test_each_quantity_has_its_line(table, figure):
  (axes,) = figure.axes
  labels = [text.get_text() for text in axes.get_yticklabels()]
  assert len(labels) == len(table) and {'latitude [deg]', 'mu', 'noise [G]'} <= set(labels)
  bars, points = axes.lines[1::2], axes.lines[2::2]  # After that at 0.
  line = list(table['quantity']).index('missing')
  row = table[line]
  assert row['unbalanced'] and points[line].get_color() == style.RED
  np.testing.assert_array_equal(bars[line].get_xdata(), [row['standardised_low'], row['standardised_high']])
  np.testing.assert_array_equal(points[line].get_xydata(), [[row['standardised'], line]])
  assert points[0].get_color() == style.BLUE and points[0].get_marker() == 'o'


def test_what_lies_outside_is_an_arrow_at_the_end(table, figure):
  (axes,) = figure.axes
  point = axes.lines[2::2][list(table['quantity']).index('n_frames')]
  assert point.get_marker() == '<' and point.get_xdata()[0] == axes.get_xlim()[0] == -1.5


def test_the_figure_says_what_it_is_of(figure):
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert texts.count('not known') == 1 and {'EAR', 'CR', 'AUC', '500', '540'} <= set(texts)
  title = figure.get_suptitle()
  assert '20 pairs' in title and 'Simulated survey: no evidence about the Sun' in title
  # All that is written lies on the page.
  width, height = figure.get_size_inches() * figure.dpi
  renderer = FigureCanvasAgg(figure).get_renderer()
  for text in (*figure.texts, *figure.axes[0].texts, *figure.axes[0].get_yticklabels()):
    box = text.get_window_extent(renderer)
    assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text.get_text()


def test_a_figure_is_written_without_warnings(table, tmp_path):
  plot_balance(table, 'hear', tmp_path / 'balance.png')
  plot_balance(table[table['quantity'] == 'mu'], 'hear', tmp_path / 'unknown.png')
  assert len(list(tmp_path.iterdir())) == 2
