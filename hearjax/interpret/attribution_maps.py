"""Attribution maps of a finished run: every magnetogram by the members that it is a test for, and their files."""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from astropy.io import fits
from astropy.table import Table

from hearjax.files import write_whole
from hearjax.interpret.attribution import (
  UNITS,
  AttributionSettings,
  attribute,
  check_methods,
  completeness_residual,
  contribution,
  logits,
)
from hearjax.interpret.maps import visible_patches
from hearjax.solar import postel_header
from hearjax.survey.survey import Survey
from hearjax.training.run import Run

RADII_MM = (10.0, 20.0)  # Of the circles about the emergence site in which attribution is counted.


@dataclasses.dataclass(frozen=True)
class AttributionMaps:
  """Magnetograms and their attribution by members that never saw them, averaged over the seeds of their fold.

  Attributes:
    survey: The magnetograms, cut to what the network looks at.
    fold: `[n]` fold whose members the magnetogram is a test for.
    logit: `[n]` logit.
    baseline_logit: `[n]` logit of the same members for a field of 0 G everywhere.
    residual: `[n]` relative residual of the completeness of integrated gradients, the largest of the seeds; NaN
      without this method.
    maps: Name of a method -> `[n, y, x]` attribution, in the unit that `attribution.UNITS` gives.
  """

  survey: Survey
  fold: np.ndarray
  logit: np.ndarray
  baseline_logit: np.ndarray
  residual: np.ndarray
  maps: dict[str, np.ndarray]

  def contribution(self, method: str) -> np.ndarray:
    """Returns `[n, y, x]` what every pixel adds to the logit."""
    return contribution(method, self.maps[method], self.survey.field)


def attribute_run(
  run: Run,
  methods: Sequence[str],
  settings: AttributionSettings,
  key: jax.Array,
  rows: np.ndarray | None = None,
) -> AttributionMaps:
  """Attributes the logits of a run out of fold.

  Args:
    run: A finished run.
    methods: Names of methods.
    settings: Their settings.
    key: Key of the noise of SmoothGrad.
    rows: Rows of the survey; None for all.

  Raises:
    UserError: There is no such method.
  """
  check_methods(list(methods))
  model = run.ensemble.model
  rows = np.arange(len(run.survey)) if rows is None else np.asarray(rows)
  survey = run.survey.select(rows).replace(field=visible_patches(run, rows))
  n, seeds = len(rows), len(run.ensemble.names) // len(run.folds)
  fold, logit, baseline = np.full(n, -1), np.zeros(n), np.zeros(n)
  residual = np.zeros(n) if 'integrated_gradients' in methods else np.full(n, np.nan)
  maps = {method: np.zeros_like(survey.field) for method in methods}
  for number, members in itertools.groupby(run.members(), key=lambda member: member.fold):
    of_fold = np.flatnonzero(np.isin(rows, run.folds[number].test))
    if not len(of_fold):
      continue
    fold[of_fold] = number
    field = survey.field[of_fold]
    for member in members:
      of_member = logits(model.apply, member.params, field)
      of_zero = logits(model.apply, member.params, np.zeros_like(field[:1]))
      logit[of_fold] += of_member / seeds
      baseline[of_fold] += of_zero / seeds
      for method in methods:
        attribution = attribute(method, model, member.params, field, settings, key)
        maps[method][of_fold] += attribution / seeds
        if method == 'integrated_gradients':
          missed = completeness_residual(attribution, of_member - of_zero)
          residual[of_fold] = np.maximum(residual[of_fold], missed)
  return AttributionMaps(survey, fold, logit, baseline, residual, maps)


# --- Files ------------------------------------------------------------------------------------------------------


def attribution_table(attributed: AttributionMaps) -> Table:
  """Returns one row per magnetogram and method: the logit, where the attribution peaks, how much of it is central.

  Peak and fractions are those of what the pixels add, whatever its sign.
  """
  survey = attributed.survey
  size, scale = survey.field.shape[-1], survey.pixel_scale_mm
  axis = (np.arange(size) - (size - 1) / 2) * scale
  distance = np.hypot(axis[:, None], axis)
  parts = {name: [] for name in ('method', 'peak_x', 'peak_y', *(f'within_{radius:.0f}mm' for radius in RADII_MM))}
  for method in attributed.maps:
    strength = np.abs(attributed.contribution(method))
    row, column = np.unravel_index(strength.reshape(len(survey), -1).argmax(axis=1), (size, size))
    total = strength.sum(axis=(1, 2))
    parts['method'].append(np.full(len(survey), method))
    parts['peak_x'].append(axis[column])
    parts['peak_y'].append(axis[row])
    for radius in RADII_MM:
      inside = strength[:, distance <= radius].sum(axis=1)
      parts[f'within_{radius:.0f}mm'].append(inside / np.where(total > 0, total, 1))
  times = len(attributed.maps)
  unknown = np.full(len(survey), np.nan)
  residuals = [attributed.residual if name == 'integrated_gradients' else unknown for name in attributed.maps]
  columns = {
    'region_id': np.tile(survey.region_names(), times),
    'pair_id': np.tile(survey.pair_names(), times),
    'label': np.tile(survey.label, times),
    'interval': np.tile(survey.interval, times),
    'hours': np.tile(survey.hours, times),
    'fold': np.tile(attributed.fold, times),
    'logit': np.tile(attributed.logit, times),
    'baseline_logit': np.tile(attributed.baseline_logit, times),
    **{name: np.concatenate(values) for name, values in parts.items()},
    'completeness_residual': np.concatenate(residuals),
  }
  return Table(columns, units={'hours': 'h', 'peak_x': 'Mm', 'peak_y': 'Mm'})


def write_maps(directory: pathlib.Path, attributed: AttributionMaps, meta: dict[str, Any]) -> None:
  """Writes one FITS file per region: its magnetograms and their attribution, a plane per interval, with their WCS.

  The primary WCS is the Postel projection of the survey, the alternate one (A) the distance from the centre [Mm].

  Args:
    directory: Where the files go.
    attributed: What `attribute_run` returned.
    meta: Keys `survey_source`, `survey_checksum` and `settings`, for the primary header.

  Raises:
    OSError: A file cannot be written.
  """
  survey = attributed.survey
  for region in np.unique(survey.region):
    rows = np.flatnonzero(survey.region == region)
    rows = rows[np.argsort(survey.interval[rows])]
    path = directory / f'{survey.region_ids[region]}.fits'
    hdus = fits.HDUList([primary_hdu(meta), *_region_hdus(attributed, rows)])
    write_whole(path, lambda temporary, hdus=hdus: hdus.writeto(temporary, checksum=True))


def _region_hdus(attributed: AttributionMaps, rows: np.ndarray) -> list[Any]:
  survey = attributed.survey.select(rows)
  header = postel_header(survey.longitude[0], survey.latitude[0], survey.field.shape[1:], survey.pixel_scale_mm)
  add_distance_axes(header, survey.field.shape[1:], survey.pixel_scale_mm, key='A')
  planes = {'MAGNETOGRAM': (survey.field, 'Gauss', 'line-of-sight field')}
  for method, unit in UNITS.items():
    if method in attributed.maps:
      meaning = 'logit per gauss of the pixel' if unit else 'logit per pixel'
      planes[method.upper()] = (attributed.maps[method][rows], '1/G' if unit else '', meaning)
  hdus = []
  for name, (values, unit, meaning) in planes.items():
    image = fits.ImageHDU(np.asarray(values, np.float32), header, name=name)
    image.header['BUNIT'] = (unit, meaning)
    hdus.append(image)
  table = Table({'interval': survey.interval, 'hours': survey.hours, 'logit': attributed.logit[rows]})
  table['hours'].unit = 'h'
  hdus.append(fits.table_to_hdu(table))
  hdus[-1].name = 'INTERVALS'
  return hdus


def primary_hdu(meta: dict[str, Any]) -> fits.PrimaryHDU:
  """Returns a primary extension that says where a file comes from.

  Args:
    meta: Keys `survey_source`, `survey_checksum` and `settings`.
  """
  primary = fits.PrimaryHDU()
  primary.header['SOURCE'] = (meta['survey_source'], 'of the survey')
  primary.header['SURVEYID'] = (meta['survey_checksum'][:16], 'start of the checksum of the survey')
  for name, value in meta['settings'].items():
    primary.header.add_comment(f'{name} = {value}')
  return primary


def add_distance_axes(header: fits.Header, shape: tuple[int, int], pixel_scale_mm: float, key: str = '') -> None:
  """Adds a linear WCS to a header: distance from the centre of the map [Mm], positive west and north.

  Args:
    header: What is added to.
    shape: Size of the map along y and x [px].
    pixel_scale_mm: Side of a pixel [Mm].
    key: Letter of an alternate WCS; empty for the primary one.
  """
  for number, (name, size) in enumerate((('WEST', shape[1]), ('NORTH', shape[0])), start=1):
    header[f'CTYPE{number}{key}'] = name
    header[f'CUNIT{number}{key}'] = 'Mm'
    header[f'CRPIX{number}{key}'] = (size + 1) / 2
    header[f'CRVAL{number}{key}'] = 0.0
    header[f'CDELT{number}{key}'] = pixel_scale_mm
