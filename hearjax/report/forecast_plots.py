"""The picture of forecasts: the probability of patches on the magnetogram that they come from."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from astropy.table import Table
from astropy.visualization.wcsaxes import WCSAxes
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.spatial import cKDTree
from sunpy.map import GenericMap

from hearjax.observe.postel import carrington_pixels, carrington_positions, postel_wcs
from hearjax.report import style
from hearjax.solar import SOLAR_RADIUS_MM, direction
from hearjax.verification.scores import BALANCED

FIELD_LIMIT_GAUSS = 300.0  # Saturation of the grey scale; network elements stay visible.
EDGE_SAMPLES = 24  # Points per side of an outline: the sides are curved on the disk.
CROWD = 9  # More patches than these overlap so much that their centres are coloured instead of their outlines.
CELL_SAMPLES = 600  # Per longer side of the image, to colour the surroundings of the centres.
COLOUR_MAP = 'plasma'
COVER = 0.45  # Opacity of the colours over the magnetogram.
HATCH, HATCH_COLOUR = '///', '0.3'


@style.in_style
def plot_forecasts(
  magnetogram: GenericMap, table: Table, domain: Mapping[str, Any], title: str, step_mm: float
) -> Figure:
  """Draws a magnetogram and the probability of its patches: as outlines, or where they are many, as a mosaic.

  Args:
    magnetogram: What `read_magnetogram` returned.
    table: Rows of `forecast_patches` for this magnetogram, with its meta key `prior`.
    domain: What the network was trained on (`training_domain`); gives the grid of the patches.
    title: Name of the file, put above the picture.
    step_mm: Distance of neighbouring centres [Mm], the side of a stone of the mosaic.

  Returns:
    The figure; `savefig` writes it.
  """
  crowded = len(table) > CROWD
  outside = np.array([bool(text) for text in table['outside']])
  outlines = None if crowded else _outlines(magnetogram, table, domain)
  limits = _limits(magnetogram, outlines)
  width, height = (high - low for low, high in limits)
  figure = Figure(figsize=(style.WIDTH, np.clip(2.2 + 4.9 * height / width, 4.0, 8.4)), layout='constrained')
  axes = figure.add_subplot(projection=magnetogram.wcs)
  axes.set_facecolor('0.82')  # Outside the image, so that it does not look like zero field.
  image = axes.imshow(
    magnetogram.data, cmap=style.FIELD_MAP, vmin=-FIELD_LIMIT_GAUSS, vmax=FIELD_LIMIT_GAUSS, interpolation='nearest'
  )
  prior = table.meta['prior']
  # Rare events have small probabilities: colours from 0 to 1 would show none of them.
  probability = Normalize(0.0, 1.0 if prior == BALANCED else float(table['probability'].max()))
  share = 'half' if prior == BALANCED else f'{prior:.3g}'
  if crowded:
    _draw_mosaic(axes, magnetogram, table, outside, probability, step_mm)
  else:
    _draw_outlines(axes, outlines, table, outside, probability)
  _orient(axes, magnetogram, limits)
  _label(axes, magnetogram)
  figure.colorbar(
    ScalarMappable(probability, COLOUR_MAP),
    ax=axes,
    alpha=COVER if crowded else 1.0,
    label=f'Probability of emergence at the centre of a patch,\nwhere {share} of the patches emerge',
    fraction=0.046,
    pad=0.02,
  )
  figure.colorbar(image, ax=axes, label='Line-of-sight field [G]', extend='both', fraction=0.046, pad=0.02)
  figure.legend(handles=_legend(outside, crowded), loc='outside lower center', ncols=2)
  axes.set_title(heading(magnetogram, domain, title), fontsize=10, loc='left')
  return figure


def _draw_outlines(
  axes: WCSAxes, outlines: np.ndarray, table: Table, outside: np.ndarray, probability: Normalize
) -> None:
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


def _draw_mosaic(
  axes: WCSAxes, magnetogram: GenericMap, table: Table, outside: np.ndarray, probability: Normalize, step_mm: float
) -> None:
  """Gives every point of the image the colour of the nearest centre, and hatches where its patch is outside."""
  size_y, size_x = magnetogram.data.shape
  pitch = max(size_x, size_y) / CELL_SAMPLES
  x, y = (-0.5 + pitch * (np.arange(np.ceil(n / pitch)) + 0.5) for n in (size_x, size_y))
  points = direction(*carrington_positions(magnetogram, *np.meshgrid(x, y)))
  on_disk = np.isfinite(points).all(axis=-1)
  centres = cKDTree(direction(np.asarray(table['longitude']), np.asarray(table['latitude'])))
  # Half the diagonal of a stone, and what rounding the step to whole pixels may add.
  _, nearest = centres.query(points[on_disk], distance_upper_bound=0.75 * step_mm / SOLAR_RADIUS_MM)
  colour, hatched = np.full(on_disk.shape, np.nan), np.zeros(on_disk.shape)
  colour[on_disk] = np.append(table['probability'], np.nan)[nearest]  # The index is n where no centre is near.
  hatched[on_disk] = np.append(outside, False)[nearest]
  extent = (-0.5, -0.5 + pitch * len(x), -0.5, -0.5 + pitch * len(y))
  axes.imshow(
    colour, extent=extent, origin='lower', cmap=COLOUR_MAP, norm=probability, alpha=COVER, interpolation='nearest'
  )
  if outside.any():
    with matplotlib.rc_context({'hatch.linewidth': 0.4, 'hatch.color': HATCH_COLOUR}):
      axes.contourf(x, y, hatched, levels=[0.5, 1.5], colors='none', hatches=[HATCH])


def _outlines(magnetogram: GenericMap, table: Table, domain: Mapping[str, Any]) -> np.ndarray:
  """Returns `[patch, 2, n]` pixel positions (x, y) of the edges of patches on the magnetogram, NaN behind the limb."""
  size = domain['size']
  middle, reach = (size - 1) / 2, size / 2
  along, edge = np.linspace(-reach, reach, EDGE_SAMPLES), np.full(EDGE_SAMPLES, reach)
  x = middle + np.concatenate([along, edge, along[::-1], -edge])
  y = middle + np.concatenate([-edge, along, edge, along[::-1]])
  positions = [
    postel_wcs(magnetogram, row['longitude'], row['latitude'], (size, size), domain['pixel_scale_mm']).wcs_pix2world(
      x, y, 0
    )
    for row in table
  ]
  return carrington_pixels(magnetogram, *np.swapaxes(positions, 0, 1)).swapaxes(0, 1)


def _limits(magnetogram: GenericMap, outlines: np.ndarray | None) -> list[tuple[float, float]]:
  """Returns the range of x and of y [px] that holds the image and all outlines."""
  limits = []
  for axis, size in enumerate(magnetogram.data.shape[::-1]):
    low, high = -0.5, size - 0.5
    if outlines is not None:
      low, high = min(np.nanmin(outlines[:, axis]), low), max(np.nanmax(outlines[:, axis]), high)
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


def _legend(outside: np.ndarray, crowded: bool) -> list[Artist]:
  within_label = f'within the training domain ({(~outside).sum()})'
  outside_label = f'outside the training domain ({outside.sum()})'
  if crowded:
    within = Patch(facecolor='none', edgecolor='0.3', label=within_label)
    beyond = Patch(facecolor='none', edgecolor='0.3', hatch=HATCH, label=outside_label)
  else:
    within = Line2D([], [], color='0.3', linestyle='-', label=within_label)
    beyond = Line2D([], [], color='0.3', linestyle='--', label=outside_label)
  return [entry for entry, shown in ((within, not outside.all()), (beyond, outside.any())) if shown]


def heading(magnetogram: GenericMap, domain: Mapping[str, Any], title: str) -> str:
  """Returns what to write over a magnetogram that a network was asked about: lines of what is shown, and of caution."""
  lines = [style.literal(title), f'{magnetogram.reference_date.utc.isot[:16].replace("T", " ")} UTC']
  if magnetogram.meta['quality']:
    lines[1] += f'; QUALITY 0x{magnetogram.meta["quality"] & 0xFFFFFFFF:08x}'
  if domain['n_frames'] > 1:
    lines[1] += f'; single frame; trained on means of {domain["n_frames"]} frames'
  if magnetogram.meta.get('notes'):
    lines.append(f'Note: {magnetogram.meta["notes"]}.')
  if style.is_simulated(domain['source']):
    lines.append('Network trained on a simulated survey: the probability is no forecast.')
  return '\n'.join(lines)
