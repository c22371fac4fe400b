"""Where a curve over lengths is highest."""

import numpy as np


def highest(lengths: np.ndarray, values: np.ndarray) -> float:
  """Returns the length at which values are largest: the vertex of a parabola in the logarithm of the length.

  The parabola goes through the largest value and its neighbours; where one of these is missing (at an edge, or not
  finite) it is the length of the largest value itself.

  Args:
    lengths: `[n]` positive, ascending.
    values: `[n]`.
  """
  top = int(np.argmax(values))
  around = slice(top - 1, top + 2)
  if top in (0, len(values) - 1) or not np.isfinite(values[around]).all():
    return float(lengths[top])
  x = np.log(lengths[around]) - np.log(lengths[top])
  curvature, slope, _ = np.polyfit(x, values[around], 2)
  return float(lengths[top] * np.exp(-slope / (2 * curvature) if curvature < 0 else 0.0))
