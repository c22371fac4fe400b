"""A full disk made from a synoptic map of the radial field: what an observer on the Earth would see of it.

It is no observation. A synoptic map joins what passed the central meridian in the 27 days of a rotation, so that its
disk is that of no single moment; and a pixel of 0.35 deg is 4.3 Mm at the equator, three pixels of a patch. It is good
for a look at the whole way from a disk to a map, on real flux.
"""

import pathlib

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from scipy.ndimage import map_coordinates
from sunpy.coordinates import get_earth, sun
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.files import write_whole
from hearjax.observe.postel import carrington_positions, mu_of
from hearjax.solar import SOLAR_RADIUS_MM

DEFAULT_SIZE = 1024  # [px] Of the disk: 1.4 Mm per pixel at its centre, finer than the map.
LIMB_SHARE = 0.96  # Of half the side of the image that the radius of the disk takes.
AXIS_TOLERANCE = 0.02  # Share of the step by which an axis may miss even spacing.
NOTE = (
  'made from a synoptic map of the radial field: of no single moment, and its pixels of {step:.2f} deg are coarser '
  'than those of a patch'
)


def read_synoptic(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Reads a synoptic map as HipFT and predsci's tools write it: HDF5 with `Data` and an axis for each dimension.

  Args:
    path: HDF5 file: `Data` `[colatitude, longitude]` [G], `dim1` longitude from 0 to 2 pi and `dim2` colatitude from 0
      at the north pole to pi [rad].

  Returns:
    `[latitude, longitude]` radial field [G] from south to north, latitude and longitude (Carrington) [deg].

  Raises:
    FileNotFoundError: There is no such file.
    UserError: h5py is not installed, or the file is no such map.
  """
  try:
    import h5py  # Only here: no other file of this kind is read.
  except ImportError as error:
    raise UserError('h5py is not installed, and synoptic maps need it: pip install h5py.') from error
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no synoptic map {path}.')
  try:
    with h5py.File(path, 'r') as file:
      field, longitude, colatitude = (np.asarray(file[name][...], float) for name in ('Data', 'dim1', 'dim2'))
  except (OSError, KeyError) as error:
    raise UserError(f'{path} is no synoptic map in HDF5 with Data, dim1 and dim2 ({error}).') from error
  if field.ndim != 2 or field.shape != (*colatitude.shape, *longitude.shape):
    raise UserError(
      f'{path} must hold a map [colatitude, longitude]; got {field.shape} for axes of {colatitude.shape} and '
      f'{longitude.shape}.'
    )
  for name, axis, end in (('longitude', longitude, 2 * np.pi), ('colatitude', colatitude, np.pi)):
    step = np.diff(axis)
    even = np.allclose(step, step.mean(), rtol=AXIS_TOLERANCE, atol=0)
    if not (even and abs(axis[0]) <= step.mean() and abs(axis[-1] - end) <= 1.01 * step.mean()):
      raise UserError(
        f'{path}: its {name} must go evenly from 0 to {end:.4f} rad; got {axis[0]:.4f} to {axis[-1]:.4f}.'
      )
  if not np.isfinite(field).all():
    raise UserError(f'{path} has {np.sum(~np.isfinite(field))} missing pixels; fill them before.')
  return field[::-1], 90 - np.rad2deg(colatitude[::-1]), np.rad2deg(longitude)


def synoptic_disk(path: pathlib.Path, date: Time, size: int = DEFAULT_SIZE) -> GenericMap:
  """Makes the line-of-sight magnetogram that an observer on the Earth would have seen of a radial field.

  The field is taken as radial everywhere, so that its component along the line of sight is that times mu.

  Args:
    path: The synoptic map (`read_synoptic`).
    date: When the disk is seen; its rotation should be that of the map.
    size: Side of the image [px].

  Returns:
    A sunpy Map like one of `read_magnetogram`: float32 field [G], NaN off the disk, solar north up, QUALITY 0 and what
    it is in `meta['notes']`.

  Raises:
    FileNotFoundError, UserError: As `read_synoptic`; or the image has no pixel.
  """
  if size < 2:
    raise UserError(f'An image of {size} px cannot be made.')
  field, latitude, longitude = read_synoptic(path)
  header = disk_header(date, size)
  header['NOTES'] = NOTE.format(step=float(longitude[1] - longitude[0]))
  disk = GenericMap(np.zeros((size, size), np.float32), header)
  y, x = np.indices((size, size)).astype(float)
  seen_longitude, seen_latitude = carrington_positions(disk, x, y)
  on_disk = np.isfinite(seen_longitude)
  lon, lat = seen_longitude[on_disk] % 360, seen_latitude[on_disk]
  if longitude[-1] < 360 - 1e-3:  # The last meridian is not the first one again.
    field, longitude = np.column_stack([field, field[:, :1]]), np.append(longitude, longitude[0] + 360)
  at = np.stack(
    [(lat - latitude[0]) / (latitude[1] - latitude[0]), (lon - longitude[0]) / (longitude[1] - longitude[0])]
  )
  radial = map_coordinates(field, at, order=1, mode='nearest')
  data = np.full((size, size), np.nan, np.float32)
  data[on_disk] = radial * np.maximum(mu_of(disk, lon, lat), 0)
  return GenericMap(data, header)


def disk_header(date: Time, size: int) -> fits.Header:
  """Returns the header of a full disk of `size` x `size` px seen from the Earth, solar north up."""
  earth = get_earth(date)
  distance = earth.radius.to_value(u.m)
  radius = float(np.rad2deg(np.arcsin(SOLAR_RADIUS_MM * 1e6 / distance))) * 3600
  header = fits.Header()
  for axis, name in (('1', 'HPLN-TAN'), ('2', 'HPLT-TAN')):
    header[f'CTYPE{axis}'], header[f'CUNIT{axis}'] = name, 'arcsec'
    header[f'CRPIX{axis}'], header[f'CRVAL{axis}'] = (size + 1) / 2, 0.0
    header[f'CDELT{axis}'] = radius / (LIMB_SHARE * size / 2)
  header['DATE-OBS'] = date.utc.isot
  header['HGLN_OBS'], header['HGLT_OBS'] = earth.lon.to_value(u.deg), earth.lat.to_value(u.deg)
  header['DSUN_OBS'], header['RSUN_REF'] = distance, SOLAR_RADIUS_MM * 1e6
  header['BUNIT'], header['QUALITY'] = 'G', 0
  return header


def rotation_of(date: Time) -> int:
  """Returns the number of the Carrington rotation at a time, seen from the Earth."""
  return int(sun.carrington_rotation_number(date))


def write_disk(path: pathlib.Path, disk: GenericMap) -> None:
  """Writes a disk as FITS, as `read_magnetogram` reads it; raises OSError where it cannot."""
  header = fits.Header()
  for key, value in disk.meta.items():
    header[key] = value
  hdu = fits.PrimaryHDU(disk.data, header)
  write_whole(path, lambda temporary: hdu.writeto(temporary, checksum=True, overwrite=True))
