"""Pruning: filters are dropped one after the other, and what is left is asked for its skill.

The order is chosen on training pairs, where to stop on validation pairs; what is reported comes from test pairs.
Backward elimination (Guyon & Elisseeff 2003, JMLR 3, 1157) tries every filter at every step; here one gradient ranks
them, by the size of the first-order change of the loss (Molchanov et al. 2017, arXiv:1611.06440), and the first few are
tried.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.interpret.findings import Claim
from hearjax.interpret.maps import Subject
from hearjax.interpret.network import THREADS, Network, Params, filter_layers, masked_logits, visible
from hearjax.interpret.references import EXCHANGED
from hearjax.interpret.statistics import Draws, over_subjects
from hearjax.interpret.variants import Scores, best_offset, both_classes, cross_entropy, offset_losses, score_masked
from hearjax.models.compilation import jit_convolutions
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import confidence_interval

SHARE = 0.25  # Of the filters, for which the claim is made.
FEW = Claim(
  'few',
  'A quarter of the filters, chosen in other regions, keeps skill that a quarter drawn at random loses',
  'TSS',
  0.05,
  (EXCHANGED,),
)
CLAIMS = (FEW,)
GREEDY, RANDOM, MAGNITUDE = ORDERS = ('greedy', 'random', 'magnitude')
STREAM = 5  # Of random numbers, apart from those of the draws.
MEAN = 'mean'  # In the place of a member, for all of them.


@dataclasses.dataclass(frozen=True)
class PruningSettings:
  """How filters are dropped; the numbers are our choice.

  Attributes:
    order_maps: Training maps on which the order of filters is chosen; more did not make it better.
    sizes: Sizes at which a pruned network is scored, from all filters to one in each layer, even in their logarithm.
    checked: Filters that are tried at each step, where fewer than these go at once.
    random_orders: Random orders that the chosen one is compared with, of each network, and of all together along the
      whole path.
    band_sizes: Sizes at which random orders, and that by magnitude, are scored along the path.
  """

  order_maps: int = 64
  sizes: int = 30
  checked: int = 4
  random_orders: int = 20
  band_sizes: int = 7

  def __post_init__(self):
    if min(self.order_maps, self.checked, self.random_orders) < 1 or min(self.sizes, self.band_sizes) < 2:
      raise UserError(
        'Pruning needs at least one map, filter to try and random order, and two sizes, got '
        f'{self.order_maps}, {self.checked}, {self.random_orders}, {self.sizes} and {self.band_sizes}.'
      )


# --- The loss -----------------------------------------------------------------------------------------------------


@jit_convolutions('network')
def _slopes(params: Params, field: jax.Array, label: jax.Array, kept: jax.Array, *, network: Network) -> jax.Array:
  """Returns `[filter]` derivative of the loss to the mask of each filter."""

  def loss(kept: jax.Array) -> jax.Array:
    values = network.masked_logit(params, field, kept)
    # At the best offset its own derivative is 0: that of how it was found is noise.
    moved = values + jax.lax.stop_gradient(best_offset(label, values, jnp))
    return cross_entropy(label, moved, jnp).mean()

  return jax.grad(loss)(kept)


# --- Orders -------------------------------------------------------------------------------------------------------


def path_sizes(network: Network, number: int) -> np.ndarray:
  """Returns how many filters are left along a path: all, then about `number` sizes down to one for each layer.

  That of the claim (`claimed_size`) is among them.
  """
  total, least = sum(network.widths), len(network.widths)
  even = np.round(np.geomspace(least, total, number)).astype(int)
  return np.unique([*even, claimed_size(network)])[::-1]


def claimed_size(network: Network) -> int:
  """Returns the number of filters for which the claim `FEW` is made."""
  return max(round(SHARE * sum(network.widths)), len(network.widths))


def eliminate(
  network: Network, params: Params, field: np.ndarray, label: np.ndarray, sizes: Sequence[int], checked: int
) -> np.ndarray:
  """Drops filters down to each size, those first that the loss depends on least.

  Many that go at once are those of the smallest first-order change, whatever its sign: filters without which the loss
  seems to fall by much matter much, and together they overshoot. Where few go, `checked` of them are tried.
  The last filter of a layer stays: without it nothing would reach the logit.

  Args:
    network, params: The network.
    field: `[n, y, x]` maps to choose on [G].
    label: `[n]` 1 for PE, 0 for NE.
    sizes: `[size]` filters that shall be left, from all of them down.
    checked: Filters that are tried at each step.

  Returns:
    `[size, filter]` bool what is left.
  """
  layers = filter_layers(network)
  field, chunk = jax.device_put(visible(network, field)), -(-len(field) // (2 * THREADS))
  label = np.asarray(label, np.float32)
  path = [np.ones(len(layers), bool)]
  for size in sizes[1:]:
    kept = path[-1]
    going = int(kept.sum()) - size
    slopes = np.asarray(_slopes(params, field, label, kept.astype(np.float32), network=network))
    ranking = np.argsort(np.where(kept, np.abs(slopes), np.inf), kind='stable')[: kept.sum()]
    if going < checked:
      spare = np.bincount(layers[kept], minlength=len(network.widths))[layers[ranking]] > 1
      tried = ranking[spare][:checked]
      variants = np.repeat(kept[None], checked, axis=0)  # As many whenever, so that it compiles once.
      variants[np.arange(len(tried)), tried] = False
      said = masked_logits(network, params, field, variants, chunk)[: len(tried)]
      best = tried[np.argsort(offset_losses(label, said).mean(axis=-1), kind='stable')]
      ranking = np.concatenate([best, ranking[~np.isin(ranking, best)]])
    path.append(_drop(layers, kept, ranking, going))
  return np.stack(path)


def _drop(layers: np.ndarray, kept: np.ndarray, ranking: np.ndarray, going: int) -> np.ndarray:
  """Returns `[filter]` what is left when the first `going` of a ranking go, but for the last of a layer."""
  kept, left = kept.copy(), np.bincount(layers[kept])
  for number in ranking:
    if not going:
      break
    if kept[number] and left[layers[number]] > 1:
      kept[number] = False
      left[layers[number]] -= 1
      going -= 1
  return kept


def follow(network: Network, ranking: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
  """Returns `[size, filter]` bool what is left of a network when filters go as ranked, the last of a layer spared."""
  layers = filter_layers(network)
  everything = np.ones(len(layers), bool)
  return np.stack([_drop(layers, everything, ranking, len(layers) - size) for size in sizes])


def magnitude_ranking(kernels: Sequence[np.ndarray]) -> np.ndarray:
  """Returns `[filter]` filters from the smallest kernel to the largest.

  The size of a kernel is the L1 norm of its weights, as in Li et al. 2017 (arXiv:1608.08710), relative to the mean of
  its layer, since kernels of more inputs are drawn smaller.

  Args:
    kernels: `[..., filter]` of each layer.
  """
  norms = [np.abs(kernel).reshape(-1, np.shape(kernel)[-1]).sum(axis=0) for kernel in kernels]
  return np.argsort(np.concatenate([norm / max(norm.mean(), 1e-30) for norm in norms]), kind='stable')


def stop(losses: np.ndarray) -> int:
  """Returns the smallest network that is as good as the full one on validation pairs.

  It is within one standard error of the mean difference to it: paired, since the same pairs are easy for both.

  Args:
    losses: `[size, pair]` along a path, first of the full network.
  """
  worse = losses - losses[0]
  error = worse.std(axis=1, ddof=1) / np.sqrt(losses.shape[1]) if losses.shape[1] > 1 else 0.0
  return int(np.flatnonzero(worse.mean(axis=1) <= error)[-1])


# --- Pruning ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pruned:
  """What is left of a network at every size, by several orders.

  Attributes:
    subject: The network.
    order: `[variant]` name of the order.
    draw: `[variant]` number of the random order; 0 for the others.
    kept: `[variant, filter]` bool what is left; first of the chosen order from the full network on.
    scores: Of the variants.
    chosen: The variant at which the chosen order stops.
    samples: Of the claims: `[1 + resample]` each.
  """

  subject: Subject
  order: np.ndarray
  draw: np.ndarray
  kept: np.ndarray
  scores: Scores
  chosen: int
  samples: dict[str, np.ndarray]

  @property
  def minimal(self) -> np.ndarray:
    """Returns `[filter]` bool the filters of the network at which the chosen order stops."""
    return self.kept[self.chosen]


def prune(
  subject: Subject,
  survey: Survey,
  draws: Draws,
  settings: PruningSettings,
  along: int = 0,
  kernels: Sequence[np.ndarray] | None = None,
) -> Pruned:
  """Prunes a network in the chosen order, and in others for comparison.

  The effect is the skill that a quarter of the filters keeps, at most that of the full network, less that of random
  quarters. Skill that a network has only without the rest of its filters is none that it has learnt.

  Args:
    subject: The network.
    survey: The maps.
    draws: Of pairs.
    settings: How it is pruned.
    along: Random orders that are followed along the whole path; with 0 no order goes further than the claim.
    kernels: `[..., filter]` of each layer, for the order by magnitude; None for none.

  Raises:
    UserError: Nothing can be dropped, or a side of the fold is all of one class.
  """
  network, size_of_claim = subject.network, claimed_size(subject.network)
  if size_of_claim == sum(network.widths):
    raise UserError(f'{subject.name} has one filter in each layer ({network.widths}); there is nothing to prune.')
  sizes, band = (path_sizes(network, number) for number in (settings.sizes, settings.band_sizes))
  if not along:
    sizes = sizes[sizes >= size_of_claim]
  rows = both_classes(subject, survey, subject.rows.train, 'training')
  rows = rows[np.linspace(0, len(rows) - 1, min(settings.order_maps, len(rows))).astype(int)]
  path = eliminate(network, subject.params, survey.field[rows], survey.label[rows], sizes, settings.checked)
  if not along:
    path = path[[0, -1]]  # The claim asks for no more.
  variants = [(GREEDY, 0, kept) for kept in path]
  rng = np.random.default_rng([draws.seed, STREAM])
  for draw in range(settings.random_orders):
    followed = band if draw < along else [size_of_claim]
    ranking = rng.permutation(path.shape[1])
    variants += [(RANDOM, draw, kept) for kept in follow(network, ranking, followed)]
  if along and kernels is not None:
    variants += [(MAGNITUDE, 0, kept) for kept in follow(network, magnitude_ranking(kernels), band)]
  order, draw, kept = (np.array(column) for column in zip(*variants, strict=True))
  scores = score_masked(subject, survey, draws, kept)
  claimed = kept.sum(axis=1) == size_of_claim
  (of_greedy,), of_random = (scores.test_tss[claimed & (order == name)] for name in (GREEDY, RANDOM))
  effect = np.minimum(of_greedy, scores.test_tss[0]) - of_random.mean(axis=0)
  return Pruned(subject, order, draw, kept, scores, stop(scores.validation_loss[: len(path)]), {FEW.name: effect})


# --- Tables -------------------------------------------------------------------------------------------------------


def path_table(pruned: Sequence[Pruned], draws: Draws) -> Table:
  """Returns `path.ecsv`: a row for every variant, and for the chosen order of all networks together (`MEAN`).

  `filters` says of every filter whether it is left (1). `test_tss_low` and `_high` are over the test pairs of the
  network, or over all pairs and networks; so are those of `gain`, the TSS less that of the full network.
  """
  rows = []
  for each in pruned:
    losses = each.scores.validation_loss.mean(axis=1)
    rows += [
      {
        'member': each.subject.name,
        'order': str(each.order[number]),
        'draw': int(each.draw[number]),
        'n_filters': int(kept.sum()),
        'validation_loss': losses[number],
        'validation_tss': each.scores.validation_tss[number],
        **_compared(each.scores.test_tss[number], each.scores.test_tss[0]),
        'chosen': number == each.chosen,
        'filters': ''.join(map(str, kept.astype(int))),
      }
      for number, kept in enumerate(each.kept)
    ]
  greedy = pruned[0].order == GREEDY
  of_all = np.stack([each.scores.test_tss[: greedy.sum()] for each in pruned], axis=1)
  of_all = np.stack([over_subjects(values, draws.seed) for values in of_all])
  for number, kept in enumerate(pruned[0].kept[greedy]):
    rows.append(
      {
        'member': MEAN,
        'order': GREEDY,
        'draw': 0,
        'n_filters': int(kept.sum()),
        'validation_loss': np.mean([each.scores.validation_loss[number].mean() for each in pruned]),
        'validation_tss': np.mean([each.scores.validation_tss[number] for each in pruned]),
        **_compared(of_all[number], of_all[0]),
        'chosen': False,
        'filters': '',
      }
    )
  return Table(rows)


def pruned_table(pruned: Sequence[Pruned], draws: Draws) -> Table:
  """Returns `pruned.ecsv`: what the stopping rule leaves of each network, and of all on average (`MEAN`).

  Columns as in `path.ecsv`; `effect` is that of the claim `FEW`.
  """
  full, chosen, effect = (
    np.stack(values)
    for values in zip(
      *((each.scores.test_tss[0], each.scores.test_tss[each.chosen], each.samples[FEW.name]) for each in pruned),
      strict=True,
    )
  )
  means = [over_subjects(values, draws.seed)[None] for values in (full, chosen, effect)]
  full, chosen, effect = (np.concatenate(pair) for pair in zip((full, chosen, effect), means, strict=True))
  left = [int(each.minimal.sum()) for each in pruned]
  rows = []
  for number, name in enumerate([*(each.subject.name for each in pruned), MEAN]):
    low, high = confidence_interval(effect[number, 1:])
    rows.append(
      {
        'member': name,
        'n_filters': pruned[0].kept.shape[1],
        'n_filters_left': float(np.mean(left) if name == MEAN else left[number]),
        'test_tss_full': full[number, 0],
        **_compared(chosen[number], full[number]),
        'effect': effect[number, 0],
        'effect_low': low,
        'effect_high': high,
      }
    )
  return Table(rows)


def _compared(values: np.ndarray, full: np.ndarray) -> dict[str, float]:
  """Returns the columns of a TSS `[1 + resample]`, and of what it is more than that of the full network."""
  columns = {}
  for name, each in (('test_tss', values), ('gain', values - full)):
    low, high = confidence_interval(each[1:])
    columns |= {name: each[0], f'{name}_low': low, f'{name}_high': high}
  return columns
