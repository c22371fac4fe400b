"""The filters of a network: masks that drop them, and a sweep that drops each one alone.

A filter is dropped by multiplying its activation after the ReLU by 0; nothing is trained again. Filters are numbered
through all layers, from the one next to the map on.
"""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.chunks import map_chunks
from hearjax.models.network import EmergenceNetwork, Masks, ModelSettings, full_masks
from hearjax.training.step import Params

CHUNK = 32  # Maps that one thread has on the device at a time: the memory is bounded, whatever the survey.
THREADS = min(os.cpu_count() or 1, 4)  # XLA keeps a loop over filters on one core.


# --- Filters and masks ------------------------------------------------------------------------------------------


def filter_layers(settings: ModelSettings) -> np.ndarray:
  """Returns `[filter]` the layer of every filter, from 0."""
  return np.repeat(np.arange(len(settings.widths)), settings.widths)


def filter_numbers(settings: ModelSettings) -> np.ndarray:
  """Returns `[filter]` the number of every filter within its layer, from 0."""
  return np.concatenate([np.arange(width) for width in settings.widths])


def build_masks(settings: ModelSettings, kept: np.ndarray) -> Masks:
  """Returns the masks of a network of which the filters `kept` (`[filter]` bool) are left."""
  ends = np.cumsum(settings.widths)[:-1]
  return tuple(jnp.asarray(part, jnp.float32) for part in np.split(np.asarray(kept), ends))


def count_parameters(settings: ModelSettings, kept: np.ndarray) -> int:
  """Returns the parameters of the network without the dropped filters; `kept` is `[filter]` bool."""
  widths = np.bincount(filter_layers(settings)[kept], minlength=len(settings.widths)).tolist()
  inputs = [1, *widths[:-1]]
  layers = sum(width * (side**2 * n + 1) for width, side, n in zip(widths, settings.kernels, inputs, strict=True))
  return layers + (2 if settings.centre_mm else 1) * widths[-1] + 1


# --- The sweep --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What a network says of `n` maps, and what it would say without each of its filters.

  Attributes:
    logits: `[n]` logit of the network.
    without: `[filter, n]` logit when that filter is dropped, too.
    strength: `[filter, n]` largest activation of the filter in the map; 0 for a dropped one.
  """

  logits: np.ndarray
  without: np.ndarray
  strength: np.ndarray

  @property
  def contributions(self) -> np.ndarray:
    """Returns `[filter, n]` what the filter adds to the logit."""
    return self.logits - self.without


def sweep(
  model: EmergenceNetwork, params: Params, field: np.ndarray, masks: Masks | None = None, chunk: int = CHUNK
) -> Sweep:
  """Drops every filter alone.

  Layers below the filter are not computed again, nor the sums of the layer above it, which are linear in what is
  dropped (`EmergenceNetwork.without`); filters that are silent, or that the masks
  drop already, cost nothing.

  Args:
    model: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    masks: The filters that are there to begin with; all for None.
    chunk: Maps on the device at a time in each thread; one size for all calls compiles once.
  """
  masks = full_masks(model.settings) if masks is None else masks
  swept = map_chunks(
    lambda maps: _sweep(params, maps, masks, model=model), np.asarray(field), chunk, axis=-1, threads=THREADS
  )
  return Sweep(*swept)


@functools.partial(jax.jit, static_argnames='model')
def _sweep(
  params: Params, field: jax.Array, masks: Masks, *, model: EmergenceNetwork
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns `[n]` logits, `[filter, n]` logits without each filter, `[filter, n]` largest activations."""
  settings = model.settings
  size = settings.visible_px(field.shape[-1])
  layers = model.apply(params, field, masks, method='activations')[1:]
  logits = model.apply(params, layers[-1], size, method='read_out')
  without = []
  for number, maps in enumerate(layers[:-1]):
    sums = model.apply(params, number + 1, maps, method='sums')

    def drop(dropped, number=number, maps=maps, sums=sums):
      return jax.lax.cond(
        jnp.any(maps[..., dropped] > 0),
        lambda: model.apply(params, number, dropped, maps, sums, size, masks, method='without'),
        lambda: logits,
      )

    without.append(jax.lax.map(drop, jnp.arange(settings.widths[number])))
  without.append(logits - model.apply(params, layers[-1], size, method='contributions').T)
  # Versions of a map that the network averages over lie one after the other.
  strength = [maps.max(axis=(1, 2)).reshape(-1, len(field), maps.shape[-1]).max(axis=0).T for maps in layers]
  return logits, jnp.concatenate(without), jnp.concatenate(strength)


def masked_logits(
  model: EmergenceNetwork, params: Params, field: np.ndarray, kept: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
  """Returns `[variant, n]` logits of networks of which different filters are left.

  Args:
    model, params, field, chunk: As for `sweep`.
    kept: `[variant, filter]` bool.
  """
  masks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(build_masks(model.settings, row) for row in kept))
  return map_chunks(
    lambda maps: _masked_logits(params, maps, masks, model=model), np.asarray(field), chunk, axis=1, threads=THREADS
  )


@functools.partial(jax.jit, static_argnames='model')
def _masked_logits(params: Params, field: jax.Array, masks: Masks, *, model: EmergenceNetwork) -> jax.Array:
  size = model.settings.visible_px(field.shape[-1])
  first = model.apply(params, 0, model.apply(params, field, method='prepare'), method='layer')
  finish = lambda variant: model.apply(params, first * variant[0], 1, size, variant, method='finish')  # noqa: E731
  return jax.lax.map(finish, masks)


def even_chunk(n: int, largest: int = CHUNK) -> int:
  """Returns the size of equal parts of `n` maps, at most `largest`, so many that all threads have work to the end."""
  rounds = -(-n // (largest * THREADS))
  return -(-n // (rounds * THREADS))
