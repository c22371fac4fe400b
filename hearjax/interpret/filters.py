"""What the filters of a network respond to: their contribution to the logit against numbers that describe the map.

The contribution of a filter is the logit less the logit without it. For a filter of the last layer this is its pooled
activation times its weights; for a deeper one it holds all that the layers above make of it. A filter is labelled by
rank correlations, which do not ask for a straight line, and by partial ones at fixed unsigned flux, since most of what
describes a magnetogram grows with its flux. Intervals come from resampled pairs. Of filters that respond to nothing,
one in twenty has an interval that leaves out 0.
"""

import dataclasses
import warnings
from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from hearjax.interpret.ablation import Sweep, filter_layers, filter_numbers
from hearjax.interpret.pruning import Part, Scores
from hearjax.maps import transforms
from hearjax.maps.features import FEATURES, feature_table
from hearjax.models.network import EmergenceNetwork, ModelSettings, all_versions
from hearjax.survey.survey import Survey
from hearjax.training.run import Member
from hearjax.training.step import Params
from hearjax.verification.resampling import confidence_interval

FLUX = 'unsigned_flux'  # What the partial correlations hold fixed.
DESCRIBED = (FLUX, 'net_flux', 'gradient', 'kurtosis', 'length_scale')
QUANTITIES = (*DESCRIBED, 'mu')
DEAD = 'dead'
RESAMPLES_AT_ONCE = 100  # Bounds the memory of the ranks: 25 MB for 112 filters and 270 maps.


# --- Rank correlation -------------------------------------------------------------------------------------------


def describe(survey: Survey, visible_px: int) -> np.ndarray:
  """Returns `[quantity, n]` the numbers `QUANTITIES` of the square that the network sees, in units of `UNITS`."""
  field = transforms.crop(survey.field, visible_px)
  columns = [list(FEATURES).index(name) for name in DESCRIBED]
  return np.vstack([feature_table(field, survey.pixel_scale_mm).T[columns], survey.mu]).astype(np.float64)


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the ranks that values have in resamples, the mean rank for equal ones.

  Args:
    values: `[variable, n]`.
    weights: `[resample, n]` how often each map is drawn, whole numbers.

  Returns:
    `[resample, variable, n]`.
  """
  ranks = np.empty((len(weights), *values.shape), np.float32)
  for number, row in enumerate(values):
    order = np.argsort(row)
    drawn = np.pad(np.cumsum(weights[:, order], axis=1), ((0, 0), (1, 0)))
    below, upto = (np.searchsorted(row[order], row, side) for side in ('left', 'right'))
    ranks[:, number] = (drawn[:, below] + drawn[:, upto] + 1) / 2
  return ranks


def spearman(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the rank correlation of all variables of two groups in resamples (Spearman 1904).

  Args:
    first: `[a, n]`.
    second: `[b, n]`.
    weights: `[resample, n]` how often each map is drawn; every resample draws as many in all.

  Returns:
    `[resample, a, b]`, NaN where a variable is constant.
  """
  parts = []
  for start in range(0, len(weights), RESAMPLES_AT_ONCE):
    drawn = weights[start : start + RESAMPLES_AT_ONCE].astype(np.float32)
    middle = (drawn.sum(axis=1)[:, None, None] + 1) / 2
    left, right = (weighted_ranks(values, drawn) - middle for values in (first, second))
    scatter = [np.sqrt((ranks**2 * drawn[:, None]).sum(axis=-1)) for ranks in (left, right)]
    covariance = (left * drawn[:, None]) @ right.swapaxes(1, 2)
    with np.errstate(invalid='ignore', divide='ignore'):
      parts.append(covariance / (scatter[0][:, :, None] * scatter[1][:, None]))
  return np.concatenate(parts)


def partial_at(fixed: int, to_filters: np.ndarray, between: np.ndarray) -> np.ndarray:
  """Returns partial correlations of filters with quantities, one of the quantities held fixed.

  r_ab.c = (r_ab - r_ac r_bc) / sqrt((1 - r_ac^2) (1 - r_bc^2)), Kendall & Stuart, The Advanced Theory of Statistics,
  chapter 27; here of ranks.

  Args:
    fixed: Number of the quantity that is held fixed.
    to_filters: `[resample, filter, quantity]` correlations.
    between: `[resample, quantity, quantity]` correlations.

  Returns:
    `[resample, filter, quantity]`, NaN for the fixed quantity itself.
  """
  of_filter, of_quantity = to_filters[:, :, [fixed]], between[:, [fixed], :]
  with np.errstate(invalid='ignore', divide='ignore'):
    result = (to_filters - of_filter * of_quantity) / np.sqrt((1 - of_filter**2) * (1 - of_quantity**2))
  result[:, :, fixed] = np.nan
  return result


def correlations(
  contributions: np.ndarray, quantities: np.ndarray, part: Part, weights: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Correlates contributions with what describes the maps.

  Args:
    contributions: `[filter, n]`.
    quantities: `[quantity, n]`.
    part: The maps.
    weights: `[resample, pair]` counts of resampled pairs.

  Returns:
    `spearman` and `partial`, each with its low and high bound, `[filter, quantity]`.
  """
  of_map = np.vstack([np.ones(len(part.pair), int), weights[:, part.pair]])
  simple = spearman(contributions, quantities, of_map)
  partial = partial_at(QUANTITIES.index(FLUX), simple, spearman(quantities, quantities, of_map))
  result = {}
  for name, values in (('spearman', simple), ('partial', partial)):
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', RuntimeWarning)  # A dead filter has no correlation in any resample.
      low, high = confidence_interval(values[1:])
    result[name] = (values[0], low, high)
  return result


def label_filters(of_filters: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], dead: np.ndarray) -> list[str]:
  """Returns a word for each filter.

  `flux+` and `flux-` where the contribution grows or falls with the unsigned flux; else the quantity with the largest
  partial correlation at fixed flux; only correlations count whose interval leaves out 0. `none` where none does,
  `dead` (`[filter]` bool) for a filter that is never active.
  """
  to_flux = [bound[:, QUANTITIES.index(FLUX)] for bound in of_filters['spearman']]
  partial, low, high = of_filters['partial']
  size = np.where((low > 0) | (high < 0), np.abs(partial), 0)  # NaN is neither.
  best = np.argmax(size, axis=1)
  labels = []
  for number, silent in enumerate(dead):
    if silent:
      labels.append(DEAD)
    elif to_flux[1][number] > 0 or to_flux[2][number] < 0:
      labels.append('flux+' if to_flux[0][number] > 0 else 'flux-')
    else:
      labels.append(QUANTITIES[best[number]] if size[number, best[number]] > 0 else 'none')
  return labels


# --- The table --------------------------------------------------------------------------------------------------


def filter_table(
  settings: ModelSettings, member: Member, part: Part, swept: Sweep, scores: Scores, columns: Mapping[str, np.ndarray]
) -> Table:
  """Returns `filters.ecsv` of one member: one row for each filter.

  Args:
    settings: Of the network.
    member: The member.
    part: Its test maps.
    swept: The sweep over them.
    scores: Of the full network, then of the network without each filter.
    columns: Further columns, `[filter]` each.
  """
  table = Table()
  layers = filter_layers(settings)
  table['member'] = np.full(len(layers), member.name)
  table['layer'], table['filter'] = layers, filter_numbers(settings)
  table['delta_test_tss'] = scores.test_tss[1:] - scores.test_tss[0]
  table['delta_test_tss_low'], table['delta_test_tss_high'] = confidence_interval(
    scores.samples[1:] - scores.samples[0], axis=-1
  )
  table['delta_test_loss'] = scores.test_loss[1:] - scores.test_loss[0]
  for name, value in (('pe', 1), ('ne', 0)):
    table[f'delta_logit_{name}'] = -swept.contributions[:, part.label == value].mean(axis=1)
  for name, values in columns.items():
    table[name] = values
  return table


def correlation_columns(
  of_filters: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
  """Returns the columns of `correlations`: `spearman_net_flux`, `spearman_net_flux_low` and so on."""
  columns = {}
  for kind, (values, low, high) in of_filters.items():
    for number, quantity in enumerate(QUANTITIES):
      if kind == 'partial' and quantity == FLUX:
        continue
      for ending, bound in (('', values), ('_low', low), ('_high', high)):
        columns[f'{kind}_{quantity}{ending}'] = bound[:, number]
  return columns


# --- Stability --------------------------------------------------------------------------------------------------


def stability(settings: ModelSettings, contributions: np.ndarray) -> np.ndarray:
  """Returns how well each filter is found again in the other members.

  Contributions to the logit have a sign, so that a filter that is found again correlates positively with itself.

  Args:
    settings: Of the networks.
    contributions: `[member, filter, n]` contributions of all members' filters to the same maps.

  Returns:
    `[member, filter]` mean over the other members of the largest Spearman correlation with a filter of the same layer
    there; NaN for a dead filter, or where there is no other member.
  """
  layers = filter_layers(settings)
  once = np.ones((1, contributions.shape[-1]), int)
  result = np.full(contributions.shape[:2], np.nan)
  for layer in range(len(settings.widths)):
    inside = layers == layer
    for member, own in enumerate(contributions[:, inside]):
      others = [spearman(own, other[inside], once)[0] for n, other in enumerate(contributions) if n != member]
      if others:
        alive = np.isfinite(others).any(axis=(0, 2))
        largest = np.max(np.nan_to_num(others, nan=0.0), axis=2)  # A dead filter resembles nothing.
        result[member, inside] = np.where(alive, largest.mean(axis=0), np.nan)
  return result


# --- What excites a filter --------------------------------------------------------------------------------------


def strongest_patches(
  model: EmergenceNetwork, params: Params, part: Part, strength: np.ndarray, number: int, count: int
) -> list[np.ndarray]:
  """Cuts out of each of the maps that excite a filter most, of different pairs, what the filter looks at there.

  Where the network averages over versions of a map (`ModelSettings.symmetries`), all of them are searched, and the
  patch is cut out of the one that excites the filter most: it is mirrored or reversed as the network saw it.

  Args:
    model, params: The network.
    part: The maps.
    strength: `[n]` largest activation of the filter in every map, in any version.
    number: Number of the filter through all layers.
    count: How many, at most; less where fewer pairs excite it.

  Returns:
    `[side, side]` patches [G], NaN beyond the edge of the map; the strongest first.
  """
  settings, layer = model.settings, int(filter_layers(model.settings)[number])
  order = np.argsort(-strength, kind='stable')
  order = order[strength[order] > 0]
  _, first = np.unique(part.pair[order], return_index=True)
  rows = order[np.sort(first)[:count]]
  below = [getattr(settings, name)[: layer + 1] for name in ('widths', 'kernels', 'strides')]
  lower = dataclasses.replace(settings, widths=below[0], kernels=below[1], strides=below[2])
  size = part.field.shape[-1]
  positions = lower.positions_px(settings.visible_px(size)) + (size - 1) / 2
  steps = np.cumprod([1, *below[2][:-1]])
  side = 1 + int(np.sum((np.array(below[1]) - 1) * steps))
  patches = []
  for row in rows:
    maps = model.apply(params, part.field[[row]], method='activations')[layer + 1]
    active = np.asarray(maps)[..., filter_numbers(settings)[number]]
    version, *place = np.unravel_index(np.argmax(active), active.shape)
    corner = [round(positions[at] - (side - 1) / 2) for at in place]
    seen = np.asarray(all_versions(part.field[row], settings.symmetries)[version])
    padded = np.pad(seen, side, constant_values=np.nan)
    patches.append(padded[corner[0] + side : corner[0] + 2 * side, corner[1] + side : corner[1] + 2 * side])
  return patches
