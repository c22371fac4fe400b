"""Runs of networks whose parameters are set by hand, so that it is known what they read."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from scipy.special import expit, logit

from hearjax.interpret.maps import members_of, subject_logits
from hearjax.models.network import ModelSettings, build_model
from hearjax.survey.folds import Fold, Splits
from hearjax.survey.survey import Survey, checksum
from hearjax.training.ensemble import Ensemble, member_name, stack_members
from hearjax.training.run import Run
from hearjax.training.settings import RunSettings
from hearjax.verification.predictions import build_predictions, check_predictions


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


def make_run(survey: Survey, settings: ModelSettings, members, folds: int = 1, **domain) -> Run:
  """Returns a run, its folds dealt out by pair, with its predictions at the threshold of the median.

  Args:
    survey: The survey.
    settings: Of the network.
    members: Parameters of each member, fold by fold; one set for all.
    folds: Number of folds.
    **domain: What the networks are said to have been trained on.
  """
  members = members if isinstance(members, list) else [members] * folds
  params = stack_members(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), members))
  seeds = len(members) // folds
  names = tuple(member_name(fold, seed) for fold in range(folds) for seed in range(seeds))
  dealt = [tuple(name for pair, name in enumerate(survey.pair_ids) if pair % folds == fold) for fold in range(folds)]
  splits = Splits(tuple(Fold(test, (), ()) for test in dealt), 0, 0.0, 0.0, checksum(survey))
  ensemble = Ensemble(build_model(settings, survey.pixel_scale_mm), params, names, domain, 0.5)
  run = Run(survey, splits, RunSettings(model=settings), ensemble, None)
  if not np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])).all():
    return run
  said = np.zeros(len(survey))
  for subject in members_of(run):
    said[subject.rows.test] += subject_logits(subject, survey) / seeds
  columns = {
    'row': np.arange(len(survey)),
    'fold': survey.pair % folds,
    'seed': np.zeros(len(survey), int),
    'logit': said,
    'threshold': np.full(len(survey), 1 / (1 + np.exp(-np.median(said)))),
  }
  return dataclasses.replace(run, predictions=build_predictions(survey, columns, 'cnn', {}))


DOMAIN = {
  'unsigned_flux_mx': [1e20, 4e21],
  'peak_gauss': [50.0, 900.0],
  'min_mu': 0.42,
  'max_missing': 0.2,
  'source': 'simulated',
  'pixel_scale_mm': 1.39,
  'size': 48,
  'n_frames': 547,
}


HOURS = {-5: -24.27, -4: -18.93, -3: -13.6, -2: -8.27, -1: -2.93, 0: 2.4}


def make_table(probability, model='cnn', intervals=(-1,), threshold=0.5, n_folds=4, seed=0) -> Table:
  """A predictions table of `[pair, region, interval]` probabilities; region 0 of a pair is the control."""
  n_pairs, _, n_intervals = probability.shape
  pair, label, number = (axis.ravel() for axis in np.indices((n_pairs, 2, n_intervals)))
  interval = np.asarray(intervals)[number]
  table = Table()
  table['region_id'] = [f'{"EAR" if one else "CR"}{p:03d}' for p, one in zip(pair, label, strict=True)]
  table['pair_id'] = [f'pair{p:03d}' for p in pair]
  table['label'], table['interval'] = label, interval
  table['hours'] = [HOURS[i] for i in interval]
  table['fold'], table['seed'] = pair % n_folds, seed
  table['logit'] = logit(probability.ravel())
  table['probability'] = probability.ravel()
  table['threshold'] = np.broadcast_to(threshold, len(table))
  table.meta = {'model': model, 'settings': {}, 'survey_checksum': 'abc', 'survey_source': 'simulated'}
  return check_predictions(table, model)


def random_table(n_pairs=60, intervals=(-5, -1), skill=0.0, seed=0, **keywords) -> Table:
  shift = skill * np.array([-0.5, 0.5])[:, None]
  noise = np.random.default_rng(seed).standard_normal((n_pairs, 2, len(intervals)))
  return make_table(expit(noise + shift), intervals=intervals, **keywords)
