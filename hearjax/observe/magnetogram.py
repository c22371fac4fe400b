"""Reading real magnetograms: a file becomes a sunpy Map that is complete and in Gauss. Needs the extra `sun`."""

import os
import pathlib
import warnings
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from sunpy.map import GenericMap, Map
from sunpy.map.mapbase import MapMetaValidationError
from sunpy.util.exceptions import SunpyMetadataWarning

from hearjax.checks import UserError
from hearjax.survey.headers import is_gauss, quality_bits

SOLAR_AXES = ('HPLN', 'HPLT', 'CRLN', 'CRLT', 'HGLN', 'HGLT')
EARTH_NOTE = 'observer not in the header, Earth assumed'
# JSOC writes the unit of one segment of several as `_BUNIT`.
UNIT_KEYWORDS = ('BUNIT', '_BUNIT')


# --- Reading ----------------------------------------------------------------------------------------------------


def read_magnetogram(path: str | os.PathLike) -> GenericMap:
  """Reads a line-of-sight magnetogram: the first two-dimensional image of a FITS file, compressed or not.

  The header of the map is completed: BUNIT is `G`, QUALITY an integer (0 where the file has none), and where it does
  not say where the observer was, Earth is written in and `meta['notes']` says so. Positions follow L0 of the header;
  in the HMI headers that we compared it is 0.07 deg (half a pixel of a patch) larger than that of Earth's ephemeris.

  Args:
    path: FITS file, helioprojective (HPLN/HPLT) or heliographic (CRLN/CRLT, HGLN/HGLT).

  Returns:
    A sunpy Map, float32 data [G], NaN where blank.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is not FITS, is damaged, holds no image or a blank one, or the header lacks the unit, the
      coordinates or the date; or it is a synoptic map, which shows no single moment.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  data, header = _read_image(path)
  if not np.isfinite(data).any():
    raise UserError(f'{path} is blank: no pixel of its image is a number.')
  header['bunit'] = _field_unit(path, header)
  header['quality'] = quality_bits(path, header)
  _check_coordinates(path, header, data.shape)
  if header.get('t_obs'):
    header.setdefault('date-avg', header['t_obs'])  # JSOC: the middle of the observation.
  return _create_map(path, data, header)


def _read_image(path: pathlib.Path) -> tuple[np.ndarray, dict[str, Any]]:
  try:
    with warnings.catch_warnings():
      warnings.filterwarnings('error', 'File may have been truncated', AstropyUserWarning)
      warnings.simplefilter('ignore', fits.verify.VerifyWarning)  # Odd cards beside those that are read here.
      with path.open('rb') as file, fits.open(file, memmap=False) as hdus:
        for hdu in hdus:
          if hdu.is_image and hdu.header.get('NAXIS') == 2:
            return hdu.data.astype(np.float32), _parse_header(hdu.header)
  except Exception as error:  # Truncation and damage come as many types; all mean the same to the user.
    raise UserError(f'{path} cannot be read as FITS, it may be damaged or incomplete: {error}') from error
  raise UserError(f'{path} holds no two-dimensional image.')


def _parse_header(header: fits.Header) -> dict[str, Any]:
  """Returns the cards by lower-case keyword, without commentary, empty cards and those that break the FITS standard.

  SHARP headers of JSOC hold such cards, for example `R_VALUE = nan`.
  """
  parsed = {}
  for card in header.cards:
    try:
      value = card.value
    except fits.VerifyError:
      continue
    if card.keyword not in ('', 'COMMENT', 'HISTORY') and not isinstance(value, fits.card.Undefined):
      parsed[card.keyword.lower()] = value
  return parsed


def _field_unit(path: pathlib.Path, header: dict[str, Any]) -> str:
  found = next((str(header[key.lower()]) for key in UNIT_KEYWORDS if header.get(key.lower())), None)
  if found is None:
    raise UserError(f'{path} does not say its unit (BUNIT); add it to the header: Gauss or Mx/cm^2.')
  if not is_gauss({'BUNIT': found}):
    raise UserError(f'{path} has BUNIT {found!r}; a magnetogram in Gauss or Mx/cm^2 is needed.')
  return 'G'


def _check_coordinates(path: pathlib.Path, header: dict[str, Any], shape: tuple[int, int]) -> None:
  axes = [str(header.get(key, '')) for key in ('ctype1', 'ctype2')]
  if any(axis[:4] not in SOLAR_AXES for axis in axes):
    raise UserError(
      f'{path} has the axes {axes[0]!r} and {axes[1]!r} (CTYPE1, CTYPE2); solar coordinates are needed: '
      'HPLN/HPLT, CRLN/CRLT or HGLN/HGLT.'
    )
  scale = ('cd1_1', 'cd2_2') if 'cd1_1' in header else ('cdelt1', 'cdelt2')
  needed = ('crpix1', 'crpix2', 'crval1', 'crval2', 'cunit1', 'cunit2', *scale)
  absent = [key.upper() for key in needed if key not in header]
  if absent:
    raise UserError(f'{path} lacks {", ".join(absent)}: without them its pixels have no place on the Sun.')
  units = [u.Unit(header[key], parse_strict='silent') for key in ('cunit1', 'cunit2')]
  if not all(unit.is_equivalent(u.deg) for unit in units):
    raise UserError(f'{path} has axes in {units[0]} and {units[1]} (CUNIT1, CUNIT2); units of angle are needed.')
  if axes[0].startswith(('CRLN', 'HGLN')) and abs(header[scale[0]]) * shape[1] * units[0] > 180 * u.deg:
    raise UserError(f'{path} covers more than half the circumference: a synoptic map, which shows no single moment.')


def _create_map(path: pathlib.Path, data: np.ndarray, header: dict[str, Any]) -> GenericMap:
  try:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always', SunpyMetadataWarning)
      magnetogram = Map(data, header)
      observer = magnetogram.observer_coordinate
      usable = magnetogram.wcs.has_celestial and np.all(np.isfinite(observer.cartesian.xyz))
  except (MapMetaValidationError, ValueError, TypeError) as error:
    raise UserError(f'{path} has a header that cannot be understood: {error}') from error
  # Where sunpy warns, it puts in the present time, and Earth.
  if any('observation time' in str(warning.message) for warning in caught):
    raise UserError(f'{path} does not say when it was observed, or not legibly; set DATE-OBS in the header.')
  if not usable:
    raise UserError(f'{path} has no usable coordinates: the observer or the celestial WCS is not valid.')
  if any('observer' in str(warning.message) for warning in caught):
    magnetogram.meta['notes'] = EARTH_NOTE
    magnetogram.meta['hgln_obs'] = observer.lon.to_value(u.deg)
    magnetogram.meta['hglt_obs'] = observer.lat.to_value(u.deg)
    magnetogram.meta['dsun_obs'] = observer.radius.to_value(u.m)
  return magnetogram
