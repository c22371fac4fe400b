"""Whether attribution means something: two checks that a method can fail.

Randomised weights (Adebayo et al. 2018): the attribution of a network must resemble that of others which learnt the
same more than that of untrained ones. A map that is alike for both shows the magnetogram and not the network.

Deletion and insertion (Petsiuk et al. 2018): where the map says that a network looks, the network must notice what is
taken away or put in. Strong field matters to any network: the order of the attribution is compared with that of
strongest field first, and with a random one.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from astropy.table import Table, vstack
from scipy.stats import rankdata

from hearjax.checks import UserError, check_positive
from hearjax.interpret.attribution import (
  AttributionSettings,
  attribute,
  baselines_of,
  check_methods,
  contribution,
  smooth,
)
from hearjax.interpret.attribution_maps import by_test
from hearjax.interpret.maps import MEMBERS, Subject, finite_logits, subject_logits, visible_patches
from hearjax.interpret.references import EXCHANGED, UNTRAINED
from hearjax.interpret.statistics import spread
from hearjax.progress import Progress, silent
from hearjax.survey.survey import Survey

SHARES = np.linspace(0, 1, 11)  # Of the unsigned flux that is deleted or inserted.
CHECKS = ('deletion', 'insertion')
SIGNED, ABSOLUTE = BY = ('signed', 'absolute')  # What is compared and ordered: what a pixel adds, or its size alone.
FIELD, RANDOM = 'strongest field first', 'random order'
RESEMBLANCE = 'resemblance'
KIN, STRANGERS = 'the same kind', 'untrained'  # Networks that another is compared with.
COARSE = 4  # Ranks need no completeness: points on paths are so many times fewer.
LEARNERS = (MEMBERS, UNTRAINED, EXCHANGED)  # Meters do not learn, and are all the same.


@dataclasses.dataclass(frozen=True)
class SanitySettings:
  """How attribution is checked; every entry is a choice of ours.

  Attributes:
    pairs: Pairs of each test whose regions are looked at, at most.
    maps: Magnetograms of each of these regions, at most.
    smooth_mm: Standard deviation of the smoothing before maps are compared [Mm].
  """

  pairs: int = 8
  maps: int = 1
  smooth_mm: float = 3.0

  def __post_init__(self):
    if min(self.pairs, self.maps) < 1:
      raise UserError(f'Attribution is checked on at least one map of one pair, got {self.maps} and {self.pairs}.')
    check_positive('smooth_mm', self.smooth_mm)


# --- Resemblance ------------------------------------------------------------------------------------------------


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns `[n]` Spearman's correlation over the pixels of `[n, y, x]` maps; 0 where a map is constant."""
  ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
  ranks = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
  norm = np.sqrt(np.prod([np.sum(rank**2, axis=1) for rank in ranks], axis=0))
  return np.sum(ranks[0] * ranks[1], axis=1) / np.where(norm > 0, norm, 1)


def resemblance(
  first: np.ndarray, second: np.ndarray, pixel_scale_mm: float, smooth_mm: float
) -> dict[str, np.ndarray]:
  """Compares what pixels add to the logits of two networks.

  `ABSOLUTE`: rank correlation of the absolute values, pixel by pixel, as Adebayo et al. have it. It is high for any
  network where a method multiplies by the field, since most pixels have hardly any. `SIGNED`: that of the values after
  smoothing, which asks whether the same places speak for emergence.

  Args:
    first, second: `[n, y, x]` what each pixel adds [logit].
    pixel_scale_mm: Side of a pixel [Mm].
    smooth_mm: Standard deviation of the smoothing [Mm].

  Returns:
    `[n]` correlations, by `BY`.
  """
  smoothed = [smooth(maps, pixel_scale_mm, smooth_mm) for maps in (first, second)]
  return {SIGNED: rank_correlation(*smoothed), ABSOLUTE: rank_correlation(np.abs(first), np.abs(second))}


# --- Deletion and insertion -------------------------------------------------------------------------------------


def curves(say: Callable[[np.ndarray], np.ndarray], field: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
  """Follows the logit while pixels are set to 0 G, and while they are put into a map of 0 G.

  The curves run over the share of the unsigned flux, where Petsiuk et al. have that of the pixels: a few per cent of
  the pixels carry nearly all of the flux, and orders are to be compared at equal flux.

  Args:
    say: From `[n, y, x]` field [G] to `[n]` logits.
    field: `[n, y, x]` field [G], NaN where missing.
    order: `[n, y, x]` pixels with the largest value come first.

  Returns:
    `deletion`, `insertion`: `[n, share]` logit at `SHARES`.
  """
  field = np.nan_to_num(field)
  chosen = flux_share(field, order)[:, None] <= SHARES[:, None, None]
  changed = {}
  for name, kept in zip(CHECKS, (~chosen, chosen), strict=True):
    maps = np.where(kept, field[:, None], 0).reshape(-1, *field.shape[1:])
    changed[name] = say(maps).reshape(len(field), -1)
  return changed


def flux_share(field: np.ndarray, order: np.ndarray) -> np.ndarray:
  """Returns `[n, y, x]` share of the unsigned flux of a map up to and with each pixel, in an order (largest first)."""
  sequence = np.argsort(-order.reshape(len(field), -1), axis=1, kind='stable')
  flux = np.take_along_axis(np.abs(field, dtype=np.float64).reshape(len(field), -1), sequence, axis=1)
  total = flux.sum(axis=1, keepdims=True)
  share = np.empty_like(flux)
  # Rounding must not leave the last pixel beyond the share 1.
  np.put_along_axis(share, sequence, np.minimum(flux.cumsum(axis=1) / np.where(total > 0, total, 1), 1), axis=1)
  return share.reshape(field.shape)


def area_beyond(curve: np.ndarray, reference: np.ndarray, check: str) -> np.ndarray:
  """Returns `[n]` mean distance of a curve from that of another order, positive where it does better.

  In deletion the better order makes the logit fall earlier; in insertion it makes it rise earlier.

  Args:
    curve: `[n, share]` logit.
    reference: `[n, share]` logit for the other order.
    check: One of `CHECKS`.
  """
  area = np.trapezoid(curve - reference, SHARES, axis=1)
  return -area if check == 'deletion' else area


# --- Networks and their maps ------------------------------------------------------------------------------------


def measure(
  subjects: Sequence[Subject],
  survey: Survey,
  methods: Sequence[str],
  settings: SanitySettings,
  attribution: AttributionSettings,
  seed: int,
  progress: Progress = silent,
) -> tuple[Table, Table]:
  """Puts methods to both checks on some test maps of networks.

  All attribution of a map starts from the baselines of the first member that it is a test for, so that only the
  networks differ. Of references the first method is asked alone: its claims are what they stand beside. Their order is
  that in which flux goes from the maps that this member is shown.

  Args:
    subjects: Members and references, of different names, which look at squares of one size.
    survey: Their maps.
    methods: Names of methods.
    settings: How they are checked.
    attribution: Settings of the methods.
    seed: Of the choice of maps and baselines, random orders and the noise of SmoothGrad.
    progress: Goes through the tests, and may show how far it is.

  Returns:
    What is alike: a row for each `method`, network (`subject`, `group`), `other` network, what that is `to` the first
    (`KIN` or `STRANGERS`), and map (`row` of the survey, `region`, `pair`), with the rank correlations of `BY`.

    What flux does: a row for each `order` (a method, `FIELD` or `RANDOM`), `by` one of `BY`, network that gave it
    (`subject`, `group`), network that was shown the maps (`judge`) and map, with `[share]` `deletion` and `insertion`:
    the logit less that of the whole map, in spreads.

  Raises:
    UserError: There is no such method, a network has learnt from no control map, or a logit is not finite.
  """
  check_methods(methods)
  fewer = {name: -(-getattr(attribution, name) // COARSE) for name in ('points', 'steps')}
  attribution = dataclasses.replace(attribution, **fewer)
  alike, followed = [], []
  for number, group in progress(list(enumerate(by_test(subjects)))):
    members = [subject for subject in group if subject.group == MEMBERS]
    if not members:  # Nobody to show the maps to.
      continue
    rng = np.random.default_rng([seed, number])
    rows = _draw_rows(survey, members[0].rows.test, settings, rng)
    field = visible_patches(members[0].network, survey, rows)
    about = {'row': rows, 'region': survey.region[rows], 'pair': survey.pair[rows]}
    baselines = {method: baselines_of(method, members[0], survey, attribution, seed) for method in methods}
    spreads = {member.name: spread(subject_logits(member, survey)) for member in members}
    added: dict[tuple[str, str], np.ndarray] = {}  # What pixels add, by method and name of the network.
    for subject in group:
      asked, others = methods if subject.group == MEMBERS else methods[:1], _others(subjects, subject)
      for method, each in itertools.product(asked, [subject, *(other for _, other in others)]):
        if (method, each.name) not in added:
          said = attribute(method, each.network, each.params, field, baselines[method], attribution, seed)
          added[method, each.name] = contribution(method, said, field)
      for method, (to, other) in itertools.product(asked, others):
        pair = added[method, subject.name], added[method, other.name]
        names = {'method': method, 'subject': subject.name, 'group': subject.group, 'other': other.name, 'to': to}
        alike.append(_table(names, about, resemblance(*pair, survey.pixel_scale_mm, settings.smooth_mm)))
      orders = {(method, SIGNED): added[method, subject.name] for method in asked}
      if subject.group == MEMBERS:
        orders |= {(method, ABSOLUTE): np.abs(added[method, subject.name]) for method in methods}
        orders |= {(FIELD, ABSOLUTE): np.abs(np.nan_to_num(field)), (RANDOM, ABSOLUTE): rng.random(field.shape)}
      judge = subject if subject.group == MEMBERS else members[0]
      for (order, by), values in orders.items():
        names = {'order': order, 'by': by, 'subject': subject.name, 'group': subject.group, 'judge': judge.name}
        followed.append(_table(names, about, _follow(judge, spreads[judge.name], field, values)))
  return vstack(alike) if alike else Table(), vstack(followed)


def _draw_rows(survey: Survey, tested: np.ndarray, settings: SanitySettings, rng: np.random.Generator) -> np.ndarray:
  """Draws rows of the survey among those of a test: of some pairs, some of each region."""
  pairs = rng.permutation(np.unique(survey.pair[tested]))[: settings.pairs]
  tested = tested[np.isin(survey.pair[tested], pairs)]
  drawn = [
    rng.permutation(tested[survey.region[tested] == region])[: settings.maps]
    for region in np.unique(survey.region[tested])
  ]
  return np.sort(np.concatenate(drawn))


def _others(subjects: Sequence[Subject], subject: Subject) -> list[tuple[str, Subject]]:
  """Returns the networks that one is compared with, and what they are to it.

  Its kin is the next one of its group. Strangers are the untrained ones of its own test; for an untrained one, which is
  kin to these, that before it.
  """
  if subject.group not in LEARNERS:
    return []
  group = [other for other in subjects if other.group == subject.group]
  place = next(number for number, other in enumerate(group) if other is subject)
  kin, before = group[(place + 1) % len(group)], group[place - 1]
  if subject.group == UNTRAINED:
    strangers = [before] if before is not kin else []
  else:
    tested = subject.rows.test
    strangers = [each for each in subjects if each.group == UNTRAINED and np.array_equal(each.rows.test, tested)]
  found = [(KIN, kin), *((STRANGERS, other) for other in strangers)]
  return [(to, other) for to, other in found if other is not subject]


def _follow(judge: Subject, sd: float, field: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
  """Returns what `curves` does, less the logit of the whole map, in units of `sd`."""
  said = curves(lambda maps: finite_logits(judge, maps), field, order)
  return {check: (values - said['deletion'][:, :1]) / (sd or np.nan) for check, values in said.items()}


def _table(names: dict[str, str], about: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> Table:
  """Returns a row for each map, the same names in all of them."""
  n = len(about['row'])
  return Table({name: [value] * n for name, value in names.items()} | about | values)
