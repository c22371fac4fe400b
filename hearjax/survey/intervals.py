"""The time-averaged intervals of the HEAR survey: their numbers, and the hours that they cover.

A HEAR datacube is averaged over 410 min; successive cubes start 320 min apart, so that neighbours overlap by 90 min
(Schunker et al. 2016, A&A 595, A107). Interval `i` of a region is written TI-05 to TI+01. The centres relative to the
emergence time are inferred: they follow from an interval centred 13.6 h before emergence (Birch et al. 2019) and the
spacing.
"""

from collections.abc import Sequence

import numpy as np

from hearjax.checks import UserError

WINDOW_HOURS = 410 / 60
SPACING_HOURS = 320 / 60
FRAMES_PER_INTERVAL = 547  # 410 min at a cadence of 45 s, both ends counted in part: 546.67 rounded up.

CENTRE_HOURS = {
  -5: -24.27,
  -4: -18.93,
  -3: -13.60,
  -2: -8.27,
  -1: -2.93,
  0: 2.40,
  1: 7.73,
}
PRE_EMERGENCE = (-5, -4, -3, -2, -1)


def start_hours(interval: int) -> float:
  """Returns the beginning of an interval relative to the emergence time [h]."""
  return CENTRE_HOURS[interval] - WINDOW_HOURS / 2


def end_hours(interval: int) -> float:
  """Returns the end of an interval relative to the emergence time [h]."""
  return CENTRE_HOURS[interval] + WINDOW_HOURS / 2


def share_after_emergence(hours_start: np.ndarray, hours_end: np.ndarray) -> np.ndarray:
  """Returns how much of each window lies after the emergence time, 0 to 1, from its `[n]` beginnings and ends [h]."""
  start, end = (np.asarray(hours, np.float64) for hours in (hours_start, hours_end))
  return np.clip(end / np.maximum(end - start, 1e-6), 0, 1)


def check_intervals(intervals: Sequence[int]) -> tuple[int, ...]:
  """Returns the intervals in order, once it is certain that each is one of -5 to 1 and none comes twice.

  Raises:
    UserError: There is none, one is unknown, or one comes twice.
  """
  found = tuple(intervals)
  unknown = [interval for interval in found if interval not in CENTRE_HOURS]
  if not found or unknown:
    got = f'got {unknown[0]!r}' if unknown else 'got none'
    raise UserError(f'Intervals are whole numbers from -5 to 1, {got}; name at least one of them.')
  if len(set(found)) < len(found):
    raise UserError(f'Each interval may be named once, got {list(found)}.')
  return tuple(sorted(int(interval) for interval in found))


def check_hours(where: str, intervals: Sequence[int], hours: Sequence[float]) -> None:
  """Raises UserError where an interval before emergence lies after it by its hours: their sign is turned round.

  Args:
    where: What to name in the sentence.
    intervals: `[n]` numbers of intervals.
    hours: `[n]` their middles relative to the emergence time [h].
  """
  for interval, hour in zip(intervals, hours, strict=True):
    if interval < 0 < hour:
      raise UserError(
        f'{where} has interval {interval} at {hour:+g} h; hours are negative before emergence, so that its lead time '
        f'is {-CENTRE_HOURS.get(int(interval), -hour):g} h: turn the sign of the hours.'
      )
