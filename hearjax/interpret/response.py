"""The output of trained members as a function of the physical parameters of synthetic magnetograms.

Every family of `maps.synthetic` is swept over its length scale and its strength, at fixed peak field and at fixed total
flux, on nothing, on noise, or in quiet Sun. A point of such a plane is an average over samples that differ in
direction, chance and background; the samples are the same at all points, so that differences between points are not
due to them.

What may be trusted, after the simulated world `pattern`, where the separation that matters is known: the maximum over
the separation of a narrow bipole in quiet Sun at fixed flux within the training range (`point_bipole`, `quiet`, `flux`,
`training`). It came out 5 to 15 % too small, because poles that lie closer still are no counter-evidence. Without quiet
Sun, beyond the training range or at fixed peak it may be anywhere, and so it may for families whose poles grow with the
scale, whose maximum moves with the flux.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from scipy.special import expit

from hearjax.checks import UserError, check_choices, check_not_negative, check_range
from hearjax.interpret.old_maps import BACKGROUNDS, draw_backgrounds, draw_places, visible_grid
from hearjax.interpret.probes import CHUNK, PARAMETERS, Probes, build_shapes, field_logits, measure_probes
from hearjax.interpret.old_statistics import highest
from hearjax.maps import synthetic
from hearjax.maps.synthetic import FAMILIES
from hearjax.training.run import Run

FIXED = ('peak', 'flux')
SIGNLESS = ('tilt_deg', 'imbalance')  # Parameters whose sign is a convention.
# Noise of a mean of 547 frames of 10.2 G, and 0.4 G of residual, as in the simulated Sun; the field inside the
# supergranules, which is no noise, is left out.
NOISE_GAUSS = 0.6
GOLDEN_DEG = 137.508  # Steps of it go round evenly, whatever their number, and no two directions are opposite.
SPREAD = (50, 16, 84)  # Percentiles over the members.
# What the rule of `small_and_intense` asks for: scales at a flux, fluxes at a scale, and lines of each kind.
LEAST_SCALES, LEAST_FLUXES, LEAST_LINES = 3, 2, 2


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What to show to the members; every default is our choice.

  Attributes:
    families: Families of fields.
    backgrounds: What they are put in front of: nothing, noise, quiet Sun.
    scales_mm: Smallest and largest scale [Mm]; empty for all that the grid resolves and holds, family by family.
    peaks_gauss: Weakest and strongest peak [G]; empty for a quarter of the weakest to twice the strongest peak of the
      training magnetograms.
    fluxes_mx: Smallest and largest total unsigned flux [Mx]; empty for an eighth of the smallest to four times the
      largest flux of the training magnetograms.
    n_scales, n_strengths: Steps of equal ratio between them.
    width_mm: Width of poles and edges [Mm]; None for the default of each family (`synthetic.default_width_mm`).
    tilt_deg: Direction of all samples [deg]; None for directions all around.
    imbalance: Imbalance of the polarities.
    place_mm: The middle of a sample lies within this distance of that of the map [Mm]: a network of strides sees
      a field that moves by a pixel differently.
    samples: Fields averaged at each point.
    noise_gauss: Noise of the background `noise`, standard deviation [G].
    derivatives: Also differentiate the logit by the parameters of the fields, for three times the time.
  """

  families: tuple[str, ...] = dataclasses.field(default=tuple(FAMILIES), metadata={'choices': tuple(FAMILIES)})
  backgrounds: tuple[str, ...] = dataclasses.field(default=('quiet',), metadata={'choices': BACKGROUNDS})
  scales_mm: tuple[float, ...] = ()
  peaks_gauss: tuple[float, ...] = ()
  fluxes_mx: tuple[float, ...] = ()
  n_scales: int = 12
  n_strengths: int = 7
  width_mm: float | None = None
  tilt_deg: float | None = None
  imbalance: float = 0.0
  place_mm: float = 4.0
  samples: int = 16
  noise_gauss: float = NOISE_GAUSS
  derivatives: bool = False

  def __post_init__(self):
    check_choices(self)
    for name, values, known in (('family', self.families, FAMILIES), ('background', self.backgrounds, BACKGROUNDS)):
      if not values:
        raise UserError(f'A sweep needs at least one {name}; choose among {", ".join(known)}.')
    for name in ('scales_mm', 'peaks_gauss', 'fluxes_mx'):
      check_range(name, getattr(self, name))
    if min(self.n_scales, self.n_strengths) < 2 or self.samples < 1:
      raise UserError(
        'A sweep needs at least two scales, two strengths and one sample, got '
        f'{self.n_scales}, {self.n_strengths} and {self.samples}.'
      )
    for name in ('noise_gauss', 'place_mm'):
      check_not_negative(name, getattr(self, name))


@dataclasses.dataclass(frozen=True)
class Plane:
  """The response of all members to one family on one background, over scale and strength.

  Attributes:
    family, background: Which.
    fixed: What the strength is, and stays while the scale changes: `peak` [G] or total unsigned `flux` [Mx].
    scale_mm: `[scale]` length scales [Mm].
    strength: `[strength]` in the unit of `fixed`.
    logit: `[member, scale, strength]` mean logit of the samples.
    change: The same less the mean logit of the backgrounds alone.
    gradient: Name of `PARAMETERS` -> `[member, scale, strength]` derivative of the logit: the mean of the samples, or
      where the sign is a convention (`SIGNLESS`) their root mean square. NaN where the family has no such parameter;
      empty where no derivatives were asked for.
    peak_gauss, flux_mx: `[scale, strength]` mean peak [G] and total unsigned flux [Mx] of the synthetic field alone.
    inside: `[scale, strength]` whether field and background together have the flux and the peak of training
      magnetograms (1st to 99th percentile), on average over samples and members.
  """

  family: str
  background: str
  fixed: str
  scale_mm: np.ndarray
  strength: np.ndarray
  logit: np.ndarray
  change: np.ndarray
  gradient: dict[str, np.ndarray]
  peak_gauss: np.ndarray
  flux_mx: np.ndarray
  inside: np.ndarray


# --- The sweep ----------------------------------------------------------------------------------------------------


def respond(
  run: Run, sweep: Sweep, seed: int = 0, quiet: np.ndarray | None = None, chunk: int = CHUNK
) -> Iterator[Plane]:
  """Yields the planes of a sweep: every family on every background, at fixed peak and at fixed flux.

  Args:
    run: A finished run.
    sweep: What to show.
    seed: Of noise, chance and the choice of patches; a non-negative integer.
    quiet: `[n, y, x]` patches [G] for the background `quiet`; None for the control regions of each member's test fold.
    chunk: Fields on the device at a time.

  Raises:
    UserError: A member is not finite, a field cannot be made on the grid, or there is no quiet Sun.
  """
  plans = [_plan(run, family, sweep, seed) for family in sweep.families]  # All are checked before the first is shown.
  for scales, strengths, probes in plans:
    for background in sweep.backgrounds:
      backgrounds = [
        draw_backgrounds(run, member, background, sweep.samples, sweep.noise_gauss, seed, quiet)
        for member in run.members()
      ]
      yield from _planes(run, background, scales, strengths, probes, backgrounds, chunk, sweep.derivatives)


def _plan(run: Run, family: str, sweep: Sweep, seed: int) -> tuple[np.ndarray, np.ndarray, Probes]:
  """Returns `[scale]`, `[fixed, strength]`, and the checked probes, `[fixed * scale * strength * sample]`."""
  grid, domain = visible_grid(run), run.ensemble.domain
  largest = synthetic.largest_scale_mm(family, grid, sweep.width_mm, sweep.place_mm)
  held = (synthetic.SMALLEST_SCALE_PX * grid.pixel_scale_mm, largest)
  if not sweep.scales_mm and not held[0] < held[1]:
    raise UserError(
      f'A grid of {grid.size} px of {grid.pixel_scale_mm} Mm resolves no {family} that it can hold; '
      'use larger maps, narrower poles, a smaller place_mm or other families.'
    )
  scales = np.geomspace(*(sweep.scales_mm or held), sweep.n_scales)
  peaks = sweep.peaks_gauss or (domain['peak_gauss'][0] / 4, 2 * domain['peak_gauss'][1])
  fluxes = sweep.fluxes_mx or (domain['unsigned_flux_mx'][0] / 8, 4 * domain['unsigned_flux_mx'][1])
  strengths = np.stack([np.geomspace(*limits, sweep.n_strengths) for limits in (peaks, fluxes)])

  form = (len(FIXED), sweep.n_scales, sweep.n_strengths, sweep.samples)
  fixed, at_scale, at_strength, sample = (axis.ravel() for axis in np.indices(form))
  tilt = sample * GOLDEN_DEG % 360 if sweep.tilt_deg is None else sweep.tilt_deg
  x, y = draw_places(np.random.default_rng(seed), sweep.samples, sweep.place_mm)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.arange(sweep.samples))
  shape = build_shapes(
    family, grid, scales[at_scale], sweep.width_mm, tilt, sweep.imbalance, x[sample], y[sample], keys[sample]
  )
  strength = strengths[fixed, at_strength].astype(np.float32)
  return scales, strengths, Probes(family, grid, shape, strength, fixed == FIXED.index('flux'), sample)


def _planes(run, background, scales, strengths, probes, backgrounds, chunk, derivatives) -> Iterator[Plane]:
  model, members = run.ensemble.model, [member.params for member in run.members()]
  form = (len(FIXED), len(scales), strengths.shape[1], len(backgrounds[0]))
  logit, described, gradient = measure_probes(model, members, probes, backgrounds, chunk, derivatives)
  bare = np.array([field_logits(model, *each).mean() for each in zip(members, backgrounds, strict=True)])
  logits = logit.reshape(-1, *form).mean(axis=-1)
  changes = logits - bare[:, None, None, None]
  gradients = {}
  if derivatives:
    by_parameter = np.moveaxis(gradient, 1, 0).reshape(len(PARAMETERS), -1, *form)
    gradients = {name: _average(name, of) for name, of in zip(PARAMETERS, by_parameter, strict=True)}
  peak, flux, *seen = described.mean(axis=0).reshape(-1, *form).mean(axis=-1)
  ranges = (run.ensemble.domain[key] for key in ('peak_gauss', 'unsigned_flux_mx'))
  inside = np.all([(low <= of) & (of <= high) for of, (low, high) in zip(seen, ranges, strict=True)], axis=0)
  for number, fixed in enumerate(FIXED):
    yield Plane(
      family=probes.family,
      background=background,
      fixed=fixed,
      scale_mm=scales,
      strength=strengths[number],
      logit=logits[:, number],
      change=changes[:, number],
      gradient={name: values[:, number] for name, values in gradients.items()},
      peak_gauss=peak[number],
      flux_mx=flux[number],
      inside=inside[number],
    )


def _average(name: str, gradient: np.ndarray) -> np.ndarray:
  """Returns the average of a derivative over the last axis, the samples."""
  return np.sqrt(np.mean(gradient**2, axis=-1)) if name in SIGNLESS else gradient.mean(axis=-1)


# --- What it says -------------------------------------------------------------------------------------------------


def response_table(planes: Sequence[Plane]) -> Table:
  """Returns one row for each point of each plane.

  `logit` is the mean over the members, `logit_std` their standard deviation, `probability` the sigmoid of the mean;
  `change` is against the background alone. Columns `d_…`, where asked for, are derivatives of the logit, means over
  the members, by the natural logarithm of scale, strength and width, by the tilt [1 / deg] and by the imbalance (the
  last two root mean squares over the samples). That by the scale is for the width kept: where poles grow with it, add
  that by the width.
  """
  parts = []
  for plane in planes:
    points = {
      'family': plane.family,
      'background': plane.background,
      'fixed': plane.fixed,
      'scale_mm': plane.scale_mm[:, None],
      'peak_gauss': plane.peak_gauss,
      'flux_mx': plane.flux_mx,
      'logit': plane.logit.mean(axis=0),
      'logit_std': plane.logit.std(axis=0),
      'probability': expit(plane.logit.mean(axis=0)),
      'change': plane.change.mean(axis=0),
      **{f'd_{name}': values.mean(axis=0) for name, values in plane.gradient.items()},
      'inside': plane.inside,
    }
    parts.append(Table({name: np.broadcast_to(of, plane.inside.shape).ravel() for name, of in points.items()}))
  table = vstack(parts)
  units = {'scale_mm': u.Mm, 'peak_gauss': u.G, 'flux_mx': u.Mx, 'd_tilt_deg': 1 / u.deg}
  for name, unit in units.items():
    if name in table.colnames:
      table[name].unit = unit
  return table


def maximum_table(planes: Sequence[Plane]) -> Table:
  """Returns where the change of the logit is largest: median over the members, and the range of 16 to 84 % of them.

  There are two rows for each plane: `within` the whole `plane`, and within the `training` range where there is any. The
  scale is interpolated by a parabola in its logarithm. `at_edge` says for how many of the `members` the maximum lies at
  the smallest or the largest `scale` of what was searched, or at its weakest or strongest `strength`: there it is
  a bound, and no maximum. `inside` says for how many of them it lies within the training range.
  """
  rows = []
  for plane in planes:
    for within, searched in (('plane', np.ones_like(plane.inside)), ('training', plane.inside)):
      if searched.any():
        rows.append({'family': plane.family, 'background': plane.background, 'fixed': plane.fixed, 'within': within})
        rows[-1] |= _maximum(plane, searched)
  table = Table(rows)
  for name in table.colnames:
    unit = next((unit for key, unit in (('_mm', u.Mm), ('_gauss', u.G), ('_mx', u.Mx)) if key in name), None)
    if unit:
      table[name].unit = unit
  return table


def _maximum(plane: Plane, searched: np.ndarray) -> dict[str, float | int]:
  found: dict[str, list[float]] = {'scale_mm': [], 'peak_gauss': [], 'flux_mx': [], 'change': []}
  at_edge, inside = {'scale': 0, 'strength': 0}, 0
  for change in np.where(searched, plane.change, -np.inf):
    scale, strength = np.unravel_index(change.argmax(), change.shape)
    for name, place, along in (('scale', scale, searched[:, strength]), ('strength', strength, searched[scale])):
      at_edge[name] += int(place in (np.flatnonzero(along)[0], np.flatnonzero(along)[-1]))
    inside += int(plane.inside[scale, strength])
    found['scale_mm'].append(highest(plane.scale_mm, change[:, strength]))
    found['peak_gauss'].append(plane.peak_gauss[scale, strength])
    found['flux_mx'].append(plane.flux_mx[scale, strength])
    found['change'].append(change[scale, strength])
  result: dict[str, float | int] = {}
  for name, values in found.items():
    result |= dict(zip((name, f'{name}_low', f'{name}_high'), map(float, np.percentile(values, SPREAD)), strict=True))
  result |= {f'{name}_at_edge': number for name, number in at_edge.items()}
  return result | {'inside': inside, 'members': len(plane.change)}


def small_and_intense(planes: Sequence[Plane]) -> Table:
  """Says, family by family and background by background, whether small-scale, intense fields give the largest output.

  That is the finding of Dhuri et al. (2020); the rule is ours, and asks at fixed flux, where small means intense, and
  within the training range alone. A member shows the finding where the change of the logit is largest (1) at most
  fluxes in the smaller half of the scales (by their logarithm), and (2) at most scales in the larger half of the
  fluxes. It is `found` where more than half of the members show it.

  `inside` says how many of the `points` of the plane are within the training range. A flux or a scale counts where
  there are at least `LEAST_SCALES` or `LEAST_FLUXES` of them; with fewer than `LEAST_LINES` of either that count, too
  little is seen of the plane to tell, and the finding is not `determined`.
  """
  rows = []
  for plane in planes:
    if plane.fixed != 'flux':
      continue
    inside = plane.inside
    counting = (np.sum(inside.sum(axis=0) >= LEAST_SCALES), np.sum(inside.sum(axis=1) >= LEAST_FLUXES))
    determined = bool(min(counting) >= LEAST_LINES)
    shown = np.zeros((2, len(plane.change)), bool)
    if determined:
      for member, change in enumerate(plane.change):
        shown[0, member] = np.mean(_places_of_largest(change.T, inside.T, LEAST_SCALES) < 0.5) > 0.5
        shown[1, member] = np.mean(_places_of_largest(change, inside, LEAST_FLUXES) > 0.5) > 0.5
    rows.append(
      {
        'family': plane.family,
        'background': plane.background,
        'points': inside.size,
        'inside': int(inside.sum()),
        'small': int(shown[0].sum()),
        'intense': int(shown[1].sum()),
        'both': int(shown.all(axis=0).sum()),
        'members': len(plane.change),
        'determined': determined,
        'found': bool(shown.all(axis=0).mean() > 0.5),
      }
    )
  return Table(rows)


def _places_of_largest(change: np.ndarray, inside: np.ndarray, least: int) -> np.ndarray:
  """Returns where the largest change lies among the points inside, from 0 to 1, for lines with at least so many."""
  counting = [values[there] for values, there in zip(change, inside, strict=True) if there.sum() >= least]
  return np.array([np.argmax(values) / (len(values) - 1) for values in counting])
