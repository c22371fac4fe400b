"""What the entries of settings must fulfil; every check raises ValueError with the name and the value."""

import dataclasses
from collections.abc import Sequence
from typing import Any

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


def check_choices(settings: Any) -> None:
  """Raises ValueError where an entry of a settings dataclass is none of the `choices` in its field's metadata."""
  for field in dataclasses.fields(settings):
    if 'choices' in field.metadata:
      value, known = getattr(settings, field.name), field.metadata['choices']
      unknown = [name for name in (value if isinstance(value, tuple) else (value,)) if name not in known]
      if unknown:
        raise ValueError(f'Unknown {field.name} {unknown[0]!r}; known are {", ".join(known)}.')
