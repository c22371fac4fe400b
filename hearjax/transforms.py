"""Pure functions of a magnetogram: one map in, one map out.

Every function takes `[..., y, x]` line-of-sight field [G] with north up and west to the right, and works on many maps
at once. A missing pixel is NaN and stays NaN, except in `fill_missing`, which is the one place where it goes.
"""

import jax
import jax.numpy as jnp


def saturate(field: jax.Array, limit_gauss: float) -> jax.Array:
  """Clips the field to `[-limit_gauss, limit_gauss]` [G]."""
  return jnp.clip(field, -limit_gauss, limit_gauss)


def fill_missing(field: jax.Array) -> jax.Array:
  """Replaces missing pixels by 0 G, the mean of a flux-balanced quiet Sun: they add no flux of either sign."""
  return jnp.where(jnp.isfinite(field), field, 0)


def network_input(field: jax.Array, limit_gauss: float, scale_gauss: float) -> jax.Array:
  """What a network sees: missing pixels 0, field clipped to `limit_gauss` and divided by `scale_gauss`.

  Args:
    field: `[..., y, x]` field [G], NaN where missing.
    limit_gauss: Field strength beyond which all fields look alike [G].
    scale_gauss: Field strength mapped to 1 [G].

  Returns:
    Dimensionless, finite array of the shape of `field`.
  """
  return saturate(fill_missing(field), limit_gauss) / scale_gauss


def crop(field: jax.Array, size: int) -> jax.Array:
  """Cuts out the central `size` x `size` pixels.

  Raises:
    ValueError: The map is smaller than that, or its sides and `size` are not both even or both odd.
  """
  height, width = field.shape[-2:]
  if size > min(height, width) or size < 1:
    raise ValueError(f'Cannot crop a map of {height} x {width} px to {size} x {size} px.')
  if (height - size) % 2 or (width - size) % 2:
    raise ValueError(f'A crop from {height} x {width} to {size} px has no common centre; use an even difference.')
  top, left = (height - size) // 2, (width - size) // 2
  return field[..., top : top + size, left : left + size]


def reverse_polarity(field: jax.Array) -> jax.Array:
  """Exchanges positive and negative polarity. Destroys Hale's law (which polarity leads)."""
  return -field


def mirror_longitude(field: jax.Array) -> jax.Array:
  """Exchanges east and west. Destroys Hale's law, Joy's tilt and the lead-trail asymmetry."""
  return field[..., ::-1]


def mirror_latitude(field: jax.Array) -> jax.Array:
  """Exchanges north and south. Destroys Joy's tilt (its sign) but keeps what leads and what trails."""
  return field[..., ::-1, :]


def rotate(field: jax.Array, quarter_turns: int) -> jax.Array:
  """Turns a square map by multiples of 90 deg anticlockwise, north up. Destroys Hale's law and Joy's tilt."""
  # Rows run north here, so that an anticlockwise turn on the Sun is a clockwise one for the array.
  return jnp.rot90(field, -quarter_turns, axes=(-2, -1))


def transpose(field: jax.Array) -> jax.Array:
  """Exchanges the axes of a square map; with the two mirrors it generates all eight symmetries of the square."""
  return jnp.swapaxes(field, -2, -1)


def shift(field: jax.Array, rows: jax.Array | int, columns: jax.Array | int) -> jax.Array:
  """Moves the map by whole pixels; what leaves on one side enters on the other, so that the flux stays."""
  return jnp.roll(field, (rows, columns), axis=(-2, -1))


def to_northern_hemisphere(field: jax.Array, latitude: jax.Array) -> jax.Array:
  """Brings southern regions to the northern convention: flipped in latitude, sign inverted.

  This makes Hale's law and Joy's law read alike in both hemispheres (Schunker et al. 2020 average HEAR regions so).

  Args:
    field: `[..., y, x]` field [G].
    latitude: `[...]` heliographic latitude [deg].

  Returns:
    Field of the shape of `field`, unchanged for latitudes >= 0.
  """
  south = (jnp.asarray(latitude) < 0)[..., None, None]
  return jnp.where(south, reverse_polarity(mirror_latitude(field)), field)
