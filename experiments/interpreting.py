"""What prune, respond and attribute share: the networks that are asked, and how findings are kept and told."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from hearjax.files import write_table
from hearjax.interpret import filters, invariance, preferences, pruning, sanity, sanity_tables, scale, synthetic
from hearjax.interpret.attribution import PATHS, AttributionSettings
from hearjax.interpret.filters import FilterSettings
from hearjax.interpret.findings import NAME, SKILL, Claim, Samples, add_findings, judge, skill, told
from hearjax.interpret.maps import MEMBERS, Subject, check_subjects, members_of
from hearjax.interpret.pruning import PruningSettings
from hearjax.interpret.references import ReferenceSettings, make_references
from hearjax.interpret.sanity import SanitySettings
from hearjax.interpret.scale import ScaleSettings
from hearjax.interpret.statistics import Draws
from hearjax.interpret.synthetic import SyntheticSettings
from hearjax.progress import meter
from hearjax.report.finding_plots import plot_findings
from hearjax.survey.survey import Survey
from hearjax.training.run import Run

from . import cli

FIGURE = 'figures/findings.png'


def define_flags(flags: cli.Flags) -> None:
  """Defines the flags of all three."""
  flags.common('workdir', 'survey', 'seed', 'overwrite')
  flags.integer('resamples', 500, 'Bootstrap samples of the pairs and networks.', lower_bound=20)
  flags.settings(ReferenceSettings)
  flags.require('workdir')
  flags.writes('workdir', must_exist=True)


def load(flags: cli.Flags) -> tuple[Run, list[Subject], Draws]:
  """Returns the run, its networks and the references, and the draws of its pairs."""
  settings = flags.build(ReferenceSettings)
  run = cli.load_run(flags)
  members = members_of(run)
  check_subjects(members, run.survey)
  subjects = [*members, *make_references(run, settings, flags.seed, meter('training references', 'network'))]
  return run, subjects, Draws.of(run.survey, flags.resamples, flags.seed)


def write(flags: cli.Flags, run: Run, path: str, table: Table, **settings: Any) -> None:
  """Writes a table of the work directory, with what it depends on in its meta: of a FITS file the survey alone."""
  described = run.describe({**settings, 'seed': flags.seed, 'resamples': flags.resamples})
  if path.endswith('.fits'):  # Whose header holds no settings.
    described = {'SOURCE': described['survey_source'], 'SURVEYID': described['survey_checksum'][:16]}
  table.meta |= described
  write_table(pathlib.Path(run.directory) / path, table)


def by_group(found: Iterable[Any], claim: Claim) -> dict[str, list[np.ndarray]]:
  """Returns the samples of a claim by group, from what was found of each network (`subject`, `samples`)."""
  samples: dict[str, list[np.ndarray]] = {}
  for each in found:
    samples.setdefault(each.subject.group, []).append(each.samples[claim.name])
  return samples


def measure_all(
  subjects: Sequence[Subject], survey: Survey, draws: Draws, window_mm: float, seed: int
) -> tuple[dict[Claim, Samples], dict[str, float]]:
  """Measures all that prune, respond and attribute claim, with their defaults, of any networks.

  Args:
    subjects: Members and references.
    survey: Their maps.
    draws: Draws of the pairs.
    window_mm: Radius of the central window within which fluxes are fixed [Mm].
    seed: Of everything that is drawn.

  Returns:
    The claims with their samples, and the scales that are found (`scale.describe`).
  """
  claims: dict[Claim, Samples] = {}
  responses = [
    filters.measure(subject, survey, draws, FilterSettings())
    for subject in meter('reading filters', 'network')(subjects)
  ]
  claims |= {claim: by_group(responses, claim) for claim in filters.CLAIMS}
  pruned = [
    pruning.prune(subject, survey, draws, PruningSettings())
    for subject in meter('pruning', 'network')(subjects)
    if subject.group in (MEMBERS, *pruning.FEW.references)
  ]
  claims[pruning.FEW] = by_group(pruned, pruning.FEW)
  shown = SyntheticSettings(window_mm=window_mm)
  fields = synthetic.measure(subjects, survey, shown, seed, progress=meter('showing synthetic fields', 'network'))
  claims |= preferences.claims(preferences.effects(fields, draws))
  poles = scale.respond(subjects, survey, draws, ScaleSettings(), seed, meter('planting poles', 'network'))
  claims |= scale.samples(poles)
  changed = invariance.show(subjects, survey, draws, seed, invariance.COSTING, meter('changing maps', 'fold'))
  claims |= invariance.samples(changed)
  alike, followed = sanity.measure(
    subjects, survey, PATHS[:1], SanitySettings(), AttributionSettings(), seed, meter('checking attribution', 'fold')
  )
  claims |= sanity_tables.claims(alike, followed, draws)
  return claims, scale.describe(subjects, survey, poles, ScaleSettings(), seed).meta


def tell(flags: cli.Flags, run: Run, subjects: list[Subject], draws: Draws, claims: Mapping[Claim, Samples]) -> None:
  """Judges claims, adds them to the findings of the work directory, draws all of these, and prints the new ones."""
  found = judge({SKILL: skill(subjects, run.survey, draws), **claims}, flags.seed)
  text = told(found)
  table = add_findings(pathlib.Path(run.directory) / NAME, found, run.describe({'seed': flags.seed}))
  plot_findings(table, run.survey.source, pathlib.Path(run.directory) / FIGURE)
  print(text)
  if run.survey.source == 'simulated':
    print('The survey is simulated: this says what the networks learnt of the simulation, and nothing about the Sun.')
