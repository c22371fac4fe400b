"""Members side by side: the same results as one after the other, on one device, on several, on several processes."""

import dataclasses
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hearjax
from hearjax.checks import UserError
from hearjax.maps import transforms
from hearjax.maps.augmentation import Augmentation, augment
from hearjax.models.network import build_model
from hearjax.training.group import visible_maps
from hearjax.training.loop import _steps_in_one_program
from hearjax.training.settings import Execution, TrainSettings
from tests.scripts import ROOT
from tests.training.small_run import MODEL, SETTINGS, Killed, assert_close_predictions, kill_at, survey_and_splits

SETTINGS = dataclasses.replace(SETTINGS, training=TrainSettings(epochs=3, batch_size=8, learning_rate=0.01))


def trained(execution, settings=SETTINGS, directory=None, report=None, learnable=True):
  """Returns a run and the lines that it reported, by fold, seed and epoch."""
  survey, splits = survey_and_splits(9, learnable)  # Folds of different sizes.
  lines = []
  execution = dataclasses.replace(execution, checkpoint_every=2)
  run = hearjax.fit(survey, splits, settings, directory, execution, report or lines.append)
  return run, {(line['fold'], line['seed'], line['epoch']): line for line in lines}


@pytest.fixture(scope='module')
def one_by_one():
  return trained(Execution(members_at_once=1))


@pytest.mark.parametrize(
  'execution',
  [
    Execution(members_at_once=4),
    Execution(members_at_once=3),  # The last group is smaller.
    Execution(members_at_once=4, streamed=True, block_maps=70),
    Execution(members_at_once=1, streamed=True, block_maps=1),
  ],
)
def test_every_form_gives_the_same_predictions_and_metrics(one_by_one, execution):
  run, lines = trained(execution)
  assert_close_predictions(run, one_by_one[0])
  assert sorted(lines) == sorted(one_by_one[1])
  for key, line in lines.items():
    assert line['loss'] == pytest.approx(one_by_one[1][key]['loss'], rel=1e-3)
    assert line['validation_loss'] == pytest.approx(one_by_one[1][key]['validation_loss'], rel=1e-3)


def test_a_member_that_is_over_stays_as_it_is_while_others_go_on(one_by_one, tmp_path):
  with pytest.raises(Killed):
    trained(Execution(members_at_once=1), directory=tmp_path, report=kill_at(1, 0, 1))
  run, lines = trained(Execution(members_at_once=4), directory=tmp_path)
  assert {key[:2] for key in lines} == {(1, 0), (1, 1)}
  assert_close_predictions(run, one_by_one[0])


def test_a_run_goes_on_in_another_form(one_by_one, tmp_path):
  with pytest.raises(Killed):
    trained(Execution(members_at_once=4), directory=tmp_path, report=kill_at(1, 0, 2))
  run, lines = trained(Execution(members_at_once=1), directory=tmp_path)
  assert_close_predictions(run, one_by_one[0])
  assert {key[2] for key in lines} == {3}


def test_one_program_serves_all_epochs_and_groups():
  _steps_in_one_program.clear_cache()
  trained(Execution(members_at_once=2))
  assert _steps_in_one_program._cache_size() == 1


def test_a_loss_that_is_not_finite_is_told_from_a_group_too():
  settings = dataclasses.replace(SETTINGS, training=TrainSettings(epochs=2, batch_size=8, learning_rate=1e30))
  with pytest.raises(UserError, match='not finite at step'):
    trained(Execution(members_at_once=4), settings)


def test_cutting_maps_before_they_are_changed_makes_no_difference():
  settings = dataclasses.replace(SETTINGS, model=dataclasses.replace(MODEL, crop_px=8))
  field = np.random.default_rng(0).normal(0, 50, (6, 32, 32)).astype(np.float32)
  cut = visible_maps(field, settings)
  assert cut.shape == (6, 12, 12)
  model = build_model(settings.model, 1.39)
  params = jax.jit(model.init)(jax.random.key(0), field)
  keys = jax.random.split(jax.random.key(1), 6)
  whole, small = (jax.vmap(augment, (0, 0, None))(keys, jnp.asarray(maps), Augmentation()) for maps in (field, cut))
  np.testing.assert_array_equal(transforms.crop(whole, 8), transforms.crop(small, 8))
  np.testing.assert_allclose(model.apply(params, whole), model.apply(params, small), rtol=1e-6)


# --- Several devices, several processes -------------------------------------------------------------------------

SEVERAL = """
import sys
import jax, numpy as np
count, number, port, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if count > 1:
  jax.distributed.initialize(f'localhost:{port}', count, number)
from hearjax.training.settings import Execution
from tests.training.test_members import trained
run, lines = trained(Execution(members_at_once=4), directory=directory)
assert jax.device_count() == 4, jax.devices()
np.save(f'{directory}/logit{number}.npy', run.predictions['logit'])
"""


@pytest.mark.parametrize('processes', [1, 2])
def test_members_are_spread_over_devices_and_processes(one_by_one, tmp_path, processes):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={4 // processes}'
  environment = {**os.environ, 'XLA_FLAGS': flags, 'PYTHONPATH': str(ROOT)}
  started = [
    subprocess.Popen(
      [sys.executable, '-c', SEVERAL, str(processes), str(number), str(port), str(tmp_path)],
      env=environment,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(processes)
  ]
  for process in started:
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 0, complaint
  for number in range(processes):
    logit = np.load(tmp_path / f'logit{number}.npy')
    np.testing.assert_allclose(logit, one_by_one[0].predictions['logit'], rtol=1e-3, atol=1e-3)
  assert len(list((tmp_path / 'checkpoints').iterdir())) == 4
