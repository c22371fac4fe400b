"""The script `prune`."""

import shutil

import numpy as np
import pytest
from astropy.table import Table

from experiments.reproduce import INTERPRETATION
from hearjax.interpret import compaction
from hearjax.interpret.findings import NAME
from hearjax.report import pruning_plots
from tests.scripts import broken, fail, succeed

FEWER = ('--resamples=20', '--permutations=19', '--exchanged_epochs=1', '--untrained=1', '--random_orders=4')
TABLES = ('filters', 'lead_time', 'path', 'pruned', 'compacted')
KEPT = ('contributions', 'patches')
CLAIMS = ['skill', 'flux_positive', 'flux_negative', 'few']


def test_the_script_writes_what_the_design_names(finished):
  told = succeed('prune', f'--workdir={finished}', *FEWER)
  assert told.count('cannot tell') + told.count('supported') + told.count('contradicted') >= 4
  assert 'of 12 filters' in told and 'nothing about the Sun' in told
  directory = finished / 'pruning'
  tables = {name: Table.read(directory / f'{name}.ecsv', format='ascii.ecsv') for name in TABLES}
  for table in tables.values():
    assert table.meta['survey_source'] == 'simulated' and len(table.meta['survey_checksum']) == 64
  for name in KEPT:
    tables[name] = Table.read(directory / f'{name}.fits')
  # Two networks of 12 filters; the last layer of 2 untrained ones, 2 of exchanged labels, and 4 meters of two filters.
  assert len(tables['filters']) == 2 * 12 + 4 * 8 + 4 * 2
  assert np.all(tables['compacted']['largest_difference'] < 1e-5)
  path = tables['path']
  assert np.all(path['test_tss_low'] <= path['test_tss_high'])
  chosen = path[path['chosen']]
  assert chosen['n_filters'].tolist() == tables['compacted']['n_filters_compacted'].tolist()
  assert chosen['n_filters'].tolist() == [text.count('1') for text in chosen['filters']]
  left = tables['filters'][np.isfinite(tables['filters']['delta_test_tss'])]
  assert left['minimal'].sum() == chosen['n_filters'].sum()
  assert set(tables['lead_time']['hours'].round(1)) == {-13.6, -2.9}
  assert tables['contributions']['contributions'].shape == (10 * 24, 8)
  for figure in ('path', 'lead_time', 'filters', 'contribution'):
    assert (directory / f'{figure}.png').stat().st_size > 10_000
  assert (finished / INTERPRETATION['prune']).exists()
  found = Table.read(finished / NAME, format='ascii.ecsv')
  assert list(dict.fromkeys(found['claim'])) == CLAIMS
  model, params = compaction.load_compacted(directory / 'compacted' / 'fold01_seed0')
  assert sum(model.settings.widths) == chosen['n_filters'][1]
  assert np.isfinite(model.apply(params, np.ones((2, 24, 24), np.float32))).all()
  assert 'there already' in fail('prune', f'--workdir={finished}')


def test_no_checkpoints(finished, tmp_path):
  copy = shutil.copytree(finished, tmp_path / 'copy', ignore=shutil.ignore_patterns('pruning', 'checkpoints'))
  assert 'There is no checkpoint in' in fail('prune', f'--workdir={copy}')


@pytest.mark.parametrize('figure', ['plot_path', 'plot_contribution'])
def test_a_figure_that_fails_loses_no_table(quick_run, tmp_path, monkeypatch, figure):
  workdir = shutil.copytree(quick_run, tmp_path / 'work')
  monkeypatch.setattr(pruning_plots, figure, broken)
  with pytest.raises(RuntimeError, match='no figure'):
    succeed('prune', f'--workdir={workdir}', '--members=1', *FEWER)
  for path in (*(f'{name}.ecsv' for name in TABLES), *(f'{name}.fits' for name in KEPT)):
    assert (workdir / 'pruning' / path).exists()
  assert (workdir / NAME).exists()
  assert not (workdir / INTERPRETATION['prune']).exists()
