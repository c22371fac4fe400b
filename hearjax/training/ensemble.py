"""The trained members of a run, as one predictor."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.checks import UserError
from hearjax.chunks import map_chunks
from hearjax.models.compilation import jit_convolutions
from hearjax.models.network import EmergenceNetwork, ModelSettings, build_model
from hearjax.training.checkpoints import restore_params
from hearjax.training.settings import parse_settings
from hearjax.training.step import Params
from hearjax.training.workdir import CHECKPOINTS, PRODUCT, member_name, read_config
from hearjax.verification.predictions import mean_threshold, read_predictions


@dataclasses.dataclass(frozen=True, repr=False)
class Ensemble:
  """Networks of one shape.

  Attributes:
    model: The network.
    params: Parameters on the host, with a leading axis over the members.
    names: Name of each member, `fold00_seed0` and so on.
    domain: What they were trained on (`forecast.domain.training_domain`).
    threshold: Probability, in a balanced set, at or above which emergence is forecast: chosen in training, the mean of
      the folds.
  """

  model: EmergenceNetwork
  params: Params
  names: tuple[str, ...]
  domain: dict[str, Any]
  threshold: float

  def __repr__(self) -> str:
    each = sum(leaf.size for leaf in jax.tree.leaves(self.params)) // len(self.names)
    return f'<Ensemble: {len(self.names)} networks of {each} parameters>'

  def logits(self, field: np.ndarray, chunk: int = 64) -> np.ndarray:
    """Returns `[member, n]` logits of `[n, y, x]` field [G], NaN where missing."""
    score = functools.partial(_logits, self.params, model=self.model)
    return map_chunks(score, field, min(chunk, len(field)), axis=1)

  @classmethod
  def load(cls, workdir: str | os.PathLike) -> 'Ensemble':
    """Loads all members of a finished work directory.

    Raises:
      FileNotFoundError: It is not a work directory, or a member has no checkpoint.
      UserError: A checkpoint is of another model than config.json says, its parameters are not finite, or the
        predictions are damaged.
    """
    workdir = pathlib.Path(workdir)
    config = read_config(workdir)
    run, domain = config['settings'], config['domain']
    if not (workdir / PRODUCT).is_file():
      raise FileNotFoundError(f'{workdir} holds no finished training; run train to its end first.')
    model = build_model(parse_settings(ModelSettings, run['model']), domain['pixel_scale_mm'])
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, domain['size'], domain['size'])))
    names = tuple(member_name(fold, seed) for fold in range(run['folds']) for seed in range(run['seeds']))
    params = [restore_params(workdir / CHECKPOINTS / name, like) for name in names]
    for name, member in zip(names, params, strict=True):
      if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(member)):
        raise UserError(f'The parameters of {name} in {workdir} are not all finite; train that run again.')
    threshold = mean_threshold(read_predictions(workdir / PRODUCT))
    return cls(model, stack_members(params), names, domain, threshold)


def stack_members(params: Sequence[Params]) -> Params:
  """Returns the parameters of several networks on the host, with a leading axis over them."""
  return jax.tree.map(lambda *leaves: np.stack(leaves), *params)


@jit_convolutions('model')
def member_logits(params: Params, field: jax.Array, *, model: EmergenceNetwork) -> jax.Array:
  """Returns `[n]` logits of one network for `[n, y, x]` field [G]; compiled once for all members."""
  return model.apply(params, field)


@functools.partial(jax.jit, static_argnames='model')
def _logits(params: Params, field: jax.Array, *, model: EmergenceNetwork) -> jax.Array:
  return jax.lax.map(lambda member: model.apply(member, field), params)
