"""Where arrays lie: members spread over the devices of all hosts, maps resident there or fed block by block."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hearjax.checks import UserError

MEMBER = 'member'
LONGEST_REFUSAL = 2048  # [bytes] What processes tell one another has one size.


def member_mesh() -> Mesh:
  """Returns all devices of all processes in a row, along the axis of the members."""
  return Mesh(np.array(jax.devices()), (MEMBER,))


def spread(tree: Any, mesh: Mesh) -> Any:
  """Puts arrays `[member, …]` onto the devices of a mesh, which must divide the members."""
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(MEMBER)))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Puts one whole copy of arrays onto each device of a mesh."""
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def fetch(tree: Any) -> Any:
  """Returns arrays as NumPy, whole on every process, wherever their parts lie."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  whole = functools.partial(multihost_utils.process_allgather, tiled=True)
  return jax.tree.map(lambda leaf: np.asarray(leaf) if leaf.is_fully_addressable else whole(leaf), tree)


def is_first_process() -> bool:
  """Says whether this process is the one of its run that writes files and speaks to the user."""
  return jax.process_index() == 0


@contextlib.contextmanager
def refusing_together() -> Iterator[None]:
  """Lets all processes of a run end where one of them cannot begin, instead of waiting for it in vain.

  At the end of the block they tell one another; inside it, none may wait for another. With one process it does nothing.

  Raises:
    UserError: Another process could not begin; in its words. Its own error reaches the process itself.
  """
  if jax.process_count() == 1:
    yield
    return
  refused = None
  try:
    yield
  except Exception as error:  # Also a fault of the program: the others shall not wait.
    refused = error
  told = _tell_all(_sentence(refused) if refused else '')
  if refused:
    raise refused
  if told:
    raise UserError(told)


def _sentence(error: Exception) -> str:
  if isinstance(error, (UserError, OSError)):
    return str(error)
  return f'Process {jax.process_index()} failed: {type(error).__name__}: {error}'


def _tell_all(sentence: str) -> str:
  """Returns the sentence of the first process that has one."""
  text = sentence.encode()[:LONGEST_REFUSAL]
  padded = np.zeros(LONGEST_REFUSAL, np.uint8)
  padded[: len(text)] = np.frombuffer(text, np.uint8)
  said = (bytes(row).rstrip(b'\0').decode(errors='ignore') for row in multihost_utils.process_allgather(padded))
  return next(filter(None, said), '')


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
    return jnp.asarray(maps) if self.mesh is None else replicate(maps, self.mesh)


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
  return Resident(jnp.asarray(field) if mesh is None else replicate(np.asarray(field), mesh))
