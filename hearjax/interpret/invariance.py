"""Invariance panel: what becomes of the networks' output when the magnetograms are changed in a known way.

Some changes are symmetries that a forecast should not mind (the other hemisphere, a shift by a pixel), some are what
instruments and perspective do, and some leave only one kind of information behind: the pixels without their order,
|B| without the polarities. Together they say what the networks read.

The TSS is at the threshold that each fold chose in its training: the network in use does not know of the change. What
skill is left is judged by the AUC, which needs no threshold, since most changes move all logits together.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from astropy.table import Table
from scipy import ndimage
from scipy.special import expit

from hearjax.interpret.maps import changed_logits, tested_in_fold
from hearjax.interpret.statistics import auc
from hearjax.maps import transforms
from hearjax.training.run import Run
from hearjax.verification.predictions import average_seeds
from hearjax.verification.resampling import confidence_interval, draw_rows
from hearjax.verification.scores import contingency, tss

RING_PX = 4.0  # Width of the rings within which pixels change places; our choice.
SHIFTS_PX = (1.0, 2.0, 4.0, 8.0)
READS = 0.5  # A network reads what at least this share of its skill goes with; our choice.
READS_SOME = 0.1  # Less than this is nothing; our choice.
# What is said, of which share, from what value on; the first that holds.
VERDICTS = (
  ('polarity', 'share_polarity', READS),
  ('strength', 'share_strength', READS),
  ('strength and place', 'share_ring_strength', READS),
  ('pattern of the polarities', 'share_neighbours', READS),
  ('pattern of the unsigned field and the polarities', 'share_neighbours', READS_SOME),
)


@dataclasses.dataclass(frozen=True)
class Batch:
  """Magnetograms to be changed, and what a change may need to know of each.

  Attributes:
    run: The run whose survey they are of.
    seed: Seed of what is drawn; with the row it fixes what a magnetogram draws.
    field: `[n, y, x]` whole maps [G], NaN where missing.
    rows: `[n]` rows of the survey that they are.
  """

  run: Run
  seed: int
  field: np.ndarray
  rows: np.ndarray

  @property
  def square(self) -> np.ndarray:
    """`[n, y, x]` the maps [G], cut to the square that the network looks at."""
    return transforms.crop(self.field, self.run.visible_px)

  @property
  def west(self) -> np.ndarray:
    """`[n, 1, 1]` 1 for a map west of the central meridian, -1 east of it."""
    return np.where(self.run.survey.cmd[self.rows] < 0, -1.0, 1.0)[:, None, None]

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
  visible = batch.run.visible_px
  return transforms.crop(batch.square, visible - 2 * round(visible * (1 - part) / 2))


def _shuffle(batch: Batch, ring_px: float) -> jax.Array:
  side = batch.run.visible_px
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
  Change('unchanged', 'none', lambda b, _: b.field, 'nothing'),
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
    lambda b, radius: _blur(b.field, b.run.survey.pixel_scale_mm, radius),
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


def invariance_table(run: Run, seed: int, resamples: int = 500) -> Table:
  """Shows changed magnetograms to a run's networks: each map, in every state, to the members that it is a test for.

  Whole maps are changed before the network cuts out its square; shuffles, drawn signs of elements, and smaller maps
  are made of that square. A larger map is none of the changes: the network cuts it, and says the same.

  Args:
    run: A finished run, with its predictions: the thresholds are there.
    seed: Seed of noise, shuffles and bootstrap.
    resamples: Bootstrap samples of the pairs.

  Returns:
    One row per change and strength: `name`, `kind`, `strength`, `unit`, `effect`; `change_pe` and `change_ne`, mean
    change of the logit in each class; `rms_change`, root mean square of the change in units of the standard deviation
    of the unchanged logits; `tss`, `tss_change` against the unchanged maps, and `auc`, `auc_change`. `_low` and `_high`
    bound 95 % intervals over pairs, the same pairs before and after.

    Meta: `verdict`, what the networks read, and `share_…`, the shares of the skill that it follows from (`verdict`),
    with the same intervals.

  Raises:
    UserError: There is one class only, a logit or a setting is not finite or out of its range.
    FileNotFoundError: The predictions are not there.
  """
  fold = tested_in_fold(run)
  label = run.survey.label
  drawn = draw_rows(run.survey.pair, resamples, seed)
  threshold = fold_thresholds(run)[fold]

  def score(logit: np.ndarray) -> dict[str, np.ndarray]:
    counts = contingency(label, expit(logit) >= threshold)
    weight = np.concatenate([np.ones((1, len(label)), int), drawn])
    return {'tss': tss(weight @ counts), 'auc': auc(label, logit, fold, weight)}

  rows, before, scores_before, auc_of = [], None, None, {}
  for change in CHANGES:
    for strength in change.strengths:
      logit = changed_logits(run, changer(run, change, strength, seed))
      scores = score(logit)
      if before is None:
        before, scores_before = logit, scores
      auc_of[change.name] = scores['auc']
      rows.append({'name': change.name, 'kind': change.kind, 'strength': strength, 'unit': change.unit})
      rows[-1] |= _describe(logit - before, label, np.std(before)) | _compare(scores, scores_before)
      rows[-1]['effect'] = change.effect
  table = Table(rows)
  table.meta = {'survey_source': run.survey.source, 'resamples': resamples, **verdict(auc_of)}
  return table


def fold_thresholds(run: Run) -> np.ndarray:
  """Returns `[fold]` the probability at or above which the networks of a fold forecast emergence."""
  predictions = average_seeds(run.predictions)
  of_fold = dict(zip(predictions['fold'], predictions['threshold'], strict=True))
  return np.array([of_fold[number] for number in range(len(run.folds))])


def verdict(auc_of: dict[str, np.ndarray]) -> dict[str, Any]:
  """Says what networks read, from the AUC that changes leave.

  Skill is AUC - 1/2. `share_strength` of it is left when the pixels of a map change places, `share_ring_strength` when
  they do so at their distance from the centre only, `share_polarity` is lost when the polarity is reversed, and
  `share_neighbours` when every magnetic element draws its sign. `_low` and `_high` bound their 95 % intervals; samples
  of the pairs without skill do not count there, having none to share. The first that holds, with `READS` for a half:

  - no skill: the interval of the unchanged AUC holds 1/2;
  - polarity: half is lost by the reversal;
  - strength: half is left of the pixels without any order;
  - strength and place: half is left of the pixels in their rings;
  - pattern: neither; of the polarities where half is lost with the signs of elements, of the unsigned field where less
    than `READS_SOME` is, else of both. What touches with one sign stays together, so that this share comes out too
    small rather than too large.

  Networks trained on the world `flux` came out as strength, on `pattern` as pattern, on `null` as no skill.

  Args:
    auc_of: Name of a change -> `[1 + resample]` AUC, the first that of all pairs.
  """
  if not confidence_interval(auc_of['unchanged'][1:])[0] > 0.5:
    return {'verdict': 'no skill'}
  skill = {name: values - 0.5 for name, values in auc_of.items()}
  whole = np.where(skill['unchanged'] > 0, skill['unchanged'], np.nan)

  def left(name: str) -> np.ndarray:
    return np.clip(skill[name] / whole, 0, 1)

  samples = {
    'share_polarity': 1 - left('polarity reversed'),
    'share_strength': left('pixels shuffled'),
    'share_ring_strength': left('pixels shuffled in rings'),
    'share_neighbours': 1 - left('signs of elements drawn'),
  }
  shares = {}
  for name, values in samples.items():
    shares[name] = float(values[0])
    shares[f'{name}_low'], shares[f'{name}_high'] = map(float, confidence_interval(values[1:]))
  said = next((said for said, name, least in VERDICTS if shares[name] >= least), 'pattern of the unsigned field')
  return {'verdict': said, **shares}


def changer(run: Run, change: Change, strength: float, seed: int) -> Callable:
  """Returns the function that `changed_logits` takes, with randomness that depends on seed and row alone."""
  return lambda field, rows: change.apply(Batch(run, seed, field, rows), strength)


def _describe(moved: np.ndarray, label: np.ndarray, spread: float) -> dict[str, float]:
  """Returns how `[n]` logits moved, with the standard deviation that they had before."""
  rms = float(np.sqrt(np.mean(moved**2)))
  return {
    'change_pe': float(np.mean(moved[label == 1])),
    'change_ne': float(np.mean(moved[label == 0])),
    'rms_change': rms / spread if spread > 0 else np.nan,
  }


def _compare(scores: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> dict[str, float]:
  """Returns scores and their changes, from `[1 + resample]` values each, the first that of all pairs."""
  result = {}
  for name, values in scores.items():
    for column, samples in ((name, values), (f'{name}_change', values - before[name])):
      result[column] = float(samples[0])
      result[f'{column}_low'], result[f'{column}_high'] = confidence_interval(samples[1:])
  return result
