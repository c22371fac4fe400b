"""One step, against the optimiser alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hearjax.models.network import build_model
from hearjax.training.settings import TrainSettings
from hearjax.training.step import create_states, train_step
from tests.training.small_run import MODEL, NO_CHANGES, survey_and_splits


def test_a_step_lowers_the_loss_as_the_optimiser_alone_would():
  survey, _ = survey_and_splits()
  settings = TrainSettings(epochs=1, batch_size=4, average_decay=0.0, augmentation=NO_CHANGES)
  model = build_model(MODEL, 1.39)
  tx = optax.sgd(0.05)
  states = create_states(model, tx, jax.random.key(0)[None], 16)
  state = jax.tree.map(lambda leaf: leaf[0], states)
  rows = np.array([0, 3, 17, 30])
  field, label = jnp.asarray(survey.field), jnp.asarray(survey.label)

  def loss_of(params):  # Written out by hand: the cross-entropy of the sigmoid.
    p = jax.nn.sigmoid(model.apply(params, field[rows]))
    y = label[rows]
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))

  expected_loss, gradient = jax.value_and_grad(loss_of)(state.params)
  expected = jax.tree.map(lambda p, g: np.asarray(p - 0.05 * g), state.params, gradient)
  step = jax.jit(train_step, static_argnames=('model', 'tx', 'settings'))
  state, loss = step(state, field, rows, label[rows], jax.random.key(1), model=model, tx=tx, settings=settings)
  assert float(loss) == pytest.approx(float(expected_loss), rel=1e-4)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state.params, expected)
  jax.tree.map(np.testing.assert_array_equal, state.params, state.average)
