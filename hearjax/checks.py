"""What a user can mend: the one error that says it, and checks of settings that raise it with name and value."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


class UserError(ValueError):
  """Input that cannot be used: one sentence of what is wrong, what was got, and what to do.

  Raised where data, files or flags enter. Any other ValueError is a fault of the program.
  """


def check_finite(name: str, values: np.ndarray | float) -> None:
  """Raises UserError where a number is not finite."""
  values = np.asarray(values, np.float64)
  if not np.all(np.isfinite(values)):
    raise UserError(f'{name} must be finite, got {values[~np.isfinite(values)].flat[0]}.')


def check_positive(name: str, values: np.ndarray | float) -> None:
  """Raises UserError where a number is not finite or not positive."""
  check_finite(name, values)
  if np.any(np.asarray(values) <= 0):
    raise UserError(f'{name} must be positive, got {np.min(values):.3g}.')


def check_not_negative(name: str, value: float) -> None:
  """Raises UserError where a number is not finite, or negative."""
  if not 0 <= value < float('inf'):
    raise UserError(f'{name} must be finite and not negative, got {value}.')


def check_range(name: str, values: Sequence[float]) -> None:
  """Raises UserError where a range is neither left out (empty) nor two finite positive numbers in order."""
  if values and not (len(values) == 2 and 0 < values[0] < values[1] < float('inf')):
    raise UserError(f'{name} must be two finite positive numbers, the smaller one first; got {list(values)}.')


def check_choices(settings: Any) -> None:
  """Raises UserError where an entry of a settings dataclass is none of the `choices` in its field's metadata."""
  for field in dataclasses.fields(settings):
    if 'choices' in field.metadata:
      value, known = getattr(settings, field.name), field.metadata['choices']
      unknown = [name for name in (value if isinstance(value, tuple) else (value,)) if name not in known]
      if unknown:
        raise UserError(f'Unknown {field.name} {unknown[0]!r}; known are {", ".join(known)}.')
