"""The script `attribute`, on a survey and a network small enough for a test."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from experiments.attribute import DEFAULT, PRODUCTS
from experiments.reproduce import INTERPRETATION
from hearjax.report import attribution_plots
from tests.scripts import broken, fail, succeed

FAST = (
  '--starts=2',
  '--ascent_steps=3',
  '--sanity_pairs=2',
  '--resamples=20',
  '--permutations=20',
  '--limit_regions=8',
  '--baselines=4',
  '--steps=16',
)


def test_all_parts_leave_their_products_and_a_summary(finished):
  parts = f'--parts={",".join(PRODUCTS)}'
  printed = succeed('attribute', f'--workdir={finished}', '--method=expected_gradients,occlusion', parts, *FAST)
  for text in ('16 magnetograms by networks', 'What attribution marks', 'Fields of highest logit'):
    assert text in printed
  out = finished / 'attribution'
  assert len(list((out / 'maps').iterdir())) == 8
  for products in PRODUCTS.values():
    for name in products:
      assert (out / name).exists(), name
  assert (finished / INTERPRETATION['attribute']).exists()
  table = Table.read(out / 'attribution.ecsv', format='ascii.ecsv')
  assert len(table) == 32 and table.meta['survey_source'] == 'simulated'
  assert str(table['peak_x'].unit) == 'Mm' and table.meta['settings']['baselines'] == 4
  # The maps in the files are those in the table.
  row = table[(table['method'] == 'expected_gradients') & (table['interval'] == -1)][0]
  with fits.open(out / 'maps' / f'{row["region_id"]}.fits') as hdus:
    total = hdus['EXPECTED_GRADIENTS'].data[1].sum()
  np.testing.assert_allclose(total, row['logit'] - row['baseline_logit'], atol=0.3 * np.std(table['logit']))
  assert {'places', 'learnt'} <= set(Table.read(finished / 'findings.ecsv')['claim'])
  assert 'is there already' in fail('attribute', f'--workdir={finished}', '--parts=sanity', *FAST)
  checks, curves = (Table.read(out / f'{name}.ecsv', format='ascii.ecsv') for name in ('sanity', 'sanity_curves'))
  attribution_plots.plot_sanity(checks, curves, 'test', finished / 'again.png')
  assert (finished / 'again.png').stat().st_size > 10_000


def test_mistakes_are_told_in_one_sentence(finished, tmp_path):
  assert 'flag --method=magic' in fail('attribute', f'--workdir={finished}', '--method=magic')
  assert 'flag --parts=map' in fail('attribute', f'--workdir={finished}', '--parts=map')
  copy = tmp_path / 'copy'
  shutil.copytree(finished, copy, ignore=shutil.ignore_patterns('checkpoints', 'attribution'))
  assert 'There is no checkpoint in' in fail('attribute', f'--workdir={copy}')


def test_maximisation_is_done_where_it_is_asked_for_alone():
  assert 'maximisation' not in DEFAULT


FIGURES = {
  'maps': 'plot_gallery',
  'composites': 'plot_composites',
  'sanity': 'plot_sanity',
  'maximisation': 'plot_maximisation',
}


@pytest.mark.parametrize('part', FIGURES)
def test_a_figure_that_fails_loses_nothing_else(quick_run, tmp_path, monkeypatch, part):
  workdir = shutil.copytree(quick_run, tmp_path / 'work')
  monkeypatch.setattr(attribution_plots, FIGURES[part], broken)
  with pytest.raises(RuntimeError, match='no figure'):
    succeed('attribute', f'--workdir={workdir}', f'--parts={part}', '--method=gradient_x_input', *FAST)
  missing = [name for name in PRODUCTS[part] if not (workdir / 'attribution' / name).exists()]
  assert missing == [f'{part}.png']
  assert not (workdir / INTERPRETATION['attribute']).exists()
