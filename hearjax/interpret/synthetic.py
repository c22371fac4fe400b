"""Synthetic fields in quiet Sun, shown to networks: bipoles over the width and the distance of their poles, and others.

Width and distance of poles are two axes; spots have a width, and the other families of `maps.synthetic` a scale, at
which they are similar to each other. Flux is fixed in two ways. At fixed `total` unsigned flux whatever parts from the
middle leaves the central window of the networks, so that a meter of |B| in that window prefers what is small. At fixed
`window` flux, every pixel weighted with that window, it is blind to sizes, and there the claims are made
(`preferences`). What is fixed is the flux that a field adds to the quiet Sun behind it; what both cancel is no part of
it.

A point is an average over samples that differ in direction, place, chance and background. They are the same at all
points and for all networks of a fold, so that differences between points are not due to them.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import numpy as np
from astropy.table import Table, vstack

from hearjax.checks import UserError, check_choices, check_not_negative, check_positive, check_range
from hearjax.interpret.maps import Subject, draw_places, subject_logits, visible_grid
from hearjax.interpret.network import CHUNK
from hearjax.interpret.planting import (
  DERIVATIVES,
  NO_PAIR,
  UNIT_MX,
  adding_strength,
  at_unit_flux,
  differentiate,
  draw_backgrounds,
  pixel_window,
  planted_logits,
  strengths_of_maps,
)
from hearjax.interpret.statistics import spread
from hearjax.maps import synthetic
from hearjax.maps.synthetic import FAMILIES, SIGMA_OF_FWHM, SMALLEST_SCALE_PX, Grid, Shape
from hearjax.progress import Progress, silent
from hearjax.survey.survey import Survey

FIXED = TOTAL, WINDOW = ('total', 'window')
BACKGROUNDS = QUIET, NONE = ('quiet', 'none')
BIPOLE, SPOT = 'bipole', 'spot'
NOTHING = 'background'  # Family of the points without a field.
WIDEST_MM = 8.0  # Full width at half maximum of the widest poles, where the grid holds them; our choice.
WINDOWS = 4.0  # Largest distance or scale, in radii of the window: two poles so far apart leave it.
EXAMPLES = 3  # Sizes of each kind in the gallery.
FLUX_RATIO = 4.0  # Of the largest flux to the smallest; our choice.
GOLDEN_DEG = 137.508  # Steps of it go round evenly, whatever their number, and no two directions are opposite.


@dataclasses.dataclass(frozen=True)
class SyntheticSettings:
  """What is shown to the networks; every default is our choice.

  Attributes:
    families: Families of fields.
    background: What they are put in front of: control maps of the test part of each network (`quiet`), or nothing.
    widths_mm: Narrowest and widest poles of bipoles and spots, full width at half maximum [Mm]; empty for 2 px to 8 Mm,
      or what the map holds.
    distances_mm: Smallest and largest distance of the poles of bipoles [Mm]; empty for 2 px to four radii of the
      central window, or what the map holds.
    scales_mm: Smallest and largest scale of the other families [Mm]; empty as for the distances.
    sizes: Steps of equal ratio between each of them.
    fluxes_mx: Smallest and largest total unsigned flux [Mx]; empty for a quarter of and for the largest one at which no
      field of its family has more flux, or a higher peak, than 99 % of the maps that the networks are for.
    window_fluxes_mx: The same for the flux in the central window [Mx].
    fluxes: Steps of equal ratio between them.
    window_mm: Radius (standard deviation) of that window [Mm]; that of the networks, where they have one.
    place_mm: The middle of a sample lies within this distance of that of the map [Mm]: a network of strides sees
      a field that moves by a pixel differently.
    samples: Fields averaged at each point, each in front of a background of its own.
    derivatives: Also differentiate the logit by the logarithms of size, width and flux, for three times the time.
  """

  families: tuple[str, ...] = dataclasses.field(default=tuple(FAMILIES), metadata={'choices': tuple(FAMILIES)})
  background: str = dataclasses.field(default=QUIET, metadata={'choices': BACKGROUNDS})
  widths_mm: tuple[float, ...] = ()
  distances_mm: tuple[float, ...] = ()
  scales_mm: tuple[float, ...] = ()
  sizes: int = 6
  fluxes_mx: tuple[float, ...] = ()
  window_fluxes_mx: tuple[float, ...] = ()
  fluxes: int = 3
  window_mm: float = 5.0
  place_mm: float = 4.0
  samples: int = 8
  derivatives: bool = False

  def __post_init__(self):
    check_choices(self)
    if not self.families:
      raise UserError(f'At least one family of synthetic fields is needed; choose among {", ".join(FAMILIES)}.')
    for name in ('widths_mm', 'distances_mm', 'scales_mm', 'fluxes_mx', 'window_fluxes_mx'):
      check_range(name, getattr(self, name))
    if min(self.sizes, self.fluxes) < 2 or self.samples < 1:
      raise UserError(
        'Synthetic fields need at least two sizes, two fluxes and one sample, got '
        f'{self.sizes}, {self.fluxes} and {self.samples}.'
      )
    check_positive('window_mm', self.window_mm)
    check_not_negative('place_mm', self.place_mm)


@dataclasses.dataclass(frozen=True)
class Fields:
  """Synthetic fields of one grid, before they have their flux.

  Attributes:
    grid: The square that the networks look at.
    points: Table of `[point]` `family`, `width_mm` (full width at half maximum), `distance_mm` and `scale_mm` [Mm];
      NaN where the family has no such axis.
    shapes: Family -> what its fields look like, `[point of the family * sample]`.
    field: `[fixed, point, sample, y, x]` fields of the flux `UNIT_MX` [G].
  """

  grid: Grid
  points: Table
  shapes: dict[str, Shape]
  field: np.ndarray


# --- Fields -------------------------------------------------------------------------------------------------------


def size_axes(grid: Grid, settings: SyntheticSettings) -> dict[str, np.ndarray]:
  """Returns the `[sizes]` widths, distances and scales [Mm] that are shown, the widest of which the grid holds.

  Raises:
    UserError: It holds none.
  """
  smallest = SMALLEST_SCALE_PX * grid.pixel_scale_mm
  room = grid.half_mm - settings.place_mm
  # Half of the room is left to the distance of the widest poles.
  widest = min(WIDEST_MM, room / 2 / synthetic.REACH_WIDTHS / SIGMA_OF_FWHM)
  widths = settings.widths_mm or (smallest, widest)
  farthest = WINDOWS * settings.window_mm
  distance = synthetic.largest_scale_mm(BIPOLE, grid, widths[1] * SIGMA_OF_FWHM, settings.place_mm)
  others = [synthetic.largest_scale_mm(family, grid, None, settings.place_mm) for family in FAMILIES]
  limits = {
    'width': widths,
    'distance': settings.distances_mm or (smallest, min(farthest, distance)),
    'scale': settings.scales_mm or (smallest, min(farthest, *others)),
  }
  for name, (low, high) in limits.items():
    if not low < high:
      raise UserError(
        f'A square of {grid.size} px of {grid.pixel_scale_mm} Mm holds no range of pole {name}s (from {low:.3g} to '
        f'{high:.3g} Mm); use larger maps, or a smaller place_mm or width.'
      )
  return {name: np.geomspace(*each, settings.sizes) for name, each in limits.items()}


def create_fields(grid: Grid, settings: SyntheticSettings, seed: int) -> Fields:
  """Makes all fields, in the same places and directions for all families and sizes.

  Raises:
    UserError: The grid cannot resolve or hold one.
  """
  axes, n = size_axes(grid, settings), settings.samples
  x, y = draw_places(np.random.default_rng(seed), n, settings.place_mm)
  tilt = np.arange(n) * GOLDEN_DEG % 360
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.arange(n))
  windows = flux_windows(grid, settings)
  tables, shapes, parts = [], {}, []
  for family in settings.families:
    if family == BIPOLE:
      width, scale = map(np.ravel, np.meshgrid(axes['width'], axes['distance'], indexing='ij'))
      named = {'width_mm': width, 'distance_mm': scale}
    else:
      scale = axes['width'] if family == SPOT else axes['scale']
      width = synthetic.default_width_mm(family, grid, scale) / SIGMA_OF_FWHM
      named = {'width_mm' if family == SPOT else 'scale_mm': scale}
    columns = dict.fromkeys(('width_mm', 'distance_mm', 'scale_mm'), np.full(len(scale), np.nan)) | named
    tables.append(Table({'family': [family] * len(scale), **columns}))
    point, sample = map(np.ravel, np.indices((len(scale), n)))
    numbers = (scale[point], width[point] * SIGMA_OF_FWHM, tilt[sample], 0 * x[sample], x[sample], y[sample])
    shapes[family] = Shape(*(values.astype(np.float32) for values in numbers), key=keys[sample])
    parts.append(at_unit_flux(family, grid, shapes[family], windows).reshape(2, -1, n, grid.size, grid.size))
  return Fields(grid, vstack(tables), shapes, np.concatenate(parts, axis=1))


def example_fields(grid: Grid, settings: SyntheticSettings, seed: int) -> Table:
  """Returns fields to look at: what they are, as `Fields.points`, and `field` `[y, x]` [G] of the flux `UNIT_MX`.

  There are `EXAMPLES` widths, distances and scales.
  """
  fields = create_fields(grid, dataclasses.replace(settings, sizes=EXAMPLES, samples=1), seed)
  table = fields.points.copy()
  table['field'] = fields.field[FIXED.index(TOTAL), :, 0]
  return table


def flux_windows(grid: Grid, settings: SyntheticSettings) -> np.ndarray:
  """Returns `[fixed, y, x]` what the flux of a pixel counts."""
  return np.stack([np.ones((grid.size, grid.size)), pixel_window(grid, settings.window_mm)])


# --- Fluxes -------------------------------------------------------------------------------------------------------


def choose_fluxes(
  subjects: Sequence[Subject], survey: Survey, fields: Fields, settings: SyntheticSettings
) -> tuple[np.ndarray, np.ndarray]:
  """Chooses the fluxes of the fields, family by family, so that networks have seen the like.

  Returns:
    `[fixed, flux, point]` fluxes [Mx], and whether a field of that flux is no stronger than 99 % of the maps: in
    its peak, and in its total flux with that of a median control map. Means over the samples.

  Raises:
    UserError: No flux can be chosen.
  """
  most_flux, most_peak, quiet_flux = strengths_of_maps(subjects, survey)
  size = np.abs(fields.field)
  total = size.sum(axis=(-2, -1)).mean(axis=-1) * fields.grid.pixel_cm2 / UNIT_MX
  highest = size.max(axis=(-2, -1)).mean(axis=-1) / UNIT_MX
  limit = np.minimum((most_flux - quiet_flux) / total, most_peak / highest)  # [fixed, point] Mx
  fluxes = np.empty((len(FIXED), settings.fluxes, len(fields.points)))
  for number, given in enumerate((settings.fluxes_mx, settings.window_fluxes_mx)):
    for family in settings.families:
      of_family = np.asarray(fields.points['family'] == family)
      most = limit[number, of_family].min()
      if not (given or most > 0):
        raise UserError(
          'No flux of synthetic fields can be chosen, since no map is stronger than its quiet Sun; give fluxes_mx and '
          'window_fluxes_mx.'
        )
      fluxes[number][:, of_family] = np.geomspace(*(given or (most / FLUX_RATIO, most)), settings.fluxes)[:, None]
  return fluxes, fluxes <= limit[:, None] * (1 + 1e-6)


# --- What networks say --------------------------------------------------------------------------------------------


def measure(
  subjects: Sequence[Subject],
  survey: Survey,
  settings: SyntheticSettings,
  seed: int = 0,
  quiet: np.ndarray | None = None,
  chunk: int = CHUNK,
  progress: Progress = silent,
) -> Table:
  """Shows all fields to all networks.

  Args:
    subjects: Networks that look at squares of one size.
    survey: Their maps.
    settings: What is shown.
    seed: Of places, chance and the choice of backgrounds.
    quiet: `[n, y, x]` patches of quiet Sun [G] of that size, instead of control maps of the survey.
    chunk: Fields on the device at a time.
    progress: Goes through the networks, and may show how far it is.

  Returns:
    A row for each network and point: `subject`, `group`, `spread` of its logits over its test maps; `family`,
    `width_mm`, `distance_mm`, `scale_mm`, `fixed`, `flux_mx` and `inside` (`choose_fluxes`); of each sample the `pair`
    of its background (`NO_PAIR` where it is of none) and the `logit`; derivatives of the logit where they were asked
    for. The first row of each network, of the family `NOTHING`, is that of the backgrounds alone.

  Raises:
    UserError: There is no quiet Sun, the square cannot hold a field, or a logit is not finite.
  """
  grids = {visible_grid(subject.network, survey) for subject in subjects}
  if len(grids) > 1:
    raise UserError(
      f'The networks look at squares of {" and ".join(sorted(str(grid.size) for grid in grids))} px; synthetic fields '
      'are made for one size: ask the networks one after the other.'
    )
  behind = [_backgrounds(subject, survey, settings, seed, quiet) for subject in subjects]
  fields = create_fields(*grids, settings, seed)
  fluxes, inside = choose_fluxes(subjects, survey, fields, settings)
  points = _all_points(fields.points, fluxes, inside)
  fixed, flux, point, sample = map(np.ravel, np.indices((*fluxes.shape, settings.samples)))
  alone = (fluxes[fixed, flux, point] / UNIT_MX).astype(np.float32)
  flat = fields.field.reshape(-1, *fields.field.shape[-2:])
  which = np.ravel_multi_index((fixed, point, sample), fields.field.shape[:3])
  windows = flux_windows(*grids, settings)
  strengths: dict[bytes, np.ndarray] = {}  # Of the backgrounds of a fold.
  parts = []
  for subject, (backgrounds, pair) in progress(list(zip(subjects, behind, strict=True))):
    key = backgrounds.tobytes()
    if key not in strengths:
      solved = (
        adding_strength(flat, which[of], alone[of], backgrounds, sample[of], window, chunk)
        for of, window in zip((fixed == number for number in range(len(FIXED))), windows, strict=True)
      )
      strengths[key] = np.concatenate(list(solved))
    strength = strengths[key]
    said = planted_logits(subject, flat, which, strength, backgrounds, sample, chunk).reshape(-1, settings.samples)
    bare = planted_logits(subject, flat, np.zeros_like(pair), 0 * strength, backgrounds, np.arange(len(pair)), chunk)
    about = {'subject': subject.name, 'group': subject.group, 'spread': spread(subject_logits(subject, survey))}
    part = Table({name: [value] * len(points) for name, value in about.items()} | dict(points.columns))
    part['pair'] = np.broadcast_to(pair, (len(points), len(pair)))
    part['logit'] = np.concatenate([bare[None], said])
    if settings.derivatives:
      found = _derivatives(subject, fields, fluxes, backgrounds, windows, chunk)
      for name, values in zip(DERIVATIVES, found, strict=True):
        part[name] = np.concatenate([np.full((1, settings.samples), np.nan), values])
    parts.append(part)
  return vstack(parts)


def _all_points(points: Table, fluxes: np.ndarray, inside: np.ndarray) -> Table:
  """Returns a row for the backgrounds alone, and then `[fixed * flux * point]` what each field is."""
  parts = [Table({'family': [NOTHING], 'fixed': ['-'], 'flux_mx': [0.0], 'inside': [True]})]
  for (fixed, name), flux in itertools.product(enumerate(FIXED), range(fluxes.shape[1])):
    part = points.copy()
    part['fixed'], part['flux_mx'], part['inside'] = name, fluxes[fixed, flux], inside[fixed, flux]
    parts.append(part)
  return vstack(parts).filled(np.nan)


def _backgrounds(
  subject: Subject, survey: Survey, settings: SyntheticSettings, seed: int, quiet: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns `[sample, y, x]` what is behind the fields [G], and the `[sample]` pair of each."""
  if settings.background == QUIET:
    return draw_backgrounds(subject, survey, settings.samples, seed, quiet)
  size = visible_grid(subject.network, survey).size
  return np.zeros((settings.samples, size, size), np.float32), np.full(settings.samples, NO_PAIR)


def _derivatives(
  subject: Subject, fields: Fields, fluxes: np.ndarray, backgrounds: np.ndarray, windows: np.ndarray, chunk: int
) -> np.ndarray:
  """Returns `[derivative, fixed * flux * point, sample]` derivatives of the logit (`differentiate`)."""
  samples, parts = len(backgrounds), []
  for fixed, flux in np.ndindex(fluxes.shape[:2]):
    for family, shape in fields.shapes.items():
      added = np.repeat(fluxes[fixed, flux][fields.points['family'] == family], samples)
      behind = backgrounds[np.arange(len(added)) % samples]
      found = differentiate(subject, family, fields.grid, shape, added, behind, windows[fixed], chunk)
      parts.append(found.reshape(len(DERIVATIVES), -1, samples))
  return np.concatenate(parts, axis=1)
