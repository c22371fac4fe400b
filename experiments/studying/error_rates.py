"""How often each finding is wrong: all of them, on many small surveys of worlds whose answer is known.

Networks are trained on every survey as on any other, the references are made, and every claim is judged as the scripts
do. What is counted is how often a claim is `supported` in worlds without the effect, and in worlds with it; and how
well the width of planted poles is recovered.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.table import Table

import hearjax
from hearjax.interpret.findings import SKILL, SUPPORTED, judge, skill
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.references import ReferenceSettings, make_references
from hearjax.interpret.statistics import Draws
from hearjax.progress import meter, say
from hearjax.simulate.sun import Sun
from hearjax.training.settings import RunSettings, TrainSettings

from ..flags import Flags
from ..interpreting import measure_all
from .kept import KeptRows

PAIRS, SIZE, FOLDS, EPOCHS, RESAMPLES = 120, 64, 2, 30, 300
REFERENCES = ReferenceSettings(untrained=4, exchanged=3)  # There are but two folds.
FIRST_SEED = 1000  # Of the surveys, far from those that methods were tried on.
TOLERANCE = 0.25  # Of a planted width.
STRONG = {'pattern_bipoles': 3, 'pattern_mx': 1e20}  # So that few pairs suffice.


# Name -> the simulated world, and what it changes of the Sun.
WORLDS: dict[str, tuple[str, Callable[[np.random.Generator], dict[str, float]]]] = {
  'null': ('null', lambda rng: {}),
  'flux': ('flux', lambda rng: {'flux_ratio': 1.6}),
  # Bipoles against the same poles torn apart: only who is whose neighbour differs.
  'distance': ('pattern', lambda rng: {**STRONG, 'pattern_scale_mm': rng.uniform(6, 12)}),
  # Bipoles against bipoles whose poles are four times as wide and as far apart; width and distance are independent.
  'width': ('pattern', lambda rng: {**STRONG, **against_four_times(rng.uniform(3, 7), rng.uniform(8, 18))}),
  # Poles as narrow as the pixels show them against wide ones, as far apart.
  'narrow': ('pattern', lambda rng: {**STRONG, **against(rng.uniform(2, 2.5), 14.0, rng.uniform(8, 10), 14.0)}),
  # Bipoles against bipoles of the same poles farther apart.
  'close': ('pattern', lambda rng: {**STRONG, **against(2.5, rng.uniform(4, 5), 2.5, rng.uniform(16, 24))}),
}


def against(width_mm: float, distance_mm: float, other_width_mm: float, other_distance_mm: float) -> dict[str, float]:
  """Returns the parameters of poles of a width and distance, and of others in the controls [Mm]."""
  return {
    'pattern_width_mm': width_mm,
    'pattern_scale_mm': distance_mm,
    'pattern_control_width_mm': other_width_mm,
    'pattern_control_scale_mm': other_distance_mm,
  }


def against_four_times(width_mm: float, distance_mm: float) -> dict[str, float]:
  return against(width_mm, distance_mm, 4 * width_mm, 4 * distance_mm)


# Claim -> worlds in which it does not hold, and in which it does; of other worlds that is not known.
TRUTH: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
  'skill': (('null',), ('flux', 'distance', 'width', 'narrow', 'close')),
  'flux_positive': (('null', 'distance'), ('flux',)),
  'flux_negative': (('null', 'flux', 'distance'), ()),
  'few': (('null',), ()),
  'narrow': (('null', 'flux'), ('narrow',)),
  'close': (('null', 'flux'), ('close',)),
  'small': (('null', 'flux'), ('narrow',)),
  'intense': (('null', 'distance'), ('flux',)),
  'width': (('null', 'flux', 'distance'), ('width',)),
  'pairing': (('null', 'flux'), ('distance', 'close')),
  'arrangement': (('null', 'flux'), ('distance', 'close')),
  'structure': (('null', 'flux'), ('distance', 'close')),
  'polarities': (('null', 'flux'), ('distance', 'close')),
  'sign': (('null', 'flux', 'distance', 'width'), ()),
  'places': (('null',), ()),
  'learnt': (('null',), ('flux', 'distance', 'width', 'narrow', 'close')),
}


def run(flags: Flags) -> None:
  """Makes the study, or goes on with it."""
  pairs = flags.pairs or PAIRS
  kept = KeptRows(flags.out, {'pairs': pairs, 'run': dataclasses.asdict(run_settings())}, flags.overwrite)
  done = {(row['world'], row['survey']) for row in kept.rows}
  missing = [
    (world, number) for number in range(flags.surveys) for world in flags.worlds if (world, number) not in done
  ]
  for world, number in meter('asking networks', 'survey')(missing):
    started = time.monotonic()
    rows = findings_of(world, number, pairs)
    kept.add(rows)
    told = ', '.join(row['claim'] for row in rows if row['verdict'] == SUPPORTED)
    say(f'{world} {number} ({time.monotonic() - started:.0f} s): {told or "nothing"} supported')
  print_markdown(kept.rows)


def run_settings() -> RunSettings:
  """Returns how networks are trained here."""
  training = TrainSettings(epochs=EPOCHS, batch_size=32)
  return RunSettings(folds=FOLDS, training=training)


def findings_of(world: str, number: int, pairs: int) -> list[dict[str, Any]]:
  """Returns a row for each claim about one survey."""
  kind, draw = WORLDS[world]
  seed = FIRST_SEED + number
  change = draw(np.random.default_rng([seed, list(WORLDS).index(world)]))
  survey = hearjax.simulate_survey(seed, pairs, (-1,), SIZE, kind, dataclasses.replace(Sun(), **change))
  run = hearjax.fit(survey, settings=run_settings())
  subjects = [*members_of(run), *make_references(run, REFERENCES, seed)]
  draws = Draws.of(survey, RESAMPLES, seed)
  claims, found = measure_all(subjects, survey, draws, run.settings.model.centre_mm, seed)
  judged = judge({SKILL: skill(subjects, survey, draws), **claims}, seed)
  judged = judged[judged['networks'] == MEMBERS]
  planted_mm = {f'planted_{name}_mm': change.get(f'pattern_{name}_mm', np.nan) for name in ('width', 'scale')}
  common = {'world': world, 'survey': number, **planted_mm, **found}
  names = ('claim', 'effect', 'low', 'high', 'verdict', 'reason')
  return [{**common, **{name: row[name] for name in names}} for row in judged]


# --- What it says -------------------------------------------------------------------------------------------------


def rates(rows: list[dict[str, Any]]) -> Table:
  """Returns a row for each claim: in how many surveys without the effect, and with it, it was made."""
  table = []
  for claim, (false, true) in TRUTH.items():
    of_claim = [row for row in rows if row['claim'] == claim]
    counted = {}
    for name, worlds in (('without', false), ('with', true)):
      verdicts = [row['verdict'] for row in of_claim if row['world'] in worlds]
      counted |= {name: len(verdicts), f'claimed_{name}': sum(verdict == SUPPORTED for verdict in verdicts)}
    if counted['without'] or counted['with']:
      table.append({'claim': claim, 'worlds_without': ', '.join(false), 'worlds_with': ', '.join(true), **counted})
  return Table(table)


def recovered(rows: list[dict[str, Any]]) -> dict[str, int]:
  """Returns how many planted widths were found to `TOLERANCE`, missed, and not told."""
  widths = [row for row in rows if row['claim'] == 'width' and row['world'] == 'width']
  told = [row for row in widths if row['verdict'] == SUPPORTED]
  near = sum(abs(row['width_mm'] / row['planted_width_mm'] - 1) <= TOLERANCE for row in told)
  held = sum(row['width_mm_low'] <= row['planted_width_mm'] <= row['width_mm_high'] for row in told)
  return {'within': near, 'missed': len(told) - near, 'held': held, 'not told': len(widths) - len(told)}


def print_markdown(rows: list[dict[str, Any]]) -> None:
  """Prints the table as the manual shows it."""
  print('| claim | worlds without the effect | claimed in | worlds with it | claimed in |\n|---|---|---|---|---|')
  for row in rates(rows):
    found = f'{row["claimed_with"]} of {row["with"]}' if row['with'] else ''
    print(
      f'| `{row["claim"]}` | {row["worlds_without"]} | {row["claimed_without"]} of {row["without"]} | '
      f'{row["worlds_with"]} | {found} |'
    )
  width = recovered(rows)
  print(
    f'Planted widths: {width["within"]} found to {TOLERANCE:.0%}, {width["missed"]} missed, {width["not told"]} not '
    f'told; the interval holds {width["held"]} of those told.'
  )
