"""Pure functions of a magnetogram: one map in, one map out.

Every function takes `[..., y, x]` line-of-sight field [G] with north up and west to the right, and works on many maps
at once. A missing pixel is NaN and stays NaN, except in `fill_missing`, which is the one place where it goes.
"""

import jax
import jax.numpy as jnp

from hearjax.checks import UserError


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
    UserError: The map is smaller than that, or its sides and `size` are not both even or both odd.
  """
  height, width = field.shape[-2:]
  if size > min(height, width) or size < 1:
    raise UserError(f'Cannot crop a map of {height} x {width} px to {size} x {size} px.')
  if (height - size) % 2 or (width - size) % 2:
    raise UserError(f'A crop from {height} x {width} to {size} px has no common centre; use an even difference.')
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


def add_noise(key: jax.Array, field: jax.Array, noise_gauss: jax.Array | float) -> jax.Array:
  """Adds independent normal noise of standard deviation `noise_gauss` [G] to every pixel."""
  return field + noise_gauss * jax.random.normal(key, field.shape)


# --- Order destroyed --------------------------------------------------------------------------------------------


def shuffle_pixels(key: jax.Array, field: jax.Array, group: jax.Array | None = None) -> jax.Array:
  """Lets the pixels of one map change places. Keeps the histogram and the flux, destroys every structure.

  Args:
    key: Random key.
    field: `[y, x]` field [G].
    group: `[y, x]` whole numbers: a pixel goes only to places of its own group; anywhere for None.
  """
  group = jnp.zeros(field.size, int) if group is None else group.ravel()
  drawn = jnp.lexsort((jax.random.uniform(key, (field.size,)), group))
  return jnp.zeros_like(field.ravel()).at[jnp.argsort(group)].set(field.ravel()[drawn]).reshape(field.shape)


def shuffle_signs(key: jax.Array, field: jax.Array) -> jax.Array:
  """Gives every pixel a sign at random. Keeps |B| in its place, destroys what belongs to which polarity."""
  return jnp.abs(field) * jax.random.rademacher(key, field.shape, field.dtype)


# --- Linear filters ---------------------------------------------------------------------------------------------


def band_pass(field: jax.Array, pixel_scale_mm: float, wavelength_mm: jax.Array | float, octaves: float) -> jax.Array:
  """Keeps the structure of the field around one wavelength.

  The amplitude of every plane wave is multiplied by a Gaussian in the logarithm of its wavenumber. The map counts as
  periodic, its mean is taken away, and a missing pixel as 0 G, but it stays missing in the result.

  Args:
    field: `[..., y, x]` field [G].
    pixel_scale_mm: Side of a pixel [Mm].
    wavelength_mm: Wavelength that passes whole [Mm].
    octaves: Full width at half maximum of the Gaussian [octaves].

  Returns:
    Field [G] of the shape of `field`.
  """
  wavenumber = jnp.hypot(*_wavenumbers(field, pixel_scale_mm))
  # The mean has no wavelength; a number that is as good as any keeps the derivative finite there.
  distance = jnp.log2(jnp.where(wavenumber > 0, wavenumber * wavelength_mm, 1))
  return _filter(field, jnp.where(wavenumber > 0, 2.0 ** (-((2 * distance / octaves) ** 2)), 0))


def blur(field: jax.Array, pixel_scale_mm: float, radius_mm: jax.Array | float) -> jax.Array:
  """Blurs the field with a Gaussian of standard deviation `radius_mm` [Mm], as worse seeing would.

  The map counts as periodic. A missing pixel has no weight in its neighbours' means and stays missing, so that a
  constant field stays constant; without missing pixels the net flux stays.
  """
  k_y, k_x = _wavenumbers(field, pixel_scale_mm)
  transfer = jnp.exp(-2 * (jnp.pi * radius_mm) ** 2 * (k_y**2 + k_x**2))
  there = jnp.isfinite(field)
  weight = _filter(there.astype(field.dtype), transfer)
  return jnp.where(there, _filter(field, transfer) / jnp.where(there, weight, 1), jnp.nan)


def tilt_line_of_sight(field: jax.Array, angle_deg: jax.Array | float) -> jax.Array:
  """Shows the potential field above a map from the side: the projection artefact of regions near the limb.

  The map is taken for the vertical field B_z, and B_x (westward) belongs to the current-free field above it: its plane
  waves are -i k_x / |k| times those of B_z (Alissandrakis 1981, A&A 100, 197, for alpha = 0). An observer over a region
  `angle_deg` west of the centre of the disk sees B_z cos(angle) - B_x sin(angle): weaker concentrations, with false
  polarity on their limbward side. Foreshortening is left out: survey maps are remapped.

  Args:
    field: `[..., y, x]` field [G]. It counts as periodic, a missing pixel as 0 G, but it stays missing.
    angle_deg: Angle of the line of sight to the vertical [deg], positive for a region in the west; a number or an
      array `[..., 1, 1]`.

  Returns:
    Line-of-sight field [G] of the shape of `field`.
  """
  k_y, k_x = _wavenumbers(field, 1.0)
  wavenumber = jnp.hypot(k_y, k_x)
  # The highest wave of an even number of pixels is its own opposite: a real map cannot hold it shifted by a quarter.
  odd = jnp.where((wavenumber > 0) & (k_x < 0.5), k_x / jnp.where(wavenumber > 0, wavenumber, 1), 0)
  angle = jnp.deg2rad(angle_deg)
  return field * jnp.cos(angle) - _filter(field, -1j * odd) * jnp.sin(angle)


def _wavenumbers(field: jax.Array, pixel_scale_mm: float) -> tuple[jax.Array, jax.Array]:
  """Returns `[y, 1]` and `[1, x // 2 + 1]` wavenumbers of the half plane that a real map needs [1/Mm]."""
  height, width = field.shape[-2:]
  return jnp.fft.fftfreq(height)[:, None] / pixel_scale_mm, jnp.fft.rfftfreq(width)[None, :] / pixel_scale_mm


def _filter(field: jax.Array, transfer: jax.Array) -> jax.Array:
  """Multiplies the plane waves of a field by `transfer`; missing pixels count as 0 and stay missing."""
  kept = jnp.fft.irfft2(jnp.fft.rfft2(fill_missing(field)) * transfer, s=field.shape[-2:])
  return jnp.where(jnp.isfinite(field), kept, jnp.nan)
