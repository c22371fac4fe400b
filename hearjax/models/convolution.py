"""Convolution: one module with one set of parameters, and several ways to compute it."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

# --- Convolution: one module, several ways to compute it ---------------------------------------------------------

# From `[batch, y, x, channel]` maps, `[ky, kx, channel, feature]` kernel and stride to the zero-padded convolution.
Lowering = Callable[[jax.Array, jax.Array, int], jax.Array]


class Convolution(nn.Module):
  """A strided convolution with zero padding (`SAME`), with the same parameters however it is computed.

  Attributes:
    features: Filters.
    kernel: Side of the kernel [px].
    stride: Stride [px].
    lowerings: How it is computed where the value alone is asked for, and where it is differentiated.
  """

  features: int
  kernel: int
  stride: int
  lowerings: tuple[str, str] = ('lax', 'lax')

  @nn.compact
  def __call__(self, maps: jax.Array, channel: jax.Array | None = None) -> jax.Array:
    """Maps `[batch, y, x, channel]` to `[batch, ceil(y / stride), ceil(x / stride), features]`, in the type of maps.

    With the number of a channel: what this channel alone adds to that, without the bias.
    """
    shape = (self.kernel, self.kernel, maps.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape).astype(maps.dtype)
    bias = self.param('bias', nn.initializers.zeros_init(), (self.features,)).astype(maps.dtype)
    if channel is not None:  # By XLA's convolution: patches were four times slower for a single channel.
      maps = jax.lax.dynamic_slice_in_dim(maps, channel, 1, axis=3)
      return convolve_lax(maps, jax.lax.dynamic_slice_in_dim(kernel, channel, 1, axis=2), self.stride)
    return convolve(maps, kernel, self.stride, *self.lowerings) + bias


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(maps: jax.Array, kernel: jax.Array, stride: int, value: str, differentiated: str) -> jax.Array:
  """Convolves by one of `LOWERINGS` where the value alone is asked for, and by another where it is differentiated.

  It has a gradient of first order, in reverse mode.
  """
  return LOWERINGS[value](maps, kernel, stride)


def _convolve_forward(
  maps: jax.Array, kernel: jax.Array, stride: int, value: str, differentiated: str
) -> tuple[jax.Array, Callable]:
  return jax.vjp(lambda maps, kernel: LOWERINGS[differentiated](maps, kernel, stride), maps, kernel)


def _convolve_backward(
  stride: int, value: str, differentiated: str, pull_back: Callable, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
  return pull_back(cotangent)


convolve.defvjp(_convolve_forward, _convolve_backward)


def convolve_lax(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Convolves `[batch, y, x, channel]` with `[ky, kx, channel, feature]` by XLA's convolution, zero padded."""
  return jax.lax.conv_general_dilated(
    maps, kernel, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def convolve_patches(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Does what `convolve_lax` does, as a product of the matrix of all patches with the kernel."""
  views = _shifted(maps, kernel.shape[0], stride)
  return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def convolve_shifts(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Does what `convolve_lax` does, as a sum over the kernel of shifted maps times its entry: made for one channel."""
  side, _, channels, features = kernel.shape
  views, entries = _shifted(maps, side, stride), kernel.reshape(-1, channels, features)
  times = jnp.multiply if channels == 1 else jnp.matmul
  return sum(times(view, entry) for view, entry in zip(views, entries, strict=True))


def _shifted(maps: jax.Array, side: int, stride: int) -> list[jax.Array]:
  """Returns what each entry of a kernel of `side` px sees of zero-padded `[batch, y, x, channel]` maps, row by row."""
  pads, out = [], []
  for size in maps.shape[1:3]:
    before, n_out, after = same_padding(size, side, stride)
    pads.append((before, after))
    out.append(n_out)
  padded = jnp.pad(maps, ((0, 0), *pads, (0, 0)))
  return [
    padded[:, row : row + (out[0] - 1) * stride + 1 : stride, column : column + (out[1] - 1) * stride + 1 : stride]
    for row in range(side)
    for column in range(side)
  ]


def convolve_space_to_depth(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Does what `convolve_lax` does, with every `stride` x `stride` block of pixels as channels of one coarse pixel.

  What is left is a convolution of stride 1, with fewer and longer rows: made for first layers, of one channel.
  """
  channels, features = kernel.shape[2:]
  side = -(-kernel.shape[0] // stride)  # Of the coarse kernel, zero where it reaches beyond the fine one.
  extra = side * stride - kernel.shape[0]
  pads, coarse = [], []
  for size in maps.shape[1:3]:
    before, n_out, _ = same_padding(size, kernel.shape[0], stride)
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


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
  """Returns zeros before, outputs, and zeros after an axis of `size` px for `SAME` padding."""
  n_out = -(-size // stride)
  total = max((n_out - 1) * stride + kernel - size, 0)
  return total // 2, n_out, total - total // 2
