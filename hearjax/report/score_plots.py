"""The picture of scored patches: outlines on the magnetogram that they come from."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from astropy.table import Table
from astropy.visualization.wcsaxes import WCSAxes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sunpy.map import GenericMap

from hearjax.survey.hmi import carrington_pixels, postel_wcs

FIELD_LIMIT_GAUSS = 300.0  # Saturation of the grey scale; network elements stay visible.
EDGE_SAMPLES = 24  # Points per side of an outline: the sides are curved on the disk.
CROWD = 9  # Patches beyond this number overlap so much that only their middles are outlined.
COLOUR_MAP = 'plasma'


def plot_scores(magnetogram: GenericMap, table: Table, domain: Mapping[str, Any], title: str, step: float) -> Figure:
  """Draws a magnetogram and the outlines of its patches, coloured by probability.

  Args:
    magnetogram: What `read_magnetogram` returned.
    table: Rows of `score_patches` for this magnetogram.
    domain: What the network was trained on (`training_domain`); gives the grid of the patches.
    title: Name of the file, put above the picture.
    step: Distance of neighbouring tiles, in sides of a patch; many patches are outlined as squares of that side.

  Returns:
    The figure; `savefig` writes it.
  """
  crowded = len(table) > CROWD
  outlines = _outlines(magnetogram, table, domain, 0.88 * step if crowded else 1.0)
  limits = _limits(magnetogram, outlines)
  width, height = (high - low for low, high in limits)
  figure = Figure(figsize=(11.0, np.clip(2.2 + 8.0 * height / width, 4.5, 10.0)), layout='constrained')
  axes = figure.add_subplot(projection=magnetogram.wcs)
  axes.set_facecolor('0.82')  # Outside the image, so that it does not look like zero field.
  image = axes.imshow(
    magnetogram.data, cmap='gray', vmin=-FIELD_LIMIT_GAUSS, vmax=FIELD_LIMIT_GAUSS, interpolation='nearest'
  )
  probability = Normalize(0.0, 1.0)
  outside = np.array([bool(text) for text in table['outside']])
  order = np.argsort(table['probability'])  # The highest on top, where outlines overlap.
  axes.add_collection(
    LineCollection(
      outlines[order].swapaxes(1, 2),
      colors=matplotlib.colormaps[COLOUR_MAP](probability(np.asarray(table['probability'])[order])),
      linestyles=['--' if outside[row] else '-' for row in order],
      linewidths=2.0,
      transform=axes.get_transform('pixel'),
    )
  )
  _orient(axes, magnetogram, limits)
  _label(axes, magnetogram)
  figure.colorbar(
    ScalarMappable(probability, COLOUR_MAP), ax=axes, label='Probability of emergence', fraction=0.046, pad=0.02
  )
  figure.colorbar(image, ax=axes, label='Line-of-sight field [G]', extend='both', fraction=0.046, pad=0.02)
  figure.legend(handles=_legend(outside, crowded), loc='outside lower center', ncols=3, frameon=False)
  axes.set_title(_title(magnetogram, domain, title), fontsize=10, loc='left')
  return figure


def _outlines(magnetogram: GenericMap, table: Table, domain: Mapping[str, Any], part: float) -> np.ndarray:
  """Returns `[patch, 2, n]` pixel positions (x, y) of the edges of patches on the magnetogram, NaN behind the limb.

  `part` is the side of what is outlined, in sides of a patch.
  """
  size = domain['size']
  middle, reach = (size - 1) / 2, part * size / 2
  along, edge = np.linspace(-reach, reach, EDGE_SAMPLES), np.full(EDGE_SAMPLES, reach)
  x = middle + np.concatenate([along, edge, along[::-1], -edge])
  y = middle + np.concatenate([-edge, along, edge, along[::-1]])
  positions = [
    postel_wcs(magnetogram, row['longitude'], row['latitude'], size, domain['pixel_scale_mm']).wcs_pix2world(x, y, 0)
    for row in table
  ]
  return carrington_pixels(magnetogram, *np.swapaxes(positions, 0, 1)).swapaxes(0, 1)


def _limits(magnetogram: GenericMap, outlines: np.ndarray) -> list[tuple[float, float]]:
  """Returns the range of x and of y [px] that holds the image and all outlines."""
  limits = []
  for size, along in zip(magnetogram.data.shape[::-1], outlines.swapaxes(0, 1), strict=True):
    low, high = min(np.nanmin(along), -0.5), max(np.nanmax(along), size - 0.5)
    margin = 0.02 * (high - low)
    limits.append((low - margin, high + margin))
  return limits


def _orient(axes: WCSAxes, magnetogram: GenericMap, limits: list[tuple[float, float]]) -> None:
  """Shows solar north up and west to the right, also of an image that the instrument took upside down."""
  sense = np.diag(magnetogram.wcs.pixel_scale_matrix) > 0
  (left, right), (bottom, top) = limits
  axes.set_xlim((left, right) if sense[0] else (right, left))
  axes.set_ylim((bottom, top) if sense[1] else (top, bottom))


def _label(axes: WCSAxes, magnetogram: GenericMap) -> None:
  kind = magnetogram.coordinate_system.axis1[:4]
  x, y = axes.coords
  if kind == 'HPLN':
    names, unit = ('Helioprojective longitude', 'Helioprojective latitude'), 'arcsec'
  else:
    frame = 'Carrington' if kind == 'CRLN' else 'Stonyhurst'
    names, unit = (f'{frame} longitude', 'Heliographic latitude'), 'deg'
  for axis, name in zip((x, y), names, strict=True):
    axis.set_axislabel(f'{name} [arcsec]' if unit == 'arcsec' else name)  # Ticks in degrees carry their unit.
    axis.set_format_unit(unit, show_decimal_unit=False)
  axes.coords.grid(color='tab:cyan', alpha=0.35, linewidth=0.5)


def _legend(outside: np.ndarray, crowded: bool) -> list[Line2D]:
  entries = []
  if not outside.all():
    entries.append(Line2D([], [], color='0.3', linestyle='-', label=f'within the training domain ({(~outside).sum()})'))
  if outside.any():
    entries.append(Line2D([], [], color='0.3', linestyle='--', label=f'outside the training domain ({outside.sum()})'))
  if crowded:
    entries.append(Line2D([], [], linestyle='', label='outlined: only the middle of each patch'))
  return entries


def _title(magnetogram: GenericMap, domain: Mapping[str, Any], title: str) -> str:
  lines = [title, f'{magnetogram.reference_date.utc.isot[:16].replace("T", " ")} UTC']
  if magnetogram.meta['quality']:
    lines[1] += f'; QUALITY 0x{magnetogram.meta["quality"] & 0xFFFFFFFF:08x}'
  if domain['source'] == 'simulated':
    lines.append('Network trained on a simulated survey: the probability is no forecast.')
  return '\n'.join(lines)
