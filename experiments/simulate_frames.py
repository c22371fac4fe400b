"""Simulates full-disk magnetograms of a Sun on which regions emerge, as FITS files like HMI's, and daily reports.

  hearjax simulate_frames --out=sky
  hearjax simulate_frames --out=sky --days=5 --emergences=3 --size=512
  hearjax simulate_frames --out=sky --lost=0.1 --bad=0.05 --sun=region_mx=1e22

What was planted is in truth.ecsv, what the reports say in sightings.ecsv. An interrupted simulation goes on where it
was. It is no evidence about the Sun.
"""

import time

from hearjax.progress import meter
from hearjax.simulate.disk import DiskSettings
from hearjax.simulate.sun import Sun, change_sun

from . import cli


def define_flags(flags: cli.Flags) -> None:
  flags.common('seed')
  flags.path('out', None, 'Folder to write: frames, reports, and what was planted.')
  flags.settings(DiskSettings)
  flags.repeated('sun', 'Parameter of the simulated Sun to change, NAME=VALUE (see hearjax/simulate/sun.py).')
  flags.require('out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  settings = flags.build(DiskSettings)
  sun = change_sun(Sun(), flags.sun)

  from hearjax.simulate.disk_files import simulate_frames  # Only here: it needs sunpy, and a mistake is told at once.

  start = time.perf_counter()
  frames = simulate_frames(flags.out, settings, sun, meter('simulating', 'frame'))
  count = sum(1 for _ in frames.glob('*.fits'))
  print(
    f'{count} frames of {settings.size} x {settings.size} px in {frames}, {settings.emergences} emerging regions in '
    f'{flags.out}/truth.ecsv, in {time.perf_counter() - start:.0f} s.'
  )


if __name__ == '__main__':
  cli.run(__name__)
