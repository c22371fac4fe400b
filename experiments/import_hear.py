"""Averages the cubes of the HEAR survey into a survey archive.

  hearjax import_hear --cubes=hear --regions=regions.ecsv --out=survey

The region table (ECSV or CSV) has one row per region: region_id, pair_id, kind (EAR or CR), latitude, longitude [deg,
Carrington], emergence_time (ISO, UTC; of a CR the reference time that stands for it), noaa; optional cmd and b0 [deg]
at the emergence time. An import that was interrupted goes on where it stopped.
"""

from hearjax.observe import hear, region_table
from hearjax.progress import meter

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.path('cubes', None, 'Folder of the cubes (FITS, time x y x x, line-of-sight field in gauss).')
  flags.string(
    'pattern',
    region_table.DEFAULT_PATTERN,
    'Path of a cube below --cubes: a Python format string with the columns of the region table and `interval`. HEAR '
    'publishes no layout; the default is our choice.',
  )
  flags.path('regions', None, 'Region table, ECSV or CSV.')
  flags.path('out', None, 'Folder of the survey archive to write.')
  flags.settings(hear.ImportSettings)
  flags.switch('allow_missing', False, 'Leave out the intervals whose cube is not there, rather than stop.')
  flags.require('cubes', 'regions', 'out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  settings = flags.build(hear.ImportSettings)
  regions = region_table.read_regions(flags.regions)
  paths = region_table.cube_paths(flags.cubes, flags.pattern, regions, settings.intervals, flags.allow_missing)
  survey, left_out = hear.import_survey(regions, paths, flags.out, settings, meter('averaging', 'cube'))
  for line in left_out:
    print(line)
  print(f'{len(survey)} magnetograms of {len(survey.pair_ids)} pairs written to {flags.out}.')


if __name__ == '__main__':
  cli.run(__name__)
