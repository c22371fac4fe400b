"""Findings: an effect with its interval, beside what cannot have it, and one rule for what is said of it.

A claim is `supported` where the 95 % interval of its effect, over pairs and networks, lies above the smallest effect
that matters, and that of its excess over every reference that cannot have the effect, of the same pairs, above 0. It is
`contradicted` where the interval of the effect lies below the smallest that matters. In all other cases one `cannot
tell`, and so always where the networks have no skill in regions that they have not learnt from, or where a reference is
missing.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from hearjax.checks import UserError
from hearjax.files import read_table, write_table
from hearjax.interpret.maps import Subject, subject_logits
from hearjax.interpret.references import EXCHANGED, FIELD_METER, FLUX_METER, GROUPS, MEMBERS, UNTRAINED
from hearjax.interpret.statistics import Draws, over_subjects
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import auc

SUPPORTED, CONTRADICTED, UNKNOWN = VERDICTS = ('supported', 'contradicted', 'cannot tell')
BESIDE = 'beside'  # Role of a reference that may have the effect, too.
NAME = 'findings.ecsv'
ALL_REFERENCES = (FIELD_METER, FLUX_METER, UNTRAINED, EXCHANGED)
SIGMA = 'sd'  # Unit of effects: the standard deviation that the logits of the network have over its test maps.

# Group of networks -> `[1 + resample]` effect of each: of all pairs, then of those drawn (`statistics.Draws`).
Samples = Mapping[str, Sequence[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Claim:
  """What a finding says, before anything is measured.

  Attributes:
    name: A word.
    text: The claim, a sentence without its full stop.
    unit: Of the effect.
    smallest: Effect that matters; our choice.
    references: Groups that cannot have the effect.
  """

  name: str
  text: str
  unit: str
  smallest: float
  references: tuple[str, ...] = ALL_REFERENCES


SKILL = Claim('skill', 'The networks tell PE from NE in regions that they have not learnt from', 'AUC - 1/2', 0.03, ())


def skill(subjects: Iterable[Subject], survey: Survey, draws: Draws) -> dict[str, list[np.ndarray]]:
  """Returns the samples of the claim `SKILL`: the AUC of every network on its test maps, less one half."""
  samples: dict[str, list[np.ndarray]] = {}
  for subject in subjects:
    rows = subject.rows.test
    logit = subject_logits(subject, survey)
    value = auc(survey.label[rows], logit, draws.of_rows(survey.pair[rows])) - 0.5
    samples.setdefault(subject.group, []).append(value)
  return samples


def judge(claims: Mapping[Claim, Samples], seed: int) -> Table:
  """Returns the findings: the claim of skill, on which all others stand, and they.

  Args:
    claims: Every claim with its samples; that of `SKILL` among them.
    seed: Of the draws of networks.

  Returns:
    A row for each claim and group of networks: `claim`, `text`, `networks`, `n` of them, `effect`, `low`, `high`,
    `unit`, `smallest`; `role`: `claim`, `cannot have it` or `beside`; `excess_low`, `excess_high`: of the members over
    the group; `verdict` on the claim, and `reason`.
  """
  skilled = _verdict(SKILL, claims[SKILL], seed, skilled=True)[1] == SUPPORTED
  rows = []
  for claim, samples in claims.items():
    described, verdict, reason = _verdict(claim, samples, seed, skilled)
    rows += [
      {'claim': claim.name, 'text': claim.text, **row, 'verdict': verdict, 'reason': reason} for row in described
    ]
  return Table(rows)


def _verdict(claim: Claim, samples: Samples, seed: int, skilled: bool) -> tuple[list[dict[str, Any]], str, str]:
  """Returns the rows of a claim, the verdict on it, and why."""
  of_group = {group: over_subjects(np.stack(samples[group]), seed) for group in GROUPS if samples.get(group)}
  rows, reasons = [], []
  for group, values in of_group.items():
    low, high = confidence_interval(values[1:])
    excess = confidence_interval((of_group[MEMBERS] - values)[1:]) if group != MEMBERS else (np.nan, np.nan)
    counts = group in claim.references
    rows.append(
      {
        'networks': group,
        'role': 'claim' if group == MEMBERS else 'cannot have it' if counts else BESIDE,
        'n': len(samples[group]),
        'effect': float(values[0]),
        'low': float(low),
        'high': float(high),
        'unit': claim.unit,
        'smallest': claim.smallest,
        'excess_low': float(excess[0]),
        'excess_high': float(excess[1]),
      }
    )
    if counts and not excess[0] > 0:
      reasons.append(f'not beyond {group}')
  missing = [group for group in claim.references if group not in of_group]
  members = rows[0]
  if not np.isfinite(members['low']):
    return rows, UNKNOWN, 'not to be measured here'
  if not skilled:
    return rows, UNKNOWN, 'the networks have no skill'
  if members['high'] < claim.smallest:
    return rows, CONTRADICTED, 'smaller than what matters'
  if missing:
    return rows, UNKNOWN, f'no {missing[0]} to compare with'
  if not members['low'] > claim.smallest:
    return rows, UNKNOWN, 'the interval holds what does not matter'
  beyond = 'beyond all that cannot have it' if claim.references else 'more than what does not matter'
  return rows, UNKNOWN if reasons else SUPPORTED, '; '.join(reasons) or beyond


# --- The table on disk --------------------------------------------------------------------------------------------


def add_findings(path: pathlib.Path, found: Table, meta: Mapping[str, Any]) -> Table:
  """Adds findings to those that are there already, in the place of earlier ones of the same claims; returns all.

  Those of another survey are left out.

  Args:
    path: `findings.ecsv`.
    found: From `judge`.
    meta: Meta keys of the table (`Run.describe`).

  Raises:
    UserError: What is there is no such table.
    OSError: It cannot be written.
  """
  table = found
  if path.exists():
    before = read_table(path, 'findings')
    if 'claim' not in before.colnames:
      raise UserError(f'{path} is no table of findings; move it away.')
    if before.meta.get('survey_checksum') == meta['survey_checksum']:
      before = before[~np.isin(before['claim'], found['claim'])]
      before.meta, found.meta = {}, {}
      is_skill = found['claim'] == SKILL.name  # First, since all others stand on it.
      table = vstack([found[is_skill], before, found[~is_skill]])
  table.meta = dict(meta)
  write_table(path, table)
  return table


def told(found: Table) -> str:
  """Returns a line for each claim: the verdict, the effect, and those of the references."""
  lines = []
  for name in dict.fromkeys(found['claim']):
    rows = found[found['claim'] == name]
    first = rows[0]
    lines.append(f'{first["verdict"]:>12}: {first["text"]} ({first["reason"]}).')
    cells = [
      f'{row["networks"]}{"*" * (row["role"] == BESIDE)} {row["effect"]:+.2f} [{row["low"]:+.2f}, {row["high"]:+.2f}]'
      for row in rows
    ]
    lines.append(f'{"":>14}{"; ".join(cells)} ({first["unit"]}, at least {first["smallest"]:g}).')
  if BESIDE in found['role']:
    lines.append('* may have the effect, too: for comparison.')
  return '\n'.join(lines)
