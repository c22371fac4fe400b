"""Composites: maps stacked on the emergence site, emerging regions against their controls, by lead time.

Southern regions are brought to the northern convention first, so that leading polarities lie on top of each other.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_whole
from hearjax.interpret.attribution_maps import add_distance_axes, primary_hdu
from hearjax.maps import transforms
from hearjax.survey.survey import Survey

FAMILY_ERROR = 0.05  # Share of surveys without any difference in which something would be called significant.


@dataclasses.dataclass(frozen=True)
class Composite:
  """Mean maps of both classes, and how sure their difference is.

  Attributes:
    interval: `[interval]` number of the interval, ascending.
    hours: `[interval]` its mean time relative to emergence [h].
    n_pairs: `[interval]` pairs that have both halves at this interval.
    emerging, control: `[interval, y, x]` mean over the emerging and the control halves of these pairs.
    difference: `[interval, y, x]` mean over pairs of emerging less control.
    t: `[interval, y, x]` that mean divided by its standard error.
    t_limit: |t| above which a pixel is significant, all pixels of all intervals taken together.
  """

  interval: np.ndarray
  hours: np.ndarray
  n_pairs: np.ndarray
  emerging: np.ndarray
  control: np.ndarray
  difference: np.ndarray
  t: np.ndarray
  t_limit: float

  @property
  def significant(self) -> np.ndarray:
    """`[interval, y, x]` whether the classes differ at a pixel."""
    return np.abs(self.t) > self.t_limit


def hale_frame(maps: np.ndarray, latitude: np.ndarray, signed: bool) -> np.ndarray:
  """Brings maps of southern regions to the northern convention.

  Args:
    maps: `[n, y, x]` maps.
    latitude: `[n]` heliographic latitude [deg].
    signed: Whether the maps change sign with the polarity, as the field does; an attribution does not.

  Returns:
    `[n, y, x]` maps, those of southern regions mirrored in latitude and, where signed, with the sign inverted.
  """
  if signed:
    return np.asarray(transforms.to_northern_hemisphere(maps, latitude))
  return np.where((np.asarray(latitude) < 0)[:, None, None], transforms.mirror_latitude(maps), maps)


def composite(maps: np.ndarray, survey: Survey, resamples: int, seed: int) -> Composite:
  """Stacks maps by interval, and tests the differences of pairs at all pixels and intervals at once.

  Were a pair's halves exchangeable, its difference could as well have the other sign. The largest |t| of all pixels
  and intervals under random signs, one for each pair, says what must be exceeded (single-threshold permutation test,
  Nichols & Holmes 2002). The intervals of a pair share its sign, since they resemble each other.

  Args:
    maps: `[n, y, x]` maps in the Hale-oriented frame, one for each magnetogram of the survey.
    survey: What they belong to.
    resamples: Random signs.
    seed: Of the signs.

  Raises:
    UserError: Fewer than two pairs have both halves at any interval.
  """
  signs = np.random.default_rng(seed).choice((-1.0, 1.0), (resamples, len(survey.pair_ids)))
  signs[0] = 1  # What was observed is one of the possible outcomes.
  columns, largest = [], np.zeros(resamples)
  for interval in np.unique(survey.interval):
    emerging, control = _rows_of_pairs(survey, interval)
    if len(emerging) < 2:
      continue
    means = [maps[rows].mean(axis=0) for rows in (emerging, control)]
    difference = (maps[emerging] - maps[control]).astype(np.float64).reshape(len(emerging), -1)
    t = _t_of_signs(difference, signs[:, survey.pair[emerging]])
    largest = np.maximum(largest, np.abs(t).max(axis=1))
    hours = np.mean(survey.hours[emerging])
    shape = maps.shape[1:]
    mean, t = difference.mean(axis=0).reshape(shape), t[0].reshape(shape)
    columns.append((interval, hours, len(emerging), *means, mean, t))
  if not columns:
    raise UserError(
      f'Composites need at least two pairs with both an emerging and a control region at an interval; there are '
      f'{int(np.sum(survey.label))} emerging and {int(np.sum(1 - survey.label))} control magnetograms.'
    )
  limit = float(np.quantile(largest, 1 - FAMILY_ERROR, method='higher'))
  return Composite(*(np.stack(column) for column in zip(*columns, strict=True)), limit)


def _rows_of_pairs(survey: Survey, interval: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the rows of the emerging and the control halves of the pairs that have both at an interval."""
  halves = []
  for label in (1, 0):
    rows = np.flatnonzero((survey.interval == interval) & (survey.label == label))
    halves.append(dict(zip(survey.pair[rows].tolist(), rows.tolist(), strict=True)))
  pairs = sorted(set(halves[0]) & set(halves[1]))
  return tuple(np.array([half[pair] for pair in pairs], int) for half in halves)


def _t_of_signs(difference: np.ndarray, signs: np.ndarray) -> np.ndarray:
  """Returns `[resample, pixel]` Student's t of `[pair, pixel]` differences under `[resample, pair]` signs."""
  n = len(difference)
  total, squares = signs @ difference, np.sum(difference**2, axis=0)  # Signs do not change the squares.
  variance = (squares - total**2 / n) / (n - 1)
  # Where no pair differs there is nothing to test; rounding must not make a variance of it.
  there = variance > 1e-12 * squares
  return np.where(there, total / np.sqrt(n * np.where(there, variance, 1)), 0)


def write_composites(
  path: pathlib.Path,
  composites: dict[str, Composite],
  units: dict[str, str],
  pixel_scale_mm: float,
  meta: dict[str, Any],
) -> None:
  """Writes composites as FITS: for each quantity the extensions `_PE`, `_NE`, `_DIFF`, `_T`, a plane per interval.

  The axes are distances from the emergence site [Mm], west and north (of the equator: away from it). The extension
  `<quantity>_T` says in TLIMIT which |t| is significant; the table `<quantity>_N` gives hours and pairs by plane.

  Args:
    path: The file.
    composites: Name of a quantity -> its composite.
    units: Name of a quantity -> its unit, for BUNIT.
    pixel_scale_mm: Side of a pixel [Mm].
    meta: Keys `survey_source`, `survey_checksum` and `settings`, for the primary header.

  Raises:
    OSError: It cannot be written.
  """
  hdus = fits.HDUList([primary_hdu(meta)])
  for name, stacked in composites.items():
    planes = {'PE': stacked.emerging, 'NE': stacked.control, 'DIFF': stacked.difference, 'T': stacked.t}
    for part, values in planes.items():
      image = fits.ImageHDU(np.asarray(values, np.float32), name=f'{name}_{part}')
      add_distance_axes(image.header, values.shape[1:], pixel_scale_mm)
      image.header['CTYPE3'] = 'INTERVAL'
      image.header['BUNIT'] = '' if part == 'T' else units[name]
      if part == 'T':
        image.header['TLIMIT'] = (stacked.t_limit, f'significant beyond, family-wise error {FAMILY_ERROR}')
      hdus.append(image)
    columns = {'interval': stacked.interval, 'hours': stacked.hours, 'n_pairs': stacked.n_pairs}
    rows = Table(columns, units={'hours': 'h'})
    hdus.append(fits.table_to_hdu(rows))
    hdus[-1].name = f'{name}_N'
  write_whole(path, lambda temporary: hdus.writeto(temporary, checksum=True))
