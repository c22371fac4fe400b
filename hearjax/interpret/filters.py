"""Which filters respond to the unsigned flux, with which sign, and what flows through them to the logit.

On the last layer of convolutions, whose contributions add up to the logit. A contribution is regressed on the
logarithms of the central flux and of the remaining one, with a fixed effect of each class at each interval: the
coefficients say what a filter answers to among maps of one class and lead time. That there are such filters is no
finding, since an untrained filter answers to flux, too, with the sign of its weight in the logit. What counts is how
much of the difference between PE and NE they carry: coefficient times difference of the mean logarithms.

In an untrained network as much flows through filters of either sign, and cancels in the logit. The flow is told as a
share of what all filters vary by, the sum of their standard deviations; as a share of that of the logit, it would be
the larger, the more the filters cancel.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.interpret.findings import Claim
from hearjax.interpret.maps import Subject, visible_patches
from hearjax.interpret.network import CHUNK, Network, contributions, logits
from hearjax.interpret.references import EXCHANGED, UNTRAINED
from hearjax.interpret.statistics import Draws, spread
from hearjax.maps.features import CENTRAL_RADIUS_MM, central_unsigned_flux, unsigned_flux
from hearjax.solar import CM2_PER_MM2
from hearjax.survey.survey import Survey

PERMUTED = 100  # Permutations at a time.
FLUXES = ('central', 'remaining')
FLOOR_GAUSS = 1.0  # Mean unsigned field, less than that of any magnetogram: no logarithm is infinite.
POSITIVE, NEGATIVE = CLAIMS = tuple(
  Claim(
    f'flux_{sign}',
    f'Filters that respond {sign}ly to the unsigned flux carry the difference between PE and NE',
    "of the filters' sd",
    0.1,
    (UNTRAINED, EXCHANGED),
  )
  for sign in ('positive', 'negative')
)


@dataclasses.dataclass(frozen=True)
class FilterSettings:
  """What counts as a responder; the numbers are our choice.

  Attributes:
    permutations: How often fluxes of whole regions are permuted, for the family-wise error.
    family_error: Probability that any filter of a network is found to respond where none does.
    smallest_response: Smallest response of a responder, as a share of the standard deviation of the logit; where 32
      filters share it evenly, each has 0.03.
  """

  permutations: int = 500
  family_error: float = 0.05
  smallest_response: float = 0.01

  def __post_init__(self):
    if not (0 < self.family_error < 1 and self.smallest_response >= 0):
      raise UserError(
        'The family-wise error lies between 0 and 1, and the smallest response is not negative; got '
        f'{self.family_error} and {self.smallest_response}.'
      )
    if (self.permutations + 1) * self.family_error < 1:
      raise UserError(f'{self.permutations} permutations cannot show an error of {self.family_error}; take more.')


# --- Flux ---------------------------------------------------------------------------------------------------------


def log_fluxes(network: Network, survey: Survey, rows: np.ndarray) -> np.ndarray:
  """Returns `[2, n]` log10 of the central unsigned flux of what a network sees of some maps, and of the remaining [Mx].

  The centre is that of the feature `central_unsigned_flux`. Less than a mean field of `FLOOR_GAUSS` counts as this.
  """
  patches = visible_patches(network, survey, rows)
  scale_mm, side = survey.pixel_scale_mm, patches.shape[-1]
  centre, whole = map_chunks(functools.partial(_fluxes, pixel_scale_mm=scale_mm), patches, CHUNK)
  offset = np.arange(side) - (side - 1) / 2
  inside = np.sum(np.hypot(offset[:, None], offset) * scale_mm <= CENTRAL_RADIUS_MM)
  pixels = np.maximum([inside, side**2 - inside], 1)
  floor = FLOOR_GAUSS * scale_mm**2 * CM2_PER_MM2 * pixels
  return np.log10(np.maximum(np.stack([centre, whole - centre]), floor[:, None]))


@jax.jit
def _fluxes(field: jax.Array, pixel_scale_mm: float) -> tuple[jax.Array, jax.Array]:
  field = jnp.asarray(field, jnp.float32)
  return tuple(jax.vmap(flux, (0, None))(field, pixel_scale_mm) for flux in (central_unsigned_flux, unsigned_flux))


# --- Regression ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Regression:
  """Contributions against fluxes, in draws of the maps.

  Attributes:
    per_dex: `[draw, filter, flux]` logit for each factor of ten of the one flux, the other held fixed.
    means: `[draw, cell, flux]` mean of the logarithm of each flux in each cell; NaN where nothing of it is drawn.
  """

  per_dex: np.ndarray
  means: np.ndarray


def regress(added: np.ndarray, flux: np.ndarray, cell: np.ndarray, weight: np.ndarray, cells: int) -> Regression:
  """Regresses contributions on fluxes by least squares, with a fixed effect of each cell.

  Args:
    added: `[filter, n]` contributions.
    flux: `[flux, n]` logarithms.
    cell: `[n]` number of the cell (class and interval) of each map.
    weight: `[draw, n]` how often each counts.
    cells: Number of cells.

  Returns:
    The regression; coefficients are 0 where nothing varies.
  """
  n_flux, of_cell = len(flux), np.eye(cells)[cell]
  centred = np.concatenate([within(flux, cell), within(added, cell)])  # Small numbers: their products stay exact.
  products = (centred[:n_flux, None] * centred).reshape(-1, len(cell))
  counts = (weight @ of_cell)[:, None]
  sums = np.einsum('dn,vn,nc->dvc', weight, centred, of_cell, optimize=True)
  means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
  moments = (weight @ products.T).reshape(len(weight), n_flux, -1)
  moments = moments - np.einsum('dfc,dvc->dfv', sums[:, :n_flux], np.nan_to_num(means))
  inverse = np.linalg.pinv(moments[:, :, :n_flux], rcond=1e-9, hermitian=True)
  per_dex = (inverse @ moments[:, :, n_flux:]).swapaxes(1, 2)
  overall = (flux @ of_cell) / np.maximum(of_cell.sum(axis=0), 1)
  return Regression(per_dex, (means[:, :n_flux] + overall).swapaxes(1, 2))


def within(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
  """Returns `[variable, n]` values less the mean of their cell."""
  counts = np.bincount(cell)
  means = np.stack([np.bincount(cell, each) for each in values.astype(float)]) / np.maximum(counts, 1)
  return values - means[:, cell]


def family_wise(added: np.ndarray, flux: np.ndarray, cell: np.ndarray, moved: np.ndarray) -> np.ndarray:
  """Returns `[filter, flux]` probability that any coefficient is as significant where no contribution knows of flux.

  By the largest t statistic of all filters and fluxes where fluxes are permuted (max-T: Westfall & Young 1993,
  Resampling-Based Multiple Testing).

  Args:
    added, flux, cell: As for `regress`.
    moved: `[permutation, n]` the map whose fluxes each has then; of its own cell.
  """
  flux, added = within(flux, cell), within(added, cell)
  inverse = np.linalg.pinv(flux @ flux.T, rcond=1e-9, hermitian=True)
  scale = np.sqrt(np.maximum(np.diag(inverse), 0))[:, None]
  total = np.sum(added**2, axis=1)

  def significance(flux: np.ndarray) -> np.ndarray:
    products = flux @ added.T
    per_dex = inverse @ products
    # The part that is left over, but for its degrees of freedom, which are always the same.
    left = np.sqrt(np.maximum(total - np.sum(per_dex * products, axis=-2), 1e-12 * total))
    error = scale * left[..., None, :]
    return np.abs(np.divide(per_dex, error, out=np.zeros_like(per_dex), where=error > 0))

  found = significance(flux)
  blocks = np.array_split(moved, -(-len(moved) // PERMUTED))
  largest = np.concatenate([significance(flux[:, block].swapaxes(0, 1)).max(axis=(1, 2)) for block in blocks])
  reached = np.sum(largest[:, None, None] >= found * (1 - 1e-9), axis=0)
  return ((1 + reached) / (1 + len(moved))).T


def permute_regions(
  region: np.ndarray, label: np.ndarray, interval: np.ndarray, permutations: int, seed: int
) -> np.ndarray:
  """Returns `[permutation, n]` the map whose place each of `[n]` maps takes when whole regions change places.

  Those of a class and of the same intervals do so; what a region shows at different times stays together.
  """
  alike: dict[tuple, list[np.ndarray]] = {}
  for number in np.unique(region):
    rows = np.flatnonzero(region == number)
    rows = rows[np.argsort(interval[rows], kind='stable')]
    alike.setdefault((int(label[rows[0]]), *interval[rows].tolist()), []).append(rows)
  rng = np.random.default_rng(seed)
  moved = np.tile(np.arange(len(region)), (permutations, 1))
  for rows in map(np.stack, alike.values()):
    order = np.argsort(rng.random((permutations, len(rows))), axis=1)
    moved[:, rows.ravel()] = rows[order].reshape(permutations, -1)
  return moved


# --- Findings -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Response:
  """What the last layer of a network answers to flux, on its test maps.

  Attributes:
    subject: The network.
    logit: `[n]`.
    added: `[filter, n]` contributions.
    flux: `[flux, n]` logarithms of the fluxes.
    per_dex: `[1 + resample, filter, flux]` logit for each factor of ten.
    probability: `[filter, flux]` family-wise.
    sign: `[filter]` of a responder, 1 or -1; 0 for no responder.
    intervals: `[interval]` their numbers.
    flow: `[1 + resample, filter, interval]` difference of the logit between PE and NE that comes through flux, as a
      share of the sum of the standard deviations of all contributions.
    before: `[interval]` whether it lies before emergence; all where none does.
  """

  subject: Subject
  logit: np.ndarray
  added: np.ndarray
  flux: np.ndarray
  per_dex: np.ndarray
  probability: np.ndarray
  sign: np.ndarray
  intervals: np.ndarray
  flow: np.ndarray
  before: np.ndarray

  def flow_by(self, sign: int) -> np.ndarray:
    """Returns `[1 + resample, interval]` what flows through all responders of a sign; NaN where there is no flow."""
    return np.sum(self.flow * (self.sign == sign)[:, None], axis=1)

  @property
  def samples(self) -> dict[str, np.ndarray]:
    """Returns `[1 + resample]` effect of each claim: the flow, on average over the intervals before emergence."""
    return {
      claim.name: self.flow_by(sign)[:, self.before].mean(axis=1) for claim, sign in ((POSITIVE, 1), (NEGATIVE, -1))
    }


def measure(subject: Subject, survey: Survey, draws: Draws, settings: FilterSettings) -> Response:
  """Asks what the last layer of a network answers to flux."""
  network, params, rows = subject.network, subject.params, subject.rows.test
  label, field = survey.label[rows], survey.field[rows]
  intervals, number = np.unique(survey.interval[rows], return_inverse=True)
  cell, cells = 2 * number + label, 2 * len(intervals)
  added = contributions(network, params, field).astype(float)
  said = logits(network, params, field)
  flux = log_fluxes(network, survey, rows)
  found = regress(added, flux, cell, draws.of_rows(survey.pair[rows]), cells)
  of_class = regress(added, flux, cell, np.stack([label == 1, label == 0]).astype(float), cells)
  moved = permute_regions(survey.region[rows], label, number, settings.permutations, draws.seed)
  probability = family_wise(added, flux, cell, moved)
  response = found.per_dex[0] * within(flux, cell).std(axis=1) / max(spread(said), 1e-30)
  sign = responders(response, of_class.per_dex, probability, settings)
  difference = found.means[:, 1::2] - found.means[:, ::2]
  flow = np.einsum('dfx,dix->dfi', found.per_dex, difference) / max(added.std(axis=1).sum(), 1e-30)
  hours = np.array([survey.hours[rows][number == each].mean() for each in range(len(intervals))])
  before = hours < 0 if np.any(hours < 0) else np.ones(len(hours), bool)
  return Response(subject, said, added, flux, found.per_dex, probability, sign, intervals, flow, before)


def responders(
  response: np.ndarray, of_class: np.ndarray, probability: np.ndarray, settings: FilterSettings
) -> np.ndarray:
  """Returns `[filter]` the sign of each responder, that of the larger of its two responses; 0 for no responder.

  Args:
    response: `[filter, flux]` per spread of the logarithm of the flux, as shares of the spread of the logit.
    of_class: `[class, filter, flux]` coefficients of each class alone.
    probability: `[filter, flux]` family-wise.
    settings: What counts as one.
  """
  counts = (
    (probability <= settings.family_error)
    & (np.abs(response) > settings.smallest_response)
    & np.all(np.sign(of_class) == np.sign(response), axis=0)
  )
  larger = np.argmax(np.abs(response), axis=1)[:, None]
  sign = np.take_along_axis(np.where(counts, np.sign(response), 0), larger, axis=1)
  return sign[:, 0].astype(int)
