"""Forecasts for patches of real magnetograms."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.special import expit

from hearjax.checks import UserError
from hearjax.forecast.domain import measure, outside_domain
from hearjax.verification.scores import BALANCED, at_prior

if TYPE_CHECKING:
  from hearjax.observe.postel import Patch  # Needs the extra `sun`.

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


def forecast_patches(
  predict: Callable[[np.ndarray], np.ndarray],
  patches: Sequence['Patch'],
  domain: Mapping[str, Any],
  prior: float = BALANCED,
) -> Table:
  """Forecasts emergence at the centres of patches.

  Args:
    predict: From `[n, y, x]` field [G], NaN where missing, to `[member, n]` logits.
    patches: Patches of one size.
    domain: What the network was trained on (`training_domain`).
    prior: Share of patches that emerge; the probabilities are for such a set. The one of the training is balanced.

  Returns:
    One row per patch, and the meta key `prior`. `probability` is the sigmoid of the mean logit of the members,
    `probability_std` the standard deviation of the members' own probabilities, both at the prior; `outside` says what
    lies outside the training domain, `note` what else to know (QUALITY bits, what was assumed of the header).

  Raises:
    UserError: There is no patch, the prior is no share, or a patch has a pixel scale or size that the network was not
      trained on.
  """
  if not patches:
    raise UserError('There is no patch to forecast for.')
  _check_grid(patches, domain)
  field = np.stack([patch.field for patch in patches])
  logits = np.asarray(predict(field))
  table = Table()
  for name in ('file', 'longitude', 'latitude', 'cmd', 'mu', 'time', 'missing', 'quality'):
    table[name] = [getattr(patch, name) for patch in patches]
  table.meta['prior'] = prior
  table['probability'] = at_prior(expit(logits.mean(axis=0)), prior)
  table['probability_std'] = at_prior(expit(logits), prior).std(axis=0)
  table['unsigned_flux'], table['peak_field'], _ = measure(field, domain['pixel_scale_mm'])
  table['outside'] = [outside_domain(domain, row) for row in table]
  table['note'] = [_note(patch) for patch in patches]
  for name, unit in UNITS.items():
    table[name].unit = unit
  return table[list(COLUMNS)]


def _check_grid(patches: Sequence['Patch'], domain: Mapping[str, Any]) -> None:
  expected = (domain['size'], domain['size'])
  for patch in patches:
    if patch.field.shape != expected or not np.isclose(patch.pixel_scale_mm, domain['pixel_scale_mm']):
      raise UserError(
        f'A patch of {patch.field.shape} px of {patch.pixel_scale_mm} Mm was given; the network was trained on '
        f'{expected} px of {domain["pixel_scale_mm"]} Mm: map the patch to that grid.'
      )


def _note(patch: 'Patch') -> str:
  quality = f'QUALITY 0x{patch.quality & 0xFFFFFFFF:08x}' if patch.quality else ''
  return '; '.join(part for part in (quality, patch.notes) if part)
