"""Shows synthetic magnetograms to the trained members of a work directory, and what they notice of injected bipoles.

Parts: `response` (output over length scale and strength, for each family of fields, on each background), `completeness`
(bipoles injected into control regions and recovered), `pairing` (the distance at which opposite poles count for more
than lone ones), `spectral` (the response to single bands of wavelengths) and `invariance` (polarity, mirrors, shifts,
the limb).

python -m experiments.respond --workdir=work
"""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags
from astropy.table import Table

from experiments import cli
from hearjax import fields, finished_run
from hearjax.files import write_table
from hearjax.finished_run import FinishedRun
from hearjax.interpret import completeness, invariance, pole_pairs, probes, response, spectral
from hearjax.interpret.pole_pairs import PairSettings
from hearjax.report import panel_plots, response_plots

PARTS = {
  'response': ('response', 'maximum', 'findings'),
  'completeness': ('completeness', 'detection_limit'),
  'pairing': ('pairing',),
  'spectral': ('spectral',),
  'invariance': ('invariance',),
}
SHOWN_SCALES = 3

cli.define_workdir_flag()
cli.define_survey_flag()
cli.define_seed_flag()
flags.DEFINE_list('parts', list(PARTS), f'What to do, among {", ".join(PARTS)}.')
flags.DEFINE_list('family', list(fields.FAMILIES), f'Families of fields, among {", ".join(fields.FAMILIES)}.')
flags.DEFINE_list('backgrounds', ['none', 'quiet'], f'Backgrounds, among {", ".join(probes.BACKGROUNDS)}.')
flags.DEFINE_list('scales_mm', [], 'Smallest and largest length scale [Mm]; all that the map resolves for none.')
flags.DEFINE_list('peaks_gauss', [], 'Weakest and strongest peak [G]; around those of the training for none.')
flags.DEFINE_list('fluxes_mx', [], 'Smallest and largest unsigned flux [Mx]; around those of the training for none.')
flags.DEFINE_integer('n_scales', response.Sweep.n_scales, 'Length scales of a sweep.')
flags.DEFINE_integer('n_strengths', response.Sweep.n_strengths, 'Strengths of a sweep.')
flags.DEFINE_integer('samples', response.Sweep.samples, 'Directions, draws and patches averaged at each point.')
flags.DEFINE_float('width_mm', None, 'Width of poles and edges, standard deviation [Mm]; that of the family for none.')
flags.DEFINE_float('tilt_deg', None, 'Direction of the fields, clockwise [deg]; all directions for none.')
flags.DEFINE_float('imbalance', 0.0, 'Imbalance of the polarities, between -1 and 1.')
flags.DEFINE_float('place_mm', response.Sweep.place_mm, 'Farthest of the middle of a field from that of the map [Mm].')
flags.DEFINE_float('noise_gauss', response.NOISE_GAUSS, 'Noise of the background `noise` [G].')
flags.DEFINE_multi_string(
  'quiet_fits', [], 'FITS magnetogram of a quiet place, instead of control regions; repeatable.'
)
flags.DEFINE_list('longitude', [], 'Carrington longitude of the quiet place of each --quiet_fits [deg].')
flags.DEFINE_list('latitude', [], 'Heliographic latitude of it [deg].')
flags.DEFINE_list('injected_mx', [], 'Smallest and largest unsigned flux of injected bipoles [Mx].')
flags.DEFINE_list('separations_mm', [], 'Smallest and largest separation of injected bipoles [Mm].')
flags.DEFINE_float('injection_place_mm', completeness.Injection.place_mm, 'The same for injected bipoles [Mm].')
flags.DEFINE_float('false_alarm_rate', completeness.Injection.false_alarm_rate, 'At which bipoles are to be detected.')
flags.DEFINE_integer('trials', completeness.Injection.trials, 'Injections at each flux and separation, per network.')
cli.define_pair_flags()
flags.DEFINE_float(
  'octaves', 1.0, 'Full width at half maximum of the bands of the spectral response [octaves].', 0.1, 8.0
)
flags.DEFINE_integer('resamples', completeness.Injection.resamples, 'Bootstrap samples of the pairs or regions.', 1)
flags.DEFINE_integer('chunk', probes.CHUNK, 'Fields in memory at a time.', lower_bound=1)
cli.define_overwrite_flag()
flags.mark_flag_as_required('workdir')
FLAGS = flags.FLAGS


def main() -> None:
  directory = pathlib.Path(FLAGS.workdir)
  unknown = [part for part in FLAGS.parts if part not in PARTS]
  if unknown or not FLAGS.parts:
    raise ValueError(f'There is no part {", ".join(unknown) or "to do"}; choose among {", ".join(PARTS)}.')
  sweep, injection = sweep_from_flags(), injection_from_flags()
  planted = PairSettings(pairs=FLAGS.planted_pairs, pole_mx=FLAGS.pole_mx)
  cli.check_unused(*(directory / 'response' / f'{name}.ecsv' for part in FLAGS.parts for name in PARTS[part]))
  run = finished_run.load(directory, FLAGS.survey)
  if 'response' in FLAGS.parts:
    do_response(run, sweep)
  if 'completeness' in FLAGS.parts:
    do_completeness(run, injection)
  if 'pairing' in FLAGS.parts:
    do_pairing(run, planted)
  if 'spectral' in FLAGS.parts:
    do_spectral(run)
  if 'invariance' in FLAGS.parts:
    do_invariance(run)
  print(f'Tables are in {directory / "response"}, figures in {directory / "figures"}.')


def do_response(run: FinishedRun, sweep: response.Sweep) -> None:
  quiet = read_quiet_patches(run)
  planes = list(response.respond(run, sweep, FLAGS.seed, quiet, FLAGS.chunk))
  tables = {
    'findings': response.small_and_intense(planes),
    'maximum': response.maximum_table(planes),
    'response': response.response_table(planes),
  }
  for background in sweep.backgrounds:
    shown = [plane for plane in planes if plane.background == background]
    response_plots.plot_response(shown, run.survey.source, figure_path(run, f'response_{background}'))
  plot_examples(run, sweep)
  finding = describe_finding(tables['findings'])
  settings = {**vars(sweep), 'quiet_fits': FLAGS.quiet_fits}
  for name, table in tables.items():
    write(run, name, table, settings, finding=finding)
  print_maxima(tables['maximum'], sweep)
  print(finding)


def do_completeness(run: FinishedRun, injection: completeness.Injection) -> None:
  recovery = completeness.inject(run, injection, FLAGS.seed, FLAGS.chunk)
  table = completeness.completeness_table(recovery, injection.resamples, FLAGS.seed)
  limits = completeness.limit_table(recovery, injection.resamples, FLAGS.seed)
  table.meta['survey_source'] = run.survey.source
  response_plots.plot_completeness(table, limits, figure_path(run, 'completeness'))
  write(run, 'detection_limit', limits, vars(injection), **table.meta)
  write(run, 'completeness', table, vars(injection), **table.meta)
  print(f'Half of the injected bipoles are detected, at a false-alarm rate of {recovery.false_alarm_rate:.3f}, from:')
  for row in limits:
    print(
      f'  {row["separation_mm"]:5.1f} Mm: {describe_limit(row["flux_mx"], row["flux_mx_low"], row["flux_mx_high"])}'
    )


def do_pairing(run: FinishedRun, planted: PairSettings) -> None:
  table = pole_pairs.pairing_table(run, planted, FLAGS.seed)
  panel_plots.plot_pairing(table, figure_path(run, 'pairing'))
  write(run, 'pairing', table, {'planted_pairs': planted})
  print(panel_plots.describe_pairing(table.meta) + '.')


def do_spectral(run: FinishedRun) -> None:
  table = spectral.spectral_table(run, octaves=FLAGS.octaves, resamples=FLAGS.resamples, seed=FLAGS.seed)
  panel_plots.plot_spectral(table, figure_path(run, 'spectral'))
  write(run, 'spectral', table, {'octaves': FLAGS.octaves, 'resamples': FLAGS.resamples})
  print(' '.join(panel_plots.describe_peak(table.meta).split()) + '.')


def do_invariance(run: FinishedRun) -> None:
  table = invariance.invariance_table(run, FLAGS.seed, FLAGS.resamples)
  panel_plots.plot_invariance(table, figure_path(run, 'invariance'))
  write(run, 'invariance', table, {'resamples': FLAGS.resamples})
  print(f'The networks read: {table.meta["verdict"]}.')


# --- Flags --------------------------------------------------------------------------------------------------------


def sweep_from_flags() -> response.Sweep:
  return response.Sweep(
    families=tuple(FLAGS.family),
    backgrounds=tuple(FLAGS.backgrounds),
    scales_mm=numbers('scales_mm'),
    peaks_gauss=numbers('peaks_gauss'),
    fluxes_mx=numbers('fluxes_mx'),
    n_scales=FLAGS.n_scales,
    n_strengths=FLAGS.n_strengths,
    width_mm=FLAGS.width_mm,
    tilt_deg=FLAGS.tilt_deg,
    imbalance=FLAGS.imbalance,
    place_mm=FLAGS.place_mm,
    samples=FLAGS.samples,
    noise_gauss=FLAGS.noise_gauss,
  )


def injection_from_flags() -> completeness.Injection:
  return completeness.Injection(
    fluxes_mx=numbers('injected_mx'),
    separations_mm=numbers('separations_mm'),
    width_mm=FLAGS.width_mm,
    place_mm=FLAGS.injection_place_mm,
    trials=FLAGS.trials,
    false_alarm_rate=FLAGS.false_alarm_rate,
    resamples=FLAGS.resamples,
  )


def numbers(flag: str) -> tuple[float, ...]:
  """Returns the value of a list flag as numbers.

  Raises:
    ValueError: One of them is no number.
  """
  try:
    return tuple(float(value) for value in FLAGS[flag].value)
  except ValueError as error:
    raise ValueError(f'--{flag} takes numbers with commas between them, got {",".join(FLAGS[flag].value)}.') from error


def read_quiet_patches(run: FinishedRun) -> np.ndarray | None:
  """Returns `[n, y, x]` the patches that --quiet_fits name [G], or None without it.

  Raises:
    ValueError: A file has no place of its own, is no magnetogram, or shows nothing there.
  """
  places = list(zip(numbers('longitude'), numbers('latitude'), strict=False))
  if not len(FLAGS.quiet_fits) == len(FLAGS.longitude) == len(FLAGS.latitude):
    raise ValueError(
      f'Give one --longitude and one --latitude for each --quiet_fits; got {len(FLAGS.quiet_fits)} files, '
      f'{len(FLAGS.longitude)} longitudes and {len(FLAGS.latitude)} latitudes.'
    )
  if not places:
    return None
  from hearjax.survey import hmi  # Needs the extra `sun`.

  grid = probes.visible_grid(run)
  patches = []
  for path, place in zip(FLAGS.quiet_fits, places, strict=True):
    patch = hmi.postel_patch(hmi.read_magnetogram(path), *place, grid.size, grid.pixel_scale_mm)
    if patch.missing == 1:
      raise ValueError(f'{path} shows nothing of the Sun around longitude {place[0]}, latitude {place[1]} deg.')
    patches.append(patch.field)
  return np.stack(patches)


# --- Output -------------------------------------------------------------------------------------------------------


def write(run: FinishedRun, name: str, table: Table, settings: dict[str, Any], **meta: Any) -> None:
  table.meta |= run.describe({**settings, 'seed': FLAGS.seed}) | meta
  write_table(run.directory / 'response' / f'{name}.ecsv', table)


def figure_path(run: FinishedRun, name: str) -> pathlib.Path:
  return run.directory / 'figures' / f'{name}.png'


def plot_examples(run: FinishedRun, sweep: response.Sweep) -> None:
  """Draws each family at three scales, with the geometric mean of the training fluxes."""
  grid = probes.visible_grid(run)
  flux = float(np.sqrt(np.prod(run.ensemble.domain['unsigned_flux_mx'])))
  examples = {}
  for family in sweep.families:
    limits = sweep.scales_mm or (3 * grid.pixel_scale_mm, 0.7 * fields.largest_scale_mm(family, grid, sweep.width_mm))
    scales = np.geomspace(*limits, SHOWN_SCALES)
    examples[family] = []
    for scale in scales:
      width = fields.default_width_mm(family, grid, scale) if sweep.width_mm is None else sweep.width_mm
      shape = fields.create_shape(scale, width, sweep.tilt_deg or 0.0, sweep.imbalance)
      field = fields.at_flux(fields.pattern(family, grid, shape), grid, jnp.float32(flux))
      examples[family].append((scale, np.asarray(field)))
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
  cli.run(main)
