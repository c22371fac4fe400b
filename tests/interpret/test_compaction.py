"""The compacted network says what the masked one says, and survives being saved."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from hearjax.interpret import compaction
from hearjax.interpret.ablation import masked_logits
from hearjax.models.network import build_model
from tests.interpret.test_pruning import SMALL, random_field, random_network

KEPT = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1], bool)


@pytest.mark.parametrize('change', [{}, {'centre_mm': 0.0, 'log_pool': 0.0, 'symmetries': ()}])
def test_compacted_equals_masked(change):
  full, params = random_network(dataclasses.replace(SMALL, **change))
  settings, smaller = compaction.compact(full.settings, params, KEPT)
  assert settings.widths == (2, 3, 2)
  field = random_field(6)
  ours = jax.jit(build_model(settings, full.pixel_scale_mm).apply)(smaller, field)
  np.testing.assert_allclose(ours, masked_logits(full, params, field, KEPT[None])[0], rtol=1e-5, atol=1e-5)
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
