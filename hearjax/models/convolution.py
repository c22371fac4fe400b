"""Convolution: one module with one set of parameters, and several ways to compute it."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

# --- Convolution: one module, several ways to compute it ---------------------------------------------------------

PADDINGS = ('same', 'valid')  # Zeros beyond the edge of a map, or none: then outputs see real pixels alone.

# From `[batch, y, x, channel]` maps, `[ky, kx, channel, feature]` kernel, stride and padding to the convolution.
Lowering = Callable[[jax.Array, jax.Array, int, str], jax.Array]


class Convolution(nn.Module):
  """A strided convolution, with the same parameters however it is computed.

  Attributes:
    features: Filters.
    kernel: Side of the kernel [px].
    stride: Stride [px].
    lowerings: How it is computed where the value alone is asked for, and where it is differentiated.
    padding: One of `PADDINGS`.
  """

  features: int
  kernel: int
  stride: int
  lowerings: tuple[str, str] = ('lax', 'lax')
  padding: str = 'same'

  @nn.compact
  def __call__(self, maps: jax.Array, channel: jax.Array | None = None) -> jax.Array:
    """Maps `[batch, y, x, channel]` to `[batch, y / stride, x / stride, features]`, in the type of maps.

    The sizes are rounded up, or with the padding `valid` those of the places where the kernel fits. With the number of
    a channel: what this channel alone adds to that, without the bias.
    """
    shape = (self.kernel, self.kernel, maps.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape).astype(maps.dtype)
    bias = self.param('bias', nn.initializers.zeros_init(), (self.features,)).astype(maps.dtype)
    if channel is not None:  # By XLA's convolution: patches were four times slower for a single channel.
      maps = jax.lax.dynamic_slice_in_dim(maps, channel, 1, axis=3)
      return convolve_lax(maps, jax.lax.dynamic_slice_in_dim(kernel, channel, 1, axis=2), self.stride, self.padding)
    return convolve(maps, kernel, self.stride, self.padding, *self.lowerings) + bias


def choose_lowerings(stride: int, channels: int, backend: str) -> tuple[str, str]:
  """Returns what was fastest for a layer in the group `lowerings` of `experiments.benchmark`.

  On a CPU `shifts` for the value and `space_to_depth` for value and gradient together where the layer sees one channel;
  `lax` and `patches` where it sees more and is strided; `lax` for all others, and for everything on accelerators.
  Members that are trained side by side are another matter: their kernels differ, and only matrix products batch well
  (`training.fit`).

  Args:
    stride: Of the layer [px].
    channels: That it sees.
    backend: What the program is for: `cpu`, `gpu` or `tpu`.

  Returns:
    Lowering where the value alone is asked for, and where it is differentiated.
  """
  if backend != 'cpu':
    return 'lax', 'lax'
  if channels == 1:
    return 'shifts', 'space_to_depth' if stride > 1 else 'lax'
  return 'lax', 'patches' if stride > 1 else 'lax'


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def convolve(
  maps: jax.Array, kernel: jax.Array, stride: int, padding: str, value: str, differentiated: str
) -> jax.Array:
  """Convolves by one of `LOWERINGS` where the value alone is asked for, and by another where it is differentiated.

  It has a gradient of first order, in reverse mode.
  """
  return LOWERINGS[value](maps, kernel, stride, padding)


def _convolve_forward(
  maps: jax.Array, kernel: jax.Array, stride: int, padding: str, value: str, differentiated: str
) -> tuple[jax.Array, Callable]:
  return jax.vjp(lambda maps, kernel: LOWERINGS[differentiated](maps, kernel, stride, padding), maps, kernel)


def _convolve_backward(
  stride: int, padding: str, value: str, differentiated: str, pull_back: Callable, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
  return pull_back(cotangent)


convolve.defvjp(_convolve_forward, _convolve_backward)


def convolve_lax(maps: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
  """Convolves `[batch, y, x, channel]` with `[ky, kx, channel, feature]` by XLA's convolution."""
  return jax.lax.conv_general_dilated(
    maps, kernel, (stride, stride), padding.upper(), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def convolve_patches(maps: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
  """Does what `convolve_lax` does, as a product of the matrix of all patches with the kernel."""
  views = _shifted(maps, kernel.shape[0], stride, padding)
  return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def convolve_shifts(maps: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
  """Does what `convolve_lax` does, as a sum over the kernel of shifted maps times its entry: made for one channel."""
  side, _, channels, features = kernel.shape
  views, entries = _shifted(maps, side, stride, padding), kernel.reshape(-1, channels, features)
  times = jnp.multiply if channels == 1 else jnp.matmul
  return sum(times(view, entry) for view, entry in zip(views, entries, strict=True))


def _shifted(maps: jax.Array, side: int, stride: int, padding: str) -> list[jax.Array]:
  """Returns what each entry of a kernel of `side` px sees of padded `[batch, y, x, channel]` maps, row by row."""
  pads, out = [], []
  for size in maps.shape[1:3]:
    before, n_out, after = edges(size, side, stride, padding)
    pads.append((before, max(after, 0)))
    out.append(n_out)
  padded = jnp.pad(maps, ((0, 0), *pads, (0, 0)))
  return [
    padded[:, row : row + (out[0] - 1) * stride + 1 : stride, column : column + (out[1] - 1) * stride + 1 : stride]
    for row in range(side)
    for column in range(side)
  ]


def convolve_space_to_depth(maps: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
  """Does what `convolve_lax` does, with every `stride` x `stride` block of pixels as channels of one coarse pixel.

  What is left is a convolution of stride 1, with fewer and longer rows: made for first layers, of one channel.
  """
  channels, features = kernel.shape[2:]
  side = -(-kernel.shape[0] // stride)  # Of the coarse kernel, zero where it reaches beyond the fine one.
  extra = side * stride - kernel.shape[0]
  pads, coarse = [], []
  for size in maps.shape[1:3]:
    before, n_out, _ = edges(size, kernel.shape[0], stride, padding)
    coarse.append(n_out + side - 1)
    pads.append((before, coarse[-1] * stride - before - size, 0))  # A negative padding cuts.
  maps = jax.lax.pad(maps, jnp.zeros((), maps.dtype), ((0, 0, 0), *pads, (0, 0, 0)))
  maps = maps.reshape(len(maps), coarse[0], stride, coarse[1], stride, channels)
  maps = maps.transpose(0, 1, 3, 2, 4, 5).reshape(len(maps), *coarse, stride**2 * channels)
  kernel = jnp.pad(kernel, ((0, extra), (0, extra), (0, 0), (0, 0)))
  kernel = kernel.reshape(side, stride, side, stride, channels, features)
  kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(side, side, stride**2 * channels, features)
  return jax.lax.conv_general_dilated(maps, kernel, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


LOWERINGS: dict[str, Lowering] = {
  'lax': convolve_lax,
  'patches': convolve_patches,
  'shifts': convolve_shifts,
  'space_to_depth': convolve_space_to_depth,
}


def edges(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
  """Returns zeros before, outputs, and zeros after an axis of `size` px; negative for pixels that no output sees."""
  if padding == 'valid':
    n_out = (size - kernel) // stride + 1
    return 0, n_out, (n_out - 1) * stride + kernel - size
  n_out = -(-size // stride)
  total = max((n_out - 1) * stride + kernel - size, 0)
  return total // 2, n_out, total - total // 2
