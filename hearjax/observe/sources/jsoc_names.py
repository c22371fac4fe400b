"""The records of JSOC: their names, their times, and how a query names many of them."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Collection, Sequence

from astropy.time import Time

from hearjax.checks import UserError
from hearjax.observe.sources.frames import ALL_BITS
from hearjax.observe.times import MISSING, parse_time
from hearjax.survey.headers import Cards, quality_bits

# Of a record's name, or of its file's.
_SLOT = re.compile(r'(\d{4})\.?(\d\d)\.?(\d\d)_(\d\d):?(\d\d):?(\d\d)(?:\.0*)?_TAI')
RUNS_PER_QUERY = 25  # JSOC reads 4096 characters of a query; a run has 47.


@dataclasses.dataclass(frozen=True)
class Record:
  """A frame that JSOC has.

  Attributes:
    slot: Its T_REC, a nominal time in TAI, as in names of files: 20110214_203600_TAI.
    mjd: Middle of the observation, modified Julian date in UTC.
    quality: Its QUALITY bits.
  """

  slot: str
  mjd: float
  quality: int


def read_record(series: str, values: dict[str, str]) -> Record:
  cards = Cards(pathlib.Path(series), {key: (value,) for key, value in values.items()})
  told = cards.text('T_OBS')
  # Of a frame that failed only the nominal time is known.
  time_ = parse_time(cards.text('T_REC') if not told or MISSING.fullmatch(told) else told, scale='tai')
  slot = slot_of(values['T_REC'])
  if slot is None:
    raise UserError(f'{series} names its records {values["T_REC"]!r}, not by a time in TAI; another series is needed.')
  return Record(slot, float(time_.utc.mjd), quality_bits(cards) & ALL_BITS)


def jsoc_time(mjd: float, step_s: float = 0.0) -> str:
  """Returns a time (MJD, UTC) as JSOC names it, in TAI; or the last multiple of a step [s] before it.

  JSOC counts steps from the begin of a query: they are those of a day here, whatever the query.
  """
  time_ = Time(mjd, format='mjd', scale='utc').tai
  if step_s:
    time_ = Time(math.floor(time_.mjd * 86400 / step_s) * step_s / 86400, format='mjd', scale='tai')
  return time_.strftime('%Y.%m.%d_%H:%M:%S_TAI')


def slot_of(text: str) -> str | None:
  """Returns T_REC, as in names of files, from what holds it (`hmi.M_720s[2011.02.14_20:36:00_TAI][1]`), else None."""
  match = _SLOT.search(text or '')
  return match and '{}{}{}_{}{}{}_TAI'.format(*match.groups())


def slot_time(slot: str) -> str:
  """Returns T_REC as JSOC's queries have it (`2011.02.14_20:36:00_TAI`)."""
  return '{}.{}.{}_{}:{}:{}_TAI'.format(*_SLOT.fullmatch(slot).groups())


def selections(records: Sequence[Record], wanted: Collection[str], step: str) -> list[tuple[str, list[str]]]:
  """Returns what to write between the brackets of queries to get some records, and only them.

  Args:
    records: All records of some time, in order.
    wanted: Slots of those to get.
    step: The part of a query that tells the cadence.

  Returns:
    For each query its text (`first-last,first-last`), and the slots that it gets.
  """
  runs: list[list[str]] = []
  is_open = False
  for record in records:
    if record.slot in wanted:
      if not is_open:
        runs.append([])
      runs[-1].append(record.slot)
    is_open = record.slot in wanted
  queries = [runs[start : start + RUNS_PER_QUERY] for start in range(0, len(runs), RUNS_PER_QUERY)]
  return [(','.join(_range(run, step) for run in query), [slot for run in query for slot in run]) for query in queries]


def _range(run: list[str], step: str) -> str:
  first, last = slot_time(run[0]), slot_time(run[-1])
  return first if len(run) == 1 else f'{first}-{last}{step}'
