"""How the network is laid over the disk: tiles, Postel maps of many places each, and a forecast at every place.

Away from the centre of a Postel map a square is not what a map of its own would show. Along the meridian of the centre
it is, but for a stretch by rho / sin(rho) across it; beside the meridian it is turned, by the difference in longitude
times the sine of the latitude. Tiles are therefore narrow along the parallel. At `TILE_MM` no square is turned by more
than 8.5 deg below 45 deg of latitude or 16 deg anywhere, and no pixel of one is off by 0.4 px for the stretch.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy.special import expit
from sunpy.map import GenericMap

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.forecast.disk_settings import DiskSettings
from hearjax.forecast.patches import UNITS
from hearjax.forecast.windows import measure_places, place_logits, total_stride
from hearjax.models.network import EmergenceNetwork
from hearjax.observe.postel import carrington_pixels, mu_of
from hearjax.observe.resampling import footprint_means, interpolate, nodes
from hearjax.observe.view import view_of
from hearjax.progress import Progress, silent
from hearjax.solar import degrees, postel_header, wrap_degrees
from hearjax.verification.scores import BALANCED, at_prior

TILE_MM = (367.0, 200.0)  # Between the outermost places along y and x: of those tried the least work at such a turn.
CHUNK = 4  # Tiles at a time: more are slower on a CPU, since their activations leave its cache.
NOWHERE = -1e6  # Pixel of a place that the projection of an image does not have.
NODES_PX = 8  # Distance of the pixels of a tile whose places on the magnetogram are computed, not interpolated.

# What lies outside the training domain, as bits.
OUTSIDE = {
  'flux below': 1,
  'flux above': 2,
  'peak below': 4,
  'peak above': 8,
  'mu below': 16,
  'missing above': 32,
}


@dataclasses.dataclass(frozen=True)
class Tile:
  """A Postel map, north up at its centre.

  Attributes:
    longitude, latitude: Heliographic (Carrington) position of its centre [deg].
    longitudes, latitudes: `[place_y, place_x]` positions of its places [deg].
    is_own: `[place_y, place_x]` whether a place is this tile's: of the longitudes that several hold, one has each.
  """

  longitude: float
  latitude: float
  longitudes: np.ndarray
  latitudes: np.ndarray
  is_own: np.ndarray


def forecast_disk(
  magnetogram: GenericMap,
  model: EmergenceNetwork,
  params: Any,
  domain: Mapping[str, Any],
  prior: float = BALANCED,
  settings: DiskSettings | None = None,
  progress: Progress = silent,
) -> Table:
  """Forecasts emergence at places that cover what a magnetogram shows of the Sun.

  Args:
    magnetogram: What `read_magnetogram` returns: a full disk, or a part of it.
    model: The network.
    params: Parameters of its members, with a leading axis over them.
    domain: What they were trained on (`training_domain`).
    prior: Share of places that emerge, for which the probabilities hold.
    settings: Where forecasts are made.
    progress: Goes through the tiles, and may show how far it is.

  Returns:
    A row for each place, with the columns of `forecast_patches`, whose meaning they have, but `outside` as the sum of
    bits of `OUTSIDE`, and neither file, time, quality nor note. Meta keys: `prior`, `step_mm`, `max_angle_deg`.

  Raises:
    UserError: The prior is no share, or the magnetogram shows no place as far as asked for.
  """
  settings = settings or DiskSettings()
  at_prior(0.5, prior)  # Before minutes of work.
  size, scale = domain['size'], domain['pixel_scale_mm']
  step = settings.step_px(total_stride(model.settings), scale)
  tiles = lay_tiles(magnetogram, size, scale, step, settings.max_angle_deg)
  field = map_tiles(magnetogram, tiles, size, scale, step, settings.max_angle_deg, progress)
  measured = zip(*(measure_places(one, size, step, scale) for one in field), strict=True)
  flux, peak, missing = (np.stack(values) for values in measured)
  longitude, latitude, own = (
    np.stack([getattr(tile, name) for tile in tiles]) for name in ('longitudes', 'latitudes', 'is_own')
  )
  mu = mu_of(magnetogram, longitude, latitude)
  told = own & (mu >= np.cos(np.deg2rad(settings.max_angle_deg))) & (missing < 1)
  told &= 1 - missing >= settings.min_coverage
  if not told.any():
    raise UserError(
      f'The map shows no place within {settings.max_angle_deg:g} deg of disk centre whose square of '
      f'{size * scale:.0f} Mm is observed to {settings.min_coverage:.0%}; see max_angle and min_coverage.'
    )
  used = told.any(axis=(1, 2))
  logits = member_places(params, field[used], model=model, size=size, step=step)[:, told[used]]
  table = Table(
    {
      'longitude': longitude[told] % 360,
      'latitude': latitude[told],
      'cmd': wrap_degrees(longitude[told] - view_of(magnetogram).l0),
      'mu': mu[told],
      'probability': at_prior(expit(logits.mean(axis=0)), prior),
      'probability_std': at_prior(expit(logits), prior).std(axis=0),
      'unsigned_flux': flux[told],
      'peak_field': peak[told].astype(np.float64),
      'missing': missing[told],
    },
    meta={'prior': prior, 'step_mm': step * scale, 'max_angle_deg': settings.max_angle_deg},
  )
  table['outside'] = outside_bits(domain, table)
  for name, unit in UNITS.items():
    table[name].unit = unit
  return table


def outside_bits(domain: Mapping[str, Any], table: Table) -> np.ndarray:
  """Returns `[n]` in which respects places lie outside the training domain, sums of `OUTSIDE`; 0 where in none.

  Args:
    domain: What the network was trained on (`training_domain`).
    table: Columns `unsigned_flux` [Mx], `peak_field` [G], `mu` and `missing` (fraction).
  """
  (flux_low, flux_high), (peak_low, peak_high) = domain['unsigned_flux_mx'], domain['peak_gauss']
  beyond = {
    'flux below': table['unsigned_flux'] < flux_low,
    'flux above': table['unsigned_flux'] > flux_high,
    'peak below': table['peak_field'] < peak_low,
    'peak above': table['peak_field'] > peak_high,
    'mu below': table['mu'] < domain['min_mu'],
    'missing above': table['missing'] > domain['max_missing'],
  }
  return sum(np.where(np.asarray(beyond[name]), bit, 0) for name, bit in OUTSIDE.items()).astype(np.int16)


# --- The network ------------------------------------------------------------------------------------------------------


def member_places(params: Any, field: np.ndarray, *, model: EmergenceNetwork, size: int, step: int) -> np.ndarray:
  """Returns `[member, tile, y, x]` logits of all members (`place_logits`) for `[tile, y, x]` field [G]."""
  members = len(jax.tree.leaves(params)[0])
  logits = []
  for member in range(members):
    one = jax.tree.map(lambda leaf, member=member: leaf[member], params)
    run = functools.partial(place_logits, one, model=model, size=size, step=step)
    logits.append(map_chunks(run, field, min(CHUNK, len(field))))
  return np.stack(logits)


# --- Tiles ------------------------------------------------------------------------------------------------------------


def lay_tiles(magnetogram: GenericMap, size: int, pixel_scale_mm: float, step: int, max_angle_deg: float) -> list[Tile]:
  """Returns the tiles that cover what a magnetogram shows of the Sun, band by band from the south.

  Args:
    magnetogram: What `read_magnetogram` returns.
    size: Side of the square that the network looks at [px].
    pixel_scale_mm: Side of a pixel [Mm].
    step: Distance of neighbouring places [px].
    max_angle_deg: Heliocentric angle up to which there are places [deg].

  Raises:
    UserError: It shows no part of the Sun within the angle.
  """
  _, (height, width) = _tile_shape(size, step, pixel_scale_mm)
  view = view_of(magnetogram)
  l0, b0 = view.l0, view.b0
  band, column = degrees(height * pixel_scale_mm), degrees(width * pixel_scale_mm)
  south, north = max(b0 - max_angle_deg, -90), min(b0 + max_angle_deg, 90)
  bands = int(np.ceil((north - south) / band))
  tiles = []
  for latitude in (south + north) / 2 + band * (np.arange(bands) - (bands - 1) / 2):
    # Of the parallel of the band that is the longest.
    nearest = max(0.0, abs(latitude) - band / 2)
    spacing = min(column / np.cos(np.deg2rad(nearest)), 360.0)
    reach = _reach(latitude - band / 2, latitude + band / 2, b0, max_angle_deg)
    columns = int(np.ceil(2 * reach / spacing))
    for east in spacing * (np.arange(columns) - (columns - 1) / 2):
      tiles.append(_tile(l0 + east, latitude, spacing, size, pixel_scale_mm, step))
  tiles = [tile for tile, seen in zip(tiles, _are_seen(magnetogram, tiles, max_angle_deg), strict=True) if seen]
  if not tiles:
    raise UserError(f'The map shows no part of the Sun within {max_angle_deg:g} deg of disk centre.')
  return tiles


def _tile_shape(size: int, step: int, pixel_scale_mm: float) -> tuple[tuple[int, int], tuple[int, int]]:
  """Returns the shape (y, x) of a tile, and of what its places span [px]."""
  span = tuple(2 * step * max(1, round(side / (2 * step * pixel_scale_mm))) for side in TILE_MM)
  return tuple(side + size for side in span), span


def _reach(south: float, north: float, b0: float, max_angle_deg: float) -> float:
  """Returns how far from the central meridian [deg] a band of latitudes [deg] lies within an angle of disk centre."""
  latitude = np.deg2rad(np.clip(np.linspace(south, north, 64), -89.9, 89.9))
  b0, angle = np.deg2rad(b0), np.deg2rad(max_angle_deg)
  cosine = (np.cos(angle) - np.sin(latitude) * np.sin(b0)) / (np.cos(latitude) * np.cos(b0))
  return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max())


def _tile(
  longitude: float,
  latitude: float,
  spacing: float,
  size: int,
  pixel_scale_mm: float,
  step: int,
) -> Tile:
  shape, span = _tile_shape(size, step, pixel_scale_mm)
  y, x = (np.arange(0, side + 1, step) + (size - 1) / 2 for side in span)
  wcs = WCS(postel_header(longitude, latitude, shape, pixel_scale_mm))
  longitudes, latitudes = wcs.wcs_pix2world(*np.meshgrid(x, y), 0)
  # Half a step more, so that there is no gap between the last places of neighbours, wherever those fall.
  beyond = degrees(step * pixel_scale_mm) / 2 / np.maximum(np.cos(np.deg2rad(latitudes)), 1e-6)
  is_own = np.abs(wrap_degrees(longitudes - longitude)) <= spacing / 2 + beyond
  return Tile(float(longitude) % 360, float(latitude), longitudes, latitudes, is_own)


def _are_seen(magnetogram: GenericMap, tiles: list[Tile], max_angle_deg: float) -> np.ndarray:
  """Returns `[tile]` whether a place of a tile is in the image, is observed there, and lies within the angle."""
  longitude, latitude = (np.stack([getattr(tile, name) for tile in tiles]) for name in ('longitudes', 'latitudes'))
  x, y = carrington_pixels(magnetogram, longitude, latitude).round()
  height, width = magnetogram.data.shape
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # False where NaN.
  inside &= mu_of(magnetogram, longitude, latitude) >= np.cos(np.deg2rad(max_angle_deg))
  inside &= np.stack([tile.is_own for tile in tiles])
  seen = inside.copy()
  seen[inside] = np.isfinite(magnetogram.data[y[inside].astype(int), x[inside].astype(int)])
  return seen.any(axis=(1, 2))


def map_tiles(
  magnetogram: GenericMap,
  tiles: list[Tile],
  size: int,
  pixel_scale_mm: float,
  step: int,
  max_angle_deg: float,
  progress: Progress = silent,
) -> np.ndarray:
  """Returns `[tile, y, x]` field [G] of tiles, NaN where not observed; arguments as for `lay_tiles`."""
  shape, _ = _tile_shape(size, step, pixel_scale_mm)
  x, y = np.meshgrid(*(nodes(side, NODES_PX) for side in shape[::-1]))
  grids = (WCS(postel_header(tile.longitude, tile.latitude, shape, pixel_scale_mm)) for tile in tiles)
  positions = np.stack([grid.wcs_pix2world(x, y, 0) for grid in grids], axis=1)
  view = view_of(magnetogram)
  pixels, angle = np.nan_to_num(view.pixels(*positions), nan=NOWHERE), view.mu(*positions)
  data = jnp.asarray(magnetogram.data)
  field = np.empty((len(tiles), *shape), np.float32)
  for number in progress(range(len(tiles))):
    near = interpolate(angle[number], shape, NODES_PX) >= np.cos(np.deg2rad(max_angle_deg))
    means = footprint_means(data, *pixels[:, number], shape, NODES_PX)
    field[number] = np.where(near, means, np.nan)
  return field
