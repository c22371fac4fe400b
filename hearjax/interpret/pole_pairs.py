"""The length scale of what a network rewards: the distance at which opposite poles count for more than lone ones.

Bipoles of one pole distance after the other are planted in control maps, and then the same poles with their partners
exchanged between the maps. What the logit, or a filter's part of it, gains by pairs beyond what it gains by lone poles
does not come from the flux or the places; the distance where that gain is largest is the scale. Maps passed through a
narrow band and brought back to their flux show less: what a network makes of a band alone, magnified, is not what it
uses of that band within a map.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError, check_positive
from hearjax.interpret.old_maps import control_rows, draw_places
from hearjax.interpret.probes import field_logits
from hearjax.interpret.old_statistics import highest
from hearjax.maps import synthetic
from hearjax.maps.synthetic import Grid
from hearjax.training.run import Run

# From `[n, y, x]` field [G] to `[quantity, n]`: the logit, or the contributions of filters.
Measure = Callable[[np.ndarray], np.ndarray]

ERRORS = 3.0  # The largest of a dozen values reaches two standard errors by chance.


@dataclasses.dataclass(frozen=True)
class PairSettings:
  """What is planted; every entry is a choice of ours.

  Attributes:
    pairs: Bipoles in a map.
    pole_mx: Flux of a pole [Mx].
    width_mm: Standard deviation of the Gaussian pole [Mm].
    reach: Radius about the centre within which they lie, in sides of the square that the network sees.
    shortest_px: Shortest pole distance [px].
    longest: Longest one, in sides of that square.
    distances: Number of distances, evenly spaced in their logarithm.
    maps: Control maps to plant in, at most; partners are exchanged between them.
  """

  pairs: int = 3
  pole_mx: float = 1e20
  width_mm: float = 1.5
  reach: float = 0.45
  shortest_px: float = 2.0
  longest: float = 0.6
  distances: int = 13
  maps: int = 40

  def __post_init__(self):
    for name in ('pairs', 'pole_mx', 'width_mm', 'reach', 'shortest_px', 'longest', 'maps'):
      check_positive(f'{name} of the planted pairs', getattr(self, name))
    if self.distances < 3:
      raise UserError(f'A largest pole distance needs at least 3 of them to be found among, got {self.distances}.')


@dataclasses.dataclass(frozen=True)
class PairResponse:
  """What pairing the poles adds to some quantities.

  Attributes:
    distance_mm: `[distance]` pole distances [Mm].
    rise: `[distance, quantity]` mean over the maps with pairs less that with lone poles.
    error: `[distance, quantity]` standard error of it, over the maps.
  """

  distance_mm: np.ndarray
  rise: np.ndarray
  error: np.ndarray

  @property
  def largest(self) -> np.ndarray:
    """Returns `[quantity]` the largest rise."""
    return self.rise.max(axis=0)

  def preferred_mm(self) -> np.ndarray:
    """Returns `[quantity]` pole distance of the largest rise [Mm]; NaN where there is none (`peak`)."""
    return np.array([peak(self.distance_mm, *curves) for curves in zip(self.rise.T, self.error.T, strict=True)])

  def median_mm(self) -> float:
    """Returns the median preferred distance of the quantities, weighted with the rise [Mm]; NaN where there is none."""
    preferred, weight = self.preferred_mm(), self.largest
    found = np.flatnonzero(np.isfinite(preferred))
    if not found.size:
      return np.nan
    order = found[np.argsort(preferred[found])]
    share = np.cumsum(weight[order]) / weight[order].sum()
    return float(preferred[order[np.searchsorted(share, 0.5)]])


def respond_to_pairs(
  measure: Measure, controls: np.ndarray, pixel_scale_mm: float, visible_px: int, settings: PairSettings, seed: int
) -> PairResponse:
  """Plants bipoles in control maps and follows some quantities with their pole distance.

  Args:
    measure: The quantities of maps.
    controls: `[n, y, x]` field of control maps [G]; evenly chosen ones where there are more than `settings.maps`.
    pixel_scale_mm: Side of a pixel [Mm].
    visible_px: Side of the square that the network looks at [px].
    settings: What is planted.
    seed: Of the places and directions, which are the same for all distances.
  """
  chosen = np.unique(np.linspace(0, len(controls) - 1, min(settings.maps, len(controls))).astype(int))
  controls = controls[chosen]
  grid, side = Grid(controls.shape[-1], pixel_scale_mm), visible_px * pixel_scale_mm
  distances = np.geomspace(settings.shortest_px * pixel_scale_mm, settings.longest * side, settings.distances)
  rise, error = [], []
  for distance in distances:
    paired, lone = (
      measure(controls + plant(len(controls), grid, distance, settings, settings.reach * side, seed, together))
      for together in (True, False)
    )
    rise.append((paired - lone).mean(axis=1))
    error.append((paired - lone).std(axis=1) / np.sqrt(len(controls)))
  return PairResponse(distances, np.stack(rise), np.stack(error))


def pairing_table(run: Run, settings: PairSettings, seed: int) -> Table:
  """Measures what pairing the poles adds to the logit, by every network in the controls of its own test fold.

  Args:
    run: A finished run.
    settings: What is planted.
    seed: Of the places and directions.

  Returns:
    One row for each pole distance: `pole_distance_mm`, `rise` (mean over the members), `rise_std` (over the members).
    Meta: `peak_mm`, where the mean rise is largest [Mm]; `peaks_mm`, the same for each member; None where there is none
    (`peak`).

  Raises:
    UserError: A member has no control region to plant in.
  """
  model = run.ensemble.model
  visible = run.visible_px
  responses = [
    respond_to_pairs(
      lambda field, member=member: field_logits(model, member.params, field)[None],
      run.survey.field[control_rows(run, member)],
      model.pixel_scale_mm,
      visible,
      settings,
      seed,
    )
    for member in run.members()
  ]
  distance = responses[0].distance_mm
  rises, errors = (np.stack([getattr(each, name)[:, 0] for each in responses]) for name in ('rise', 'error'))
  error = np.sqrt(np.sum(errors**2, axis=0)) / len(errors)
  table = Table({'pole_distance_mm': distance * u.Mm, 'rise': rises.mean(axis=0), 'rise_std': rises.std(axis=0)})
  curves = [(rises.mean(axis=0), error), *zip(rises, errors, strict=True)]
  peaks = [peak(distance, *each) for each in curves]
  peaks = [value if np.isfinite(value) else None for value in peaks]
  table.meta = {'survey_source': run.survey.source, 'peak_mm': peaks[0], 'peaks_mm': peaks[1:]}
  return table


def plant(
  n: int,
  grid: Grid,
  distance_mm: float,
  settings: PairSettings,
  radius_mm: float,
  seed: int,
  together: bool = True,
) -> np.ndarray:
  """Plants bipoles of one pole distance in empty maps.

  Args:
    n: Number of maps.
    grid: That of the maps.
    distance_mm: Distance of the poles [Mm].
    settings: What is planted.
    radius_mm: The middles of the bipoles lie evenly over a disc of this radius about that of the map [Mm].
    seed: Of the places and directions.
    together: Whether both poles of a bipole lie in one map; if not, each negative one lies in the next map.

  Returns:
    `[n, y, x]` field [G].
  """
  rng = np.random.default_rng(seed)
  middle = draw_places(rng, (n, settings.pairs), radius_mm)
  turn = rng.uniform(0, 2 * np.pi, (n, settings.pairs))
  half = distance_mm / 2 * np.stack([np.cos(turn), np.sin(turn)])
  negative = middle - half if together else np.roll(middle - half, 1, axis=1)
  x, y = np.concatenate([middle + half, negative], axis=-1).astype(np.float32)
  gauss = np.repeat(np.float32([1, -1]), settings.pairs) * np.float32(settings.pole_mx / grid.pixel_cm2)
  return np.asarray(jax.vmap(lambda x, y: synthetic.poles(grid, x, y, gauss, settings.width_mm))(x, y))


def peak(positions: np.ndarray, values: np.ndarray, errors: np.ndarray) -> float:
  """Returns where values are largest, by a parabola in the logarithm of the position.

  Args:
    positions: `[n]`, evenly spaced in their logarithm.
    values: `[n]`.
    errors: `[n]` their standard errors.

  Returns:
    The position; NaN where the largest value is not positive by `ERRORS` standard errors, or lies at an end.
  """
  top = int(np.argmax(values))
  if values[top] <= ERRORS * errors[top] or top in (0, len(values) - 1):
    return np.nan
  return highest(positions, values)
