"""Where arrays lie, members spread over the devices of all hosts and fetched back, and how programs are compiled."""

import functools
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MEMBER = 'member'


@functools.cache
def compiler_options() -> dict[str, str]:
  """Returns what `jax.jit` at the top level should be given for a program of convolutions outside loops.

  On a CPU, XLA's default library YNNPACK keeps a convolution on one core. Without it Eigen shares it among all, which
  makes a training step about a quarter faster on two cores; inside loops YNNPACK is the faster one. Empty on
  accelerators, and where XLA does not know the option.
  """
  if jax.default_backend() != 'cpu':
    return {}
  options = {'xla_cpu_experimental_ynn_fusion_type': ''}
  try:
    jax.jit(lambda: 0, compiler_options=options).lower().compile()
  except RuntimeError:
    return {}
  return options


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
