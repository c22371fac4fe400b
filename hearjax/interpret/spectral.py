"""Spectral response: what the networks say of magnetograms that hold structure of one scale only.

Every magnetogram is reduced to one octave of wavelengths and brought back to its own unsigned flux. The mean logit over
both classes, as a function of the wavelength, is the response: it says which scale the networks take for a sign of
emergence where the flux cannot tell. Beside it stand what the networks can still tell apart within the band, and what
they can tell apart without it.

The wavelength of the largest response is the scale that the networks prefer. It was tried on five surveys of the world
`pattern`, which holds bipoles of a known distance: it came to 0.83 to 0.91 of a distance of 6 Mm, and to 1.07 and 0.87
of 12 and 14 Mm. The interval is about other folds and pairs and does not hold that bias; for the large distances its
upper end is the edge of the bands, since the maximum is shallow, and a fold alone may miss it by far. Where the classes
differ in flux alone (world `flux`) the skill within a band is nearly the same in all bands, and `flat` says so; the
response itself is not, since a network need not feel the flux of all scales alike.

Other measures failed. Bands of half an octave or of one and a half miss the large distances, and so does the derivative
of the logit with respect to the amplitude in a band (0.6 to 0.8 of them). Skill within a band, and skill lost without
it, are largest elsewhere: bipoles also lack structure at wavelengths far beyond their distance, which tells as much.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.interpret.old_maps import changed_logits, tested_in_fold
from hearjax.interpret.old_statistics import POLE_DISTANCE_PER_WAVELENGTH, auc, highest, weighted_mean
from hearjax.maps import transforms
from hearjax.training.run import Run
from hearjax.verification.resampling import confidence_interval, draw_counts, draw_rows

SHORTEST_PX = 3.0  # Default of the shortest wavelength [px]; the grid holds nothing below 2 px.
BANDS_PER_OCTAVE = 3
LEAST_BANDS = 4
# Skill that varies by less over the bands does not depend on the scale: our choice, between the 0.11 of a world where
# flux alone differs and the 0.33 of a planted pattern (`tests/test_known_worlds.py`).
FLAT_AUC = 0.2


def spectral_table(
  run: Run,
  wavelengths_mm: Sequence[float] | None = None,
  octaves: float = 1.0,
  resamples: int = 500,
  seed: int = 0,
) -> Table:
  """Measures the response of a run's networks to magnetograms that are reduced to one band of wavelengths.

  Every map is seen by the members that it is a test for. The whole map is filtered; the flux that is restored is that
  within the square that the network looks at.

  Args:
    run: A finished run.
    wavelengths_mm: Centres of the bands [Mm], ascending; `default_wavelengths` for None.
    octaves: Full width at half maximum of a band [octaves].
    resamples: Bootstrap samples of the pairs.
    seed: Seed of the bootstrap.

  Returns:
    One row per band: `wavelength_mm` [Mm] and `pole_distance_mm` [Mm], that of point poles of opposite sign with most
    power there; `logit`, the response, and `logit_pe`, `logit_ne`, its two classes; `logit_fold_std`, its standard
    deviation over the folds; `difference`, PE less NE; `auc` within the band; `auc_without`, that of the maps without
    the band, their flux restored as well. `_low` and `_high` bound 95 % intervals over pairs.

    Meta: `peak_wavelength_mm` and `peak_pole_distance_mm`, where the response is largest, with 95 % intervals over
    folds and pairs; `peak_inside` and `peak_bounded`, whether it, and its interval, lies within the bands and not at
    their edge; `unchanged_…`, scores of the maps as they are; `auc_range` over the bands, with its interval, and
    `flat`, whether it is below `FLAT_AUC`: then the networks tell the classes apart at all scales alike, and the peak
    is none of the signal's.

  Raises:
    UserError: The maps are too small for the bands, the wavelengths are no range, a setting is out of its range, there
      is one class only, or a logit is not finite.
  """
  label, pair = run.survey.label, run.survey.pair
  scale = run.survey.pixel_scale_mm
  visible = run.visible_px
  wavelengths = default_wavelengths(visible, scale) if wavelengths_mm is None else np.asarray(wavelengths_mm, float)
  check_bands(wavelengths, octaves, visible, scale)
  fold = tested_in_fold(run)
  drawn = draw_rows(pair, resamples, seed)
  score = functools.partial(_scores, label, fold, drawn)

  def logits_of_band(wavelength: float, stop: bool) -> np.ndarray:
    return changed_logits(run, lambda field, _: _filtered(field, scale, wavelength, octaves, stop, visible))

  rows, within, responses = [], [], []
  for wavelength in wavelengths:
    passed = logits_of_band(wavelength, stop=False)
    scores, samples = score(passed)
    without, _ = score(logits_of_band(wavelength, stop=True))
    rows.append({'wavelength_mm': wavelength, 'pole_distance_mm': wavelength * POLE_DISTANCE_PER_WAVELENGTH, **scores})
    rows[-1] |= {key.replace('auc', 'auc_without'): without[key] for key in ('auc', 'auc_low', 'auc_high')}
    within.append(samples)
    responses.append(passed)
  table = Table(rows)
  for name in ('wavelength_mm', 'pole_distance_mm'):
    table[name].unit = u.Mm
  as_they_are, _ = score(changed_logits(run))
  low, high = confidence_interval(np.ptp(within, axis=0))
  table.meta = {
    'survey_source': run.survey.source,
    'octaves': octaves,
    **{f'unchanged_{name}': as_they_are[name] for name in ('logit_pe', 'logit_ne', 'auc', 'auc_low', 'auc_high')},
    **_peak(wavelengths, np.stack(responses), _draw_folds(fold, pair, resamples, seed), label),
    'auc_range': float(np.ptp(table['auc'])),
    'auc_range_low': low,
    'auc_range_high': high,
    'flat': bool(np.ptp(table['auc']) < FLAT_AUC),
  }
  return table


def default_wavelengths(visible: int, pixel_scale_mm: float) -> np.ndarray:
  """Returns wavelengths [Mm] from 3 px to the side of the square that the network looks at, a third of an octave apart.

  Args:
    visible: Side of that square [px].
    pixel_scale_mm: Side of a pixel [Mm].
  """
  steps = int(max(0.0, np.log2(visible / SHORTEST_PX)) * BANDS_PER_OCTAVE)
  return visible * pixel_scale_mm * 2.0 ** (np.arange(-steps, 1) / BANDS_PER_OCTAVE)


def check_bands(wavelengths: np.ndarray, octaves: float, visible: int, pixel_scale_mm: float) -> None:
  """Raises UserError where bands are no ascending range, or not between two pixels [Mm] and the visible square."""
  if wavelengths.ndim != 1 or len(wavelengths) < LEAST_BANDS:
    raise UserError(
      f'A spectral response needs at least {LEAST_BANDS} bands, got {wavelengths.size} on the square of {visible} px '
      'that the network looks at; give more wavelengths, or larger maps.'
    )
  if not (np.isfinite(wavelengths).all() and np.all(np.diff(wavelengths) > 0)):
    raise UserError(f'Wavelengths must be finite and ascending, got {wavelengths.tolist()} Mm.')
  if wavelengths[0] < 2 * pixel_scale_mm or wavelengths[-1] > visible * pixel_scale_mm * (1 + 1e-9):
    raise UserError(
      f'Wavelengths from {wavelengths[0]:.4g} to {wavelengths[-1]:.4g} Mm do not fit the map: its grid and the square '
      f'that the network looks at hold those from {2 * pixel_scale_mm:.4g} to {visible * pixel_scale_mm:.4g} Mm.'
    )
  if not 0 < octaves < np.inf:
    raise UserError(f'The width of a band must be a positive number of octaves, got {octaves}.')


def keep_flux(changed: jax.Array, field: jax.Array, visible: int) -> jax.Array:
  """Multiplies `[..., y, x]` changed maps so that each has the unsigned flux of `field` in its central square.

  Args:
    changed: Maps [G]; one without flux stays as it is.
    field: What they were before [G].
    visible: Side of the square [px].
  """
  now, before = (
    jnp.sum(jnp.abs(transforms.fill_missing(transforms.crop(maps, visible))), axis=(-2, -1), keepdims=True)
    for maps in (changed, field)
  )
  return changed * jnp.where(now > 0, before / jnp.where(now > 0, now, 1), 1)


@functools.partial(jax.jit, static_argnames='visible')
def _filtered(
  field: jax.Array, pixel_scale_mm: float, wavelength_mm: float, octaves: float, stop: bool, visible: int
) -> jax.Array:
  """Returns the band of `[n, y, x]` maps [G], or with `stop` all but the band, with the flux of the maps."""
  band = transforms.band_pass(field, pixel_scale_mm, wavelength_mm, octaves)
  return keep_flux(jnp.where(stop, field - band, band), field, visible)


def _scores(
  label: np.ndarray, fold: np.ndarray, drawn: np.ndarray, logit: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
  """Returns the scores of `[n]` logits with their intervals, and the `[resample]` AUC."""

  def measure(weight: np.ndarray) -> dict[str, np.ndarray]:
    pe, ne = (weighted_mean(logit, weight * (label == value)) for value in (1, 0))
    return {
      'logit': (pe + ne) / 2,
      'logit_pe': pe,
      'logit_ne': ne,
      'difference': pe - ne,
      'auc': auc(label, logit, fold, weight),
    }

  values, samples = measure(np.ones(len(label))), measure(drawn)
  scores = {}
  for name, value in values.items():
    scores[name] = float(value)
    scores[f'{name}_low'], scores[f'{name}_high'] = confidence_interval(samples[name])
  of_folds = [weighted_mean(logit, (fold == number).astype(float)) for number in np.unique(fold)]
  scores['logit_fold_std'] = float(np.std(of_folds, ddof=1)) if len(of_folds) > 1 else np.nan
  return scores, samples['auc']


def _draw_folds(fold: np.ndarray, pair: np.ndarray, resamples: int, seed: int) -> np.ndarray:
  """Returns `[resample, n]` how often each magnetogram counts when folds are drawn, and pairs within each of them."""
  numbers = np.unique(fold)
  weight = np.zeros((resamples, len(fold)), int)
  n_folds = draw_counts(len(numbers), resamples, seed)
  for index, number in enumerate(numbers):
    rows = np.flatnonzero(fold == number)
    weight[:, rows] = n_folds[:, index, None] * draw_rows(pair[rows], resamples, seed + 1 + index)
  return weight


def _peak(wavelengths: np.ndarray, logits: np.ndarray, drawn: np.ndarray, label: np.ndarray) -> dict[str, float | bool]:
  """Returns what the meta says of the largest response, from `[band, n]` logits and `[resample, n]` weights."""

  def response(weight: np.ndarray) -> np.ndarray:
    return np.mean([weighted_mean(logits.T, weight * (label == value)) for value in (1, 0)], axis=0)

  value = highest(wavelengths, response(np.ones(len(label))))
  samples = np.array([highest(wavelengths, curve) for curve in response(drawn) if np.isfinite(curve).all()])
  low, high = confidence_interval(samples)
  peak = {
    'peak_inside': bool(wavelengths[0] < value < wavelengths[-1]),
    'peak_bounded': bool(wavelengths[0] < low and high < wavelengths[-1]),
  }
  for name, factor in (('wavelength', 1.0), ('pole_distance', POLE_DISTANCE_PER_WAVELENGTH)):
    for end, number in (('', value), ('_low', low), ('_high', high)):
      peak[f'peak_{name}_mm{end}'] = float(factor * number)
  return peak
