"""Pixels that hold no field, though they hold a number: fill values whose keyword was lost."""

import numpy as np
from astropy.io import fits

# The strongest fields ever measured on the Sun are 8.2 kG (Castellanos Duran et al. 2020, ApJ 895, 129).
MAX_GAUSS = 9000.0
# Our choice of what is taken for a fill value within that range, see `fill_value`.
LEAST_FILL_GAUSS = 900.0
LEAST_REPEATS = 4


def lost_blanks(header: fits.Header) -> tuple[float, ...]:
  """Returns what stands for blank in an integer image without BLANK: the smallest and the largest of its type.

  Args:
    header: Of the image, before its data are read (astropy then changes it).

  Returns:
    These values, scaled as the data are; none for an image of floats, for one with BLANK, and for unsigned integers,
    whose smallest is 0.
  """
  bits, zero, scale = header['BITPIX'], header.get('BZERO', 0), header.get('BSCALE', 1)
  if 'BLANK' in header or bits < 16 or (zero == 2 ** (bits - 1) and scale == 1):
    return ()
  return float(zero - scale * 2 ** (bits - 1)), float(zero + scale * (2 ** (bits - 1) - 1))


def fill_value(field: np.ndarray) -> float | None:
  """Returns the value of a field that stands for missing pixels although nothing says so; None where there is none.

  It is the smallest one, where that is strong, comes often, and stands alone: nothing lies between it and its half.
  A measured or a clipped field goes up to its extremes step by step, and a clipped one usually has both signs.

  Args:
    field: Any shape, field [G].
  """
  known = field[np.abs(field) <= MAX_GAUSS]
  value = known.min(initial=0.0)
  if value > -LEAST_FILL_GAUSS or np.count_nonzero(known == value) < LEAST_REPEATS or known.max() == -value:
    return None
  return None if np.any((known > value) & (known < value / 2)) else float(value)


def mask_lost(field: np.ndarray, *fills: float | None) -> np.ndarray:
  """Marks as missing what cannot be a measured field.

  Args:
    field: Any shape, field [G].
    *fills: Values that stand for missing pixels; None stands for none.

  Returns:
    float32, NaN where the field is not finite, exceeds `MAX_GAUSS`, or is one of `fills`.
  """
  field = np.asarray(field)
  lost = ~(np.abs(field) <= MAX_GAUSS)  # NaN compares as False.
  for fill in fills:
    if fill is not None:
      lost |= np.isclose(field, fill, rtol=1e-6, atol=0)
  return np.where(lost, np.nan, field).astype(np.float32)
