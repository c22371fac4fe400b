"""The script `score` on real files, with a stand-in for the networks."""

import types

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from scipy.special import expit

from hearjax.forecast.patches import COLUMNS
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import postel_patch
from hearjax.training.ensemble import Ensemble
from tests.hand_made import DOMAIN
from tests.real_maps import CUTOUT, DATA
from tests.real_maps import FULL_DISK as CONTINUUM
from tests.real_maps import SHARP_11158 as SHARP
from tests.real_maps import SHARP_14237 as SMALL_SHARP
from tests.scripts import in_process


def stand_in(workdir: str) -> types.SimpleNamespace:
  """Stands for the trained ensemble."""
  return types.SimpleNamespace(domain=DOMAIN, logits=stand_in_logits, threshold=0.6)


def stand_in_logits(field):
  """Returns the logits of two members that only look at the mean |B|."""
  return np.log10(np.nanmean(np.abs(field), axis=(1, 2))) - np.array([[1.0], [0.5]])


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> dict[str, tuple]:
  """Runs the script with `stand_in_logits`; returns exit status, stdout and stderr by name."""
  root = tmp_path_factory.mktemp('runs')
  many = [
    f'--fits={DATA}/hmi.sharp_cea_720s.1*.fits',
    f'--fits={CONTINUUM}',
    f'--fits={CUTOUT}',
    f'--out={root}/many',
    '--step_mm=20',
  ]
  (root / 'one').mkdir()
  (root / 'one' / 'scores.ecsv').write_text('old')
  one = [f'--fits={SHARP}', '--longitude=34.9', '--latitude=-20.5', f'--out={root}/one', '--overwrite']
  sun = ['--prior=0.01', f'--out={root}/sun']
  asked = {
    'sun': [*one[:3], *sun],
    'no share': [*one[:3], '--prior=1', f'--out={root}/mistake'],
    'many': many,
    'again': many,
    'one': one,
    'half': [f'--fits={SHARP}', '--longitude=34.9', f'--out={root}/mistake'],
    'nothing': ['--fits=nothing*.fits', f'--out={root}/mistake'],
    'behind': [f'--fits={SHARP}', '--longitude=200', '--latitude=0', f'--out={root}/mistake'],
    'fine': [f'--fits={SHARP}', '--step_mm=0.1', f'--out={root}/mistake'],
    'twins': [f'--fits={SHARP}', f'--fits={DATA}/../data/{SHARP.name}', f'--out={root}/mistake'],
  }
  results = {'root': root}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Ensemble, 'load', stand_in)
    for name, arguments in asked.items():
      done = in_process('score', '--workdir=none', *arguments)
      results[name] = (done.returncode, done.stdout, done.stderr)
  return results


def test_script_scores_many_files_and_survives_a_bad_one(runs):
  status, out, err = runs['many']
  assert status == 1 and err.endswith('error: 1 of 6 files could not be scored.\n')
  assert err.count('error:') == 2 and "resampled_hmi.fits has BUNIT 'DN/s'" in err
  table = Table.read(runs['root'] / 'many' / 'scores.ecsv')
  assert tuple(table.colnames) == COLUMNS
  assert len(set(table['file'])) == 5
  assert table['unsigned_flux'].unit == u.Mx
  assert table.meta['domain'] == DOMAIN
  pictures = sorted(path.name for path in (runs['root'] / 'many').glob('*.png'))
  assert pictures == sorted(f'{name}.png' for name in set(table['file']))
  outside = np.sum(table['outside'] != '')
  assert outside > 0 and f'{outside} of {len(table)} patches lie outside what the network was trained on' in out
  assert 'is no forecast' in out
  assert 'single frame; the network was trained on means of 547 frames' in out
  # A line per file says which patch has the highest probability, instead of hundreds of rows.
  own = table[table['file'] == SMALL_SHARP.name]
  best = own[own['probability'].argmax()]
  (line,) = (line for line in out.splitlines() if line.startswith(SMALL_SHARP.name))
  assert f'{len(own)} patches, {np.sum(own["outside"] != "")} outside' in line
  assert f'{best["probability"]:.3f} at longitude {best["longitude"]:.2f}, latitude {best["latitude"]:.2f}' in line
  assert len(table) > 20 and 'unsigned_flux' not in out
  patch = postel_patch(read_magnetogram(SMALL_SHARP), best['longitude'], best['latitude'], 48)
  assert best['probability'] == pytest.approx(expit(np.log10(np.nanmean(np.abs(patch.field))) - 0.75), abs=0.01)


def test_script_overwrites_only_when_told(runs):
  status, _, err = runs['again']
  assert status == 1 and 'is there already; replace it with --overwrite' in err
  status, out, err = runs['one']
  assert status == 0 and not err
  assert 'unsigned_flux' in out, 'a short table is printed'
  table = Table.read(runs['root'] / 'one' / 'scores.ecsv')
  assert (len(table), table['longitude'][0], table['latitude'][0]) == (1, 34.9, -20.5)
  assert table['outside'][0].startswith('flux')


def test_probabilities_of_a_balanced_set_and_of_the_sun(runs):
  (balanced,), (sun,) = (Table.read(runs['root'] / name / 'scores.ecsv') for name in ('one', 'sun'))
  # Bayes with odds of 1 to 99.
  odds = balanced['probability'] / (1 - balanced['probability']) / 99
  assert sun['probability'] == pytest.approx(odds / (1 + odds), rel=1e-5)
  assert Table.read(runs['root'] / 'sun' / 'scores.ecsv').meta['prior'] == 0.01
  threshold = Table.read(runs['root'] / 'sun' / 'scores.ecsv').meta['threshold']
  assert threshold == pytest.approx(0.6 / 0.4 / 99 / (1 + 0.6 / 0.4 / 99))
  reach = int(balanced['probability'] >= 0.6)
  for name, share in (('one', 'in which half of the patches emerge'), ('sun', 'in which 0.01 of the patches emerge')):
    out = runs[name][1]
    assert share in out and f'{reach} of 1 patches reach the threshold chosen in training' in out
  assert 'chosen in training, 0.6 in' in runs['one'][1]


def test_a_picture_that_fails_loses_no_table(tmp_path, monkeypatch):
  def fail(*_):
    raise RuntimeError('no picture')

  monkeypatch.setattr(Ensemble, 'load', stand_in)
  monkeypatch.setattr('hearjax.report.forecast_plots.plot_forecasts', fail)
  with pytest.raises(RuntimeError, match='no picture'):  # A fault of the program is shown as one.
    in_process('score', '--workdir=none', f'--fits={SMALL_SHARP}', f'--out={tmp_path}', '--step_mm=60')
  assert len(Table.read(tmp_path / 'scores.ecsv')) >= 1


@pytest.mark.parametrize(
  ('name', 'sentence'),
  [
    ('half', 'together, or neither'),
    ('nothing', 'No file matches'),
    ('behind', 'shows nothing of the Sun around'),
    ('fine', 'step_mm must lie between a pixel'),
    ('no share', 'The prior is a share between 0 and 1, both excluded; got 1.0'),
    ('twins', 'score them into separate folders'),
  ],
)
def test_script_tells_a_mistake_in_one_sentence(runs, name, sentence):
  status, _, err = runs[name]
  assert status == 1 and sentence in err and 'Traceback' not in err
  assert err.splitlines()[-1].startswith('error: ')
  assert not (runs['root'] / 'mistake').exists()
