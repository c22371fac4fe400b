"""The compacted network: one from which dropped filters are really gone, so that it is smaller and faster."""

import dataclasses
import json
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.files import told_as_damaged, write_whole
from hearjax.interpret.network import masked_logits
from hearjax.interpret.pruning import Pruned
from hearjax.models.network import EmergenceNetwork, ModelSettings, build_model
from hearjax.survey.survey import Survey
from hearjax.training import checkpoints
from hearjax.training.ensemble import member_logits
from hearjax.training.step import Params

DESCRIPTION_NAME = 'model.json'
REPEATS = 5
TIMED_MAPS = 128


def count_parameters(settings: ModelSettings, kept: np.ndarray) -> int:
  """Returns the parameters of a network without the dropped filters; `kept` is `[filter]` bool."""
  widths = [int(part.sum()) for part in _by_layer(settings, kept)]
  inputs = [1, *widths[:-1]]
  layers = sum(width * (side**2 * n + 1) for width, side, n in zip(widths, settings.kernels, inputs, strict=True))
  return layers + (2 if settings.centre_mm else 1) * widths[-1] + 1


def _by_layer(settings: ModelSettings, kept: np.ndarray) -> list[np.ndarray]:
  return np.split(np.asarray(kept, bool), np.cumsum(settings.widths)[:-1])


def kernels(params: Params) -> list[np.ndarray]:
  """Returns `[y, x, input, filter]` kernels of each layer of one of hearjax's own networks."""
  layers = {name: layer for name, layer in params['params'].items() if name.startswith('convolution_')}
  return [np.asarray(layers[f'convolution_{number}']['kernel']) for number in range(len(layers))]


def compact(settings: ModelSettings, params: Params, kept: np.ndarray) -> tuple[ModelSettings, Params]:
  """Cuts the dropped filters out of a network.

  A filter has a kernel and a bias in its own layer, an input channel in the next one, and after the last layer one
  weight of the logit for every average over the map.

  Args:
    settings: Of the network.
    params: Its parameters.
    kept: `[filter]` bool, what is left; at least one filter in each layer.

  Returns:
    Settings and parameters of the smaller network; its logits are those of the masked one.

  Raises:
    UserError: A layer has no filter left.
  """
  full = jax.tree.map(np.asarray, params['params'])  # On the device every cut would be a program of its own.
  parts = _by_layer(settings, kept)
  widths = tuple(int(part.sum()) for part in parts)
  if not all(widths):
    raise UserError(f'Layer {widths.index(0)} has no filter left; a network needs at least one in each.')
  below = np.array([0])  # The map itself is the one channel of the first layer.
  smaller = {}
  for number, part in enumerate(parts):
    name = f'convolution_{number}'
    own = np.flatnonzero(part)
    layer = full[name]
    smaller[name] = {'kernel': layer['kernel'][:, :, below][..., own], 'bias': layer['bias'][own]}
    below = own
  weights = full['logit']
  averages = len(weights['kernel']) // settings.widths[-1]
  of_logit = np.concatenate([average * settings.widths[-1] + below for average in range(averages)])
  smaller['logit'] = {'kernel': weights['kernel'][of_logit], 'bias': weights['bias']}
  return dataclasses.replace(settings, widths=widths), {'params': smaller}


def save_compacted(
  directory: str | os.PathLike, model: EmergenceNetwork, params: Params, kept: np.ndarray, size: int
) -> None:
  """Writes a compacted network: its checkpoint, and last `model.json`, which says what it is.

  Args:
    directory: Folder of this one network.
    model, params: The compacted network.
    kept: `[filter]` bool, the filters of the full network that it consists of.
    size: Side of the maps that it was trained on [px].

  Raises:
    OSError: It cannot be written.
  """
  directory = pathlib.Path(directory)
  checkpoints.save_params(directory, params)
  description: dict[str, Any] = {
    'model': dataclasses.asdict(model.settings),
    'pixel_scale_mm': model.pixel_scale_mm,
    'size': size,
    'kept': np.flatnonzero(kept).tolist(),
  }
  text = json.dumps(description, indent=1) + '\n'
  write_whole(directory / DESCRIPTION_NAME, lambda temporary: temporary.write_text(text))


def load_compacted(directory: str | os.PathLike) -> tuple[EmergenceNetwork, Params]:
  """Returns the network that `save_compacted` wrote, and its parameters.

  Raises:
    FileNotFoundError: There is none.
    UserError: It is damaged.
  """
  path = pathlib.Path(directory) / DESCRIPTION_NAME
  if not path.is_file():
    raise FileNotFoundError(f'{directory} holds no compacted network: there is no {DESCRIPTION_NAME} in it; run prune.')
  with told_as_damaged(path, 'run prune again'):
    description = json.loads(path.read_text())
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in description['model'].items()}
    model = build_model(ModelSettings(**settings), description['pixel_scale_mm'])
    size = int(description['size'])
  like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size)))
  return model, checkpoints.restore_params(directory, like)


def seconds_per_1000(model: EmergenceNetwork, params: Params, field: np.ndarray) -> float:
  """Returns the time of a forward pass for 1000 maps [s]: the median of several, without compilation.

  Args:
    model, params: The network.
    field: `[n, y, x]` maps to measure with [G].
  """
  field = jax.device_put(field)
  seconds = []
  for _ in range(REPEATS + 1):
    started = time.perf_counter()
    member_logits(params, field, model=model).block_until_ready()
    seconds.append(time.perf_counter() - started)
  return 1000 / len(field) * float(np.median(seconds[1:]))  # The first one compiles.


def compact_pruned(pruned: Pruned, survey: Survey, directory: pathlib.Path) -> dict[str, Any]:
  """Saves what pruning leaves of one of hearjax's own networks, without the filters that it does not need.

  Returns:
    The row of the network in `compacted.ecsv`: parameters and seconds for 1000 maps before and after, and the largest
    difference of a logit between the network that was saved and the masked one.
  """
  subject, kept = pruned.subject, pruned.minimal
  full, params = subject.network.model, subject.params
  settings, smaller = compact(full.settings, params, kept)
  field = survey.field[subject.rows.test[:TIMED_MAPS]]
  save_compacted(directory, build_model(settings, full.pixel_scale_mm), smaller, kept, field.shape[-1])
  model, smaller = load_compacted(directory)
  masked = masked_logits(subject.network, params, field, kept[None])[0]
  return {
    'member': subject.name,
    'n_filters': len(kept),
    'n_filters_compacted': int(kept.sum()),
    'parameters': count_parameters(full.settings, np.ones_like(kept)),
    'parameters_compacted': count_parameters(full.settings, kept),
    'seconds_per_1000': seconds_per_1000(full, params, field),
    'seconds_per_1000_compacted': seconds_per_1000(model, smaller, field),
    'largest_difference': float(np.abs(member_logits(smaller, field, model=model) - masked).max()),
  }
