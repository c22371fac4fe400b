"""Frames of a Sun that turns, whose field is a function of heliographic position."""

import pathlib
from collections.abc import Callable

import numpy as np
from astropy.io import fits

from hearjax.observe.sources.frames import Frame
from hearjax.solar import SYNODIC_DAYS
from tests.real_maps import disk_positions

FIRST_MJD = 56717.0  # 2014-03-01, when the real header is from.
BLANK = -(2**31)


def mu_at(header: fits.Header, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  """Returns the cosine of the angle between places on the Sun [deg] and the middle of the disk."""
  return cosine_between(longitude, latitude, (header['CRLN_OBS'], header['CRLT_OBS']))


def cosine_between(longitude: np.ndarray, latitude: np.ndarray, place: tuple[float, float]) -> np.ndarray:
  """Returns the cosine of the angle between places on the Sun [deg]: the spherical law of cosines."""
  latitude, latitude_0, east = (np.deg2rad(angle) for angle in (latitude, place[1], longitude - place[0]))
  return np.sin(latitude) * np.sin(latitude_0) + np.cos(latitude) * np.cos(latitude_0) * np.cos(east)


def turned(header: fits.Header, days: float, **cards) -> fits.Header:
  """Returns the header of a full disk some days later: the Sun has turned, and B0 and the distance have changed."""
  header = header.copy()
  header['CRLN_OBS'] = (header['CRLN_OBS'] - 360 / SYNODIC_DAYS * days) % 360
  header['CRLT_OBS'] += 0.02 * days
  header['DSUN_OBS'] += 4e7 * days
  for key in ('T_OBS', 'T_REC', 'DATE-OBS', 'RSUN_OBS'):
    header.remove(key, ignore_missing=True)
  header['MJD-OBS'] = FIRST_MJD + days + 1e-6
  header.update(cards)
  return header


def write_turned(
  path: pathlib.Path,
  header: fits.Header,
  field_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
  days: float = 0.0,
  noise: float = 0.0,
  **cards,
) -> Frame:
  """Writes a frame as HMI's are: integers of 0.1 G, every row a tile of its own.

  Args:
    path: Where.
    header: A full disk's.
    field_of: Takes Carrington longitude and latitude `[y, x]` [deg], returns the field there [G].
    days: How long after the header's time.
    noise: Standard deviation of noise [G], the same for the same time.
    **cards: Cards to set.
  """
  header = turned(header, days, **cards)
  size = 2 * round(header['CRPIX1'] - 0.5)
  field = field_of(*disk_positions(header, size))
  field += noise * np.random.default_rng(round(days * 1e4)).normal(size=field.shape)
  whole = np.where(np.isfinite(field), np.round(np.nan_to_num(field) / 0.1), BLANK).astype(np.int32)
  hdu = fits.CompImageHDU(whole, header, compression_type='RICE_1', tile_shape=(1, size))
  hdu.header.update({'BLANK': BLANK, 'BSCALE': 0.1, 'BZERO': 0.0})
  hdu.writeto(path)
  return Frame(str(path), FIRST_MJD + days, int(header.get('QUALITY', 0)))
