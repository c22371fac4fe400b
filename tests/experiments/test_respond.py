"""The script `respond`."""

import shutil

import pytest
from astropy.table import Table

from experiments.reproduce import INTERPRETATION
from experiments.respond import PARTS
from hearjax.report import panel_plots, response_plots
from tests.scripts import broken, fail, succeed


def test_respond_leaves_its_products_and_a_summary(finished):
  sweep = (
    '--family=bipole,random',
    '--backgrounds=none,quiet',
    '--derivatives',
    '--n_scales=4',
    '--n_strengths=3',
    '--samples=2',
  )
  injection = ('--trials=4', '--resamples=20', '--false_alarm_rate=0.2')
  printed = succeed('respond', f'--workdir={finished}', *sweep, *injection)
  for part in ('Largest output at fixed flux', 'Half of the injected', 'Pairing', 'The networks read'):
    assert part in printed
  assert 'Response largest' in printed or 'Skill does not depend on the wavelength' in printed
  for name in ('response', 'maximum', 'findings', 'completeness', 'detection_limit', 'pairing', 'spectral'):
    table = Table.read(finished / 'response' / f'{name}.ecsv', format='ascii.ecsv')
    assert len(table) and len(table.meta['survey_checksum']) == 64
  for name in ('response_none', 'response_quiet', 'completeness', 'pairing', 'spectral', 'invariance'):
    assert (finished / 'figures' / f'{name}.png').stat().st_size > 10_000
  assert 'd_ln_scale' in Table.read(finished / 'response' / 'response.ecsv', format='ascii.ecsv').colnames
  assert (finished / 'response' / 'invariance.ecsv').exists() and (finished / INTERPRETATION['respond']).exists()


def test_mistakes_of_respond_are_told_before_anything_is_done(finished, tmp_path):
  workdir = f'--workdir={finished}'
  assert 'flag --parts=foo' in fail('respond', workdir, '--parts=foo')
  assert 'pole_mx of the planted pairs must be positive' in fail('respond', workdir, '--pole_mx=-1')
  assert 'is not a work directory' in fail('respond', f'--workdir={tmp_path}')
  assert 'say with --survey where it lies' in fail('respond', workdir, f'--survey={tmp_path}', '--overwrite')


FIGURES = {
  'response': (response_plots, 'plot_response'),
  'completeness': (response_plots, 'plot_completeness'),
  'pairing': (panel_plots, 'plot_pairing'),
  'spectral': (panel_plots, 'plot_spectral'),
  'invariance': (panel_plots, 'plot_invariance'),
}


@pytest.mark.parametrize('part', FIGURES)
def test_a_figure_that_fails_loses_no_table(quick_run, tmp_path, monkeypatch, part):
  workdir = shutil.copytree(quick_run, tmp_path / 'work')
  monkeypatch.setattr(*FIGURES[part], broken)
  small = '--family=bipole', '--backgrounds=none', '--n_scales=4', '--n_strengths=3', '--samples=2', '--trials=4'
  with pytest.raises(RuntimeError, match='no figure'):
    succeed('respond', f'--workdir={workdir}', f'--parts={part}', *small, '--resamples=20', '--false_alarm_rate=0.2')
  for name in PARTS[part]:
    assert len(Table.read(workdir / 'response' / f'{name}.ecsv', format='ascii.ecsv'))
  assert not (workdir / INTERPRETATION['respond']).exists()  # It is not taken for finished.
