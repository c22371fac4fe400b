"""Injection and recovery: how often networks notice a bipole of known flux and separation in quiet Sun.

Bipoles are set into the control maps that a network has not learnt from, at random places, evenly over rings of equal
area about the middle, and in random directions. The probability of detection over flux and separation is the
completeness surface that observers of faint sources use. The bipole is what a magnetogram would show of it: its field
along the line of sight, not foreshortened. Its poles have one width.

Poles that part leave the central window of the networks. That close ones are detected more easily is therefore no
finding about networks, where a meter of |B| in that window says the same: read the one beside the other.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from astropy import units as u
from astropy.table import Table, vstack

from hearjax.checks import UserError, check_positive, check_range
from hearjax.interpret.maps import Subject, subject_logits, visible_grid, visible_patches
from hearjax.interpret.network import CHUNK
from hearjax.interpret.planting import UNIT_MX, at_unit_flux, planted_logits, shuffle_controls, strengths_of_maps
from hearjax.interpret.statistics import Draws, over_subjects
from hearjax.maps import synthetic
from hearjax.maps.synthetic import SIGMA_OF_FWHM, SMALLEST_SCALE_PX, Grid, Shape
from hearjax.progress import Progress, silent
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import CONFIDENCE, confidence_interval

FAMILY = 'bipole'
NO_RING = -1  # Of control maps without a bipole, which only the threshold is set on.
FARTHEST_MM = 20.0  # Poles farther apart leave the central window of the networks; our choice.
HALF = 0.5  # Probability of detection at the limit.


@dataclasses.dataclass(frozen=True)
class Injection:
  """What to inject; every default is our choice.

  Attributes:
    fluxes_mx: Smallest and largest total unsigned flux of a bipole [Mx]; empty for a hundredth of and for the largest
      flux of the magnetograms (99th percentile).
    separations_mm: Smallest and largest distance of its poles [Mm]; empty for 2 px to 20 Mm, or all that the map holds.
    n_fluxes, n_separations: Steps of equal ratio between them.
    width_mm: Width of a pole, full width at half maximum [Mm]; None for 2 px.
    place_mm: The middle of a bipole lies within this distance of that of the map [Mm].
    rings: Rings of equal area within that distance, in each of which as many bipoles are set.
    trials: Control maps of each network that get a bipole, one each, at every flux and separation; at most.
    false_alarm_rate: Share of untouched control maps above the threshold, at most.
  """

  fluxes_mx: tuple[float, ...] = ()
  separations_mm: tuple[float, ...] = ()
  n_fluxes: int = 8
  n_separations: int = 5
  width_mm: float | None = None
  place_mm: float = 12.0
  rings: int = 3
  trials: int = 80
  false_alarm_rate: float = 0.05

  def __post_init__(self):
    for name in ('fluxes_mx', 'separations_mm'):
      check_range(name, getattr(self, name))
    if min(self.n_fluxes, self.n_separations) < 2 or not 1 <= self.rings <= self.trials:
      raise UserError(
        'Injections need at least two fluxes, two separations, one ring and one trial in each, got '
        f'{self.n_fluxes}, {self.n_separations}, {self.rings} rings and {self.trials} trials.'
      )
    if not 0 < self.false_alarm_rate < 1:
      raise UserError(f'The false-alarm rate must lie between 0 and 1, got {self.false_alarm_rate}.')
    check_positive('place_mm', self.place_mm)


# --- Injection ----------------------------------------------------------------------------------------------------


def inject(
  subjects: Sequence[Subject],
  survey: Survey,
  settings: Injection,
  seed: int = 0,
  chunk: int = CHUNK,
  progress: Progress = silent,
) -> Table:
  """Injects bipoles into the control maps of the test part of each network.

  Args:
    subjects: Networks that look at squares of one size.
    survey: Their maps.
    settings: What to inject.
    seed: Of the maps, places and directions.
    chunk: Fields on the device at a time.
    progress: Goes through the networks, and may show how far it is.

  Returns:
    A row for each network and control map: `subject`, `group`, `row` of the survey, `pair`, logit `untouched`; of the
    bipole in it the `ring` (`NO_RING` where there is none), its `inner_mm` and `outer_mm`; and over `[flux]` `flux_mx`
    and `[separation]` `separation_mm` the `[flux, separation]` `logit` and `peak_gauss` of the bipole alone;
    `most_peak_gauss` of the magnetograms (99th percentile).

  Raises:
    UserError: There is no control map, there are too few for the false-alarm rate, the grid cannot hold a bipole, or a
      logit is not finite.
  """
  controls = []
  for subject in subjects:
    controls.append(shuffle_controls(subject, survey, np.random.default_rng(seed)))
    n = len(controls[-1])
    if not int(settings.false_alarm_rate * n + 1e-9):
      raise UserError(
        f'A false-alarm rate of {settings.false_alarm_rate:g} cannot be kept on the {n} control maps of the test part '
        f'of {subject.name}; allow at least {1 / n:.2g}, or use more pairs or fewer folds.'
      )
  grid = visible_grid(subjects[0].network, survey)
  most_flux, most_peak, _ = strengths_of_maps(subjects, survey)
  fluxes, separations = _axes(grid, most_flux, settings)
  trials = min(settings.trials, max(map(len, controls)))
  ring, shape = _bipoles(np.random.default_rng([seed, 1]), grid, separations, trials, settings)
  field = at_unit_flux(FAMILY, grid, shape, np.ones((1, grid.size, grid.size)))[0]
  strength, peaks = fluxes / UNIT_MX, np.abs(field).max(axis=(1, 2)).reshape(len(separations), trials)
  edges = settings.place_mm * np.sqrt(np.arange(settings.rings + 1) / settings.rings)
  parts = []
  for subject, rows in progress(list(zip(subjects, controls, strict=True))):
    patches, used = visible_patches(subject.network, survey, rows), np.arange(min(trials, len(rows)))
    trial, at_flux, at_separation = map(np.ravel, np.indices((len(used), len(fluxes), len(separations))))
    which = at_separation * trials + trial
    said = planted_logits(subject, field, which, strength[at_flux].astype(np.float32), patches, trial, chunk)
    form = (len(rows), len(fluxes), len(separations))
    logit, peak = np.full((2, *form), np.nan)
    logit[used] = said.reshape(-1, *form[1:])
    peak[used] = strength[:, None] * peaks.T[used][:, None]
    of_ring = np.full(len(rows), NO_RING)
    of_ring[used] = ring[used]
    columns = {
      'subject': [subject.name] * len(rows),
      'group': [subject.group] * len(rows),
      'row': rows,
      'pair': survey.pair[rows],
      'untouched': subject_logits(subject, survey, rows=rows),
      'ring': of_ring,
      'inner_mm': np.where(of_ring == NO_RING, np.nan, edges[of_ring]),
      'outer_mm': np.where(of_ring == NO_RING, np.nan, edges[of_ring + 1]),
      'flux_mx': np.broadcast_to(fluxes, form[:2]),
      'separation_mm': np.broadcast_to(separations, (form[0], form[2])),
      'logit': logit,
      'peak_gauss': peak,
      'most_peak_gauss': np.full(len(rows), most_peak),
    }
    parts.append(Table(columns))
  return vstack(parts)


def _axes(grid: Grid, most_flux: float, settings: Injection) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[flux]` [Mx] and `[separation]` [Mm]."""
  fluxes = np.geomspace(*(settings.fluxes_mx or (most_flux / 100, most_flux)), settings.n_fluxes)
  smallest = SMALLEST_SCALE_PX * grid.pixel_scale_mm
  held = synthetic.largest_scale_mm(FAMILY, grid, _width_mm(grid, settings) * SIGMA_OF_FWHM, settings.place_mm)
  if not settings.separations_mm and not smallest < held:
    raise UserError(
      f'A map of {grid.size} px of {grid.pixel_scale_mm} Mm holds no bipole whose middle lies up to '
      f'{settings.place_mm:g} Mm from that of the map; choose a smaller place_mm.'
    )
  return fluxes, np.geomspace(*(settings.separations_mm or (smallest, min(held, FARTHEST_MM))), settings.n_separations)


def _width_mm(grid: Grid, settings: Injection) -> float:
  return SMALLEST_SCALE_PX * grid.pixel_scale_mm if settings.width_mm is None else settings.width_mm


def _bipoles(
  rng: np.random.Generator, grid: Grid, separations: np.ndarray, trials: int, settings: Injection
) -> tuple[np.ndarray, Shape]:
  """Returns the `[trial]` ring of each, and `[separation * trial]` bipoles, directions all around."""
  ring = np.arange(trials) % settings.rings
  distance = settings.place_mm * np.sqrt((ring + rng.random(trials)) / settings.rings)
  angle, tilt = rng.uniform(0, 360, (2, trials))
  x, y = distance * np.stack([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
  at_separation, trial = map(np.ravel, np.indices((len(separations), trials)))
  width = np.full(len(trial), _width_mm(grid, settings) * SIGMA_OF_FWHM)
  numbers = (separations[at_separation], width, tilt[trial], np.zeros(len(trial)), x[trial], y[trial])
  keys = jax.random.split(jax.random.key(0), 1)[np.zeros(len(trial), int)]  # A bipole has no chance of its own.
  return ring, Shape(*(values.astype(np.float32) for values in numbers), key=keys)


# --- Detection ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Recovery:
  """What became of the bipoles of one network: in all, and then for the pairs of each draw (`[1 + resample]`).

  Attributes:
    found: `[1 + resample, cell, flux]` share detected; NaN where none of them was drawn. The cells are the separations,
      in all rings, and then the rings, at all separations.
    false_alarms: `[1 + resample]` share of the drawn untouched maps above the threshold that was set on them.
    unseen_alarms: `[1 + resample]` the same of the maps of pairs that were not drawn, which the threshold has not seen;
      NaN where there are none, as in the first entry.
  """

  found: np.ndarray
  false_alarms: np.ndarray
  unseen_alarms: np.ndarray


def thresholds(logit: np.ndarray, weight: np.ndarray, false_alarm_rate: float) -> np.ndarray:
  """Returns `[draw]` the smallest of `[n]` logits that at most the given share exceeds, counted `[draw, n]` times."""
  order = np.argsort(-logit, kind='stable')
  above = np.cumsum(weight[:, order], axis=1)
  allowed = np.floor(false_alarm_rate * above[:, -1:] + 1e-9)  # 0.05 x 60 is a rounding below 3.
  return logit[order][np.argmax(above > allowed, axis=1)]


def recover(injected: Table, draws: Draws, false_alarm_rate: float) -> dict[str, list[Recovery]]:
  """Sets the threshold of every network, and counts what it detects, anew for every draw of the pairs.

  The threshold is set on the same control maps that bipoles are injected into, as observers do it. In a draw it is that
  of the drawn ones, so that intervals tell how well so few maps know it.

  Args:
    injected: What `inject` returned.
    draws: Of the pairs.
    false_alarm_rate: As in `Injection`.

  Returns:
    Group -> what became of the bipoles of each of its networks.
  """
  recovered: dict[str, list[Recovery]] = {}
  rings = range(int(np.max(injected['ring'])) + 1)
  for name in dict.fromkeys(injected['subject']):
    rows = injected[injected['subject'] == name]
    weight = draws.of_rows(np.asarray(rows['pair']))
    untouched = np.asarray(rows['untouched'], float)
    threshold = thresholds(untouched, weight, false_alarm_rate)
    alarms = untouched > threshold[:, None]
    logit = np.asarray(rows['logit'], float)
    hits, tried = [], []
    for ring in rings:
      inside = np.asarray(rows['ring'] == ring)
      above = logit[inside] > threshold[:, None, None, None]
      hits.append(np.einsum('dt,dtfs->dfs', weight[:, inside], above))
      tried.append(weight[:, inside].sum(axis=1))
    hits, tried = np.stack(hits, axis=1), np.stack(tried, axis=1)  # [draw, ring, flux, separation] and [draw, ring]
    found = np.concatenate(
      [
        np.swapaxes(_share(hits.sum(axis=1), tried.sum(axis=1)[:, None, None]), 1, 2),
        _share(hits.mean(axis=-1), tried[..., None]),
      ],
      axis=1,
    )
    undrawn = (weight == 0).astype(int)
    shares = (_share((counts * alarms).sum(axis=1), counts.sum(axis=1)) for counts in (weight, undrawn))
    recovered.setdefault(str(rows['group'][0]), []).append(Recovery(found, *shares))
  return recovered


def _share(number: np.ndarray, of: np.ndarray) -> np.ndarray:
  number, of = np.broadcast_arrays(np.asarray(number, float), np.asarray(of, float))
  return np.divide(number, of, out=np.full(number.shape, np.nan), where=of > 0)


# --- What it says -------------------------------------------------------------------------------------------------


def completeness_tables(injected: Table, draws: Draws, settings: Injection) -> tuple[Table, Table]:
  """Returns the probability of detection, and the flux at which half of the bipoles are detected.

  Both have rows for each group of `networks` (`n` of them): for each `separation_mm`, over all places, and for each
  ring from `inner_mm` to `outer_mm`, over all separations (which are NaN). `low` and `high` are 95 % intervals over
  networks, pairs and thresholds. In the first table the rows go on over `flux_mx`, with `pod` and the mean `peak_gauss`
  of the bipoles themselves; where that is above the meta key `most_peak_gauss`, networks have hardly seen the like. In
  the second `flux_mx` is interpolated in its logarithm between those that were injected: infinite where half is not
  reached, and 0 where every flux is detected.

  Meta of both: the `false_alarm_rate` of each group on the maps that its thresholds were set on, and `unseen`, with
  `unseen_low` and `unseen_high`, on the maps of the pairs that were not drawn.
  """
  first = injected[injected['ring'] != NO_RING]
  fluxes, separations = (np.asarray(first[name][0], float) for name in ('flux_mx', 'separation_mm'))
  rings = [first[first['ring'] == ring] for ring in range(int(np.max(first['ring'])) + 1)]
  edges = [(float(rows['inner_mm'][0]), float(rows['outer_mm'][0])) for rows in rings]
  cells = [{'separation_mm': each, 'inner_mm': 0.0, 'outer_mm': edges[-1][1]} for each in separations]
  cells += [{'separation_mm': np.nan, 'inner_mm': inner, 'outer_mm': outer} for inner, outer in edges]
  peaks = [*np.mean(first['peak_gauss'], axis=0).T, *(np.mean(rows['peak_gauss'], axis=(0, 2)) for rows in rings)]
  meta = {'most_peak_gauss': float(first['most_peak_gauss'][0]), 'false_alarms': {}}
  shares, limits = [], []
  for group, recovered in recover(injected, draws, settings.false_alarm_rate).items():
    about = {'networks': group, 'n': len(recovered)}
    pods = _over_networks(np.stack([each.found for each in recovered]), draws.seed)
    low, high = confidence_interval(pods[1:])
    half, *halves = _crossing(fluxes, pods, HALF)
    ends = np.percentile(halves, CONFIDENCE, axis=0, method='inverted_cdf')  # No average with infinity.
    for number, cell in enumerate(cells):
      limits.append(about | cell | {'flux_mx': half[number], 'low': ends[0, number], 'high': ends[1, number]})
      shares += [
        about | cell | {'flux_mx': flux, 'peak_gauss': peak} | dict(zip(('pod', 'low', 'high'), values, strict=True))
        for flux, peak, *values in zip(fluxes, peaks[number], pods[0, number], low[number], high[number], strict=True)
      ]
    alarms = np.mean([each.false_alarms[0] for each in recovered])
    unseen = np.mean([each.unseen_alarms[1:] for each in recovered], axis=0)
    ends = confidence_interval(unseen)
    names = ('false_alarm_rate', 'unseen', 'unseen_low', 'unseen_high')
    meta['false_alarms'][group] = dict(zip(names, map(float, (alarms, np.nanmean(unseen), *ends)), strict=True))
  tables = Table(shares), Table(limits)
  units = {'flux_mx': u.Mx, 'separation_mm': u.Mm, 'inner_mm': u.Mm, 'outer_mm': u.Mm, 'peak_gauss': u.G}
  for table in tables:
    table.meta = dict(meta)
    for name in set(units) & set(table.colnames):
      table[name].unit = units[name]
  for name in ('low', 'high'):
    tables[1][name].unit = u.Mx
  return tables


def _over_networks(found: np.ndarray, seed: int) -> np.ndarray:
  """Returns `[1 + resample, cell, flux]` the mean over `[network, 1 + resample, cell, flux]`, which are drawn, too."""
  flat = found.reshape(*found.shape[:2], -1)
  means = np.stack([over_subjects(flat[..., number], seed) for number in range(flat.shape[-1])], axis=-1)
  return means.reshape(found.shape[1:])


def _crossing(flux: np.ndarray, pods: np.ndarray, level: float) -> np.ndarray:
  """Returns `[...]` fluxes [Mx] at which `[..., flux]` probabilities first reach a level."""
  reached = pods >= level
  first = reached.argmax(axis=-1)
  below = np.maximum(first - 1, 0)
  at = lambda index: np.take_along_axis(pods, index[..., None], axis=-1)[..., 0]  # noqa: E731
  rise = at(first) - at(below)
  share = np.divide(level - at(below), rise, out=np.ones_like(rise), where=rise > 0)
  crossing = flux[below] * (flux[first] / flux[below]) ** share
  return np.where(~reached.any(axis=-1), np.inf, np.where(first == 0, 0.0, crossing))
