"""Reading real magnetograms and mapping them to Postel patches, the maps that a survey holds.

A file becomes a sunpy Map that is complete and in Gauss (`read_magnetogram`); a map and a Carrington position become
a patch (`postel_patch`) on the grid of the survey archive. Needs the extra `sun`.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning
from reproject import reproject_adaptive
from sunpy.coordinates import HeliographicCarrington
from sunpy.map import GenericMap, Map
from sunpy.map.mapbase import MapMetaValidationError
from sunpy.util.exceptions import SunpyMetadataWarning, SunpyUserWarning

from hearjax.constants import DEFAULT_PIXEL_SCALE_MM, DEFAULT_SIZE
from hearjax.survey.archive import SOLAR_RADIUS_MM, is_gauss, postel_header, quality_bits

MAX_ANGLE_DEG = 75.0  # Our choice: beyond it foreshortening leaves an HMI pixel coarser than a pixel of the patch.
SOLAR_AXES = ('HPLN', 'HPLT', 'CRLN', 'CRLT', 'HGLN', 'HGLT')
EARTH_NOTE = 'observer not in the header, Earth assumed'
# JSOC writes the unit of one segment of several as `_BUNIT`.
UNIT_KEYWORDS = ('BUNIT', '_BUNIT')


@dataclasses.dataclass(frozen=True)
class Patch:
  """One Postel map of a place on the Sun, with what is known about it.

  Attributes:
    field: `[y, x]` line-of-sight field [G], float32, north up, west to the right; NaN where not observed.
    longitude, latitude: Heliographic (Carrington) position of the centre [deg], longitude from 0 to 360.
    cmd: Central-meridian distance of the centre [deg], positive west.
    mu: Cosine of the heliocentric angle of the centre.
    missing: Fraction of pixels that are NaN.
    quality: QUALITY bits of the frame, 0 for good.
    time: Time of the observation, ISO, UTC.
    pixel_scale_mm: Side of a pixel [Mm].
    file: Name of the file that it comes from.
    notes: What was assumed on the way, empty for nothing.
  """

  field: np.ndarray
  longitude: float
  latitude: float
  cmd: float
  mu: float
  missing: float
  quality: int
  time: str
  pixel_scale_mm: float
  file: str = ''
  notes: str = ''


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
    ValueError: It is not FITS, is damaged, holds no image or a blank one, or the header lacks the unit, the
      coordinates or the date; or it is a synoptic map, which shows no single moment.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  data, header = _read_image(path)
  if not np.isfinite(data).any():
    raise ValueError(f'{path} is blank: no pixel of its image is a number.')
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
    raise ValueError(f'{path} cannot be read as FITS, it may be damaged or incomplete: {error}') from error
  raise ValueError(f'{path} holds no two-dimensional image.')


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
    raise ValueError(f'{path} does not say its unit (BUNIT); add it to the header: Gauss or Mx/cm^2.')
  if not is_gauss({'BUNIT': found}):
    raise ValueError(f'{path} has BUNIT {found!r}; a magnetogram in Gauss or Mx/cm^2 is needed.')
  return 'G'


def _check_coordinates(path: pathlib.Path, header: dict[str, Any], shape: tuple[int, int]) -> None:
  axes = [str(header.get(key, '')) for key in ('ctype1', 'ctype2')]
  if any(axis[:4] not in SOLAR_AXES for axis in axes):
    raise ValueError(
      f'{path} has the axes {axes[0]!r} and {axes[1]!r} (CTYPE1, CTYPE2); solar coordinates are needed: '
      'HPLN/HPLT, CRLN/CRLT or HGLN/HGLT.'
    )
  scale = ('cd1_1', 'cd2_2') if 'cd1_1' in header else ('cdelt1', 'cdelt2')
  needed = ('crpix1', 'crpix2', 'crval1', 'crval2', 'cunit1', 'cunit2', *scale)
  absent = [key.upper() for key in needed if key not in header]
  if absent:
    raise ValueError(f'{path} lacks {", ".join(absent)}: without them its pixels have no place on the Sun.')
  units = [u.Unit(header[key], parse_strict='silent') for key in ('cunit1', 'cunit2')]
  if not all(unit.is_equivalent(u.deg) for unit in units):
    raise ValueError(f'{path} has axes in {units[0]} and {units[1]} (CUNIT1, CUNIT2); units of angle are needed.')
  if axes[0].startswith(('CRLN', 'HGLN')) and abs(header[scale[0]]) * shape[1] * units[0] > 180 * u.deg:
    raise ValueError(f'{path} covers more than half the circumference: a synoptic map, which shows no single moment.')


def _create_map(path: pathlib.Path, data: np.ndarray, header: dict[str, Any]) -> GenericMap:
  try:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter('always', SunpyMetadataWarning)
      magnetogram = Map(data, header)
      observer = magnetogram.observer_coordinate
      usable = magnetogram.wcs.has_celestial and np.all(np.isfinite(observer.cartesian.xyz))
  except (MapMetaValidationError, ValueError, TypeError) as error:
    raise ValueError(f'{path} has a header that cannot be understood: {error}') from error
  # Where sunpy warns, it puts in the present time, and Earth.
  if any('observation time' in str(warning.message) for warning in caught):
    raise ValueError(f'{path} does not say when it was observed, or not legibly; set DATE-OBS in the header.')
  if not usable:
    raise ValueError(f'{path} has no usable coordinates: the observer or the celestial WCS is not valid.')
  if any('observer' in str(warning.message) for warning in caught):
    magnetogram.meta['notes'] = EARTH_NOTE
    magnetogram.meta['hgln_obs'] = observer.lon.to_value(u.deg)
    magnetogram.meta['hglt_obs'] = observer.lat.to_value(u.deg)
    magnetogram.meta['dsun_obs'] = observer.radius.to_value(u.m)
  return magnetogram


# --- Mapping ----------------------------------------------------------------------------------------------------


def heliocentric_mu(
  longitude: np.ndarray, latitude: np.ndarray, observer_longitude: float, observer_latitude: float
) -> np.ndarray:
  """Returns the cosine of the heliocentric angle: the angle at the centre of the Sun between a point and the observer.

  Args:
    longitude, latitude: `[...]` heliographic position of points [deg].
    observer_longitude, observer_latitude: The same for the observer [deg] (L0, B0).
  """
  latitude, b0 = np.deg2rad(latitude), np.deg2rad(observer_latitude)
  hour_angle = np.deg2rad(np.asarray(longitude) - observer_longitude)
  return np.sin(latitude) * np.sin(b0) + np.cos(latitude) * np.cos(b0) * np.cos(hour_angle)


def postel_wcs(
  magnetogram: GenericMap, longitude: float, latitude: float, shape: tuple[int, int], pixel_scale_mm: float
) -> WCS:
  """Returns the WCS of a map of `shape` (y, x) [px] as seen by the observer of `magnetogram` at its time.

  The solar radius is the map's (HMI: 696 Mm), because it decides where a point on the disk lies on the Sun; the pixel
  keeps its angle, so that grids of all maps agree.
  """
  header = postel_header(longitude, latitude, shape, pixel_scale_mm)
  observer = magnetogram.observer_coordinate
  header['RSUN_REF'] = magnetogram.rsun_meters.to_value(u.m)
  header['DATE-OBS'] = magnetogram.reference_date.utc.isot
  header['HGLN_OBS'] = observer.lon.to_value(u.deg)
  header['HGLT_OBS'] = observer.lat.to_value(u.deg)
  header['DSUN_OBS'] = observer.radius.to_value(u.m)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', FITSFixedWarning)  # Says that MJD-OBS was set from DATE-OBS.
    return WCS(header)


def carrington_pixels(magnetogram: GenericMap, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
  """Returns `[2, ...]` the pixel (x, y), from 0, of heliographic positions [deg]; NaN on the far side of the Sun."""
  frame = HeliographicCarrington(
    observer=magnetogram.observer_coordinate, obstime=magnetogram.reference_date, rsun=magnetogram.rsun_meters
  )
  points = SkyCoord(longitude * u.deg, latitude * u.deg, frame=frame)
  pixels = np.stack([axis.to_value(u.pix) for axis in magnetogram.world_to_pixel(points)])
  return np.where(heliocentric_mu(longitude, latitude, *observer_position(magnetogram)) > 0, pixels, np.nan)


def carrington_positions(magnetogram: GenericMap, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns longitude and latitude `[...]` [deg] of the pixels at `x`, `y`, from 0; NaN off the disk."""
  frame = HeliographicCarrington(observer=magnetogram.observer_coordinate, obstime=magnetogram.reference_date)
  points = magnetogram.pixel_to_world(x * u.pix, y * u.pix)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', SunpyUserWarning)  # Says that pixels off the disk become NaN.
    points = points.transform_to(frame)
  return points.lon.to_value(u.deg), points.lat.to_value(u.deg)


def observer_position(magnetogram: GenericMap) -> tuple[float, float]:
  """Returns Carrington longitude and latitude of the observer [deg] (L0, B0)."""
  return magnetogram.carrington_longitude.to_value(u.deg), magnetogram.carrington_latitude.to_value(u.deg)


def postel_patch(
  magnetogram: GenericMap,
  longitude: float,
  latitude: float,
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  max_angle_deg: float = MAX_ANGLE_DEG,
  file: str = '',
) -> Patch:
  """Maps a place of a magnetogram to a Postel patch; arguments and errors are those of `postel_column`."""
  return postel_column(magnetogram, longitude, latitude, (0,), size, pixel_scale_mm, max_angle_deg, file)[0]


def postel_column(
  magnetogram: GenericMap,
  longitude: float,
  latitude: float,
  offsets_px: Sequence[int],
  size: int = DEFAULT_SIZE,
  pixel_scale_mm: float = DEFAULT_PIXEL_SCALE_MM,
  max_angle_deg: float = MAX_ANGLE_DEG,
  file: str = '',
) -> list[Patch]:
  """Maps a strip along a meridian once and cuts patches from it whose centres lie on that meridian.

  On a Postel map north stays up and distances stay true along the meridian of its centre; across it they grow by
  rho / sin(rho). Patches of 67 Mm cut up to 100 Mm from the centre are therefore those that a map of their own would
  give: no pixel is off by more than 0.2 of a pixel. Beside the meridian a patch would be turned.

  A pixel is the mean of the source over its footprint (DeForest 2004, Sol. Phys. 219, 3), because the field is flux
  per area: plain interpolation would pick single pixels of a source that is finer than the patch and lose flux by
  chance. Within a footprint the weights are a Hann window, which stays within about 0.5 % of the area mean in unsigned
  flux; a Gaussian of the same width loses 2 to 3 %.

  Args:
    magnetogram: What `read_magnetogram` returns.
    longitude, latitude: Heliographic (Carrington) position of the centre of the strip [deg].
    offsets_px: How far north of it the centre of each patch lies [px].
    size: Side of a patch [px].
    pixel_scale_mm: Side of a pixel [Mm].
    max_angle_deg: Pixels farther from the centre of the disk than this heliocentric angle are missing [deg].
    file: Name of the file, kept in the patches.

  Returns:
    One patch per offset.

  Raises:
    ValueError: Position, size, scale or angle make no sense.
  """
  if not (np.isfinite(longitude) and -90 <= latitude <= 90):
    raise ValueError(f'Longitude {longitude} and latitude {latitude} are no place on the Sun; give degrees.')
  if size < 2 or not 0 < pixel_scale_mm * size < 2 * np.pi * SOLAR_RADIUS_MM or not 0 < max_angle_deg <= 90:
    raise ValueError(
      f'A patch of {size} px of {pixel_scale_mm} Mm within {max_angle_deg} deg of disk centre cannot be made.'
    )
  longitude = float(longitude) % 360
  reach = max(abs(offset) for offset in offsets_px)
  shape = (size + 2 * reach, size)
  wcs = postel_wcs(magnetogram, longitude, latitude, shape, pixel_scale_mm)
  field = reproject_adaptive(
    (magnetogram.data, magnetogram.wcs),
    wcs,
    shape,
    kernel='hann',
    boundary_mode='ignore_threshold',  # Missing where more than half of the footprint is outside the source.
    roundtrip_coords=False,  # The far side of the Sun is masked below.
    return_footprint=False,
  ).astype(np.float32)
  observer = observer_position(magnetogram)
  x, y = np.meshgrid(np.arange(size), np.arange(shape[0]))
  mu = heliocentric_mu(*wcs.wcs_pix2world(x, y, 0), *observer)
  field[mu < np.cos(np.deg2rad(max_angle_deg))] = np.nan
  known = {
    'longitude': longitude,
    'cmd': float((longitude - observer[0] + 180) % 360 - 180),
    'quality': magnetogram.meta['quality'],
    'time': magnetogram.reference_date.utc.isot,
    'pixel_scale_mm': float(pixel_scale_mm),
    'file': file,
    'notes': magnetogram.meta.get('notes', ''),
  }
  patches = []
  for offset in offsets_px:
    own = field[reach + offset : reach + offset + size].copy()
    north = float(latitude + np.rad2deg(offset * pixel_scale_mm / SOLAR_RADIUS_MM))
    own_mu = float(heliocentric_mu(longitude, north, *observer))
    patches.append(Patch(field=own, latitude=north, mu=own_mu, missing=float(np.mean(np.isnan(own))), **known))
  return patches
