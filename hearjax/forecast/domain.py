"""The training domain: what a network has seen, and whether a patch lies within it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.chunks import map_chunks
from hearjax.maps import features
from hearjax.survey.survey import Survey

RANGE_PERCENTILES = (1, 99)
DOMAIN_ENTRIES = (
  'unsigned_flux_mx',
  'peak_gauss',
  'min_mu',
  'max_missing',
  'n_frames',
  'source',
  'pixel_scale_mm',
  'size',
)
CHUNK = 256  # Maps measured at a time.


def training_domain(survey: Survey) -> dict[str, Any]:
  """Describes what a network trained on `survey` has seen, as plain numbers for config.json.

  Args:
    survey: The survey, its field cropped to what the network looks at.

  Returns:
    `unsigned_flux_mx` [Mx] and `peak_gauss` [G]: 1st and 99th percentile over the magnetograms; `min_mu`,
    `max_missing` (fraction of the pixels of `field`): the extremes; `n_frames`: median number of frames averaged into
    a magnetogram; `source`, `pixel_scale_mm` [Mm], `size` [px].
  """
  flux, peak, missing = measure(survey.field, survey.pixel_scale_mm)
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


def measure(field: np.ndarray, pixel_scale_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[n]` unsigned flux [Mx], peak |B| [G] and fraction of missing pixels of `[n, y, x]` field [G], float64."""
  measured = map_chunks(lambda maps: _measure_chunk(maps, pixel_scale_mm), field, CHUNK)
  flux, peak, missing = (values.astype(np.float64) for values in measured)
  return flux, peak, missing


@jax.jit
def _measure_chunk(field: jax.Array, pixel_scale_mm: float) -> tuple[jax.Array, jax.Array, jax.Array]:
  def measure(one: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return features.unsigned_flux(one, pixel_scale_mm), features.peak_field(one), jnp.mean(~jnp.isfinite(one))

  return jax.lax.map(measure, field)
