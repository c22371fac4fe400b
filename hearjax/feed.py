"""How magnetograms reach the devices: resident as one copy for all members, or block by block from the host.

Training asks for rows `[member, step, batch]` of the survey; a feed answers with maps on the devices, with where in
them the rows are, and with the rows themselves, in one block or in several along the steps.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hearjax import devices

# `[map, y, x]` maps [G], `[member, step, batch]` places of the rows among them, and the rows of the survey.
Block = tuple[jax.Array, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Resident:
  """All maps on the devices, once: a fold is rows, never a copy.

  Attributes:
    field: `[n, y, x]` field [G], whole on each device.
  """

  field: jax.Array

  def blocks(self, rows: np.ndarray) -> Iterator[Block]:
    """Yields everything as one block."""
    yield self.field, rows, rows


@dataclasses.dataclass(frozen=True)
class Streamed:
  """Maps that stay on the host, in memory or in a memory-mapped file, and reach the devices in blocks.

  Attributes:
    field: `[n, y, x]` field [G].
    maps: Maps of a block; a block holds one step of all members at least, however many maps that are.
    mesh: The devices that all get the block; None for the default device.
  """

  field: np.ndarray
  maps: int
  mesh: Mesh | None = None

  def blocks(self, rows: np.ndarray) -> Iterator[Block]:
    """Yields blocks of one shape, of some steps each."""
    members, steps, batch = rows.shape
    wanted = max(1, self.maps // (members * batch))
    length = next(length for length in range(min(wanted, steps), 0, -1) if steps % length == 0)
    for start in range(0, steps, length):
      part = rows[:, start : start + length]
      used, place = np.unique(part, return_inverse=True)
      maps = self.field[np.resize(used, min(part.size, len(self.field)))]
      yield self._put(maps), place.reshape(part.shape), part

  def _put(self, maps: np.ndarray) -> jax.Array:
    return jnp.asarray(maps) if self.mesh is None else devices.replicate(maps, self.mesh)


Feed = Resident | Streamed


def build_feed(field: np.ndarray, mesh: Mesh | None, streamed: bool, maps: int) -> Feed:
  """Returns the feed of `[n, y, x]` field [G].

  Args:
    field: What the members learn from, on the host.
    mesh: The devices; None for the default device.
    streamed: Whether to leave the field on the host in any case. It stays there, too, where it would take more than
      half of the memory of a device that tells how much it has.
    maps: Maps of a block.
  """
  limit = (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')
  if streamed or (limit and field.nbytes > limit / 2):
    return Streamed(field, maps, mesh)
  return Resident(jnp.asarray(field) if mesh is None else devices.replicate(np.asarray(field), mesh))
