"""Where maps lie, and the blocks in which they are fed."""

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from hearjax.checks import UserError
from hearjax.training.placement import LONGEST_REFUSAL, Resident, Streamed, build_feed, refusing_together


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


# --- Refusals of several processes ------------------------------------------------------------------------------


def as_one_of_two(monkeypatch, other: str) -> None:
  """Makes this process believe that there is another one, which refuses with a sentence, or with none begins."""
  row = np.zeros(LONGEST_REFUSAL, np.uint8)
  row[: len(other.encode())] = list(other.encode())
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(multihost_utils, 'process_allgather', lambda own: np.stack([row, own]))


def test_one_process_has_nobody_to_tell():
  with refusing_together():
    pass
  with pytest.raises(FileExistsError, match=r'^there$'), refusing_together():
    raise FileExistsError('there')


def test_all_processes_refuse_where_one_does(monkeypatch):
  as_one_of_two(monkeypatch, '')
  with refusing_together():
    pass
  error = FileExistsError('ä' * LONGEST_REFUSAL)  # Too long to be told whole.
  with pytest.raises(FileExistsError) as raised, refusing_together():
    raise error
  assert raised.value is error
  as_one_of_two(monkeypatch, 'The Sun is down – wait.')
  with pytest.raises(UserError, match=r'^The Sun is down – wait\.$'), refusing_together():
    pass
  with pytest.raises(KeyError), refusing_together():  # Each its own.
    raise KeyError
