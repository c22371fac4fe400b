"""Simulates a survey of emerging and control regions and writes it as an archive.

  hearjax simulate_survey --out=survey
  hearjax simulate_survey --out=survey --pairs=8 --intervals=-5,-4,-3,-2,-1,0,1 --figure=pairs.png
  hearjax simulate_survey --out=survey --pairs=20 --compare_with='hmi/*.fits' --figure=real.png

The worlds: `default`, regions emerge; `null`, none does, and no skill is possible; `flux`, the classes differ in flux
only; `pattern`, they differ in the arrangement of the same flux. A simulated survey is no evidence about the Sun.
"""

import glob
import pathlib
import time

import numpy as np

import hearjax
from hearjax.checks import UserError
from hearjax.progress import meter
from hearjax.report import survey_plots
from hearjax.simulate.sun import Sun, change_sun
from hearjax.simulate.worlds import WORLDS, describe
from hearjax.survey.archive import check_unused
from hearjax.survey.intervals import PRE_EMERGENCE

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.common('seed', 'overwrite')
  flags.path('out', None, 'Folder of the survey archive to write.')
  flags.integer('pairs', 182, 'Number of pairs, each of an emerging and a control region.')
  flags.integer('size', 128, 'Side of a map [px of 1.39 Mm].')
  flags.listed('intervals', PRE_EMERGENCE, 'Intervals to observe, from -5 to 1.', int)
  flags.choice('world', 'default', WORLDS, 'What tells the classes apart.')
  flags.repeated('sun', 'Parameter of the simulated Sun to change, NAME=VALUE (see hearjax/simulate/sun.py).')
  flags.path('figure', None, 'PNG file: the first pairs through the intervals, or with --compare_with, both.')
  flags.path('compare_with', None, 'Real HMI magnetograms (FITS, a glob pattern) to draw beside simulated ones.')
  flags.require('out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  start = time.perf_counter()
  if flags.compare_with and not flags.figure:
    raise UserError('--compare_with draws a figure; say with --figure=FILE.png where to write it.')
  if not flags.overwrite:
    check_unused(flags.out)
  sun = change_sun(Sun(), flags.sun)
  real = read_real_patches(flags.compare_with, flags.size, sun.pixel_scale_mm) if flags.compare_with else {}
  survey = hearjax.simulate_survey(
    flags.seed, flags.pairs, flags.intervals, flags.size, flags.world, sun, meter('simulating', 'chunk')
  )
  meta = describe(flags.seed, flags.world, sun)
  hearjax.write_survey(flags.out, survey, meta, flags.overwrite, meter('writing', 'region'))
  if real:
    survey_plots.plot_comparison(survey, real, flags.figure)
  elif flags.figure:
    survey_plots.plot_pairs(survey, flags.figure)
  print(
    f'{len(survey)} magnetograms of {len(survey.pair_ids)} pairs (world {flags.world}) written to {flags.out} '
    f'in {time.perf_counter() - start:.0f} s.'
  )


def read_real_patches(pattern: str, size: int, pixel_scale_mm: float) -> dict[str, np.ndarray]:
  """Returns name -> `[size, size]` field [G] of the middle of each magnetogram, mapped as the survey is."""
  from hearjax.observe.magnetogram import read_magnetogram  # Only here: they need sunpy, which a simulation does not.
  from hearjax.observe.postel import middle_position, postel_patch

  paths = sorted(glob.glob(pattern))
  if not paths:
    raise FileNotFoundError(f'--compare_with={pattern} matches no file.')
  patches = {}
  for path in paths:
    magnetogram = read_magnetogram(path)
    patch = postel_patch(magnetogram, *middle_position(magnetogram), size, pixel_scale_mm)
    patches[pathlib.Path(path).stem] = patch.field
  return patches


if __name__ == '__main__':
  cli.run(__name__)
