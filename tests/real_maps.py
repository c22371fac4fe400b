"""Real magnetograms of the tests, full disks whose every pixel is known, and plain geometry to check them with."""

import pathlib

import numpy as np
from astropy.io import fits

from hearjax.solar import SOLAR_RADIUS_MM

DATA = pathlib.Path(__file__).parent / 'data'
CUTOUT = DATA / 'hmi.M_45s.20110214_203515_TAI.cutout_ar11158.fits'
FULL_DISK = DATA / 'resampled_hmi.fits'
SHARP_11158, SHARP_14159, SHARP_14182, SHARP_14237, SHARP_14243 = (
  DATA / f'hmi.sharp_cea_720s.{name}_TAI.magnetogram.fits'
  for name in (
    '377.20110215_020000',
    '13561.20250727_150000',
    '13641.20250817_150000',
    '13845.20250930_150000',
    '13866.20251009_140000',
  )
)
SHARPS = (SHARP_11158, SHARP_14159, SHARP_14182, SHARP_14237, SHARP_14243)
CENTRE_11158 = (34.9, -20.5)  # Carrington longitude and latitude [deg].
DEGREES_PER_PIXEL = np.rad2deg(1.39 / SOLAR_RADIUS_MM)


def edited(source: pathlib.Path, path: pathlib.Path, **cards) -> pathlib.Path:
  """Copies a file, uncompressed, with cards set, or removed for None."""
  with fits.open(source, ignore_blank=True) as hdus:
    hdu = next(hdu for hdu in hdus if hdu.header['NAXIS'] == 2)
    header = fits.Header()
    for key in ('CTYPE', 'CUNIT', 'CRPIX', 'CRVAL', 'CDELT'):
      for axis in '12':
        header[key + axis] = hdu.header[key + axis]
    for key in ('CROTA2', 'CRLN_OBS', 'CRLT_OBS', 'DSUN_OBS', 'RSUN_REF', 'DATE-OBS', 'T_OBS', 'INSTRUME', 'QUALITY'):
      header[key] = hdu.header[key]
    header['BUNIT'] = 'Gauss'
    for key, value in cards.items():
      key = key.replace('_OBS', '-OBS') if key == 'DATE_OBS' else key
      if value is None:
        header.remove(key, ignore_missing=True)
      else:
        header[key] = value
    fits.PrimaryHDU(hdu.data.astype(np.float32), header).writeto(path)
  return path


def disk_positions(header: fits.Header, size: int = 1000) -> tuple[np.ndarray, np.ndarray]:
  """Returns Carrington longitude and latitude [deg] of every pixel, NaN off the disk: rays that meet a sphere.

  Written without sunpy. The image plane is tangential; light travel time is in CRLN_OBS already.
  """
  index = np.arange(1, size + 1)
  roll = np.deg2rad(header['CROTA2'])
  x, y = np.meshgrid(header['CDELT1'] * (index - header['CRPIX1']), header['CDELT2'] * (index - header['CRPIX2']))
  x, y = np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y
  # CRVAL is a few arcsec, where the rotation to the reference point is a shift to 1e-8.
  x, y = (np.deg2rad((value + header[key]) / 3600) for value, key in ((x, 'CRVAL1'), (y, 'CRVAL2')))
  norm = np.sqrt(1 + x**2 + y**2)
  distance = header['DSUN_OBS'] / header['RSUN_REF']
  with np.errstate(invalid='ignore'):
    along = distance / norm - np.sqrt(1 - distance**2 * (1 - 1 / norm**2))
  west, north, towards = along * x / norm, along * y / norm, distance - along / norm
  b0 = np.deg2rad(header['CRLT_OBS'])
  latitude = np.rad2deg(np.arcsin(north * np.cos(b0) + towards * np.sin(b0)))
  longitude = np.rad2deg(np.arctan2(west, towards * np.cos(b0) - north * np.sin(b0))) + header['CRLN_OBS']
  return longitude, latitude


def distance_mm(longitude, latitude, centre) -> np.ndarray:
  """Returns the great-circle distance from `centre` [Mm]; the haversine formula."""
  lat, lat0 = np.deg2rad(latitude), np.deg2rad(centre[1])
  half = np.deg2rad(np.asarray(longitude) - centre[0]) / 2
  root = np.sqrt(np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin(half) ** 2)
  return 2 * SOLAR_RADIUS_MM * np.arcsin(root)


def write_disk(path: pathlib.Path, header: fits.Header, field: np.ndarray) -> pathlib.Path:
  fits.PrimaryHDU(field.astype(np.float32), header).writeto(path)
  return path
