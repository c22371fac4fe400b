"""Settings: what cannot be, and that they survive JSON."""

import dataclasses
import json

import pytest

from hearjax.files import plain
from hearjax.models.network import ModelSettings
from hearjax.training.settings import Execution, RunSettings, TrainSettings, parse_settings


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'epochs': 0}, 'epochs must be'),
    ({'learning_rate': float('nan')}, 'must be positive'),
    ({'average_decay': 1.0}, r'average_decay in \[0, 1\)'),
  ],
)
def test_settings_that_cannot_train(change, message):
  with pytest.raises(ValueError, match=message):
    TrainSettings(**change)


@pytest.mark.parametrize(('name', 'value'), [('seed', -1), ('folds', 1), ('seeds', 0)])
def test_runs_that_cannot_be(name, value):
  with pytest.raises(ValueError, match=f'seed must not be negative, folds at least 2 .* got .*{value}'):
    RunSettings(**{name: value})


@pytest.mark.parametrize('wrong', [{'members_at_once': -1}, {'block_maps': 0}, {'checkpoint_every': 0}])
def test_a_form_that_cannot_be(wrong):
  with pytest.raises(ValueError, match='not be negative, block_maps and checkpoint_every at least 1'):
    Execution(**wrong)
  with pytest.raises(ValueError, match="Unknown lowering 'fft'; known are auto, lax, patches"):
    Execution(lowering='fft')


def test_settings_survive_json():
  settings = RunSettings(
    seeds=3, train_intervals=(-2, -1), model=ModelSettings(widths=(4,), kernels=(3,), strides=(2,))
  )
  content = json.loads(json.dumps(plain(settings)))
  assert parse_settings(RunSettings, content) == settings
  content['training']['augmentation']['colour'] = 1
  with pytest.raises(ValueError, match="Augmentation has no entry 'colour'; it has polarity"):
    parse_settings(RunSettings, content)


def test_members_go_side_by_side_as_asked_for():
  assert Execution(members_at_once=3).group_size(8) == 3
  assert Execution(members_at_once=30).group_size(8) == 8
  assert {field.name for field in dataclasses.fields(Execution)}.isdisjoint(
    field.name for field in dataclasses.fields(RunSettings)
  )
