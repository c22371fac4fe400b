"""Means over footprints, against those of reproject."""

import jax.numpy as jnp
import numpy as np
import pytest

from hearjax.observe.postel import carrington_pixels, postel_patch, postel_wcs
from hearjax.observe.resampling import footprint_means, interpolate, nodes
from tests.real_maps import CENTRE_11158

SPACING = 8


def positions(magnetogram, centre, shape, pixel_scale_mm) -> np.ndarray:
  """Returns where the nodes of a Postel map lie in a magnetogram (x, y) [px]."""
  wcs = postel_wcs(magnetogram, *centre, shape, pixel_scale_mm)
  x, y = np.meshgrid(*(nodes(side, SPACING) for side in shape[::-1]))
  return carrington_pixels(magnetogram, *wcs.wcs_pix2world(x, y, 0))


# Coarser and finer than the image, and partly beyond its edge.
@pytest.mark.parametrize(('scale', 'east'), [(1.39, 0.0), (0.3, 0.0), (1.39, 7.0)])
def test_means_are_those_of_reproject(cutout, scale, east):
  centre, size = (CENTRE_11158[0] + east, CENTRE_11158[1]), 60
  expected = postel_patch(cutout, *centre, size, scale, max_angle_deg=90).field
  field = footprint_means(
    jnp.asarray(cutout.data), *positions(cutout, centre, (size, size), scale), (size, size), SPACING
  )
  assert field.shape == (size, size) and field.dtype == np.float32
  assert np.sum(np.isnan(field) != np.isnan(expected)) <= 0.01 * field.size
  both = np.isfinite(field) & np.isfinite(expected)
  assert both.mean() > 0.4 and (east == 0) == both.all()
  # Of a field that goes to 1500 G.
  np.testing.assert_allclose(field[both], expected[both], atol=0.5)


def test_a_lost_pixel_costs_its_own_area_alone(cutout):
  shape, holes = (40, 40), np.array(cutout.data)
  holes[::5, ::5] = np.nan
  at = positions(cutout, CENTRE_11158, shape, 1.39)
  field = footprint_means(jnp.asarray(np.where(np.isnan(holes), np.nan, 7.0)), *at, shape, SPACING)
  np.testing.assert_allclose(field, 7.0, rtol=1e-5)
  # More than half of every footprint: nothing is said.
  holes[:, ::2] = np.nan
  holes[::3] = np.nan
  assert np.isnan(footprint_means(jnp.asarray(holes), *at, shape, SPACING)).all()


def test_smooth_values_between_nodes():
  y, x = np.meshgrid(nodes(30, 8), nodes(50, 8), indexing='ij')
  found = interpolate(np.sin(y / 40) * np.cos(x / 40), (30, 50), 8)
  y, x = np.indices((30, 50))
  np.testing.assert_allclose(found, np.sin(y / 40) * np.cos(x / 40), atol=1e-4)
