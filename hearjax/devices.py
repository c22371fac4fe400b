"""Where arrays lie: members spread over all devices, of all hosts, and fetched back to each host."""

import functools
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MEMBER = 'member'


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
