"""How `benchmark` measures: cases in turns within one run, told as ratios of their medians."""

import dataclasses
import time
from collections.abc import Callable

import jax
import numpy as np

Case = Callable[[], object]  # Does the work once and returns what must be waited for.
PAUSE = 0.3  # Seconds before each: threads of the library that worked last still spin for a while.
BRIEF = 0.5  # Seconds.


@dataclasses.dataclass(frozen=True)
class Group:
  """Cases that do the same work.

  Attributes:
    name: Of the group.
    cases: What to time, by name.
    reference: Cases of which the fastest is what the others are told as ratios to; the first of all for none.
    side, batch: Side of the maps [px] and maps in a step, where groups of a kind differ in them; else 0.
    units: Units of work in one call, such as steps; seconds are told for one.
    flop: Floating-point operations of a unit, for the share of the machine's peak; 0 where that says nothing.
    target: Case that has a target.
    largest_ratio, largest_seconds, smallest_speedup: That target, None for none; the speed-up is that over the
      reference.
    rounds: Largest number of rounds, for cases that take long.
    once: Whether they take so long that each runs once, its compilation included.
    programs: Programs that each case compiled, where that was counted.
    seconds: What each case took, where that was measured already.
  """

  name: str
  cases: dict[str, Case]
  reference: tuple[str, ...] = ()
  side: int = 0
  batch: int = 0
  units: int = 1
  flop: float = 0.0
  target: str = ''
  largest_ratio: float | None = None
  largest_seconds: float | None = None
  smallest_speedup: float | None = None
  rounds: int = 1_000
  once: bool = False
  programs: dict[str, int] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] | None = None


def time_cases(group: Group, repeats: int) -> dict[str, np.ndarray]:
  """Times the cases of a group in turns, so that a slow spell of the machine meets all alike.

  Args:
    group: The cases; each runs once beforehand, which compiles it, unless they run only once.
    repeats: Rounds.

  Returns:
    `[round]` seconds of one unit of work, for every case.
  """
  if group.seconds is not None:
    return {name: np.array([value]) for name, value in group.seconds.items()}
  repeats = 1 if group.once else min(repeats, group.rounds)
  if not group.once:
    for case in group.cases.values():
      jax.block_until_ready(case())
  seconds = np.empty((repeats, len(group.cases)))
  for turn in range(repeats):
    for number, case in enumerate(group.cases.values()):
      time.sleep(PAUSE)
      elapsed = duration(case)
      # Threads that slept are slow to begin with: where that matters, the next call counts.
      seconds[turn, number] = duration(case) if elapsed < BRIEF else elapsed
  return dict(zip(group.cases, seconds.T / group.units, strict=True))


def duration(case: Case) -> float:
  """Returns how long one call of a case takes [s]."""
  started = time.perf_counter()
  jax.block_until_ready(case())
  return time.perf_counter() - started


def describe(group: Group, seconds: dict[str, np.ndarray], peak: float) -> list[dict]:
  """Returns one table row for every case of a group.

  Args:
    group: The group.
    seconds: What `time_cases` returns.
    peak: Floating-point operations per second of the machine's matrix product.
  """
  reference = min(float(np.median(seconds[name])) for name in group.reference or list(seconds)[:1])
  rows = []
  for case, times in seconds.items():
    low, median, high = np.percentile(times, (25, 50, 75)).tolist()
    row = {'group': group.name, 'case': case, 'seconds': median, 'seconds_low': low, 'seconds_high': high}
    row |= {'side': group.side, 'batch': group.batch, 'programs': group.programs.get(case, 0)}
    row |= {'ratio': median / reference, 'share_of_peak': group.flop / median / peak}
    rows.append({**row, 'target': judge(group, median, reference) if case == group.target else ''})
  return rows


def judge(group: Group, seconds: float, reference: float) -> str:
  """Returns the target of a group and whether it is met."""
  for name, value, limit, met in (
    ('ratio <=', seconds / reference, group.largest_ratio, lambda value, limit: value <= limit),
    ('seconds <=', seconds, group.largest_seconds, lambda value, limit: value <= limit),
    ('speed-up >=', reference / seconds, group.smallest_speedup, lambda value, limit: value >= limit),
  ):
    if limit is not None:
      return f'{name} {limit:g}: {"met" if met(value, limit) else "missed"}'
  return ''
