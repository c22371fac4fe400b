"""Pixels that hold no field, though they hold a number: fill values whose keyword was lost on the way."""

import numpy as np
from astropy.io import fits

# The strongest fields ever measured on the Sun are 8.2 kG (Castellanos Duran et al. 2020, ApJ 895, 129).
MAX_GAUSS = 9000.0
# Our choice: noise of some gauss lets no nine neighbours agree to the last bit; a fill value and saturation do.
MAX_CONSTANT_GAUSS = 900.0


def lost_blank(header: fits.Header) -> float | None:
  """Returns the value that stands for blank in an integer image without BLANK: the smallest integer of its type.

  Args:
    header: Of the image, before its data are read (astropy then changes it).

  Returns:
    That value, scaled as the data are; None for an image of floats, and for unsigned integers, whose smallest is 0.
  """
  bits, zero, scale = (
    header.get(keyword, default) for keyword, default in (('BITPIX', 8), ('BZERO', 0), ('BSCALE', 1))
  )
  if bits < 16 or (zero == 2 ** (bits - 1) and scale == 1):
    return None
  return float(zero + scale * -(2 ** (bits - 1)))


def mask_lost(field: np.ndarray, blank: float | None = None) -> np.ndarray:
  """Marks as missing what cannot be a measured field.

  Args:
    field: `[..., y, x]` field [G].
    blank: What `lost_blank` says.

  Returns:
    `[..., y, x]` float32, NaN where the field is not finite, equals `blank`, exceeds `MAX_GAUSS`, or is constant and
    beyond `MAX_CONSTANT_GAUSS` over a block of 3 x 3 pixels.
  """
  field = np.asarray(field)
  # NaN compares as False.
  lost = ~(np.abs(field) <= MAX_GAUSS) | _is_constant_and_strong(field)
  if blank is not None:
    lost |= np.isclose(field, blank, rtol=1e-6, atol=0)
  return np.where(lost, np.float32(np.nan), field.astype(np.float32))


def _is_constant_and_strong(field: np.ndarray) -> np.ndarray:
  """Returns `[..., y, x]` whether a pixel is one of a block of 3 x 3 equal ones that is strong."""
  inside = np.zeros(field.shape, bool)
  strong = np.abs(field) > MAX_CONSTANT_GAUSS
  if min(field.shape[-2:]) < 3 or np.count_nonzero(strong) < 9:
    return inside
  size_y, size_x = (length - 2 for length in field.shape[-2:])
  windows = [(..., slice(y, y + size_y), slice(x, x + size_x)) for y in range(3) for x in range(3)]
  corner = field[windows[0]]
  same = strong[windows[0]]
  for window in windows[1:]:
    same = same & (field[window] == corner)
  for window in windows:
    inside[window] |= same
  return inside
