"""Groups of `benchmark` about what a network has learnt: the sweep, elimination, synthetic fields."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from hearjax.interpret import ablation, pruning
from hearjax.interpret.probes import Probes, field_logits, measure_probes
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.network import ModelSettings
from hearjax.solar import CM2_PER_MM2, DEFAULT_PIXEL_SCALE_MM

from .common import FULL, build, noise, pytorch
from .timing import Case, Group


def sweep(size: dict, seed: int) -> Iterator[Group]:
  """All single-filter ablations of a network: one forward pass each, by hooks, against the sweep of hearjax."""
  n = size['sweep_maps']
  for name, settings, limits in (
    ('sweep', ModelSettings(), {'smallest_speedup': 20}),
    ('sweep, strides 2, 2, 2, 2', ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)), {}),
  ):
    model, params = build(settings)
    field = noise(n, seed)
    ours: dict[str, Case] = {
      'one forward pass': functools.partial(field_logits, model, params, field),
      'every filter dropped alone': lambda model=model, params=params, field=field: ablation.sweep(
        model, params, field
      ),
    }
    theirs = pytorch.sweep_cases(model, params, field) if pytorch else {}
    # Relative to the hooks where they can be run, else to a forward pass.
    target = 'every filter dropped alone' if theirs and limits else ''
    yield Group(name, {**ours, **theirs}, tuple(theirs), target=target, **limits)


def elimination(size: dict, seed: int) -> Iterator[Group]:
  """Greedy backward elimination down to one filter in each layer: the default network, and one of 176 filters."""
  default = build(ModelSettings(widths=ModelSettings().widths if size is FULL else size['wide']))
  wide = build(ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)))
  n = size['path_maps']
  part = pruning.Part(noise(n, seed), np.arange(n) % 2, np.arange(n) // 2)
  cases = {
    'the default network': lambda: pruning.eliminate(*default, part),
    '176 filters, strides 2, 2, 2, 2': lambda: pruning.eliminate(*wide, part),
  }
  yield Group('elimination', cases, target='176 filters, strides 2, 2, 2, 2', largest_seconds=60, once=True)


def response(size: dict, seed: int) -> Iterator[Group]:
  """Synthetic bipoles made and scored one by one in NumPy, against all in batches."""
  model, params = build(ModelSettings())
  grid = Grid(ModelSettings().crop_px, DEFAULT_PIXEL_SCALE_MM)
  rng = np.random.default_rng(seed)
  n = size['fields']
  scale, flux, tilt = rng.uniform(4, 20, n), rng.uniform(1e19, 1e21, n), rng.uniform(0, 360, n)
  nothing = np.zeros(n)
  keys = jnp.broadcast_to(jax.random.key(0), (n,))
  shape = Shape(scale, scale / 5, tilt, nothing, nothing, nothing, keys)
  batch = Probes('bipole', grid, shape, flux, np.ones(n, bool), np.zeros(n, int))
  background = np.zeros((1, grid.size, grid.size), np.float32)

  def one_by_one() -> list[float]:
    fields = (numpy_bipole(grid, *parameters) for parameters in zip(scale, flux, tilt, strict=True))
    return [float(field_logits(model, params, field[None], chunk=1)[0]) for field in fields]

  cases = {
    'one by one in NumPy': one_by_one,
    'in batches': lambda: measure_probes(model, [params], batch, [background])[0],
  }
  yield Group('response', cases, target='in batches', smallest_speedup=5)


def numpy_bipole(grid: Grid, scale_mm: float, flux_mx: float, tilt_deg: float) -> np.ndarray:
  """Returns `[y, x]` the bipole of `hearjax.maps.synthetic` [G], as a user of NumPy would write it."""
  axis = scale_mm / 2 * np.array([np.cos(np.deg2rad(tilt_deg)), -np.sin(np.deg2rad(tilt_deg))])
  field = np.zeros((grid.size, grid.size))
  for sign in (1, -1):
    in_x, in_y = (np.diff(erf((grid.edges_mm() - sign * place) / (scale_mm / 5 * np.sqrt(2)))) / 2 for place in axis)
    field += sign * in_y[:, None] * in_x
  field *= flux_mx / (np.abs(field).sum() * grid.pixel_scale_mm**2 * CM2_PER_MM2)
  return field.astype(np.float32)
