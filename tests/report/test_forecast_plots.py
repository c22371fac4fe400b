"""The picture of scored patches: each is where it belongs."""

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet

from hearjax.forecast.patches import forecast_patches
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import carrington_pixels, postel_patch, postel_wcs
from hearjax.report.forecast_plots import plot_forecasts
from tests.hand_made import DOMAIN
from tests.real_maps import CENTRE_11158 as CENTRE
from tests.real_maps import CUTOUT
from tests.real_maps import SHARP_11158 as SHARP


@pytest.mark.parametrize('path', [SHARP, CUTOUT], ids=['CEA', 'TAN'])
def test_picture_draws_every_patch_where_it_is(path):
  magnetogram = read_magnetogram(path)
  patches = [postel_patch(magnetogram, longitude, CENTRE[1], 48) for longitude in (CENTRE[0], CENTRE[0] + 3)]
  table = forecast_patches(lambda field: np.array([[1.0, -1.0]]), patches, DOMAIN | {'unsigned_flux_mx': [0, 1e30]})
  table['outside'] = ['', 'flux']
  figure = plot_forecasts(magnetogram, table, DOMAIN, path.name, step_mm=10)
  axes = figure.axes[0]
  (outlines,) = (item for item in axes.collections if isinstance(item, LineCollection) and len(item.get_paths()) == 2)
  # The lower probability is drawn first.
  for outline, longitude in zip(outlines.get_paths(), (CENTRE[0] + 3, CENTRE[0]), strict=True):
    corner = postel_wcs(magnetogram, longitude, CENTRE[1], (48, 48), 1.39).wcs_pix2world([[-0.5, -0.5]], 0)[0]
    np.testing.assert_allclose(outline.vertices[0], carrington_pixels(magnetogram, *corner), atol=1e-6)
  assert outlines.get_linestyle()[1] == (0, None) and outlines.get_linestyle()[0][1] is not None
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ['within the training domain (1)', 'outside the training domain (1)']
  assert 'no forecast' in axes.get_title(loc='left')
  assert 'single frame; trained on means of 547 frames' in axes.get_title(loc='left')
  # Solar north is up and west to the right on the screen, whatever the roll of the instrument.
  ends = carrington_pixels(
    magnetogram, np.array([CENTRE[0], CENTRE[0] + 2, CENTRE[0]]), CENTRE[1] + np.array([0, 0, 2])
  )
  (x0, x1, _), (y0, _, y2) = axes.transData.transform(ends.T).T
  assert x1 > x0 and y2 > y0


@pytest.mark.parametrize('path', [SHARP, CUTOUT], ids=['CEA', 'TAN'])
def test_many_patches_become_a_mosaic_that_is_hatched_outside(path):
  magnetogram = read_magnetogram(path)
  # Four rows and columns, 10 Mm apart; the probability tells which one it is.
  step = np.rad2deg(10 / 696)
  north, east = (np.arange(16) // 4 - 1.5) * step, (np.arange(16) % 4 - 1.5) * step
  table = Table({'longitude': CENTRE[0] + east / np.cos(np.deg2rad(CENTRE[1])), 'latitude': CENTRE[1] + north})
  table['probability'] = (np.arange(16) + 0.5) / 16
  table['outside'] = np.where(np.arange(16) % 4 == 0, 'flux', '')
  table.meta['prior'] = 0.5
  figure = plot_forecasts(magnetogram, table, DOMAIN, path.name, step_mm=10)
  axes = figure.axes[0]
  _, mosaic = axes.images
  shown, (left, right, bottom, top) = mosaic.get_array(), mosaic.get_extent()
  pixels = carrington_pixels(magnetogram, table['longitude'], table['latitude'])
  column = ((pixels[0] - left) / (right - left) * shown.shape[1]).astype(int)
  row = ((pixels[1] - bottom) / (top - bottom) * shown.shape[0]).astype(int)
  np.testing.assert_allclose(shown[row, column], table['probability'])
  # 20 Mm of 16 x 10 Mm around no centre: nothing is said there.
  far = carrington_pixels(magnetogram, CENTRE[0], CENTRE[1] + 3.5 * step)
  at = [
    int((far[1] - bottom) / (top - bottom) * shown.shape[0]),
    int((far[0] - left) / (right - left) * shown.shape[1]),
  ]
  assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[tuple(at)]
  (hatched,) = (item for item in axes.collections if isinstance(item, QuadContourSet))
  inside = [any(path.contains_point(point) for path in hatched.get_paths()) for point in pixels.T]
  assert inside == [bool(text) for text in table['outside']]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ['within the training domain (12)', 'outside the training domain (4)']
