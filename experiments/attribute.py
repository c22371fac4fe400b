"""Attributes the logits of the networks of a work directory to the pixels of magnetograms.

maps: magnetograms by the networks that they are a test for. composites: field and attribution about the emergence site
by lead time, emerging regions against their controls. sanity: do the maps depend on what was learnt, and does the logit
change when the marked flux goes? maximisation, only where it is asked for: fields of highest logit under constraints.

hearjax attribute --workdir=work
"""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from hearjax.interpret import attribution, attribution_maps, composites, maximisation, sanity, sanity_tables
from hearjax.interpret.attribution import METHODS, PATHS, AttributionSettings
from hearjax.interpret.attribution_maps import AttributionMaps
from hearjax.interpret.findings import Claim, Samples
from hearjax.interpret.maps import MEMBERS, Subject
from hearjax.interpret.maximisation import FieldConstraints
from hearjax.interpret.sanity import SanitySettings
from hearjax.interpret.statistics import Draws
from hearjax.progress import meter
from hearjax.report import attribution_plots, style
from hearjax.training.run import Run

from . import cli, interpreting

FOLDER = 'attribution'
# Flags that the attribution of a map depends on.
MAP_FLAGS = (
  'method',
  'limit_regions',
  'baselines',
  'points',
  'steps',
  'samples',
  'noise_gauss',
  'square_mm',
  'stride_px',
)
# Part -> its products, last the figure.
PRODUCTS = {
  'maps': ('maps', 'attribution.ecsv', 'maps.png'),
  'composites': ('composites.fits', 'composites.png'),
  'sanity': ('resemblance.fits', 'curves.fits', 'sanity_curves.ecsv', 'sanity.ecsv', 'sanity.png'),
  'maximisation': ('maximisation.fits', 'maximisation.ecsv', 'maximisation.png'),
}
DEFAULT = ('maps', 'composites', 'sanity')
Draw = Callable[[], None]  # Draws a figure, after all tables.


def define_flags(flags: cli.Flags) -> None:
  interpreting.define_flags(flags)
  flags.listed('parts', DEFAULT, 'What to do.', choices=tuple(PRODUCTS))
  flags.listed('method', PATHS, 'Methods; claims are of the first.', choices=METHODS)
  flags.integer('limit_regions', 40, 'Regions for maps and composites, in whole pairs; 0 for all.', lower_bound=0)
  flags.settings(AttributionSettings)
  flags.settings(SanitySettings, prefix='sanity_', smooth_mm='smooth_mm')
  flags.integer('permutations', 1000, 'Permutations for the significance of composites.', lower_bound=20)
  flags.integer('starts', 5, 'Fields from which maximisation starts, for each member.', lower_bound=1)
  flags.integer('ascent_steps', 100, 'Steps of maximisation.', lower_bound=1)
  flags.settings(FieldConstraints)


def main(flags: cli.Flags) -> None:
  attribution.check_methods(flags.method)
  settings, checks = flags.build(AttributionSettings), flags.build(SanitySettings)
  constraints = flags.build(FieldConstraints)
  out = pathlib.Path(flags.workdir) / FOLDER
  cli.check_unused(flags, *(out / name for part in flags.parts for name in PRODUCTS[part]))
  run, subjects, draws = interpreting.load(flags)
  members = [subject for subject in subjects if subject.group == MEMBERS]
  figures: list[Draw] = []
  claims: dict[Claim, Samples] = {}
  if {'maps', 'composites'} & set(flags.parts):
    rows = rows_of_pairs(flags, run)
    attributed = attribution_maps.attribute_subjects(
      members, run.survey, flags.method, settings, flags.seed, rows, meter('attributing', 'fold')
    )
    if 'maps' in flags.parts:
      figures.append(write_maps(flags, out, run, attributed))
    if 'composites' in flags.parts:
      figures.append(write_composites(flags, out, run, attributed))
  if 'maximisation' in flags.parts:
    figures.append(write_maximisation(flags, out, run, members, constraints))
  if 'sanity' in flags.parts:  # Last: where its figure is, all is.
    claims, draw = write_sanity(flags, run, subjects, draws, checks, settings)
    figures.append(draw)
  interpreting.tell(flags, run, subjects, draws, claims)
  for draw in meter('drawing', 'figure')(figures):
    draw()
  print(f'All of it is in {out}.')


def rows_of_pairs(flags: cli.Flags, run: Run) -> np.ndarray:
  """Returns the rows of so many pairs that --limit_regions is reached, evenly chosen."""
  n = len(run.survey.pair_ids)
  wanted = min(-(-flags.limit_regions // 2) or n, n)
  return np.flatnonzero(np.isin(run.survey.pair, np.linspace(0, n - 1, wanted).round().astype(int)))


def meta_of(flags: cli.Flags, run: Run, *names: str) -> dict:
  """Returns the meta keys of a table: the survey, and the flags that it depends on."""
  return run.describe({name: getattr(flags, name) for name in ('seed', *names)})


def write_maps(flags: cli.Flags, out: pathlib.Path, run: Run, attributed: AttributionMaps) -> Draw:
  """Writes a FITS file per region, and the table."""
  table = attribution_maps.attribution_table(attributed)
  for stale in (out / 'maps').glob('*.fits'):  # Of an earlier run with more regions, say.
    stale.unlink()
  meta = meta_of(flags, run, *MAP_FLAGS)
  attribution_maps.write_maps(out / 'maps', attributed, meta)
  interpreting.write(flags, run, f'{FOLDER}/attribution.ecsv', table, **meta['settings'])
  missed = attributed.residual.get(flags.method[0])
  told = '' if missed is None else f'; their sums miss the logit by {np.median(missed):.3f} sd in the median'
  print(f'{len(attributed.logit)} magnetograms by networks that did not see their region{told}.')
  rows = attribution_plots.gallery_rows(attributed)
  return lambda: attribution_plots.plot_gallery(attributed, rows, out / 'maps.png')


def write_composites(flags: cli.Flags, out: pathlib.Path, run: Run, attributed: AttributionMaps) -> Draw:
  """Writes composites of field, |field| and attribution as FITS."""
  survey = attributed.survey
  quantities = {'field': (survey.field, True), 'unsigned': (np.abs(survey.field), False)}
  quantities |= {method: (attributed.contribution(method), False) for method in flags.method}
  stacked = {}
  for name, (maps, signed) in meter('stacking', 'composite')(list(quantities.items())):
    maps = attribution.smooth(maps, survey.pixel_scale_mm, flags.smooth_mm)
    maps = composites.hale_frame(maps, survey.latitude, signed)
    stacked[name] = composites.composite(maps, survey, flags.permutations, flags.seed)
  units = {name: 'Gauss' if name in ('field', 'unsigned') else '' for name in stacked}
  meta = meta_of(flags, run, *MAP_FLAGS, 'smooth_mm', 'permutations')
  composites.write_composites(out / 'composites.fits', stacked, units, survey.pixel_scale_mm, meta)
  labels = {'field': 'Field [G]', 'unsigned': '|Field| [G]'}
  labels |= {method: f'{attribution_plots.NAMES[method]}\n[logit per pixel]' for method in flags.method}
  shown = {name: stacked[name] for name in ('field', 'unsigned', flags.method[0])}
  note = f'Smoothed by a Gaussian of {flags.smooth_mm:g} Mm. {style.source_note(survey.source)}'
  path = out / 'composites.png'
  return lambda: attribution_plots.plot_composites(shown, labels, survey.pixel_scale_mm, note, path)


def write_sanity(
  flags: cli.Flags,
  run: Run,
  subjects: list[Subject],
  draws: Draws,
  checks: SanitySettings,
  settings: AttributionSettings,
) -> tuple[dict[Claim, Samples], Draw]:
  """Writes what the sanity checks say; returns the claims, too."""
  alike, followed = sanity.measure(
    subjects, run.survey, flags.method, checks, settings, flags.seed, meter('checking attribution', 'fold')
  )
  table, curves = sanity_tables.sanity_table(alike, followed, draws), sanity_tables.curve_table(followed)
  about = {'sanity': checks, 'attribution': settings, 'method': flags.method}
  interpreting.write(flags, run, f'{FOLDER}/resemblance.fits', alike)
  interpreting.write(flags, run, f'{FOLDER}/curves.fits', followed)
  interpreting.write(flags, run, f'{FOLDER}/sanity_curves.ecsv', curves, **about)
  interpreting.write(flags, run, f'{FOLDER}/sanity.ecsv', table, **about)
  path = run.directory / FOLDER / 'sanity.png'
  draw = lambda: attribution_plots.plot_sanity(table, curves, run.survey.source, path)  # noqa: E731
  return sanity_tables.claims(alike, followed, draws), draw


def write_maximisation(
  flags: cli.Flags, out: pathlib.Path, run: Run, members: list[Subject], constraints: FieldConstraints
) -> Draw:
  """Writes the fields of highest logit as FITS and table; prints what they are like."""
  if constraints.flux_mx is None:
    constraints = dataclasses.replace(constraints, flux_mx=maximisation.median_flux(members, run.survey))
  flux, scale, key = constraints.flux_mx, run.survey.pixel_scale_mm, jax.random.key(flags.seed)
  fields, table = maximisation.maximise_all(
    members, run.survey, constraints, key, flags.starts, flags.ascent_steps, meter('maximising', 'network')
  )
  meta = meta_of(flags, run, 'starts', 'ascent_steps', 'limit_gauss', 'shortest_mm', 'longest_mm')
  meta['settings']['flux_mx'] = flux
  maximisation.write_fields(out / 'maximisation.fits', fields, scale, meta)
  interpreting.write(flags, run, f'{FOLDER}/maximisation.ecsv', table, **meta['settings'])
  logits = {name: np.asarray(table['logit'][table['member'] == name]) for name in fields}
  said = (
    f'|B| up to {constraints.limit_gauss:g} G, no net flux, unsigned flux up to {flux:.2g} Mx, wavelengths of '
    f'{constraints.shortest_mm:g} to {constraints.longest_mm:g} Mm'
  )
  print(
    f'Fields of highest logit ({said}): logit {np.mean(table["logit"]):+.1f} (random fields '
    f'{np.mean(table["logit_random_mean"]):+.1f}), length scale {np.mean(table["length_scale"]):.1f} Mm.'
  )
  note = f'{said}.\n{style.source_note(run.survey.source)}'
  return lambda: attribution_plots.plot_maximisation(fields, logits, scale, note, out / 'maximisation.png')


if __name__ == '__main__':
  cli.run(__name__)
