"""Injection and recovery: how often members notice a bipole of known flux and separation in quiet Sun.

Bipoles are set into the control regions that a member has not learnt from, at random places and in random directions.
The probability of detection over flux and separation is the completeness surface that observers of faint sources use.
The bipole is what a magnetogram would show of it: its field along the line of sight, not foreshortened.
"""

import dataclasses

import jax
import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError, check_not_negative, check_range
from hearjax.interpret.maps import control_rows, draw_places, visible_grid, visible_patches
from hearjax.interpret.probes import CHUNK, Probes, build_shapes, field_logits, measure_probes
from hearjax.maps import synthetic
from hearjax.maps.synthetic import Grid
from hearjax.training.run import Run
from hearjax.verification.resampling import CONFIDENCE, confidence_interval, draw_counts

FAMILY = 'point_bipole'


@dataclasses.dataclass(frozen=True)
class Injection:
  """What to inject; every default is our choice.

  Attributes:
    fluxes_mx: Smallest and largest total unsigned flux of a bipole [Mx]; empty for a hundredth to twice the largest
      flux of the training magnetograms.
    separations_mm: Smallest and largest distance of its poles [Mm]; empty for 2 px to all that the map holds.
    n_fluxes, n_separations: Steps of equal ratio between them.
    width_mm: Width of a pole, standard deviation of a Gaussian [Mm]; None for `synthetic.WIDTH_PX` of a pixel.
    place_mm: The middle of a bipole lies within this distance of that of the map [Mm].
    trials: Injections at each flux and separation for each member: patch, place and direction, alike at all of them.
    false_alarm_rate: Share of untouched control magnetograms above the threshold, at most.
    resamples: Bootstrap samples of the regions.
  """

  fluxes_mx: tuple[float, ...] = ()
  separations_mm: tuple[float, ...] = ()
  n_fluxes: int = 10
  n_separations: int = 8
  width_mm: float | None = None
  place_mm: float = 8.0
  trials: int = 64
  false_alarm_rate: float = 0.05
  resamples: int = 1000

  def __post_init__(self):
    for name in ('fluxes_mx', 'separations_mm'):
      check_range(name, getattr(self, name))
    if min(self.n_fluxes, self.n_separations) < 2 or min(self.trials, self.resamples) < 1:
      raise UserError(
        'Injections need at least two fluxes, two separations, one trial and one resample, got '
        f'{self.n_fluxes}, {self.n_separations}, {self.trials} and {self.resamples}.'
      )
    if not 0 < self.false_alarm_rate < 1:
      raise UserError(f'The false-alarm rate must lie between 0 and 1, got {self.false_alarm_rate}.')
    check_not_negative('place_mm', self.place_mm)


@dataclasses.dataclass(frozen=True)
class Recovery:
  """What became of the injected bipoles, summed over the members; a region is in the test fold of one of each seed.

  Attributes:
    flux_mx: `[flux]` total unsigned fluxes [Mx].
    separation_mm: `[separation]` distances of the poles [Mm].
    found: `[region, flux, separation]` detections in each control region.
    tried: `[region]` injections at each flux and separation.
    peak_gauss: `[flux, separation]` mean peak |B| of the bipoles on the grid, without what they are set into [G].
    training_peak_gauss: Largest peak of the training magnetograms (99th percentile) [G].
    false_alarms, controls: `[region]` untouched magnetograms above the threshold, and how many there are.
    threshold: `[member]` logit above which a member is said to detect.
  """

  flux_mx: np.ndarray
  separation_mm: np.ndarray
  found: np.ndarray
  tried: np.ndarray
  peak_gauss: np.ndarray
  training_peak_gauss: float
  false_alarms: np.ndarray
  controls: np.ndarray
  threshold: np.ndarray

  @property
  def false_alarm_rate(self) -> float:
    """Share of untouched control magnetograms that were above the threshold."""
    return float(self.false_alarms.sum() / self.controls.sum())


def inject(run: Run, settings: Injection, seed: int = 0, chunk: int = CHUNK) -> Recovery:
  """Injects bipoles into control regions and counts those that are detected.

  The threshold of a member is the smallest one that keeps the false-alarm rate on its own test controls. It is set on
  the same magnetograms that the bipoles are injected into, as observers do it; the rate is therefore that of this
  sample, and with few regions no better known than they allow.

  Args:
    run: A finished run.
    settings: What to inject.
    seed: Of the choice of patches, places and directions; a non-negative integer.
    chunk: Fields on the device at a time.

  Raises:
    UserError: A member is not finite, there is no control region, there are too few for the false-alarm rate, or the
      grid cannot hold a bipole.
  """
  grid, model = visible_grid(run), run.ensemble.model
  fluxes, separations = _axes(run, settings, grid)
  regions = run.survey.region
  form = (len(fluxes), len(separations), settings.trials)
  found = np.zeros((len(run.survey.region_ids), *form[:2]), int)
  tried, false_alarms, controls = np.zeros((3, len(found)), int)
  thresholds, peaks = [], []
  for number, member in enumerate(run.members()):
    rows = control_rows(run, member)
    patches = visible_patches(run, rows)
    untouched = field_logits(model, member.params, patches, chunk)
    threshold = threshold_for(untouched, settings.false_alarm_rate)
    rng = np.random.default_rng([seed, number])
    patch = rng.integers(len(rows), size=settings.trials)
    probes = _bipoles(rng, fluxes, separations, patch, settings, grid)
    (logit,), (described,), _ = measure_probes(model, [member.params], probes, [patches], chunk)
    logit = logit.reshape(form)
    np.add.at(found, regions[rows[patch]], np.moveaxis(logit > threshold, -1, 0))
    np.add.at(tried, regions[rows[patch]], 1)
    np.add.at(false_alarms, regions[rows], untouched > threshold)
    np.add.at(controls, regions[rows], 1)
    thresholds.append(threshold)
    peaks.append(described[0].reshape(form).mean(axis=-1))
  used = controls > 0
  return Recovery(
    flux_mx=fluxes,
    separation_mm=separations,
    found=found[used],
    tried=tried[used],
    peak_gauss=np.mean(peaks, axis=0),
    training_peak_gauss=run.ensemble.domain['peak_gauss'][1],
    false_alarms=false_alarms[used],
    controls=controls[used],
    threshold=np.array(thresholds),
  )


def threshold_for(logit: np.ndarray, false_alarm_rate: float) -> float:
  """Returns the smallest of `[n]` logits that at most the given share of them exceeds.

  Raises:
    UserError: There are too few logits to tell such a rate from none.
  """
  allowed = int(np.floor(false_alarm_rate * len(logit) + 1e-9))  # 0.05 x 60 is a rounding below 3.
  if not allowed:
    raise UserError(
      f'A false-alarm rate of {false_alarm_rate:g} cannot be kept on {len(logit)} control magnetograms of a test fold; '
      f'allow at least {1 / len(logit):.2g}, or use more pairs or fewer folds.'
    )
  return float(np.sort(logit)[-allowed - 1])


def _axes(run: Run, settings: Injection, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[flux]` [Mx] and `[separation]` [Mm]."""
  largest = run.ensemble.domain['unsigned_flux_mx'][1]
  fluxes = np.geomspace(*(settings.fluxes_mx or (largest / 100, 2 * largest)), settings.n_fluxes)
  smallest = synthetic.SMALLEST_SCALE_PX * grid.pixel_scale_mm
  widest = synthetic.largest_scale_mm(FAMILY, grid, settings.width_mm, settings.place_mm)
  if not settings.separations_mm and not smallest < widest:
    raise UserError(
      f'A map of {grid.size} px of {grid.pixel_scale_mm} Mm holds no bipole whose middle lies up to '
      f'{settings.place_mm:g} Mm from that of the map; choose a smaller place_mm.'
    )
  return fluxes, np.geomspace(*(settings.separations_mm or (smallest, widest)), settings.n_separations)


def _bipoles(
  rng: np.random.Generator,
  fluxes: np.ndarray,
  separations: np.ndarray,
  patch: np.ndarray,
  settings: Injection,
  grid: Grid,
) -> Probes:
  """Returns the checked probes, `[flux * separation * trial]`; places are even over a disc, directions all around."""
  x, y = draw_places(rng, len(patch), settings.place_mm)
  tilt = rng.uniform(0, 360, len(patch))
  at_flux, at_separation, trial = (axis.ravel() for axis in np.indices((len(fluxes), len(separations), len(patch))))
  keys = jax.random.split(jax.random.key(0), 1)[np.zeros(len(trial), int)]  # A bipole has no chance of its own.
  separation = separations[at_separation]
  shape = build_shapes(FAMILY, grid, separation, settings.width_mm, tilt[trial], 0.0, x[trial], y[trial], keys)
  return Probes(FAMILY, grid, shape, fluxes[at_flux].astype(np.float32), np.ones(len(trial), bool), patch[trial])


# --- What it says -------------------------------------------------------------------------------------------------


def completeness_table(recovery: Recovery, resamples: int, seed: int = 0) -> Table:
  """Returns the probability of detection at each flux and separation.

  `low` and `high` are the 95 % interval of a bootstrap over the control regions, whose magnetograms are correlated. It
  does not count that the threshold is uncertain, too. `peak_gauss` is the mean peak of the bipoles themselves [G];
  where it is above the meta key `training_peak_gauss`, the networks have hardly seen the like.
  """
  pods = _resampled_pods(recovery, resamples, seed)
  low, high = confidence_interval(pods)
  flux, separation = np.meshgrid(recovery.flux_mx, recovery.separation_mm, indexing='ij')
  table = Table(
    {
      'flux_mx': flux.ravel() * u.Mx,
      'separation_mm': separation.ravel() * u.Mm,
      'peak_gauss': recovery.peak_gauss.ravel() * u.G,
      'n': np.full(flux.size, recovery.tried.sum()),
      'pod': (recovery.found.sum(axis=0) / recovery.tried.sum()).ravel(),
      'low': low.ravel(),
      'high': high.ravel(),
    }
  )
  table.meta = {
    'false_alarm_rate': recovery.false_alarm_rate,
    'thresholds': recovery.threshold.tolist(),
    'training_peak_gauss': recovery.training_peak_gauss,
  }
  return table


def limit_table(recovery: Recovery, resamples: int, seed: int = 0, pod: float = 0.5) -> Table:
  """Returns the flux at which half of the bipoles are detected, for each separation, with its 95 % interval.

  It is the smallest flux from which on to the next larger one the probability of detection crosses `pod`, interpolated
  in the logarithm of the flux. Where it is below that at all fluxes, the limit is infinite: larger than any that was
  injected; where it is above at the smallest one, the limit is 0: smaller than any.
  """
  best = _crossing(recovery.flux_mx, recovery.found.sum(axis=0)[None] / recovery.tried.sum(), pod)[0]
  crossings = _crossing(recovery.flux_mx, _resampled_pods(recovery, resamples, seed), pod)
  low, high = np.percentile(crossings, CONFIDENCE, axis=0, method='inverted_cdf')  # No average with infinity.
  return Table(
    {
      'separation_mm': recovery.separation_mm * u.Mm,
      'flux_mx': best * u.Mx,
      'flux_mx_low': low * u.Mx,
      'flux_mx_high': high * u.Mx,
    }
  )


def _resampled_pods(recovery: Recovery, resamples: int, seed: int) -> np.ndarray:
  """Returns `[resample, flux, separation]` probabilities of detection of regions drawn with replacement."""
  regions = len(recovery.tried)
  counts = draw_counts(regions, resamples, seed)
  tried = counts @ recovery.tried
  found = np.tensordot(counts, recovery.found, axes=1)
  return found[tried > 0] / tried[tried > 0, None, None]


def _crossing(flux: np.ndarray, pods: np.ndarray, level: float) -> np.ndarray:
  """Returns `[..., separation]` fluxes [Mx] at which `[..., flux, separation]` first reach a level."""
  reached = pods >= level
  first = reached.argmax(axis=-2)
  below = np.maximum(first - 1, 0)
  at = lambda index: np.take_along_axis(pods, index[..., None, :], axis=-2)[..., 0, :]  # noqa: E731
  rise = at(first) - at(below)
  share = np.divide(level - at(below), rise, out=np.ones_like(rise), where=rise > 0)
  crossing = flux[below] * (flux[first] / flux[below]) ** share
  return np.where(~reached.any(axis=-2), np.inf, np.where(first == 0, 0.0, crossing))
