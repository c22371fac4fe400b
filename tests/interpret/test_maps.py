"""Logits of the test folds."""

import numpy as np
import pytest

from hearjax.interpret import maps
from hearjax.interpret.maps import changed_logits
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux, with_fields


def noise(rng, label):
  """Returns 48 x 48 px of white noise, stronger in PE."""
  return rng.normal(0, 20 + 10 * label, (48, 48))


@pytest.fixture(scope='module')
def noisy_survey():
  return with_fields(make_survey(pairs=4, intervals=(-1,), size=48), noise)


def test_logits_are_those_of_the_members_of_the_test_fold(noisy_survey, monkeypatch):
  settings, params = polarity_flux()
  scaled = [
    {'params': params['params'] | {'logit': {'kernel': np.full((2, 1), w), 'bias': np.zeros(1)}}} for w in (1, 3, 5, 9)
  ]
  run = make_run(noisy_survey, settings, scaled, folds=2)
  expected = np.abs(noisy_survey.field).mean(axis=(1, 2)) * np.where(noisy_survey.pair % 2, 7, 2)
  np.testing.assert_allclose(changed_logits(run), expected, rtol=1e-5)
  doubled = changed_logits(run, lambda field, rows: field * rows[:, None, None])
  monkeypatch.setattr(maps, 'CHUNK', 3)
  np.testing.assert_allclose(doubled, expected * np.arange(len(expected)), rtol=1e-5)
  np.testing.assert_allclose(changed_logits(run), expected, rtol=1e-5)
