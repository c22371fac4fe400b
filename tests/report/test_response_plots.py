"""Figures of synthetic fields and of the completeness, from tables alone."""

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.text import Text

from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.references import FIELD_METER, UNTRAINED
from hearjax.interpret.synthetic import FIXED, SyntheticSettings, example_fields
from hearjax.maps.synthetic import Grid
from hearjax.report import response_plots, style


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
  """The figures that are drawn, instead of files."""
  figures = []
  monkeypatch.setattr(style, 'save', lambda figure, path: figures.append(figure))
  return figures


def said(figure: Figure) -> str:
  return '\n'.join(text.get_text() for text in figure.findobj(Text))


def test_the_plane_is_the_mean_over_the_fluxes(drawn):
  rows = []
  for group in (MEMBERS, FIELD_METER, UNTRAINED):
    for fixed in FIXED:
      for flux in (1e19, 4e19):
        for width in (3.0, 8.0):
          for distance in (4.0, 9.0, 20.0):
            rise = width + 10 * distance + (flux > 2e19) - (fixed == FIXED[0]) * 50
            rows.append(('bipole', group, fixed, flux, width, distance, rise))
  names = ('family', 'networks', 'fixed', 'flux_mx', 'width_mm', 'distance_mm', 'rise')
  response_plots.plot_plane(Table(rows=rows, names=names), 'simulated', 'plane.png')
  (figure,) = drawn
  meshes = [axes.collections[0] for axes in figure.axes if axes.get_title()]
  assert len(meshes) == 4  # Members and the meter of |B|, by what is fixed.
  np.testing.assert_allclose(
    np.asarray(meshes[1].get_array()), [[43.5, 48.5], [93.5, 98.5], [203.5, 208.5]]
  )  # [distance, width], the lowest distance first.
  assert np.asarray(meshes[0].get_array())[0, 0] == -6.5
  assert 'no evidence about the Sun' in said(figure)


def test_a_curve_for_each_group_along_each_axis(drawn):
  rows = [
    (family, axis, fixed, value, group, value + 1, value, value + 2)
    for family, axis, values in (
      ('bipole', 'width', (3.0, 8.0)),
      ('bipole', 'flux', (1e19, 4e19)),
      ('spot', 'width', (3.0, 8.0)),
      ('spot', 'flux', (1e19, 4e19)),
    )
    for fixed in FIXED
    for group in (MEMBERS, UNTRAINED)
    for value in values
  ]
  names = ('family', 'axis', 'fixed', 'value', 'networks', 'rise', 'low', 'high')
  response_plots.plot_curves(Table(rows=rows, names=names), None, 'curves.png')
  (figure,) = drawn
  assert len(figure.axes) == 2 * 3  # The flux of bipoles alone.
  for axes in figure.axes:
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert {MEMBERS, UNTRAINED} <= set(lines)
    np.testing.assert_allclose(lines[MEMBERS].get_ydata(), np.asarray(lines[MEMBERS].get_xdata()) + 1)
  assert [text.get_text() for text in figure.legends[0].texts] == [MEMBERS, UNTRAINED]


def completeness_of(groups=(MEMBERS, FIELD_METER)):
  shares, limits = [], []
  for group in groups:
    for separation, inner, outer in ((4.0, 0, 8), (16.0, 0, 8), (np.nan, 0, 4), (np.nan, 4, 8)):
      shares += [
        (group, separation, inner, outer, flux, 100 * number, 0.4 * number, 0.0, 1.0)
        for number, flux in enumerate((1e19, 1e20, 1e21))
      ]
      half = np.inf if separation == 16 else 0.0 if inner else 1e20
      limits.append((group, separation, inner, outer, half, half, np.inf))
  names = ('networks', 'separation_mm', 'inner_mm', 'outer_mm')
  table = Table(rows=shares, names=(*names, 'flux_mx', 'peak_gauss', 'pod', 'low', 'high'))
  limits = Table(rows=limits, names=(*names, 'flux_mx', 'low', 'high'))
  alarms = {'false_alarm_rate': 0.05, 'unseen': 0.085, 'unseen_low': 0.01, 'unseen_high': 0.165}
  table.meta = {'most_peak_gauss': 150.0, 'false_alarms': dict.fromkeys(groups, alarms)}
  return table, limits


def test_completeness_shows_what_is_beyond_its_bounds_at_the_edge(drawn):
  table, limits = completeness_of()
  response_plots.plot_completeness(table, limits, 'simulated', 'completeness.png')
  (figure,) = drawn
  surface, by_separation, by_ring = figure.axes[:3]
  np.testing.assert_allclose(np.asarray(surface.collections[0].get_array()), np.transpose([[0, 0.4, 0.8]] * 2))
  low, high = surface.get_ylim()
  (line,) = [each for each in by_separation.get_lines() if each.get_label() == MEMBERS]
  np.testing.assert_allclose(line.get_ydata(), [1e20, high])
  (line,) = [each for each in by_ring.get_lines() if each.get_label() == MEMBERS]
  np.testing.assert_allclose(line.get_xdata(), np.sqrt([8, 40]))  # Half of the area of each ring lies within.
  np.testing.assert_allclose(line.get_ydata(), [1e20, low])
  assert '0.085' in said(figure) and '[0.010, 0.165]' in said(figure)
  assert np.isinf(limits['flux_mx'][1])  # The table stays what it was.


def test_fields_are_drawn_with_their_sizes_and_files_are_written(tmp_path):
  grid = Grid(32, 1.39)
  examples = example_fields(grid, SyntheticSettings(families=('bipole', 'spot')), 0)
  response_plots.plot_fields(examples, 1.39, 'simulated', tmp_path / 'fields.png')
  response_plots.plot_completeness(*completeness_of((FIELD_METER,)), 'simulated', tmp_path / 'completeness.png')
  assert all((tmp_path / f'{name}.png').stat().st_size > 10000 for name in ('fields', 'completeness'))
