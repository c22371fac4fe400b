"""Attribution maps: every magnetogram by the networks that it is a test for, and their files."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_whole
from hearjax.interpret.attribution import (
  PATHS,
  UNITS,
  AttributionSettings,
  attribute,
  baselines_of,
  check_methods,
  completeness_residual,
  contribution,
)
from hearjax.interpret.maps import Subject, finite_logits, subject_logits, visible_patches
from hearjax.interpret.network import logits
from hearjax.interpret.statistics import spread
from hearjax.progress import Progress, silent
from hearjax.solar import postel_header
from hearjax.survey.survey import Survey

RADII_MM = (10.0, 20.0)  # Of the circles about the emergence site in which attribution is counted.


@dataclasses.dataclass(frozen=True)
class AttributionMaps:
  """Magnetograms and their attribution by networks that never saw them, averaged over those of one test.

  Attributes:
    survey: The magnetograms, cut to what the networks look at.
    fold: `[n]` number of the test that the magnetogram is in, in the order of the networks.
    logit: `[n]` logit.
    baseline_logit: Name of a method -> `[n]` mean logit of the same networks for its baselines.
    residual: Name of a method of paths -> `[n]` residual of its completeness, in spreads of the logit; the largest of
      the networks.
    maps: Name of a method -> `[n, y, x]` attribution, in the unit that `attribution.UNITS` gives.
  """

  survey: Survey
  fold: np.ndarray
  logit: np.ndarray
  baseline_logit: dict[str, np.ndarray]
  residual: dict[str, np.ndarray]
  maps: dict[str, np.ndarray]

  def contribution(self, method: str) -> np.ndarray:
    """Returns `[n, y, x]` what every pixel adds to the logit."""
    return contribution(method, self.maps[method], self.survey.field)


def by_test(subjects: Sequence[Subject]) -> list[list[Subject]]:
  """Returns the networks that are asked about the same maps, together."""
  groups: dict[bytes, list[Subject]] = {}
  for subject in subjects:
    groups.setdefault(subject.rows.test.tobytes(), []).append(subject)
  return list(groups.values())


def attribute_subjects(
  subjects: Sequence[Subject],
  survey: Survey,
  methods: Sequence[str],
  settings: AttributionSettings,
  seed: int,
  rows: np.ndarray | None = None,
  progress: Progress = silent,
) -> AttributionMaps:
  """Attributes the logits that networks give to their test maps.

  Args:
    subjects: Networks that look at squares of one size; no map is in two tests.
    survey: Their maps.
    methods: Names of methods.
    settings: Their settings.
    seed: Of the draw of baselines, and of the noise of SmoothGrad.
    rows: Rows of the survey; None for all that are in a test.
    progress: Goes through the tests, and may show how far it is.

  Raises:
    UserError: There is no such method, none of the rows is in a test, a network has learnt from no control map, or a
      logit is not finite.
  """
  check_methods(methods)
  groups = by_test(subjects)
  tested = np.unique(np.concatenate([group[0].rows.test for group in groups]))
  rows = tested if rows is None else np.intersect1d(rows, tested)
  if not len(rows):
    raise UserError('None of the maps that are to be attributed is a test of a network; choose others.')
  cut = survey.select(rows).replace(field=visible_patches(subjects[0].network, survey, rows))
  fold, logit = np.full(len(rows), -1), np.zeros(len(rows))
  baseline, maps = {name: np.zeros(len(rows)) for name in methods}, {name: np.zeros_like(cut.field) for name in methods}
  residual = {name: np.zeros(len(rows)) for name in methods if name in PATHS}
  for number, group in progress(list(enumerate(groups))):
    here = np.flatnonzero(np.isin(rows, group[0].rows.test))
    fold[here] = number
    for subject in group if len(here) else ():
      network, params = subject.network, subject.params
      sd, said = spread(subject_logits(subject, survey)), finite_logits(subject, cut.field[here])
      logit[here] += said / len(group)
      for method in methods:
        baselines = baselines_of(method, subject, survey, settings, seed)
        attribution = attribute(method, network, params, cut.field[here], baselines, settings, seed)
        of_baselines = logits(network, params, baselines).mean()
        maps[method][here] += attribution / len(group)
        baseline[method][here] += of_baselines / len(group)
        if method in PATHS:
          missed = completeness_residual(attribution, said - of_baselines, sd)
          residual[method][here] = np.maximum(residual[method][here], missed)
  return AttributionMaps(cut, fold, logit, baseline, residual, maps)


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
  columns = {
    'region_id': np.tile(survey.region_names(), times),
    'pair_id': np.tile(survey.pair_names(), times),
    'label': np.tile(survey.label, times),
    'interval': np.tile(survey.interval, times),
    'hours': np.tile(survey.hours, times),
    'fold': np.tile(attributed.fold, times),
    'logit': np.tile(attributed.logit, times),
    'baseline_logit': np.concatenate([attributed.baseline_logit[name] for name in attributed.maps]),
    **{name: np.concatenate(values) for name, values in parts.items()},
    'completeness_residual': np.concatenate([attributed.residual.get(name, unknown) for name in attributed.maps]),
  }
  return Table(columns, units={'hours': 'h', 'peak_x': 'Mm', 'peak_y': 'Mm'})


def write_maps(directory: pathlib.Path, attributed: AttributionMaps, meta: dict[str, Any]) -> None:
  """Writes one FITS file per region: its magnetograms and their attribution, a plane per interval, with their WCS.

  The primary WCS is the Postel projection of the survey, the alternate one (A) the distance from the centre [Mm].

  Args:
    directory: Where the files go.
    attributed: What `attribute_subjects` returned.
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
