"""Figures of magnetograms: pairs through the intervals, and simulated patches beside real ones."""

import os
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hearjax.checks import UserError
from hearjax.report import style
from hearjax.survey.survey import Survey

TILE = 32  # Side of the squares in which statistics are taken [px].
PATCHES_PER_ROW = 4
HISTOGRAM_EDGES = np.concatenate([np.linspace(0, 10, 11), np.geomspace(12.5, 2500, 24)])
COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)  # Black is kept for the simulation.
LETTERS = 'abcd'
WAVELENGTHS_MM = (3, 4, 6, 10, 20, 40)


@style.in_style
def plot_pairs(survey: Survey, path: str | os.PathLike, pairs: int = 2) -> None:
  """Draws the first pairs of a survey through its intervals, the emerging region above its control region.

  Args:
    survey: Survey with at least one pair.
    path: PNG file to write.
    pairs: Number of pairs to draw, fewer where there are not so many.

  Raises:
    OSError: The file cannot be written.
  """
  pairs = min(pairs, len(survey.pair_ids))
  intervals = sorted({int(interval) for interval in survey.interval})
  figure = Figure(figsize=(min(1.45 * len(intervals) + 1.2, style.WIDTH), 2.9 * pairs + 0.9), layout='constrained')
  axes = figure.subplots(2 * pairs, len(intervals), squeeze=False)
  for row, (pair, label) in enumerate((pair, label) for pair in range(pairs) for label in (1, 0)):
    for column, interval in enumerate(intervals):
      axis = axes[row, column]
      found = np.flatnonzero((survey.pair == pair) & (survey.label == label) & (survey.interval == interval))
      image = style.draw_field(
        axis, survey.field[found[0]] if found.size else np.full((1, 1), np.nan), survey.pixel_scale_mm
      )
      axis.tick_params(labelbottom=row == 2 * pairs - 1, labelleft=column == 0, labelsize=7.5, pad=2)
      axis.locator_params(nbins=3)
      if row == 2 * pairs - 1:
        axis.set_xlabel('West [Mm]')
      if row == 0 and found.size:
        axis.set_title(f'TI{interval:+03d}, {survey.hours[found[0]]:+.1f} h')
      if column == 0:
        kind = 'emerging region' if label else 'control region'
        axis.set_ylabel(f'{style.literal(survey.pair_ids[pair])}\n{kind}\nNorth [Mm]', fontsize=8)
  side_mm = survey.field.shape[-1] * survey.pixel_scale_mm
  figure.suptitle(
    f'{style.source_note(survey.source)}; {side_mm:.0f} Mm wide, north up, west right',
  )
  figure.colorbar(
    image, ax=axes, location='bottom', label='Line-of-sight field [G]', extend='both', shrink=0.6, aspect=40
  )
  style.save(figure, path)


@style.in_style
def plot_comparison(
  survey: Survey, real: Mapping[str, np.ndarray], path: str | os.PathLike, noun: str = 'HMI frame'
) -> None:
  """Draws real patches over simulated ones, and the distribution and power spectrum of the field of both.

  Statistics of real patches are those of their quietest tiles, because real patches hold active regions; those of the
  simulation are given of all tiles and of the quietest.

  Args:
    survey: Simulated survey; its control regions at the last interval are compared.
    real: Name -> `[y, x]` field [G] with pixels of the same size, NaN where missing; the first four are drawn.
    path: PNG file to write.
    noun: What a real patch is one of.

  Raises:
    UserError: A real patch has no square of 32 px without missing pixels.
    OSError: The file cannot be written.
  """
  controls = survey.field[(survey.label == 0) & (survey.interval == np.max(survey.interval))]
  real = dict(list(real.items())[:PATCHES_PER_ROW])
  real_tiles = [quiet_tiles(complete_tiles(name, field)) for name, field in real.items()]
  simulated = np.concatenate([complete_tiles(survey.source, field) for field in controls])

  figure = Figure(figsize=(style.WIDTH, 8.6), layout='constrained')
  upper, lower = figure.subfigures(2, 1, height_ratios=(2, 1.1))
  axes = upper.subplots(2, PATCHES_PER_ROW)
  for axis, letter, (name, field) in zip(axes[0], LETTERS, real.items(), strict=False):
    style.draw_field(axis, field, survey.pixel_scale_mm)
    axis.set_title(f'({letter}) {noun}\n' + '\n'.join(textwrap.wrap(name, 22)), fontsize=8)
  # From quiet to full, so that the choice shows the range and not the best.
  order = np.argsort(np.mean(np.abs(controls), axis=(1, 2)))
  for axis, quantile in zip(axes[1], np.linspace(0, 1, PATCHES_PER_ROW), strict=True):
    field = controls[order[round(quantile * (len(order) - 1))]]
    image = style.draw_field(axis, field, survey.pixel_scale_mm)
    axis.set_title(f'{style.literal(survey.source)} control,\n{100 * quantile:.0f} % quantile of mean |B|', fontsize=8)
  for axis in axes.flat:
    axis.set_axis_off()
  upper.colorbar(
    image, ax=axes, location='bottom', label='Line-of-sight field [G]', extend='both', shrink=0.6, aspect=40
  )

  left, right = lower.subplots(1, 2)
  for tiles, letter, colour in zip(real_tiles, LETTERS, COLOURS, strict=False):
    _draw_statistics(left, right, tiles, survey.pixel_scale_mm, f'({letter}) {noun}, quietest tiles', color=colour)
  _draw_statistics(
    left, right, quiet_tiles(simulated), survey.pixel_scale_mm, f'{survey.source}, quietest tiles', color='black'
  )
  _draw_statistics(
    left, right, simulated, survey.pixel_scale_mm, f'{survey.source}, all tiles', color='black', linestyle='--'
  )
  left.set(
    xscale='symlog', yscale='log', xlabel='|B| [G]', ylabel='Fraction of pixels per G', ylim=(1e-8, 1), xlim=(0, None)
  )
  right.set(xscale='log', yscale='log', xlabel='Wavelength [Mm]', ylabel='Power per mode [G$^2$ Mm$^2$]')
  right.invert_xaxis()
  right.set_xticks(WAVELENGTHS_MM, [str(length) for length in WAVELENGTHS_MM])
  right.xaxis.set_minor_formatter(NullFormatter())
  left.legend(fontsize=7.5)
  figure.suptitle(
    f'{style.source_note(survey.source)}. Its maps are 410 min means; '
    '\nthe real ones are single frames (noisier, sharper), chosen for an active region or plage',
  )
  style.save(figure, path)


def complete_tiles(name: str, field: np.ndarray) -> np.ndarray:
  """Returns `[tile, 32, 32]` the squares of a map, half a square apart, that have no missing pixel.

  Raises:
    UserError: There is none.
  """
  tiles = np.lib.stride_tricks.sliding_window_view(field, (TILE, TILE))[:: TILE // 2, :: TILE // 2]
  tiles = tiles.reshape(-1, TILE, TILE)
  tiles = tiles[np.all(np.isfinite(tiles), axis=(1, 2))]
  if not len(tiles):
    raise UserError(f'{name} has no square of {TILE} x {TILE} px without missing pixels; leave it out.')
  return tiles


def quiet_tiles(tiles: np.ndarray) -> np.ndarray:
  """Returns the quarter of the tiles (one at least) with the least unsigned flux."""
  order = np.argsort(np.mean(np.abs(tiles), axis=(1, 2)))
  return tiles[order[: max(1, len(order) // 4)]]


def power_spectrum(tiles: np.ndarray, pixel_scale_mm: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the azimuthal mean of the power spectrum of square tiles, under a Hann window.

  Args:
    tiles: `[tile, n, n]` field [G].
    pixel_scale_mm: Side of a pixel [Mm].

  Returns:
    `[n // 2]` wavenumber [1/Mm] and power [G^2 Mm^2]; the sum of the power over all modes times their area in
    wavenumber is the mean square of the field.
  """
  size = tiles.shape[-1]
  window = np.hanning(size + 2)[1:-1]
  window = window[:, None] * window / np.sqrt(np.mean(window**2)) ** 2
  power = np.mean(np.abs(np.fft.fft2(tiles * window)) ** 2, axis=0) * pixel_scale_mm**2 / size**2
  ring = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(size, 1 / size), np.fft.fftfreq(size, 1 / size)))).astype(int)
  mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
  number = np.arange(1, size // 2 + 1)
  return number / (size * pixel_scale_mm), mean[number]


def _draw_statistics(
  left: Axes, right: Axes, tiles: np.ndarray, pixel_scale_mm: float, label: str, **style: str
) -> None:
  strength = np.abs(tiles)
  density, _ = np.histogram(strength, HISTOGRAM_EDGES, density=True)
  left.stairs(
    np.where(density > 0, density, np.nan), HISTOGRAM_EDGES, label=f'{label}: {np.mean(strength):.1f} G', **style
  )
  wavenumber, power = power_spectrum(tiles, pixel_scale_mm)
  right.plot(1 / wavenumber, power, **style)
