"""The page itself: sections into one HTML file that needs nothing else."""

import base64
import hashlib
from collections.abc import Sequence

import jinja2

import hearjax
from hearjax.report.page.comparison import comparison_section
from hearjax.report.page.contents import Contents
from hearjax.report.page.interpretation import (
  attribution_section,
  invariance_section,
  pruning_section,
  rates_section,
  response_section,
  scale_section,
  scan_section,
)
from hearjax.report.page.making import making_section
from hearjax.report.page.parts import Section
from hearjax.report.page.scores import skill_section, verification_section
from hearjax.report.page.sections import findings_section, survey_section, training_section, verdict_section

SECTIONS = (
  verdict_section,
  findings_section,
  survey_section,
  training_section,
  skill_section,
  verification_section,
  pruning_section,
  response_section,
  attribution_section,
  invariance_section,
  scale_section,
  rates_section,
  scan_section,
  making_section,
)
MARK = 'hearjax report'  # The generator that a page names: by it a page is known again.
NOTE_SIMULATED = 'Simulated survey: no evidence about the Sun'


def build_sections(contents: Contents, other: Contents | None = None) -> list[Section]:
  """Returns all sections in their order; beside another run, that comparison comes first."""
  sections = [build(contents) for build in SECTIONS]
  return [comparison_section(contents, other), *sections] if other is not None else sections


def render(contents: Contents, sections: Sequence[Section], other: Contents | None = None) -> str:
  """Returns the page of a work directory.

  Args:
    contents: What it holds.
    sections: From `build_sections`.
    other: Another run that is laid beside it in them.

  Returns:
    HTML with all pictures, styles and scripts inside. It may load nothing: its own content policy forbids it.
  """
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('hearjax.report.page'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  script = environment.loader.get_source(environment, 'script.js')[0]
  # The one script of the page is named by its content: another one that came in by a name would not be run.
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  return environment.get_template('report.html.jinja').render(
    contents=contents,
    sections=sections,
    headline=headline(contents, other),
    is_simulated=contents.is_simulated or (other is not None and other.is_simulated),
    notes=notes(contents),
    version=hearjax.__version__,
    mark=MARK,
    script=script,
    digest=digest,
  )


def headline(contents: Contents, other: Contents | None = None) -> str:
  """Returns what the page says on top of where its magnetograms come from."""
  runs = [run for run in (contents, other) if run is not None]
  if any(run.is_simulated for run in runs):
    return NOTE_SIMULATED
  sources = dict.fromkeys(source for run in runs for source in run.sources)
  if not all(run.sources for run in runs):
    return 'Source of the survey not stated: no evidence about anything until it is'
  return f'Survey: {", ".join(sources)}'


def notes(contents: Contents) -> list[str]:
  """Returns what a reader must know before anything else: damaged files, files of several surveys."""
  told = list(contents.damaged)
  if len(contents.checksums) > 1:
    told.append(
      f'The files of this folder are of {len(contents.checksums)} different surveys: they do not belong together. '
      'Run verify, prune, respond and attribute again with --overwrite.'
    )
  return told
