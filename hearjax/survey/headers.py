"""The one reader of FITS headers: what a card says is used or refused, never dropped.

`read_cards` gathers the keywords of an image and those that it inherits; asking `Cards` for one of them refuses what
contradicts itself or cannot be read. What nobody asks for may be as odd as it likes.
"""

import contextlib
import dataclasses
import math
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from hearjax.checks import UserError

# Without blanks, in small letters.
GAUSS_UNITS = (
  'gauss',
  'g',
  'gs',
  *(
    f'{maxwell}{area}'
    for maxwell in ('mx', 'maxwell')
    for area in ('/cm^2', '/cm2', '/cm**2', 'cm-2', 'cm^-2', 'cm**-2', '.cm-2', '.cm**-2')
  ),
)
OTHER_FIELD_UNITS = ('kg', 'kgauss', 'mg', 't', 'tesla', 'mt', 'ut', 'nt')
# JSOC writes the unit of one segment of several as `_BUNIT`.
UNIT_KEYWORDS = ('BUNIT', '_BUNIT')
# Names (EXTNAME) of images that stand beside a field.
BESIDE = re.compile(
  r'err|(^|[^a-z])(std(dev|ev)?|sigma|unc(ert\w*)?|noise|rms|var(iance)?|ivar|weights?|conf(id)?\w*|masks?|bitmap|dq|'
  r'flags?|qual\w*|coverage|inclination|azimuth|disambig)([^a-z]|$)'
)
SCALINGS = ('BSCALE', 'BZERO', 'BLANK')
DAMAGE = 'File may have been truncated|Checksum verification failed|Datasum verification failed|Error validating header'
_HEXADECIMAL = re.compile(r'0[xX][0-9a-fA-F]+|[0-9a-fA-F]{8}')


@contextlib.contextmanager
def told_as_damage(path: pathlib.Path) -> Iterator[None]:
  """Turns what astropy raises or warns of where a file is damaged, which is of many types, into a UserError.

  What the system raises (not there, not allowed, disk full) keeps its type and names the file.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', fits.verify.VerifyWarning)  # Odd cards are no damage; those used are checked.
      warnings.filterwarnings('error', DAMAGE, AstropyUserWarning)  # It is only warned of.
      yield
  except (UserError, MemoryError):
    raise
  except Exception as error:
    if isinstance(error, OSError) and error.errno:
      raise type(error)(f'Cannot read {path}: {error.strerror}.') from error
    raise UserError(f'{path} is truncated or damaged: {error}') from error


@dataclasses.dataclass(frozen=True)
class Unreadable:
  """A card that breaks the FITS standard, such as `CROTA2 = nan`."""

  image: str

  def __repr__(self) -> str:
    return self.image


@dataclasses.dataclass(frozen=True)
class Cards:
  """The keywords of an image.

  Attributes:
    path: Its file, for the sentences of errors.
    values: Keyword, in capitals -> the different values that the header gives it.
  """

  path: pathlib.Path
  values: Mapping[str, tuple[Any, ...]]

  def get(self, keyword: str) -> Any:
    """Returns the value of a keyword; None where the header has none, or an empty one.

    Raises:
      UserError: The header contradicts itself, or breaks the FITS standard there.
    """
    values = self.values.get(keyword, ())
    if len(values) > 1:
      told = ' and '.join(map(repr, values))
      raise UserError(f'{self.path} contradicts itself: {keyword} is {told}; remove the wrong card.')
    value = values[0] if values else None
    if isinstance(value, Unreadable):
      raise UserError(f'{self.path} has a card that cannot be read, {value!r}; write {keyword} as FITS has it.')
    return value

  def number(self, keyword: str) -> float | None:
    """Returns the finite number that a keyword gives, also as text; None where there is none.

    Raises:
      UserError: It is no finite number, or as for `get`.
    """
    value = self.get(keyword)
    try:
      number = None if value is None else float(value)
    except (TypeError, ValueError):
      number = math.nan
    if number is not None and (isinstance(value, bool) or not math.isfinite(number)):
      raise UserError(f'{self.path} has {keyword} = {value!r}; a number is needed, mend the card.')
    return number

  def text(self, keyword: str) -> str | None:
    """Returns what a keyword says as text, without blanks around it; None where there is none; raises as `get`."""
    value = self.get(keyword)
    return None if value is None else str(value).strip()

  def first(self, *keywords: str) -> str | None:
    """Returns the first of some keywords that the header has, None where it has none of them."""
    return next((keyword for keyword in keywords if self.values.get(keyword)), None)


def read_cards(path: pathlib.Path, header: fits.Header, primary: fits.Header | None = None) -> Cards:
  """Gathers the keywords of an image.

  Args:
    path: Its file.
    header: Its header.
    primary: The primary header, where the image is an extension: where that one has no image of its own, the
      extension inherits what it does not say itself (FITS Standard 4.0, appendix K), unless it says INHERIT = F.
  """
  cards = _distinct_values(header)
  if primary is not None and primary.get('NAXIS') == 0 and cards.get('INHERIT') not in ((False,), ('F',)):
    cards = _distinct_values(primary) | cards
  return Cards(path, cards)


def _distinct_values(header: fits.Header) -> dict[str, tuple[Any, ...]]:
  found: dict[str, tuple[Any, ...]] = {}
  for card in header.cards:
    if card.keyword in ('', 'COMMENT', 'HISTORY'):
      continue
    try:
      value = card.value
    except fits.VerifyError:  # Headers of SHARPs from JSOC hold such cards, for example `R_VALUE = nan`.
      value = Unreadable(card.image.strip())
    if isinstance(value, fits.card.Undefined) or (isinstance(value, str) and not value.strip()):
      continue
    known = found.get(card.keyword.upper(), ())
    if value not in known:
      found[card.keyword.upper()] = (*known, value)
  return found


def find_field(path: pathlib.Path, hdus: fits.HDUList, axes: tuple[str, ...]) -> tuple[fits.ImageHDU, Cards]:
  """Returns the one image of a field in a file, and its keywords.

  Args:
    path: The file.
    hdus: What is in it.
    axes: The axes that the image must have; leading ones of length 1 are left out.

  Raises:
    UserError: There is none, or several images may be it (one that is called an error or a mask, or that is in the
      unit of another quantity, is not); it has other axes; or it says in two ways how its numbers are scaled.
  """
  images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape or ()) >= 2]
  cards = [read_cards(path, hdu.header, None if hdu is hdus[0] else hdus[0].header) for hdu in images]
  names = [one.text('EXTNAME') or 'without a name' for one in cards]
  fields = [n for n, one in enumerate(cards) if _may_be_field(one) and not BESIDE.search(names[n].lower())]
  if images and not any(map(_may_be_field, cards)):
    fields = [0]  # Whoever asked refuses its unit.
  if len(fields) != 1:
    raise UserError(
      f'{path} must hold one image of a field; of its {len(images)} images ({", ".join(names) or "none"}) '
      f'{len(fields)} may be it: keep that one, or say with EXTNAME what the others are (ERROR, MASK).'
    )
  hdu, found = images[fields[0]], cards[fields[0]]
  shape = hdu.shape
  while len(shape) > len(axes) and shape[0] == 1:
    shape = shape[1:]
  if len(shape) != len(axes):
    raise UserError(f'{path} must hold an image with the axes [{", ".join(axes)}], got shape {hdu.shape}.')
  for keyword in SCALINGS:
    if isinstance(found.get(keyword), str):
      raise UserError(f'{path} has {keyword} = {found.get(keyword)!r}; a number is needed, mend the card.')
  return hdu, found


def _may_be_field(cards: Cards) -> bool:
  """Says whether the unit of an image is that of a magnetic field, in gauss or not, or is not told."""
  unit = field_unit(cards)
  return unit is None or bool(is_gauss(cards)) or unit.lower() in OTHER_FIELD_UNITS


def is_gauss(cards: Cards) -> bool | None:
  """Returns whether BUNIT is one of the spellings of gauss (1 G = 1 Mx/cm^2); None where the header has no unit."""
  unit = field_unit(cards)
  return None if unit is None else unit.lower().replace(' ', '') in GAUSS_UNITS


def field_unit(cards: Cards) -> str | None:
  """Returns the unit of the image as the header has it, None where it has none."""
  keyword = cards.first(*UNIT_KEYWORDS)
  return cards.text(keyword) if keyword else None


def quality_bits(cards: Cards) -> int:
  """Returns QUALITY, 0 where the header has none: a whole number of any type, or text, decimal or hexadecimal.

  JSOC prints it as 0x00010400. Eight digits are taken for the same without 0x: nobody fills decimals up with zeros.

  Raises:
    UserError: It is no whole number.
  """
  value = cards.get('QUALITY')
  if value is None:
    return 0
  if isinstance(value, str) and _HEXADECIMAL.fullmatch(value.strip()):
    return int(value, 16)
  try:
    number = math.nan if isinstance(value, bool) else float(value)
  except ValueError:
    number = math.nan
  if not (number.is_integer() and -(2**31) <= number < 2**32):
    raise UserError(f'{cards.path} has QUALITY {value!r}; a whole number is needed, of 32 bits.')
  return int(number)
