"""Averages the cubes of the HEAR survey into a survey archive.

  python -m experiments.import_hear --cubes=hear --regions=regions.ecsv --out=survey

The region table (ECSV or CSV) has one row per region: region_id, pair_id, kind (EAR or CR), latitude, longitude [deg,
Carrington], emergence_time (ISO, UTC; of a CR the reference time that stands for it), noaa; optional cmd and b0 [deg]
at the emergence time. An import that was interrupted goes on where it stopped.
"""

from absl import flags

from experiments import cli
from hearjax.survey import hear, region_table
from hearjax.survey.intervals import CENTRE_HOURS

FLAGS = flags.FLAGS
flags.DEFINE_string(
  'cubes', None, 'Folder of the cubes (FITS, time x y x x, line-of-sight field in gauss).', required=True
)
flags.DEFINE_string(
  'pattern',
  region_table.DEFAULT_PATTERN,
  'Path of a cube below --cubes: a Python format string with the columns of the region table and `interval`. HEAR '
  'publishes no layout; the default is our choice.',
)
flags.DEFINE_string('regions', None, 'Region table, ECSV or CSV.', required=True)
flags.DEFINE_string('out', None, 'Folder of the survey archive to write.', required=True)
flags.DEFINE_integer('size', 128, 'Side of the central square to keep [px].')
cli.define_intervals_flag(sorted(CENTRE_HOURS), 'import')
flags.DEFINE_bool('until_emergence', False, 'Leave out the frames after the emergence time.')
flags.DEFINE_float('cadence_s', None, 'Time between frames [s]; default: CDELT3 of the cube, else 45 s.')
flags.DEFINE_float('pixel_scale_mm', None, 'Side of a pixel [Mm] where cubes do not tell; default 1.39.')
flags.DEFINE_float('min_valid', 0.5, 'Fraction of the frames in which a pixel must be finite; NaN where it is not.')
flags.DEFINE_float('max_missing', 0.2, 'Fraction of NaN pixels above which a magnetogram is left out.')
flags.DEFINE_bool('allow_missing', False, 'Leave out the intervals whose cube is not there, rather than stop.')


def main() -> None:
  settings = hear.ImportSettings(
    size=FLAGS.size,
    intervals=cli.intervals_from_flag(),
    until_emergence=FLAGS.until_emergence,
    cadence_s=FLAGS.cadence_s,
    pixel_scale_mm=FLAGS.pixel_scale_mm,
    min_valid=FLAGS.min_valid,
    max_missing=FLAGS.max_missing,
  )
  regions = region_table.read_regions(FLAGS.regions)
  paths = region_table.cube_paths(FLAGS.cubes, FLAGS.pattern, regions, settings.intervals, FLAGS.allow_missing)
  survey, left_out = hear.import_survey(regions, paths, FLAGS.out, settings)
  for line in left_out:
    print(line)
  print(f'{len(survey)} magnetograms of {len(survey.pair_ids)} pairs written to {FLAGS.out}.')


if __name__ == '__main__':
  cli.run(main)
