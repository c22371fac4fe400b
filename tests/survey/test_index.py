"""A survey of one's own maps: what the table must say, what follows from it, and what is refused."""

import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.survey.archive import read_survey, write_survey
from hearjax.survey.index import make_survey, survey_table
from hearjax.survey.intervals import CENTRE_HOURS, end_hours, start_hours
from tests.conftest import make_survey as survey_at_random

NEEDED = ['region_id', 'pair_id', 'kind', 'interval', 'time_mid', 'latitude', 'longitude', 'cmd', 'mu']


@pytest.fixture(scope='module')
def known():
  return survey_at_random(pairs=3, intervals=(-5, -1), size=16)


@pytest.fixture
def rows(known):
  return survey_table(known)[NEEDED]


def test_the_rest_follows_from_the_interval_and_the_maps(known, rows):
  field = known.field.copy()
  field[2, :4] = np.nan
  survey = make_survey(field, rows, 2.0, 'mine')
  assert (survey.source, survey.pixel_scale_mm, len(survey)) == ('mine', 2.0, 12)
  np.testing.assert_array_equal(survey.field, field)
  for name in ('label', 'interval', 'latitude', 'longitude', 'cmd', 'mu'):
    np.testing.assert_array_equal(getattr(survey, name), getattr(known, name))
  assert survey.region_names().tolist() == known.region_names().tolist()
  assert survey.pair_names().tolist() == known.pair_names().tolist()
  np.testing.assert_allclose(survey.mjd, known.mjd, rtol=0, atol=1e-8)
  for row, interval in enumerate(survey.interval):
    hours = survey.hours_start[row], survey.hours[row], survey.hours_end[row]
    expected = start_hours(interval), CENTRE_HOURS[interval], end_hours(interval)
    np.testing.assert_allclose(hours, expected, rtol=1e-6)
  assert survey.missing[2] == 0.25 and survey.missing.sum() == 0.25
  assert set(survey.noaa) == set(survey.quality) == {0} and set(survey.n_frames) == {1}


def test_what_the_table_tells_is_kept(known, rows):
  rows['hours'], rows['hours_start'], rows['hours_end'] = -3.0, -4.0, -2.5
  rows['noaa'] = np.where(known.label == 1, 11158, 0)
  rows['n_frames'], rows['remark'] = 34, 'x'
  survey = make_survey(known.field, rows, 1.39, 'mine')
  assert set(zip(survey.hours_start, survey.hours, survey.hours_end, strict=True)) == {(-4.0, -3.0, -2.5)}
  assert survey.noaa[survey.label == 1].tolist() == [11158] * 6 and set(survey.n_frames) == {34}
  assert 'remark' in rows.colnames and 'label' not in rows.colnames, 'the table of the caller stays as it is'


def test_it_passes_through_an_archive_in_any_order(known, rows, tmp_path):
  order = np.random.default_rng(0).permutation(len(rows))
  survey = make_survey(known.field[order], rows[order], 1.39, 'mine')
  write_survey(tmp_path, survey)
  back = read_survey(tmp_path)
  place = {key: row for row, key in enumerate(zip(known.region_names(), known.interval, strict=True))}
  at = [place[key] for key in zip(back.region_names(), back.interval, strict=True)]
  np.testing.assert_array_equal(back.field, known.field[at])


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'kind': 'EAR'}, 'must be one EAR and one CR'),
    ({'kind': 'ear'}, "has label 0 and kind 'ear'; label 1 goes with kind EAR"),
    ({'interval': -7}, 'from -5 to 1, got -7'),
    ({'mu': 1.5}, 'mu = 1.5; it must lie between 0 and 1'),
    ({'time_mid': 'noon'}, 'time_mid of The table is not ISO time'),
    ({'region_id': '../a'}, "The region_id '../a' cannot name a file"),
  ],
)
def test_a_table_that_contradicts_itself_is_refused(known, rows, change, sentence):
  for name, value in change.items():
    rows[name] = [value] * len(rows)
  with pytest.raises(UserError, match=sentence):
    make_survey(known.field, rows, 1.39, 'mine')


def test_what_lacks_is_named(known, rows):
  for name in ('kind', 'cmd'):
    with pytest.raises(UserError, match=f'lacks the columns {name}'):
      make_survey(known.field, rows[[other for other in NEEDED if other != name]], 1.39, 'mine')
  for field in (known.field[1:], known.field[:, 1:], known.field[0]):
    with pytest.raises(UserError, match='one for each of 12 rows; got shape'):
      make_survey(field, rows, 1.39, 'mine')
