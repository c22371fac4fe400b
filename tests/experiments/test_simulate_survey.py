"""The script `simulate_survey`."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.simulate.worlds import simulate_survey
from hearjax.survey.archive import read_survey
from tests.real_maps import DATA
from tests.scripts import fail, succeed

SIZE = 32
SMALL = ('--pairs=2', f'--size={SIZE}', '--intervals=-1')


def test_it_writes_the_same_survey_whichever_intervals_are_asked_for(tmp_path):
  figure = tmp_path / 'pairs.png'
  printed = succeed('simulate_survey', f'--out={tmp_path / "out"}', *SMALL, '--seed=3', f'--figure={figure}')
  assert printed.startswith('4 magnetograms of 2 pairs (world default) written to')
  assert figure.read_bytes()[:4] == b'\x89PNG'
  alone = read_survey(tmp_path / 'out')
  default = simulate_survey(3, 2, range(-5, 2), SIZE)
  expected = default.select(default.interval == -1)
  np.testing.assert_allclose(alone.field, expected.field, atol=0.01)
  np.testing.assert_array_equal(alone.n_frames, expected.n_frames)


def test_parameters_of_the_sun_are_recorded_whatever_is_in_them(tmp_path):
  out = tmp_path / 'survey'
  succeed('simulate_survey', f'--out={out}', *SMALL, '--sun=bipole_hours=[8, 20]', '--sun=fragments=50')
  described = str(Table.read(out / 'survey.ecsv', format='ascii.ecsv').meta)
  assert "'fragments': 50" in described and '[8.0, 20.0]' in described
  assert 'no parameter' in fail('simulate_survey', f'--out={tmp_path}/other', *SMALL, '--sun=colour=3')


def test_an_archive_is_replaced_only_when_told(tmp_path):
  out = tmp_path / 'survey'
  succeed('simulate_survey', f'--out={out}', *SMALL)
  assert 'already holds a survey archive' in fail('simulate_survey', f'--out={out}', *SMALL, '--seed=1')
  succeed('simulate_survey', f'--out={out}', '--pairs=1', f'--size={SIZE}', '--intervals=-1', '--overwrite')
  assert len(read_survey(out)) == len(list((out / 'regions').iterdir())) == 2


@pytest.mark.parametrize(
  ('flag', 'sentence'),
  [
    ('--intervals=soon', 'flag --intervals=soon'),
    ('--intervals=-6', 'from -5 to 1, got -6'),
    (f'--compare_with={DATA}/*.fits', '--compare_with draws a figure; say with --figure=FILE.png'),
  ],
)
def test_a_mistake_is_one_line(tmp_path, flag, sentence):
  assert sentence in fail('simulate_survey', f'--out={tmp_path}/out', *SMALL[:2], flag)
  assert not (tmp_path / 'out').exists()
