"""The model card of a run, after Mitchell et al. (2019, arXiv:1810.03993)."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from hearjax.interpret.maps import MEMBERS
from hearjax.report.cards.evidence import Evidence, read_evidence
from hearjax.report.cards.markdown import bounded, bullets, joined, literal, number, table, verbatim
from hearjax.report.style import is_simulated
from hearjax.verification.calibration import EACH, HALF, ONE, OWN
from hearjax.verification.verdict import rows_where

RULES = {
  EACH: 'calibrated for each lead time, then 0.5',
  ONE: 'one threshold for all lead times',
  OWN: 'the one that the model brings along',
  HALF: '0.5 of the probability as it came',
}
FACTORS = ('mu', '|latitude| [deg]', 'central unsigned flux [1e20 Mx]')  # Of `verification/strata.ecsv`.
NO_EVIDENCE = 'The magnetograms are simulated: no skill here is evidence about the Sun.'


def model_card(workdir: str | os.PathLike) -> str:
  """Writes the card of a run: markdown with YAML in front, all of it from the files of the work directory.

  What is not there, or is of another survey, is named as such.

  Args:
    workdir: The work directory.

  Raises:
    FileNotFoundError: There is no such folder.
  """
  run = read_evidence(pathlib.Path(workdir))
  simulated = is_simulated(run.source)
  sections = (
    ('', [f'**{NO_EVIDENCE}**' if simulated else '', _source_told(run)]),
    ('Model', _architecture(run)),
    ('Training data', _training_data(run)),
    ('How it was evaluated', _evaluation(run)),
    ('Skill', _skill(run)),
    ('Factors', _factors(run)),
    ('Calibration and base rates', _calibration(run)),
    ('What the networks learnt', _findings(run)),
    ('Where it may be used', [*_domain(run), bullets(_uses(simulated))]),
    ('Limits and caution', [bullets(_cautions(run, simulated))]),
    ('How it was made', _making(run)),
    ('Not in this card', [bullets([literal(line) for line in run.missing]) if run.missing else '']),
  )
  return joined(f'Run {literal(run.name)}: emergence of active regions', _head(run, simulated), sections)


def _head(run: Evidence, simulated: bool) -> dict[str, Any]:
  means = _of_model(run, 'skill_mean', threshold_rule=EACH)
  metrics = [
    {'type': 'tss', 'name': 'True Skill Statistic, mean before emergence', 'value': float(row['tss'])} for row in means
  ]
  dataset = {'type': run.source or 'unknown', 'name': f'survey, source {run.source or "not stated"}'}
  if run.config:
    dataset['revision'] = run.config['settings']['survey_checksum']
  results = [{'task': {'type': 'image-classification'}, 'dataset': dataset, 'metrics': metrics}] if metrics else []
  return {
    'library_name': 'hearjax',
    'pipeline_tag': 'image-classification',
    'license': 'unknown',
    'tags': ['solar-physics', 'magnetograms', *(['simulated'] if simulated else [])],
    'simulated': simulated if run.source else 'unknown',
    'model-index': [{'name': run.name, 'results': results}],
  }


def _of_model(run: Evidence, name: str, **wanted: object) -> Table:
  """Returns the rows of a table that are of the model of the card; none where there is no such table."""
  return rows_where(run.tables[name], model=run.model, **wanted) if name in run.tables else Table()


def _source_told(run: Evidence) -> str:
  return f'Source of the magnetograms: {literal(run.source)}.' if run.source else 'Nothing says what it was trained on.'


def _architecture(run: Evidence) -> list[str]:
  if not run.config:
    return [f'The model {literal(run.model)} was not trained by hearjax in this folder; its form is not known here.']
  settings = run.config['settings']
  model, members = settings['model'], settings['folds'] * settings['seeds']
  layers = zip(model['widths'], model['kernels'], model['strides'], strict=True)
  crop = f'the central {model["crop_px"]} px' if model['crop_px'] else 'the whole map'
  window = f'and over a central window of {model["centre_mm"]:g} Mm' if model['centre_mm'] else 'alone'
  return [
    f'{members} convolutional networks without normalisation ({settings["folds"]} folds x {settings["seeds"]} seeds), '
    f'each of which sees {crop}; the probability is the mean over seeds.',
    table(['layer', 'filters', 'kernel', 'stride'], [[n, *layer] for n, layer in enumerate(layers, 1)]),
    bullets(
      [
        f'Input: field clipped at {model["limit_gauss"]:g} G, in units of {model["scale_gauss"]:g} G.',
        f'After the layers (ReLU): averages over the square {window}, then one logit.',
        'The logit is of emergence at the centre of the map, in a set of which half emerges.',
      ]
    ),
  ]


def _training_data(run: Evidence) -> list[str]:
  if not run.config:
    return []
  settings, domain = run.config['settings'], run.config['domain']
  learnt = settings['train_intervals']
  named = ', '.join(f'TI{number:+03d}' for number in learnt) if learnt else 'all before emergence'
  rows = [
    ['source', literal(domain['source'])],
    ['SHA-256 of the survey', f'`{literal(settings["survey_checksum"])}`'],
    ['intervals learnt from', named],
    ['frames averaged in a map (median)', domain['n_frames']],
    ['pixel', f'{domain["pixel_scale_mm"]:g} Mm'],
  ]
  return [table(['what', 'value'], rows), 'What is in the survey stands in its dataset card.']


def _evaluation(run: Evidence) -> list[str]:
  lines = []
  if run.splits:
    folds, certificate = len(run.splits.get('folds', ())), run.splits.get('certificate', {})
    known = ', '.join(f'{literal(value)} {literal(key.replace("_", " "))}' for key, value in certificate.items())
    lines.append(
      f'Cross-validation by pair in {folds} folds; every forecast is by networks that have not seen the pair, nor one '
      'with its NOAA number or near it in place and time.' + (f' Certificate of the folds: {known}.' if known else '')
    )
  if 'skill' in run.tables:
    lines.append(
      'Thresholds are never chosen on the pairs that are scored. Tables here are of the rule "' + RULES[EACH] + '".'
    )
    lines.append('Brackets are 95 % intervals; those of the skill are over pairs, folds and training.')
  else:
    lines.append('It was not evaluated: verify was not run.')
  return [bullets(lines)]


def _skill(run: Evidence) -> list[str]:
  rows = _of_model(run, 'skill', threshold_rule=EACH)
  if not len(rows):
    return []
  head = ['interval', 'hours', 'pairs', 'TSS', 'POD', 'POFD', 'HSS', 'AUC', 'Brier score']
  cells = [
    [
      f'TI{row["interval"]:+03d}',
      f'{row["hours"]:+.1f}',
      row['n_pairs'],
      bounded(row, 'tss', 'tss_refit_'),
      *(number(row[name]) for name in ('pod', 'pofd', 'hss', 'auc')),
      number(row['brier'], '.3f'),
    ]
    for row in rows
  ]
  means = [
    [RULES.get(row['threshold_rule'], literal(row['threshold_rule'])), bounded(row, 'tss', 'tss_refit_')]
    for row in _of_model(run, 'skill_mean')
  ]
  rivals = [
    [literal(row['baseline']), bounded(row, 'difference', 'refit_', '+.2f')]
    for row in _of_model(run, 'differences_mean', threshold_rule=EACH)
  ]
  return [
    f'Of the model {literal(run.model)}:',
    table(head, cells),
    *(['Mean TSS before emergence:', table(['threshold', 'TSS'], means)] if means else []),
    *(['Mean TSS less that of others, on the same pairs:', table(['other', 'difference'], rivals)] if rivals else []),
    *(['The verdict, as verify printed it:', bullets([literal(line) for line in run.verdict])] if run.verdict else []),
  ]


def _factors(run: Evidence) -> list[str]:
  rows = [row for row in _of_model(run, 'verification/strata') if row['quantity'] in FACTORS]
  cells = [
    [
      literal(row['quantity']),
      f'{row["low"]:.2f} to {row["high"]:.2f}',
      f'{row["n_pairs"]}{" (few)" if row["small"] else ""}',
      bounded(row, 'tss'),
    ]
    for row in rows
  ]
  return [table(['quantity', 'range', 'pairs', 'TSS'], cells)] if cells else []


def _calibration(run: Evidence) -> list[str]:
  parts = []
  rows = _of_model(run, 'verification/calibration')
  if len(rows):
    cells = [
      [literal(row['of']), *(number(row[name], '.3f') for name in ('brier', 'miscalibration', 'threshold_gap'))]
      for row in rows
    ]
    parts.append(table(['probability', 'Brier score', 'miscalibration', 'threshold less share of events'], cells))
  rates = _of_model(run, 'verification/base_rates', threshold_rule=EACH)
  rates = rates[rates['hours'] < 0] if len(rates) else rates
  if len(rates):
    last = rates[rates['hours'] == np.max(rates['hours'])]
    cells = [
      [f'{row["rate"]:g}', bounded(row, 'precision'), bounded(row, 'false_alarms', digits='.0f')] for row in last
    ]
    parts += [
      f'False alarms {last["hours"][0]:+.1f} h from emergence, where a share of the places emerges (POD '
      f'{number(last["pod"][0])}, POFD {number(last["pofd"][0])}):',
      table(['share that emerges', 'alarms that are right', 'false alarms per disk and day'], cells),
    ]
  return parts


def _findings(run: Evidence) -> list[str]:
  if 'findings' not in run.tables:
    return []
  rows = rows_where(run.tables['findings'], networks=MEMBERS)
  cells = [
    [
      literal(row['text']),
      f'{_effect(row)} {literal(row["unit"])}',
      f'**{literal(row["verdict"])}**',
      literal(row['reason']),
    ]
    for row in rows
  ]
  return [
    'Each claim was judged beside networks and meters that cannot have the effect.',
    table(['claim', 'effect', 'verdict', 'why'], cells),
  ]


def _effect(row: Mapping[str, Any]) -> str:
  return f'{number(row["effect"], "+.2f")} [{number(row["low"], "+.2f")}, {number(row["high"], "+.2f")}]'


def _domain(run: Evidence) -> list[str]:
  if not run.config:
    return []
  domain = run.config['domain']
  flux, peak = domain['unsigned_flux_mx'], domain['peak_gauss']
  rows = [
    ['unsigned flux', f'{flux[0]:.2g} to {flux[1]:.2g} Mx'],
    ['peak of the field', f'{peak[0]:.0f} to {peak[1]:.0f} G'],
    ['mu', f'{domain["min_mu"]:.2f} and more'],
    ['missing pixels', f'{domain["max_missing"]:.1%} at most'],
    ['square', f'{domain["size"]} px of {domain["pixel_scale_mm"]:g} Mm'],
    ['frames averaged', f'{domain["n_frames"]} (median)'],
  ]
  return [
    'What the networks have seen; flux and peak from the 1st to the 99th percentile. Outside of it they have not been '
    'tested.',
    table(['quantity', 'training domain'], rows),
  ]


def _uses(simulated: bool) -> list[str]:
  asked = 'Meant for research: what a network can tell of a region before it emerges, and from what.'
  return [
    asked,
    'Not meant for operations, for warnings of flares or of space weather, or for magnetograms of another instrument, '
    'pixel scale or averaging without a new test.',
    *(['Not meant for the Sun at all: with real magnetograms it shows how a script works.'] if simulated else []),
  ]


def _cautions(run: Evidence, simulated: bool) -> list[str]:
  lines = [
    'The probability is that of a balanced set. Where few places emerge it must be turned to their share, and most '
    'alarms are then false.',
    'Who acts on an alarm should count what false ones and missed ones cost; the tables name both.',
    'The output explains no emergence: findings say what networks answer to, not what the Sun does.',
  ]
  if not simulated:
    lines.append('Networks that see magnetograms may read the limb, the instrument or the choice of controls.')
  if 'verification/base_rates' in run.tables:
    lines.append('False alarms are told for several shares of places that emerge; the true one is not known.')
  return lines


def _making(run: Evidence) -> list[str]:
  if not run.config:
    return []
  environment = run.config['environment']
  known = {key: environment[key] for key in ('hearjax', 'commit', 'device', 'versions') if environment.get(key)}
  settings = {key: run.config['settings'].get(key) for key in ('seed', 'folds', 'seeds', 'splits_checksum', 'training')}
  return [verbatim({**known, **settings, 'model': run.config['settings']['model']})]
