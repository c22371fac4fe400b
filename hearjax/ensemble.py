"""The trained members of a work directory, as one predictor."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hearjax import checkpoints, workdir
from hearjax.chunks import map_chunks
from hearjax.model import EmergenceNetwork, ModelSettings, build_model


@dataclasses.dataclass(frozen=True)
class Ensemble:
  """Networks of one shape.

  Attributes:
    model: The network.
    params: Parameters, with a leading axis over the members.
    names: Name of each member, `fold00_seed0` and so on.
    domain: What they were trained on (`scoring.training_domain`).
  """

  model: EmergenceNetwork
  params: Any
  names: tuple[str, ...]
  domain: dict[str, Any]


def member_name(fold: int, seed: int) -> str:
  """Returns the name of a member, and of its folder among the checkpoints."""
  return f'fold{fold:02d}_seed{seed}'


def load(directory: str | os.PathLike) -> Ensemble:
  """Loads all members of a finished work directory.

  Raises:
    FileNotFoundError: It is not a work directory, or a member has no checkpoint.
    ValueError: A checkpoint is of another model than config.json says, or its parameters are not finite.
  """
  directory = pathlib.Path(directory)
  config = workdir.read_config(directory)
  run, domain = config['settings'], config['domain']
  if not (directory / 'predictions' / 'cnn.ecsv').is_file():
    raise FileNotFoundError(f'{directory} holds no finished training; run train to its end first.')
  settings = {key: tuple(value) if isinstance(value, list) else value for key, value in run['model'].items()}
  model = build_model(ModelSettings(**settings), domain['pixel_scale_mm'])
  like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, domain['size'], domain['size'])))
  names = tuple(member_name(fold, seed) for fold in range(run['folds']) for seed in range(run['seeds']))
  params = [checkpoints.restore_params(directory / 'checkpoints' / name, like) for name in names]
  for name, member in zip(names, params, strict=True):
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(member)):
      raise ValueError(f'The parameters of {name} in {directory} are not all finite; train that run again.')
  return Ensemble(model, jax.tree.map(lambda *leaves: jnp.stack(leaves), *params), names, domain)


def logits(ensemble: Ensemble, field: np.ndarray, chunk: int = 64) -> np.ndarray:
  """Returns `[member, n]` logits of `[n, y, x]` field [G], NaN where missing."""
  score = functools.partial(_logits, ensemble.params, model=ensemble.model)
  return map_chunks(score, field, min(chunk, len(field)), axis=1)


@functools.partial(jax.jit, static_argnames='model')
def member_logits(params: Any, field: jax.Array, *, model: EmergenceNetwork) -> jax.Array:
  """Returns `[n]` logits of one network for `[n, y, x]` field [G]; compiled once for all members."""
  return model.apply(params, field)


@functools.partial(jax.jit, static_argnames='model')
def _logits(params: Any, field: jax.Array, *, model: EmergenceNetwork) -> jax.Array:
  return jax.lax.map(lambda member: model.apply(member, field), params)
