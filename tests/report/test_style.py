"""One look for one thing, wherever it is drawn, and files of it."""

import inspect
import itertools
import pathlib

import matplotlib
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from PIL import Image

from hearjax.interpret.references import GROUPS, UNTRAINED
from hearjax.models.discriminant import DISCRIMINANTS
from hearjax.report import style
from hearjax.verification.predictions import tuned_name

OWN = ('cnn', tuned_name('cnn'), *DISCRIMINANTS)


def luminance(colour: object) -> float:
  """Returns how light a colour is in a print in grey, 0 to 1 (Rec. 709)."""
  return float(np.dot(matplotlib.colors.to_rgb(colour), [0.2126, 0.7152, 0.0722]))


def test_every_model_and_every_group_of_networks_has_a_look_of_its_own():
  assert set(style.STYLES) == set(style.LABELS) == set(OWN)
  assert tuple(style.GROUP_STYLES) == GROUPS
  for looks in (style.STYLES.values(), style.GROUP_STYLES.values(), style.OTHER_STYLES):
    colours, *_ = zip(*looks, strict=True)
    assert len(set(colours)) == len(colours)
  for column in (1, 2):  # Without any colour markers and lines tell the groups apart.
    assert len({str(look[column]) for look in style.GROUP_STYLES.values()}) == len(GROUPS)
  assert len({marker for _, marker in style.STYLES.values()}) == len(OWN)
  assert style.GROUP_STYLES['members'][:2] == style.STYLES['cnn']  # They are the same networks.
  assert style.GROUP_STYLES[UNTRAINED][0] == style.GREY


def test_lines_are_seen_on_white_paper():
  looks = [*style.STYLES.values(), *style.OTHER_STYLES, *style.GROUP_STYLES.values(), *style.CLASS_STYLES.values()]
  assert max(luminance(look[0]) for look in looks) < 0.7


def test_a_model_keeps_its_look_whoever_is_drawn_beside_it():
  for model in OWN:
    assert style.style_of(model, [model]) == style.style_of(model, ['theirs', *OWN])
  alone = style.style_of('theirs', ['theirs'])
  assert alone not in style.STYLES.values()
  assert style.style_of('theirs', ['cnn', 'theirs', 'da_flux']) == alone


@pytest.mark.parametrize('order', list(itertools.permutations(['lstm', 'vit', 'smarp', 'theirs']))[::7])
def test_models_of_other_programs_look_different_in_any_order(order):
  looks = {model: style.style_of(model, [*OWN, *order]) for model in order}
  assert len(set(looks.values())) == len(order)
  assert looks == {model: style.style_of(model, sorted(order)) for model in order}


def test_more_models_than_looks_are_drawn_all_the_same():
  models = [f'model {number}' for number in range(20)]
  assert {style.style_of(model, models) for model in models} == set(style.OTHER_STYLES)


def test_settings_hold_within_a_figure_and_nowhere_else():
  before = matplotlib.rcParams['font.size']
  assert style.in_style(lambda: matplotlib.rcParams['font.size'])() == style.SETTINGS['font.size'] != before
  assert matplotlib.rcParams['font.size'] == before


@pytest.mark.parametrize(
  'path', sorted(pathlib.Path(style.__file__).parent.glob('*_plots.py')), ids=lambda path: path.stem
)
def test_every_figure_is_drawn_in_the_style(path):
  module = __import__(f'hearjax.report.{path.stem}', fromlist=['plots'])
  drawing = [
    function
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name.startswith('plot_') and function.__module__ == module.__name__
  ]
  assert drawing
  assert all(hasattr(function, '__wrapped__') for function in drawing)


def test_a_file_keeps_its_size_and_its_colours(tmp_path):
  for name, colour, mode in (('grey', '0.5', 'L'), ('colour', style.RED, 'RGB')):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], color=colour)
    style.save(figure, tmp_path / f'{name}.png')
    with Image.open(tmp_path / f'{name}.png') as picture:
      assert (picture.mode, picture.size) == (mode, (2 * style.DPI, style.DPI))
      content = np.asarray(picture.convert('RGB')).reshape(-1, 3)
      wanted = np.round(255 * np.array(matplotlib.colors.to_rgb(colour)))
      assert np.abs(content - wanted).max(axis=1).min() <= 1
  assert not list(tmp_path.glob('.*'))


@pytest.mark.parametrize('source', ['simulated', 'hear+simulated', 'Simulated'])
def test_what_is_simulated_in_part_is_said_to_be(source):
  assert 'no evidence about the Sun' in style.source_note(source)
  assert 'no evidence' not in style.source_note('hear')


def test_groups_of_networks_are_drawn_with_their_intervals_and_hide_no_other():
  rows = [
    {'networks': group, 'at': at, 'value': at + number, 'low': at + number - 0.5, 'high': at + number + 1}
    for number, group in enumerate(GROUPS)
    for at in (1.0, 2.0, 4.0)
  ]
  axes = Figure().subplots()
  style.draw_groups(axes, Table(rows[::-1])[::-1], 'at', 'value')
  lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
  assert lines == {group: [1.0 + n, 2.0 + n, 4.0 + n] for n, group in enumerate(GROUPS)}
  (band,) = (item for item in axes.collections if hasattr(item, 'get_datalim') and len(item.get_paths()) == 1)
  assert band.get_paths()[0].get_extents().extents.tolist() == [1.0, 0.5, 4.0, 5.0]
  bars = [item for item in axes.collections if item is not band]
  assert len(bars) == len(GROUPS) - 1
  for number, item in enumerate(bars, start=1):
    ends = np.array([segment[:, 1] for segment in item.get_segments()])
    np.testing.assert_allclose(ends, np.array([1.0, 2.0, 4.0])[:, None] + number + [-0.5, 1])
