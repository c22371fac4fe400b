"""Groups of `benchmark` about magnetograms of the whole disk: from a frame to a patch, and the scan of a disk.

The frame is a simulated one, Rice-compressed as HMI's are, and read from a file that the system has in memory. Needs
the extra `sun`.
"""

import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import jax
import numpy as np
from sunpy.map import GenericMap

from hearjax.chunks import map_chunks
from hearjax.forecast.disk import forecast_disk, lay_tiles, map_tiles, member_places
from hearjax.forecast.disk_settings import DiskSettings
from hearjax.models.network import EmergenceNetwork, ModelSettings
from hearjax.observe.averaging import MappingSettings
from hearjax.observe.cutouts import read_cutout
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import mu_of, postel_patch
from hearjax.observe.view import view_of
from hearjax.simulate import disk as simulated
from hearjax.simulate import disk_files, quiet_sun
from hearjax.simulate.disk_image import HMI_SIZE, observe
from hearjax.simulate.sun import Sun
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM
from hearjax.training.ensemble import Ensemble, member_logits, stack_members
from hearjax.training.step import Params

from .common import FULL, build
from .timing import Group

SMALL_SIDE, SMALL_ANGLE_DEG = 256, 15.0  # What only shows that a group works: few pixels, and few places.
ELEMENTS = 20_000  # Of magnetic flux, all over the Sun: it asks for no more to take as long as one with network.
PLACE_DEG = (-30.0, 20.0)  # East of the central meridian and north: where the patch is cut.
WINDOW_STEP_PX = 8  # From window to window.
CHUNK = 64  # Windows at a time, as many as `Ensemble.logits` takes patches.
NETWORKS = {
  'no padding, 60 px': ModelSettings(),
  'zeros at the edge, 48 px': ModelSettings(padding='same', crop_px=48),
}


def disk(size: dict, seed: int) -> Iterator[Group]:
  """A frame of the whole disk: a patch of it, its scan, and the network over it against a sliding window."""
  side = HMI_SIZE if size is FULL else SMALL_SIDE
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'frame.fits'
    simulate_frame(path, side, seed)
    yield patch_group(path, side)
    yield scan_group(path, side, size)
    for name, settings in NETWORKS.items():
      yield window_group(path, name, settings, size)


def patch_group(path: pathlib.Path, side: int) -> Group:
  """Returns the group of a patch from a frame, reading included: as `mean_patch` makes it, and of the whole frame."""
  settings = MappingSettings()
  view = view_of(read_magnetogram(path))
  place = (view.l0 + PLACE_DEG[0], PLACE_DEG[1])

  def cut(read: Callable[[], GenericMap]) -> np.ndarray:
    return postel_patch(read(), *place, settings.size, settings.pixel_scale_mm, settings.max_angle_deg).field

  cases = {
    'whole frame read': functools.partial(cut, lambda: read_magnetogram(path)),
    'its part alone read': functools.partial(cut, lambda: read_cutout(path, *place, settings.radius_mm)),
  }
  name = f'patch of {settings.size} px from a frame of {side} px'
  return Group(name, cases, target='its part alone read', largest_seconds=0.5)


def scan_group(path: pathlib.Path, side: int, size: dict) -> Group:
  """Returns the group of a scan of a disk by the members of a run, reading included."""
  settings = scan_settings(size)
  cases: dict[str, Callable[[], object]] = {'reading alone': lambda: read_magnetogram(path).data}
  for name, shape in NETWORKS.items():
    model, params = members(shape, size['folds'])
    work = functools.partial(forecast_disk, model=model, params=params, domain=domain(shape), settings=settings)
    cases[f'scan, {name}'] = lambda work=work: np.asarray(work(read_magnetogram(path))['probability'])
  target = list(cases)[1]
  return Group(f'scan of {side} px by {size["folds"]} members', cases, target=target, largest_seconds=10, rounds=5)


def window_group(path: pathlib.Path, name: str, settings: ModelSettings, size: dict) -> Group:
  """Returns the group of one member at all places of a disk, `WINDOW_STEP_PX` apart, once the disk is mapped.

  The window is moved over the same maps to all of the same places, and its squares are scored a chunk at a time: as
  `score` does patches, and by a program that is compiled for convolutions, as that of the shared ones is. Any member
  takes as long.
  """
  model, params = members(settings, 1)
  one = jax.tree.map(lambda leaf: leaf[0], params)
  ensemble = Ensemble(model, params, ('untrained',), domain(settings), threshold=0.5)
  side = domain(settings)['size']
  field, told = mapped_disk(read_magnetogram(path), domain(settings), scan_settings(size))
  squares = np.lib.stride_tricks.sliding_window_view(field, (side, side), (1, 2))
  squares = squares[:, ::WINDOW_STEP_PX, ::WINDOW_STEP_PX]
  places = np.stack(np.nonzero(told), axis=1)

  def slide(score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return map_chunks(lambda rows: score(squares[tuple(rows.T)]), places, CHUNK)

  cases = {
    'window, as score does': lambda: slide(lambda field: ensemble.logits(field)[0]),
    'window, compiled for convolutions': lambda: slide(functools.partial(member_logits, one, model=model)),
    'convolutions shared': lambda: member_places(params, field, model=model, size=side, step=WINDOW_STEP_PX)[:, told],
  }
  title = f'a member at {len(places)} places, {name}'
  return Group(title, cases, target='convolutions shared', smallest_speedup=30, rounds=3)


# --- What they work on ------------------------------------------------------------------------------------------------


def simulate_frame(path: pathlib.Path, side: int, seed: int) -> None:
  """Writes a frame of `side` px: elements that have not been moved about, which would take minutes, and all noise."""
  settings, sun = simulated.DiskSettings(seed=seed, size=side, cadence_minutes=12.0), Sun()
  (view,) = disk_files.earth_views(settings.first_time.reshape(1), settings)
  rng = np.random.default_rng(seed)
  position = rng.normal(size=(ELEMENTS, 3))
  position /= np.linalg.norm(position, axis=1, keepdims=True)
  flux = quiet_sun.draw_element_flux(rng, ELEMENTS, sun) * rng.choice((-1, 1), ELEMENTS)
  header = disk_files.frame_header(settings.first_time, view, settings, quality=0)
  disk_files.write_frame(path, observe(rng, position, flux, view, settings.n_45s, sun), header)


def members(settings: ModelSettings, count: int) -> tuple[EmergenceNetwork, Params]:
  """Returns a network and the parameters of untrained members, as an `Ensemble` has them, but all alike."""
  model, params = build(settings)
  return model, stack_members([params] * count)


def domain(settings: ModelSettings) -> dict:
  """Returns a training domain that everything lies within."""
  everything = {'unsigned_flux_mx': (0.0, np.inf), 'peak_gauss': (0.0, np.inf), 'min_mu': 0.0, 'max_missing': 1.0}
  return {'size': settings.crop_px, 'pixel_scale_mm': DEFAULT_PIXEL_SCALE_MM, **everything}


def scan_settings(size: dict) -> DiskSettings:
  """Returns the default scan, of the middle of the disk at a small size."""
  return DiskSettings() if size is FULL else DiskSettings(max_angle_deg=SMALL_ANGLE_DEG)


def mapped_disk(magnetogram: GenericMap, domain: dict, settings: DiskSettings) -> tuple[np.ndarray, np.ndarray]:
  """Returns the maps of a disk and which of their places count.

  Args:
    magnetogram: The disk.
    domain: `size` [px] and `pixel_scale_mm` [Mm] of what the network looks at.
    settings: How far from the centre of the disk there are places; they are `WINDOW_STEP_PX` apart.

  Returns:
    `[tile, y, x]` field [G], and `[tile, place_y, place_x]` whether a place counts: all that `forecast_disk` tells of,
    and a few at the edge of which it does not, because too little of their squares is observed.
  """
  where = (domain['size'], domain['pixel_scale_mm'], WINDOW_STEP_PX, settings.max_angle_deg)
  tiles = lay_tiles(magnetogram, *where)
  longitudes, latitudes, own = (
    np.stack([getattr(tile, name) for tile in tiles]) for name in ('longitudes', 'latitudes', 'is_own')
  )
  near = mu_of(magnetogram, longitudes, latitudes) >= np.cos(np.deg2rad(settings.max_angle_deg))
  return map_tiles(magnetogram, tiles, *where), own & near
