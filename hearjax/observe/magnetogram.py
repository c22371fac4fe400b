"""Reading real magnetograms: a file becomes a sunpy Map that is complete and in Gauss. Needs the extra `sun`."""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from sunpy.coordinates import get_earth
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.observe.geometry import LENGTH_TOLERANCE, OBSERVER_TOLERANCE_DEG, standard_geometry
from hearjax.observe.times import observation_time
from hearjax.solar import wrap_degrees
from hearjax.survey.headers import Cards, field_unit, find_field, is_gauss, quality_bits, told_as_damage
from hearjax.survey.pixels import fill_value, lost_blanks, mask_lost

EARTH_NOTE = 'observer not in the header, Earth assumed'


def read_magnetogram(path: str | os.PathLike) -> GenericMap:
  """Reads a line-of-sight magnetogram: the one two-dimensional image of a field in a FITS file, compressed or not.

  The header of the map is made anew of what the file says (`observe.geometry`, `observe.times`), in the standard
  keywords; QUALITY is 0 where the file has none. Where it does not say where the observer was, Earth is written in.
  `meta['notes']` tells what was assumed, if anything. Positions follow L0 of the header; in the HMI headers that we
  compared it is 0.07 deg (half a pixel of a patch) larger than that of Earth's ephemeris.

  Args:
    path: FITS file, helioprojective (HPLN/HPLT) or heliographic (CRLN/CRLT, HGLN/HGLT).

  Returns:
    A sunpy Map, float32 data [G], NaN where blank, infinite, or no field (`survey.pixels`).

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is not FITS, is damaged, holds no image or a blank one or several; the header lacks the unit, the
      coordinates or the date, contradicts itself, or says something that is not understood; or it is a synoptic map,
      which shows no single moment.
  """
  return read_part(path)


def read_part(path: str | os.PathLike, window: Callable[[GenericMap], tuple[slice, slice]] | None = None) -> GenericMap:
  """Does what `read_magnetogram` does, with a part of the image; of a compressed image only its tiles are unpacked.

  Args:
    path: FITS file.
    window: Takes a map with the geometry of the whole image, whose data are NaN, and returns which rows and columns to
      read, or raises; None for all of them.

  Raises:
    FileNotFoundError, UserError: As for `read_magnetogram`, or as `window` does.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    hint = ' (it is a folder; name its files, "*.fits")' if path.is_dir() else ''
    raise FileNotFoundError(f'There is no file {path}{hint}.')
  with contextlib.ExitStack() as opened:
    with told_as_damage(path):
      hdus = opened.enter_context(fits.open(opened.enter_context(path.open('rb')), memmap=False))
      hdu, cards = find_field(path, hdus, axes=('y', 'x'))
      blanks = lost_blanks(hdu.header)  # Before the data are read: astropy then changes the header.
    header = _header(cards, hdu.shape[-2:])
    whole = _create_map(cards, np.broadcast_to(np.float32(np.nan), hdu.shape[-2:]), header)
    rows, columns = (slice(0, side) for side in hdu.shape[-2:]) if window is None else window(whole)
    with told_as_damage(path):
      data = hdu.section[(*[0] * (len(hdu.shape) - 2), rows, columns)]
  data = mask_lost(data, *blanks, fill_value(data))
  if not np.isfinite(data).any():
    raise UserError(f'{path} is blank{"" if window is None else " there"}: no pixel of its image is a number.')
  shifted = {'CRPIX1': header['CRPIX1'] - columns.start, 'CRPIX2': header['CRPIX2'] - rows.start}
  return GenericMap(data, header | shifted)


def _header(cards: Cards, shape: tuple[int, int]) -> dict[str, Any]:
  """Returns the header of an image in the standard keywords."""
  _check_unit(cards)
  geometry, notes = standard_geometry(cards, shape)
  time = observation_time(cards)
  if time is None:
    raise UserError(f'{cards.path} does not say when it was observed; set DATE-OBS in the header.')
  if not {'CRLT_OBS', 'HGLT_OBS'} & set(geometry):
    geometry |= _earth(cards, time, geometry.get('DSUN_OBS'))
    notes.append(EARTH_NOTE)
  header = {**geometry, 'DATE-OBS': time.utc.isot, 'BUNIT': 'G', 'QUALITY': quality_bits(cards)}
  return header | ({'NOTES': '; '.join(notes)} if notes else {})


def _check_unit(cards: Cards) -> None:
  if is_gauss(cards) is None:
    raise UserError(f'{cards.path} does not say its unit (BUNIT); add it to the header: Gauss or Mx/cm^2.')
  if not is_gauss(cards):
    raise UserError(f'{cards.path} has BUNIT {field_unit(cards)!r}; a magnetogram in Gauss or Mx/cm^2 is needed.')


def _earth(cards: Cards, time: Time, distance: float | None) -> dict[str, float]:
  """Returns the position of the Earth as keywords of the observer, whose distance must be Earth's where it is told."""
  earth = get_earth(time)
  own = earth.radius.to_value(u.m)
  if distance is not None and abs(distance / own - 1) > LENGTH_TOLERANCE:
    raise UserError(
      f'{cards.path} has an observer {distance:.4g} m from the Sun, where the Earth is not ({own:.4g} m), and does not '
      'say where he is; add CRLN_OBS and CRLT_OBS (in deg).'
    )
  return {
    'HGLN_OBS': earth.lon.to_value(u.deg),
    'HGLT_OBS': earth.lat.to_value(u.deg),
    'DSUN_OBS': own,
  }


def _create_map(cards: Cards, data: np.ndarray, header: dict[str, Any]) -> GenericMap:
  # Not by sunpy's factory: classes for single instruments read cards of their own.
  magnetogram = GenericMap(data, header)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error')  # Where sunpy warns, it assumes something.
      usable = magnetogram.wcs.has_celestial and np.all(np.isfinite(magnetogram.observer_coordinate.cartesian.xyz))
  except Exception as error:  # Of many types; all mean that the keywords do not fit together.
    raise UserError(f'{cards.path} has a header that cannot be understood: {error}') from error
  if not usable:
    raise UserError(f'{cards.path} has no usable coordinates: the observer or the celestial WCS is not valid.')
  _check_longitudes(cards, magnetogram)
  return magnetogram


def _check_longitudes(cards: Cards, magnetogram: GenericMap) -> None:
  """Refuses a header whose two longitudes of the observer are not those of one place at its time."""
  told = cards.number('HGLN_OBS')
  own = magnetogram.heliographic_longitude.to_value(u.deg)
  if told is not None and abs(wrap_degrees(told - own)) > OBSERVER_TOLERANCE_DEG:
    raise UserError(
      f'{cards.path} contradicts itself: HGLN_OBS is {told:g}, but CRLN_OBS at its time means {own:.2f}; remove the '
      'wrong card.'
    )
