"""What all FITS headers of the field are asked: whether the file is whole, its unit, its quality."""

import contextlib
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from hearjax.checks import UserError

GAUSS_UNITS = ('gauss', 'g', 'mx/cm^2', 'mx/cm2', 'mx/cm**2', 'mx cm-2', 'mx cm^-2', 'mx cm**-2', 'mx / cm2')


@contextlib.contextmanager
def told_as_damage(path: pathlib.Path) -> Iterator[None]:
  """Turns what astropy raises or warns of where a file is damaged, which is of many types, into a UserError.

  What the system raises (not there, not allowed, disk full) keeps its type and names the file.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', AstropyUserWarning)  # Truncation and wrong checksums are only warned of.
      yield
  except Exception as error:
    if isinstance(error, OSError) and error.errno:
      raise _refusal(path, error) from error
    raise UserError(f'{path} is truncated or damaged: {error}') from error


def _refusal(path: pathlib.Path, error: OSError) -> OSError:
  return type(error)(f'Cannot read {path}: {error.strerror}.')


def is_gauss(header: fits.Header) -> bool:
  """Returns whether BUNIT is one of the spellings of gauss (1 G = 1 Mx/cm^2)."""
  return str(header.get('BUNIT', '')).strip().lower() in GAUSS_UNITS


def quality_bits(path: pathlib.Path, header: Mapping[str, Any]) -> int:
  """Returns QUALITY, 0 where the header of the file has none; JSOC writes a number or hexadecimal text.

  Raises:
    UserError: It is no whole number.
  """
  try:
    return int(str(header.get('quality', 0)), 0)
  except ValueError as error:
    raise UserError(f'{path} has QUALITY {header["quality"]!r}; a whole number is needed.') from error
