"""One region in one interval: from its frames to a part of a survey on disk, and whether that is there already.

A part is a region file of a single magnetogram, and beside it a record of what it was made from and what was found on
the way. The stamp of both covers the row of the region table, the settings and the frames that there are, so that a
part is made anew where one of them has changed, and only there. A part that cannot be made for want of frames has a
record alone.

    OUT/parts/TI-05/regions/<region_id>.fits
    OUT/parts/TI-05/<region_id>.json
"""

import dataclasses
import json
import pathlib
import warnings
from typing import Any

import numpy as np
from astropy.io import fits

from hearjax.checks import UserError
from hearjax.files import plain, told_as_damaged, write_json
from hearjax.observe.averaging import MappingSettings, MeanPatch, mean_patch
from hearjax.observe.building.stamps import stamp
from hearjax.observe.region_table import Region
from hearjax.observe.sources.frames import Frame, FrameSource, Need
from hearjax.survey import intervals as hear_intervals
from hearjax.survey.archive import write_region
from hearjax.survey.headers import find_field, told_as_damage
from hearjax.survey.index import region_file
from hearjax.survey.survey import Survey, index_names

SIMULATED = 'simulated'  # The source of a survey of simulated frames, wherever they lie.
NUMBERS = ('b0', 'unsigned_change', 'net_change')  # Of a mean patch: what has no column in a survey.


@dataclasses.dataclass(frozen=True)
class BuildSettings:
  """How frames become the magnetograms of a survey.

  Attributes:
    intervals: Intervals to observe.
    until_emergence: Leave out the frames after the emergence time, and the intervals that are centred after it.
    min_frames: Fraction of 410 min that the good frames must stand for, at the spacing that they have. A magnetogram
      of fewer is left out, since it covers another time, and is noisier, than what it stands for.
    max_missing: Fraction of missing pixels above which a magnetogram is left out.
    keep_parts: Keep the single magnetograms that the region files are put together from.
    mapping: How frames are mapped.
  """

  intervals: tuple[int, ...] = tuple(hear_intervals.CENTRE_HOURS)
  until_emergence: bool = False
  min_frames: float = 0.5
  max_missing: float = 0.2
  keep_parts: bool = False
  mapping: MappingSettings = dataclasses.field(default_factory=MappingSettings)

  def __post_init__(self) -> None:
    object.__setattr__(self, 'intervals', hear_intervals.check_intervals(self.intervals))
    if self.until_emergence and not self.wanted_intervals:
      raise UserError(f'All of the intervals {list(self.intervals)} are centred after emergence; name one before it.')
    for name in ('min_frames', 'max_missing'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f'{name} is a fraction from 0 to 1, got {getattr(self, name)}.')

  @property
  def wanted_intervals(self) -> tuple[int, ...]:
    """The intervals to observe: without those after emergence, where these are not wanted."""
    return tuple(i for i in self.intervals if not (self.until_emergence and hear_intervals.CENTRE_HOURS[i] > 0))

  def told(self) -> dict[str, Any]:
    """Returns what decides on a magnetogram, as JSON would give it back."""
    return {name: value for name, value in plain(self).items() if name not in ('intervals', 'keep_parts')}


@dataclasses.dataclass(frozen=True)
class Part:
  """One region in one interval.

  Attributes:
    region: The region.
    interval: Number of the interval.
    out: Folder of the survey.
    settings: How it is made.
    source: Name of the source of its frames.
    stamp: What it is made from.
  """

  region: Region
  interval: int
  out: pathlib.Path
  settings: BuildSettings
  source: str
  stamp: str

  @property
  def name(self) -> str:
    return f'{self.region.region_id} TI{self.interval:+03d}'

  @property
  def folder(self) -> pathlib.Path:
    """Where it lies, as a survey would."""
    return self.out / 'parts' / f'TI{self.interval:+03d}'

  @property
  def path(self) -> pathlib.Path:
    return self.folder / region_file(self.region.region_id)

  @property
  def record_path(self) -> pathlib.Path:
    return self.folder / f'{self.region.region_id}.json'

  @property
  def need(self) -> Need:
    return need_of(self.region, self.interval, self.settings)


@dataclasses.dataclass(frozen=True)
class Record:
  """What was found when a part was made.

  Attributes:
    stamp: What it was made from.
    left_out: Why there is no magnetogram; '' where there is one.
    numbers: What has no column in a survey: `NUMBERS`.
    skipped: A sentence for each frame that could not be used.
  """

  stamp: str
  left_out: str = ''
  numbers: dict[str, float] = dataclasses.field(default_factory=dict)
  skipped: tuple[str, ...] = ()


def need_of(region: Region, interval: int, settings: BuildSettings) -> Need:
  """Returns the frames that a region needs in an interval."""
  end_hours = hear_intervals.end_hours(interval)
  if settings.until_emergence:
    end_hours = min(end_hours, 0.0)
  return Need(
    longitude=region.longitude,
    latitude=region.latitude,
    start_mjd=region.emergence.utc.mjd + hear_intervals.start_hours(interval) / 24,
    end_mjd=region.emergence.utc.mjd + end_hours / 24,
    radius_mm=settings.mapping.radius_mm,
  )


def plan_parts(
  regions: list[Region], source: FrameSource, out: pathlib.Path, settings: BuildSettings
) -> list[list[Part]]:
  """Returns the parts of each region."""
  out = out.resolve()  # Workers may be in another folder.
  return [
    [
      Part(region, interval, out, settings, source.name, _stamp(region, interval, source, settings))
      for interval in settings.wanted_intervals
    ]
    for region in regions
  ]


def _stamp(region: Region, interval: int, source: FrameSource, settings: BuildSettings) -> str:
  row = {**dataclasses.asdict(region), 'emergence': region.emergence.utc.isot, 'fields': None}
  return stamp(source, need_of(region, interval, settings), row, interval, settings.told())


def known_record(part: Part) -> Record | None:
  """Returns the record of a part that is made of what it should be, else None.

  Raises:
    UserError: A file of it is damaged.
  """
  if not part.record_path.exists():
    return None
  with told_as_damaged(part.record_path, 'remove it, and the magnetogram is made again'):
    record = Record(**json.loads(part.record_path.read_text()))
  if record.stamp != part.stamp:
    return None
  if record.left_out:
    return record
  # A program that was killed may have replaced one of the two.
  is_there = part.path.exists() and fits.getheader(part.path).get('STAMP') == part.stamp
  return record if is_there else None


def leave_out(part: Part, reason: str, skipped: tuple[str, ...] = ()) -> Record:
  """Records that there is no magnetogram of a part, and why."""
  part.path.unlink(missing_ok=True)  # That of other settings.
  record = Record(part.stamp, reason, skipped=skipped)
  write_json(part.record_path, record)
  return record


def make_part(part: Part, frames: list[Frame]) -> Record:
  """Maps frames, averages them, and writes the part.

  Raises:
    UserError: No frame is as it should be.
    OSError: A file cannot be written.
  """
  reason = _too_few(part, frames, len(frames))
  if reason:
    return leave_out(part, reason)
  patch = mean_patch(frames, part.region.longitude, part.region.latitude, part.settings.mapping)
  reason = _too_few(part, frames, patch.n_frames)
  if patch.missing > part.settings.max_missing:
    reason = reason or f'{patch.missing:.0%} of its pixels are missing'
  if reason:
    return leave_out(part, reason, patch.skipped)
  if patch.notes:
    warnings.warn(patch.notes, stacklevel=2)
  survey = _survey(part, patch, _spacing_hours(frames), source_of(frames[0], part.source))
  write_region(part.folder, survey, part.stamp)
  record = Record(part.stamp, '', {name: float(getattr(patch, name)) for name in NUMBERS}, patch.skipped)
  write_json(part.record_path, record)
  return record


def _too_few(part: Part, frames: list[Frame], n_used: int) -> str:
  """Returns why so many of some frames do not stand for an interval; '' where they do."""
  wanted_minutes = hear_intervals.WINDOW_HOURS * 60
  if len(frames) < 2:
    return f'{len(frames) or "no"} good frame{"s" * (not frames)} in {wanted_minutes:.0f} min'
  spacing = 60 * _spacing_hours(frames)
  if n_used * spacing < part.settings.min_frames * wanted_minutes:
    return f'{n_used} good frames {spacing:.0f} min apart in {wanted_minutes:.0f} min'
  return ''


def _spacing_hours(frames: list[Frame]) -> float:
  """Returns the usual time between frames, of which there are two at least [h]."""
  return 24 * float(np.median(np.diff([frame.mjd for frame in frames])))


def source_of(frame: Frame, source: str) -> str:
  """Returns the source that a survey names: simulated frames are never taken for observed ones."""
  path = pathlib.Path(frame.path)
  with told_as_damage(path), path.open('rb') as file, fits.open(file, memmap=False) as hdus:
    _, cards = find_field(path, hdus, axes=('y', 'x'))
  return SIMULATED if (cards.text('TELESCOP') or '').upper() == SIMULATED.upper() else source


def _survey(part: Part, patch: MeanPatch, spacing_hours: float, source: str) -> Survey:
  """Returns a survey of one magnetogram, from half a frame before the first to half a frame after the last."""
  region, emergence = part.region, part.region.emergence.utc.mjd
  hours = {
    'hours': 24 * (patch.mjd - emergence),
    'hours_start': 24 * (patch.start_mjd - emergence) - spacing_hours / 2,
    'hours_end': 24 * (patch.end_mjd - emergence) + spacing_hours / 2,
  }
  floats = {
    **hours,
    'latitude': region.latitude,
    'longitude': region.longitude,
    'cmd': patch.cmd,
    'mu': patch.mu,
    'missing': patch.missing,
  }
  quality = int(np.array(patch.quality & 0xFFFFFFFF, np.uint32).view(np.int32))
  integers = {
    'label': int(region.kind == 'EAR'),
    'interval': part.interval,
    'noaa': region.noaa,
    'n_frames': patch.n_frames,
    'quality': quality,
  }
  region_ids, index = index_names([region.region_id])
  pair_ids, pair = index_names([region.pair_id])
  return Survey(
    field=np.asarray(patch.field, np.float32)[None],
    **{name: np.array([value], np.float32) for name, value in floats.items()},
    **{name: np.array([value], np.int32) for name, value in integers.items()},
    mjd=np.array([patch.mjd], np.float64),
    region=index,
    pair=pair,
    region_ids=region_ids,
    pair_ids=pair_ids,
    pixel_scale_mm=part.settings.mapping.pixel_scale_mm,
    source=source,
  )
