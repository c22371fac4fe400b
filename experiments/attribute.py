"""Attributes the logits of trained members to the pixels of magnetograms: maps, composites, sanity, best fields.

maps: every magnetogram by the members that it is a test for. composites: field and attribution about the emergence
site by lead time, emerging regions against their controls. sanity: do the maps depend on what was learnt, and does the
logit change when the marked flux goes? maximisation: fields of highest logit under constraints.

hearjax attribute --workdir=work --method=integrated_gradients
"""

import dataclasses
import pathlib

import jax
import numpy as np

from hearjax.checks import UserError
from hearjax.files import write_table
from hearjax.interpret import attribution, attribution_maps, composites, maximisation, sanity
from hearjax.interpret.attribution import METHODS, AttributionSettings
from hearjax.interpret.attribution_maps import AttributionMaps
from hearjax.interpret.maximisation import FieldConstraints
from hearjax.report import attribution_plots, style
from hearjax.training.run import Run

from . import cli

FAST = tuple(method for method in METHODS if method != 'occlusion')  # Which needs more than all others together.

# Flags that the attribution of a map depends on.
MAP_FLAGS = ('method', 'limit_regions', 'steps', 'tolerance', 'samples', 'noise_gauss', 'square_mm', 'stride_px')
PRODUCTS = {
  'maps': ('maps', 'attribution.ecsv', 'maps.png'),
  'composites': ('composites.fits', 'composites.png'),
  'sanity': ('sanity.ecsv', 'sanity_networks.ecsv', 'sanity_curves.ecsv', 'sanity.png'),
  'maximisation': ('maximisation.fits', 'maximisation.ecsv', 'maximisation.png'),
}


def define_flags(flags: cli.Flags) -> None:
  flags.common('workdir', 'survey', 'seed', 'overwrite')
  flags.listed('parts', tuple(PRODUCTS), 'What to do.', choices=tuple(PRODUCTS))
  flags.listed('method', FAST, 'Methods.', choices=METHODS)
  flags.integer('limit_regions', 0, 'Regions for maps and composites, in whole pairs; 0 for all.', lower_bound=0)
  flags.settings(AttributionSettings)
  flags.number('smooth_mm', 3.0, 'Standard deviation of the smoothing before maps are compared [Mm].', lower_bound=0.0)
  flags.integer('resamples', 1000, 'Permutations for the significance of composites.', lower_bound=20)
  flags.integer('sanity_maps', 24, 'Magnetograms for the sanity checks, over all members.', lower_bound=2)
  flags.integer('starts', 5, 'Fields from which maximisation starts, for each member.', lower_bound=1)
  flags.integer('ascent_steps', 100, 'Steps of maximisation.', lower_bound=1)
  flags.settings(FieldConstraints)
  flags.require('workdir')
  flags.writes('workdir', must_exist=True)


def main(flags: cli.Flags) -> None:
  attribution.check_methods(flags.method)
  if not flags.smooth_mm < float('inf'):
    raise UserError(f'--smooth_mm must be a finite length, got {flags.smooth_mm}.')
  settings, constraints = flags.build(AttributionSettings), flags.build(FieldConstraints)
  out = pathlib.Path(flags.workdir) / 'attribution'
  cli.check_unused(flags, *(out / name for part in flags.parts for name in PRODUCTS[part]))
  run = cli.load_run(flags)
  key = jax.random.key(flags.seed)
  if {'maps', 'composites'} & set(flags.parts):
    attributed = attribution_maps.attribute_run(run, flags.method, settings, key, rows_of_pairs(flags, run))
    if 'composites' in flags.parts:
      write_composites(flags, out, run, attributed)
    if 'maps' in flags.parts:
      write_maps(flags, out, run, attributed)
  if 'sanity' in flags.parts:
    write_sanity(flags, out, run, settings, key)
  if 'maximisation' in flags.parts:
    write_maximisation(flags, out, run, constraints, key)
  print(f'All of it is in {out}.')


def rows_of_pairs(flags: cli.Flags, run: Run) -> np.ndarray:
  """Returns the rows of so many pairs that --limit_regions is reached."""
  pairs = -(-flags.limit_regions // 2) or len(run.survey.pair_ids)
  return np.flatnonzero(run.survey.pair < pairs)


def meta_of(flags: cli.Flags, run: Run, *names: str) -> dict:
  """Returns the meta keys of a table: the survey, and the flags that it depends on."""
  return run.describe({name: getattr(flags, name) for name in ('seed', *names)})


# --- Maps -------------------------------------------------------------------------------------------------------


def write_maps(flags: cli.Flags, out: pathlib.Path, run: Run, attributed: AttributionMaps) -> None:
  """Writes a FITS file per region, the table, and a gallery; prints a summary."""
  table = attribution_maps.attribution_table(attributed)
  table.meta = meta_of(flags, run, *MAP_FLAGS)
  for stale in (out / 'maps').glob('*.fits'):  # Of an earlier run with more regions, say.
    stale.unlink()
  attribution_maps.write_maps(out / 'maps', attributed, table.meta)
  write_table(out / 'attribution.ecsv', table)
  attribution_plots.plot_gallery(attributed, attribution_plots.gallery_rows(attributed), out / 'maps.png')
  print(f'Attribution of {len(attributed.logit)} magnetograms, each by members that did not see its region.')
  print(f'{"Share of |attribution| near the site":<38}{"10 Mm PE / NE":>16}{"20 Mm PE / NE":>16}')
  label = np.asarray(table['label'])
  for method in flags.method:
    cells = []
    for radius in attribution_maps.RADII_MM:
      within = table[f'within_{radius:.0f}mm']
      shares = [np.mean(within[(table['method'] == method) & (label == value)]) for value in (1, 0)]
      cells.append('{:.2f} / {:.2f}'.format(*shares))
    print(f'  {attribution_plots.NAMES[method]:<36}{cells[0]:>16}{cells[1]:>16}')
  if 'integrated_gradients' in flags.method:
    residual = attributed.residual
    print(
      f'Completeness of integrated gradients: residual {np.median(residual):.2%} in the median, '
      f'{residual.max():.2%} at most.'
    )


# --- Composites -------------------------------------------------------------------------------------------------


def write_composites(flags: cli.Flags, out: pathlib.Path, run: Run, attributed: AttributionMaps) -> None:
  """Writes composites of field, |field| and attribution as FITS and picture; prints what is significant."""
  survey = attributed.survey
  quantities = {'field': (survey.field, True), 'unsigned': (np.abs(survey.field), False)}
  quantities |= {method: (attributed.contribution(method), False) for method in flags.method}
  stacked = {}
  for name, (maps, signed) in quantities.items():
    maps = attribution.smooth(maps, survey.pixel_scale_mm, flags.smooth_mm)
    maps = composites.hale_frame(maps, survey.latitude, signed)
    stacked[name] = composites.composite(maps, survey, flags.resamples, flags.seed)
  units = {name: 'Gauss' if name in ('field', 'unsigned') else '' for name in stacked}
  meta = meta_of(flags, run, *MAP_FLAGS, 'smooth_mm', 'resamples')
  composites.write_composites(out / 'composites.fits', stacked, units, survey.pixel_scale_mm, meta)
  labels = {'field': 'Field [G]', 'unsigned': '|Field| [G]'}
  labels |= {method: f'{attribution_plots.NAMES[method]}\n[logit per pixel]' for method in flags.method}
  shown = {name: stacked[name] for name in ('field', 'unsigned', flags.method[0])}
  note = f'Smoothed by a Gaussian of {flags.smooth_mm:g} Mm. {style.source_note(survey.source)}'
  attribution_plots.plot_composites(shown, labels, survey.pixel_scale_mm, note, out / 'composites.png')
  hours = stacked['field'].hours
  print(f'{"Pixels where PE and NE differ (5 %)":<36}' + ''.join(f'{hour:+9.1f} h' for hour in hours))
  for name, composite in stacked.items():
    counts = composite.significant.sum(axis=(1, 2))
    print(f'  {labels[name].partition(chr(10))[0]:<34}' + ''.join(f'{count:>11}' for count in counts))


# --- Sanity -----------------------------------------------------------------------------------------------------


def write_sanity(flags: cli.Flags, out: pathlib.Path, run: Run, settings: AttributionSettings, key: jax.Array) -> None:
  """Writes what the sanity checks say, as tables and picture; prints which methods pass."""
  summary, networks, curves = sanity.check_run(run, flags.method, settings, key, flags.sanity_maps, flags.smooth_mm)
  for table in (summary, networks, curves):
    table.meta = meta_of(flags, run, 'method', 'sanity_maps', 'smooth_mm', 'steps', 'samples', 'noise_gauss')
  write_table(out / 'sanity_networks.ecsv', networks)
  write_table(out / 'sanity_curves.ecsv', curves)
  write_table(out / 'sanity.ecsv', summary)
  attribution_plots.plot_sanity(networks, curves, out / 'sanity.png')
  print(
    'Sanity. Randomised weights: passed where the signed, smoothed map resembles that of a random network less than '
    f'{sanity.RESEMBLANCE:g} times as much as those of other members.\nDeletion, insertion: passed where the area '
    f'beyond a random order is more than {sanity.ERRORS:g} standard errors.'
  )
  print(f'  {"":<22}{"members":>9}{"random":>8}{"":<6}{"deletion":>15}{"":<6}{"insertion":>15}')
  for row in summary:
    cells = [
      f'{row[f"{check}_beyond_random"]:+.2f} ± {row[f"{check}_beyond_random_error"]:.2f}'
      for check in ('deletion', 'insertion')
    ]
    passed = ['ok' if row[f'passes_{check}'] else 'FAILS' for check in ('randomisation', 'deletion', 'insertion')]
    print(
      f'  {attribution_plots.NAMES[row["method"]]:<22}{row["signed_members"]:>9.2f}{row["signed_random"]:>8.2f} '
      f'{passed[0]:<5}{cells[0]:>15} {passed[1]:<5}{cells[1]:>15} {passed[2]:<5}'
    )


# --- Maximisation -----------------------------------------------------------------------------------------------


def write_maximisation(
  flags: cli.Flags, out: pathlib.Path, run: Run, constraints: FieldConstraints, key: jax.Array
) -> None:
  """Writes the fields of highest logit as FITS, table and picture; prints what they are like."""
  if constraints.flux_mx is None:
    constraints = dataclasses.replace(constraints, flux_mx=maximisation.median_flux(run))
  flux = constraints.flux_mx
  fields, table = maximisation.maximise_run(run, constraints, key, flags.starts, flags.ascent_steps)
  scale = run.survey.pixel_scale_mm
  names = ('starts', 'ascent_steps', 'limit_gauss', 'shortest_mm', 'longest_mm')
  table.meta = meta_of(flags, run, *names)
  table.meta['settings']['flux_mx'] = flux
  maximisation.write_fields(out / 'maximisation.fits', fields, scale, table.meta)
  write_table(out / 'maximisation.ecsv', table)
  logits = {name: np.asarray(table['logit'][table['member'] == name]) for name in fields}
  said = (
    f'|B| up to {constraints.limit_gauss:g} G, no net flux, unsigned flux up to {flux:.2g} Mx, wavelengths of '
    f'{constraints.shortest_mm:g} to {constraints.longest_mm:g} Mm'
  )
  note = f'{said}.\n{style.source_note(run.survey.source)}'
  attribution_plots.plot_maximisation(fields, logits, scale, note, out / 'maximisation.png')
  print(f'Fields of highest logit ({said}):')
  for name in fields:
    rows = table[table['member'] == name]
    print(
      f'  {name}: logit {np.mean(rows["logit"]):+.1f} (random fields {rows["logit_random_mean"][0]:+.1f}, at most '
      f'{rows["logit_random_max"][0]:+.1f}); length scale {np.mean(rows["length_scale"]):.1f} Mm, '
      f'peak {np.mean(rows["peak_field"]):.0f} G, kurtosis {np.mean(rows["kurtosis"]):.0f}'
    )


if __name__ == '__main__':
  cli.run(__name__)
