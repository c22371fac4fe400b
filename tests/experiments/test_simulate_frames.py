"""The script `simulate_frames`."""

import json

import pytest
from astropy.table import Table

from tests.scripts import fail, succeed

SPARSE = ('--sun=bipole_gauss=0.5', '--sun=unipolar_gauss=0.2', '--sun=cell_mm=80')
SMALL = ('--days=0.25', '--cadence_minutes=120', '--size=64', '--emergences=0', '--decaying=2', *SPARSE)


def test_it_writes_frames_reports_and_settings_and_goes_on(tmp_path):
  out = tmp_path / 'sky'
  printed = succeed('simulate_frames', f'--out={out}', *SMALL, '--seed=3')
  assert printed.startswith(f'3 frames of 64 x 64 px in {out}/frames, 0 emerging regions')
  frames = sorted((out / 'frames').iterdir())
  assert [frame.name for frame in frames][1] == 'simulated.M_7200s.20110210_020000_TAI.fits'
  assert len(Table.read(out / 'truth.ecsv')) == 0
  assert len(Table.read(out / 'sightings.ecsv')) > 0
  told = json.loads((out / 'simulation.json').read_text())
  assert told['settings']['seed'] == 3 and told['sun']['cell_mm'] == 80
  content = frames[1].read_bytes()
  frames[1].unlink()
  succeed('simulate_frames', f'--out={out}', *SMALL, '--seed=3')
  assert frames[1].read_bytes() == content
  assert 'other settings' in fail('simulate_frames', f'--out={out}', *SMALL, '--seed=4')


@pytest.mark.parametrize(
  ('flag', 'sentence'),
  [
    ('--start=soon', "start is 'soon'"),
    ('--sun=colour=3', 'no parameter'),
    ('--size=8', 'at least 64 px'),
    ('--emergences=3', 'Of 3 regions no more than 0 can emerge in 0.25 d'),
  ],
)
def test_a_mistake_is_one_line(tmp_path, flag, sentence):
  assert sentence in fail('simulate_frames', f'--out={tmp_path}/out', *SMALL, flag)
  assert not (tmp_path / 'out').exists()
