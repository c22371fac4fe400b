"""Imports the cubes of the HEAR survey into a survey archive.

Pair by pair, the cubes of both regions are averaged over time and written as two region files; the index comes last.
An import that was interrupted goes on with the first pair that is not whole: each region file carries a stamp of the
settings, cubes and table entries that it was made from, so that no two imports are mixed. A cube is known by where it
lies, its size and when it was last written.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.observe import cubes
from hearjax.observe.geometry import LATITUDES, agreed
from hearjax.observe.region_table import Region
from hearjax.observe.times import FIRST_FRAME, first_frame_time
from hearjax.progress import Progress, counted, silent
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM, rotated, wrap_degrees
from hearjax.solar import mu as mu_of
from hearjax.survey import intervals as hear_intervals
from hearjax.survey.archive import check_unused, read_region, write_index, write_region
from hearjax.survey.headers import Cards, quality_bits
from hearjax.survey.index import region_file
from hearjax.survey.survey import Survey, concatenate, index_names


@dataclasses.dataclass(frozen=True)
class ImportSettings:
  """How cubes become magnetograms.

  Attributes:
    size: Side of the central square that is kept [px].
    intervals: Intervals to import.
    until_emergence: Leave out the frames after the emergence time, and the intervals that are centred after it.
    cadence_s: Time between frames [s]; from the header for None.
    pixel_scale_mm: Side of a pixel [Mm] where the header does not tell; 1.39 Mm for None.
    min_frames: Fraction of the frames of 410 min that must be there and used: neither left out nor empty. A
      magnetogram of fewer is left out, since it covers another time, and is noisier, than what it stands for.
    min_valid: Fraction of the averaged frames in which a pixel must be finite; NaN where it is not.
    max_missing: Fraction of such pixels above which a magnetogram is left out.
  """

  size: int = 128
  intervals: tuple[int, ...] = tuple(hear_intervals.CENTRE_HOURS)
  until_emergence: bool = False
  cadence_s: float | None = None
  pixel_scale_mm: float | None = None
  min_frames: float = 0.5
  min_valid: float = 0.5
  max_missing: float = 0.2

  def __post_init__(self) -> None:
    object.__setattr__(self, 'intervals', hear_intervals.check_intervals(self.intervals))
    if self.until_emergence and not self.wanted_intervals:
      raise UserError(f'All of the intervals {list(self.intervals)} are centred after emergence; name one before it.')
    if self.size < 1:
      raise UserError(f'The size must be at least 1 px, got {self.size}.')
    for name in ('cadence_s', 'pixel_scale_mm'):
      value = getattr(self, name)
      if value is not None and not (np.isfinite(value) and value > 0):
        raise UserError(f'{name} must be positive, got {value}.')
    for name in ('min_frames', 'min_valid', 'max_missing'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f'{name} is a fraction from 0 to 1, got {getattr(self, name)}.')

  @property
  def wanted_intervals(self) -> tuple[int, ...]:
    """The intervals to import: without those after emergence, where these are not wanted."""
    return tuple(i for i in self.intervals if not (self.until_emergence and hear_intervals.CENTRE_HOURS[i] > 0))


def import_survey(
  regions: Sequence[Region],
  paths: dict[str, dict[int, pathlib.Path]],
  out: str | os.PathLike,
  settings: ImportSettings,
  progress: Progress = silent,
) -> tuple[Survey, list[str]]:
  """Averages cubes into a survey archive, pair by pair; pairs that an earlier run has written are read, not redone.

  Args:
    regions: Both regions of every pair, sorted by pair.
    paths: Their cubes, from `cube_paths`.
    out: Folder of the archive.
    settings: How to average.
    progress: Goes through the cubes, and may show how far it is.

  Returns:
    The survey, and a line for every region or pair of which something was left out.

  Raises:
    UserError: A cube is not as it should be, or nothing is left.
    OSError: A file cannot be read or written, or `out` already holds an archive.
  """
  out = pathlib.Path(out)
  check_unused(out)
  surveys: list[Survey] = []
  left_out: list[str] = []
  warned: set[str] = set()
  before = [region for region in regions if (out / region_file(region.region_id)).exists()]
  count = counted(progress, sum(map(len, paths.values())), sum(len(paths[region.region_id]) for region in before))
  for pair in zip(regions[::2], regions[1::2], strict=True):
    stamps = [_stamp(region, paths[region.region_id], settings) for region in pair]
    with _warnings_once(warned):
      halves = [
        _import_or_resume(region, paths[region.region_id], out, settings, stamp, count)
        for region, stamp in zip(pair, stamps, strict=True)
      ]
    for region, half in zip(pair, halves, strict=True):
      present = set() if half is None else set(half.interval.tolist())
      gone = [f'TI{i:+03d}' for i in settings.wanted_intervals if i not in present]
      if gone:
        left_out.append(
          f'{region.region_id}: {", ".join(gone)} left out: no cube, too few frames, or too little of the map'
        )
    if None in halves:
      left_out.append(f'pair {pair[0].pair_id} left out whole, as one half has nothing left')
      continue
    scale = (surveys or halves)[0].pixel_scale_mm
    for region, half, stamp in zip(pair, halves, stamps, strict=True):
      _check_scale(region.region_id, half.pixel_scale_mm, scale)
      half = half.replace(pixel_scale_mm=scale)
      if not (out / region_file(region.region_id)).exists():
        write_region(out, half, stamp)
      surveys.append(half)
  if not surveys:
    raise UserError(
      f'No pair is left with a magnetogram in both halves; nothing was imported. {len(left_out)} times something was '
      f'left out, first of all {left_out[0]}.'
    )
  survey = concatenate(surveys)
  survey = survey.select(np.lexsort((survey.interval, survey.region)))
  write_index(out, survey, {'import': dataclasses.asdict(settings) | {'intervals': list(settings.intervals)}})
  return survey, left_out


def import_region(
  region: Region, paths: dict[int, pathlib.Path], settings: ImportSettings, count: Callable[[], None] | None = None
) -> Survey | None:
  """Averages the cubes of one region; None if no interval is left."""
  rows, fields, scales = [], [], []
  for interval in sorted(set(paths) & set(settings.wanted_intervals)):
    path = paths[interval]
    with cubes.open_cube(path) as cube:
      cards, n_frames = cube.cards, cube.hdu.shape[0]
      cadence = settings.cadence_s or cubes.cadence_s(cards)
      frame_hours = _frame_hours(cards, region, interval, n_frames, cadence)
      kept = frame_hours <= 0 if settings.until_emergence else np.ones(n_frames, bool)
      field, used = cubes.average_frames(cube, kept, settings.size, settings.min_valid)
    wanted = hear_intervals.WINDOW_HOURS * 3600 / cadence
    enough = used.any() and np.sum(used) >= settings.min_frames * wanted
    if enough and np.mean(np.isnan(field)) <= settings.max_missing:
      start, end = frame_hours[used][[0, -1]] + np.array([-0.5, 0.5]) * cadence / 3600
      rows.append(_describe(cards, region, interval, float(start), float(end), int(np.sum(used))))
      fields.append(field)
      scales.append(_pixel_scale_mm(cards, settings))
      _check_scale(str(path), scales[-1], scales[0])
    if count is not None:
      count()
  if not rows:
    return None
  columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  names, index = index_names([region.region_id] * len(rows))
  pair_names, _ = index_names([region.pair_id])
  integers = {name: values.astype(np.int32) for name, values in columns.items() if values.dtype.kind == 'i'}
  floats = {name: values.astype(np.float32) for name, values in columns.items() if values.dtype.kind == 'f'}
  maps = np.stack(fields)
  return Survey(
    field=maps,
    **integers,
    **(floats | {'mjd': columns['mjd']}),
    missing=np.mean(np.isnan(maps), axis=(1, 2), dtype=np.float32),
    region=index,
    pair=index,
    region_ids=names,
    pair_ids=pair_names,
    pixel_scale_mm=scales[0],
    source='hear',
  )


def _import_or_resume(
  region: Region,
  paths: dict[int, pathlib.Path],
  out: pathlib.Path,
  settings: ImportSettings,
  stamp: str,
  count: Callable[[], None],
) -> Survey | None:
  path = out / region_file(region.region_id)
  if not path.exists():
    return import_region(region, paths, settings, count)
  half = read_region(path)
  if fits.getheader(path).get('STAMP') != stamp:
    raise UserError(
      f'{path} was imported with other settings, cubes or entries of the region table; remove it or name '
      'another folder.'
    )
  return half


@contextlib.contextmanager
def _warnings_once(warned: set[str]) -> Iterator[None]:
  """Passes on only the warnings that are not yet in `warned`: a thousand cubes share one fault."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    yield
  for warning in caught:
    if str(warning.message) not in warned:
      warned.add(str(warning.message))
      warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _stamp(region: Region, paths: dict[int, pathlib.Path], settings: ImportSettings) -> str:
  row = {**dataclasses.asdict(region), 'emergence': region.emergence.isot, 'fields': None}
  # Hashing their content would read every cube anew, 574 MB each.
  cubes_of_region = [
    (interval, str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
    for interval, path in sorted(paths.items())
  ]
  content = json.dumps([row, cubes_of_region, dataclasses.asdict(settings)], sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:32]


def _frame_hours(cards: Cards, region: Region, interval: int, n_frames: int, cadence_s: float) -> np.ndarray:
  """Returns `[frame]` midpoints of the frames relative to the emergence time [h]."""
  steps = np.arange(n_frames) * cadence_s / 3600
  nominal = hear_intervals.CENTRE_HOURS[interval]
  first = first_frame_time(cards)
  if first is None:
    warnings.warn(
      f'Some cubes name no time ({", ".join(FIRST_FRAME)}); the nominal centres of the intervals are used for them.',
      stacklevel=2,
    )
    return nominal + steps - steps[-1] / 2
  hours = (first - region.emergence).to_value('hour') + steps
  centre = (hours[0] + hours[-1]) / 2
  # Half the spacing, so that no cube passes for its neighbour.
  if abs(centre - nominal) > hear_intervals.SPACING_HOURS / 2:
    raise UserError(
      f'{cards.path} lies {centre:+.1f} h from the emergence time of {region.region_id}, but interval {interval} '
      f'should lie near {nominal:+.1f} h; check emergence_time in the region table and the pattern, or whether its '
      'time keyword gives the middle of the cube rather than its first frame.'
    )
  return hours


def _describe(
  cards: Cards, region: Region, interval: int, start: float, end: float, n_frames: int
) -> dict[str, float | int]:
  """Returns the entries of a magnetogram that covers `start` to `end` [h]."""
  hours = (start + end) / 2
  time = region.emergence + hours * u.hour
  cmd, mu = _viewing_angle(cards, region, hours, time)
  quality = np.array(quality_bits(cards) & 0xFFFFFFFF, np.uint32).view(np.int32)
  return {
    'label': int(region.kind == 'EAR'),
    'interval': interval,
    'noaa': region.noaa,
    'n_frames': n_frames,
    'quality': int(quality),
    'hours': hours,
    'hours_start': start,
    'hours_end': end,
    'latitude': region.latitude,
    'longitude': region.longitude,
    'cmd': cmd,
    'mu': mu,
    'mjd': time.utc.mjd,
  }


def _viewing_angle(cards: Cards, region: Region, hours: float, time: Time) -> tuple[float, float]:
  """Returns central-meridian distance [deg] and mu: from the header, else the region table, else sunpy's ephemeris.

  A tracked region keeps its Carrington longitude, so its central-meridian distance grows at the synodic rate.
  """
  cmd, b0 = agreed(cards, 'CMD', 'LONCM'), agreed(cards, *LATITUDES)
  b0 = region.b0 if b0 is None else b0
  for name, value, limit in (('central-meridian distance', cmd, 180), ('B0', b0, 7.3)):
    if value is not None and abs(value) > limit:
      raise UserError(f'{cards.path} gives a {name} of {value:g} deg; it must lie between -{limit:g} and {limit:g}.')
  if cmd is None and region.cmd is not None:
    cmd = rotated(region.cmd, hours)
  if cmd is None:
    try:
      from sunpy.coordinates import sun
    except ImportError as error:
      raise UserError(
        f'Neither the cubes nor the region table give the central-meridian distance of {region.region_id}; add a '
        'column cmd, or install hearjax[sun].'
      ) from error
    cmd = wrap_degrees(region.longitude - sun.L0(time).to_value('deg'))
    b0 = sun.B0(time).to_value('deg') if b0 is None else b0
  keyword = cards.first('MU', 'MEANMU')
  mu = cards.number(keyword) if keyword else None
  if mu is not None and not 0 < mu <= 1:
    raise UserError(f'{cards.path} has {keyword} = {mu:g}; the cosine of an angle on the visible Sun is needed.')
  if mu is None and b0 is None:
    warnings.warn('B0 is not known for some cubes; mu is computed as if it were 0 (add a column b0).', stacklevel=2)
  if mu is None:
    mu = mu_of(cmd, region.latitude, b0 or 0.0)
  return float(cmd), float(mu)


def _pixel_scale_mm(cards: Cards, settings: ImportSettings) -> float:
  given = cubes.pixel_scale_mm(cards, is_needed=settings.pixel_scale_mm is None)
  if given is None:
    return settings.pixel_scale_mm or DEFAULT_PIXEL_SCALE_MM
  if settings.pixel_scale_mm:
    _check_scale(str(cards.path), given, settings.pixel_scale_mm)
  return given


def _check_scale(where: str, scale: float, expected: float) -> None:
  if not np.isclose(scale, expected, rtol=1e-3):
    raise UserError(f'{where} has {scale:.4g} Mm per pixel, not {expected:.4g}; all maps must share one grid.')
