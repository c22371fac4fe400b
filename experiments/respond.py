"""Shows the networks of a work directory fields and changes whose answer says what they look for.

Parts: `response` (synthetic fields in quiet Sun: width, distance, scale and flux), `completeness` (bipoles injected
into control regions and recovered), `scale` (width and distance of planted poles, wavelengths) and `invariance`
(polarity, order, mirrors, shifts, the limb). References that cannot know of any of it are shown the same.

hearjax respond --workdir=work
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hearjax.checks import UserError
from hearjax.interpret import completeness, invariance, preferences, scale, synthetic
from hearjax.interpret.completeness import Injection
from hearjax.interpret.findings import SKILL, SUPPORTED, Claim, Samples, judge, skill
from hearjax.interpret.maps import MEMBERS, Subject, visible_grid
from hearjax.interpret.network import CHUNK
from hearjax.interpret.references import FIELD_METER, FLUX_METER
from hearjax.interpret.scale import ScaleSettings
from hearjax.interpret.statistics import Draws
from hearjax.interpret.synthetic import SyntheticSettings
from hearjax.progress import meter
from hearjax.report import invariance_plots, response_plots, scale_plots
from hearjax.training.run import Run

from . import cli, interpreting

# Part -> its products, last the figure.
PARTS = {
  'response': ('response/response.ecsv', 'response/effects.ecsv', 'figures/response.png'),
  'completeness': ('response/completeness.ecsv', 'response/detection_limit.ecsv', 'figures/completeness.png'),
  'scale': ('response/scale.ecsv', 'figures/scale.png'),
  'invariance': ('response/invariance.ecsv', 'figures/invariance.png'),
}
DETECTORS = (MEMBERS, FIELD_METER, FLUX_METER)  # Whose completeness is told.

# What a part finds, and what draws it; tables are written before any figure is drawn.
Found = tuple[Mapping[Claim, Samples], Callable[[], None]]


def define_flags(flags: cli.Flags) -> None:
  interpreting.define_flags(flags)
  flags.listed('parts', tuple(PARTS), 'What to do.', choices=tuple(PARTS))
  flags.settings(SyntheticSettings, families='family', place_mm='place_mm')
  flags.paths('quiet_fits', 'FITS magnetogram of a quiet place, instead of control regions; repeatable.')
  flags.listed('longitude', (), 'Carrington longitude of the quiet place of each --quiet_fits [deg].', float)
  flags.listed('latitude', (), 'Heliographic latitude of it [deg].', float)
  flags.settings(Injection, prefix='injected_')
  flags.settings(ScaleSettings, prefix='planted_')
  flags.integer('chunk', CHUNK, 'Fields in memory at a time.', lower_bound=1)


def main(flags: cli.Flags) -> None:
  steps = {'response': do_response, 'completeness': do_completeness, 'scale': do_scale, 'invariance': do_invariance}
  settings = {kind: flags.build(kind) for kind in (SyntheticSettings, Injection, ScaleSettings)}
  directory = pathlib.Path(flags.workdir)
  cli.check_unused(flags, *(directory / name for part in flags.parts for name in PARTS[part]))
  run, subjects, draws = interpreting.load(flags)
  settings[SyntheticSettings] = with_window(settings[SyntheticSettings], run)
  claims: dict[Claim, Samples] = {}
  figures = []
  for part in flags.parts:
    found, draw = steps[part](flags, run, subjects, draws, settings)
    claims |= found
    figures.append(draw)
  interpreting.tell(flags, run, subjects, draws, claims)
  for draw in meter('drawing', 'figure')(figures):  # After all tables.
    draw()
  print(f'Tables are in {directory / "response"}, figures in {directory / "figures"}.')


def with_window(settings: SyntheticSettings, run: Run) -> SyntheticSettings:
  """Returns the settings with the central window of the networks, where they have one."""
  return dataclasses.replace(settings, window_mm=run.settings.model.centre_mm or settings.window_mm)


def do_response(flags: cli.Flags, run: Run, subjects: list[Subject], draws: Draws, settings: dict[type, Any]) -> Found:
  """Shows synthetic fields."""
  shown, survey = settings[SyntheticSettings], run.survey
  quiet = read_quiet_patches(flags, run, subjects[0])
  show = meter('showing synthetic fields', 'network')
  measured = synthetic.measure(subjects, survey, shown, flags.seed, quiet, flags.chunk, show)
  effects = preferences.effects(measured, draws)
  curves, plane = preferences.curve_table(measured, draws), preferences.response_table(measured, draws)
  examples = synthetic.example_fields(visible_grid(subjects[0].network, survey), shown, flags.seed)
  about = {'synthetic': shown, 'quiet_fits': flags.quiet_fits}
  interpreting.write(flags, run, 'response/probes.fits', measured)
  interpreting.write(flags, run, 'response/effects.ecsv', preferences.effect_table(effects, flags.seed), **about)
  interpreting.write(flags, run, 'response/curves.ecsv', curves, **about)
  interpreting.write(flags, run, 'response/response.ecsv', plane, **about)

  def draw() -> None:
    source = survey.source
    response_plots.plot_fields(examples, survey.pixel_scale_mm, source, figure_path(run, 'synthetic_fields'))
    response_plots.plot_curves(curves, source, figure_path(run, 'response_curves'))
    response_plots.plot_plane(plane, source, figure_path(run, 'response'))

  return preferences.claims(effects), draw


def do_completeness(
  flags: cli.Flags, run: Run, subjects: list[Subject], draws: Draws, settings: dict[type, Any]
) -> Found:
  """Injects bipoles into control maps."""
  injection = settings[Injection]
  asked = [subject for subject in subjects if subject.group in DETECTORS]
  show = meter('injecting bipoles', 'network')
  injected = completeness.inject(asked, run.survey, injection, flags.seed, flags.chunk, show)
  table, limits = completeness.completeness_tables(injected, draws, injection)
  interpreting.write(flags, run, 'response/injected.fits', injected)
  interpreting.write(flags, run, 'response/detection_limit.ecsv', limits, injection=injection)
  interpreting.write(flags, run, 'response/completeness.ecsv', table, injection=injection)
  path = figure_path(run, 'completeness')
  return {}, lambda: response_plots.plot_completeness(table, limits, run.survey.source, path)


def do_scale(flags: cli.Flags, run: Run, subjects: list[Subject], draws: Draws, settings: dict[type, Any]) -> Found:
  """Plants poles, and reduces maps to bands of wavelengths."""
  planted = settings[ScaleSettings]
  responses = scale.respond(subjects, run.survey, draws, planted, flags.seed, meter('planting poles', 'network'))
  table = scale.describe(subjects, run.survey, responses, planted, flags.seed)
  claims = scale.samples(responses)
  found = judge({SKILL: skill(subjects, run.survey, draws), **claims}, flags.seed)
  for name in ('width', 'pairing'):
    table.meta[f'{name}_supported'] = bool(np.any(found['verdict'][found['claim'] == name] == SUPPORTED))
  interpreting.write(flags, run, 'response/scale.ecsv', table, planted=planted)
  return claims, lambda: scale_plots.plot_scale(table, run.survey.source, figure_path(run, 'scale'))


def do_invariance(
  flags: cli.Flags, run: Run, subjects: list[Subject], draws: Draws, settings: dict[type, Any]
) -> Found:
  """Shows changed maps."""
  shown = invariance.show(subjects, run.survey, draws, flags.seed, progress=meter('changing maps', 'fold'))
  table = invariance.invariance_table(shown, flags.seed)
  interpreting.write(flags, run, 'response/invariance.ecsv', table)
  path = figure_path(run, 'invariance')
  return invariance.samples(shown), lambda: invariance_plots.plot_invariance(table, run.survey.source, path)


def figure_path(run: Run, name: str) -> pathlib.Path:
  return run.directory / 'figures' / f'{name}.png'


def read_quiet_patches(flags: cli.Flags, run: Run, subject: Subject) -> np.ndarray | None:
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

  grid = visible_grid(subject.network, run.survey)
  patches = []
  for path, place in zip(flags.quiet_fits, places, strict=True):
    patch = postel_patch(read_magnetogram(path), *place, grid.size, grid.pixel_scale_mm)
    if patch.missing == 1:
      raise UserError(f'{path} shows nothing of the Sun around longitude {place[0]}, latitude {place[1]} deg.')
    patches.append(patch.field)
  return np.stack(patches)


if __name__ == '__main__':
  cli.run(__name__)
