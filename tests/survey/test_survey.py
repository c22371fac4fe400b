"""A survey in memory: rows stay together, and its checksum is of the content."""

import dataclasses

import numpy as np
import pytest

from hearjax.survey.survey import COLUMNS, Survey, checksum, concatenate
from tests.conftest import make_survey


def assert_same(left: Survey, right: Survey) -> None:
  """Compares every column bit by bit, and the names."""
  for name in COLUMNS:
    np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert getattr(left, name).dtype == getattr(right, name).dtype
  for name in ('region_ids', 'pair_ids', 'pixel_scale_mm'):
    assert getattr(left, name) == getattr(right, name)


def test_select_keeps_rows_together(tiny_survey):
  rows = np.array([7, 2])
  part = tiny_survey.select(rows)
  assert len(part) == 2
  np.testing.assert_array_equal(part.field[1], tiny_survey.field[2])
  assert part.region_names().tolist() == [tiny_survey.region_names()[7], tiny_survey.region_names()[2]]
  assert_same(tiny_survey.select(tiny_survey.label == 1), tiny_survey.select(np.flatnonzero(tiny_survey.label)))


def test_selecting_everything_changes_nothing(tiny_survey):
  for everything in (slice(None), np.arange(len(tiny_survey)), np.ones(len(tiny_survey), bool)):
    assert_same(tiny_survey.select(everything), tiny_survey)
  backwards = np.arange(len(tiny_survey))[::-1]
  assert tiny_survey.select(backwards).pair_ids == tiny_survey.pair_ids
  assert_same(tiny_survey.select(backwards).select(backwards), tiny_survey)


def test_the_names_of_what_is_gone_are_gone(tiny_survey):
  rows = np.flatnonzero((tiny_survey.pair != 1) & (tiny_survey.label == 1))
  part = tiny_survey.select(rows)
  assert part.region_ids == ('EAR000', 'EAR002') and part.pair_ids == ('pair000', 'pair002')
  assert part.region.tolist() == part.pair.tolist() == [0, 0, 1, 1]
  assert part.region_names().tolist() == tiny_survey.region_names()[rows].tolist()
  assert_same(concatenate([part]), part)  # Which counts the names anew.
  assert tiny_survey.select(slice(0)).pair_ids == ()


def test_names_keep_their_order(tiny_survey):
  renamed = tiny_survey.replace(pair_ids=('c', 'b', 'a'))
  part = renamed.select(tiny_survey.pair != 1)
  assert part.pair_ids == ('c', 'a')
  assert part.pair_names().tolist() == renamed.pair_names()[tiny_survey.pair != 1].tolist()


def test_concatenate_undoes_select(tiny_survey):
  second, first = tiny_survey.select(slice(6, None)), tiny_survey.select(slice(0, 6))
  assert_same(concatenate([first, second]), tiny_survey)
  assert checksum(concatenate([second, first])) == checksum(tiny_survey)


def test_concatenate_joins_names_and_sources(tiny_survey):
  other = make_survey(pairs=1, seed=5).replace(region_ids=('AAA', 'EAR000'), pair_ids=('other',), source='elsewhere')
  joined = concatenate([tiny_survey, other])
  assert joined.region_ids[0] == 'AAA'
  assert joined.region_names().tolist() == tiny_survey.region_names().tolist() + other.region_names().tolist()
  assert joined.pair_names().tolist() == tiny_survey.pair_names().tolist() + other.pair_names().tolist()
  assert joined.source == 'elsewhere+test'


def test_concatenate_refuses_other_grids(tiny_survey):
  with pytest.raises(ValueError, match='no survey to concatenate'):
    concatenate([])
  with pytest.raises(ValueError, match=r'The surveys differ: map sizes .*\(16, 16\), \(32, 32\)'):
    concatenate([tiny_survey, make_survey(size=16)])
  with pytest.raises(ValueError, match=r'pixel scales \[1.39, 2.0\] Mm'):
    concatenate([tiny_survey, tiny_survey.replace(pixel_scale_mm=2.0)])


def test_replace_changes_what_is_named_and_nothing_else(tiny_survey):
  reversed_survey = tiny_survey.replace(field=-tiny_survey.field, source='elsewhere')
  np.testing.assert_array_equal(reversed_survey.field, -tiny_survey.field)
  assert (reversed_survey.source, tiny_survey.source) == ('elsewhere', 'test')
  assert_same(reversed_survey.replace(field=tiny_survey.field), tiny_survey)
  with pytest.raises(dataclasses.FrozenInstanceError):
    tiny_survey.field = reversed_survey.field
  with pytest.raises(TypeError, match='colour'):
    tiny_survey.replace(colour='red')


def test_a_survey_says_what_it_holds(tiny_survey):
  assert repr(tiny_survey) == (
    '<Survey: 12 magnetograms of 3 pairs (TI-02, TI-01), 32 x 32 px of 1.39 Mm, source test>'
  )
  one = tiny_survey.select((tiny_survey.pair == 1) & (tiny_survey.interval == -1))
  assert repr(one).startswith('<Survey: 2 magnetograms of 1 pairs (TI-01)')


@pytest.mark.parametrize('leaf', ['field', 'label', 'hours', 'mu', 'noaa', 'mjd'])
def test_checksum_sees_one_changed_entry(tiny_survey, leaf):
  values = np.array(getattr(tiny_survey, leaf))
  values.flat[5] += values.dtype.type(1)
  assert checksum(tiny_survey.replace(**{leaf: values})) != checksum(tiny_survey)


def test_checksum_sees_names_and_scale(tiny_survey):
  renamed = tiny_survey.replace(region_ids=('x', *tiny_survey.region_ids[1:]))
  assert len({checksum(survey) for survey in (tiny_survey, renamed, tiny_survey.replace(pixel_scale_mm=1.4))}) == 3
