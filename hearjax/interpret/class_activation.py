"""Grad-CAM: the activations of the last layer, weighted with what they do to the logit, on the grid of the map."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.model import SYMMETRIES, EmergenceNetwork
from hearjax.training import Params
from hearjax.transforms import reverse_polarity


@functools.partial(jax.jit, static_argnames=('model', 'elementwise'))
def grad_cam(model: EmergenceNetwork, params: Params, field: jax.Array, elementwise: bool = False) -> jax.Array:
  """Weights the activations of the last layer with the gradient of the logit, and brings them to the grid of the map.

  Grad-CAM averages the gradient of each filter over the map and keeps the positive part of the sum over filters
  (Selvaraju et al. 2017, equations 1 and 2). This network averages its last layer over a central window besides the
  whole map: its gradient differs from place to place, and Grad-CAM cannot see the window. `elementwise` leaves the
  gradient where it is and keeps both signs (HiResCAM, Draelos & Carin 2020).

  Args:
    model: The network.
    params: Its parameters.
    field: `[n, y, x]` field [G], NaN where missing.
    elementwise: HiResCAM instead of Grad-CAM.

  Returns:
    `[n, y, x]` weighted activation per pixel [logit], interpolated linearly between the positions of the outputs.
  """
  size = field.shape[-1]
  last = model.apply(params, field, method='activations')[-1]
  # The read-out averages the versions of a map that symmetries add, so that their sum is what belongs together.
  slope = jax.grad(lambda maps: jnp.sum(model.apply(params, maps, size, method='read_out')))(last)
  if elementwise:
    heat = jnp.sum(slope * last, axis=-1)
  else:
    heat = jax.nn.relu(jnp.sum(jnp.mean(slope, axis=(1, 2), keepdims=True) * last, axis=-1))
  positions = model.settings.positions_px(size)
  grid = np.arange(size) - (size - 1) / 2
  onto_grid = np.stack([np.interp(grid, positions, unit) for unit in np.eye(len(positions))], axis=1)
  pixels_per_output = np.prod(model.settings.strides) ** 2
  heat = jnp.einsum('yi,nij,xj->nyx', onto_grid, heat, onto_grid) / pixels_per_output
  for name in reversed(model.settings.symmetries):
    original, version = jnp.split(heat, 2)
    if SYMMETRIES[name] is not reverse_polarity:  # Which moves no pixel.
      version = SYMMETRIES[name](version)
    heat = original + version
  return jnp.where(jnp.isfinite(field), heat, 0)
