"""Tables of filters: what each responds to, what responders are worth alone, and what excites a filter most."""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table, vstack
from scipy.special import expit

from hearjax.chunks import map_chunks
from hearjax.interpret.filters import FLUXES, Response
from hearjax.interpret.maps import Subject
from hearjax.interpret.network import LOOP_CHUNK, contributions, filter_layers, filter_numbers, last_layer
from hearjax.interpret.statistics import Draws, over_subjects, spread
from hearjax.interpret.variants import both_classes, tss_samples
from hearjax.models.network import EmergenceNetwork, all_versions
from hearjax.survey.survey import Survey
from hearjax.training.step import Params
from hearjax.verification.resampling import confidence_interval
from hearjax.verification.scores import steady_threshold

WHOLE, POSITIVE, NEGATIVE = PARTS = ('whole network', 'positive responders', 'negative responders')
SIGNS = {POSITIVE: 1, NEGATIVE: -1}


# --- Each filter --------------------------------------------------------------------------------------------------


def filter_table(responses: Sequence[Response], swept: Mapping[str, Table], minimal: Mapping[str, np.ndarray]) -> Table:
  """Returns `filters.ecsv`: a row for each filter of the last layer of every network, and of all layers of some.

  For each flux there is the coefficient, `..._per_dex` [logit per factor of ten] with its bounds, and `..._p`, its
  family-wise probability. `responder` is 1, -1 or 0, `spread` the standard deviation of the contribution, and `flow`
  what comes through flux (`Response.flow`, on average before emergence). Lower layers have none of these, and networks
  of which no filter was dropped none of the columns of `sweep_table`: NaN.

  Args:
    responses: Of all networks.
    swept: `sweep_table` of some of them, by name.
    minimal: `[filter]` bool, the filters that pruning leaves, of the same.
  """
  tables = []
  for each in responses:
    subject, network = each.subject, each.subject.network
    own, total = list(last_layer(network)), sum(network.widths)
    sweep = swept.get(subject.name)
    columns = {
      'responder': each.sign,
      'spread': each.added.std(axis=1),
      'flow': each.flow[0][:, each.before].mean(axis=1),
    }
    for number, flux in enumerate(FLUXES):
      low, high = confidence_interval(each.per_dex[1:, :, number])
      columns |= {f'{flux}_per_dex': each.per_dex[0, :, number], f'{flux}_per_dex_low': low}
      columns |= {f'{flux}_per_dex_high': high, f'{flux}_p': each.probability[:, number]}
    table = Table({'layer': filter_layers(network), 'filter': filter_numbers(network)})
    table.add_columns([np.full(total, subject.group), np.full(total, subject.name)], [0, 0], ['networks', 'name'])
    for name, values in columns.items():
      table[name] = np.full(total, 0 if values.dtype.kind == 'i' else np.nan)
      table[name][own] = values
    if sweep:
      for name in sweep.colnames[2:]:
        table[name] = sweep[name]
    table['minimal'] = minimal.get(subject.name, np.zeros(total, bool))
    tables.append(table if sweep else table[own])
  stacked = vstack(tables)
  for name in stacked.colnames:
    if stacked[name].dtype.kind == 'f':
      stacked[name] = np.ma.filled(stacked[name], np.nan)  # Columns that some networks lack.
  return stacked


def contribution_table(responses: Sequence[Response], survey: Survey) -> Table:
  """Returns `contributions.fits`: what every network says of its test maps, and what its last layer adds to that.

  A row for each network and map: logit, logarithms of the fluxes [Mx], and `contributions`, NaN beyond the filters that
  the network has.
  """
  widest = max(len(each.added) for each in responses)
  tables = []
  for each in responses:
    rows = each.subject.rows.test
    added = np.full((len(rows), widest), np.nan, np.float32)
    added[:, : len(each.added)] = each.added.T
    columns = {
      'networks': np.full(len(rows), each.subject.group),
      'name': np.full(len(rows), each.subject.name),
      'region_id': survey.region_names()[rows],
      'pair_id': survey.pair_names()[rows],
      'label': survey.label[rows],
      'interval': survey.interval[rows],
      'logit': each.logit,
    }
    columns |= {f'log_{name}_flux': values.astype(np.float32) for name, values in zip(FLUXES, each.flux, strict=True)}
    tables.append(Table(columns | {'contributions': added}))
  return vstack(tables)


# --- Responders alone ---------------------------------------------------------------------------------------------


def lead_time_table(responses: Sequence[Response], survey: Survey, draws: Draws) -> Table:
  """Returns `lead_time.ecsv`: the TSS of networks, of their positive and of their negative responders alone.

  The contributions of the responders are summed, and the sum gets its own threshold, of the validation maps. A row for
  each group of networks, part of these, and interval: `tss` and, for responders, `flow` (`Response.flow`), on average
  over the networks, with bounds over pairs and networks.
  """
  found: dict[tuple, list[tuple[np.ndarray, np.ndarray]]] = {}
  for each in responses:
    skill = _skill_of_parts(each, survey, draws)
    for place, part in enumerate(PARTS):
      flow = each.flow_by(SIGNS[part]) if part in SIGNS else np.full((len(draws.pairs), len(each.intervals)), np.nan)
      for number, interval in enumerate(each.intervals):
        found.setdefault((each.subject.group, part, int(interval)), []).append((skill[place, number], flow[:, number]))
  rows = []
  for (group, part, interval), values in found.items():
    row = {'networks': group, 'n': len(values), 'part': part, 'interval': interval}
    row['hours'] = float(survey.hours[survey.interval == interval].mean())
    for name, samples in zip(('tss', 'flow'), zip(*values, strict=True), strict=True):
      mean = over_subjects(np.stack(samples), draws.seed)
      low, high = confidence_interval(mean[1:])
      row |= {name: mean[0], f'{name}_low': low, f'{name}_high': high}
    rows.append(row)
  return Table(rows)


def _skill_of_parts(response: Response, survey: Survey, draws: Draws) -> np.ndarray:
  """Returns `[part, interval, 1 + resample]` TSS of `PARTS` of a network."""
  subject = response.subject
  validation = both_classes(subject, survey, subject.rows.validation, 'validation')
  test = subject.rows.test
  of_validation = contributions(subject.network, subject.params, survey.field[validation])
  forecasts = []
  for part in PARTS:
    inside = response.sign == SIGNS[part] if part in SIGNS else np.ones(len(response.sign), bool)
    chosen, asked = of_validation[inside].sum(axis=0, dtype=float), response.added[inside].sum(axis=0)
    middle, unit = np.mean(chosen), max(spread(chosen), 1e-30)  # So that no probability is 0 or 1.
    threshold = steady_threshold(survey.label[validation], expit((chosen - middle) / unit), survey.pair[validation])
    forecasts.append(expit((asked - middle) / unit) >= threshold)
  weight = draws.of_rows(survey.pair[test])
  of_interval = [survey.interval[test] == interval for interval in response.intervals]
  return np.stack(
    [tss_samples(survey.label[test], np.array(forecasts), weight * inside) for inside in of_interval], axis=1
  )


# --- What excites a filter ----------------------------------------------------------------------------------------


def patch_table(subject: Subject, survey: Survey, filters: Sequence[int], count: int) -> Table:
  """Returns `patches.fits`: for each of some filters, what it looks at in the test maps that excite it most.

  Those of different pairs, `count` at most, and fewer where fewer excite it. Where the network averages over versions
  of a map (`ModelSettings.symmetries`), all of them are searched, and the patch is mirrored or reversed as the network
  saw it. `patch` holds the field in the central square of `side` px [G], NaN beyond the edge of the map.

  Args:
    subject: One of hearjax's own networks.
    survey: The maps.
    filters: Numbers of the filters through all layers.
    count: How many patches of each.
  """
  model, rows, network = subject.network.model, subject.rows.test, subject.network
  settings = model.settings
  peaks = functools.partial(_peaks, subject.params, model=model)
  strength, place = map_chunks(peaks, survey.field[rows], min(LOOP_CHUNK, len(rows)), axis=1)
  steps = np.cumprod([1, *settings.strides])[:-1]
  sides = 1 + np.cumsum((np.array(settings.kernels) - 1) * steps)
  found = []
  for filter_ in filters:
    layer = int(filter_layers(network)[filter_])
    order = np.argsort(-strength[filter_], kind='stable')
    order = order[strength[filter_][order] > 0]
    _, first = np.unique(survey.pair[rows[order]], return_index=True)
    for rank, number in enumerate(order[np.sort(first)[:count]]):
      patch, margin = np.full((sides[-1], sides[-1]), np.nan, np.float32), (sides[-1] - sides[layer]) // 2
      inside = slice(margin, margin + sides[layer])
      patch[inside, inside] = _seen_at(
        model, survey.field[rows[number]], layer, int(sides[layer]), int(place[filter_, number])
      )
      found.append(
        {
          'layer': layer,
          'filter': int(filter_numbers(network)[filter_]),
          'rank': rank,
          'region_id': survey.region_names()[rows[number]],
          'interval': int(survey.interval[rows[number]]),
          'side': int(sides[layer]),
          'patch': patch,
        }
      )
  if not found:  # All of them are dead.
    return Table(names=('layer', 'filter', 'rank', 'side'), dtype=(int, int, int, int))
  return Table(found)


@functools.partial(jax.jit, static_argnames='model')
def _peaks(params: Params, field: jax.Array, *, model: EmergenceNetwork) -> tuple[jax.Array, jax.Array]:
  """Returns `[filter, n]` largest activations, and where they lie in versions, rows and columns, counted through."""
  strengths, places = [], []
  for maps in model.apply(params, field, method='activations')[1:]:
    apart = maps.reshape(-1, len(field), *maps.shape[1:])  # Versions of a map lie one after the other.
    apart = jnp.moveaxis(apart, (4, 1), (0, 1)).reshape(maps.shape[-1], len(field), -1)
    strengths.append(apart.max(axis=-1))
    places.append(apart.argmax(axis=-1))
  return jnp.concatenate(strengths), jnp.concatenate(places)


def _seen_at(model: EmergenceNetwork, field: np.ndarray, layer: int, side: int, place: int) -> np.ndarray:
  """Returns `[side, side]` what a filter sees of `[y, x]` field at a place among the outputs of its layer."""
  settings, size = model.settings, field.shape[-1]
  shape = {name: getattr(settings, name)[: layer + 1] for name in ('widths', 'kernels', 'strides')}
  positions = type(settings)(**shape, padding=settings.padding).positions_px(settings.visible_px(size)) + (size - 1) / 2
  version, row, column = np.unravel_index(place, (2 ** len(settings.symmetries), len(positions), len(positions)))
  padded = np.pad(np.asarray(all_versions(field, settings.symmetries)[version]), side, constant_values=np.nan)
  y, x = (round(positions[at] - (side - 1) / 2) + side for at in (row, column))
  return padded[y : y + side, x : x + side]
