"""The script `prune`."""

import shutil

import numpy as np
import pytest
from astropy.table import Table

from experiments.reproduce import INTERPRETATION
from hearjax.interpret import compaction
from hearjax.report import pruning_plots
from tests.scripts import broken, fail, succeed


def random_field(n, size=24, seed=0):
  return 100 * np.random.default_rng(seed).normal(size=(n, size, size)).astype(np.float32)


def test_the_script_writes_what_the_design_names(finished):
  assert 'fold00_seed0' in succeed('prune', f'--workdir={finished}', '--resamples=50')
  directory = finished / 'pruning'
  tables = {
    name: Table.read(directory / f'{name}.ecsv', format='ascii.ecsv')
    for name in ('filters', 'path', 'stability', 'compacted')
  }
  assert len(tables['filters']) == 2 * 12 and len(tables['path']) == 2 * 3 * 11
  for table in tables.values():
    assert table.meta['survey_source'] == 'simulated' and len(table.meta['survey_checksum']) == 64
  assert np.all(tables['compacted']['largest_difference'] < 1e-5)
  path = tables['path']
  assert np.all(path['test_tss_low'] <= path['test_tss_high'])
  chosen = path[path['chosen'] & (path['order'] == 'greedy')]
  assert chosen['n_filters'].tolist() == tables['compacted']['n_filters_compacted'].tolist()
  for figure in ('path', 'filters', 'contribution'):
    assert (directory / f'{figure}.png').stat().st_size > 10_000
  assert (finished / INTERPRETATION['prune']).exists()
  model, params = compaction.load_compacted(directory / 'compacted' / 'fold01_seed0')
  assert sum(model.settings.widths) == chosen['n_filters'][1]
  assert np.isfinite(model.apply(params, random_field(2))).all()
  assert 'there already' in fail('prune', f'--workdir={finished}')


def test_no_checkpoints(finished, tmp_path):
  copy = shutil.copytree(finished, tmp_path / 'copy', ignore=shutil.ignore_patterns('pruning', 'checkpoints'))
  assert 'There is no checkpoint in' in fail('prune', f'--workdir={copy}')


@pytest.mark.parametrize('figure', ['plot_path', 'plot_contribution'])
def test_a_figure_that_fails_loses_no_table(quick_run, tmp_path, monkeypatch, figure):
  workdir = shutil.copytree(quick_run, tmp_path / 'work')
  monkeypatch.setattr(pruning_plots, figure, broken)
  with pytest.raises(RuntimeError, match='no figure'):
    succeed('prune', f'--workdir={workdir}', '--members=1', '--resamples=20')
  for name in ('filters', 'path', 'stability', 'compacted'):
    assert (workdir / 'pruning' / f'{name}.ecsv').exists()
  assert not (workdir / INTERPRETATION['prune']).exists()
