"""Shows synthetic magnetograms to the trained members of a work directory, and what they notice of injected bipoles.

Parts: `response` (output over length scale and strength, for each family of fields, on each background), `completeness`
(bipoles injected into control regions and recovered), `pairing` (the distance at which opposite poles count for more
than lone ones), `spectral` (the response to single bands of wavelengths) and `invariance` (polarity, mirrors, shifts,
the limb).

hearjax respond --workdir=work
"""

import pathlib
from typing import Any

import numpy as np
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_table
from hearjax.interpret import completeness, invariance, pole_pairs, response, spectral
from hearjax.interpret.maps import visible_grid
from hearjax.interpret.pole_pairs import PairSettings
from hearjax.interpret.probes import CHUNK, example_fields
from hearjax.maps import synthetic
from hearjax.report import panel_plots, response_plots
from hearjax.training.run import Run

from . import cli

PARTS = {
  'response': ('response', 'maximum', 'findings'),
  'completeness': ('completeness', 'detection_limit'),
  'pairing': ('pairing',),
  'spectral': ('spectral',),
  'invariance': ('invariance',),
}
SHOWN_SCALES = 3


def define_flags(flags: cli.Flags) -> None:
  flags.common('workdir', 'survey', 'seed', 'overwrite')
  flags.listed('parts', tuple(PARTS), 'What to do.', choices=tuple(PARTS))
  flags.settings(response.Sweep, families='family')
  flags.paths('quiet_fits', 'FITS magnetogram of a quiet place, instead of control regions; repeatable.')
  flags.listed('longitude', (), 'Carrington longitude of the quiet place of each --quiet_fits [deg].', float)
  flags.listed('latitude', (), 'Heliographic latitude of it [deg].', float)
  flags.integer('resamples', 1000, 'Bootstrap samples of the pairs or regions.', lower_bound=1)
  flags.settings(
    completeness.Injection,
    fluxes_mx='injected_mx',
    place_mm='injection_place_mm',
    width_mm='width_mm',
    resamples='resamples',
  )
  flags.settings(PairSettings, prefix='planted_', pole_mx='pole_mx')
  flags.number('octaves', 1.0, 'Full width at half maximum of the bands of the spectral response [octaves].')
  flags.integer('chunk', CHUNK, 'Fields in memory at a time.', lower_bound=1)
  flags.require('workdir')
  flags.writes('workdir', must_exist=True)


def main(flags: cli.Flags) -> None:
  directory = pathlib.Path(flags.workdir)
  sweep, injection = flags.build(response.Sweep), flags.build(completeness.Injection)
  planted = flags.build(PairSettings)
  cli.check_unused(flags, *(directory / 'response' / f'{name}.ecsv' for part in flags.parts for name in PARTS[part]))
  run = cli.load_run(flags)
  if 'response' in flags.parts:
    do_response(flags, run, sweep)
  if 'completeness' in flags.parts:
    do_completeness(flags, run, injection)
  if 'pairing' in flags.parts:
    do_pairing(flags, run, planted)
  if 'spectral' in flags.parts:
    do_spectral(flags, run)
  if 'invariance' in flags.parts:
    do_invariance(flags, run)
  print(f'Tables are in {directory / "response"}, figures in {directory / "figures"}.')


def do_response(flags: cli.Flags, run: Run, sweep: response.Sweep) -> None:
  quiet = read_quiet_patches(flags, run)
  planes = list(response.respond(run, sweep, flags.seed, quiet, flags.chunk))
  tables = {
    'findings': response.small_and_intense(planes),
    'maximum': response.maximum_table(planes),
    'response': response.response_table(planes),
  }
  finding = describe_finding(tables['findings'])
  settings = {**vars(sweep), 'quiet_fits': flags.quiet_fits}
  for name, table in tables.items():
    write(flags, run, name, table, settings, finding=finding)
  for background in sweep.backgrounds:
    shown = [plane for plane in planes if plane.background == background]
    response_plots.plot_response(shown, run.survey.source, figure_path(run, f'response_{background}'))
  plot_examples(run, sweep)
  print_maxima(tables['maximum'], sweep)
  print(finding)


def do_completeness(flags: cli.Flags, run: Run, injection: completeness.Injection) -> None:
  recovery = completeness.inject(run, injection, flags.seed, flags.chunk)
  table = completeness.completeness_table(recovery, injection.resamples, flags.seed)
  limits = completeness.limit_table(recovery, injection.resamples, flags.seed)
  table.meta['survey_source'] = run.survey.source
  write(flags, run, 'detection_limit', limits, vars(injection), **table.meta)
  write(flags, run, 'completeness', table, vars(injection), **table.meta)
  response_plots.plot_completeness(table, limits, figure_path(run, 'completeness'))
  print(f'Half of the injected bipoles are detected, at a false-alarm rate of {recovery.false_alarm_rate:.3f}, from:')
  for row in limits:
    print(
      f'  {row["separation_mm"]:5.1f} Mm: {describe_limit(row["flux_mx"], row["flux_mx_low"], row["flux_mx_high"])}'
    )


def do_pairing(flags: cli.Flags, run: Run, planted: PairSettings) -> None:
  table = pole_pairs.pairing_table(run, planted, flags.seed)
  write(flags, run, 'pairing', table, {'planted_pairs': planted})
  panel_plots.plot_pairing(table, figure_path(run, 'pairing'))
  print(panel_plots.describe_pairing(table.meta) + '.')


def do_spectral(flags: cli.Flags, run: Run) -> None:
  table = spectral.spectral_table(run, octaves=flags.octaves, resamples=flags.resamples, seed=flags.seed)
  write(flags, run, 'spectral', table, {'octaves': flags.octaves, 'resamples': flags.resamples})
  panel_plots.plot_spectral(table, figure_path(run, 'spectral'))
  print(' '.join(panel_plots.describe_peak(table.meta).split()) + '.')


def do_invariance(flags: cli.Flags, run: Run) -> None:
  table = invariance.invariance_table(run, flags.seed, flags.resamples)
  write(flags, run, 'invariance', table, {'resamples': flags.resamples})
  panel_plots.plot_invariance(table, figure_path(run, 'invariance'))
  print(f'The networks read: {table.meta["verdict"]}.')


# --- Input --------------------------------------------------------------------------------------------------------


def read_quiet_patches(flags: cli.Flags, run: Run) -> np.ndarray | None:
  """Returns `[n, y, x]` the patches that --quiet_fits name [G], or None without it.

  Raises:
    UserError: A file has no place of its own, is no magnetogram, or shows nothing there.
  """
  places = list(zip(flags.longitude, flags.latitude, strict=False))
  if not len(flags.quiet_fits) == len(flags.longitude) == len(flags.latitude):
    raise UserError(
      f'Give one --longitude and one --latitude for each --quiet_fits; got {len(flags.quiet_fits)} files, '
      f'{len(flags.longitude)} longitudes and {len(flags.latitude)} latitudes.'
    )
  if not places:
    return None

  from hearjax.observe.magnetogram import read_magnetogram  # They need the extra `sun`.
  from hearjax.observe.postel import postel_patch

  grid = visible_grid(run)
  patches = []
  for path, place in zip(flags.quiet_fits, places, strict=True):
    patch = postel_patch(read_magnetogram(path), *place, grid.size, grid.pixel_scale_mm)
    if patch.missing == 1:
      raise UserError(f'{path} shows nothing of the Sun around longitude {place[0]}, latitude {place[1]} deg.')
    patches.append(patch.field)
  return np.stack(patches)


# --- Output -------------------------------------------------------------------------------------------------------


def write(flags: cli.Flags, run: Run, name: str, table: Table, settings: dict[str, Any], **meta: Any) -> None:
  table.meta |= run.describe({**settings, 'seed': flags.seed}) | meta
  write_table(run.directory / 'response' / f'{name}.ecsv', table)


def figure_path(run: Run, name: str) -> pathlib.Path:
  return run.directory / 'figures' / f'{name}.png'


def plot_examples(run: Run, sweep: response.Sweep) -> None:
  """Draws each family at three scales, with the geometric mean of the training fluxes."""
  grid = visible_grid(run)
  flux = float(np.sqrt(np.prod(run.ensemble.domain['unsigned_flux_mx'])))
  examples = {}
  for family in sweep.families:
    limits = sweep.scales_mm or (
      3 * grid.pixel_scale_mm,
      0.7 * synthetic.largest_scale_mm(family, grid, sweep.width_mm),
    )
    scales = np.geomspace(*limits, SHOWN_SCALES)
    fields = example_fields(family, grid, scales, flux, sweep.width_mm, sweep.tilt_deg or 0.0, sweep.imbalance)
    examples[family] = list(zip(scales, fields, strict=True))
  path = figure_path(run, 'synthetic_fields')
  response_plots.plot_fields(examples, grid.pixel_scale_mm, flux, path, run.survey.source)


def print_maxima(maxima: Table, sweep: response.Sweep) -> None:
  background = 'quiet' if 'quiet' in sweep.backgrounds else sweep.backgrounds[0]
  shown = maxima[(maxima['background'] == background) & (maxima['fixed'] == 'flux')]
  print(
    f'Largest output at fixed flux, background {background}, median [16 to 84 %] of {shown["members"][0]} networks:'
  )
  for row in shown:
    edges = [name for name in ('scale', 'strength') if row[f'{name}_at_edge'] > row['members'] / 2]
    bound = f' (at the edge of what was searched in {" and ".join(edges)}: a bound)' if edges else ''
    where = 'whole plane' if row['within'] == 'plane' else 'training range'
    print(
      f'  {row["family"]:>13}, {where:>14}: {row["scale_mm"]:5.1f} [{row["scale_mm_low"]:.1f}, '
      f'{row["scale_mm_high"]:.1f}] Mm, {row["flux_mx"]:.1e} Mx, logit {row["change"]:+.1f}{bound}'
    )


def describe_finding(findings: Table) -> str:
  """Returns what is to be said of the paper's finding, for each background."""
  parts = []
  for background in dict.fromkeys(findings['background']):
    rows = findings[findings['background'] == background]
    verdicts = {
      'found for': rows['found'],
      'not found for': ~rows['found'] & rows['determined'],
      'too little of the plane in the training range to tell for': ~rows['determined'],
    }
    said = [
      f'{verdict} {", ".join(map(str, rows["family"][such]))}' for verdict, such in verdicts.items() if such.any()
    ]
    parts.append(f'background {background}: {"; ".join(said)}')
  return f'Small-scale, intense fields give the largest output (rule: see `small_and_intense`): {". ".join(parts)}.'


def describe_limit(flux: float, low: float, high: float) -> str:
  if np.isinf(flux):
    return 'not reached by any flux injected'
  if flux == 0:
    return 'every flux injected'
  bounds = [f'{low:.1e}' if low > 0 else 'less than injected', f'{high:.1e}' if np.isfinite(high) else 'not reached']
  return f'{flux:.1e} Mx [{bounds[0]}, {bounds[1]}]'


if __name__ == '__main__':
  cli.run(__name__)
