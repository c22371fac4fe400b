"""What synthetic fields say of networks: whether they prefer narrow poles to wide, close to distant, small to large.

The effect of a size is the mean output for the smallest third of its steps less that for the largest third, of the same
backgrounds and places, over all steps of the other axes: no place of a maximum, which has no size. It is in units of
the standard deviation of the mean output over all fields of the family: how much of what a network makes of fields is
due to the one axis. In units of its logits for maps, a network that tells two kinds of maps apart well would seem to
care less for the one thing that it cares for.

A network that has learnt nothing but flux prefers narrow poles, too, since they stand out of the noise. So does one
that has learnt nothing. What is claimed of a size is therefore its effect less the size of that of flux: that over the
ranges that are shown it counts for more.

Untrained networks, and those of exchanged labels, may as well have the opposite sign: it is chance whether their output
grows or falls with flux, and with it what they prefer. They are turned so that it goes the way of the members';
otherwise their preferences would cancel in the mean, and what any such network prefers would pass for a finding.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.interpret.findings import Claim, Samples
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.planting import DERIVATIVES, NO_PAIR
from hearjax.interpret.references import EXCHANGED, UNTRAINED
from hearjax.interpret.statistics import Draws, over_subjects, spread, weighted_mean
from hearjax.interpret.synthetic import BIPOLE, FIXED, WINDOW
from hearjax.verification.resampling import confidence_interval

FIELDS = 'sd of fields'  # Unit of effects: the standard deviation of the mean output over the fields of a family.
SMALLEST, SMALLEST_OF_FLUX = 0.1, 0.5  # Effects that matter; an output that follows one axis alone gives 2.4 or so.
SIGNLESS = (UNTRAINED, EXCHANGED)  # Whether their output grows or falls with flux is chance.
SIZES = ('width', 'distance', 'scale')
FLUX = 'flux'
COLUMNS = {'width': 'width_mm', 'distance': 'distance_mm', 'scale': 'scale_mm', FLUX: 'flux_mx'}
POINT = ('family', *COLUMNS.values(), 'fixed', 'inside')

NARROW = Claim(
  'narrow', 'Narrow poles give a larger output than wide ones of equal flux, by more than flux does', FIELDS, SMALLEST
)
CLOSE = Claim(
  'close', 'Poles close to each other give a larger output than distant ones, by more than flux does', FIELDS, SMALLEST
)
SMALL = Claim(
  'small',
  'Spots, quadrupoles and textures of small scale give a larger output than large ones, by more than flux does',
  FIELDS,
  SMALLEST,
)
# Of untrained networks the output grows as often as it falls; so it does of exchanged labels, but they are few.
INTENSE = Claim(
  'intense', 'The output grows with the flux of a bipole of any shape', FIELDS, SMALLEST_OF_FLUX, (UNTRAINED,)
)
CLAIMS = (NARROW, CLOSE, SMALL, INTENSE)


@dataclasses.dataclass(frozen=True)
class Response:
  """What one network said, its sign turned where that is chance.

  Attributes:
    name, group: The network.
    sign: 1, or -1 where it was turned.
    rise: `[point, sample]` logit less that of the background alone, in spreads; not turned.
    pair: `[sample]` the pair of each background.
  """

  name: str
  group: str
  sign: int
  rise: np.ndarray
  pair: np.ndarray


def read_responses(measured: Table) -> tuple[Table, list[Response]]:
  """Returns the `[point]` fields of `synthetic.measure`, and what each network said of them."""
  names = np.asarray(measured['subject'])
  starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
  points = measured[: len(measured) // len(starts)]
  responses = []
  for rows in (measured[start : start + len(points)] for start in starts):
    logit, of_maps = np.asarray(rows['logit'], float), float(rows['spread'][0])
    rise = (logit[1:] - logit[0]) / (of_maps or np.nan)  # A network that says the same of all maps has no unit.
    responses.append(Response(str(rows['subject'][0]), str(rows['group'][0]), 1, rise, np.asarray(rows['pair'][0])))
  of_members = np.sum([each.rise.mean() for each in responses if each.group == MEMBERS])
  turned = [
    dataclasses.replace(each, sign=-1) if each.group in SIGNLESS and each.rise.mean() * of_members < 0 else each
    for each in responses
  ]
  return points[1:], turned


def contrast_samples(
  responses: Iterable[Response], weights: np.ndarray, draws: Draws, turn: bool = True, among: np.ndarray | None = None
) -> Samples:
  """Returns the samples of sums over points: of all backgrounds, and then of those whose pairs are drawn.

  Args:
    responses: Of `read_responses`.
    weights: `[sum, point]` what each point counts.
    draws: Of the pairs.
    turn: Whether signs that are chance are turned.
    among: `[sum, point]` bool, points over which the standard deviation of the mean rise is the unit of a sum.

  Returns:
    Group -> `[1 + resample, sum]` of each of its networks; NaN where none of its backgrounds was drawn.
  """
  samples: dict[str, list[np.ndarray]] = {}
  for each in responses:
    drawn = np.where(each.pair == NO_PAIR, 1, draws.of_rows(each.pair))
    values = (each.sign if turn else 1) * weights @ each.rise
    if among is not None:
      unit = np.array([spread(each.rise.mean(axis=1)[of]) for of in among])
      values /= np.where(unit > 0, unit, np.nan)[:, None]
    samples.setdefault(each.group, []).append(weighted_mean(values.T, drawn))
  return samples


# --- Effects ------------------------------------------------------------------------------------------------------


def thirds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[n]` whether a value is in the smallest, and in the largest, third of the distinct ones."""
  steps = np.unique(values)
  n = max(round(len(steps) / 3), 1)
  return values <= steps[n - 1], values >= steps[-n]


def contrasts(points: Table) -> dict[tuple[str, str, str], np.ndarray]:
  """Returns (family, axis, fixed) -> `[point]` weights whose sum over the points is the effect of that axis."""
  found = {}
  for family in dict.fromkeys(points['family']):
    for axis, column in COLUMNS.items():
      for fixed in FIXED:
        chosen = np.flatnonzero((points['family'] == family) & (points['fixed'] == fixed))
        values = np.asarray(points[column][chosen], float)
        if np.isnan(values).any():  # No axis of this family.
          continue
        small, large = thirds(values)
        weights = np.zeros(len(points))
        weights[chosen] = small / small.sum() - large / large.sum()
        found[family, axis, fixed] = -weights if axis == FLUX else weights
  return found


def effects(measured: Table, draws: Draws) -> dict[tuple[str, str, str], Samples]:
  """Returns (family, axis, fixed) -> samples of the effect of that axis: larger output where small, or much flux."""
  points, responses = read_responses(measured)
  found = {}
  for axes, turn in ((SIZES, True), ((FLUX,), False)):
    wanted = {key: weights for key, weights in contrasts(points).items() if key[1] in axes}
    among = np.stack([(points['family'] == family) & (points['fixed'] == fixed) for family, _, fixed in wanted])
    samples = contrast_samples(responses, np.stack(list(wanted.values())), draws, turn, among)
    for number, key in enumerate(wanted):
      found[key] = {group: [values[:, number] for values in each] for group, each in samples.items()}
  return found


def claims(found: Mapping[tuple[str, str, str], Samples]) -> dict[Claim, Samples]:
  """Returns the claims with their samples, from `effects`: those whose families were shown.

  All are at fixed flux in the central window. Those of sizes are of the effect less the size of that of flux.
  """
  beyond = {
    key[:2]: {
      group: [size - np.abs(flux) for size, flux in zip(each, found[key[0], FLUX, WINDOW][group], strict=True)]
      for group, each in samples.items()
    }
    for key, samples in found.items()
    if key[1] in SIZES and key[2] == WINDOW
  }
  others = [samples for (family, _), samples in beyond.items() if family != BIPOLE]
  said = {
    NARROW: beyond.get((BIPOLE, 'width')),
    CLOSE: beyond.get((BIPOLE, 'distance')),
    SMALL: others and {group: list(np.mean([each[group] for each in others], axis=0)) for group in others[0]},
    INTENSE: found.get((BIPOLE, FLUX, WINDOW)),
  }
  return {claim: samples for claim, samples in said.items() if samples}


# --- Tables -------------------------------------------------------------------------------------------------------


def effect_table(found: Mapping[tuple[str, str, str], Samples], seed: int) -> Table:
  """Returns the effects: `family`, `axis`, `fixed`, `networks`, `n` of them, `effect`, `low` and `high` [`FIELDS`]."""
  rows = []
  for (family, axis, fixed), samples in found.items():
    for group, each in samples.items():
      rows.append({'family': family, 'axis': axis, 'fixed': fixed} | _described('effect', group, np.stack(each), seed))
  return Table(rows)


def response_table(measured: Table, draws: Draws) -> Table:
  """Returns what networks say of each field.

  One row for each point and group of networks: the point as `synthetic.measure` has it, `networks`, `n`; `rise` of the
  logit over that of the background alone, in spreads, with `low` and `high`; the mean derivatives where there are any.
  """
  points, responses = read_responses(measured)
  described = [{name: row[name] for name in POINT} for row in points]
  table = _table(described, np.eye(len(points)), responses, draws)
  for name in set(DERIVATIVES) & set(measured.colnames):
    of_subject = np.asarray(measured[name], float).mean(axis=-1).reshape(len(responses), -1)[:, 1:]
    of_maps = np.asarray(measured['spread'], float).reshape(len(responses), -1)[:, :1]
    turned = np.array([each.sign for each in responses])[:, None] * of_subject / of_maps
    groups = np.array([each.group for each in responses])
    table[name] = np.concatenate([turned[groups == group].mean(axis=0) for group in dict.fromkeys(groups)])
  return table


def curve_table(measured: Table, draws: Draws) -> Table:
  """Returns the same along each axis, the mean over the others: `family`, `axis`, `value` [Mm or Mx], `fixed`, ...."""
  points, responses = read_responses(measured)
  described, weights = [], []
  for family, axis, fixed in contrasts(points):
    chosen = (points['family'] == family) & (points['fixed'] == fixed)
    values = np.asarray(points[COLUMNS[axis]], float)
    for value in np.unique(values[chosen]):
      at = chosen & (values == value)
      described.append({'family': family, 'axis': axis, 'fixed': fixed, 'value': value})
      weights.append(at / at.sum())
  return _table(described, np.stack(weights), responses, draws)


def _table(
  described: Sequence[Mapping[str, object]], weights: np.ndarray, responses: Sequence[Response], draws: Draws
) -> Table:
  """Returns `described` with the rise of each group, under each of `[described, point]` weights."""
  rows = []
  for group, samples in contrast_samples(responses, weights, draws).items():
    stacked = np.stack(samples)  # [subject, 1 + resample, described]
    rows += [
      {**about, **_described('rise', group, stacked[..., number], draws.seed)} for number, about in enumerate(described)
    ]
  table = Table(rows)
  for name, unit in (('_mm', u.Mm), ('_mx', u.Mx)):
    for column in (each for each in table.colnames if each.endswith(name)):
      table[column].unit = unit
  table.meta['turned'] = [each.name for each in responses if each.sign < 0]
  return table


def _described(name: str, group: str, samples: np.ndarray, seed: int) -> dict[str, object]:
  """Returns the mean over `[subject, 1 + resample]` samples with its interval."""
  values = over_subjects(samples, seed)
  low, high = confidence_interval(values[1:])
  return {'networks': group, 'n': len(samples), name: float(values[0]), 'low': float(low), 'high': float(high)}


# --- On disk ------------------------------------------------------------------------------------------------------


def read_measured(path: str | os.PathLike) -> Table:
  """Reads what `synthetic.measure` returned, written as FITS (`files.write_table`): all is made again from it."""
  return Table.read(path, format='fits', character_as_bytes=False)
