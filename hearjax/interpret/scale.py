"""The scales that networks look for: the width of poles, the distance at which they pair, wavelengths.

Gaussian poles are planted in control maps, at one flux and at one width after the other; what the logit makes of their
width is the response to it. A network that learnt poles of one width answers to narrower and to wider ones less. All
poles of a map have one sign: a network that learnt how far apart opposite poles stand would else answer to the width at
which they meet. Poles are planted in pairs, too, at one distance after the other, and the same poles with their
partners exchanged between the maps: what the logit gains by pairs beyond what it gains by lone poles comes neither from
the flux nor from the places. And maps are reduced to one octave of wavelengths and brought back to their own flux.

What each may be taken for was measured on surveys of the world `pattern` whose poles have widths of 3 to 8 Mm at
distances of 8 to 22 Mm, one independent of the other (manual). The width of largest response is that of the poles but
for `WIDTH_BIAS`, whatever their distance. The wavelength of largest response is none of the two: it lay at 2.3 to
5.9 widths and at 0.5 to 5 distances, so that it is told as a wavelength alone.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from scipy.stats import norm

from hearjax.checks import UserError, check_positive
from hearjax.interpret.findings import SIGMA, Claim, Samples
from hearjax.interpret.maps import MEMBERS, Subject, control_rows, draw_places, visible_grid, visible_patches
from hearjax.interpret.network import logits
from hearjax.interpret.statistics import Draws, highest, over_subjects, spread, weighted_mean
from hearjax.maps import synthetic, transforms
from hearjax.maps.synthetic import SIGMA_OF_FWHM, Grid
from hearjax.progress import Progress, silent
from hearjax.survey.survey import Survey
from hearjax.verification.resampling import CONFIDENCE, confidence_interval
from hearjax.verification.scores import auc

WIDTH = Claim(
  'width', 'The networks answer most to poles of one width, to narrower and to wider ones less', SIGMA, 0.25
)
PAIRING = Claim(
  'pairing', 'The networks answer to opposite poles in pairs more than to the same poles apart', SIGMA, 0.1
)
CLAIMS = (WIDTH, PAIRING)

NARROWEST_PX, WIDEST = 1.45, 0.36  # Widths from what pixels show of a point [px] to this share of the square.
NEAREST_PX, FARTHEST = 2.0, 0.6  # The same of distances.
POLE_MM = 3.5  # Full width at half maximum of the poles that are paired.
SHORTEST_PX = 3.0  # Shortest wavelength; the grid holds nothing below 2 px.
BANDS_PER_OCTAVE = 2
LEAST_BANDS = 4
# Natural logarithm of found by planted width on surveys with known widths: its mean, and the standard deviation.
WIDTH_BIAS, WIDTH_SCATTER = -0.01, 0.17
SHARED = 1.5  # Members share a distance where theirs differ from the median by at most this factor.


@dataclasses.dataclass(frozen=True)
class ScaleSettings:
  """What is planted, and how maps are filtered; every entry is a choice of ours.

  Attributes:
    poles: Pairs of poles in a map.
    pole_mx: Flux of a pole [Mx]; None for poles that together have the unsigned flux of the median PE map.
    reach: Radius about the centre within which they lie, in sides of the square that the network sees.
    widths: Number of widths, evenly spaced in their logarithm.
    distances: Number of distances of the same kind.
    maps: Control maps to plant in, at most; partners are exchanged between them.
    octaves: Full width at half maximum of the bands of wavelengths [octaves].
    filtered_maps: Test maps that are reduced to bands, at most.
  """

  poles: int = 3
  pole_mx: float | None = None
  reach: float = 0.3
  widths: int = 10
  distances: int = 12
  maps: int = 48
  octaves: float = 1.0
  filtered_maps: int = 64

  def __post_init__(self):
    for name in ('poles', 'pole_mx', 'reach', 'octaves'):
      if getattr(self, name) is not None:
        check_positive(f'{name} of the planted poles', getattr(self, name))
    if min(self.widths, self.distances) < 4 or min(self.maps, self.filtered_maps) < 4:
      raise UserError(
        'A largest response needs at least 4 widths and distances to be found among, and 4 maps, got '
        f'{self.widths}, {self.distances}, {self.maps} and {self.filtered_maps}.'
      )


@dataclasses.dataclass(frozen=True)
class Responses:
  """What one network says of poles, in units of the spread of its logits.

  Attributes:
    name, group: Of the network.
    width: `[width, 1 + resample]` mean logit of lone poles less that of the maps without, by their width.
    pairing: `[2, distance, 1 + resample]` what pairing adds, by distance; in the even and in the odd maps.
    error: `[distance]` standard error of that of all maps.
    band, band_auc: `[band, 1 + resample]` mean logit of both classes in each band less that of the maps as they are,
      and the AUC within.
  """

  name: str
  group: str
  width: np.ndarray
  pairing: np.ndarray
  error: np.ndarray
  band: np.ndarray
  band_auc: np.ndarray


# --- What is planted ----------------------------------------------------------------------------------------------


def width_axis(grid: Grid, settings: ScaleSettings) -> np.ndarray:
  """Returns `[width]` full widths at half maximum [Mm]."""
  return np.geomspace(NARROWEST_PX * grid.pixel_scale_mm, 2 * WIDEST * grid.half_mm, settings.widths)


def distance_axis(grid: Grid, settings: ScaleSettings) -> np.ndarray:
  """Returns `[distance]` distances of poles [Mm]."""
  return np.geomspace(NEAREST_PX * grid.pixel_scale_mm, 2 * FARTHEST * grid.half_mm, settings.distances)


def plant_pairs(
  n: int, grid: Grid, distance_mm: float, width_mm: float, settings: ScaleSettings, seed: int, together: bool
) -> np.ndarray:
  """Plants poles of opposite sign in empty maps.

  Args:
    n: Number of maps.
    grid: That of the maps.
    distance_mm: Distance of the two poles of a pair [Mm].
    width_mm: Full width at half maximum of a pole [Mm].
    settings: How many, of which flux.
    seed: Of the places and directions.
    together: Whether both poles of a pair lie in one map; if not, each negative one lies in the next map.

  Returns:
    `[n, y, x]` field [G].
  """
  rng = np.random.default_rng(seed)
  middle = draw_places(rng, (n, settings.poles), 2 * settings.reach * grid.half_mm)
  turn = rng.uniform(0, 2 * np.pi, (n, settings.poles))
  half = distance_mm / 2 * np.stack([np.cos(turn), np.sin(turn)])
  negative = middle - half if together else np.roll(middle - half, 1, axis=1)
  places = np.concatenate([middle + half, negative], axis=-1).swapaxes(0, 1)
  sign = np.tile(np.repeat([1.0, -1.0], settings.poles), (n, 1))
  return np.asarray(_plant(places, sign, settings.pole_mx, width_mm, grid))


def plant_poles(n: int, grid: Grid, width_mm: float, settings: ScaleSettings, seed: int) -> np.ndarray:
  """Plants as many poles as `plant_pairs` does, of one sign in each map and of the other sign in the next.

  Returns:
    `[n, y, x]` field [G].
  """
  shape = (n, 2 * settings.poles)
  places = draw_places(np.random.default_rng(seed), shape, 2 * settings.reach * grid.half_mm).swapaxes(0, 1)
  sign = np.where(np.arange(n) % 2, -1.0, 1.0)[:, None] * np.ones(shape)
  return np.asarray(_plant(places, sign, settings.pole_mx, width_mm, grid))


@functools.partial(jax.jit, static_argnames='grid')
def _plant(places: jax.Array, sign: jax.Array, pole_mx: float, width_mm: float, grid: Grid) -> jax.Array:
  """Returns the field of poles at `[n, 2, pole]` places [Mm], with `[n, pole]` signs."""
  gauss = sign * (pole_mx / grid.pixel_cm2)
  return jax.vmap(lambda place, gauss: synthetic.poles(grid, *place, gauss, width_mm * SIGMA_OF_FWHM))(places, gauss)


# --- Wavelengths --------------------------------------------------------------------------------------------------


def wavelength_axis(visible: int, pixel_scale_mm: float) -> np.ndarray:
  """Returns wavelengths [Mm] from 3 px to the side of the square that the network looks at, half an octave apart.

  Raises:
    UserError: The square is too small for them.
  """
  steps = int(max(0.0, np.log2(visible / SHORTEST_PX)) * BANDS_PER_OCTAVE)
  if steps + 1 < LEAST_BANDS:
    raise UserError(
      f'A response to wavelengths needs at least {LEAST_BANDS} bands; the square of {visible} px that the network '
      f'looks at holds {steps + 1}: use larger maps.'
    )
  return visible * pixel_scale_mm * 2.0 ** (np.arange(-steps, 1) / BANDS_PER_OCTAVE)


@functools.partial(jax.jit, static_argnames='visible')
def in_band(
  field: jax.Array, pixel_scale_mm: float, wavelengths_mm: jax.Array, octaves: float, visible: int
) -> jax.Array:
  """Reduces maps to bands of wavelengths, each with the unsigned flux that the map has in its central square.

  Args:
    field: `[n, y, x]` whole maps [G].
    pixel_scale_mm: Side of a pixel [Mm].
    wavelengths_mm: `[band]` centres of the bands [Mm].
    octaves: Their full width at half maximum [octaves].
    visible: Side of the square that the network looks at [px].

  Returns:
    `[band, n, visible, visible]` field [G].
  """
  flux_of = lambda maps: jnp.sum(jnp.abs(transforms.fill_missing(maps)), axis=(-2, -1), keepdims=True)  # noqa: E731
  before = flux_of(transforms.crop(field, visible))

  def reduced(wavelength_mm: jax.Array) -> jax.Array:
    band = transforms.crop(transforms.band_pass(field, pixel_scale_mm, wavelength_mm, octaves), visible)
    now = flux_of(band)
    return band * jnp.where(now > 0, before / jnp.where(now > 0, now, 1), 1)

  return jax.lax.map(reduced, wavelengths_mm)


# --- What networks say --------------------------------------------------------------------------------------------


def respond(
  subjects: Sequence[Subject],
  survey: Survey,
  draws: Draws,
  settings: ScaleSettings,
  seed: int,
  progress: Progress = silent,
) -> list[Responses]:
  """Shows poles and bands to networks, each in the maps of its own test.

  Args:
    subjects: The networks.
    survey: Their maps.
    draws: Draws of the pairs.
    settings: What to show.
    seed: Of the places and directions, which are the same at all widths and distances and for all networks.
    progress: Goes through the networks, and may show how far it is.

  Raises:
    UserError: A network has no control map to plant in, or the maps are too small.
  """
  settings = dataclasses.replace(settings, pole_mx=settings.pole_mx or _pole_flux(subjects[0], survey, settings))
  planted = functools.cache(functools.partial(_planted, settings=settings, seed=seed))

  @functools.cache
  def filtered(rows: tuple[int, ...], visible: int) -> jax.Array:
    wavelengths = wavelength_axis(visible, survey.pixel_scale_mm)
    return in_band(survey.field[list(rows)], survey.pixel_scale_mm, wavelengths, settings.octaves, visible)

  return [_respond(subject, survey, draws, settings, planted, filtered) for subject in progress(subjects)]


def _pole_flux(subject: Subject, survey: Survey, settings: ScaleSettings) -> float:
  """Returns what a pole has when all of a map have the unsigned flux of the median PE map [Mx]."""
  seen = visible_patches(subject.network, survey, np.flatnonzero(survey.label == 1))
  flux = np.abs(np.nan_to_num(seen)).sum(axis=(1, 2)) * visible_grid(subject.network, survey).pixel_cm2
  return float(np.median(flux)) / (2 * settings.poles)


def _respond(subject, survey, draws, settings, planted, filtered) -> Responses:
  network, params = subject.network, subject.params
  tested = subject.rows.test
  sd = spread(logits(network, params, survey.field[tested]))
  if not sd > 0:  # Nothing that it says of a map depends on the map.
    sd = np.inf
  rows = _thinned(control_rows(subject, survey), settings.maps)
  controls = visible_patches(network, survey, rows)
  weight = draws.of_rows(survey.pair[rows])
  say = lambda maps: logits(network, params, maps.reshape(-1, *maps.shape[-2:])).reshape(maps.shape[:-2]) / sd  # noqa: E731
  lone, paired, torn = (say(controls + maps) for maps in planted(len(rows), visible_grid(network, survey)))
  bare = say(controls)
  gained = paired - torn
  halves = [weighted_mean(gained[:, start::2].T, weight[:, start::2]).T for start in (0, 1)]
  shown = _thinned(tested, settings.filtered_maps)
  of_band = say(filtered(tuple(shown.tolist()), network.visible_px(survey.field.shape[-1])))
  shown_weight, label = draws.of_rows(survey.pair[shown]), survey.label[shown]
  unchanged = say(visible_patches(network, survey, shown))
  classes = [weighted_mean((of_band - unchanged).T, shown_weight * (label == value)) for value in (1, 0)]
  return Responses(
    name=subject.name,
    group=subject.group,
    width=weighted_mean((lone - bare).T, weight).T,
    pairing=np.stack(halves),
    error=gained.std(axis=1, ddof=1) / np.sqrt(len(rows)),
    band=np.mean(classes, axis=0).T,
    band_auc=np.stack([auc(label, logit, shown_weight) for logit in of_band]),
  )


def _thinned(rows: np.ndarray, n: int) -> np.ndarray:
  """Returns at most `n` of the rows, evenly chosen."""
  return rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int))]


def _planted(n: int, grid: Grid, settings: ScaleSettings, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[width, n, y, x]` lone poles and `[distance, n, y, x]` pairs and the same poles apart [G]."""
  lone = [plant_poles(n, grid, width, settings, seed) for width in width_axis(grid, settings)]
  pairs, torn = (
    [plant_pairs(n, grid, each, POLE_MM, settings, seed, together) for each in distance_axis(grid, settings)]
    for together in (True, False)
  )
  return np.stack(lone), np.stack(pairs), np.stack(torn)


# --- What it says -------------------------------------------------------------------------------------------------


def samples(responses: Sequence[Responses]) -> dict[Claim, Samples]:
  """Returns the samples of the claims.

  `WIDTH`: how far the response falls from its largest value within the widths to the larger one at their ends; negative
  where it is largest at an end. `PAIRING`: what pairing adds in the odd maps at the distance that is best in the even
  ones, and the other way round, so that the best of many distances is no better than it is.
  """
  result: dict[Claim, dict[str, list[np.ndarray]]] = {claim: {} for claim in CLAIMS}
  for each in responses:
    height = each.width[1:-1].max(axis=0) - np.maximum(each.width[0], each.width[-1])
    best = np.argmax(each.pairing, axis=1)
    crossed = [np.take_along_axis(each.pairing[half], best[None, 1 - half], axis=0)[0] for half in (0, 1)]
    for claim, values in ((WIDTH, height), (PAIRING, np.mean(crossed, axis=0))):
      result[claim].setdefault(each.group, []).append(values)
  return result


def found_width(responses: Sequence[Responses], widths_mm: np.ndarray, seed: int) -> dict[str, float]:
  """Returns the width that the members answer most to [Mm], `WIDTH_BIAS` taken away, with its 95 % interval.

  The interval is over pairs and members, and holds the scatter of the method (`WIDTH_SCATTER`). Whether there is such a
  width says the claim `WIDTH`.
  """
  curves = [each.width for each in responses if each.group == MEMBERS]
  peaks = [[np.log(highest(widths_mm, curve)) for curve in of_draw.T] for of_draw in curves]
  width = over_subjects(np.array(peaks), seed) - WIDTH_BIAS
  low, high = confidence_interval(width[1:])
  scatter = norm.ppf(CONFIDENCE[1] / 100) * WIDTH_SCATTER
  low, high = width[0] - np.hypot(width[0] - low, scatter), width[0] + np.hypot(high - width[0], scatter)
  found = {'width_mm': width[0], 'width_mm_low': low, 'width_mm_high': high}
  return {name: float(np.exp(value)) for name, value in found.items()}


def shared_distance(responses: Sequence[Responses], distances_mm: np.ndarray) -> float:
  """Returns the pole distance that most members reward most [Mm]; NaN where there is none.

  A member rewards one where what pairing adds is largest within the range, not at an end of it, and positive by so many
  standard errors that among as many distances the largest is so by chance once in 40. Most members must agree to
  `SHARED`.
  """
  members = [each for each in responses if each.group == MEMBERS]
  errors = norm.ppf(1 - 0.025 / len(distances_mm))
  found = []
  for each in members:
    rise = each.pairing[:, :, 0].mean(axis=0)
    top = int(np.argmax(rise))
    if top not in (0, len(rise) - 1) and rise[top] > errors * each.error[top]:
      found.append(highest(distances_mm, rise))
  if not found:
    return np.nan
  middle = float(np.median(found))
  agreeing = sum(1 / SHARED < distance / middle < SHARED for distance in found)
  return middle if agreeing > len(members) / 2 else np.nan


def describe(
  subjects: Sequence[Subject], survey: Survey, responses: Sequence[Responses], settings: ScaleSettings, seed: int
) -> Table:
  """Returns the table of all curves, and in its meta what is found.

  A row for each group of networks and point: `kind`, `networks`, `at_mm`, `response`. `kind` is `width`, `pairing` or
  `wavelength`, in spreads of the logit, or `auc` within a band of wavelengths. `low` and `high` bound 95 % intervals
  over pairs and networks.

  The meta: `width_mm` with its interval, `distance_mm`, and `wavelength_mm`, where the mean response of the members to
  bands is largest; NaN at the edge of the bands.
  """
  grid = visible_grid(subjects[0].network, survey)
  distances, wavelengths = distance_axis(grid, settings), wavelength_axis(grid.size, grid.pixel_scale_mm)
  curves = {
    'width': (width_axis(grid, settings), lambda each: each.width),
    'pairing': (distances, lambda each: each.pairing.mean(axis=0)),
    'wavelength': (wavelengths, lambda each: each.band),
    'auc': (wavelengths, lambda each: each.band_auc),
  }
  parts = []
  for group in dict.fromkeys(each.group for each in responses):
    of_group = [each for each in responses if each.group == group]
    for kind, (lengths, take) in curves.items():
      values = np.stack([over_subjects(np.stack(of), seed) for of in zip(*map(take, of_group), strict=True)])
      low, high = confidence_interval(values[:, 1:], axis=1)
      parts.append(Table({'at_mm': lengths * u.Mm, 'response': values[:, 0], 'low': low, 'high': high}))
      parts[-1].add_columns([[kind] * len(lengths), [group] * len(lengths)], names=('kind', 'networks'), indexes=(0, 0))
  table = vstack(parts)
  bands = np.asarray(table['response'][(table['kind'] == 'wavelength') & (table['networks'] == MEMBERS)])
  inside = 0 < int(np.argmax(bands)) < len(bands) - 1
  table.meta = {
    **found_width(responses, curves['width'][0], seed),
    'distance_mm': shared_distance(responses, distances),
    'wavelength_mm': highest(wavelengths, bands) if inside else np.nan,
  }
  return table
