"""Building a survey: each region in each interval by itself, then region files, then the index.

The parts are made as `parts` says, by the crew of `cluster`, in any order. What an earlier run has made is not made
again. Where parts failed, a survey of the others is written all the same; they are kept, and the next run makes those
that are missing and puts the survey together anew.
"""

import dataclasses
import functools
import pathlib
import shutil
import warnings
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import plain, read_table, write_table
from hearjax.observe.building.cluster import Crew, Job
from hearjax.observe.building.parts import (
  NUMBERS,
  BuildSettings,
  Part,
  Record,
  known_record,
  leave_out,
  make_part,
  plan_parts,
)
from hearjax.observe.building.sightings import disk_centre
from hearjax.observe.building.stamps import digest, query
from hearjax.observe.region_table import Region
from hearjax.observe.sources.frames import FrameSource
from hearjax.progress import Progress, silent
from hearjax.solar import mu
from hearjax.survey.archive import INDEX_NAME, read_region, write_index, write_region
from hearjax.survey.intervals import CENTRE_HOURS
from hearjax.survey.survey import Survey, concatenate

UNITS = {'b0': u.deg}  # Of the numbers in mapping.ecsv; the others are fractions.


@dataclasses.dataclass(frozen=True)
class Built:
  """What a run has done.

  Attributes:
    magnetograms, pairs: How many the archive holds.
    made: Parts that were made in this run, or found to lack frames.
    known: Parts that an earlier run had made.
    left_out: A sentence for each magnetogram or pair that the survey does without.
    failed: Part -> why it failed.
    untried: Parts that were not tried, since those before them failed for a reason that holds for all.
  """

  magnetograms: int
  pairs: int
  made: int = 0
  known: int = 0
  left_out: tuple[str, ...] = ()
  failed: dict[str, str] = dataclasses.field(default_factory=dict)
  untried: int = 0

  @property
  def is_whole(self) -> bool:
    """Whether nothing failed."""
    return not self.failed and not self.untried


def build_survey(
  regions: Sequence[Region],
  source: FrameSource,
  out: pathlib.Path,
  settings: BuildSettings,
  crew: Crew,
  progress: Progress = silent,
) -> Built:
  """Makes a survey archive of the regions of a table, or what is missing of one.

  Args:
    regions: Both regions of every pair, sorted by pair.
    source: Where their frames come from.
    out: Folder of the archive.
    settings: How to make it.
    crew: Who does it.
    progress: Goes through the magnetograms that are ready, and may show how far it is.

  Returns:
    What was done.

  Raises:
    FileExistsError: There is another archive.
    UserError: A region is never seen, or no pair is left.
    OSError: A file cannot be written, or the scheduler is gone.
  """
  angles = angles_of(regions, settings.wanted_intervals)
  parts = plan_parts(regions, source, out, settings)
  every = [part for of_region in parts for part in of_region]
  stamp = digest([part.stamp for part in every])
  there = _built(out, stamp)
  if there is not None:
    return Built(len(there), len(set(there['pair_id'])), known=len(every))
  records = {part.name: record for part in every if (record := known_record(part))}
  n_known = len(records)
  for part, angle in zip(every, angles.flat, strict=True):
    if angle > settings.mapping.max_angle_deg and part.name not in records:
      records[part.name] = leave_out(part, f'it lies {angle:.0f} deg from disk centre, beyond max_angle_deg')
  failed = _make_missing(every, records, source, crew, progress)
  untried = len(every) - len(records) - len(failed)
  left_out = [f'{name}: {record.left_out}' for name, record in records.items() if record.left_out]
  left_out += [
    f'{name}: {len(record.skipped)} of its frames, the first since: {record.skipped[0]}'
    for name, record in records.items()
    if record.skipped
  ]
  (out / INDEX_NAME).unlink(missing_ok=True)  # That of a survey that was not whole.
  rows, lacking = _write_regions(out, parts, records)
  if not rows:
    raise UserError(_nothing_left(failed, untried, left_out, len(every)))
  survey = concatenate(rows)
  if '+' in survey.source:
    raise UserError(f'The frames of {out} are of several sources, {survey.source}; use those of one.')
  is_whole = not failed and not untried
  meta = {'stamp': stamp, 'is_whole': is_whole, **query(source), **plain(settings)}
  _write_mapping(out, every, records)
  write_index(out, survey.select(np.lexsort((survey.interval, survey.region))), {'build': meta})
  if is_whole and not settings.keep_parts:
    shutil.rmtree(out / 'parts')
  left_out += lacking
  return Built(len(survey), len(survey.pair_ids), len(records) - n_known, n_known, tuple(left_out), failed, untried)


def angles_of(regions: Sequence[Region], intervals: Sequence[int]) -> np.ndarray:
  """Returns `[region, interval]` heliocentric angles [deg] of regions in the middle of intervals, seen from the Earth.

  Raises:
    UserError: A region lies beyond the limb in all of them.
  """
  hours = np.array([CENTRE_HOURS[interval] for interval in intervals])
  mjd = np.array([region.emergence.utc.mjd for region in regions])[:, None] + hours / 24
  l0, b0 = (values.reshape(mjd.shape) for values in disk_centre(mjd.ravel()))
  place = np.array([(region.longitude, region.latitude) for region in regions])[:, None]
  angles = np.rad2deg(np.arccos(mu(place[..., 0] - l0, place[..., 1], b0)))
  hidden = np.flatnonzero(np.min(angles, axis=1) > 90)
  if hidden.size:
    one = regions[hidden[0]]
    raise UserError(
      f'{one.region_id} (Carrington longitude {one.longitude:.1f}, latitude {one.latitude:.1f} deg) lies beyond the '
      f'limb around {one.emergence.utc.isot[:19]} UTC, and so do {hidden.size - 1} others; look at the longitude and '
      'the emergence_time of the region table.'
    )
  return angles


def remove_survey(out: pathlib.Path) -> None:
  """Removes what an earlier run has built in a folder, to build it anew; tables of the plan stay."""
  index = out / INDEX_NAME
  if index.exists():
    files = set(read_table(index, 'survey index')['file'])
    index.unlink()  # First: a region file alone is no archive.
    for name in files:
      (out / 'regions' / pathlib.Path(name).name).unlink(missing_ok=True)
  shutil.rmtree(out / 'parts', ignore_errors=True)


def _built(out: pathlib.Path, stamp: str) -> Table | None:
  """Returns the index of the survey that is wanted if it is there, whole; None where it is missing, or not whole.

  Raises:
    FileExistsError: There is another one.
  """
  path = out / INDEX_NAME
  if not path.exists():
    return None
  index = read_table(path, 'survey index')
  build = index.meta.get('build', {})
  if build.get('is_whole') is False:
    return None
  if build.get('stamp') != stamp:
    raise FileExistsError(
      f'{out} already holds a survey archive, of other regions, frames or settings; name another folder, or build it '
      'anew with overwrite.'
    )
  return index


def _make_missing(
  every: Sequence[Part], records: dict[str, Record], source: FrameSource, crew: Crew, progress: Progress
) -> dict[str, str]:
  """Makes the parts that have no record yet, and adds theirs; returns why the others failed."""
  failed: dict[str, str] = {}
  missing = [part for part in every if part.name not in records]
  changed = sum(part.record_path.exists() for part in missing)
  if changed:
    warnings.warn(
      f'{changed} magnetograms of an earlier run are made again: their settings, frames, or rows of the region table '
      'have changed.',
      stacklevel=3,
    )
  jobs = (Job(part.name, part.need, functools.partial(make_part, part)) for part in missing)
  for job, outcome in progress(crew.run(jobs, source), total=len(every), initial=len(records)):
    if outcome.reason:
      failed[job.name] = outcome.reason
    else:
      records[job.name] = outcome.value
  return failed


def _write_regions(
  out: pathlib.Path, parts: Sequence[Sequence[Part]], records: dict[str, Record]
) -> tuple[list[Survey], list[str]]:
  """Writes the region files of the pairs of which both halves have something.

  Returns:
    The rows of each region, without pixels, and a sentence for each pair that is left out.
  """
  rows, left_out = [], []
  for pair in zip(parts[::2], parts[1::2], strict=True):
    halves = [_put_together(of_region, records) for of_region in pair]
    lacking = [of_region[0].region for of_region, half in zip(pair, halves, strict=True) if half is None]
    if lacking:
      names = ' and '.join(region.region_id for region in lacking)
      left_out.append(f'pair {lacking[0].pair_id} left out whole: {names} has no magnetogram')
      continue
    for half in halves:
      write_region(out, half)
      rows.append(half.replace(field=half.field[:, :0, :0]))
  return rows, left_out


def _put_together(parts: Sequence[Part], records: dict[str, Record]) -> Survey | None:
  """Returns the magnetograms of a region, None if it has none."""
  made = [part for part in parts if part.name in records and not records[part.name].left_out]
  return concatenate([read_region(part.path) for part in made]) if made else None


def _nothing_left(failed: dict[str, str], untried: int, left_out: Sequence[str], n_parts: int) -> str:
  told = [f'{name}: {reason}' for name, reason in failed.items()] or left_out
  counts = {'failed': len(failed), 'were not tried after that': untried, 'were left out': len(left_out)}
  numbers = ', '.join(f'{count} {what}' for what, count in counts.items() if count)
  return f'There is no pair with a magnetogram in both halves: of {n_parts}, {numbers}. The first is {told[0]}'


def _write_mapping(out: pathlib.Path, parts: Sequence[Part], records: dict[str, Record]) -> None:
  """Writes what was found when magnetograms were made and has no column in the index."""
  made = [(part, records[part.name]) for part in parts if part.name in records and not records[part.name].left_out]
  table = Table()
  table['region_id'] = [part.region.region_id for part, _ in made]
  table['interval'] = [part.interval for part, _ in made]
  for name in NUMBERS:
    table[name] = [record.numbers[name] for _, record in made]
    table[name].unit = UNITS.get(name)
  write_table(out / 'plan' / 'mapping.ecsv', table)
