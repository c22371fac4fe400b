"""The magnetograms that interpretation looks at: what members say of those of their own test folds, and quiet Sun."""

import functools
import itertools
from collections.abc import Callable

import jax
import numpy as np

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.maps import transforms
from hearjax.maps.synthetic import Grid
from hearjax.training.ensemble import member_logits
from hearjax.training.run import Member, Run

CHUNK = 64  # Magnetograms on the device at a time: 4 MB of 128 px maps.

# From `[n, y, x]` field [G] and the `[n]` rows of the survey that they are to what the members are shown.
Change = Callable[[np.ndarray, np.ndarray], jax.Array | np.ndarray]


def unchanged(field: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns the maps as they are."""
  return field


def changed_logits(run: Run, change: Change = unchanged) -> np.ndarray:
  """Returns `[n]` logits of every magnetogram of the survey, each by the members that it is a test for.

  Where a fold has several seeds it is their mean logit, as in the scores. The change is made to the whole map, beyond
  the square that the network looks at, which is cut out afterwards.

  Args:
    run: A finished run.
    change: What is done to the maps before; it must treat each map by itself.

  Raises:
    UserError: A logit is not finite.
  """
  result = np.full(len(run.survey), np.nan)
  for _, members in itertools.groupby(run.members(), key=lambda member: member.fold):
    members = list(members)
    test = members[0].rows.test
    result[test] = map_chunks(functools.partial(_mean_logit, run, members, change), test, CHUNK)
  if not np.isfinite(result).all():
    raise UserError(f'Some logits of the networks in {run.directory} are not finite; their parameters must be.')
  return result


def _mean_logit(run: Run, members: list[Member], change: Change, rows: np.ndarray) -> np.ndarray:
  """Returns `[n]` the mean logit by some members of `[n]` rows of the survey after a change."""
  model = run.ensemble.model
  changed = change(run.survey.field[rows], rows)
  seen = transforms.crop(changed, model.settings.visible_px(changed.shape[-1]))
  return np.mean([member_logits(member.params, seen, model=model) for member in members], axis=0)


def tested_in_fold(run: Run) -> np.ndarray:
  """Returns `[n]` the fold that every magnetogram of the survey is tested in.

  Raises:
    UserError: No fold tests magnetograms of both classes, so that nothing can be scored.
  """
  label, fold = run.survey.label, np.full(len(run.survey), -1)
  for number, rows in enumerate(run.folds):
    fold[rows.test] = number
  if not any(len(np.unique(label[rows.test])) == 2 for rows in run.folds):
    classes = ' and '.join(str(value) for value in np.unique(label)) or 'no'
    raise UserError(
      f'The test folds of {run.directory} have no two classes to tell apart (labels {classes}); a survey with emerging '
      'and control regions is needed.'
    )
  return fold


BACKGROUNDS = ('none', 'noise', 'quiet')


# --- What the probes are shown to, and in front of what -----------------------------------------------------------


def visible_grid(run: Run) -> Grid:
  """Returns the square that the networks of a run look at."""
  return Grid(run.visible_px, run.survey.pixel_scale_mm)


def control_rows(run: Run, member: Member) -> np.ndarray:
  """Returns the rows of the control regions (quiet Sun) that a member has not learnt from.

  Raises:
    UserError: There is none.
  """
  rows = member.rows.test[run.survey.label[member.rows.test] == 0]
  if not len(rows):
    raise UserError(
      f'The test fold of {member.name} holds no control region (label 0), so that there is no quiet Sun to put a field '
      'into; use a survey with both classes, or other backgrounds.'
    )
  return rows


def draw_backgrounds(
  run: Run,
  member: Member,
  background: str,
  n: int,
  noise_gauss: float,
  seed: int,
  quiet: np.ndarray | None = None,
) -> np.ndarray:
  """Draws what synthetic fields are put in front of.

  Args:
    run: A finished run.
    member: Whose test fold gives the quiet Sun.
    background: One of `BACKGROUNDS`: zeros, white noise, or quiet Sun.
    n: How many.
    noise_gauss: Standard deviation of the noise [G].
    seed: Of the noise, or of the choice of patches; a non-negative integer.
    quiet: `[patch, y, x]` quiet Sun [G]; None for the control regions of the member.

  Returns:
    `[n, y, x]` field [G].

  Raises:
    UserError: There is no quiet Sun.
  """
  shape = (n, run.visible_px, run.visible_px)
  rng = np.random.default_rng([seed, BACKGROUNDS.index(background)])
  if background == 'none':
    return np.zeros(shape, np.float32)
  if background == 'noise':
    return rng.normal(0, noise_gauss, shape).astype(np.float32)
  if quiet is None:
    quiet = visible_patches(run, control_rows(run, member))
  return quiet[np.resize(rng.permutation(len(quiet)), n)]


def draw_places(rng: np.random.Generator, shape: int | tuple[int, ...], radius_mm: float) -> np.ndarray:
  """Draws `[2, *shape]` places (x, y) [Mm], evenly over a disc about the middle."""
  distance = radius_mm * np.sqrt(rng.random(shape))
  angle = rng.uniform(0, 2 * np.pi, shape)
  return distance * np.stack([np.cos(angle), np.sin(angle)])


def visible_patches(run: Run, rows: np.ndarray) -> np.ndarray:
  """Returns `[n, y, x]` what the networks see of some rows of the survey [G]."""
  return transforms.crop(run.survey.field[rows], run.visible_px)
