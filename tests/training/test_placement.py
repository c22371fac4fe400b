"""Where maps lie, and the blocks in which they are fed."""

import jax
import numpy as np
import pytest

from hearjax.training.placement import Resident, Streamed, build_feed


@pytest.mark.parametrize(('maps', 'blocks'), [(1, 6), (48, 3), (79, 2), (10**6, 1)])
def test_blocks_hold_what_was_asked_for(maps, blocks):
  rng = np.random.default_rng(0)
  field = rng.normal(size=(100, 2, 2)).astype(np.float32)
  rows = rng.integers(100, size=(4, 6, 5))
  got = list(Streamed(field, maps).blocks(rows))
  assert len(got) == blocks
  assert len({block.shape for block, _, _ in got}) == 1
  np.testing.assert_array_equal(np.concatenate([part for _, _, part in got], axis=1), rows)
  for block, places, part in got:
    np.testing.assert_array_equal(np.asarray(block)[places], field[part])


def test_what_does_not_fit_is_streamed(monkeypatch):
  class Device:
    def __init__(self, limit):
      self.limit = limit

    def memory_stats(self):
      return {'bytes_limit': self.limit}

  field = np.zeros((10, 4, 4), np.float32)
  assert isinstance(build_feed(field, None, False, 10), Resident)
  assert isinstance(build_feed(field, None, True, 10), Streamed)
  for limit, kind in ((field.nbytes, Streamed), (3 * field.nbytes, Resident)):
    monkeypatch.setattr(jax, 'local_devices', lambda limit=limit: [Device(limit)])
    assert isinstance(build_feed(field, None, False, 10), kind)
