"""Scores of patches of real magnetograms, and whether each lies within what the network was trained on."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.special import expit

from hearjax import features
from hearjax.chunks import map_chunks
from hearjax.survey.survey import Survey

if TYPE_CHECKING:
  from hearjax.survey.hmi import Patch  # Needs the extra `sun`, which training does not.

RANGE_PERCENTILES = (1, 99)
CHUNK = 256  # Maps measured at a time.
UNITS = {
  'longitude': u.deg,
  'latitude': u.deg,
  'cmd': u.deg,
  'unsigned_flux': u.Mx,
  'peak_field': u.G,
}
COLUMNS = (
  'file',
  'longitude',
  'latitude',
  'cmd',
  'mu',
  'time',
  'probability',
  'probability_std',
  'unsigned_flux',
  'peak_field',
  'missing',
  'quality',
  'outside',
  'note',
)


def training_domain(survey: Survey) -> dict[str, Any]:
  """Describes what a network trained on `survey` has seen, as plain numbers for config.json.

  Args:
    survey: The survey, its field cropped to what the network looks at.

  Returns:
    `unsigned_flux_mx` [Mx] and `peak_gauss` [G]: 1st and 99th percentile over the magnetograms; `min_mu`,
    `max_missing` (fraction of the pixels of `field`): the extremes; `n_frames`: median number of frames averaged into
    a magnetogram; `source`, `pixel_scale_mm` [Mm], `size` [px].
  """
  flux, peak, missing = _measure(survey.field, survey.pixel_scale_mm)
  return {
    'unsigned_flux_mx': [float(value) for value in np.percentile(flux, RANGE_PERCENTILES)],
    'peak_gauss': [float(value) for value in np.percentile(peak, RANGE_PERCENTILES)],
    'min_mu': float(np.min(survey.mu)),
    # Not survey.missing, which is that of the whole map.
    'max_missing': float(np.max(missing)),
    'n_frames': int(np.median(survey.n_frames)),
    'source': survey.source,
    'pixel_scale_mm': float(survey.pixel_scale_mm),
    'size': int(survey.field.shape[-1]),
  }


def outside_domain(domain: Mapping[str, Any], row: Mapping[str, Any]) -> str:
  """Says in which respects a patch lies outside what the network was trained on; empty where in none.

  Args:
    domain: What `training_domain` returns.
    row: `unsigned_flux` [Mx], `peak_field` [G], `mu` and `missing` (fraction) of a patch.
  """
  said = []
  for name, key, column, unit, digits in (
    ('flux', 'unsigned_flux_mx', 'unsigned_flux', 'Mx', '.2g'),
    ('peak', 'peak_gauss', 'peak_field', 'G', '.0f'),
  ):
    low, high = domain[key]
    value = float(row[column])
    if not low <= value <= high:
      word, limit = ('above', high) if value > high else ('below', low)
      said.append(f'{name} {value:{digits}} {unit} {word} {limit:{digits}}')
  if row['mu'] < domain['min_mu']:
    said.append(f'mu {row["mu"]:.2f} below {domain["min_mu"]:.2f}')
  if row['missing'] > domain['max_missing']:
    said.append(f'missing {row["missing"]:.1%} above {domain["max_missing"]:.1%}')
  return '; '.join(said)


def score_patches(
  predict: Callable[[np.ndarray], np.ndarray], patches: Sequence['Patch'], domain: Mapping[str, Any]
) -> Table:
  """Scores patches.

  Args:
    predict: From `[n, y, x]` field [G], NaN where missing, to `[member, n]` logits.
    patches: Patches of one size.
    domain: What the network was trained on (`training_domain`).

  Returns:
    One row per patch. `probability` is the sigmoid of the mean logit of the members, `probability_std` the standard
    deviation of the members' own probabilities; `outside` says what lies outside the training domain, `note` what
    else to know (QUALITY bits, an assumed observer).

  Raises:
    ValueError: There is no patch, or a patch has a pixel scale or size that the network was not trained on.
  """
  if not patches:
    raise ValueError('There is no patch to score.')
  _check_grid(patches, domain)
  field = np.stack([patch.field for patch in patches])
  logits = np.asarray(predict(field))
  table = Table()
  for name in ('file', 'longitude', 'latitude', 'cmd', 'mu', 'time', 'missing', 'quality'):
    table[name] = [getattr(patch, name) for patch in patches]
  table['probability'] = expit(logits.mean(axis=0))
  table['probability_std'] = expit(logits).std(axis=0)
  table['unsigned_flux'], table['peak_field'], _ = _measure(field, domain['pixel_scale_mm'])
  table['outside'] = [outside_domain(domain, row) for row in table]
  table['note'] = [_note(patch) for patch in patches]
  for name, unit in UNITS.items():
    table[name].unit = unit
  return table[list(COLUMNS)]


def _check_grid(patches: Sequence['Patch'], domain: Mapping[str, Any]) -> None:
  expected = (domain['size'], domain['size'])
  for patch in patches:
    if patch.field.shape != expected or not np.isclose(patch.pixel_scale_mm, domain['pixel_scale_mm']):
      raise ValueError(
        f'A patch of {patch.field.shape} px of {patch.pixel_scale_mm} Mm was given; the network was trained on '
        f'{expected} px of {domain["pixel_scale_mm"]} Mm: map the patch to that grid.'
      )


def _note(patch: 'Patch') -> str:
  quality = f'QUALITY 0x{patch.quality & 0xFFFFFFFF:08x}' if patch.quality else ''
  return '; '.join(part for part in (quality, patch.notes) if part)


def _measure(field: np.ndarray, pixel_scale_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[n]` unsigned flux [Mx], peak |B| [G] and fraction of missing pixels of `[n, y, x]` field [G], float64."""
  measured = map_chunks(lambda maps: _measure_chunk(maps, pixel_scale_mm), field, min(CHUNK, len(field)))
  flux, peak, missing = (values.astype(np.float64) for values in measured)
  return flux, peak, missing


@jax.jit
def _measure_chunk(field: jax.Array, pixel_scale_mm: float) -> tuple[jax.Array, jax.Array, jax.Array]:
  def measure(one: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return features.unsigned_flux(one, pixel_scale_mm), features.peak_field(one), jnp.mean(~jnp.isfinite(one))

  return jax.lax.map(measure, field)
