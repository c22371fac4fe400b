"""Pictures of a scan: the emergence map on its magnetogram, and places over time."""

import datetime
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from astropy import units as u
from astropy.table import Row, Table
from astropy.time import Time
from astropy.visualization.wcsaxes import WCSAxes
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from sunpy.map import GenericMap

from hearjax.forecast.disk_alarms import separation_mm
from hearjax.forecast.disk_maps import NO_FORECAST, DiskMap
from hearjax.forecast.disk_settings import HistorySettings
from hearjax.observe.postel import carrington_pixels
from hearjax.report import style
from hearjax.report.forecast_plots import heading
from hearjax.verification.scores import BALANCED

FIELD_LIMIT_GAUSS = 300.0  # Saturation of the grey scale, as in the pictures of `score`.
SHOWN_PX = 700  # Per longer side: more pixels than that are not seen.
COLOUR_MAP = 'plasma'
HATCH, HATCH_COLOUR = '//', '0.75'
ALARM = '#FFB000'  # Seen on grey and on the colours of the map.
LABELLED = 20  # Alarms that get their number; more would cover one another.
LIMB_SAMPLES = 361
GRID_DEG = 30
SHOWN_PLACES = 8  # In the picture over time.
OUTLINED = [patheffects.withStroke(linewidth=2.5, foreground='black')]
CIRCLE = {'facecolors': 'none', 'edgecolors': ALARM, 'linewidths': 1.6}
AREA, SMALL_AREA, MANY = 110, 35, 40  # Of a circle [points^2], and from which number of alarms on it is the small one.


# --- The disk ---------------------------------------------------------------------------------------------------------


@style.in_style
def plot_scan(
  magnetogram: GenericMap,
  drawn: DiskMap,
  alarms: Table,
  regions: Table | None,
  domain: Mapping[str, Any],
  title: str,
) -> Figure:
  """Draws a magnetogram and, beside it, the map of emergence probability; alarms and numbers of regions on both.

  Args:
    magnetogram: What `read_magnetogram` returned.
    drawn: What `draw_disk` returned for it.
    alarms: What `find_alarms` returned, with its meta keys `prior` and `threshold`.
    regions: Columns `noaa`, `longitude`, `latitude` [deg] of the regions on the disk; None where none were given.
    domain: What the network was trained on (`training_domain`).
    title: Name of the file, put above the picture.

  Returns:
    The figure; `style.save` writes it.
  """
  size_y, size_x = magnetogram.data.shape
  figure = Figure(figsize=(11.0, float(np.clip(2.6 + 4.7 * size_y / size_x, 4.5, 9.0))), layout='constrained')
  left, right = (figure.add_subplot(1, 2, number, projection=magnetogram.wcs) for number in (1, 2))
  image = _draw_field(left, magnetogram)
  norm = _draw_probability(right, magnetogram, drawn, alarms)
  for axes in (left, right):
    axes.set_facecolor('0.82')  # Outside the Sun, so that it does not look like zero field.
    _draw_sphere(axes, magnetogram)
    _draw_regions(axes, magnetogram, regions)
    _draw_alarms(axes, magnetogram, alarms)
    _orient(axes, magnetogram)
    _label(axes, magnetogram)
  prior = alarms.meta['prior']
  share = 'half' if prior == BALANCED else f'{prior:.3g}'
  bar = {'location': 'bottom', 'fraction': 0.04, 'pad': 0.02, 'shrink': 0.8}
  figure.colorbar(image, ax=left, label='Line-of-sight field [G]', extend='both', **bar)
  colours = ScalarMappable(norm, COLOUR_MAP)
  told = f'line: the threshold, {alarms.meta["threshold"]:.3g}'
  label = f'Probability of emergence, where {share} of the places emerge\n({told})'
  figure.colorbar(colours, ax=right, label=label, **bar).ax.axvline(
    alarms.meta['threshold'], color=style.GREEN, linewidth=2.5
  )
  figure.legend(handles=_legend(left, alarms, regions), loc='outside lower center', ncols=4)
  figure.suptitle(heading(magnetogram, domain, title), fontsize=10, x=0.02, ha='left')
  return figure


def _draw_field(axes: WCSAxes, magnetogram: GenericMap) -> AxesImage:
  size_y, size_x = magnetogram.data.shape
  skip = max(1, -(-max(size_x, size_y) // SHOWN_PX))
  shown = _binned(magnetogram.data, skip)
  extent = (-0.5, -0.5 + skip * shown.shape[1], -0.5, -0.5 + skip * shown.shape[0])
  look = {'cmap': style.FIELD_MAP, 'vmin': -FIELD_LIMIT_GAUSS, 'vmax': FIELD_LIMIT_GAUSS, 'interpolation': 'nearest'}
  return axes.imshow(shown, extent=extent, origin='lower', **look)


def _draw_probability(axes: WCSAxes, magnetogram: GenericMap, drawn: DiskMap, alarms: Table) -> Normalize:
  """Draws the map, hatched where it lies outside the training domain, and returns what its colours mean."""
  told = np.isfinite(drawn.probability)
  # Rare events have small probabilities: colours from 0 to 1 would show none of them.
  is_balanced = alarms.meta['prior'] == BALANCED
  highest = 1.0 if is_balanced else max(float(drawn.probability[told].max()), 1.2 * alarms.meta['threshold'])
  norm = Normalize(0.0, highest)
  pitch = magnetogram.data.shape[1] / _columns(magnetogram, drawn)
  height, width = drawn.probability.shape
  extent = (-0.5, -0.5 + pitch * width, -0.5, -0.5 + pitch * height)
  axes.imshow(drawn.probability, extent=extent, origin='lower', cmap=COLOUR_MAP, norm=norm, interpolation='nearest')
  outside = (drawn.outside > 0) & (drawn.outside != NO_FORECAST)
  if outside.any():
    x, y = (-0.5 + pitch * (np.arange(side) + 0.5) for side in (width, height))
    with matplotlib.rc_context({'hatch.linewidth': 0.4, 'hatch.color': HATCH_COLOUR}):
      axes.contourf(x, y, outside.astype(float), levels=[0.5, 1.5], colors='none', hatches=[HATCH])
  return norm


def _columns(magnetogram: GenericMap, drawn: DiskMap) -> float:
  """Returns how many columns of the coarse grid the magnetogram is wide."""
  return magnetogram.data.shape[1] * magnetogram.meta['cdelt1'] / drawn.header['CDELT1']


def _binned(data: np.ndarray, skip: int) -> np.ndarray:
  """Returns the means of `skip` x `skip` pixels; NaN where one of them is missing."""
  if skip == 1:
    return data
  height, width = (side // skip * skip for side in data.shape)
  blocks = data[:height, :width].reshape(height // skip, skip, width // skip, skip)
  return blocks.mean(axis=(1, 3))


def _draw_sphere(axes: WCSAxes, magnetogram: GenericMap) -> None:
  """Draws the limb, and meridians and parallels every `GRID_DEG` from the central meridian and the equator."""
  l0 = magnetogram.carrington_longitude.to_value(u.deg)
  b0 = magnetogram.carrington_latitude.to_value(u.deg)
  along = np.linspace(-90, 90, LIMB_SAMPLES)
  faint = {'color': 'tab:cyan', 'linewidth': 0.5, 'alpha': 0.45}
  for angle in range(-90 + GRID_DEG, 90, GRID_DEG):
    for longitude, latitude in ((np.full_like(along, angle), along), (along, np.full_like(along, angle))):
      axes.plot(*carrington_pixels(magnetogram, l0 + longitude, latitude), **faint)
  turn = np.deg2rad(np.linspace(0, 360, LIMB_SAMPLES))
  # A circle 89.9 deg from the sub-observer point, just on this side of the Sun.
  angle, tilt = np.deg2rad(89.9), np.deg2rad(b0)
  towards, west, north = np.cos(angle), np.sin(angle) * np.sin(turn), np.sin(angle) * np.cos(turn)
  latitude = np.rad2deg(np.arcsin(north * np.cos(tilt) + towards * np.sin(tilt)))
  longitude = l0 + np.rad2deg(np.arctan2(west, towards * np.cos(tilt) - north * np.sin(tilt)))
  axes.plot(*carrington_pixels(magnetogram, longitude, latitude), color='black', linewidth=0.9)


def _draw_regions(axes: WCSAxes, magnetogram: GenericMap, regions: Table | None) -> None:
  for row in regions if regions is not None else ():
    x, y = carrington_pixels(magnetogram, np.array([row['longitude']], float), np.array([row['latitude']], float))
    if np.isfinite(x[0]) and _is_inside(magnetogram, x[0], y[0]):
      _write(axes, f'{row["noaa"]}', x[0], y[0], (0, -9), style.SKY, ha='center', va='top')


def _draw_alarms(axes: WCSAxes, magnetogram: GenericMap, alarms: Table) -> None:
  """Draws a circle around each alarm, dotted where it lies outside the training domain, and numbers the first ones."""
  if not len(alarms):
    return
  positions = carrington_pixels(
    magnetogram, np.asarray(alarms['longitude'], float), np.asarray(alarms['latitude'], float)
  )
  outside = np.array([bool(text) for text in alarms['outside']])
  for chosen, line in ((~outside, 'solid'), (outside, 'dotted')):
    area = AREA if len(alarms) < MANY else SMALL_AREA
    axes.scatter(*positions[:, chosen], s=area, linestyles=line, path_effects=OUTLINED, zorder=3, **CIRCLE)
  for number, (x, y) in enumerate(positions.T[:LABELLED], start=1):
    _write(axes, f'{number}', x, y, (6, 5), ALARM, ha='left', va='bottom')


def _write(axes: WCSAxes, text: str, x: float, y: float, beside: tuple[int, int], colour: str, **align: str) -> None:
  """Writes a text beside a place [px], `beside` points away from it."""
  style_of_text = {'fontsize': 8, 'color': colour, 'path_effects': OUTLINED, 'clip_on': True}
  axes.annotate(text, (x, y), beside, textcoords='offset points', **style_of_text, **align)


def _is_inside(magnetogram: GenericMap, x: float, y: float) -> bool:
  height, width = magnetogram.data.shape
  return -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5


def _orient(axes: WCSAxes, magnetogram: GenericMap) -> None:
  """Shows solar north up and west to the right, also of an image that the instrument took upside down."""
  sense = np.diag(magnetogram.wcs.pixel_scale_matrix) > 0
  size_y, size_x = magnetogram.data.shape
  margin_x, margin_y = 0.02 * size_x, 0.02 * size_y
  across, up = (-0.5 - margin_x, size_x - 0.5 + margin_x), (-0.5 - margin_y, size_y - 0.5 + margin_y)
  axes.set_xlim(across if sense[0] else across[::-1])
  axes.set_ylim(up if sense[1] else up[::-1])


def _label(axes: WCSAxes, magnetogram: GenericMap) -> None:
  is_projected = magnetogram.coordinate_system.axis1[:4] == 'HPLN'
  frame = 'Carrington' if magnetogram.coordinate_system.axis1[:4] == 'CRLN' else 'Stonyhurst'
  names = (
    ('Helioprojective longitude [arcsec]', 'Helioprojective latitude [arcsec]')
    if is_projected
    else (f'{frame} longitude', 'Heliographic latitude')  # Ticks in degrees carry their unit.
  )
  for axis, name in zip(axes.coords, names, strict=True):
    axis.set_axislabel(name)
    axis.set_format_unit('arcsec' if is_projected else 'deg', show_decimal_unit=False)


def _legend(axes: WCSAxes, alarms: Table, regions: Table | None) -> list[Artist]:
  outside = np.array([bool(text) for text in alarms['outside']], bool)
  named = {
    f'alarm, numbered from the highest ({(~outside).sum()})': 'solid',
    f'alarm outside the training domain ({outside.sum()})': 'dotted',
  }
  entries: list[Artist] = [
    axes.scatter([], [], s=AREA, linestyles=line, label=label, path_effects=OUTLINED, **CIRCLE)
    for label, line in named.items()
  ]
  entries.append(
    Patch(facecolor='0.4', edgecolor=HATCH_COLOUR, hatch=HATCH, linewidth=0, label='outside the training domain')
  )
  if regions is not None:
    entries.append(
      Line2D([], [], marker='$N$', color=style.SKY, linestyle='none', markersize=8, label='NOAA number of a region')
    )
  return entries


# --- Over time --------------------------------------------------------------------------------------------------------


@style.in_style
def plot_history(
  history: Table,
  places: Table,
  threshold: float,
  source: str,
  emergences: Table | None = None,
  near_mm: float = HistorySettings.link_mm,
) -> Figure:
  """Draws the probability of places over time, those with the highest peaks, and known emergences near them.

  Args:
    history: What `history_table` returned.
    places: What `place_table` returned.
    threshold: Of the alarms.
    source: Survey that the network was trained on.
    emergences: Columns `noaa`, `emergence_time`, `longitude`, `latitude` [deg]; None where none are known.
    near_mm: How far from a place an emergence is shown with it [Mm].
  """
  times = np.sort(np.asarray(history['time'], str))
  middle = Time([times[0], times[-1]]).mean().datetime
  shown = places[np.argsort(-np.asarray(places['peak']))[:SHOWN_PLACES]]
  figure = Figure(figsize=(style.WIDTH, 0.8 + 1.25 * len(shown)), layout='constrained')
  grid = np.atleast_1d(figure.subplots(len(shown), sharex=True, sharey=True))
  for axes, row in zip(grid, shown, strict=True):
    own = history[np.asarray(history['place']) == row['place']]
    _draw_place(axes, own, row, threshold)
    if emergences is not None:
      for known in emergences[separation_mm(Table(row), emergences)[0] <= near_mm]:
        _draw_emergence(axes, known, middle)
  locator = AutoDateLocator(minticks=3, maxticks=8)
  grid[-1].xaxis.set_major_locator(locator)
  grid[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
  grid[-1].set_xlabel('Time (UTC)')
  figure.supylabel('Probability of emergence')
  lines = [f'The {len(shown)} of {len(places)} places with the highest peaks; dashed: the threshold {threshold:.3g}']
  if style.is_simulated(source):
    lines.append('Network trained on a simulated survey: the probability is no forecast.')
  figure.suptitle('\n'.join(lines))
  return figure


def _draw_emergence(axes: Axes, known: Row, middle: datetime.datetime) -> None:
  when = Time(str(known['emergence_time'])).datetime
  axes.axvline(when, color=style.BLUE, linewidth=1.2)
  right = when < middle  # Of the line, where there is room.
  where = {'xycoords': ('data', 'axes fraction'), 'textcoords': 'offset points', 'va': 'bottom', 'fontsize': 8}
  align = {'ha': 'left' if right else 'right', 'color': style.BLUE}
  axes.annotate(f'NOAA {known["noaa"]} emerges', (when, 0), (3 if right else -3, 2), **align, **where)


def _draw_place(axes: Axes, own: Table, row: Row, threshold: float) -> None:
  when = [Time(str(time)).datetime for time in own['time']]  # None at a place that no map shows any more.
  probability, spread = np.asarray(own['probability']), np.asarray(own['probability_std'])
  low, high = np.clip([probability - spread, probability + spread], 0, 1)
  axes.fill_between(when, low, high, color=style.GROUP_STYLES[style.MEMBERS][0], alpha=style.BAND, linewidth=0)
  axes.plot(when, probability, color=style.GROUP_STYLES[style.MEMBERS][0], marker='.', markersize=4, linewidth=1)
  axes.axhline(threshold, color=style.GREY, linestyle='--', linewidth=0.9)
  axes.axvline(Time(str(row['first_alarm'])).datetime, color=style.BLACK, linestyle=':', linewidth=1)
  named = f', NOAA {row["noaa"]}' if row['noaa'] else ''
  where = f'longitude {row["longitude"]:.1f}, latitude {row["latitude"]:.1f}'
  axes.set_title(
    f'Place {row["place"]}: {where}{named}; dotted: first of {row["alarms"]} alarms', fontsize=8, loc='left'
  )
  axes.set_ylim(0, 1.03)
