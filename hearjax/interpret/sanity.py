"""Whether attribution means something: two checks that a method can fail.

Randomised weights (Adebayo et al. 2018): a map that hardly changes when the network forgets what it learnt shows the
magnetogram and not the network. Deletion and insertion (Petsiuk et al. 2018): where the map says that a network looks,
the network must notice what is taken away or put in.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from astropy.table import Table
from scipy.stats import rankdata

from hearjax.interpret.attribution import AttributionSettings, LogitFunction, attribute, contribution, logits, smooth
from hearjax.interpret.old_maps import visible_patches
from hearjax.models.network import EmergenceNetwork
from hearjax.training.run import Run
from hearjax.training.step import Params

SHARES = np.linspace(0, 1, 21)  # Of the unsigned flux that is deleted or inserted.
RESEMBLANCE = 0.5  # Of a random network, relative to that of other trained ones, which a method may not reach.
MEMBERS = 3  # More of them tell little more.
ERRORS = 2.0  # Standard errors by which an order must be better than a random one.


# --- Randomised weights -----------------------------------------------------------------------------------------


def cascade(params: Params, random_params: Params) -> dict[str, Params]:
  """Returns the networks that are random from the logit down to a layer, by the name of that layer.

  Args:
    params: Trained parameters.
    random_params: Parameters of the same network, not trained.
  """
  layers = params['params']
  convolutions = sorted((name for name in layers if name != 'logit'), key=lambda name: int(name.rpartition('_')[2]))
  stages, mixed = {}, dict(layers)
  for name in ('logit', *reversed(convolutions)):
    mixed = mixed | {name: random_params['params'][name]}
    stages[name] = {'params': mixed}
  return stages


def resemblance(
  method: str,
  model: EmergenceNetwork,
  params: Params,
  others: dict[str, Params],
  field: np.ndarray,
  settings: AttributionSettings,
  key: jax.Array,
  smooth_mm: float,
) -> dict[str, dict[str, np.ndarray]]:
  """Compares the attribution by a network with that by others of the same shape: random ones, or trained ones.

  Two rank correlations over the pixels of a map: `absolute`, of |what a pixel adds to the logit|, as Adebayo et al.
  have it; and `signed`, after smoothing and with the sign. The first is high for any network where a method multiplies
  by the field, since most pixels have hardly any; the second asks whether the same places speak for emergence.

  Args:
    method: One of `attribution.METHODS`.
    model: The network.
    params: Trained parameters.
    others: Parameters to compare with, by name.
    field: `[n, y, x]` field [G], cut to what the network looks at.
    settings: Settings of the methods.
    key: Key of the noise of SmoothGrad.
    smooth_mm: Standard deviation of the smoothing [Mm].

  Returns:
    Name of the other network -> `signed` and `absolute`, each `[n]`.
  """

  def effect(of: Params) -> dict[str, np.ndarray]:
    added = contribution(method, attribute(method, model, of, field, settings, key), field)
    return {'signed': smooth(added, model.pixel_scale_mm, smooth_mm), 'absolute': np.abs(added)}

  trained = effect(params)
  result = {}
  for name, other in others.items():
    compared = effect(other)
    result[name] = {kind: rank_correlation(trained[kind], compared[kind]) for kind in trained}
  return result


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns `[n]` Spearman's correlation over the pixels of `[n, y, x]` maps; 0 where a map is constant."""
  ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
  ranks = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
  norm = np.sqrt(np.prod([np.sum(rank**2, axis=1) for rank in ranks], axis=0))
  return np.sum(ranks[0] * ranks[1], axis=1) / np.where(norm > 0, norm, 1)


# --- Deletion and insertion -------------------------------------------------------------------------------------


def curves(logit_of: LogitFunction, params: Params, field: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
  """Follows the logit while pixels are set to 0 G, and while they are put into a map of 0 G.

  The curves run over the share of the unsigned flux, where Petsiuk et al. have that of the pixels: a few per cent of
  the pixels carry nearly all of the flux, and orders are to be compared at equal flux.

  Args:
    logit_of: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    order: `[n, y, x]` pixels with the largest value come first.

  Returns:
    `deletion`, `insertion`: `[n, share]` logit at `SHARES`.
  """
  field = np.nan_to_num(field)
  chosen = flux_share(field, order)[:, None] <= SHARES[:, None, None]
  changed = {}
  for name, kept in (('deletion', ~chosen), ('insertion', chosen)):
    maps = np.where(kept, field[:, None], 0).reshape(-1, *field.shape[1:])
    changed[name] = logits(logit_of, params, maps).reshape(len(field), -1)
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
  """Returns `[n]` mean distance of a curve from that of another order [logit], positive where it does better.

  In deletion the better order makes the logit fall earlier; in insertion it makes it rise earlier.

  Args:
    curve: `[n, share]` logit.
    reference: `[n, share]` logit for the other order.
    check: `deletion` or `insertion`.
  """
  area = np.trapezoid(curve - reference, SHARES, axis=1)
  return -area if check == 'deletion' else area


# --- A finished run ---------------------------------------------------------------------------------------------


def check_run(
  run: Run,
  methods: Sequence[str],
  settings: AttributionSettings,
  key: jax.Array,
  n_maps: int,
  smooth_mm: float,
) -> tuple[Table, Table, Table]:
  """Puts methods to both checks on magnetograms of the members' test folds.

  Args:
    run: A finished run.
    methods: Names of methods.
    settings: Their settings.
    key: Key of the choice of magnetograms, the random weights, the random order and SmoothGrad's noise.
    n_maps: Magnetograms, half of each class, over up to `MEMBERS` members.
    smooth_mm: Standard deviation of the smoothing before signed maps are compared [Mm].

  Returns:
    A table with one row per method: mean rank correlations with other members and with the wholly random network,
    areas beyond a random order and beyond that of the field strength with their standard errors [logit], and whether
    the method passes; the rank correlations by randomised layer; the mean curves.
  """
  model = run.ensemble.model
  # Completeness is not in question here, and random networks would need many steps for it.
  settings = dataclasses.replace(settings, max_steps=settings.steps)
  members = [member for member in run.members() if member.seed == 0][:MEMBERS]
  init = jax.jit(model.init)
  compared: dict[tuple[str, str], list] = collections.defaultdict(list)
  curve: dict[tuple[str, str], list] = collections.defaultdict(list)
  for number, member in enumerate(members):
    member_key = jax.random.fold_in(key, number)
    rng = np.random.default_rng(np.asarray(jax.random.bits(member_key, (2,))))
    rows = _balanced_rows(run.survey.label, member.rows.test, -(-n_maps // len(members)), rng)
    field = visible_patches(run, rows)
    others = {f'other {other.name}': other.params for other in members if other is not member}
    others |= cascade(member.params, init(member_key, field[:1]))
    orders = {'random': rng.random(field.shape), 'field': np.abs(np.nan_to_num(field))}
    for method in methods:
      orders[method] = contribution(method, attribute(method, model, member.params, field, settings, key), field)
      for name, alike in resemblance(method, model, member.params, others, field, settings, key, smooth_mm).items():
        compared[method, name.partition(' ')[0]].append(np.stack([alike['signed'], alike['absolute']]))
    for order, values in orders.items():
      for check, logit in curves(model.apply, member.params, field, values).items():
        curve[order, check].append(logit)
  curve = {name: np.concatenate(parts) for name, parts in curve.items()}
  means = {name: np.concatenate(parts, axis=1).mean(axis=1) for name, parts in compared.items()}
  networks = Table(
    rows=[(method, name, *mean) for (method, name), mean in means.items()],
    names=('method', 'network', 'signed', 'absolute'),
  )
  followed = Table(
    rows=[
      (check, order, share, logit)
      for (order, check), values in curve.items()
      for share, logit in zip(SHARES, values.mean(axis=0), strict=True)
    ],
    names=('check', 'order', 'share', 'logit'),
  )
  return Table(rows=[_verdict(method, means, curve) for method in methods]), networks, followed


def _balanced_rows(label: np.ndarray, rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
  """Returns about `n` of the rows, as many of each class, in random order."""
  classes = [rng.permutation(rows[label[rows] == value])[: -(-n // 2)] for value in (1, 0)]
  return np.concatenate(classes)


def _verdict(method: str, means: dict, curve: dict) -> dict[str, Any]:
  random = list(means)[-1][1]  # The last layer to be randomised is the first of the network: nothing is left.
  (signed, absolute), (signed_random, absolute_random) = means[method, 'other'], means[method, random]
  verdict = {
    'method': method,
    'signed_members': signed,
    'signed_random': signed_random,
    'absolute_members': absolute,
    'absolute_random': absolute_random,
    'passes_randomisation': bool(signed > 0 and abs(signed_random) < RESEMBLANCE * signed),
  }
  for check in ('deletion', 'insertion'):
    for order in ('random', 'field'):
      area = area_beyond(curve[method, check], curve[order, check], check)
      error = np.std(area, ddof=1) / np.sqrt(len(area))
      verdict |= {f'{check}_beyond_{order}': np.mean(area), f'{check}_beyond_{order}_error': error}
    beyond, error = (verdict[f'{check}_beyond_random{part}'] for part in ('', '_error'))
    verdict[f'passes_{check}'] = bool(beyond > ERRORS * error)
  return verdict | {'n_maps': len(curve[method, 'deletion'])}
