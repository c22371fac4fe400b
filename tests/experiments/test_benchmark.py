"""What the benchmark tells: ratios, targets, operations; and that PyTorch's side is the same network and step."""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest
from astropy.table import Table

from experiments import benchmarking
from experiments.benchmarking import common, groups, profile, timing, whole
from experiments.benchmarking.timing import Group
from hearjax.models.network import ModelSettings
from hearjax.report import benchmark_plots
from hearjax.training.settings import TrainSettings
from hearjax.training.step import build_optimizer, compiled_step, create_states
from tests.scripts import fail, in_process, succeed

SECONDS = {'ours': np.array([2.0, 1.0, 3.0]), 'first rival': np.full(3, 8.0), 'second rival': np.full(3, 4.0)}


def test_cases_are_told_as_ratios_to_the_fastest_reference():
  group = Group(
    'a', dict.fromkeys(SECONDS), ('first rival', 'second rival'), flop=6.0, target='ours', largest_ratio=0.5
  )
  ours, first, second = timing.describe(group, SECONDS, peak=12.0)
  assert (ours['seconds'], ours['seconds_low'], ours['seconds_high']) == (2.0, 1.5, 2.5)
  assert [row['ratio'] for row in (ours, first, second)] == [0.5, 2.0, 1.0]
  assert ours['share_of_peak'] == 0.25  # 6 operations in 2 s, of 12 a second.
  assert ours['target'] == 'ratio <= 0.5: met' and not first['target']


@pytest.mark.parametrize(
  ('target', 'sentence'),
  [
    ({'largest_ratio': 0.4}, 'ratio <= 0.4: missed'),
    ({'largest_seconds': 2.0}, 'seconds <= 2: met'),
    ({'smallest_speedup': 2.0}, 'speed-up >= 2: met'),
    ({'smallest_speedup': 2.1}, 'speed-up >= 2.1: missed'),
    ({}, ''),
  ],
)
def test_targets_are_judged(target, sentence):
  assert timing.judge(Group('a', {}, **target), seconds=2.0, reference=4.0) == sentence


def test_every_case_runs_in_turn_and_seconds_are_of_one_unit(monkeypatch):
  monkeypatch.setattr(timing, 'PAUSE', 0.0)
  called = []
  cases = {name: lambda name=name: called.append(name) for name in 'ab'}
  seconds = timing.time_cases(Group('a', cases, rounds=2), repeats=5)
  assert [times.shape for times in seconds.values()] == [(2,), (2,)]
  assert called == ['a', 'b', *'aabb', *'aabb']  # Compiled, then twice each, since they are brief.
  called.clear()
  timing.time_cases(Group('a', cases, once=True), repeats=5)
  assert called == ['a', 'a', 'b', 'b']


def test_operations_are_those_of_a_count_by_hand():
  settings = ModelSettings(widths=(2, 3), kernels=(3, 1), strides=(2, 1), crop_px=0, padding='same')
  first, second = 2 * 4 * 4 * 9 * 1 * 2, 2 * 4 * 4 * 1 * 2 * 3
  assert common.forward_flop(settings, 8) == (first + second, first)
  assert common.step_flop(settings, 8) == 2 * first + 3 * second


def test_stages_are_named_after_layers():
  program = """
  %a.1 = f32[2]{0} fusion(%x), metadata={op_name="jit(s)/jvp(EmergenceNetwork)/convolution_0/dot"}
  ROOT %b = f32[2]{0} dot(%x), metadata={op_name="jit(s)/transpose(jvp(EmergenceNetwork))/convolution_2/dot"}
  %c = f32[2]{0} convolution(%x, %y), window={size=3}
"""
  assert profile.stages_of(program) == {
    'a.1': 'convolution 1, value',
    'b': 'convolution 3, gradient',
    'c': 'convolutions that XLA made',
  }


def test_pytorch_has_the_same_network_and_takes_the_same_step():
  torch = pytest.importorskip('torch')
  from experiments.benchmarking import pytorch

  field, batch = common.noise(4, 0), np.arange(4)
  model, params = common.build(ModelSettings())
  rival = pytorch.Network(model, params, field.shape[-1])
  with torch.inference_mode():
    np.testing.assert_allclose(rival(torch.from_numpy(field)), model.apply(params, field), rtol=1e-4, atol=1e-5)
  train = TrainSettings(augmentation=common.UNCHANGED)
  tx = build_optimizer(train, 100)
  states = create_states(model, tx, jax.random.key(0)[None], field.shape[-1])
  state = jax.tree.map(lambda leaf: leaf[0], states)
  trainer = pytorch.Trainer(pytorch.Network(model, state.params, field.shape[-1]), train, 100 * train.epochs, False)
  for _ in range(3):
    theirs = trainer.step(torch.from_numpy(field), torch.tensor(batch % 2).float())
    state, ours = compiled_step()(state, field, batch, batch % 2, jax.random.key(1), model=model, tx=tx, settings=train)
    assert float(ours) == pytest.approx(float(theirs), rel=2e-3)


def test_it_runs_at_a_small_size_and_leaves_tables_and_figure(tmp_path, monkeypatch):
  monkeypatch.setattr(timing, 'PAUSE', 0.0)
  plot, tables = benchmark_plots.plot_benchmark, [tmp_path / f'{name}.ecsv' for name in ('benchmark', 'profile')]

  def plotted_last(*arguments):
    assert all(path.exists() for path in tables)
    plot(*arguments)

  monkeypatch.setattr(benchmark_plots, 'plot_benchmark', plotted_last)
  printed = succeed('benchmark', '--small', '--repeats=1', '--groups=sweep,response', f'--out={tmp_path}')
  assert 'every filter dropped alone' in printed
  table = Table.read(tmp_path / 'benchmark.ecsv', format='ascii.ecsv')
  assert set(table['kind']) == {'sweep', 'response'}
  assert table.meta['small'] and np.all(table['seconds'] > 0)
  stages = Table.read(tmp_path / 'profile.ecsv', format='ascii.ecsv')
  assert np.sum(stages['share']) == pytest.approx(1) and 'convolution 1, value' in stages['stage']
  assert (tmp_path / 'benchmark.png').stat().st_size > 10_000
  assert set(json.loads((tmp_path / 'benchmark.json').read_text())) >= {'environment', 'memory', 'rows', 'profile'}
  assert 'is there already' in fail('benchmark', '--small', f'--out={tmp_path}')
  assert 'flag --groups=foo' in fail('benchmark', '--groups=foo', f'--out={tmp_path}/other')


@pytest.mark.parametrize('name', [name for name in groups.GROUPS if name not in ('sweep', 'response')])
def test_every_group_names_its_cases(name, monkeypatch):
  def finished(script: str, *arguments: str) -> int:  # In place of a process of its own.
    assert script == 'reproduce'
    (workdir,) = (argument.partition('=')[2] for argument in arguments if argument.startswith('--workdir='))
    pathlib.Path(workdir).mkdir()
    steps = {'simulate_survey': {'seconds': 2.0, 'programs': 7}}
    pathlib.Path(workdir, 'timing.json').write_text(json.dumps(steps))
    return 0

  monkeypatch.setattr(whole, '_run', finished)
  found = list(groups.GROUPS[name](common.SMALL, 0))
  assert found and len({group.name for group in found}) == len(found)
  for group in found:
    cases = group.cases or group.seconds
    assert cases and set(group.reference) <= set(cases) and group.target in ('', *cases)
    assert group.units >= 1 and group.flop >= 0
  if name == 'reproduce':
    assert found[0].seconds['simulate_survey'] == 2.0 and found[0].programs == {'simulate_survey': 7}


def test_ways_over_a_disk_agree(tmp_path):
  pytest.importorskip('sunpy')
  from experiments.benchmarking import disks

  path = tmp_path / 'frame.fits'
  disks.simulate_frame(path, disks.SMALL_SIDE, seed=0)
  whole, part = (case() for case in disks.patch_group(path, disks.SMALL_SIDE).cases.values())
  assert np.isfinite(whole).all()
  np.testing.assert_allclose(part, whole, atol=0.01)  # Gauss.
  settings = ModelSettings(widths=(2, 3), kernels=(5, 3), strides=(2, 2), padding='valid', crop_px=24)
  for_scores, compiled, shared = disks.window_group(path, 'small', settings, common.SMALL).cases.values()
  assert for_scores().shape == (len(compiled()),) and len(compiled()) > 100
  np.testing.assert_allclose(compiled(), for_scores(), atol=1e-5)
  np.testing.assert_allclose(shared(), for_scores()[None], atol=1e-5)


def test_disks_are_left_out_without_the_extra(tmp_path, monkeypatch):
  monkeypatch.delattr(benchmarking, 'disks', raising=False)
  monkeypatch.delitem(sys.modules, 'experiments.benchmarking.disks', raising=False)
  monkeypatch.setitem(sys.modules, 'sunpy.map', None)
  result = in_process('benchmark', '--small', '--repeats=1', '--groups=disk', f'--out={tmp_path}/out')
  assert 'Disks are left out: sunpy.map is not installed' in result.stdout
  assert result.returncode == 1 and 'None of the groups' in result.stderr
  assert not (tmp_path / 'out' / 'benchmark.ecsv').exists()


def test_the_figure_of_the_lowerings(tmp_path):
  ways = ('auto', 'lax', 'patches')
  rows = []
  for what, side, batch in (('step', 16, 4), ('step', 32, 4), ('step', 32, 16), ('2 members', 16, 4)):
    group = Group(f'{what}, {side} px, batch {batch}', dict.fromkeys(ways), side=side, batch=batch)
    rows += timing.describe(group, {way: np.array([1.0, 2.0]) * number for number, way in enumerate(ways, 1)}, 1.0)
  benchmark_plots.plot_lowerings(Table(rows), 'a machine', tmp_path / 'lowerings.png')
  assert (tmp_path / 'lowerings.png').stat().st_size > 10_000
