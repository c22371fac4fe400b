"""The script `respond`."""

import shutil

import pytest
from astropy.table import Table

from experiments.reproduce import INTERPRETATION
from experiments.respond import PARTS
from hearjax.report import finding_plots, invariance_plots, response_plots, scale_plots
from tests.scripts import broken, fail, succeed

SMALL = (
  '--family=bipole,spot',
  '--samples=2',
  '--sizes=3',
  '--fluxes=2',
  '--place_mm=2',
  '--injected_trials=4',
  '--injected_place_mm=6',
  '--injected_false_alarm_rate=0.2',
  '--planted_maps=4',
  '--planted_filtered_maps=4',
  '--resamples=20',
)


def test_respond_leaves_its_products_and_tells_its_findings(finished):
  printed = succeed('respond', f'--workdir={finished}', *SMALL, '--derivatives')
  for text in ('The networks tell PE from NE', 'Narrow poles', 'Pixels in any order', 'nothing about the Sun'):
    assert text in printed
  for products in PARTS.values():
    for name in products:
      assert (finished / name).exists(), name
  for name in ('response', 'effects', 'curves', 'completeness', 'detection_limit', 'scale', 'invariance'):
    table = Table.read(finished / 'response' / f'{name}.ecsv', format='ascii.ecsv')
    assert len(table)
    assert len(table.meta['survey_checksum']) == 64
  assert (finished / INTERPRETATION['respond']).exists()
  assert (finished / 'figures' / 'findings.png').stat().st_size > 10_000
  claims = Table.read(finished / 'findings.ecsv')['claim']
  assert {'skill', 'narrow', 'close', 'small', 'intense', 'width', 'pairing', 'arrangement', 'sign'} <= set(claims)
  assert 'd_ln_flux' in Table.read(finished / 'response' / 'response.ecsv', format='ascii.ecsv').colnames


def test_figures_can_be_drawn_again_from_the_tables(finished, tmp_path):
  read = lambda name: Table.read(finished / 'response' / f'{name}.ecsv', format='ascii.ecsv')  # noqa: E731
  scale_plots.plot_scale(read('scale'), 'test', tmp_path / 'scale.png')
  invariance_plots.plot_invariance(read('invariance'), 'test', tmp_path / 'invariance.png')
  response_plots.plot_curves(read('curves'), 'test', tmp_path / 'curves.png')
  response_plots.plot_plane(read('response'), 'test', tmp_path / 'plane.png')
  response_plots.plot_completeness(read('completeness'), read('detection_limit'), 'test', tmp_path / 'completeness.png')
  finding_plots.plot_findings(Table.read(finished / 'findings.ecsv'), 'test', tmp_path / 'findings.png')
  assert len(list(tmp_path.iterdir())) == 6


def test_mistakes_of_respond_are_told_before_anything_is_done(finished, tmp_path):
  workdir = f'--workdir={finished}'
  assert 'flag --parts=foo' in fail('respond', workdir, '--parts=foo')
  assert 'pole_mx of the planted poles must be positive' in fail('respond', workdir, '--planted_pole_mx=-1')
  assert 'References need at least one network' in fail('respond', workdir, '--untrained=0', '--overwrite')
  assert 'is not a work directory' in fail('respond', f'--workdir={tmp_path}')
  assert 'say with --survey where it lies' in fail('respond', workdir, f'--survey={tmp_path}', '--overwrite')


FIGURES = {
  'response': (response_plots, 'plot_plane'),
  'completeness': (response_plots, 'plot_completeness'),
  'scale': (scale_plots, 'plot_scale'),
  'invariance': (invariance_plots, 'plot_invariance'),
}


@pytest.mark.parametrize('part', FIGURES)
def test_a_figure_that_fails_loses_no_table(quick_run, tmp_path, monkeypatch, part):
  workdir = shutil.copytree(quick_run, tmp_path / 'work')
  monkeypatch.setattr(*FIGURES[part], broken)
  with pytest.raises(RuntimeError, match='no figure'):
    succeed('respond', f'--workdir={workdir}', f'--parts={part}', *SMALL)
  *tables, figure = PARTS[part]
  for name in tables:
    assert len(Table.read(workdir / name, format='ascii.ecsv'))
  assert (workdir / 'findings.ecsv').exists()
  assert not (workdir / figure).exists()
  assert not (workdir / INTERPRETATION['respond']).exists()  # It is not taken for finished.
