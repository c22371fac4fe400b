"""Invariance panel: what becomes of the networks' output when the magnetograms are changed in a known way.

Some changes are symmetries that a forecast should not mind (the other hemisphere, a shift by a pixel), some are what
instruments and perspective do, and some leave only one kind of information behind: the pixels without their order,
|B| without the polarities. What skill these cost says what the networks read (`CLAIMS`).

The TSS is at the threshold that the maps of the training suggest: a network in use does not know of the change. What
skill is left is judged by the AUC, which needs no threshold, since most changes move all logits together.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from astropy.table import Table
from scipy import ndimage

from hearjax.interpret.findings import Claim, Samples
from hearjax.interpret.maps import MEMBERS, Subject, finite_logits, trained_threshold
from hearjax.interpret.references import EXCHANGED, FLUX_METER, UNTRAINED
from hearjax.interpret.statistics import Draws, over_subjects, spread
from hearjax.maps import transforms
from hearjax.progress import Progress, silent
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import auc, contingency, tss

RING_PX = 4.0  # Width of the rings within which pixels change places; our choice.
SHIFTS_PX = (1.0, 2.0, 4.0, 8.0)
MARGIN_PX = 16  # About the square that the network looks at: what no change brings into it is left out.
SMALLEST = 0.03  # AUC that matters: our choice.
UNIT = 'AUC lost'
ARRANGEMENT = Claim(
  'arrangement',
  'Pixels in any order cost skill: the networks read where field stands, not only how much there is',
  UNIT,
  SMALLEST,
  (FLUX_METER, UNTRAINED, EXCHANGED),
)
STRUCTURE = Claim(
  'structure',
  'Pixels in any order at their distance from the centre cost skill: the networks read patterns of the field',
  UNIT,
  SMALLEST,
)
POLARITIES = Claim(
  'polarities', 'Elements of any polarity cost skill: the networks read which polarities are neighbours', UNIT, SMALLEST
)
SIGN = Claim('sign', 'The reversed polarity costs skill: the networks read which polarity leads', UNIT, SMALLEST)
# What each claim is that a change costs.
COSTS = {
  ARRANGEMENT: 'pixels shuffled',
  STRUCTURE: 'pixels shuffled in rings',
  POLARITIES: 'signs of elements drawn',
  SIGN: 'polarity reversed',
}
CLAIMS = tuple(COSTS)
UNCHANGED = 'unchanged'
NEEDED = {UNCHANGED, *COSTS.values()}  # Of references.
SCORES = ('tss', 'auc')


@dataclasses.dataclass(frozen=True)
class Batch:
  """Magnetograms to be changed, and what a change may need to know of each.

  Attributes:
    survey: The survey that they are of.
    visible_px: Side of the square that the network looks at [px].
    seed: Seed of what is drawn; with the row it fixes what a magnetogram draws.
    field: `[n, y, x]` maps [G], NaN where missing, with a margin about that square.
    rows: `[n]` rows of the survey that they are.
  """

  survey: Survey
  visible_px: int
  seed: int
  field: np.ndarray
  rows: np.ndarray

  @property
  def square(self) -> np.ndarray:
    """`[n, y, x]` the maps [G], cut to the square that the network looks at."""
    return transforms.crop(self.field, self.visible_px)

  @property
  def west(self) -> np.ndarray:
    """`[n, 1, 1]` 1 for a map west of the central meridian, -1 east of it."""
    return np.where(self.survey.cmd[self.rows] < 0, -1.0, 1.0)[:, None, None]

  @property
  def keys(self) -> jax.Array:
    """`[n]` random keys."""
    return _row_keys(jax.random.key(self.seed), self.rows)

  @property
  def seeds(self) -> np.ndarray:
    """`[n, 2]` the same randomness for NumPy."""
    return np.stack([np.full(len(self.rows), self.seed), self.rows], axis=-1)


@dataclasses.dataclass(frozen=True)
class Change:
  """One change, at one or several strengths.

  Attributes:
    name: What is done.
    kind: Group of the lines of the table.
    apply: From a batch and a strength to `[n, y, x]` changed maps [G].
    effect: What it keeps and destroys.
    strengths: How much; a single NaN where there is no degree.
    unit: Unit of the strengths.
  """

  name: str
  kind: str
  apply: Callable[[Batch, float], Any]
  effect: str
  strengths: tuple[float, ...] = (np.nan,)
  unit: str = '-'  # An empty one would come back from a file as missing.


# Compiled once for each shape of a batch, since strengths are arguments; all else is NumPy or a single operation.
_row_keys = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))
_add_noise = jax.jit(jax.vmap(transforms.add_noise, (0, 0, None)))
_shuffle_signs = jax.jit(jax.vmap(transforms.shuffle_signs))
_shuffle_pixels = jax.jit(jax.vmap(transforms.shuffle_pixels, (0, 0, None)))
_shift = jax.jit(transforms.shift)
_blur = jax.jit(transforms.blur)
_tilt_line_of_sight = jax.jit(transforms.tilt_line_of_sight)


def _hale_swap(batch: Batch, _: float) -> np.ndarray:
  # Hale's law: the other hemisphere has the other leading polarity, and by Joy's law the mirrored tilt. The reversal
  # alone breaks Hale's law; both together give a region as the Sun makes them, too.
  return transforms.reverse_polarity(transforms.mirror_latitude(batch.field))


def _central_part(batch: Batch, part: float) -> np.ndarray:
  visible = batch.visible_px
  return transforms.crop(batch.square, visible - 2 * round(visible * (1 - part) / 2))


def _shuffle(batch: Batch, ring_px: float) -> jax.Array:
  side = batch.visible_px
  axis = np.arange(side) - (side - 1) / 2
  ring = (np.hypot(axis[:, None], axis) // ring_px).astype(np.int32)
  return _shuffle_pixels(batch.keys, batch.square, ring)


def draw_element_signs(field: np.ndarray, seeds: np.ndarray) -> np.ndarray:
  """Gives every magnetic element a sign at random: pixels of one polarity that touch along a side keep together.

  Args:
    field: `[n, y, x]` field [G], NaN where missing.
    seeds: `[n, …]` seeds of each map.
  """
  result = np.array(field)
  for index, one in enumerate(field):
    rng = np.random.default_rng(seeds[index])
    for polarity in (one > 0, one < 0):
      element, count = ndimage.label(polarity)
      result[index] *= np.append(1, rng.choice((-1, 1), count))[element]
  return result


CHANGES = (
  Change(UNCHANGED, 'none', lambda b, _: b.field, 'nothing'),
  Change('polarity reversed', 'polarity', lambda b, _: transforms.reverse_polarity(b.field), "breaks Hale's law"),
  Change('Hale swap', 'polarity', _hale_swap, 'the region as the other hemisphere has it'),
  Change('unsigned field', 'polarity', lambda b, _: np.abs(b.field), 'keeps |B|, no polarities'),
  Change(
    'signs of elements drawn',
    'polarity',
    lambda b, _: draw_element_signs(b.square, b.seeds),
    'keeps |B| and elements, destroys which polarities are neighbours',
  ),
  Change(
    'signs of pixels drawn', 'polarity', lambda b, _: _shuffle_signs(b.keys, b.square), 'keeps |B|, destroys elements'
  ),
  Change('pixels shuffled', 'order', lambda b, _: _shuffle(b, np.inf), 'keeps strength'),  # All in one ring.
  Change(
    'pixels shuffled in rings',
    'order',
    lambda b, _: _shuffle(b, RING_PX),
    'keeps strength at each distance from the centre',
  ),
  Change(
    'mirrored in longitude',
    'symmetry',
    lambda b, _: transforms.mirror_longitude(b.field),
    "breaks Hale's and Joy's laws",
  ),
  Change('mirrored in latitude', 'symmetry', lambda b, _: transforms.mirror_latitude(b.field), "breaks Joy's law"),
  Change('transposed', 'symmetry', lambda b, _: transforms.transpose(b.field), 'east-west becomes north-south'),
  Change(
    'rotated',
    'symmetry',
    lambda b, angle: transforms.rotate(b.field, round(angle / 90)),
    "90 deg breaks Joy's law, 180 deg Hale's",
    (90.0, 180.0),
    'deg',
  ),
  Change(
    'shifted north', 'place', lambda b, px: _shift(b.field, round(px), 0), 'moves the emergence site', SHIFTS_PX, 'px'
  ),
  Change(
    'shifted east', 'place', lambda b, px: _shift(b.field, 0, -round(px)), 'moves the emergence site', SHIFTS_PX, 'px'
  ),
  Change('smaller map', 'place', _central_part, 'only the middle is left', (5 / 6, 2 / 3, 1 / 2), 'of the side'),
  Change('gain', 'strength', lambda b, gain: gain * b.field, 'keeps the pattern', (0.5, 0.8, 1.25, 2.0), 'times'),
  Change(
    'saturated',
    'strength',
    lambda b, limit: transforms.saturate(b.field, limit),
    'weakens strong elements',
    (500.0, 200.0, 100.0, 50.0),
    'G',
  ),
  Change(
    'noise added',
    'instrument',
    lambda b, noise_gauss: _add_noise(b.keys, b.field, noise_gauss),
    'covers weak field',
    (5.0, 10.0, 20.0, 50.0),
    'G',
  ),
  Change(
    'blurred',
    'instrument',
    lambda b, radius: _blur(b.field, b.survey.pixel_scale_mm, radius),
    'destroys small scales, cancels flux',
    (1.0, 2.0, 4.0),
    'Mm',
  ),
  Change(
    'seen nearer to the limb',
    'perspective',
    lambda b, angle: _tilt_line_of_sight(b.field, angle * b.west),
    'weaker, false polarity towards the limb',
    (30.0, 45.0, 60.0),
    'deg',
  ),
)


State = tuple[Change, float]
# All changes at all their strengths, and those that claims need.
STATES: tuple[State, ...] = tuple((change, strength) for change in CHANGES for strength in change.strengths)
COSTING = tuple(state for state in STATES if state[0].name in NEEDED)


# --- What it costs ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Changed:
  """What becomes of one network by one change.

  Attributes:
    name, group: Of the network.
    change, strength: The change.
    moved_pe, moved_ne: Mean change of the logit in each class.
    rms: Root mean square of the change, in units of the standard deviation of the unchanged logits.
    auc, tss: `[1 + resample]` AUC, and TSS at the threshold of the training.
  """

  name: str
  group: str
  change: str
  strength: float
  moved_pe: float
  moved_ne: float
  rms: float
  auc: np.ndarray
  tss: np.ndarray


def show(
  subjects: Sequence[Subject],
  survey: Survey,
  draws: Draws,
  seed: int,
  states: Sequence[State] = STATES,
  progress: Progress = silent,
) -> list[Changed]:
  """Shows changed magnetograms to networks, each those of its own test: to references what claims need alone.

  Maps are changed with a margin before the network cuts out its square; shuffles, drawn signs of elements, and smaller
  maps are made of that square. A larger map is none of the changes: the network cuts it, and says the same.

  Args:
    subjects: The networks.
    survey: Their maps.
    draws: Draws of the pairs.
    seed: Of noise and shuffles; with the row it fixes what a map draws, whichever network sees it.
    states: Changes and their strengths, the unchanged maps first.
    progress: Goes through the tests, and may show how far it is.

  Returns:
    All changes of all networks, the unchanged maps first.

  Raises:
    UserError: A logit is not finite.
  """
  alike: dict[tuple[bytes, int], list[Subject]] = collections.defaultdict(list)
  for subject in subjects:
    visible = subject.network.visible_px(survey.field.shape[-1])
    alike[subject.rows.test.tobytes(), visible].append(subject)
  shown = []
  for (_, visible), group in progress(list(alike.items())):
    rows = group[0].rows.test
    around = min(visible + 2 * MARGIN_PX, survey.field.shape[-1])
    whole = Batch(survey, visible, seed, transforms.crop(survey.field[rows], around), rows)
    threshold = [trained_threshold(subject, survey) for subject in group]
    before = [finite_logits(subject, whole.square) for subject in group]
    for change, strength in states:
      asked = [number for number, one in enumerate(group) if one.group == MEMBERS or change.name in NEEDED]
      if not asked:
        continue
      maps = np.asarray(change.apply(whole, strength))  # What is done to a map does not depend on who sees it.
      for number in asked:
        logit = finite_logits(group[number], maps)
        scores = _scores(survey, draws, rows, logit, before[number], threshold[number])
        shown.append(Changed(group[number].name, group[number].group, change.name, strength, **scores))
  return shown


def _scores(
  survey: Survey, draws: Draws, rows: np.ndarray, logit: np.ndarray, before: np.ndarray, threshold: float
) -> dict[str, Any]:
  """Returns what `Changed` holds of `[n]` logits of rows of the survey, and those before the change."""
  label, weight = survey.label[rows], draws.of_rows(survey.pair[rows])
  moved, sd = logit - before, spread(before)
  return {
    'moved_pe': float(moved[label == 1].mean()),
    'moved_ne': float(moved[label == 0].mean()),
    'rms': float(np.sqrt(np.mean(moved**2))) / sd if sd > 0 else np.nan,
    'auc': auc(label, logit, weight),
    'tss': tss(weight @ contingency(label, logit >= threshold)),
  }


def samples(shown: Sequence[Changed]) -> dict[Claim, Samples]:
  """Returns the samples of the claims: the AUC that each change costs each network."""
  whole = {each.name: each.auc for each in shown if each.change == UNCHANGED}
  result: dict[Claim, dict[str, list[np.ndarray]]] = {}
  for claim, change in COSTS.items():
    result[claim] = collections.defaultdict(list)
    for each in shown:
      if each.change == change:
        result[claim][each.group].append(whole[each.name] - each.auc)
  return result


def invariance_table(shown: Sequence[Changed], seed: int) -> Table:
  """Returns the panel: a row for each group of networks, change and strength.

  `change_pe` and `change_ne`, mean change of the logit in each class; `rms_change`, in units of the standard deviation
  of the unchanged logits; `tss`, `tss_change` against the unchanged maps, and `auc`, `auc_change`. `_low` and `_high`
  bound 95 % intervals over pairs and networks, the same before and after.
  """
  rows = []
  for group in dict.fromkeys(each.group for each in shown):
    of_group = [each for each in shown if each.group == group]
    whole = {name: np.stack([getattr(each, name) for each in of_group if each.change == UNCHANGED]) for name in SCORES}
    for change, strength in STATES:
      found = [each for each in of_group if each.change == change.name and _same(each.strength, strength)]
      if not found:
        continue
      row = {'networks': group, 'name': change.name, 'kind': change.kind, 'strength': strength, 'unit': change.unit}
      for column, name in (('change_pe', 'moved_pe'), ('change_ne', 'moved_ne'), ('rms_change', 'rms')):
        row[column] = float(np.mean([getattr(each, name) for each in found]))
      for name in SCORES:
        values = np.stack([getattr(each, name) for each in found])
        for column, of_subjects in ((name, values), (f'{name}_change', values - whole[name])):
          drawn = over_subjects(of_subjects, seed)
          row[column] = float(drawn[0])
          row[f'{column}_low'], row[f'{column}_high'] = map(float, confidence_interval(drawn[1:]))
      rows.append(row | {'effect': change.effect})
  return Table(rows)


def _same(first: float, second: float) -> bool:
  return first == second or bool(np.isnan(first) and np.isnan(second))
