"""The studies: what is counted, and that an interrupted one goes on where it stopped."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from experiments.studying import coverage, error_rates
from hearjax.interpret.findings import SUPPORTED, UNKNOWN
from hearjax.simulate.sun import Sun, change_sun
from tests.scripts import fail, succeed


def test_a_study_of_other_settings_is_not_gone_on_with(tmp_path):
  out = tmp_path / 'study.ecsv'
  Table({'variant': ['default'], 'survey_seed': [101]}, meta={'pairs': 7}).write(out, format='ascii.ecsv')
  assert 'is of a study with other settings' in fail('study', '--of=defaults', f'--out={out}')
  assert 'is of a study with other settings' in fail('study', f'--out={out}')
  assert "Unknown variants ['foo']" in fail('study', '--of=defaults', f'--out={tmp_path}/new.ecsv', '--variants=foo')


def row(world, claim, verdict, **others):
  return {'world': world, 'claim': claim, 'verdict': verdict, **others}


def test_claims_are_counted_where_they_are_true_and_where_they_are_not():
  rows = [
    row('null', 'pairing', UNKNOWN),
    row('flux', 'pairing', SUPPORTED),
    row('distance', 'pairing', SUPPORTED),
    row('distance', 'pairing', UNKNOWN),
    row('width', 'pairing', SUPPORTED),  # Of which nobody knows whether it is true there.
  ]
  (found,) = error_rates.rates(rows)
  assert (found['claim'], found['without'], found['claimed_without']) == ('pairing', 2, 1)
  assert (found['with'], found['claimed_with']) == (2, 1)


def test_widths_count_as_found_missed_or_not_told():
  def width(found, verdict, low=0.0, high=100.0):
    return row('width', 'width', verdict, width_mm=found, width_mm_low=low, width_mm_high=high, planted_width_mm=4.0)

  rows = [width(4.9, SUPPORTED), width(5.1, SUPPORTED, 4.5), width(4.0, UNKNOWN), width(3.1, SUPPORTED)]
  assert error_rates.recovered(rows) == {'within': 2, 'missed': 1, 'held': 2, 'not told': 1}


@pytest.mark.parametrize('world', error_rates.WORLDS)
def test_every_world_is_one_of_the_simulation(world):
  kind, draw = error_rates.WORLDS[world]
  change = draw(np.random.default_rng(0))
  assert isinstance(change_sun(Sun(), [f'{name}={value}' for name, value in change.items()]), Sun)
  assert kind in ('null', 'flux', 'pattern')


def test_width_and_distance_are_planted_independently():
  _, draw = error_rates.WORLDS['width']
  drawn = [draw(np.random.default_rng(seed)) for seed in range(300)]
  width, distance = (np.array([one[f'pattern_{name}_mm'] for one in drawn]) for name in ('width', 'scale'))
  assert abs(np.corrcoef(width, distance)[0, 1]) < 0.15


@pytest.mark.slow
def test_a_study_of_findings_goes_on_where_it_stopped(tmp_path, monkeypatch):
  monkeypatch.setattr(error_rates, 'EPOCHS', 2)
  monkeypatch.setattr(error_rates, 'RESAMPLES', 20)
  out = tmp_path / 'rates.ecsv'
  arguments = (f'--out={out}', '--pairs=24', '--worlds=null', '--surveys=1')
  printed = succeed('study', *arguments)
  assert printed.startswith('null 0 (')
  assert '| `skill` | null | 0 of 1 | flux, distance, width, narrow, close |  |' in printed
  table = Table.read(out)
  assert len(set(table['claim'])) == len(table) > 10
  assert not np.any(table['verdict'] == SUPPORTED)
  assert not succeed('study', *arguments).startswith('null')


# --- Coverage -------------------------------------------------------------------------------------------------------


def test_plain_intervals_hold_too_little_without_signal_and_the_others_do_not(monkeypatch):
  monkeypatch.setattr(coverage, 'DRAWS', 150)
  monkeypatch.setattr(coverage, 'RESAMPLES', 300)
  found = coverage.coverage(60, 1, 0.0, calibrated=False)
  assert found['tss'] == 0
  assert found['plain'] < 0.92 < min(found['dealt'], found['widened'])
  assert found['plain_width'] < found['dealt_width'] < found['widened_width']


def test_the_truth_of_one_feature_is_that_of_normal_distributions(monkeypatch):
  monkeypatch.setattr(coverage, 'DRAWS', 20)
  monkeypatch.setattr(coverage, 'RESAMPLES', 20)
  for distance in coverage.DISTANCES[1:]:
    best = 2 * norm.cdf(distance / 2) - 1
    assert coverage.coverage(100, 1, distance, calibrated=False)['tss'] == pytest.approx(best, abs=0.05)
  drawn = np.random.default_rng(0).standard_normal((100, 2, 1)) + np.array([0, 2.56])[:, None]
  fold = np.arange(100) % coverage.FOLDS
  plain, fair = (coverage.contingency_of(coverage.log_odds(drawn, fold, calibrated)) for calibrated in (False, True))
  # Even odds are right for normal features; calibrating changes a few forecasts near the threshold.
  assert np.sum(plain != fair) < 0.05 * plain.size


def test_the_analysis_of_the_study_is_linear_discriminant_analysis():
  rng = np.random.default_rng(0)
  drawn = rng.standard_normal((40, 2, 3)) + np.array([0, 1])[:, None]
  fold = np.arange(40) % coverage.FOLDS
  found = coverage.log_odds(drawn, fold, calibrated=False)
  label, training = np.tile([0, 1], 36), drawn[fold != 2].reshape(-1, 3)
  model = LinearDiscriminantAnalysis(solver='lsqr', priors=[0.5, 0.5]).fit(training, label)
  np.testing.assert_allclose(found[fold == 2].ravel(), model.decision_function(drawn[fold == 2].reshape(-1, 3)))


def test_a_study_of_coverage_goes_on_where_it_stopped(tmp_path, monkeypatch):
  for name, value in {'DRAWS': 1, 'DEALS': 2, 'RESAMPLES': 20, 'DISTANCES': (0.0, 1.0)}.items():
    monkeypatch.setattr(coverage, name, value)
  arguments = ('--of=coverage', f'--out={tmp_path}/coverage.ecsv', '--pairs=30')
  printed = succeed('study', *arguments).splitlines()
  assert printed[0].startswith('(30, 1, 0.0, False) (')
  table = Table.read(tmp_path / 'coverage.ecsv')
  assert len(table) == len(set(zip(*(table[name] for name in table.colnames[:4]), strict=True))) == 6
  again = succeed('study', *arguments).splitlines()
  assert again == printed[-8:]
  assert again[0] == '| pairs | features | threshold | true TSS | plain | bca | folds | widened | dealt |'
  assert again[2].startswith('| 30 | 1 | even odds | 0.00 | ')
  assert again[-1].startswith('| 30 | 10 | calibrated | ')
