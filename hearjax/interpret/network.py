"""What interpretation asks of a network, and the two ways to give it: hearjax's own, and any Linen module.

A network is asked for its logit, for its logit without some of its filters, and for what single filters add to it. A
filter is dropped by multiplying what its convolution gives by 0; where a ReLU follows, which leaves 0 at 0, that is the
same as removing it. Nothing is trained again. Filters are numbered through all layers of convolutions, from the one
next to the map on.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.maps import transforms
from hearjax.models.compilation import jit_convolutions
from hearjax.models.network import EmergenceNetwork, Masks

Params = Any
CHUNK = 64  # Maps on the device at a time: 4 MB of 128 px maps.
LOOP_CHUNK = 32  # The same where a program loops over filters or masks.
THREADS = min(os.cpu_count() or 1, 4)  # XLA keeps such a loop on one core.


class Network(Protocol):
  """A network as interpretation sees it; hashable, since programs are compiled for it. Parameters are arguments.

  Attributes:
    widths: Number of filters in each layer of convolutions.
    pixel_scale_mm: Side of a pixel of its maps [Mm].
  """

  widths: tuple[int, ...]
  pixel_scale_mm: float

  def visible_px(self, size: int) -> int:
    """Returns the side of the central square of a map of `size` px that it looks at [px]."""

  def logit(self, params: Params, field: jax.Array) -> jax.Array:
    """Returns `[n]` logits of `[n, y, x]` field [G], NaN where missing."""

  def masked_logit(self, params: Params, field: jax.Array, kept: jax.Array) -> jax.Array:
    """Returns `[n]` logits with every filter multiplied by its entry of `[filter]`: 1 keeps it, 0 drops it."""

  def contributions(
    self, params: Params, field: jax.Array, filters: tuple[int, ...], kept: jax.Array | None
  ) -> jax.Array:
    """Returns `[filter, n]` the logit less that without one filter, for some filters (their numbers ascend).

    `kept` is as for `masked_logit`, and says which are there to begin with; all for None.
    """


# --- Filters ------------------------------------------------------------------------------------------------------


def filter_layers(network: Network) -> np.ndarray:
  """Returns `[filter]` the layer of every filter, from 0."""
  return np.repeat(np.arange(len(network.widths)), network.widths)


def filter_numbers(network: Network) -> np.ndarray:
  """Returns `[filter]` the number of every filter within its layer, from 0."""
  return np.concatenate([np.arange(width) for width in network.widths])


def last_layer(network: Network) -> tuple[int, ...]:
  """Returns the numbers of the filters of the last layer of convolutions."""
  return tuple(range(sum(network.widths) - network.widths[-1], sum(network.widths)))


# --- hearjax's own ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class EmergenceAdapter:
  """hearjax's own network, and what its form makes fast.

  The contributions of the last layer add up to the logit, but for its bias. Without a filter of a lower layer, the
  layers below it are not computed again, nor the sums of the layer above it, which are linear in what is dropped;
  filters that are silent cost nothing.

  Attributes:
    model: The network.
  """

  model: EmergenceNetwork

  @property
  def widths(self) -> tuple[int, ...]:
    return self.model.settings.widths

  @property
  def pixel_scale_mm(self) -> float:
    return self.model.pixel_scale_mm

  def visible_px(self, size: int) -> int:
    return self.model.settings.visible_px(size)

  def logit(self, params: Params, field: jax.Array) -> jax.Array:
    return self.model.apply(params, field)

  def masked_logit(self, params: Params, field: jax.Array, kept: jax.Array) -> jax.Array:
    return self.model.apply(params, field, self.masks(kept))

  def contributions(
    self, params: Params, field: jax.Array, filters: tuple[int, ...], kept: jax.Array | None
  ) -> jax.Array:
    model, size = self.model, self.visible_px(field.shape[-1])
    masks = self.masks(jnp.ones(sum(self.widths)) if kept is None else kept)
    layers = model.apply(params, field, masks, method='activations')[1:]
    logit = model.apply(params, layers[-1], size, method='read_out')
    of_layer, numbers = filter_layers(self), filter_numbers(self)
    parts = []
    for number, maps in enumerate(layers):
      inside = np.array([numbers[each] for each in filters if of_layer[each] == number], int)
      if not len(inside):
        continue
      if number == len(layers) - 1:
        parts.append(model.apply(params, maps, size, method='contributions').T[inside])
        continue
      sums = model.apply(params, number + 1, maps, method='sums')

      def added(dropped, number=number, maps=maps, sums=sums):
        return jax.lax.cond(
          jnp.any(maps[..., dropped] > 0),
          lambda: logit - model.apply(params, number, dropped, maps, sums, size, masks, method='without'),
          lambda: jnp.zeros_like(logit),
        )

      parts.append(jax.lax.map(added, inside))
    return jnp.concatenate(parts)

  def masks(self, kept: jax.Array) -> Masks:
    """Returns `[filter]` as the network takes it, layer by layer."""
    return tuple(jnp.split(jnp.asarray(kept, jnp.float32), np.cumsum(self.widths)[:-1]))


# --- Any Linen module ---------------------------------------------------------------------------------------------


def with_channel(field: jax.Array) -> jax.Array:
  """Returns `[n, y, x, 1]` what most networks take: 0 where the field is missing, and one channel."""
  return transforms.fill_missing(field)[..., None]


@dataclasses.dataclass(frozen=True)
class LinenAdapter:
  """A Linen module of convolutions (`nn.Conv`), each with a ReLU after it, and a logit: made by `adapt`.

  Attributes:
    module: The module; it must be hashable, as Linen modules are whose attributes are.
    names: Path of every convolution in the module, in the order in which they are called.
    widths: As for `Network`.
    pixel_scale_mm: As for `Network`.
    prepare: From `[n, y, x]` field [G], NaN where missing, to what the module takes.
  """

  module: nn.Module
  names: tuple[tuple[str, ...], ...]
  widths: tuple[int, ...]
  pixel_scale_mm: float
  prepare: Callable[[jax.Array], jax.Array]

  def visible_px(self, size: int) -> int:
    return size

  def logit(self, params: Params, field: jax.Array) -> jax.Array:
    return self.module.apply(params, self.prepare(field)).reshape(len(field))

  def masked_logit(self, params: Params, field: jax.Array, kept: jax.Array) -> jax.Array:
    masks = dict(zip(self.names, jnp.split(kept, np.cumsum(self.widths)[:-1]), strict=True))

    def masked(function, arguments, named, context):
      result = function(*arguments, **named)
      is_convolution = isinstance(context.module, nn.Conv) and context.method_name == '__call__'
      return result * masks[context.module.path] if is_convolution else result

    with nn.intercept_methods(masked):
      return self.logit(params, field)

  def contributions(
    self, params: Params, field: jax.Array, filters: tuple[int, ...], kept: jax.Array | None
  ) -> jax.Array:
    kept = jnp.ones(sum(self.widths)) if kept is None else kept
    without = jax.lax.map(lambda dropped: self.masked_logit(params, field, kept.at[dropped].set(0)), np.array(filters))
    return self.masked_logit(params, field, kept) - without


def adapt(
  module: nn.Module,
  params: Params,
  field: np.ndarray,
  pixel_scale_mm: float,
  prepare: Callable[[jax.Array], jax.Array] = with_channel,
) -> LinenAdapter:
  """Makes a Linen module a `Network`.

  Args:
    module: Convolutions (`nn.Conv`), each followed by a ReLU, and at the end one logit for each map.
    params: Its variables, as `module.apply` takes them.
    field: `[n, y, x]` maps to try it on [G].
    pixel_scale_mm: Side of their pixels [Mm].
    prepare: From `[n, y, x]` field [G], NaN where missing, to what the module takes.

  Raises:
    UserError: It has no convolutions, not as many ReLUs, one that is called twice, or not one logit for each map.
  """
  found: list[tuple[tuple[str, ...], int]] = []

  def listen(function, arguments, named, context):
    result = function(*arguments, **named)
    if isinstance(context.module, nn.Conv) and context.method_name == '__call__':
      found.append((context.module.path, result.shape[-1]))
    return result

  def call(field: jax.Array) -> jax.Array:
    return module.apply(params, prepare(field))

  with nn.intercept_methods(listen):
    program = jax.make_jaxpr(call)(jax.ShapeDtypeStruct(field.shape, np.float32))
  kind = type(module).__name__
  names = tuple(name for name, _ in found)
  relus = sum(map(_is_relu, _equations(program.jaxpr)))
  if not names or relus < len(names):
    raise UserError(
      f'{kind} has {len(names)} convolutions (flax.linen.Conv) and {relus} ReLUs; its filters can be dropped only '
      'where there are convolutions, and a ReLU after each.'
    )
  if len(set(names)) < len(names):
    raise UserError(f'{kind} calls a convolution twice ({"/".join(names[0])}); its filters are of no single layer.')
  shape = program.out_avals[0].shape
  if len(program.out_avals) > 1 or shape not in ((len(field),), (len(field), 1)):
    raise UserError(f'{kind} must give one logit for each of {len(field)} maps, got {shape}.')
  return LinenAdapter(module, names, tuple(width for _, width in found), pixel_scale_mm, prepare)


def _equations(program: Any) -> Iterator[Any]:
  """Yields all equations of a program, those within it too."""
  for equation in program.eqns:
    yield equation
    for value in equation.params.values():
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from _equations(inner)


def _is_relu(equation: Any) -> bool:
  """Says whether an equation is the maximum of something and 0."""
  literals = [value.val for value in equation.invars if hasattr(value, 'val')]
  return equation.primitive.name == 'max' and any(np.ndim(value) == 0 and value == 0 for value in literals)


# --- Many maps ----------------------------------------------------------------------------------------------------


def logits(network: Network, params: Params, field: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
  """Returns `[n]` logits of `[n, y, x]` field [G], `chunk` maps at a time."""
  return map_chunks(functools.partial(_logit, params, network=network), visible(network, field), chunk)


@jit_convolutions('network')
def _logit(params: Params, field: jax.Array, *, network: Network) -> jax.Array:
  return network.logit(params, field)


def masked_logits(
  network: Network, params: Params, field: np.ndarray, kept: np.ndarray, chunk: int = LOOP_CHUNK
) -> np.ndarray:
  """Returns `[variant, n]` logits of networks of which different filters are left.

  Args:
    network, params: The network.
    field: `[n, y, x]` field [G].
    kept: `[variant, filter]`, what is left of each.
    chunk: Maps on the device at a time in each thread; one size for all calls, and as many variants, compile once.
  """
  masks = jnp.asarray(kept, jnp.float32)
  compute = functools.partial(_masked_logits, params, masks=masks, network=network)
  return map_chunks(compute, visible(network, field), chunk, axis=1, threads=THREADS)


@functools.partial(jax.jit, static_argnames='network')
def _masked_logits(params: Params, field: jax.Array, masks: jax.Array, *, network: Network) -> jax.Array:
  return jax.lax.map(lambda kept: network.masked_logit(params, field, kept), masks)


def contributions(
  network: Network,
  params: Params,
  field: np.ndarray,
  filters: tuple[int, ...] | None = None,
  kept: np.ndarray | None = None,
  chunk: int = LOOP_CHUNK,
) -> np.ndarray:
  """Returns `[filter, n]` what filters add to the logit: the logit less that without the filter.

  Args:
    network, params: The network.
    field: `[n, y, x]` field [G].
    filters: Their numbers, ascending; those of the last layer for None.
    kept: `[filter]`, what is there to begin with; all for None.
    chunk: Maps on the device at a time in each thread.
  """
  filters = last_layer(network) if filters is None else filters
  kept = jnp.ones(sum(network.widths)) if kept is None else jnp.asarray(kept, jnp.float32)
  compute = functools.partial(_contributions, params, kept=kept, network=network, filters=filters)
  return map_chunks(compute, visible(network, field), chunk, axis=1, threads=THREADS)


@functools.partial(jax.jit, static_argnames=('network', 'filters'))
def _contributions(
  params: Params, field: jax.Array, kept: jax.Array, *, network: Network, filters: tuple[int, ...]
) -> jax.Array:
  return network.contributions(params, field, filters, kept)


def visible(network: Network, field: np.ndarray) -> np.ndarray:
  """Returns the central square of `[n, y, x]` maps that a network looks at."""
  return transforms.crop(field, network.visible_px(field.shape[-1]))
