"""What the benchmark tells: ratios, targets, operations; and that PyTorch's side is the same network and step."""

import jax
import numpy as np
import pytest
from experiments._timing import Group

from experiments import _groups, _profile, _timing
from hearjax.models.network import ModelSettings
from hearjax.training.settings import TrainSettings
from hearjax.training.step import build_optimizer, compiled_step, create_states

SECONDS = {'ours': np.array([2.0, 1.0, 3.0]), 'first rival': np.full(3, 8.0), 'second rival': np.full(3, 4.0)}


def test_cases_are_told_as_ratios_to_the_fastest_reference():
  group = Group(
    'a', dict.fromkeys(SECONDS), ('first rival', 'second rival'), flop=6.0, target='ours', largest_ratio=0.5
  )
  ours, first, second = _timing.describe(group, SECONDS, peak=12.0)
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
  assert _timing.judge(Group('a', {}, **target), seconds=2.0, reference=4.0) == sentence


def test_every_case_runs_in_turn_and_seconds_are_of_one_unit(monkeypatch):
  monkeypatch.setattr(_timing, 'PAUSE', 0.0)
  called = []
  cases = {name: lambda name=name: called.append(name) for name in 'ab'}
  seconds = _timing.time_cases(Group('a', cases, rounds=2), repeats=5)
  assert [times.shape for times in seconds.values()] == [(2,), (2,)]
  assert called == ['a', 'b', *'aabb', *'aabb']  # Compiled, then twice each, since they are brief.
  called.clear()
  _timing.time_cases(Group('a', cases, once=True), repeats=5)
  assert called == ['a', 'a', 'b', 'b']


def test_operations_are_those_of_a_count_by_hand():
  settings = ModelSettings(widths=(2, 3), kernels=(3, 1), strides=(2, 1), crop_px=0)
  first, second = 2 * 4 * 4 * 9 * 1 * 2, 2 * 4 * 4 * 1 * 2 * 3
  assert _groups.forward_flop(settings, 8) == (first + second, first)
  assert _groups.step_flop(settings, 8) == 2 * first + 3 * second


def test_stages_are_named_after_layers():
  program = """
  %a.1 = f32[2]{0} fusion(%x), metadata={op_name="jit(s)/jvp(EmergenceNetwork)/convolution_0/dot"}
  ROOT %b = f32[2]{0} dot(%x), metadata={op_name="jit(s)/transpose(jvp(EmergenceNetwork))/convolution_2/dot"}
  %c = f32[2]{0} convolution(%x, %y), window={size=3}
"""
  assert _profile.stages_of(program) == {
    'a.1': 'convolution 1, value',
    'b': 'convolution 3, gradient',
    'c': 'convolutions that XLA made',
  }


def test_pytorch_has_the_same_network_and_takes_the_same_step():
  torch = pytest.importorskip('torch')
  from experiments import _pytorch

  field, batch = _groups.noise(4, 0), np.arange(4)
  model, params = _groups.build(ModelSettings())
  rival = _pytorch.Network(model, params, field.shape[-1])
  with torch.inference_mode():
    np.testing.assert_allclose(rival(torch.from_numpy(field)), model.apply(params, field), rtol=1e-4, atol=1e-5)
  train = TrainSettings(augmentation=_groups.UNCHANGED)
  tx = build_optimizer(train, 100)
  states = create_states(model, tx, jax.random.key(0)[None], field.shape[-1])
  state = jax.tree.map(lambda leaf: leaf[0], states)
  trainer = _pytorch.Trainer(_pytorch.Network(model, state.params, field.shape[-1]), train, 100 * train.epochs, False)
  for _ in range(3):
    theirs = trainer.step(torch.from_numpy(field), torch.tensor(batch % 2).float())
    state, ours = compiled_step()(state, field, batch, batch % 2, jax.random.key(1), model=model, tx=tx, settings=train)
    assert float(ours) == pytest.approx(float(theirs), rel=2e-3)
