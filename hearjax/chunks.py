"""Functions of many maps, a chunk of them at a time: bounded memory on the device, and one compilation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from hearjax.checks import UserError


def map_chunks(function: Callable[[Any], Any], tree: Any, chunk: int, axis: int = 0, threads: int = 1) -> Any:
  """Calls a function on `chunk` rows at a time and joins on the host what it returns.

  The last chunk is filled up with its last row, so that the function sees one shape and is compiled once; what it
  returns for the filling is cut off. Where fewer rows than a chunk should stay fewer, give `min(chunk, n)`.

  Args:
    function: From a tree of `[chunk, ...]` to any tree of arrays with `chunk` along `axis`; it must treat each row by
      itself.
    tree: A pytree of `[n, ...]`.
    chunk: Rows at a time.
    axis: Axis of the rows in what the function returns, the same for all of it.
    threads: Chunks at work at a time; more than one pays where XLA keeps a function on one core.

  Returns:
    What the function returns for all rows, as NumPy arrays with `n` along `axis`.

  Raises:
    UserError: There is no row.
  """
  n = len(jax.tree.leaves(tree)[0])
  if not n:
    raise UserError('There is nothing to compute: no map, or no row, was given.')

  def compute(start: int) -> Any:
    rows = np.minimum(np.arange(start, start + chunk), n - 1)
    return jax.device_get(function(jax.tree.map(lambda leaf: leaf[rows], tree)))

  starts = range(0, n, chunk)
  if threads == 1:
    parts = [compute(start) for start in starts]
  else:
    with ThreadPoolExecutor(threads) as pool:
      parts = list(pool.map(compute, starts))

  def join(*pieces: np.ndarray) -> np.ndarray:
    return np.split(np.concatenate(pieces, axis), [n], axis)[0]

  return jax.tree.map(join, *parts)
