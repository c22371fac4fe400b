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
BETWEEN = 'the middle of DATE-BEG and DATE-END'
MIDDLE = ('DATE-AVG', 'T_OBS', BETWEEN, 'DATE-OBS', 'DATE_OBS', 'T_REC')
LONGEST_SPREAD_HOURS = 6.0  # Between them: half of a mean over 410 min, and more.
FIRST_FRAME = ('T_REC', 'DATE-OBS', 'DATE_OBS', 'DATE-BEG', 'T_OBS', 'TSTART', 'T_START')
JULIAN = ('MJD-AVG', 'MJD-OBS')
FIRST_MJD, LAST_MJD = 15020, 88069  # 1900 to 2100.
SCALES = {'UTC': 'utc', 'UT': 'utc', 'GMT': 'utc', 'Z': 'utc', 'TAI': 'tai', 'TT': 'tt'}
# Where JSOC has no time, it writes the first day of the Julian calendar, or that of its own.
MISSING = re.compile(r'-4712.*|1977\.01\.01_00:00:00.*|missing|unknown|nan|n/a', re.IGNORECASE)
SAME_CLOCK_S = 60.0  # Two clocks of one header that differ by less are the same, rounded.

_CLOCK = r'(\d\d?:\d\d(?::\d\d(?:\.\d*)?)?)'
_DATE = r'(\d{4})[./-](\d\d?)[./-](\d\d?)'
_TIME = re.compile(rf'{_DATE}(?:[_T ]+{_CLOCK})?(?:[_ ]?(TAI|UTC|UT|TT|GMT|Z))?', re.IGNORECASE)


class DayAlone(UserError):
  """A time keyword that names a day, and no time of day."""


def parse_time(text: str, scale: str = 'utc', clock: str | None = None) -> Time:
  """Reads an ISO time or a JSOC one (`2011.02.14_20:35:15_TAI`).

  Args:
    text: The time; a trailing `_TAI`, `_UTC`, `UT` or `Z` names its scale.
    scale: Its scale where it names none.
    clock: The time of day, where `text` may be the date alone.

  Raises:
    DayAlone: The time of day lacks.
    UserError: It is no time, or the time of day is told twice.
  """
  match = _TIME.fullmatch(text.strip())
  if not match:
    raise UserError(f'{text!r} is not a time; write it as 2011-02-14T20:35:15, or as JSOC does.')
  year, month, day, own_clock, named = match.groups()
  if clock:
    own_clock = _one_clock(own_clock, clock.strip().rstrip('Zz'))
  if not own_clock:
    raise DayAlone(f'{text!r} is a day without a time of day; write it as 2011-02-14T20:35:15.')
  scale = SCALES[named.upper()] if named else scale
  try:
    datetime.date(int(year), int(month), int(day))
    hours, minutes = own_clock.split(':', 1)
    return Time(f'{year}-{int(month):02d}-{int(day):02d}T{int(hours):02d}:{minutes}', scale=scale, format='isot').utc
  except ValueError as error:
    raise UserError(f'{text!r} with the time of day {own_clock} is not a time.') from error


def _one_clock(own: str | None, other: str) -> str:
  """Returns the time of day that a date has with it, or that of a card of its own.

  A date at midnight, to the second, is one without a time of day.
  """
  if not re.fullmatch(_CLOCK, other):
    raise UserError(f'{other!r} is no time of day; write it as 20:35:15.')
  if not own or _seconds(own) == 0:
    return other
  if abs(_seconds(own) - _seconds(other)) > SAME_CLOCK_S:
    raise UserError(f'{own} and {other} are two times of day; remove the wrong one.')
  return own


def _seconds(clock: str) -> float:
  return sum(float(part or 0) * 60**power for part, power in zip(clock.split(':'), (2, 1, 0), strict=False))


def observation_time(cards: Cards) -> Time | None:
  """Returns the middle of an observation, or the time nearest to it that the header tells; None where it tells none.

  Raises:
    UserError: A time cannot be read, none is more than a day, or two of them are those of different observations.
  """
  told = _times(cards, (*MIDDLE, 'DATE-BEG', 'DATE-END'))
  half_hours = 0.0
  if 'DATE-BEG' in told and 'DATE-END' in told:
    start, end = told['DATE-BEG'], told['DATE-END']
    half_hours = (end - start).to_value('hour') / 2
    if half_hours < 0:
      raise UserError(f'{cards.path} contradicts itself: DATE-END lies before DATE-BEG.')
    told[BETWEEN] = start + (end - start) / 2
  told.pop('DATE-END', None)
  if not told:
    return _julian_time(cards)
  first, last = (pick(told, key=lambda keyword: told[keyword].mjd) for pick in (min, max))
  if (told[last] - told[first]).to_value('hour') > max(LONGEST_SPREAD_HOURS, half_hours):
    raise UserError(
      f'{cards.path} contradicts itself: {first} is {told[first].isot} and {last} is {told[last].isot}; remove the '
      'wrong card.'
    )
  return told[next(keyword for keyword in (*MIDDLE, 'DATE-BEG') if keyword in told)]


def first_frame_time(cards: Cards) -> Time | None:
  """Returns the midpoint of the first frame of a cube, None where the header does not tell; raises as the others."""
  told = _times(cards, FIRST_FRAME)
  return next(iter(told.values())) if told else _julian_time(cards)


def _times(cards: Cards, keywords: tuple[str, ...]) -> dict[str, Time]:
  """Returns the times that some keywords tell, in their order; a day alone counts only where that is all there is."""
  told, incomplete = {}, None
  for keyword in keywords:
    try:
      time = _time_of(cards, keyword)
    except DayAlone as error:
      incomplete = incomplete or error
    else:
      if time is not None:
        told[keyword] = time
  if incomplete and not told:
    raise incomplete
  return told


def _time_of(cards: Cards, keyword: str) -> Time | None:
  """Returns the time that a keyword gives, None where it gives none.

  Raises:
    UserError: It cannot be read, or is in a scale that is not known.
  """
  if keyword not in cards.values:
    return None
  text = cards.text(keyword)
  if MISSING.fullmatch(text):
    return None
  clock = cards.first(*CLOCKS.get(keyword, ()))
  try:
    return parse_time(text, _scale(cards), cards.text(clock) if clock else None)
  except UserError as error:
    raise type(error)(f'{cards.path}, keyword {keyword}: {error}') from error


def _julian_time(cards: Cards) -> Time | None:
  """Returns the time that is told as a modified Julian date alone, None where none is."""
  keyword = cards.first(*JULIAN)
  if keyword is None:
    return None
  day = cards.number(keyword)
  if not FIRST_MJD < day < LAST_MJD:
    raise UserError(f'{cards.path} has {keyword} = {day:g}, which is no modified Julian date of our time.')
  if day.is_integer():
    raise UserError(f'{cards.path} has {keyword} = {day:g}, a day without a time of day; set DATE-OBS.')
  return Time(day, format='mjd', scale=_scale(cards)).utc


def _scale(cards: Cards) -> str:
  """Returns the scale of times that do not name their own."""
  named = (cards.text('TIMESYS') or 'UTC').upper()
  if named not in SCALES:
    raise UserError(f'{cards.path} has TIMESYS {named!r}; known are {", ".join(SCALES)}.')
  return SCALES[named]
