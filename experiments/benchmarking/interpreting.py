"""Groups of `benchmark` about what a network has learnt: the sweep, elimination, synthetic fields."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from hearjax.interpret import pruning
from hearjax.interpret.network import EmergenceAdapter, contributions, logits
from hearjax.interpret.planting import UNIT_MX, at_unit_flux
from hearjax.maps.synthetic import Grid, Shape
from hearjax.models.network import ModelSettings
from hearjax.solar import CM2_PER_MM2, DEFAULT_PIXEL_SCALE_MM

from .common import FULL, build, noise, pytorch
from .timing import Case, Group

SIZES, CHECKED = 30, pruning.PruningSettings().checked  # Of a path of elimination.


def sweep(size: dict, seed: int) -> Iterator[Group]:
  """All single-filter ablations of a network: one forward pass each, by hooks, against the sweep of hearjax."""
  n = size['sweep_maps']
  for name, settings, limits in (
    ('sweep', ModelSettings(), {'smallest_speedup': 20}),
    ('sweep, strides 2, 2, 2, 2', ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2)), {}),
  ):
    model, params = build(settings)
    network, field, filters = EmergenceAdapter(model), noise(n, seed), tuple(range(sum(settings.widths)))
    ours: dict[str, Case] = {
      'one forward pass': functools.partial(logits, network, params, field),
      'every filter dropped alone': functools.partial(contributions, network, params, field, filters),
    }
    theirs = pytorch.sweep_cases(model, params, field) if pytorch else {}
    # Relative to the hooks where they can be run, else to a forward pass.
    target = 'every filter dropped alone' if theirs and limits else ''
    yield Group(name, {**ours, **theirs}, tuple(theirs), target=target, **limits)


def elimination(size: dict, seed: int) -> Iterator[Group]:
  """Greedy backward elimination down to one filter in each layer: the default network, and one of 176 filters."""
  default = ModelSettings(widths=ModelSettings().widths if size is FULL else size['wide'])
  wide = ModelSettings(widths=size['wide'], strides=(2, 2, 2, 2))
  n = size['path_maps']
  field, label = noise(n, seed), np.arange(n) % 2

  def eliminate(settings: ModelSettings) -> Case:
    model, params = build(settings)
    network = EmergenceAdapter(model)
    sizes = pruning.path_sizes(network, SIZES)
    return lambda: pruning.eliminate(network, params, field, label, sizes, CHECKED)

  cases = {'the default network': eliminate(default), '176 filters, strides 2, 2, 2, 2': eliminate(wide)}
  yield Group('elimination', cases, target='176 filters, strides 2, 2, 2, 2', largest_seconds=60, once=True)


def response(size: dict, seed: int) -> Iterator[Group]:
  """Synthetic bipoles made and scored one by one in NumPy, against all in batches."""
  model, params = build(ModelSettings())
  network = EmergenceAdapter(model)
  grid = Grid(ModelSettings().crop_px, DEFAULT_PIXEL_SCALE_MM)
  rng = np.random.default_rng(seed)
  n = size['fields']
  scale, flux, tilt = rng.uniform(4, 20, n), rng.uniform(1e19, 1e21, n), rng.uniform(0, 360, n)
  nothing = np.zeros(n)
  shape = Shape(scale, scale / 5, tilt, nothing, nothing, nothing, jnp.broadcast_to(jax.random.key(0), (n,)))
  everywhere = np.ones((1, grid.size, grid.size))

  def one_by_one() -> list[float]:
    fields = (numpy_bipole(grid, *parameters) for parameters in zip(scale, flux, tilt, strict=True))
    return [float(logits(network, params, field[None], chunk=1)[0]) for field in fields]

  def in_batches() -> np.ndarray:
    fields = at_unit_flux('bipole', grid, shape, everywhere)[0] * (flux / UNIT_MX)[:, None, None]
    return logits(network, params, fields.astype(np.float32))

  yield Group(
    'response', {'one by one in NumPy': one_by_one, 'in batches': in_batches}, target='in batches', smallest_speedup=5
  )


def numpy_bipole(grid: Grid, scale_mm: float, flux_mx: float, tilt_deg: float) -> np.ndarray:
  """Returns `[y, x]` the bipole of `hearjax.maps.synthetic` [G], as a user of NumPy would write it."""
  axis = scale_mm / 2 * np.array([np.cos(np.deg2rad(tilt_deg)), -np.sin(np.deg2rad(tilt_deg))])
  field = np.zeros((grid.size, grid.size))
  for sign in (1, -1):
    in_x, in_y = (np.diff(erf((grid.edges_mm() - sign * place) / (scale_mm / 5 * np.sqrt(2)))) / 2 for place in axis)
    field += sign * in_y[:, None] * in_x
  field *= flux_mx / (np.abs(field).sum() * grid.pixel_scale_mm**2 * CM2_PER_MM2)
  return field.astype(np.float32)
