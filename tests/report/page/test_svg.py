"""Where points of a chart lie, and what they tell."""

import numpy as np
import pytest

from hearjax.report import style
from hearjax.report.page import charts, svg
from hearjax.report.page.svg import Point, Series, dark_colour, draw
from tests.report.page import folders


def drawn(points, **keywords):
  return draw('alt', 'x', 'y', [Series('a', style.BLUE, 'o', tuple(points))], **keywords)


def luminance(colour: str) -> float:
  parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
  linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
  return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_points_lie_where_their_numbers_say():
  drawing = drawn([Point(0, 0, ''), Point(1, 1, ''), Point(3, 3, '')])
  (x0, y0, *_), (x1, y1, *_), (x3, y3, *_) = drawing.placed[0].marks
  assert (x3 - x0) == pytest.approx(3 * (x1 - x0), abs=0.4) and (y3 - y0) == pytest.approx(3 * (y1 - y0), abs=0.4)
  assert x0 < x1 and y0 > y1  # The y of a picture grows downwards.
  ticks = {label: place for place, label in drawing.x_ticks}
  assert ticks['0.0'] == x0 and ticks['3.0'] == x3
  assert drawing.left <= x0 and x3 <= drawing.right and drawing.top <= y3 and y0 <= drawing.bottom


def test_bars_and_zero_are_within_the_picture():
  drawing = drawn([Point(-5, 0.5, '', ((-0.4, 0.9), (0.1, 0.7)))], x_zero=True, y_zero=True)
  (((_, y, (thin, thick), _, _),),) = (placed.marks for placed in drawing.placed)
  assert thin[0] > thick[0] > y > thick[1] > thin[1]
  assert thin[0] <= drawing.bottom and thin[1] >= drawing.top
  (left, zero, right, _), (emergence, *_) = drawing.rules
  assert (left, right) == (drawing.left, drawing.right) and thin[0] > zero > thick[0]
  assert drawing.left < emergence <= drawing.right


def test_a_gap_breaks_the_line_and_no_point_is_at_no_place():
  drawing = drawn([Point(0, 0, ''), Point(1, np.nan, ''), Point(2, 1, ''), Point(3, 0, '')])
  (placed,) = drawing.placed
  assert len(placed.marks) == 3 and placed.path.count('M') == 2 and 'nan' not in placed.path
  assert drawn([]).placed[0].marks == () and drawn([Point(1, 2, 'alone')]).placed[0].marks[0][3] == 'alone'


@pytest.mark.parametrize('colour', [style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.RED, style.BLACK])
def test_colours_are_seen_on_either_ground(colour):
  assert luminance('#ffffff') + 0.05 >= 2 * (luminance(colour) + 0.05)
  assert luminance(dark_colour(colour)) + 0.05 >= 4.5 * (luminance('#14181d') + 0.05)


def test_ticks_have_the_digits_that_they_need():
  labels = [label for _, label in drawn([Point(0, -0.5, ''), Point(1, 1.0, '')]).y_ticks]
  assert len(set(labels)) == len(labels) and all(label.startswith('\N{MINUS SIGN}') for label in labels[:1])
  assert len({len(label.partition('.')[2]) for label in labels}) == 1


# --- The charts of the page -----------------------------------------------------------------------------------------


def test_points_of_skill_tell_both_intervals():
  chart = charts.skill_chart(folders.table_of('skill', 'x', 'simulated'))
  assert [placed.series.name for placed in chart.drawing.placed] == ['CNN', 'DA, unsigned flux']
  told = [mark[3] for placed in chart.drawing.placed for mark in placed.marks]
  assert all('TSS' in one and 'over pairs alone' in one and ' h: ' in one for one in told) and len(told) == 4
  assert chart.drawing.placed[0].series.colour == style.RED  # That of the network everywhere.


def test_the_epoch_that_is_kept_stands_out():
  loss, skill = charts.training_charts(folders.log_lines(folds=1, epochs=5))
  (_, validation) = loss.drawing.placed
  assert [mark[4] for mark in validation.marks] == [False, False, False, False, True]
  assert validation.marks[3][3] == 'Fold 0, seed 0, epoch 4: loss 0.500 in training, 0.600 in validation, TSS 0.40'
  assert len(skill.drawing.placed[0].marks) == 5 and len(loss.drawing.legend) == 2


def test_long_trainings_are_thinned_and_keep_the_epoch_that_counts():
  lines = folders.log_lines(folds=10, epochs=400)
  loss, _ = charts.training_charts(lines)
  marks = [mark for placed in loss.drawing.placed for mark in placed.marks]
  assert len(marks) <= 2 * (charts.MOST_POINTS + 20)
  assert sum(mark[4] for mark in marks) == 10
  assert all(any('epoch 400:' in mark[3] for mark in placed.marks) for placed in loss.drawing.placed)


def test_every_mark_has_a_shape():
  known = {
    mark for _, mark in [*charts.style_of.__globals__['STYLES'].values(), *charts.style_of.__globals__['OTHER_STYLES']]
  }
  assert known <= set(svg.MARKS)
