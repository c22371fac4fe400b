"""Figures of attribution, from tables and maps alone."""

import itertools
import warnings

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from hearjax.interpret import composites, sanity
from hearjax.interpret.attribution import PATHS
from hearjax.interpret.attribution_maps import AttributionMaps
from hearjax.report import attribution_plots, style
from tests.conftest import make_survey


@pytest.fixture
def drawn(monkeypatch):
  """The figures, instead of files."""
  figures: list[Figure] = []
  monkeypatch.setattr(style, 'save', lambda figure, file: (figure.draw_without_rendering(), figures.append(figure)))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    yield figures


def assert_within(figure):
  """No text of the figure is cut off at its edge."""
  page = figure.bbox
  texts = [figure._suptitle, figure._supxlabel]
  texts += [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
  for box in (text.get_window_extent() for text in texts if text is not None and text.get_text()):
    assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1


def attributed(methods):
  survey = make_survey(pairs=4, intervals=(-2, -1), size=12)
  n = len(survey)
  added, zero = dict.fromkeys(methods, survey.field / 100), dict.fromkeys(methods, np.zeros(n))
  return AttributionMaps(survey, np.zeros(n, int), np.arange(n) / 4, zero, zero, added)


@pytest.mark.parametrize('methods', [PATHS[:1], PATHS])
def test_the_gallery_shows_pairs_beside_what_pixels_add(drawn, methods):
  maps = attributed(methods)
  rows = attribution_plots.gallery_rows(maps)
  survey = maps.survey
  assert len(rows) == 6 and set(survey.interval[rows]) == {-1}
  assert sorted(survey.pair[rows[:3]]) == sorted(survey.pair[rows[3:]])
  assert survey.label[rows].tolist() == [1] * 3 + [0] * 3
  assert np.all(np.diff(maps.logit[rows[:3]]) < 0)  # From the surest to the least sure.
  attribution_plots.plot_gallery(maps, rows, 'gallery.png')
  (figure,) = drawn
  assert len([axes for axes in figure.axes if axes.images]) == 6 * (1 + len(methods))
  assert_within(figure)


def test_composites_show_both_classes_and_outline_their_difference(drawn):
  survey = make_survey(pairs=12, intervals=(-5, -4, -3, -2, -1), size=16)
  stacked = composites.composite(survey.field, survey, 100, 0)
  assert stacked.significant.any()
  labels = {'field': 'Field [G]', 'occlusion': 'Occlusion\n[logit per pixel]'}
  attribution_plots.plot_composites(dict.fromkeys(labels, stacked), labels, 1.39, 'note', 'composites.png')
  (figure,) = drawn
  maps = [axes for axes in figure.axes if axes.images]
  assert len(maps) == 2 * 3 * 5
  outlined = [axes for axes in maps if axes.collections]
  assert len(outlined) == 2 * np.sum(stacked.significant.any(axis=(1, 2)))
  assert_within(figure)


def test_checks_are_drawn_from_their_tables(drawn):
  against = {
    sanity.RESEMBLANCE: (sanity.KIN, sanity.STRANGERS),
    **dict.fromkeys(sanity.CHECKS, (sanity.FIELD, sanity.RANDOM)),
  }
  checks = Table(
    [
      {'order': order, 'by': by, 'check': check, 'against': other, 'n': 5, 'value': 0.3, 'low': 0.2, 'high': 0.4}
      for order, by in itertools.product(PATHS, sanity.BY)
      for check, others in against.items()
      for other in others
    ]
  )
  orders = [*itertools.product(PATHS, sanity.BY), (sanity.FIELD, sanity.ABSOLUTE), (sanity.RANDOM, sanity.ABSOLUTE)]
  curves = Table(
    [
      {'check': check, 'order': order, 'by': by, 'share': share, 'logit': -share}
      for check in sanity.CHECKS
      for order, by in orders
      for share in sanity.SHARES
    ]
  )
  attribution_plots.plot_sanity(checks, curves, 'simulated', 'sanity.png')
  (figure,) = drawn
  resemblance, deletion, insertion = figure.axes
  assert len(resemblance.get_xticks()) == 4
  assert len(deletion.get_lines()) == len(insertion.get_lines()) == len(orders)
  (legend,) = figure.legends
  assert {'strongest field first', 'random order'} <= {text.get_text() for text in legend.get_texts()}
  assert_within(figure)
