"""What the numbers of settings must fulfil; every check raises ValueError with the name and the value."""

from collections.abc import Sequence

import numpy as np


def check_finite(name: str, values: np.ndarray | float) -> None:
  """Raises ValueError where a number is not finite."""
  values = np.asarray(values, np.float64)
  if not np.all(np.isfinite(values)):
    raise ValueError(f'{name} must be finite, got {values[~np.isfinite(values)].flat[0]}.')


def check_positive(name: str, values: np.ndarray | float) -> None:
  """Raises ValueError where a number is not finite or not positive."""
  check_finite(name, values)
  if np.any(np.asarray(values) <= 0):
    raise ValueError(f'{name} must be positive, got {np.min(values):.3g}.')


def check_not_negative(name: str, value: float) -> None:
  """Raises ValueError where a number is not finite, or negative."""
  if not 0 <= value < float('inf'):
    raise ValueError(f'{name} must be finite and not negative, got {value}.')


def check_range(name: str, values: Sequence[float]) -> None:
  """Raises ValueError where a range is neither left out (empty) nor two finite positive numbers in order."""
  if values and not (len(values) == 2 and 0 < values[0] < values[1] < float('inf')):
    raise ValueError(f'{name} must be two finite positive numbers, the smaller one first; got {list(values)}.')
