"""The network: a small convolutional classifier of magnetograms, and the only module that knows layers."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hearjax import transforms


@dataclasses.dataclass(frozen=True)
class ModelSettings:
  """The network's shape and input; every entry is a choice of ours, since the paper's layer table is not published.

  Attributes:
    widths: Filters of each convolution layer.
    kernels: Side of each layer's kernel [px].
    strides: Stride of each layer [px].
    limit_gauss: Field strength at which the input is clipped [G].
    scale_gauss: Field strength that the input layer sees as 1 [G].
    crop_px: Side of the central square that the network looks at [px]; 0 for the whole map. Smaller maps are whole.
    centre_mm: Radius (standard deviation) of the central window over which the last layer is averaged, beside its
      average over the whole square [Mm]; 0 for the whole square alone. Square and window follow the centre of the
      map, which is where a survey puts the emergence site.
    log_pool: Averaged activation a from which on the logit grows with its logarithm, as log(1 + average / a), so that
      strong flux does not outweigh all else; 0 for no logarithm. A filter without activation adds nothing either way.
    symmetries: Symmetries that the logit obeys exactly, each by averaging over its two versions of the map:
      any of `polarity`, `mirror_longitude`, `mirror_latitude`, `transpose`.
    lowering: How convolutions are computed: `auto`, `lax` or `patches` (see `Convolution`).
  """

  widths: tuple[int, ...] = (16, 32, 32, 32)
  kernels: tuple[int, ...] = (5, 3, 3, 3)
  strides: tuple[int, ...] = (2, 2, 1, 1)
  limit_gauss: float = 1000.0
  scale_gauss: float = 100.0
  crop_px: int = 48
  centre_mm: float = 5.0
  log_pool: float = 0.1
  symmetries: tuple[str, ...] = ()
  lowering: str = 'auto'

  def __post_init__(self):
    if not len(self.widths) == len(self.kernels) == len(self.strides):
      raise ValueError(
        f'widths, kernels and strides must name as many layers each, got {self.widths}, {self.kernels}, {self.strides}.'
      )
    if not self.widths or min(*self.widths, *self.kernels, *self.strides) < 1:
      raise ValueError('A network needs at least one layer, and widths, kernels and strides of at least 1.')
    if not (0 < self.limit_gauss < float('inf') and 0 < self.scale_gauss < float('inf')):
      raise ValueError(f'limit_gauss and scale_gauss must be positive, got {self.limit_gauss}, {self.scale_gauss}.')
    if not (self.crop_px >= 0 and 0 <= self.centre_mm < float('inf') and 0 <= self.log_pool < float('inf')):
      raise ValueError(
        f'crop_px, centre_mm and log_pool must not be negative, got {self.crop_px}, {self.centre_mm}, {self.log_pool}.'
      )
    unknown = set(self.symmetries) - set(SYMMETRIES)
    if unknown:
      raise ValueError(f'Unknown symmetries {sorted(unknown)}; known are {", ".join(SYMMETRIES)}.')
    if self.lowering not in LOWERINGS:
      raise ValueError(f'Unknown lowering {self.lowering!r}; known are {", ".join(LOWERINGS)}.')

  def visible_px(self, size: int) -> int:
    """Returns the side of the central square of a map of `size` px that the network looks at [px]."""
    return min(self.crop_px or size, size)

  def positions_px(self, size: int) -> np.ndarray:
    """Returns where the outputs of the last layer lie along an axis of `size` px, from its middle [px].

    Zero padding that is even on both sides is impossible for an odd kernel with stride 2 on an even map: the outputs
    do not lie symmetrically about the middle, and a window that took them for so would miss it by more than a pixel.
    """
    first, step = 0.0, 1
    n = size
    for kernel, stride in zip(self.kernels, self.strides, strict=True):
      before, n, _ = same_padding(n, kernel, stride)
      first += step * ((kernel - 1) / 2 - before)
      step *= stride
    return first + step * np.arange(n) - (size - 1) / 2


SYMMETRIES: dict[str, Callable[[jax.Array], jax.Array]] = {
  'polarity': transforms.reverse_polarity,
  'mirror_longitude': transforms.mirror_longitude,
  'mirror_latitude': transforms.mirror_latitude,
  'transpose': transforms.transpose,
}
LOWERINGS = ('auto', 'lax', 'patches')


class Convolution(nn.Module):
  """A strided convolution with zero padding (`SAME`), computed in one of two ways with the same parameters.

  `lax` is XLA's convolution. `patches` gathers the kernel's shifted views of the map and multiplies them with the
  kernel as one matrix. `auto` takes `patches` for the strided layers on a CPU, where it was the faster one, and `lax`
  everywhere else.
  """

  features: int
  kernel: int
  stride: int
  lowering: str = 'auto'

  @nn.compact
  def __call__(self, maps: jax.Array) -> jax.Array:
    """Maps `[batch, y, x, channel]` to `[batch, ceil(y / stride), ceil(x / stride), features]`."""
    shape = (self.kernel, self.kernel, maps.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.he_normal(), shape)
    bias = self.param('bias', nn.initializers.zeros_init(), (self.features,))
    lowering = self.lowering
    if lowering == 'auto':
      lowering = 'patches' if self.stride > 1 and jax.default_backend() == 'cpu' else 'lax'
    convolve = convolve_patches if lowering == 'patches' else convolve_lax
    return convolve(maps, kernel, self.stride) + bias


def convolve_lax(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Convolves `[batch, y, x, channel]` with `[ky, kx, channel, feature]` by XLA's convolution, zero padded."""
  return jax.lax.conv_general_dilated(
    maps, kernel, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def convolve_patches(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Does what `convolve_lax` does, as a product of the matrix of all patches with the kernel."""
  side = kernel.shape[0]
  pads, out = [], []
  for size in maps.shape[1:3]:
    before, n_out, after = same_padding(size, side, stride)
    pads.append((before, after))
    out.append(n_out)
  padded = jnp.pad(maps, ((0, 0), *pads, (0, 0)))
  views = [
    padded[:, row : row + (out[0] - 1) * stride + 1 : stride, column : column + (out[1] - 1) * stride + 1 : stride]
    for row in range(side)
    for column in range(side)
  ]
  return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
  """Returns zeros before, outputs, and zeros after an axis of `size` px for `SAME` padding."""
  n_out = -(-size // stride)
  total = max((n_out - 1) * stride + kernel - size, 0)
  return total // 2, n_out, total - total // 2


class EmergenceNetwork(nn.Module):
  """Norm-free ReLU convolutions, averages over the map, one linear logit.

  The averages let the network take maps of any size; no normalisation layer means that masking an activation is the
  same as removing its filter.
  """

  settings: ModelSettings
  pixel_scale_mm: float

  @nn.compact
  def __call__(self, field: jax.Array) -> jax.Array:
    """Returns `[batch]` logit of emergence for `[batch, y, x]` field [G], NaN where missing."""
    settings = self.settings
    field = transforms.crop(field, settings.visible_px(field.shape[-1]))
    versions = [transforms.network_input(field, settings.limit_gauss, settings.scale_gauss)]
    for name in settings.symmetries:
      versions += [SYMMETRIES[name](version) for version in versions]
    maps = jnp.concatenate(versions)[..., None]
    layers = zip(settings.widths, settings.kernels, settings.strides, strict=True)
    for number, (width, kernel, stride) in enumerate(layers):
      maps = nn.relu(Convolution(width, kernel, stride, settings.lowering, name=f'convolution_{number}')(maps))
    pooled = [jnp.mean(maps, axis=(1, 2))]
    if settings.centre_mm:
      y, x = (settings.positions_px(size) * self.pixel_scale_mm for size in field.shape[1:])
      pooled.append(jnp.einsum('byxc,yx->bc', maps, central_window(y, x, settings.centre_mm)))
    pooled = jnp.concatenate(pooled, axis=-1)
    if settings.log_pool:
      pooled = jnp.log1p(pooled / settings.log_pool)
    logits = nn.Dense(1, name='logit')(pooled)[:, 0]
    return jnp.mean(logits.reshape(len(versions), -1), axis=0)


def central_window(y_mm: np.ndarray, x_mm: np.ndarray, radius_mm: float) -> np.ndarray:
  """Returns `[y, x]` a Gaussian of standard deviation `radius_mm` about the origin of the positions, its sum 1."""
  window = np.exp(-0.5 * (y_mm[:, None] ** 2 + x_mm**2) / radius_mm**2)
  return window / window.sum()


def build_model(settings: ModelSettings, pixel_scale_mm: float) -> EmergenceNetwork:
  """Returns the network for maps of one pixel scale [Mm]."""
  return EmergenceNetwork(settings, pixel_scale_mm)
