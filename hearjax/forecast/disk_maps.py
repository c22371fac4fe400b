"""The emergence map of a disk: forecasts at places become images on a coarser grid of the magnetogram, as FITS.

Each image has the frame, observer and time of the magnetogram: it opens as a sunpy Map that overlays on it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import cKDTree
from sunpy.map import GenericMap

from hearjax.files import write_whole
from hearjax.forecast.disk import OUTSIDE
from hearjax.observe.postel import carrington_pixels, carrington_positions, mu_of
from hearjax.solar import SOLAR_RADIUS_MM, direction
from hearjax.survey.headers import told_as_damage

NO_FORECAST = 64  # In the image OUTSIDE, where no forecast is made.
NEAR = 1.0  # Of the distance of neighbouring places: farther from one there is no forecast.
CREATOR = 'hearjax'


@dataclasses.dataclass(frozen=True)
class DiskMap:
  """Images of a forecast.

  Attributes:
    header: Of all of them, without what each image holds.
    probability: `[y, x]` probability of emergence, float32; NaN where there is no forecast.
    spread: `[y, x]` standard deviation of the members' probabilities, float32.
    mu: `[y, x]` cosine of the heliocentric angle, float32; NaN off the disk, negative nowhere.
    outside: `[y, x]` sums of `disk.OUTSIDE`, int16; `NO_FORECAST` where there is none.
  """

  header: fits.Header
  probability: np.ndarray
  spread: np.ndarray
  mu: np.ndarray
  outside: np.ndarray

  def as_map(self, name: str = 'probability') -> GenericMap:
    """Returns one of the images as a sunpy Map."""
    return GenericMap(getattr(self, name), self.header.copy())


def draw_disk(magnetogram: GenericMap, places: Table, pixel_mm: float | None = None) -> DiskMap:
  """Draws forecasts on a coarser grid of a magnetogram: every pixel has that of the nearest place.

  Args:
    magnetogram: What `read_magnetogram` returned.
    places: What `forecast_disk` returned for it.
    pixel_mm: Side of a pixel where the disk is seen face on [Mm], rounded to whole pixels of the magnetogram; the
      distance of neighbouring places for None.
  """
  step_mm = places.meta['step_mm']
  binning = max(1, round((pixel_mm or step_mm) / _pixel_mm(magnetogram)))
  header, x, y = coarse_grid(magnetogram, binning)
  longitude, latitude = carrington_positions(magnetogram, x, y)
  on_disk = np.isfinite(longitude)
  mu = np.full(x.shape, np.nan, np.float32)
  mu[on_disk] = mu_of(magnetogram, longitude[on_disk], latitude[on_disk])
  there = on_disk & (mu >= np.cos(np.deg2rad(places.meta['max_angle_deg'])))
  tree = cKDTree(direction(np.asarray(places['longitude']), np.asarray(places['latitude'])))
  limit = NEAR * step_mm / SOLAR_RADIUS_MM
  _, nearest = tree.query(direction(longitude[there], latitude[there]), distance_upper_bound=limit)

  def image(values: np.ndarray, without: float, kind: type) -> np.ndarray:
    drawn = np.full(x.shape, without, kind)
    drawn[there] = np.append(np.asarray(values, kind), np.asarray([without], kind))[nearest]  # n where none is near.
    return drawn

  return DiskMap(
    header,
    image(places['probability'], np.nan, np.float32),
    image(places['probability_std'], np.nan, np.float32),
    mu,
    image(places['outside'], NO_FORECAST, np.int16),
  )


def note_of(magnetogram: GenericMap) -> str:
  """Returns what else to know of a magnetogram: QUALITY bits, what was assumed of its header; empty for nothing."""
  bits = magnetogram.meta['quality']
  quality = f'QUALITY 0x{bits & 0xFFFFFFFF:08x}' if bits else ''
  return '; '.join(part for part in (quality, magnetogram.meta.get('notes', '')) if part)


def coarse_grid(magnetogram: GenericMap, binning: int) -> tuple[fits.Header, np.ndarray, np.ndarray]:
  """Returns the header of a grid of `binning` x `binning` pixels each, and `[y, x]` their centres [px, from 0].

  The grid covers the magnetogram, and ends beyond it where the sides are not multiples.
  """
  header = fits.Header()
  for key, value in magnetogram.meta.items():
    header[key] = value
  for axis in '12':
    header[f'CRPIX{axis}'] = (header[f'CRPIX{axis}'] - 0.5) / binning + 0.5
    header[f'CDELT{axis}'] *= binning
  for key in ('BUNIT', 'QUALITY'):
    header.remove(key, ignore_missing=True)
  shape = (-(-side // binning) for side in magnetogram.data.shape)
  y, x = np.indices(tuple(shape))
  return header, *((values + 0.5) * binning - 0.5 for values in (x, y))


def write_disk_map(path: pathlib.Path, drawn: DiskMap, known: Mapping[str, tuple[Any, str]]) -> None:
  """Writes the images of a forecast as FITS: PROBABILITY, SPREAD, MU and OUTSIDE, each with its place on the Sun.

  Args:
    path: Where; replaced if it is there.
    drawn: The images.
    known: Keywords of the first image, in capitals, and what they mean.

  Raises:
    OSError: The file cannot be written.
  """
  meanings = {
    'probability': 'probability of emergence',
    'spread': 'standard deviation of the members',
    'mu': 'cosine of the heliocentric angle',
    'outside': 'outside the training domain: bits',
  }
  hdus = fits.HDUList()
  for name, meaning in meanings.items():
    kind = fits.ImageHDU if hdus else fits.PrimaryHDU
    hdu = kind(getattr(drawn, name), drawn.header)
    hdu.header['EXTNAME'] = name.upper()
    hdu.header['CONTENT'] = (meaning, 'what the image shows')
    hdus.append(hdu)
  for key, (value, comment) in known.items():
    hdus[0].header[key] = (value, comment)
  for number, (name, bit) in enumerate([*OUTSIDE.items(), ('no forecast', NO_FORECAST)]):
    hdus[-1].header[f'BIT{number}'] = (name, f'where {bit} is in the sum')
  hdus[0].header['CREATOR'] = CREATOR
  write_whole(path, lambda temporary: hdus.writeto(temporary, checksum=True, overwrite=True))


def read_disk_map(path: pathlib.Path) -> DiskMap:
  """Reads what `write_disk_map` wrote.

  Raises:
    FileNotFoundError: There is no such file.
    UserError: It is damaged, or something else.
  """
  with told_as_damage(path), path.open('rb') as file, fits.open(file, memmap=False) as hdus:
    images = [hdus[name].data for name in ('PROBABILITY', 'SPREAD', 'MU', 'OUTSIDE')]
    header = hdus[0].header.copy(strip=True)
  return DiskMap(header, *(image.astype(image.dtype.newbyteorder('=')) for image in images))


def sample_disk(drawn: DiskMap, longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[n]` probability and spread at heliographic (Carrington) positions [deg]; NaN where there is none."""
  x, y = carrington_pixels(drawn.as_map(), np.asarray(longitude, float), np.asarray(latitude, float)).round()
  height, width = drawn.probability.shape
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # False where NaN.
  found = np.full((2, len(x)), np.nan)
  at = y[inside].astype(int), x[inside].astype(int)
  found[:, inside] = drawn.probability[at], drawn.spread[at]
  return found[0], found[1]


def _pixel_mm(magnetogram: GenericMap) -> float:
  """Returns the side of a pixel on the Sun [Mm] where the magnetogram sees it most from above."""
  y, x = (np.linspace(0, side - 1, 33) for side in magnetogram.data.shape)
  x, y = (values.ravel() for values in np.meshgrid(x, y))
  longitude, latitude = carrington_positions(magnetogram, x, y)
  mu = np.where(np.isfinite(longitude), mu_of(magnetogram, longitude, latitude), -1)
  best = np.argmax(mu)
  near = carrington_positions(magnetogram, x[best] + np.array([-0.5, 0.5]), y[best] + np.array([0.0, 0.0]))
  east, west = direction(*near)
  return float(np.linalg.norm(west - east)) * SOLAR_RADIUS_MM
