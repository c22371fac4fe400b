"""Epochs and predictions."""

import jax
import jax.numpy as jnp
import numpy as np

from hearjax.models.network import build_model
from hearjax.training.loop import epoch_batches, predict
from hearjax.training.placement import Resident
from tests.training.small_run import MODEL, survey_and_splits


def test_predictions_do_not_depend_on_the_batch_size():
  survey, _ = survey_and_splits()
  model = build_model(MODEL, 1.39)
  params = jax.jit(model.init)(jax.random.key(0), survey.field[:1])
  rows = np.arange(13)
  feed = Resident(jnp.asarray(survey.field))
  one, five, many = (predict(model, params, feed, rows, size) for size in (1, 5, 64))
  np.testing.assert_allclose(one, five, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


def test_an_epoch_sees_every_row_once():
  batches = epoch_batches(jax.random.key(3), 2, np.arange(100, 124), 3, 8)
  assert sorted(batches.ravel()) == list(range(100, 124))
  again = epoch_batches(jax.random.key(3), 2, np.arange(100, 124), 3, 8)
  np.testing.assert_array_equal(batches, again)
  assert not np.array_equal(batches, epoch_batches(jax.random.key(3), 3, np.arange(100, 124), 3, 8))
