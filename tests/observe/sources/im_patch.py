"""Frames as JSOC sends them: with checksums, and cut out as its im_patch does (https://github.com/lm-jps/proj)."""

import io
import pathlib

import numpy as np
from astropy.io import fits


def image_of(path: pathlib.Path) -> tuple[np.ndarray, fits.Header]:
  with fits.open(path) as hdus:
    hdu = next(one for one in hdus if one.is_image and one.header['NAXIS'] == 2)
    return hdu.data, hdu.header


def exported(path: pathlib.Path, process: dict[str, str]) -> bytes:
  """Returns a frame as JSOC sends it: with checksums, and the part of it that im_patch cuts out."""
  content = io.BytesIO()
  if not process:
    with fits.open(path, disable_image_compression=True) as hdus:
      hdus.writeto(content, checksum=True)
    return content.getvalue()
  data, header = cut_out(*image_of(path), process)
  fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header)]).writeto(content, checksum=True)
  return content.getvalue()


def cut_out(data: np.ndarray, header: fits.Header, process: dict[str, str]) -> tuple[np.ndarray, fits.Header]:
  """Cuts a rectangle of native pixels around a Carrington position out of a frame, and turns it if it lies upside down.

  Written after im_patch.c, except that CRVAL counts; its pixels are numbered from 0.
  """
  assert (process['locunits'], process['boxunits'], process['t']) == ('carrlong', 'arcsec', '0')
  assert int(process['car_rot']) > 0
  cdelt = header['CDELT1']
  x, y = (value - 1 for value in place_in_pixels(header, float(process['x']), float(process['y'])))
  reach = [-float(process[side]) / (2 * cdelt) for side in ('width', 'height')]
  shape = [int(1 - 2 * value) for value in reach]
  x1, y1 = round(x + reach[0]), round(y + reach[1])
  rows, columns = np.arange(y1, y1 + shape[1]), np.arange(x1, x1 + shape[0])
  patch = np.full((shape[1], shape[0]), np.nan, np.float32)
  inside = [(index >= 0) & (index < length) for index, length in zip((rows, columns), data.shape, strict=True)]
  patch[np.ix_(*inside)] = data[np.ix_(rows[inside[0]], columns[inside[1]])]
  header = header.copy()
  for key in ('BSCALE', 'BZERO', 'BLANK'):
    header.remove(key, ignore_missing=True)
  header['CRPIX1'] -= x1
  header['CRPIX2'] -= y1
  if abs(abs(header['CROTA2']) - 180) < 1:
    patch = patch[::-1, ::-1]
    header['CROTA2'] -= np.copysign(180, header['CROTA2'])
    header['CRPIX1'], header['CRPIX2'] = shape[0] + 1 - header['CRPIX1'], shape[1] + 1 - header['CRPIX2']
  return patch, header


def place_in_pixels(header: fits.Header, longitude: float, latitude: float) -> tuple[float, float]:
  """Returns where a Carrington position [deg] appears on a frame [px], counted from 1."""
  lon, lat, b0 = np.deg2rad([longitude - header['CRLN_OBS'], latitude, header['CRLT_OBS']])
  west = np.cos(lat) * np.sin(lon)
  north = np.sin(lat) * np.cos(b0) - np.cos(lat) * np.cos(lon) * np.sin(b0)
  towards = np.sin(lat) * np.sin(b0) + np.cos(lat) * np.cos(lon) * np.cos(b0)
  distance = header['DSUN_OBS'] / header.get('RSUN_REF', 6.957e8) - towards
  x, y = (np.rad2deg(value / distance) * 3600 - header[key] for value, key in ((west, 'CRVAL1'), (north, 'CRVAL2')))
  roll = np.deg2rad(header['CROTA2'])
  return (
    (x * np.cos(roll) + y * np.sin(roll)) / header['CDELT1'] + header['CRPIX1'],
    (y * np.cos(roll) - x * np.sin(roll)) / header['CDELT2'] + header['CRPIX2'],
  )
