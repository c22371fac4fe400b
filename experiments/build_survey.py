"""Builds a survey from magnetograms of the whole disk: a folder of them, or what JSOC gives.

  hearjax build_survey --catalogue=srs --frames=frames --out=survey
  hearjax build_survey --catalogue=srs --jsoc_email=you@example.org --out=survey
  hearjax build_survey --regions=regions.ecsv --frames=frames --out=survey --scheduler=tcp://host:8786

First the plan: which regions of the catalogue emerged on the disk, when, and control regions for them; OUT/regions.ecsv
is the region table, OUT/plan tells how it came about. Then each region in each interval, one by one and in any order.
The same command again makes what is missing, and only that. Frames whose header says TELESCOP = SIMULATED give a survey
of the source `simulated`.
"""

import collections
import dataclasses
import os
import pathlib
import sys
from typing import Any

from hearjax.checks import UserError
from hearjax.observe.building.cluster import ClusterSettings, open_crew
from hearjax.observe.region_table import read_regions
from hearjax.observe.sources.frame_index import index_folder
from hearjax.observe.sources.frames import FolderSource, FrameSource, check_quality_mask
from hearjax.observe.sources.jsoc_settings import EMAIL_VARIABLE, JsocSettings
from hearjax.progress import meter

from . import cli

MOST_LINES = 20  # Of a list of what was left out, or failed.


def define_flags(flags: cli.Flags) -> None:
  from hearjax.observe.building.parts import BuildSettings  # Only here: these need sunpy.
  from hearjax.observe.building.plan import PlanSettings

  flags.path('catalogue', None, 'Folder of Solar Region Summaries of NOAA, or a table of sightings (ECSV or CSV).')
  flags.path(
    'emergers',
    None,
    'Table of the regions that emerged (ECSV or CSV: noaa; latitude, longitude, emergence_time, first_report_time '
    'where --catalogue does not tell them); else they are found in --catalogue.',
  )
  flags.path('regions', None, 'Region table (ECSV or CSV) that says all; there is nothing to plan then.')
  flags.path('frames', None, 'Folder of FITS magnetograms of the whole disk; asked from JSOC without it.')
  flags.string('pattern', '*.fits', 'Names of the files in --frames.')
  flags.path('out', None, 'Folder of the survey archive to write.')
  flags.common('overwrite')
  flags.settings(PlanSettings, catalogue='catalogue_', emergence='emergence_', controls='control_', curves='flux_')
  flags.settings(BuildSettings)
  flags.settings(ClusterSettings)
  flags.settings(JsocSettings, 'jsoc_', quality_mask='quality_mask')
  flags.path('jsoc_folder', None, 'Where requests and frames of JSOC are kept; jsoc in --out without it.')
  flags.require('out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  from hearjax.observe.building.build import build_survey, remove_survey
  from hearjax.observe.building.parts import BuildSettings
  from hearjax.observe.building.plan import REGIONS, PlanSettings, plan_regions, read_catalogue

  out = pathlib.Path(flags.out)
  plan, settings, cluster = (flags.build(kind) for kind in (PlanSettings, BuildSettings, ClusterSettings))
  if not (flags.regions or flags.catalogue or flags.emergers):
    raise UserError('Name the regions: --catalogue or --emergers, from which they are planned, or --regions.')
  if flags.regions:
    regions = read_regions(flags.regions)
  else:
    catalogue = read_catalogue(flags.catalogue, flags.emergers, plan.catalogue)
  if flags.overwrite:
    remove_survey(out)
    (out / REGIONS).unlink(missing_ok=True)
  source = open_source(flags, out)
  with open_crew(cluster, out) as crew:
    if not flags.regions:
      follow = meter('following flux', 'curve')
      regions = plan_regions(catalogue, seldom(source, flags, plan.curves.minutes), out, plan, crew, follow)
      print(f'{len(regions) // 2} pairs of regions in {out / REGIONS}.')
    built = build_survey(regions, source, out, settings, crew, meter('building', 'magnetogram'))
  tell(built, out)


def open_source(flags: cli.Flags, out: pathlib.Path) -> FrameSource:
  """Returns where frames come from.

  Raises:
    UserError: Neither a folder nor an address is named, or both are.
  """
  if flags.frames and flags.jsoc_email:
    raise UserError('Frames come from --frames or from JSOC (--jsoc_email); name one of them.')
  if flags.frames:
    index = out / 'plan' / 'frames.ecsv'
    folder = pathlib.Path(flags.frames).resolve()
    check_quality_mask(flags.quality_mask)
    index_folder(folder, flags.pattern, index, meter('reading', 'header'))  # The source finds it up to date.
    return FolderSource(folder, flags.pattern, flags.quality_mask, index)
  if not (flags.jsoc_email or os.environ.get(EMAIL_VARIABLE)):
    raise UserError(
      'Say where frames come from: --frames names a folder of them, --jsoc_email (or the environment variable '
      f'{EMAIL_VARIABLE}) your registered address for asking JSOC.'
    )
  from hearjax.observe.sources.jsoc import JsocSource  # Only here: it needs drms.

  folder = pathlib.Path(flags.jsoc_folder or out / 'jsoc').resolve()  # Workers may have started elsewhere.
  return JsocSource(folder, flags.build(JsocSettings))


def seldom(source: FrameSource, flags: cli.Flags, minutes: float) -> FrameSource:
  """Returns the source of frames for curves of flux: of JSOC only those are asked that are used."""
  if flags.frames or not minutes:
    return source
  settings = source.settings
  return type(source)(source.folder, dataclasses.replace(settings, cadence_s=max(settings.cadence_s, 60 * minutes)))


def tell(built: Any, out: pathlib.Path) -> None:
  """Prints what was done; ends the script with a sentence where something failed."""
  for line in built.left_out[:MOST_LINES]:
    print(f'left out: {line}')
  if len(built.left_out) > MOST_LINES:
    print(f'left out: {len(built.left_out) - MOST_LINES} more')
  print(
    f'{built.magnetograms} magnetograms of {built.pairs} pairs in {out}; {built.made} made in this run, {built.known} '
    'before.'
  )
  if built.is_whole:
    return
  names = collections.defaultdict(list)
  for name, reason in built.failed.items():
    names[reason].append(name)
  for reason, own in sorted(names.items(), key=lambda item: -len(item[1]))[:MOST_LINES]:
    print(f'failed: {own[0]}{f" and {len(own) - 1} more" if len(own) > 1 else ""}: {reason}')
  untried = f', {built.untried} were not tried after that' if built.untried else ''
  sys.exit(f'error: {len(built.failed)} magnetograms failed{untried}; mend what is told above and run again.')


if __name__ == '__main__':
  cli.run(__name__)
