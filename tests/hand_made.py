"""Finished runs of networks whose parameters are set by hand, so that it is known what they read."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from hearjax import predictions
from hearjax.cross_validation import FoldRows
from hearjax.ensemble import Ensemble, member_name
from hearjax.finished_run import FinishedRun
from hearjax.interpret.out_of_fold import changed_logits
from hearjax.model import ModelSettings, build_model
from hearjax.survey.survey import Survey


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


def make_run(directory: pathlib.Path, survey: Survey, settings: ModelSettings, members, folds: int = 1) -> FinishedRun:
  """Returns a run, its folds dealt out by pair, with its predictions at the threshold of the median.

  Args:
    directory: Where the predictions go.
    survey: The survey.
    settings: Of the network.
    members: Parameters of each member, fold by fold; one set for all.
    folds: Number of folds.
  """
  members = members if isinstance(members, list) else [members] * folds
  params = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf, jnp.float32) for leaf in leaves]), *members)
  seeds = len(members) // folds
  names = tuple(member_name(fold, seed) for fold in range(folds) for seed in range(seeds))
  none = np.arange(0)
  rows = [FoldRows(none, none, np.flatnonzero(np.asarray(survey.pair) % folds == fold)) for fold in range(folds)]
  ensemble = Ensemble(build_model(settings, survey.pixel_scale_mm), params, names, {})
  run = FinishedRun(pathlib.Path(directory), ensemble, survey, rows, 'checksum')
  if np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])).all():
    logit = changed_logits(run).astype(float)
    columns = {
      'row': np.arange(len(survey)),
      'fold': np.asarray(survey.pair) % folds,
      'seed': np.zeros(len(survey), int),
    }
    threshold = np.full(len(survey), 1 / (1 + np.exp(-np.median(logit))))
    table = predictions.build_predictions(survey, columns | {'logit': logit, 'threshold': threshold}, 'cnn', {})
    predictions.write_predictions(run.directory / 'predictions' / 'cnn.ecsv', table)
  return run
