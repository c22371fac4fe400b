"""Time series of other programs, read at the intervals of a survey."""

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from scipy.special import logit

from hearjax.checks import UserError
from hearjax.verification.series import predictions_of_series, read_series
from tests.conftest import make_survey

EMERGENCE = 58000.0


@pytest.fixture
def survey():
  """Four pairs at TI-02 and TI-01, all with the same emergence time."""
  survey = make_survey(pairs=4, size=8)
  return survey.replace(mjd=EMERGENCE + np.asarray(survey.hours, float) / 24)


def series_of(survey, hours, value, **names):
  """Returns series with the same values for every region, plus its number."""
  rows = [(region, hour, v) for region in survey.region_ids for hour, v in zip(hours, value, strict=True)]
  table = Table(rows=rows, names=('region_id', 'hours', 'score'))
  for old, new in names.items():
    table.rename_column(old, new)
  table.meta = {'model': 'theirs', 'path': 'theirs.csv'}
  return table


def test_an_interval_reads_its_last_value_and_nothing_later(survey):
  end = {interval: float(survey.hours_end[survey.interval == interval][0]) for interval in (-2, -1)}
  hours = [end[-2] - 1.0, end[-2] - 0.1, end[-2] + 0.1, end[-1] - 0.1, end[-1] + 0.1]
  table = predictions_of_series(
    series_of(survey, hours, [0.2, 0.4, 0.6, 0.8, 0.9], score='probability'), survey, dict.fromkeys(survey.pair_ids, 0)
  )
  assert len(table) == len(survey) and table.meta['model'] == 'theirs'
  np.testing.assert_allclose(table['logit'][table['interval'] == -2], logit(0.4))
  np.testing.assert_allclose(table['logit'][table['interval'] == -1], logit(0.8))


def test_times_and_hours_are_the_same(survey):
  by_hours = series_of(survey, [-8.0, -3.0], [0.2, 0.7], score='probability')
  by_time = by_hours.copy()
  by_time['time'] = Time(EMERGENCE + np.asarray(by_hours['hours']) / 24, format='mjd').isot
  del by_time['hours']
  first, second = (predictions_of_series(each, survey) for each in (by_hours, by_time))
  np.testing.assert_array_equal(first['logit'], second['logit'])
  by_hours['hours'] *= 60
  by_hours['hours'].unit = 'min'
  np.testing.assert_allclose(predictions_of_series(by_hours, survey)['logit'], first['logit'])


def test_scores_keep_their_order(survey):
  series = series_of(survey, [-3.0], [0.0])
  series['score'] = np.arange(len(series)) * 1e6 - 3
  table = predictions_of_series(series, survey)
  order = dict(zip(series['region_id'], range(len(series)), strict=True))
  assert np.all(np.diff(table['logit'][np.argsort([order[name] for name in table['region_id']])]) > 0)
  assert set(table['interval']) == {-1} and np.std(table['logit']) == pytest.approx(1)
  series['score'] = 3.0
  assert np.all(predictions_of_series(series, survey)['logit'] == 0)


def test_folds_are_those_of_the_other_models(survey):
  fold = {name: number % 3 for number, name in enumerate(survey.pair_ids)}
  table = predictions_of_series(series_of(survey, [-3.0], [0.1], score='probability'), survey, fold)
  assert [fold[pair] for pair in table['pair_id']] == list(table['fold'])
  del fold[survey.pair_ids[2]]
  with pytest.raises(UserError, match=f'the pair {survey.pair_ids[2]}, of which no fold is known'):
    predictions_of_series(series_of(survey, [-3.0], [0.1]), survey, fold)


@pytest.mark.parametrize(
  ('text', 'told'),
  [
    ('region,hours,score\nEAR000,-3,1\n', 'no column region_id'),
    ('region_id,score\nEAR000,1\n', 'no column time or hours'),
    ('region_id,hours\nEAR000,-3\n', 'no column probability or score'),
    ('region_id,hours,score\n', 'has no rows'),
    ('region_id,hours,score\nEAR000,-3,\n', 'must be a finite number'),
    ('region_id,hours,probability\nEAR000,-3,1.5\n', 'must be between 0 and 1'),
    ('region_id,hours,probability\nEAR000,,0.5\n', 'without its time'),
    ('region_id,time,probability\nEAR000,yesterday,0.5\n', 'a time that cannot be read'),
    ('region_id,hours,score\nEAR000,-300,1\n', 'no value within an interval'),
    ('region_id,hours,score\nAR1,-3,1\n', 'no value within an interval'),
  ],
)
def test_bad_series_are_refused(survey, tmp_path, text, told):
  path = tmp_path / 'theirs.csv'
  path.write_text(text)
  with pytest.raises(UserError, match=told):
    predictions_of_series(read_series(path), survey)
  with pytest.raises(FileNotFoundError):
    read_series(tmp_path / 'none.csv')
