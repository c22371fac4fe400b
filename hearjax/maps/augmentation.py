"""Random changes of a magnetogram that leave its label alone; each is a setting, and each destroys some physics."""

import dataclasses

import jax
import jax.numpy as jnp

from hearjax.checks import UserError
from hearjax.maps import transforms


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Which random changes the training applies, each independently to each map.

  Attributes:
    polarity: Reverse the polarity, with probability 1/2; destroys Hale's law.
    mirror: Mirror in longitude and, independently, in latitude; destroys Hale's law and Joy's tilt.
    transpose: Exchange the axes, with probability 1/2; destroys the east-west orientation of active regions.
    shift_px: Move by up to this many pixels along each axis; destroys the position of the emergence site.
    gain: Multiply by `exp(gain * normal)`; blurs the flux scale.
    noise_gauss: Add independent normal noise of this standard deviation [G].
  """

  polarity: bool = True
  mirror: bool = True
  transpose: bool = True
  shift_px: int = 2
  gain: float = 0.0
  noise_gauss: float = 0.0

  def __post_init__(self):
    if not (self.shift_px >= 0 and self.gain >= 0 and self.noise_gauss >= 0):
      raise UserError(
        f'shift_px, gain and noise_gauss must not be negative, got {self.shift_px}, {self.gain}, {self.noise_gauss}.'
      )


def augment(key: jax.Array, field: jax.Array, settings: Augmentation) -> jax.Array:
  """Returns one random version of one `[y, x]` map [G]."""
  keys = jax.random.split(key, 7)

  def maybe(coin: jax.Array, change, field: jax.Array) -> jax.Array:
    return jnp.where(jax.random.bernoulli(coin), change(field), field)

  if settings.polarity:
    field = maybe(keys[0], transforms.reverse_polarity, field)
  if settings.mirror:
    field = maybe(keys[1], transforms.mirror_longitude, field)
    field = maybe(keys[2], transforms.mirror_latitude, field)
  if settings.transpose:
    field = maybe(keys[3], transforms.transpose, field)
  if settings.shift_px:
    rows, columns = jax.random.randint(keys[4], (2,), -settings.shift_px, settings.shift_px + 1)
    field = transforms.shift(field, rows, columns)
  if settings.gain:
    field = field * jnp.exp(settings.gain * jax.random.normal(keys[5]))
  if settings.noise_gauss:
    field = field + settings.noise_gauss * jax.random.normal(keys[6], field.shape)
  return field
