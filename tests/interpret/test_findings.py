"""The rule by which a claim is supported, contradicted, or cannot be told."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_table
from hearjax.interpret.findings import (
  CONTRADICTED,
  SKILL,
  SUPPORTED,
  UNKNOWN,
  Claim,
  add_findings,
  judge,
  skill,
  told,
)
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.references import FLUX_METER, UNTRAINED
from hearjax.interpret.statistics import Draws
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux, with_fields

CLAIM = Claim('width', 'Narrow is better', 'sd', 0.25, (UNTRAINED,))
NOISE = np.random.default_rng(0).normal(size=400)  # Of the pairs: the same for all networks.


def effects(mean, error=0.1, networks=4):
  """Returns samples of an effect with a standard error over the pairs, which all networks share."""
  return [np.append(mean, mean + error * NOISE) for _ in range(networks)]


def verdict(samples, skilled=0.3, claim=CLAIM):
  found = judge({SKILL: {MEMBERS: effects(skilled, 0.02)}, claim: samples}, seed=0)
  rows = found[found['claim'] == claim.name]
  return rows['verdict'][0], rows['reason'][0]


def test_an_effect_beyond_what_cannot_have_it_is_supported():
  assert verdict({MEMBERS: effects(1.0), UNTRAINED: effects(0.2)})[0] == SUPPORTED


def test_an_effect_that_a_reference_has_too_is_not():
  said, reason = verdict({MEMBERS: effects(1.0), UNTRAINED: effects(1.0, error=0.3)})
  assert said == UNKNOWN
  assert reason == 'not beyond untrained'
  # What may have the effect stands beside it and decides nothing.
  assert verdict({MEMBERS: effects(1.0), UNTRAINED: effects(0.0), FLUX_METER: effects(2.0)})[0] == SUPPORTED


def test_pairs_that_all_share_do_not_blur_the_excess():
  # The intervals overlap by far; that of the difference does not hold 0.
  assert verdict({MEMBERS: effects(2.0, error=0.5), UNTRAINED: effects(1.5, error=0.5)})[0] == SUPPORTED


def test_an_effect_that_does_not_matter_is_contradicted():
  assert verdict({MEMBERS: effects(0.0), UNTRAINED: effects(0.0)})[0] == CONTRADICTED
  assert verdict({MEMBERS: effects(-3.0), UNTRAINED: effects(0.0)})[0] == CONTRADICTED
  assert verdict({MEMBERS: effects(0.3), UNTRAINED: effects(-1.0)})[0] == UNKNOWN


def test_without_skill_or_reference_nothing_is_supported():
  samples = {MEMBERS: effects(1.0), UNTRAINED: effects(0.0)}
  assert verdict(samples, skilled=0.0) == (UNKNOWN, 'the networks have no skill')
  assert verdict({MEMBERS: effects(0.0), UNTRAINED: effects(0.0)}, skilled=0.0)[0] == UNKNOWN
  assert verdict({MEMBERS: effects(1.0)}) == (UNKNOWN, 'no untrained to compare with')
  assert verdict({MEMBERS: [np.full(401, np.nan)], UNTRAINED: effects(0.0)})[0] == UNKNOWN


def test_networks_that_disagree_widen_the_interval():
  agree = [np.full(401, 1.0)] * 4
  differ = [np.full(401, value) for value in (4.0, 0.0, 0.0, 0.0)]
  reference = {UNTRAINED: [np.zeros(401)] * 4}
  assert verdict({MEMBERS: agree, **reference})[0] == SUPPORTED
  assert verdict({MEMBERS: differ, **reference})[0] == UNKNOWN


def test_skill_is_the_auc_of_the_test_folds():
  survey = with_fields(
    make_survey(pairs=6, intervals=(-1,), size=48), lambda rng, label: np.full((48, 48), 5.0 + label)
  )
  settings, params = polarity_flux()
  run = make_run(survey, settings, params, folds=2)
  samples = skill(members_of(run), survey, Draws.of(survey, 20, 0))
  assert [values[0] for values in samples[MEMBERS]] == [0.5, 0.5]
  found = judge({SKILL: samples}, 0)
  assert found['verdict'][0] == SUPPORTED
  assert found['low'][0] == 0.5


def test_findings_are_added_to_those_of_other_scripts(tmp_path):
  path, meta = tmp_path / 'findings.ecsv', {'survey_checksum': 'a'}
  width = judge({SKILL: {MEMBERS: effects(0.3, 0.02)}, CLAIM: {MEMBERS: effects(1.0), UNTRAINED: effects(0.0)}}, 0)
  other = judge({SKILL: {MEMBERS: effects(0.3, 0.02)}, Claim('b', 'B', 'sd', 0, ()): {MEMBERS: effects(1.0)}}, 0)
  add_findings(path, width, meta)
  both = add_findings(path, other, meta)
  assert sorted(both['claim']) == ['b', 'skill', 'width', 'width']
  assert len(add_findings(path, width, meta)) == 4
  assert set(Table.read(path)['verdict']) == {SUPPORTED}
  # Those of another survey are no company.
  assert set(add_findings(path, other, {'survey_checksum': 'b'})['claim']) == {'skill', 'b'}
  text = told(both)
  assert 'supported: Narrow is better (beyond all that cannot have it).' in text
  assert 'untrained +0.00' in text
  assert '*' not in text


def test_a_table_of_something_else_is_left_alone(tmp_path):
  path = tmp_path / 'findings.ecsv'
  write_table(path, Table({'a': [1]}))
  with pytest.raises(UserError, match='no table of findings'):
    add_findings(path, judge({SKILL: {MEMBERS: effects(0.3)}}, 0), {'survey_checksum': 'a'})
