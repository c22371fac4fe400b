"""Small full disks with headers as HMI's, for the tests of sources of frames."""

import pathlib

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

FIRST = Time('2011-02-14T20:00:00', scale='tai')  # T_REC of frame 0, a slot of 720 s.
CADENCE_S = 720.0
PLACE = (34.9, -20.5)  # Carrington longitude and latitude [deg] of the spot.
SIZE = 64
ROLL_DEG = 179.93
SLOW_RATE = 360 / 27.2753  # Of the longitude of the disk's centre [deg/day].


def slot(number: int) -> Time:
  """Returns T_REC of a frame."""
  return FIRST + number * CADENCE_S * u.s


def jsoc_text(time: Time) -> str:
  return time.tai.strftime('%Y.%m.%d_%H:%M:%S_TAI')


def frame_header(number: int = 0, size: int = SIZE, **cards) -> fits.Header:
  """Returns the header of a frame; cards are set, or removed for None."""
  time = slot(number)
  days = number * CADENCE_S / 86400
  header = fits.Header({'BUNIT': 'Gauss', 'TELESCOP': 'SDO/HMI', 'INSTRUME': 'HMI_SIDE1', 'CADENCE': CADENCE_S})
  header.update({'CTYPE1': 'HPLN-TAN', 'CTYPE2': 'HPLT-TAN', 'CUNIT1': 'arcsec', 'CUNIT2': 'arcsec'})
  header.update({'CRVAL1': 0.0, 'CRVAL2': 0.0, 'CRPIX1': (size + 1) / 2, 'CRPIX2': (size + 1) / 2})
  header.update({'CDELT1': 2000 / size, 'CDELT2': 2000 / size, 'CROTA2': ROLL_DEG})
  header.update({'CRLN_OBS': (24.9 - SLOW_RATE * days) % 360, 'CRLT_OBS': -6.8})
  header.update({'DSUN_OBS': 1.478e11, 'RSUN_REF': 6.957e8, 'QUALITY': 0})
  header['T_REC'], header['T_OBS'] = jsoc_text(time), jsoc_text(time + 8 * u.s)
  header['DATE-OBS'] = (time - 360 * u.s).utc.isot
  for key, value in cards.items():
    key = key.replace('DATE_OBS', 'DATE-OBS')
    header.remove(key, ignore_missing=True) if value is None else header.set(key, value)
  return header


def write_frame(path: pathlib.Path, number: int = 0, size: int = SIZE, **cards) -> pathlib.Path:
  """Writes a frame of noise, the number of the frame in its middle."""
  path.parent.mkdir(parents=True, exist_ok=True)
  data = np.random.default_rng(number).normal(0, 10, (size, size)).astype(np.float32)
  data[size // 2, size // 2] = number
  fits.PrimaryHDU(data, frame_header(number, size, **cards)).writeto(path, overwrite=True)
  return path


def write_frames(folder: pathlib.Path, numbers=range(8), **cards) -> pathlib.Path:
  """Writes frames `000.fits`, `001.fits` …"""
  for number in numbers:
    write_frame(folder / f'{number:03d}.fits', number, **cards)
  return folder
