"""The network: a small convolutional classifier of magnetograms, and the only module that knows layers."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

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
    log_pool: What is added to the averaged activations before their logarithm goes into the logit, so that the logit
      grows with the logarithm of the flux; 0 for no logarithm.
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
    if self.limit_gauss <= 0 or self.scale_gauss <= 0:
      raise ValueError(f'limit_gauss and scale_gauss must be positive, got {self.limit_gauss}, {self.scale_gauss}.')
    if min(self.crop_px, self.centre_mm, self.log_pool) < 0:
      raise ValueError('crop_px, centre_mm and log_pool must not be negative.')
    unknown = set(self.symmetries) - set(SYMMETRIES)
    if unknown:
      raise ValueError(f'Unknown symmetries {sorted(unknown)}; known are {", ".join(SYMMETRIES)}.')
    if self.lowering not in LOWERINGS:
      raise ValueError(f'Unknown lowering {self.lowering!r}; known are {", ".join(LOWERINGS)}.')

  def visible_px(self, size: int) -> int:
    """Returns the side of the central square of a map of `size` px that the network looks at [px]."""
    return min(self.crop_px or size, size)


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
  height, width = maps.shape[1:3]
  out = -(-height // stride), -(-width // stride)
  pads = [max((n_out - 1) * stride + side - n, 0) for n_out, n in zip(out, (height, width), strict=True)]
  padded = jnp.pad(maps, ((0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)))
  views = [
    padded[:, row : row + (out[0] - 1) * stride + 1 : stride, column : column + (out[1] - 1) * stride + 1 : stride]
    for row in range(side)
    for column in range(side)
  ]
  return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


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
      pixel_mm = self.pixel_scale_mm * field.shape[-1] / maps.shape[2]  # Of the last layer.
      pooled.append(jnp.einsum('byxc,yx->bc', maps, central_window(maps.shape[1:3], settings.centre_mm / pixel_mm)))
    pooled = jnp.concatenate(pooled, axis=-1)
    if settings.log_pool:
      pooled = jnp.log(settings.log_pool + pooled)
    logits = nn.Dense(1, name='logit')(pooled)[:, 0]
    return jnp.mean(logits.reshape(len(versions), -1), axis=0)


def central_window(shape: tuple[int, int], radius_px: float) -> jax.Array:
  """Returns `[y, x]` a centred Gaussian of standard deviation `radius_px`, its sum 1."""
  y, x = (jnp.exp(-0.5 * ((jnp.arange(n) - (n - 1) / 2) / radius_px) ** 2) for n in shape)
  window = y[:, None] * x
  return window / jnp.sum(window)


def build_model(settings: ModelSettings, pixel_scale_mm: float) -> EmergenceNetwork:
  """Returns the network for maps of one pixel scale [Mm]."""
  return EmergenceNetwork(settings, pixel_scale_mm)
