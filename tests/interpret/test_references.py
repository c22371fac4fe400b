"""References: blind to what they must be blind to, one of each kind for every fold, kept for the next script."""

import collections
import dataclasses
import json

import jax
import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.interpret.maps import members_of, subject_logits
from hearjax.interpret.network import logits
from hearjax.interpret.references import (
  EXCHANGED,
  FIELD_METER,
  FLUX_METER,
  UNTRAINED,
  ReferenceSettings,
  exchange_labels,
  make_meter,
  make_references,
)
from hearjax.models.network import ModelSettings, central_window
from hearjax.training.run import Run
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux

SCALE = 1.39
SETTINGS = ReferenceSettings(untrained=2, exchanged=1, exchanged_epochs=1)


def test_meters_weigh_the_unsigned_field_and_nothing_else():
  like = ModelSettings(crop_px=32)
  field = np.random.default_rng(0).normal(0, 800, (3, 40, 40)).astype(np.float32)  # Beyond where networks clip.
  square = np.abs(field[:, 4:36, 4:36]) / 100
  flux, params = make_meter(like, SCALE, False, 5.0)
  np.testing.assert_allclose(logits(flux, params, field), square.mean(axis=(1, 2)), rtol=1e-5)
  centre, params = make_meter(like, SCALE, True, 5.0)
  positions = (np.arange(32) - 15.5) * SCALE
  expected = (square * central_window(positions, positions, like.centre_mm)).sum(axis=(1, 2))
  np.testing.assert_allclose(logits(centre, params, field), expected, rtol=1e-4)
  np.testing.assert_allclose(logits(centre, params, -field), expected, rtol=1e-4)


def test_a_meter_has_a_window_where_the_networks_have_none():
  meter, _ = make_meter(ModelSettings(centre_mm=0.0), SCALE, True, 7.0)
  assert meter.model.settings.centre_mm == 7.0


def test_labels_change_sides_within_pairs():
  survey = make_survey(pairs=200, intervals=(-2, -1), size=8)
  exchanged = exchange_labels(survey.label, survey.pair, [0, 1])
  changed = exchanged != survey.label
  for pair in range(20):
    assert len(set(changed[survey.pair == pair])) == 1
  assert 0.4 < changed.mean() < 0.6
  assert exchanged.mean() == 0.5


def test_there_is_one_of_each_kind_for_every_fold(quick_run, quick_survey):
  run = Run.load(quick_run, quick_survey).at_learnt_intervals()
  found = make_references(run, SETTINGS, seed=0)
  assert collections.Counter(subject.group for subject in found) == {
    FIELD_METER: 2,
    FLUX_METER: 2,
    UNTRAINED: 4,
    EXCHANGED: 2,
  }
  for subject in found:
    np.testing.assert_array_equal(subject.rows.test, run.folds[int(subject.name[-1])].test)
    assert np.isfinite(subject_logits(subject, run.survey)).all()
  # Untrained ones differ; those of exchanged labels are neither members nor untrained.
  said = {
    subject.name: logits(subject.network, subject.params, run.survey.field) for subject in found + members_of(run)
  }
  networks = [values for name, values in said.items() if 'meter' not in name]
  assert len({values.tobytes() for values in networks}) == len(networks)


def test_what_learnt_exchanged_labels_is_kept(finished, quick_survey):
  run = Run.load(finished, quick_survey).at_learnt_intervals()
  first, again = (make_references(run, SETTINGS, seed=3) for _ in range(2))
  record = finished / 'references' / 'references.json'
  written = record.stat().st_mtime_ns
  for one, other in zip(first, again, strict=True):
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
  make_references(run, SETTINGS, seed=4)
  assert record.stat().st_mtime_ns > written
  assert json.loads(record.read_text())['seed'] == 4
  record.write_text('{')
  with pytest.raises(UserError, match=r'references\.json'):
    make_references(run, SETTINGS, seed=4)


def test_one_class_gives_no_reference():
  survey = make_survey(pairs=4, intervals=(-1,), size=48)
  run = make_run(survey, *polarity_flux(), folds=2)
  run = dataclasses.replace(run, survey=survey.replace(label=np.ones_like(survey.label)))
  with pytest.raises(UserError, match='no labels to exchange'):
    make_references(run, SETTINGS, seed=0)


@pytest.mark.parametrize('change', [{'untrained': 0}, {'exchanged': 0}, {'exchanged_epochs': 0}, {'window_mm': 0.0}])
def test_impossible_settings_are_refused(change):
  with pytest.raises(UserError, match='References need'):
    ReferenceSettings(**change)
