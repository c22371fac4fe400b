"""Runs of networks whose parameters are set by hand, so that it is known what they read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.interpret.maps import changed_logits
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.folds import Fold, Splits
from hearjax.survey.survey import Survey, checksum
from hearjax.training.ensemble import Ensemble, member_name, stack_members
from hearjax.training.run import Run
from hearjax.training.settings import RunSettings
from hearjax.verification.predictions import build_predictions


def one_layer(kernels, bias=0.0, logit=1.0, strides=(1,), **settings):
  """Returns settings and parameters of one ReLU layer and a logit.

  Args:
    kernels: `[ky, kx, filter]` of the layer.
    bias: Of all filters.
    logit: Weights of the averages: a number, or one for each.
    strides: Of the layer [px].
    **settings: Of the model; neither logarithm nor central window by default.
  """
  kernels = np.asarray(kernels, float)
  filters = kernels.shape[-1]
  settings = {'centre_mm': 0.0, 'log_pool': 0.0, 'crop_px': 0, 'limit_gauss': 1e6, 'scale_gauss': 1.0} | settings
  model = ModelSettings(widths=(filters,), kernels=(len(kernels),), strides=strides, **settings)
  averages = filters * (2 if model.centre_mm else 1)
  params = {
    'convolution_0': {'kernel': kernels[:, :, None, :], 'bias': np.full(filters, bias)},
    'logit': {'kernel': np.broadcast_to(np.reshape(logit, (-1, 1)), (averages, 1)), 'bias': np.zeros(1)},
  }
  return model, {'params': params}


def polarity_flux(**settings):
  """Returns a network of the mean of |B| in each polarity: relu(B) and relu(-B)."""
  return one_layer([[[1.0, -1.0]]], **settings)


def with_fields(survey: Survey, draw, seed: int = 0) -> Survey:
  """Returns the survey with `draw(rng, label)` as the field of each magnetogram."""
  rng = np.random.default_rng(seed)
  return survey.replace(field=np.stack([draw(rng, label) for label in survey.label]).astype(np.float32))


def make_run(survey: Survey, settings: ModelSettings, members, folds: int = 1) -> Run:
  """Returns a run, its folds dealt out by pair, with its predictions at the threshold of the median.

  Args:
    survey: The survey.
    settings: Of the network.
    members: Parameters of each member, fold by fold; one set for all.
    folds: Number of folds.
  """
  members = members if isinstance(members, list) else [members] * folds
  params = stack_members(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), members))
  seeds = len(members) // folds
  names = tuple(member_name(fold, seed) for fold in range(folds) for seed in range(seeds))
  dealt = [tuple(name for pair, name in enumerate(survey.pair_ids) if pair % folds == fold) for fold in range(folds)]
  splits = Splits(tuple(Fold(test, (), ()) for test in dealt), 0, 0.0, 0.0, checksum(survey))
  ensemble = Ensemble(build_model(settings, survey.pixel_scale_mm), params, names, {})
  run = Run(survey, splits, RunSettings(model=settings), ensemble, None)
  if not np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])).all():
    return run
  logit = changed_logits(run).astype(float)
  columns = {
    'row': np.arange(len(survey)),
    'fold': survey.pair % folds,
    'seed': np.zeros(len(survey), int),
    'logit': logit,
    'threshold': np.full(len(survey), 1 / (1 + np.exp(-np.median(logit)))),
  }
  return dataclasses.replace(run, predictions=build_predictions(survey, columns, 'cnn', {}))
