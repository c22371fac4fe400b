"""When an image was taken: the time keywords of FITS and of JSOC."""

import datetime
import re

from astropy.time import Time

from hearjax.checks import UserError
from hearjax.survey.headers import Cards

# Keyword of the date -> that of the time of day, in headers that part them (SOHO, GONG, Kitt Peak).
CLOCKS = {
  'DATE-OBS': ('TIME-OBS', 'TIME_OBS', 'UT-OBS'),
  'DATE_OBS': ('TIME_OBS', 'TIME-OBS', 'UT-OBS'),
  'DATE-AVG': ('TIME-AVG',),
  'DATE-BEG': ('TIME-BEG',),
  'DATE-END': ('TIME-END',),
}
# The middle of an observation, then what is nearest to it. T_OBS is the middle, T_REC the nominal one (JSOC).
MIDDLE = ('DATE-AVG', 'T_OBS', 'DATE-OBS', 'DATE_OBS', 'T_REC', 'DATE-BEG')
FIRST_FRAME = ('T_REC', 'DATE-OBS', 'T_OBS', 'TSTART', 'T_START')
JULIAN = {'MJD-AVG': 'mjd', 'MJD-OBS': 'mjd', 'JD': 'jd'}
SCALES = {'UTC': 'utc', 'UT': 'utc', 'GMT': 'utc', 'Z': 'utc', 'TAI': 'tai', 'TT': 'tt'}
JSOC_MISSING = '-4712.01.01'  # Where JSOC has no time, it writes the first day of the Julian calendar.
MIDNIGHT = '00:00:00'

_CLOCK = r'(\d\d?:\d\d(?::\d\d(?:\.\d*)?)?)'
_DATE = r'(\d{4})[./-](\d\d?)[./-](\d\d?)'
_TIME = re.compile(rf'{_DATE}(?:[_T ]+{_CLOCK})?(?:[_ ]?(TAI|UTC|UT|TT|GMT|Z))?', re.IGNORECASE)


def parse_time(text: str, scale: str = 'utc', clock: str | None = None) -> Time:
  """Reads an ISO time or a JSOC one (`2011.02.14_20:35:15_TAI`).

  Args:
    text: The time; a trailing `_TAI`, `_UTC`, `UT` or `Z` names its scale.
    scale: Its scale where it names none.
    clock: The time of day, where `text` may be the date alone.

  Raises:
    UserError: It is neither, or the time of day lacks or is told twice.
  """
  match = _TIME.fullmatch(text.strip())
  if not match:
    raise UserError(f'{text!r} is not a time; write it as 2011-02-14T20:35:15, or as JSOC does.')
  year, month, day, own_clock, named = match.groups()
  clock = clock.strip().rstrip('Zz') if clock else None
  if own_clock and clock and own_clock.partition('.')[0] != MIDNIGHT:
    if own_clock[:5] != clock[:5]:
      raise UserError(f'{text!r} and {clock!r} are two times of day; remove the wrong one.')
    clock = None  # The same, told twice.
  clock = clock or own_clock
  if not clock:
    raise UserError(f'{text!r} is a day without a time of day; write it as 2011-02-14T20:35:15.')
  scale = SCALES[named.upper()] if named else scale
  try:
    datetime.date(int(year), int(month), int(day))
    hours, minutes = clock.split(':', 1)
    return Time(f'{year}-{int(month):02d}-{int(day):02d}T{int(hours):02d}:{minutes}', scale=scale).utc
  except ValueError as error:
    raise UserError(f'{text!r} is not a time: {error}.') from error


def observation_time(cards: Cards) -> Time | None:
  """Returns the middle of an observation, or the time nearest to it that the header tells; None where it tells none."""
  start, end = (_time_of(cards, keyword) for keyword in ('DATE-BEG', 'DATE-END'))
  if start and end and not cards.first('DATE-AVG', 'T_OBS'):
    return start + (end - start) / 2
  return _first_time(cards, MIDDLE)


def first_frame_time(cards: Cards) -> Time | None:
  """Returns the midpoint of the first frame of a cube, None where the header does not tell."""
  return _first_time(cards, FIRST_FRAME)


def _first_time(cards: Cards, keywords: tuple[str, ...]) -> Time | None:
  times = (_time_of(cards, keyword) for keyword in (*keywords, *JULIAN))
  return next((time for time in times if time is not None), None)


def _time_of(cards: Cards, keyword: str) -> Time | None:
  """Returns the time that a keyword gives, None where it gives none.

  Raises:
    UserError: It cannot be read, or is in a scale that is not known.
  """
  named = (cards.text('TIMESYS') or 'UTC').upper()
  if keyword not in cards.values:
    return None
  if named not in SCALES:
    raise UserError(f'{cards.path} has TIMESYS {named!r}; known are {", ".join(SCALES)}.')
  if keyword in JULIAN:
    return Time(cards.number(keyword), format=JULIAN[keyword], scale=SCALES[named]).utc
  text = cards.text(keyword)
  if text.startswith(JSOC_MISSING):
    return None
  clock = cards.first(*CLOCKS.get(keyword, ()))
  try:
    return parse_time(text, SCALES[named], cards.text(clock) if clock else None)
  except UserError as error:
    raise UserError(f'{cards.path}, keyword {keyword}: {error}') from error
