"""The network: a small convolutional classifier of magnetograms, and the only module that knows layers."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError, check_choices
from hearjax.maps import transforms
from hearjax.models.convolution import LOWERINGS, PADDINGS, Convolution, choose_lowerings, edges

SYMMETRIES: dict[str, Callable[[jax.Array], jax.Array]] = {
  'polarity': transforms.reverse_polarity,
  'mirror_longitude': transforms.mirror_longitude,
  'mirror_latitude': transforms.mirror_latitude,
  'transpose': transforms.transpose,
}


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
    padding: What convolutions see beyond the edge of the square: `same` for zeros; `valid` for nothing, so that outputs
      lie only where all they see is real, and neighbouring squares share them.
    precision: `float32`, or `bfloat16` for the activations and products of the convolutions; parameters, averages and
      logit are of float32 either way.
  """

  widths: tuple[int, ...] = (16, 32, 32, 32)
  kernels: tuple[int, ...] = (5, 3, 3, 3)
  strides: tuple[int, ...] = (2, 2, 1, 1)
  limit_gauss: float = 1000.0
  scale_gauss: float = 100.0
  crop_px: int = 60
  centre_mm: float = 5.0
  log_pool: float = 0.1
  symmetries: tuple[str, ...] = dataclasses.field(default=(), metadata={'choices': tuple(SYMMETRIES)})
  padding: str = dataclasses.field(default='valid', metadata={'choices': PADDINGS})
  precision: str = dataclasses.field(default='float32', metadata={'choices': ('float32', 'bfloat16')})

  def __post_init__(self):
    if not len(self.widths) == len(self.kernels) == len(self.strides):
      raise UserError(
        f'widths, kernels and strides must name as many layers each, got {self.widths}, {self.kernels}, {self.strides}.'
      )
    if not self.widths or min(*self.widths, *self.kernels, *self.strides) < 1:
      raise UserError('A network needs at least one layer, and widths, kernels and strides of at least 1.')
    if not (0 < self.limit_gauss < float('inf') and 0 < self.scale_gauss < float('inf')):
      raise UserError(f'limit_gauss and scale_gauss must be positive, got {self.limit_gauss}, {self.scale_gauss}.')
    if not (self.crop_px >= 0 and 0 <= self.centre_mm < float('inf') and 0 <= self.log_pool < float('inf')):
      raise UserError(
        f'crop_px, centre_mm and log_pool must not be negative, got {self.crop_px}, {self.centre_mm}, {self.log_pool}.'
      )
    check_choices(self)
    if 'transpose' in self.symmetries and len(set(self.symmetries) & {'mirror_longitude', 'mirror_latitude'}) == 1:
      raise UserError('The symmetry transpose turns one mirror into the other: name both mirrors with it, or neither.')

  def visible_px(self, size: int) -> int:
    """Returns the side of the central square of a map of `size` px that the network looks at [px].

    Raises:
      UserError: It is smaller than what a single output sees, and there are no zeros around it.
    """
    visible = min(self.crop_px or size, size)
    if self.padding == 'valid' and visible < self.receptive_px:
      raise UserError(
        f'The network sees a square of {visible} px, and a single output of it {self.receptive_px} px without padding; '
        'give larger maps, a larger crop_px, or padding=same.'
      )
    return visible

  @property
  def receptive_px(self) -> int:
    """Side of what a single output of the last layer sees [px]."""
    steps = np.cumprod((1, *self.strides[:-1]))
    return 1 + int(sum((kernel - 1) * step for kernel, step in zip(self.kernels, steps, strict=True)))

  def positions_px(self, size: int) -> np.ndarray:
    """Returns where the outputs of the last layer lie along an axis of `size` px, from its middle [px].

    Zero padding that is even on both sides is impossible for an odd kernel with stride 2 on an even map: the outputs
    do not lie symmetrically about the middle, and a window that took them for so would miss it by more than a pixel.
    """
    first, step = 0.0, 1
    n = size
    for kernel, stride in zip(self.kernels, self.strides, strict=True):
      before, n, _ = edges(n, kernel, stride, self.padding)
      first += step * ((kernel - 1) / 2 - before)
      step *= stride
    return first + step * np.arange(n) - (size - 1) / 2


# One `[width]` array for each convolution layer: 1 keeps a filter, 0 drops it.
Masks = tuple[jax.Array, ...]


# --- The network ------------------------------------------------------------------------------------------------


class EmergenceNetwork(nn.Module):
  """Norm-free ReLU convolutions, averages over the map, one linear logit.

  The averages let the network take maps of any size; no normalisation layer means that masking an activation is the
  same as removing its filter. Whoever looks inside goes through the stages that `__call__` joins: `prepare`, then
  `layer` by layer, then `read_out`; or from any stage to the end by `finish`.

  Attributes:
    settings: Its shape and input.
    pixel_scale_mm: Side of a pixel of its maps [Mm].
    lowerings: How each layer is computed (`Convolution`); it changes the time, not the logit.
  """

  settings: ModelSettings
  pixel_scale_mm: float
  lowerings: tuple[tuple[str, str], ...]

  def setup(self) -> None:
    settings = self.settings
    shapes = zip(settings.widths, settings.kernels, settings.strides, self.lowerings, strict=True)
    self.convolution = [Convolution(*shape, settings.padding) for shape in shapes]
    self.logit = nn.Dense(1)

  def __call__(self, field: jax.Array, masks: Masks | None = None) -> jax.Array:
    """Returns `[batch]` logit of emergence.

    Args:
      field: `[batch, y, x]` field [G], NaN where missing.
      masks: What the activations of each layer are multiplied by; ones for None.
    """
    return self.finish(self.prepare(field), 0, self.settings.visible_px(field.shape[-1]), masks)

  def prepare(self, field: jax.Array) -> jax.Array:
    """Returns `[version * batch, y, x, 1]` input of the first layer: cropped, scaled, in all versions to average."""
    field = transforms.crop(field, self.settings.visible_px(field.shape[-1]))
    field = transforms.network_input(field, self.settings.limit_gauss, self.settings.scale_gauss)
    return jnp.concatenate(all_versions(field, self.settings.symmetries))[..., None].astype(self.settings.precision)

  def layer(self, number: int, maps: jax.Array, masks: Masks | None = None) -> jax.Array:
    """Returns `[n, y, x, width]` activations of a layer, masked, from those of the layer before it."""
    maps = nn.relu(self.convolution[number](maps))
    return maps if masks is None else maps * masks[number]

  def finish(self, maps: jax.Array, number: int, size: int, masks: Masks | None = None) -> jax.Array:
    """Goes on from the input of a layer to the logit.

    Args:
      maps: `[version * batch, y, x, channel]` input of the layer; of the averages, where `number` is that of layers.
      number: The layer.
      size: Side of the square that the network looks at [px] (`ModelSettings.visible_px`).
      masks: As for `__call__`; those of earlier layers are not looked at.

    Returns:
      `[batch]` logit.
    """
    for later in range(number, len(self.convolution)):
      maps = self.layer(later, maps, masks)
    return self.read_out(maps, size)

  def activations(self, field: jax.Array, masks: Masks | None = None) -> list[jax.Array]:
    """Returns the input of each layer, `[version * batch, y, x, channel]`, and last the input of the averages."""
    stages = [self.prepare(field)]
    for number in range(len(self.convolution)):
      stages.append(self.layer(number, stages[-1], masks))
    return stages

  def sums(self, number: int, maps: jax.Array) -> jax.Array:
    """Returns `[n, y, x, width]` what the ReLU of a layer is applied to, from the activations of the layer before."""
    return self.convolution[number](maps)

  def without(
    self, number: int, dropped: jax.Array, maps: jax.Array, sums: jax.Array, size: int, masks: Masks
  ) -> jax.Array:
    """Drops one more filter of a layer, not of the last one, and goes on from there to the logit.

    The layer above is linear in its input, so that the dropped filter's share is subtracted from its sums instead of
    computing them again.

    Args:
      number: The layer.
      dropped: The filter.
      maps: `[version * batch, y, x, width]` activations of the layer, masked.
      sums: `[version * batch, y, x, channel]` of `sums` for the layer above, from `maps`.
      size: Side of the square that the network looks at [px].
      masks: As for `__call__`.

    Returns:
      `[batch]` logit.
    """
    later = number + 1
    above = nn.relu(sums - self.convolution[later](maps, dropped)) * masks[later]
    return self.finish(above, later + 1, size, masks)

  def pool(self, maps: jax.Array, size: int) -> jax.Array:
    """Returns `[n, averages * width]` what the logit is linear in: averages of the last layer, and their logarithm."""
    maps = maps.astype(jnp.float32)
    pooled = [jnp.mean(maps, axis=(1, 2))]
    if self.settings.centre_mm:
      positions = self.settings.positions_px(size) * self.pixel_scale_mm
      window = central_window(positions, positions, self.settings.centre_mm)
      pooled.append(jnp.einsum('byxc,yx->bc', maps, window))
    return self.scale(jnp.concatenate(pooled, axis=-1))

  def scale(self, averages: jax.Array) -> jax.Array:
    """Returns averages of the last layer as the logit takes them: their logarithm, where the settings want it."""
    return jnp.log1p(averages / self.settings.log_pool) if self.settings.log_pool else averages

  def read_out(self, maps: jax.Array, size: int) -> jax.Array:
    """Returns `[batch]` logit from the activations of the last layer; versions are averaged."""
    return self._over_versions(self.logit(self.pool(maps, size))[:, 0])

  def contributions(self, maps: jax.Array, size: int) -> jax.Array:
    """Returns `[batch, width]` what each filter of the last layer adds to the logit; with the bias, their sum is it."""
    pooled = self.pool(maps, size)
    shares = pooled * self.logit.variables['params']['kernel'][:, 0]
    return self._over_versions(shares.reshape(len(maps), -1, maps.shape[-1]).sum(axis=1))

  def _over_versions(self, values: jax.Array) -> jax.Array:
    versions = 2 ** len(self.settings.symmetries)
    return jnp.mean(values.reshape(versions, -1, *values.shape[1:]), axis=0)


def all_versions(field: jax.Array, symmetries: tuple[str, ...]) -> list[jax.Array]:
  """Returns `[..., y, x]` maps in all versions that some of `SYMMETRIES` make of them, as they are first."""
  versions = [field]
  for name in symmetries:
    versions += [SYMMETRIES[name](version) for version in versions]
  return versions


def central_window(y_mm: np.ndarray, x_mm: np.ndarray, radius_mm: float) -> np.ndarray:
  """Returns `[y, x]` a Gaussian of standard deviation `radius_mm` about the origin of the positions, its sum 1."""
  window = np.exp(-0.5 * (y_mm[:, None] ** 2 + x_mm**2) / radius_mm**2)
  return window / window.sum()


def build_model(
  settings: ModelSettings, pixel_scale_mm: float, lowering: str = 'auto', backend: str | None = None
) -> EmergenceNetwork:
  """Returns the network for maps of one pixel scale.

  Args:
    settings: Of the network.
    pixel_scale_mm: Side of a pixel [Mm].
    lowering: One of `LOWERINGS` for all layers; `auto` for what is fastest for each (`choose_lowerings`).
    backend: What its programs are for: `cpu`, `gpu` or `tpu`; None for the backend at hand.

  Raises:
    UserError: There is no such lowering.
  """
  if lowering not in ('auto', *LOWERINGS):
    raise UserError(f'Unknown lowering {lowering!r}; known are auto, {", ".join(LOWERINGS)}.')
  if lowering == 'auto':
    backend = backend or jax.default_backend()
    channels = (1, *settings.widths[:-1])
    ways = tuple(choose_lowerings(*layer, backend) for layer in zip(settings.strides, channels, strict=True))
  else:
    ways = ((lowering, lowering),) * len(settings.widths)
  return EmergenceNetwork(settings, pixel_scale_mm, ways)


def full_masks(settings: ModelSettings) -> Masks:
  """Returns the masks that keep every filter."""
  return tuple(jnp.ones(width) for width in settings.widths)
