"""The example of a network that hearjax did not make."""

import numpy as np
from astropy.table import Table

from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.references import GROUPS
from tests.scripts import fail, succeed


def test_a_foreign_network_is_pruned_and_probed(tmp_path):
  arguments = (f'--out={tmp_path}', '--pairs=30', '--steps=30', '--resamples=20')
  printed = succeed('foreign', *arguments)
  assert 'which says nothing about the Sun' in printed
  found = Table.read(tmp_path / 'findings.ecsv')
  of_members = found[found['networks'] == MEMBERS]
  assert {'skill', 'flux_positive', 'few', 'narrow', 'close', 'width', 'arrangement'} <= set(of_members['claim'])
  assert set(found['networks'][found['claim'] == 'narrow']) == set(GROUPS)
  assert np.all(of_members['low'] <= of_members['high'])
  assert (tmp_path / 'findings.png').stat().st_size > 10_000
  assert 'is there already' in fail('foreign', *arguments)
