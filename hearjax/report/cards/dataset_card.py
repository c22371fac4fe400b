"""The dataset card of a survey, after the datasheets of Gebru et al. (2021, Commun. ACM 64, 86)."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.time import Time

from hearjax.report.cards.markdown import (
  SIMULATED_WARNING,
  bounded,
  bullets,
  joined,
  literal,
  number,
  table,
  verbatim,
)
from hearjax.report.style import is_simulated
from hearjax.survey.archive import INDEX_NAME, read_index, read_survey
from hearjax.survey.index import KIND_OF_LABEL
from hearjax.survey.intervals import share_after_emergence
from hearjax.survey.survey import Survey, checksum
from hearjax.verification.nuisance import balance_table

# Of Hugging Face.
SIZES = (
  (1_000, 'n<1K'),
  (10_000, '1K<n<10K'),
  (100_000, '10K<n<100K'),
  (1_000_000, '100K<n<1M'),
  (np.inf, 'n>1M'),
)
RESAMPLES = 500  # Of the pairs, for the intervals of the balance.
FEW_PAIRS = 50
TOLD_APART = ('format_version', 'projection', 'pixel_scale_mm', 'source', 'creator', 'license')  # In words elsewhere.
ORIGINS = {
  'simulated': 'drawn by the simulator of hearjax',
  'hear': 'datacubes of the SDO/HEAR survey (Schunker et al. 2016, A&A 595, A107), averaged over their intervals',
  'jsoc': 'full-disk magnetograms from JSOC, mapped and averaged',
}


def dataset_card(survey: Survey | str | os.PathLike) -> str:
  """Writes the card of a survey: markdown with YAML in front.

  Args:
    survey: Folder of the archive, or the survey that was read from it; of one that is in memory alone the card cannot
      say how it was made.

  Raises:
    FileNotFoundError, UserError: The archive cannot be read (`read_survey`).
  """
  if not isinstance(survey, Survey):
    survey = read_survey(survey, max_missing=1.0)
  folder = pathlib.Path(survey.folder)
  meta = dict(read_index(folder).meta) if survey.folder and (folder / INDEX_NAME).is_file() else {}
  simulated = is_simulated(survey.source)
  pairs = len(survey.pair_ids)
  licence = str(meta.get('license') or '')
  head = {
    'pretty_name': f'Magnetograms before emergence, {pairs} pairs ({survey.source})',
    'license': licence or 'unknown',
    'size_categories': [next(name for limit, name in SIZES if len(survey) < limit)],
    'task_categories': ['image-classification'],
    'tags': ['solar-physics', 'magnetograms', 'hearjax', *(['simulated'] if simulated else [])],
    'source': survey.source,
    'simulated': simulated,
    'pairs': pairs,
    'magnetograms': len(survey),
    'pixel_scale_mm': float(survey.pixel_scale_mm),
    'size_px': int(survey.field.shape[-1]),
    'checksum': checksum(survey),
  }
  sections = (
    ('', [f'**{SIMULATED_WARNING}**' if simulated else '', _purpose(survey)]),
    ('What is in it', [_composition(survey), 'By interval:', _intervals(survey)]),
    ('Balance of the classes', _balance(survey)),
    ('How it was made', _making(survey, meta)),
    ('Uses', [_uses(simulated)]),
    ('Known limits', [bullets(_limits(survey, simulated))]),
    ('Licence and credit', [_licence(survey.source, licence, simulated)]),
    ('How to know it again', [_identity(head['checksum'])]),
  )
  return joined(f'Survey of {pairs} pairs of regions, source {literal(survey.source)}', head, sections)


def _origin(source: str) -> str:
  return ' and '.join(
    ORIGINS.get(part, f'from the source that the index calls "{literal(part)}"') for part in source.split('+')
  )


def _purpose(survey: Survey) -> str:
  return (
    'Line-of-sight magnetograms of regions in which an active region emerges (EAR, label 1) and of matched control '
    f'regions in which none does (CR, label 0), {_origin(survey.source)}. They serve to ask whether the surface shows '
    'beforehand that a region is about to emerge.'
  )


def _composition(survey: Survey) -> str:
  regions = {label: len(np.unique(survey.region[survey.label == label])) for label in KIND_OF_LABEL}
  maps = {label: int(np.sum(survey.label == label)) for label in KIND_OF_LABEL}
  begin, end = Time([survey.mjd.min(), survey.mjd.max()], format='mjd').isot
  y, x = survey.field.shape[1:]
  strength = np.abs(survey.field)
  rows = [
    ['pairs', len(survey.pair_ids)],
    ['emerging regions (EAR)', f'{regions[1]} with {maps[1]} magnetograms'],
    ['control regions (CR)', f'{regions[0]} with {maps[0]} magnetograms'],
    ['epoch (UTC)', f'{begin[:16]} to {end[:16]}'],
    ['size of a map', f'{y} x {x} px of {survey.pixel_scale_mm:g} Mm: {x * survey.pixel_scale_mm:.0f} Mm wide'],
    [
      'field',
      f'line of sight; its absolute value {np.nanmean(strength):.1f} G on average, {np.nanmax(strength):.0f} G at most',
    ],
    ['missing pixels', f'{np.mean(survey.missing):.2%} on average, {np.max(survey.missing):.2%} at most'],
    ['quality bits set', f'{np.sum(survey.quality != 0)} of {len(survey)} magnetograms'],
    ['latitude', f'{survey.latitude.min():.1f} to {survey.latitude.max():.1f} deg'],
    ['central-meridian distance', f'{survey.cmd.min():.1f} to {survey.cmd.max():.1f} deg'],
    ['mu', f'{survey.mu.min():.2f} to {survey.mu.max():.2f}'],
  ]
  return table(['what', 'value'], rows)


def _intervals(survey: Survey) -> str:
  rows = []
  for interval in np.unique(survey.interval):
    here = survey.select(survey.interval == interval)
    rows.append(
      [
        f'TI{interval:+03d}',
        f'{np.median(here.hours):+.2f}',
        f'{np.median(here.hours_start):+.2f} to {np.median(here.hours_end):+.2f}',
        *(int(np.sum(here.label == label)) for label in (1, 0)),
        f'{np.median(here.n_frames):.0f}',
        f'{_share_after(here):.0%}',
      ]
    )
  head = ['interval', 'middle [h]', 'window [h]', 'EAR maps', 'CR maps', 'frames in a map', 'after emergence']
  return table(head, rows) + '\nHours are relative to the emergence time; of frames and windows the median is told.\n'


def _share_after(survey: Survey) -> float:
  """Returns how much of the windows lies after the emergence time, on average."""
  return float(np.mean(share_after_emergence(survey.hours_start, survey.hours_end)))


def _balance(survey: Survey) -> list[str]:
  compared = balance_table(survey, RESAMPLES, 0)
  rows = [
    [
      literal(row['quantity']),
      literal(row['unit']),
      number(row['mean_ear']),
      number(row['mean_cr']),
      bounded(row, 'standardised'),
      'yes' if row['unbalanced'] else '',
    ]
    for row in compared
  ]
  return [
    'Quantities that should not tell the classes apart. Standardised difference EAR - CR with its 95 % interval over '
    'pairs; of twenty quantities one differs by chance.',
    table(['quantity', 'unit', 'mean of EARs', 'mean of CRs', 'standardised', 'differs'], rows),
  ]


def _making(survey: Survey, meta: Mapping[str, Any]) -> list[str]:
  if not meta:
    return ['The survey has no index on disk, so that nothing is known here of how it was made.']
  creator = literal(meta.get('creator', 'a program that the index does not name'))
  rest = {key: value for key, value in meta.items() if key not in TOLD_APART}
  said = f'Written by {creator}, in the projection "{literal(meta.get("projection", "not named"))}".'
  if not rest:
    return [f'{said} The index says nothing more.']
  return [f'{said} What the index says of seed, query and settings:', verbatim(rest)]


def _uses(simulated: bool) -> str:
  if simulated:
    return (
      'Good for testing programs, for checking whether a method finds what was put there, and for learning how the '
      'steps go. Not for statements about the Sun, and not for training a forecaster.'
    )
  return (
    'Good for comparing classifiers on matched pairs, with folds that keep a pair and its neighbours together. Not for '
    'rates: half of these regions emerge, on the Sun few places do.'
  )


def _limits(survey: Survey, simulated: bool) -> list[str]:
  lines = []
  if simulated:
    lines.append(
      'The simulator holds what we put in: converging flows, the loss of resolution towards the limb, and all that is '
      'not known about emergence are left out.'
    )
  else:
    lines.append('This card is written from the files: whether control regions are quiet was not checked for it.')
  late = [
    f'{_share_after(here):.0%} of the windows of TI{interval:+03d}'
    for interval in np.unique(survey.interval[survey.hours < 0])
    if _share_after(here := survey.select(survey.interval == interval)) > 0
  ]
  if late:
    lines.append(f'{", ".join(late)} lie after the emergence time; tell scores without them, too.')
  if len(survey.pair_ids) < FEW_PAIRS:
    lines.append(f'{len(survey.pair_ids)} pairs are too few for a skill.')
  lines.append('Magnetograms of one region are not independent: split by pair, never by map.')
  lines.append('There are as many emerging as control regions: probabilities learnt here are those of a balanced set.')
  return lines


def _licence(source: str, licence: str, simulated: bool) -> str:
  named = f'The index names the licence {literal(licence)}.' if licence else 'No licence is named in the index.'
  if simulated:
    return f'{named} The magnetograms are output of a program, not of an instrument.'
  if {'hear', 'jsoc'} & set(source.split('+')):
    return f'{named} Observations of HMI are to be credited to NASA/SDO and the HMI science team.'
  return f'{named} Ask whoever made the survey.'


def _identity(digest: str) -> str:
  return (
    f'SHA-256 of the content, however it is stored or sorted: `{digest}`. Runs carry it in `config.json` and in the '
    'meta keys of their tables.'
  )
