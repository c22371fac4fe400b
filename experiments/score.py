"""Scores FITS magnetograms with the trained members of a work directory: a table of probabilities, and pictures.

A patch is the square that the network looks at, and its probability is that of emergence at the centre of the patch:
without a place, the observed part of the Sun is tiled with centres --step_mm apart. It is that of a balanced set, in
which half of the patches emerge; --prior turns it into one for the Sun, where few do.

hearjax score --workdir=work --fits=hmi.M_720s.fits --out=scores
"""

import glob
import itertools
import os
import pathlib
import sys

import numpy as np
from astropy.table import Table, vstack

from hearjax.checks import UserError
from hearjax.files import write_table
from hearjax.forecast.patches import forecast_patches
from hearjax.progress import meter, say
from hearjax.training.ensemble import Ensemble
from hearjax.verification.scores import BALANCED, at_prior

from . import cli

TABLE_NAME = 'scores.ecsv'
CHUNK = 1024  # Patches in memory at a time: 15 MB where the network looks at 60 px.
SHOWN_ROWS = 20  # A longer table is no reading.
SHOWN = {
  'file': None,
  'longitude': '.2f',
  'latitude': '.2f',
  'cmd': '.1f',
  'mu': '.2f',
  'probability': '.3f',
  'probability_std': '.3f',
  'unsigned_flux': '.2e',
  'peak_field': '.0f',
  'missing': '.2f',
}


def define_flags(flags: cli.Flags) -> None:
  flags.common('workdir', 'overwrite')
  flags.paths('fits', 'FITS magnetogram, or a quoted pattern such as "*.fits"; may be repeated.')
  flags.number('longitude', None, 'Carrington longitude of the one patch to score [deg]; tiles without it.')
  flags.number('latitude', None, 'Heliographic latitude of it [deg].', lower_bound=-90.0, upper_bound=90.0)
  flags.number('step_mm', 10.0, 'Distance of the centres of neighbouring tiles [Mm].', lower_bound=0.0)
  flags.number('min_coverage', 0.5, 'Least fraction of a tile to be observed.', lower_bound=0.0, upper_bound=1.0)
  text = 'Heliocentric angle beyond which the field counts as missing [deg].'
  flags.number('max_angle', 75.0, text, lower_bound=1.0, upper_bound=90.0)
  flags.number('prior', BALANCED, 'Share of patches that emerge, for which the probabilities hold; half in training.')
  flags.path('out', None, 'Folder for scores.ecsv and one picture per file.')
  flags.require('workdir', 'out')
  flags.writes('out')


def main(flags: cli.Flags) -> None:
  if (flags.longitude is None) != (flags.latitude is None):
    raise UserError('Give --longitude and --latitude together, or neither to tile the map.')
  if not flags.fits:
    raise UserError('Name at least one magnetogram with --fits=FILE.')
  paths = find_files(flags.fits)
  out = pathlib.Path(flags.out)
  pictures = name_pictures(out, paths)
  cli.check_unused(flags, out / TABLE_NAME, *pictures)
  members = Ensemble.load(flags.workdir)
  threshold = float(at_prior(members.threshold, flags.prior))
  tables: list[Table] = []
  try:
    for path, picture in meter('scoring', 'file')(list(zip(paths, pictures, strict=True))):
      try:
        score_file(members, path, picture, flags, tables)
      except (UserError, OSError) as error:
        say(f'error: {" ".join(str(error).split())}', sys.stderr)
  finally:  # Whatever happens to a later file or picture, what was computed is kept.
    if tables:
      table = vstack(tables, metadata_conflicts='error')
      table.meta |= {'threshold': threshold, 'workdir': str(flags.workdir), 'domain': members.domain}
      write_table(out / TABLE_NAME, table)
  if tables:
    print_scores(tables, members.domain, out, threshold)
  if len(tables) < len(paths):
    sys.exit(f'error: {len(paths) - len(tables)} of {len(paths)} files could not be scored.')


def find_files(patterns: list[str]) -> list[pathlib.Path]:
  """Returns the files that paths and patterns name, each once.

  Raises:
    UserError: A pattern matches nothing.
  """
  paths = []
  for pattern in patterns:
    found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) and not os.path.exists(pattern) else [pattern]
    if not found:
      raise UserError(f'No file matches --fits={pattern}.')
    paths += found
  return [pathlib.Path(path) for path in dict.fromkeys(paths)]


def name_pictures(out: pathlib.Path, paths: list[pathlib.Path]) -> list[pathlib.Path]:
  """Returns where the picture of every file goes.

  Raises:
    UserError: Two files have the same name.
  """
  names = [f'{path.name}.png' for path in paths]
  twice = [name for name in names if names.count(name) > 1]
  if twice:
    raise UserError(f'Two files are called {twice[0][:-4]}; score them into separate folders.')
  return [out / name for name in names]


def score_file(
  members: Ensemble, path: pathlib.Path, picture: pathlib.Path, flags: cli.Flags, tables: list[Table]
) -> None:
  """Scores one file, adds its table to `tables`, and then writes its picture.

  Raises:
    UserError: The file is no magnetogram, or shows nothing of the place asked for.
    OSError: It cannot be read, or the picture cannot be written.
  """

  from hearjax.observe.magnetogram import read_magnetogram  # Only here: they need sunpy, which --help does not.
  from hearjax.observe.postel import postel_patch
  from hearjax.observe.tiling import tile_patches
  from hearjax.report import forecast_plots, style

  domain = members.domain
  grid = {'size': domain['size'], 'pixel_scale_mm': domain['pixel_scale_mm'], 'max_angle_deg': flags.max_angle}
  magnetogram = read_magnetogram(path)
  if flags.longitude is None:
    bar = meter(f'scoring {path.name}', 'strip')
    patches = tile_patches(
      magnetogram, **grid, step_mm=flags.step_mm, min_coverage=flags.min_coverage, file=path.name, progress=bar
    )
  else:
    patches = iter([postel_patch(magnetogram, flags.longitude, flags.latitude, **grid, file=path.name)])
  chunks = iter(lambda: list(itertools.islice(patches, CHUNK)), [])
  table = vstack([forecast_patches(members.logits, chunk, domain, flags.prior) for chunk in chunks])
  if (table['missing'] == 1).all():
    place = f'longitude {table["longitude"][0]:.1f}, latitude {table["latitude"][0]:.1f} deg (Carrington)'
    raise UserError(f'{path} shows nothing of the Sun around {place}.')
  tables.append(table)
  figure = forecast_plots.plot_forecasts(magnetogram, table, domain, path.name, flags.step_mm)
  style.save(figure, picture)


def print_scores(tables: list[Table], domain: dict, out: pathlib.Path, threshold: float) -> None:
  for table in tables:
    print(describe_scores(table))
  table = vstack(tables)
  if len(table) <= SHOWN_ROWS:
    shown = table[list(SHOWN)]
    for name, text in SHOWN.items():
      shown[name].info.format = text
    shown['outside'] = ['outside' if text else '' for text in table['outside']]
    shown.pprint(max_lines=-1, max_width=-1, align='<')
  outside = [text for text in table['outside'] if text]
  counts = ', '.join(f'{name} {sum(name in text for text in outside)}' for name in ('flux', 'peak', 'mu', 'missing'))
  for note in sorted({row['note'] for row in table} - {''}):
    of_note = table[table['note'] == note]
    print(f'{len(of_note)} patches of {len(set(of_note["file"]))} files: {note}.')
  prior = tables[0].meta['prior']
  if prior == BALANCED:
    print('A probability is that of a set in which half of the patches emerge, as in training; see --prior.')
  else:
    print(f'A probability is that of a set in which {prior:g} of the patches emerge.')
  reach = np.sum(table['probability'] >= threshold)
  print(f'{reach} of {len(table)} patches reach the threshold chosen in training, {threshold:.3g} in such a set.')
  print(f'{len(outside)} of {len(table)} patches lie outside what the network was trained on ({counts}).')
  print_training(domain)
  print(f'All patches are in {out / TABLE_NAME}.')


def print_training(domain: dict) -> None:
  """Prints in what the survey that the network was trained on differs from frames of the Sun."""
  if domain['n_frames'] > 1:
    print(
      f'Each file is taken for a single frame; the network was trained on means of {domain["n_frames"]} frames, '
      'which are far less noisy.'
    )
  if domain['source'] == 'simulated':
    print('The network was trained on a simulated survey: the probability is no forecast.')


def describe_scores(table: Table) -> str:
  """Returns one line about the patches of one file."""
  outside = sum(text != '' for text in table['outside'])
  best = table[table['probability'].argmax()]
  return (
    f'{best["file"]}: {len(table)} patches, {outside} outside; highest probability {best["probability"]:.3f} at '
    f'longitude {best["longitude"]:.2f}, latitude {best["latitude"]:.2f}{" (outside)" if best["outside"] else ""}'
  )


if __name__ == '__main__':
  cli.run(__name__)
