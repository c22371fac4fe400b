"""Figures of pruning, from tables alone."""

import warnings

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.text import Text

from hearjax.interpret.filter_tables import PARTS
from hearjax.interpret.filters import FLUXES
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.pruning import GREEDY, MAGNITUDE, MEAN, RANDOM
from hearjax.interpret.references import UNTRAINED
from hearjax.report import pruning_plots, style


@pytest.fixture
def drawn(monkeypatch):
  """The figures, instead of files."""
  figures: list[Figure] = []
  monkeypatch.setattr(style, 'save', lambda figure, file: (figure.canvas.draw(), figures.append(figure)))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    yield figures


def texts_of(figure):
  return ' '.join(text.get_text() for text in figure.findobj(Text))


def path_rows():
  rows = []
  for size in (12, 6, 3):
    for member, order, draws in (
      ('a', GREEDY, 1),
      ('a', RANDOM, 20),
      ('a', MAGNITUDE, 1),
      (MEAN, GREEDY, 1),
    ):
      for draw in range(draws):
        tss = 0.6 - 0.01 * (12 - size) - 0.01 * draw
        rows.append(
          {
            'member': member,
            'order': order,
            'draw': draw,
            'n_filters': size,
            'test_tss': tss,
            'test_tss_low': tss - 0.1,
            'test_tss_high': tss + 0.1,
            'chosen': order == GREEDY and member == 'a' and size == 6,
          }
        )
  return Table(rows)


def test_the_path_shows_the_mean_the_band_and_what_is_left(drawn):
  pruning_plots.plot_path(path_rows(), 'simulated', 'path.png')
  (figure,) = drawn
  axes = figure.axes[0]
  lines = {line.get_label(): line for line in axes.get_lines()}
  assert lines['Chosen on training pairs'].get_xdata().tolist() == [3, 6, 12]
  np.testing.assert_allclose(lines['Random orders, dotted the range of 95 %'].get_ydata()[-1], 0.6 - 0.095)
  assert lines['Left of each network'].get_xdata().tolist() == [6]
  low, high = (line.get_ydata()[-1] for line in axes.get_lines() if line.get_linestyle() == ':')  # Of 12 filters.
  np.testing.assert_allclose([low, high], 0.6 - 0.19 + np.array([0.025, 0.975]) * 0.19)
  assert len(axes.collections) == 1  # The band of the chosen order.
  assert 'no evidence about the Sun' in texts_of(figure)


@pytest.mark.parametrize('groups', [(MEMBERS, UNTRAINED), (MEMBERS,)])
def test_responders_stand_beside_those_of_untrained_networks(drawn, groups):
  rows = [
    {'networks': group, 'n': 5, 'part': part, 'hours': hours, 'tss': 0.3, 'tss_low': 0.2, 'tss_high': 0.5}
    for group in groups
    for part in PARTS
    for hours in (-3.0, -13.6)
  ]
  pruning_plots.plot_lead_time(Table(rows), 'simulated', 'lead_time.png')
  (figure,) = drawn
  assert len(figure.axes) == len(groups)
  assert 'positive responders alone' in texts_of(figure) and 'whole network alone' not in texts_of(figure)


def filter_rows(responder):
  table = Table({'name': ['a'] * 4, 'layer': [0, 0, 1, 1], 'filter': [0, 1, 0, 1], 'responder': [0, 0, *responder]})
  for name in ('delta_test_tss', 'contribution_pe', 'contribution_ne', 'spread'):
    table[name] = [0.0, 0.1, 0.2, 0.3]
  for flux, size in zip(FLUXES, (1.0, -2.0), strict=True):
    for ending in ('', '_low', '_high'):
      table[f'{flux}_per_dex{ending}'] = [np.nan, np.nan, size, size]
    table[f'{flux}_p'] = [np.nan, np.nan, 0.01, 0.01]
  return table


@pytest.mark.parametrize('responder', [(1, -1), (0, 1), (0, 0)])
def test_contributions_are_drawn_of_the_strongest_responder_of_either_sign(drawn, responder):
  maps = Table({'label': [0, 1, 0, 1], 'contributions': np.arange(8.0).reshape(4, 2)})
  for flux in FLUXES:
    maps[f'log_{flux}_flux'] = [19.0, 20.0, 19.5, 20.5]
  pruning_plots.plot_contribution(filter_rows(responder), maps, 'simulated', 'contribution.png')
  (figure,) = drawn
  for axes, sign in zip(figure.axes, (1, -1), strict=True):
    if sign in responder:
      ne, pe = axes.get_lines()[:2]
      assert ne.get_ydata().tolist() == maps['contributions'][::2, responder.index(sign)].tolist()
      np.testing.assert_allclose(pe.get_xdata(), 10 ** np.array([20.0, 20.5]))
      assert 'Remaining' in axes.get_xlabel()
    else:
      assert axes.texts[0].get_text() == 'none found'


def test_patches_are_drawn_at_their_own_size(drawn):
  patches = Table({'layer': [1, 1, 0], 'filter': [1, 1, 0], 'rank': [0, 1, 0], 'side': [5, 5, 3]})
  patches['patch'] = np.random.default_rng(0).normal(0, 100, (3, 5, 5))
  pruning_plots.plot_filters(filter_rows((1, -1)), patches, 1.4, 'simulated', 'filters.png')
  (figure,) = drawn
  images = [axes.get_images()[0].get_array().shape for axes in figure.axes if axes.get_images()]
  assert sorted(images[:3]) == [(3, 3), (5, 5), (5, 5)]
  assert 'responds negatively to flux' in texts_of(figure)


def test_no_filter_may_be_excited(drawn):
  patches = Table(names=('layer', 'filter', 'rank', 'side'), dtype=(int, int, int, int))
  pruning_plots.plot_filters(filter_rows((0, 0)), patches, 1.4, 'simulated', 'filters.png')
  assert len(drawn) == 1
