"""The compacted network says what the masked one says, and survives being saved."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from hearjax.interpret import compaction, pruning
from hearjax.interpret.network import EmergenceAdapter, masked_logits
from hearjax.interpret.statistics import Draws
from hearjax.models.network import build_model
from tests.interpret.test_network import SMALL, random_field
from tests.interpret.test_variants import hand_made, strong_survey, subject_of

KEPT = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1], bool)


def random_network(settings=SMALL):
  """Returns a network whose biases are not 0, as after training."""
  model = build_model(settings, 1.39)
  params = jax.jit(model.init)(jax.random.key(3), random_field(1))
  return model, jax.tree.map(lambda leaf: leaf + 0.1 * np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)


@pytest.mark.parametrize('change', [{}, {'centre_mm': 0.0, 'log_pool': 0.0, 'symmetries': ()}])
def test_compacted_equals_masked(change):
  full, params = random_network(dataclasses.replace(SMALL, **change))
  settings, smaller = compaction.compact(full.settings, params, KEPT)
  assert settings.widths == (2, 3, 2)
  field = random_field(6)
  ours = jax.jit(build_model(settings, full.pixel_scale_mm).apply)(smaller, field)
  np.testing.assert_allclose(
    ours, masked_logits(EmergenceAdapter(full), params, field, KEPT[None])[0], rtol=1e-5, atol=1e-5
  )
  # And it is another network than the full one.
  assert np.abs(ours - jax.jit(full.apply)(params, field)).max() > 1e-3


def test_keeping_everything_changes_nothing():
  _, params = random_network()
  settings, same = compaction.compact(SMALL, params, np.ones(12, bool))
  assert settings == SMALL
  jax.tree.map(np.testing.assert_array_equal, same, params)


def test_saved_and_loaded(tmp_path):
  _, params = random_network()
  settings, smaller = compaction.compact(SMALL, params, KEPT)
  model = build_model(settings, 1.39)
  for _ in range(2):  # What is there already is replaced.
    compaction.save_compacted(tmp_path / 'member', model, smaller, KEPT, 24)
  loaded, restored = compaction.load_compacted(tmp_path / 'member')
  assert loaded == model
  field = random_field(3)
  jax.tree.map(np.testing.assert_array_equal, restored, smaller)
  assert json.loads((tmp_path / 'member' / 'model.json').read_text())['kept'] == np.flatnonzero(KEPT).tolist()
  assert compaction.seconds_per_1000(loaded, restored, field) > 0


def test_a_layer_without_filters():
  _, params = random_network()
  with pytest.raises(ValueError, match='Layer 1 has no filter left'):
    compaction.compact(SMALL, params, np.repeat([True, False, True], (3, 5, 4)))


def test_nothing_to_load(tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no compacted network'):
    compaction.load_compacted(tmp_path)


def test_a_damaged_description(tmp_path):
  (tmp_path / 'model.json').write_text('{"model": {}}')
  with pytest.raises(ValueError, match=r'model\.json is damaged'):
    compaction.load_compacted(tmp_path)


def test_parameters_are_counted_right():
  _, params = random_network()
  assert compaction.count_parameters(SMALL, np.ones(12, bool)) == sum(leaf.size for leaf in jax.tree.leaves(params))
  _, smaller = compaction.compact(SMALL, params, KEPT)
  assert compaction.count_parameters(SMALL, KEPT) == sum(leaf.size for leaf in jax.tree.leaves(smaller))


def test_kernels_are_those_of_the_layers_in_order():
  _, params = random_network()
  assert [kernel.shape for kernel in compaction.kernels(params)] == [(5, 5, 1, 3), (3, 3, 3, 5), (3, 3, 5, 4)]


def test_what_pruning_leaves_is_saved(tmp_path):
  survey = strong_survey()
  network, params = hand_made()
  settings = pruning.PruningSettings(order_maps=16, sizes=4, band_sizes=2, random_orders=3)
  pruned = pruning.prune(subject_of(network, params, survey), survey, Draws.of(survey, 20, 0), settings, 1)
  row = compaction.compact_pruned(pruned, survey, tmp_path / 'one')
  assert row['n_filters_compacted'] == 2 and row['largest_difference'] < 1e-5
  # A kernel of 9 and one of 1, their biases, a weight and the bias of the logit.
  assert row['parameters_compacted'] == 10 + 2 + 2
  model, _ = compaction.load_compacted(tmp_path / 'one')
  assert model.settings.widths == (1, 1)
  assert row['seconds_per_1000'] > 0 and row['seconds_per_1000_compacted'] > 0
