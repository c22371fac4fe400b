"""Backward elimination: filters dropped one after the other, down to a minimal network.

Each time the filter goes whose loss costs least (backward elimination, Guyon & Elisseeff 2003, JMLR 3, 1157); what is
left is chosen on validation pairs and reported on test pairs.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from astropy.table import Table
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.interpret.ablation import (
  CHUNK,
  build_masks,
  count_parameters,
  filter_layers,
  filter_numbers,
  masked_logits,
  sweep,
)
from hearjax.models.network import EmergenceNetwork, ModelSettings
from hearjax.training.run import Member, Run
from hearjax.training.step import Params
from hearjax.verification.resampling import confidence_interval, draw_counts
from hearjax.verification.scores import best_threshold, steady_threshold

Progress = Callable[[Iterable], Iterable]  # Such as tqdm.


# --- Scores -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Part:
  """The magnetograms of one side of a fold.

  Attributes:
    field: `[n, y, x]` field [G].
    label: `[n]` 1 for PE, 0 for NE.
    pair: `[n]` number of the pair, from 0 on.
  """

  field: np.ndarray
  label: np.ndarray
  pair: np.ndarray

  def resamples(self, number: int, seed: int) -> np.ndarray:
    """Returns `[resample, pair]` how often each pair is drawn; the same for the same seed."""
    return draw_counts(int(self.pair.max()) + 1, number, seed)


def take_part(run: Run, rows: np.ndarray, name: str) -> Part:
  """Returns the magnetograms at `rows` of the survey; `name` is what a message calls them.

  Raises:
    UserError: They are all of one class.
  """
  survey = run.survey.select(rows)
  label = survey.label
  if len(np.unique(label)) < 2:
    kind = 'emerging' if label.all() else 'control'
    raise UserError(
      f'The {name} are all of one class ({len(label)} {kind}); pruning compares the classes, so train '
      'on more pairs or with fewer folds.'
    )
  return Part(survey.field, label, np.unique(survey.pair, return_inverse=True)[1])


def largest_tss(label: np.ndarray, logits: np.ndarray) -> np.ndarray:
  """Returns `[variant]` the TSS of `[variant, n]` logits at the best threshold of each; 0 where none is better."""
  order = np.argsort(-logits, axis=1, kind='stable')
  ordered = np.take_along_axis(logits, order, axis=1)
  emerges = np.asarray(label)[order] == 1
  positives = int(np.sum(label == 1))
  negatives = len(label) - positives
  # TSS times both class sizes: whole numbers, so that ties are exact.
  skill = np.cumsum(emerges, axis=1) * negatives - np.cumsum(~emerges, axis=1) * positives
  parted = ordered[:, :-1] > ordered[:, 1:]  # No threshold lies between equal logits.
  return np.max(skill[:, :-1], axis=1, where=parted, initial=0) / (positives * negatives)


def cross_entropy(label: np.ndarray, logits: np.ndarray) -> np.ndarray:
  """Returns `[...]` mean sigmoid cross-entropy of `[..., n]` logits against `[n]` labels."""
  return np.mean(np.logaddexp(0, logits) - label * logits, axis=-1)


def tss_samples(part: Part, forecast: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns `[variant, resample]` TSS of `[variant, n]` forecasts, each pair counted `[resample, pair]` times.

  NaN for a resample without both classes.
  """
  of_pair = np.zeros((len(part.pair), weights.shape[1]))
  of_pair[np.arange(len(part.pair)), part.pair] = 1
  rates = []
  for value in (1, 0):
    of_class = of_pair * (part.label == value)[:, None]
    with np.errstate(invalid='ignore'):
      rates.append((forecast @ of_class @ weights.T) / (of_class.sum(axis=0) @ weights.T))
  return rates[0] - rates[1]


@dataclasses.dataclass(frozen=True)
class Scores:
  """Scores of variants of a network.

  The validation TSS is the largest over all thresholds. The test TSS is that at a threshold that is chosen for every
  variant on its own validation logits, since dropping a filter shifts them.

  Attributes:
    validation_tss, validation_loss: `[variant]`.
    test_tss, test_loss: `[variant]`.
    samples: `[variant, resample]` test TSS of resampled test pairs, the same for all variants.
  """

  validation_tss: np.ndarray
  validation_loss: np.ndarray
  test_tss: np.ndarray
  test_loss: np.ndarray
  samples: np.ndarray


def score_variants(
  validation: Part, test: Part, validation_logits: np.ndarray, test_logits: np.ndarray, weights: np.ndarray
) -> Scores:
  """Scores `[variant, n]` logits of both parts; `weights` are `[resample, pair]` counts of the test pairs."""
  threshold = [steady_threshold(validation.label, logits, validation.pair) for logits in expit(validation_logits)]
  forecast = expit(test_logits) >= np.array(threshold)[:, None]
  once = np.ones((1, weights.shape[1]))
  return Scores(
    largest_tss(validation.label, validation_logits),
    cross_entropy(validation.label, validation_logits),
    tss_samples(test, forecast, once)[:, 0],
    cross_entropy(test.label, test_logits),
    tss_samples(test, forecast, weights),
  )


# --- Elimination ------------------------------------------------------------------------------------------------


def eliminate(
  model: EmergenceNetwork, params: Params, validation: Part, progress: Progress = iter, chunk: int = CHUNK
) -> np.ndarray:
  """Drops filters one after the other, each time the one whose loss costs least validation TSS (greedy).

  Among filters that cost equally much, which is frequent since a TSS has few values, the one that leaves the lowest
  cross-entropy goes; among equal ones of these, dead filters for instance, the first, so that the order is always the
  same. The last filter of a layer stays: without it nothing would reach the logit.

  Args:
    model, params, chunk: As for `sweep`.
    validation: The part to choose on.
    progress: Wraps the steps, to show a progress bar.

  Returns:
    `[step]` the filter dropped at each step, down to one for every layer.
  """
  layers = filter_layers(model.settings)
  kept = np.ones(len(layers), bool)
  order = []
  for _ in progress(range(len(layers) - len(model.settings.widths))):
    swept = sweep(model, params, validation.field, build_masks(model.settings, kept), chunk)
    candidates = np.flatnonzero(kept & (np.bincount(layers[kept])[layers] > 1))
    logits = swept.without[candidates]
    tss, loss = largest_tss(validation.label, logits), cross_entropy(validation.label, logits)
    order.append(candidates[np.lexsort((candidates, loss, -tss))[0]])
    kept[order[-1]] = False
  return np.array(order, int)


def random_order(settings: ModelSettings, seed: int) -> np.ndarray:
  """Returns `[step]` filters in random order, under the rule that the last filter of a layer stays."""
  layers = filter_layers(settings)
  return _spare_last(layers, np.random.default_rng(seed).permutation(len(layers)))


def magnitude_order(settings: ModelSettings, params: Params) -> np.ndarray:
  """Returns `[step]` filters from the smallest kernel to the largest, the last one of each layer spared.

  The size of a kernel is the L1 norm of its weights, as in Li et al. 2017 (arXiv:1608.08710), here divided by their
  number, so that layers can be compared.
  """
  kernels = [np.asarray(params['params'][f'convolution_{number}']['kernel']) for number in range(len(settings.widths))]
  size = np.concatenate([np.abs(kernel).mean(axis=(0, 1, 2)) for kernel in kernels])
  return _spare_last(filter_layers(settings), np.argsort(size, kind='stable'))


def _spare_last(layers: np.ndarray, order: np.ndarray) -> np.ndarray:
  last = {layers[number]: number for number in order}  # Later entries replace earlier ones.
  return np.array([number for number in order if last[layers[number]] != number], int)


def kept_along(settings: ModelSettings, order: np.ndarray) -> np.ndarray:
  """Returns `[step + 1, filter]` bool what is left before the first and after each step of an order."""
  kept = np.ones((len(order) + 1, sum(settings.widths)), bool)
  for step, dropped in enumerate(order):
    kept[step + 1 :, dropped] = False
  return kept


def stop(tss: np.ndarray, standard_error: float) -> int:
  """Returns the last step before the validation TSS falls below that of step 0 by more than its standard error.

  Args:
    tss: `[step]` validation TSS along a path, step 0 the full network.
    standard_error: Of that of the full network.
  """
  fallen = np.flatnonzero(tss < tss[0] - standard_error)
  return int(fallen[0]) - 1 if len(fallen) else len(tss) - 1


def standard_error(part: Part, logits: np.ndarray, weights: np.ndarray) -> float:
  """Returns the standard deviation of the TSS of `[n]` logits over resampled pairs, at their best threshold."""
  probability = expit(logits)
  forecast = probability >= best_threshold(part.label, probability)
  return float(np.nanstd(tss_samples(part, forecast[None], weights)))


@dataclasses.dataclass(frozen=True)
class Path:
  """An order of elimination, scored.

  Attributes:
    order: `[step]` filter dropped.
    kept: `[step + 1, filter]` bool what is left, from the full network on.
    scores: Of the `step + 1` networks.
    chosen: Where the stopping rule stops.
  """

  order: np.ndarray
  kept: np.ndarray
  scores: Scores
  chosen: int

  @property
  def minimal(self) -> np.ndarray:
    """Returns `[filter]` bool the filters of the network that the stopping rule chooses."""
    return self.kept[self.chosen]


def follow(
  model: EmergenceNetwork,
  params: Params,
  validation: Part,
  test: Part,
  order: np.ndarray,
  weights: Mapping[str, np.ndarray],
  chunk: int = CHUNK,
) -> Path:
  """Scores the networks along an order and stops where the validation pairs say.

  Args:
    model, params, chunk: As for `sweep`.
    validation, test: The part to choose on, the part to report.
    order: `[step]` filters to drop.
    weights: `[resample, pair]` counts of resampled pairs, for `validation` and for `test`.
  """
  kept = kept_along(model.settings, order)
  logits = masked_logits(model, params, np.concatenate([validation.field, test.field]), kept, chunk)
  of_validation, of_test = np.split(logits, [len(validation.label)], axis=1)
  scores = score_variants(validation, test, of_validation, of_test, weights['test'])
  error = standard_error(validation, of_validation[0], weights['validation'])
  return Path(order, kept, scores, stop(scores.validation_tss, error))


def path_table(settings: ModelSettings, member: Member, paths: Mapping[str, Path]) -> Table:
  """Returns `path.ecsv` of one member: a row for every network along every order.

  `dropped_layer` and `dropped_filter` name what was dropped last, -1 for the full network.
  """
  rows = []
  layers, numbers = filter_layers(settings), filter_numbers(settings)
  for name, path in paths.items():
    low, high = confidence_interval(path.scores.samples, axis=-1)
    for step, kept in enumerate(path.kept):
      dropped = path.order[step - 1] if step else None
      rows.append(
        {
          'member': member.name,
          'order': name,
          'step': step,
          'dropped_layer': -1 if dropped is None else layers[dropped],
          'dropped_filter': -1 if dropped is None else numbers[dropped],
          'n_filters': int(kept.sum()),
          'parameters': count_parameters(settings, kept),
          'validation_tss': path.scores.validation_tss[step],
          'validation_loss': path.scores.validation_loss[step],
          'test_tss': path.scores.test_tss[step],
          'test_tss_low': low[step],
          'test_tss_high': high[step],
          'test_loss': path.scores.test_loss[step],
          'chosen': step == path.chosen,
        }
      )
  return Table(rows)
