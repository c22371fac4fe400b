"""Simulates a survey of emerging and control regions and writes it as an archive.

  python -m experiments.simulate_survey --out=survey
  python -m experiments.simulate_survey --out=survey --pairs=8 --intervals=-5,-4,-3,-2,-1,0,1 --figure=pairs.png
  python -m experiments.simulate_survey --out=survey --pairs=20 --compare_with='hmi/*.fits' --figure=real.png

The worlds: `default`, regions emerge; `null`, none does, and no skill is possible; `flux`, the classes differ in flux
only; `pattern`, they differ in the arrangement of the same flux. A simulated survey is no evidence about the Sun.
"""

import glob
import pathlib
import time

import numpy as np
from absl import flags

from experiments import cli
from hearjax.report import survey_plots
from hearjax.survey import archive, simulate
from hearjax.survey.intervals import PRE_EMERGENCE
from hearjax.survey.sun import Sun, change_sun

FLAGS = flags.FLAGS
cli.define_seed_flag()
flags.DEFINE_string('out', None, 'Folder of the survey archive to write.', required=True)
flags.DEFINE_integer('pairs', 182, 'Number of pairs, each of an emerging and a control region.')
flags.DEFINE_integer('size', 128, 'Side of a map [px of 1.39 Mm].')
cli.define_intervals_flag(PRE_EMERGENCE, 'observe')
flags.DEFINE_enum('world', 'default', list(simulate.WORLDS), 'What tells the classes apart.')
flags.DEFINE_multi_string(
  'sun', [], 'Parameter of the simulated Sun to change, NAME=VALUE (see hearjax/survey/sun.py).'
)
flags.DEFINE_string('figure', None, 'PNG file: the first pairs through the intervals, or with --compare_with, both.')
flags.DEFINE_string('compare_with', None, 'Real HMI magnetograms (FITS, a glob pattern) to draw beside simulated ones.')


def main() -> None:
  start = time.perf_counter()
  intervals = cli.intervals_from_flag()
  if FLAGS.compare_with and not FLAGS.figure:
    raise ValueError('--compare_with draws a figure; say with --figure=FILE.png where to write it.')
  archive.check_unused(FLAGS.out)
  sun = change_sun(Sun(), FLAGS.sun)
  real = read_real_patches(FLAGS.compare_with, FLAGS.size, sun.pixel_scale_mm) if FLAGS.compare_with else {}
  survey = simulate.simulate_survey(FLAGS.seed, FLAGS.pairs, intervals, FLAGS.size, FLAGS.world, sun)
  archive.write_survey(FLAGS.out, survey, meta=simulate.describe(FLAGS.seed, FLAGS.world, sun))
  if real:
    survey_plots.plot_comparison(survey, real, FLAGS.figure)
  elif FLAGS.figure:
    survey_plots.plot_pairs(survey, FLAGS.figure)
  print(
    f'{len(survey)} magnetograms of {len(survey.pair_ids)} pairs (world {FLAGS.world}) written to {FLAGS.out} '
    f'in {time.perf_counter() - start:.0f} s.'
  )


def read_real_patches(pattern: str, size: int, pixel_scale_mm: float) -> dict[str, np.ndarray]:
  """Returns name -> `[size, size]` field [G] of the middle of each magnetogram, mapped as the survey is."""
  from hearjax.survey import hmi  # Only here: it needs sunpy, which a simulation does not.

  paths = sorted(glob.glob(pattern))
  if not paths:
    raise FileNotFoundError(f'--compare_with={pattern} matches no file.')
  patches = {}
  for path in paths:
    magnetogram = hmi.read_magnetogram(path)
    middle = magnetogram.center.transform_to(
      hmi.HeliographicCarrington(observer=magnetogram.observer_coordinate, obstime=magnetogram.reference_date)
    )
    patch = hmi.postel_patch(magnetogram, middle.lon.deg, middle.lat.deg, size, pixel_scale_mm)
    patches[pathlib.Path(path).stem] = patch.field
  return patches


if __name__ == '__main__':
  cli.run(main)
