"""The studies: what is counted, and that an interrupted one goes on where it stopped."""

import numpy as np
import pytest
from astropy.table import Table

from experiments.studying import error_rates
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
  assert '| `skill` | null | 0 of 1 | flux, distance, width |  |' in printed
  table = Table.read(out)
  assert len(set(table['claim'])) == len(table) > 10
  assert not np.any(table['verdict'] == SUPPORTED)
  assert not succeed('study', *arguments).startswith('null')
