"""What is asked, and of which magnetograms: networks with the maps of their folds, and quiet Sun to put fields into."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.interpret.network import CHUNK, EmergenceAdapter, Network, Params, logits
from hearjax.maps import transforms
from hearjax.maps.synthetic import Grid
from hearjax.survey.fold_rows import FoldRows
from hearjax.survey.survey import Survey
from hearjax.training.run import Run
from hearjax.verification.scores import steady_threshold

MEMBERS = 'members'  # The group of the networks that claims are made of.

# From `[n, y, x]` field [G] and the `[n]` rows of the survey that they are to what a network is shown.
Change = Callable[[np.ndarray, np.ndarray], jax.Array | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A network that is asked, and the magnetograms that it may be asked about: one of a run, a reference, or any other.

  Attributes:
    name: Its name.
    group: What it is one of: `MEMBERS`, or a kind of reference.
    network, params: The network.
    rows: Rows of the survey on each side of its fold; it is judged on those of the test.
  """

  name: str
  group: str
  network: Network
  params: Params
  rows: FoldRows


def members_of(run: Run) -> list[Subject]:
  """Returns the networks of a run, fold by fold."""
  network = EmergenceAdapter(run.ensemble.model)
  return [Subject(member.name, MEMBERS, network, member.params, member.rows) for member in run.members()]


def check_subjects(subjects: list[Subject], survey: Survey) -> None:
  """Raises UserError where there is no network, or none whose test maps are of both classes."""
  if not subjects:
    raise UserError('There is no network to ask.')
  tested = np.concatenate([subject.rows.test for subject in subjects])
  classes = np.unique(survey.label[tested])
  if len(classes) < 2:
    raise UserError(
      f'The test maps have no two classes to tell apart (labels {" and ".join(map(str, classes)) or "none"}); a survey '
      'with emerging and control regions is needed.'
    )


def survey_of_maps(
  field: np.ndarray, label: np.ndarray, pixel_scale_mm: float, pair: np.ndarray | None = None
) -> Survey:
  """Returns maps as a survey, for networks of other programs: all of one interval, at the middle of the disk.

  Args:
    field: `[n, y, x]` field [G], NaN where missing.
    label: `[n]` 1 for PE, 0 for NE.
    pixel_scale_mm: Side of a pixel [Mm].
    pair: `[n]` number of the pair of each, the unit of every interval; None for a pair of each map alone.

  Raises:
    UserError: The shapes do not fit, or a label is neither 0 nor 1.
  """
  field, label = np.asarray(field, np.float32), np.asarray(label)
  n = len(label)
  pair = np.arange(n) if pair is None else np.asarray(pair)
  if field.ndim != 3 or field.shape[1] != field.shape[2] or not len(field) == n == len(pair):
    raise UserError(
      f'Square maps [n, y, x] with a label (and pair) for each are needed, got {field.shape}, {label.shape} and '
      f'{pair.shape}.'
    )
  if not np.isin(label, (0, 1)).all():
    raise UserError(f'Labels must be 1 (PE) or 0 (NE), got {np.unique(label)[:5].tolist()}.')
  pairs, pair = np.unique(pair, return_inverse=True)
  zero, whole = np.zeros(n, np.float32), np.zeros(n, np.int32)
  names = [f'{pairs[number]}-{kind}' for number, kind in zip(pair, np.where(label == 1, 'pe', 'ne'), strict=True)]
  region_ids, region = np.unique(names, return_inverse=True)
  return Survey(
    field=field,
    label=label.astype(np.int32),
    interval=whole - 1,
    noaa=whole,
    n_frames=whole + 1,
    quality=whole,
    hours=zero - 1,
    hours_start=zero - 1,
    hours_end=zero,
    latitude=zero,
    longitude=zero,
    cmd=zero,
    mu=zero + 1,
    missing=np.isnan(field).mean(axis=(1, 2), dtype=np.float32),
    mjd=np.zeros(n),
    region=region.astype(np.int32),
    pair=pair.astype(np.int32),
    region_ids=tuple(map(str, region_ids)),
    pair_ids=tuple(map(str, pairs)),
    pixel_scale_mm=pixel_scale_mm,
    source='given',
  )


# --- What networks say --------------------------------------------------------------------------------------------


def unchanged(field: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns the maps as they are."""
  return field


def subject_logits(
  subject: Subject, survey: Survey, change: Change = unchanged, rows: np.ndarray | None = None
) -> np.ndarray:
  """Returns `[n]` logits of a network for its test maps, after a change of the whole maps.

  Args:
    subject: The network.
    survey: The maps.
    change: What is done to the maps before; it must treat each map by itself. The square that the network looks at is
      cut out afterwards.
    rows: Other rows of the survey than those of its test.

  Raises:
    UserError: A logit is not finite.
  """
  rows = subject.rows.test if rows is None else rows
  network = subject.network

  def say(part: np.ndarray) -> np.ndarray:
    return logits(network, subject.params, np.asarray(change(survey.field[part], part)), len(part))

  return _finite(subject, map_chunks(say, rows, min(CHUNK, len(rows))))


def finite_logits(subject: Subject, field: np.ndarray) -> np.ndarray:
  """Returns `[n]` logits of a network for `[n, y, x]` field [G].

  Raises:
    UserError: A logit is not finite.
  """
  return _finite(subject, logits(subject.network, subject.params, field))


def _finite(subject: Subject, values: np.ndarray) -> np.ndarray:
  if not np.isfinite(values).all():
    raise UserError(f'Some logits of {subject.name} are not finite; its parameters must be.')
  return values


def trained_threshold(subject: Subject, survey: Survey) -> float:
  """Returns the logit from which on a network forecasts emergence: what its training and validation maps suggest."""
  rows = np.concatenate([subject.rows.train, subject.rows.validation])
  probability = expit(subject_logits(subject, survey, rows=rows))
  threshold = steady_threshold(survey.label[rows], probability, survey.pair[rows])
  return float(np.log(threshold) - np.log1p(-threshold))


# --- Quiet Sun ----------------------------------------------------------------------------------------------------


def visible_grid(network: Network, survey: Survey) -> Grid:
  """Returns the square of the maps of a survey that a network looks at."""
  return Grid(network.visible_px(survey.field.shape[-1]), survey.pixel_scale_mm)


def visible_patches(network: Network, survey: Survey, rows: np.ndarray) -> np.ndarray:
  """Returns `[n, y, x]` what a network sees of some rows of the survey [G]."""
  return transforms.crop(survey.field[rows], network.visible_px(survey.field.shape[-1]))


def control_rows(subject: Subject, survey: Survey) -> np.ndarray:
  """Returns the rows of the control regions (quiet Sun) among the test maps of a network.

  Raises:
    UserError: There is none.
  """
  rows = subject.rows.test[survey.label[subject.rows.test] == 0]
  if not len(rows):
    raise UserError(
      f'The test maps of {subject.name} hold no control region (label 0), so that there is no quiet Sun to put a field '
      'into; use a survey with both classes.'
    )
  return rows


def draw_places(rng: np.random.Generator, shape: int | tuple[int, ...], radius_mm: float) -> np.ndarray:
  """Draws `[2, *shape]` places (x, y) [Mm], evenly over a disc about the middle."""
  distance = radius_mm * np.sqrt(rng.random(shape))
  angle = rng.uniform(0, 2 * np.pi, shape)
  return distance * np.stack([np.cos(angle), np.sin(angle)])
