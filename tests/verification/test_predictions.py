"""Predictions tables: what they must hold, and averages over seeds."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table, vstack

from hearjax.survey.survey import checksum
from hearjax.verification import predictions


def forecasts(survey, seeds=2):
  """Columns of a two-fold forecast: pair 0 in fold 0, the others in fold 1."""
  row = np.tile(np.arange(len(survey)), seeds)
  seed = np.repeat(np.arange(seeds), len(survey))
  logit = np.linspace(-3, 3, len(row))
  fold = (survey.pair[row] > 0).astype(int)
  return {'row': row, 'fold': fold, 'seed': seed, 'logit': logit, 'threshold': np.where(fold == 0, 0.4, 0.6)}


@pytest.fixture
def table(tiny_survey) -> Table:
  return predictions.build_predictions(tiny_survey, forecasts(tiny_survey), 'cnn', {'epochs': 3})


def test_rows_describe_the_magnetograms_that_were_forecast(tiny_survey, table):
  assert len(table) == 2 * len(tiny_survey)
  np.testing.assert_array_equal(table['region_id'][: len(tiny_survey)], tiny_survey.region_names())
  np.testing.assert_array_equal(table['pair_id'][: len(tiny_survey)], tiny_survey.pair_names())
  np.testing.assert_array_equal(table['label'][: len(tiny_survey)], tiny_survey.label)
  np.testing.assert_allclose(table['probability'], 1 / (1 + np.exp(-np.linspace(-3, 3, len(table)))))
  assert table.meta == {
    'model': 'cnn',
    'settings': {'epochs': 3},
    'survey_checksum': checksum(tiny_survey),
    'survey_source': 'test',
  }


def test_file_gives_back_what_was_written(table, tmp_path):
  path = tmp_path / 'predictions' / 'cnn.ecsv'
  predictions.write_predictions(path, table)
  again = predictions.read_predictions(path)
  assert dict(again.meta) == dict(table.meta)
  for column in predictions.COLUMNS:
    np.testing.assert_array_equal(again[column], table[column])
  assert [entry.name for entry in path.parent.iterdir()] == ['cnn.ecsv']


def test_table_of_another_program_may_order_columns_and_units_as_it_likes(table, tmp_path):
  foreign = table[list(reversed(predictions.COLUMNS))]
  foreign['hours'] = foreign['hours'].to(u.min)
  foreign['note'] = 'ours'
  foreign['label'] = foreign['label'].astype(float)
  foreign.meta = {'model': 'theirs', 'settings': {}, 'survey_checksum': 'abc'}
  foreign.write(tmp_path / 'theirs.ecsv')
  again = predictions.read_predictions(tmp_path / 'theirs.ecsv')
  np.testing.assert_allclose(again['hours'], table['hours'])
  assert again['hours'].unit == u.hour
  assert again['label'].dtype.kind == 'i'
  assert 'note' in again.colnames


def spoil(column, value):
  def change(table):
    table[column] = table[column].astype(object if isinstance(value, str) else float)
    table[column][3] = value
    return table

  return change


def remove_meta(table):
  del table.meta['survey_checksum']
  return table


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda table: table[[name for name in table.colnames if name != 'logit']], 'lacks the columns logit'),
    (remove_meta, 'lacks the meta keys survey_checksum'),
    (lambda table: table[:0], 'has no rows'),
    (spoil('probability', 1.5), 'has the probability 1.5; it must lie between 0 and 1'),
    (spoil('probability', -0.1), 'must lie between 0 and 1'),
    (spoil('threshold', 2), 'has the threshold 2'),
    (spoil('logit', 5), 'has the logit 5.0 and the probability'),
    (spoil('logit', np.inf), 'Column logit .* not finite'),
    (spoil('label', 2), 'has the label 2'),
    (spoil('label', 0.5), 'Column label .* whole numbers, got 0.5'),
    (spoil('hours', 3), r'it has interval -\d at \+3 h; hours are negative before emergence'),
    (spoil('seed', np.nan), 'Column seed .* not finite'),
    (spoil('fold', 7), 'two folds'),
    (lambda table: vstack([table, table[:1]]), 'twice for fold'),
    (spoil('interval', 3), None),
  ],
)
def test_rules_of_the_format(table, change, message):
  changed = change(table)
  if message is None:
    predictions.check_predictions(changed, 'it')
  else:
    with pytest.raises(ValueError, match=message):
      predictions.check_predictions(changed, 'it')


def test_a_region_has_one_pair_and_one_label(table):
  moved = table.copy()
  moved['pair_id'][0] = 'pair002'
  with pytest.raises(ValueError, match='two pairs'):
    predictions.check_predictions(moved, 'it')
  relabelled = table.copy()
  relabelled['label'][0] = 1 - relabelled['label'][0]
  with pytest.raises(ValueError, match='both labels'):
    predictions.check_predictions(relabelled, 'it')


def test_hours_in_another_unit_than_time(table):
  table['hours'].unit = u.m
  with pytest.raises(ValueError, match='Column hours of it is in m; h is needed'):
    predictions.check_predictions(table, 'it')


def test_files_that_are_no_tables(tmp_path):
  with pytest.raises(FileNotFoundError, match='no predictions table'):
    predictions.read_predictions(tmp_path / 'absent.ecsv')
  (tmp_path / 'text.ecsv').write_text('nothing of the kind')
  with pytest.raises(ValueError, match='lacks the columns region_id'):
    predictions.read_predictions(tmp_path / 'text.ecsv')


def test_an_empty_name_is_none(table):
  table['pair_id'][2] = ''
  with pytest.raises(ValueError, match='Column pair_id of it has empty entries'):
    predictions.check_predictions(table, 'it')


def test_seeds_are_averaged_in_their_logits(table):
  averaged = predictions.average_seeds(table[np.random.default_rng(0).permutation(len(table))])
  assert len(averaged) == len(table) / 2
  assert 'seed' not in averaged.colnames
  for row in averaged:
    members = table[(table['region_id'] == row['region_id']) & (table['interval'] == row['interval'])]
    assert row['logit'] == pytest.approx(np.mean(members['logit']))
    assert row['probability'] == pytest.approx(1 / (1 + np.exp(-np.mean(members['logit']))))
    assert row['threshold'] == pytest.approx(members['threshold'][0])
    assert row['label'] == members['label'][0] and row['fold'] == members['fold'][0]


def test_thresholds_are_averaged_as_log_odds_even_at_their_ends(table):
  table['threshold'] = np.where(table['seed'] == 0, 0.2, 0.8)
  np.testing.assert_allclose(predictions.average_seeds(table)['threshold'], 0.5)
  table['threshold'] = np.where(table['seed'] == 0, 0.0, 1.0)
  assert np.all(np.isfinite(predictions.average_seeds(table)['threshold']))
