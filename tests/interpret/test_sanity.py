"""Sanity of attribution: orders and resemblances whose answer is known."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.interpret import sanity, sanity_tables
from hearjax.interpret.attribution import AttributionSettings
from hearjax.interpret.findings import CONTRADICTED, SKILL, SUPPORTED, UNKNOWN, judge, skill
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.references import EXCHANGED, FIELD_METER, UNTRAINED, ReferenceSettings, make_references
from hearjax.interpret.sanity import SanitySettings
from hearjax.interpret.sanity_tables import LEARNT, PLACES
from hearjax.interpret.statistics import Draws
from tests.interpret.test_attribution import SIZE, members, run  # noqa: F401


def said_by(weights):
  return lambda maps: np.einsum('yx,nyx->n', weights, maps) + 3.0


def test_rank_correlation_is_that_of_scipy():
  rng = np.random.default_rng(0)
  first = rng.normal(size=(3, 5, 5)).round(1)  # With ties.
  second = first + rng.normal(size=(3, 5, 5)).round(1)
  expected = [scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
  np.testing.assert_allclose(sanity.rank_correlation(first, second), expected)
  assert np.all(sanity.rank_correlation(first, np.zeros_like(first)) == 0)


def test_deletion_and_insertion_by_hand():
  field = np.zeros((1, 2, 2), np.float32)
  field[0] = [[-1.0, 4.0], [np.nan, 5.0]]
  weights = np.array([[1.0, 1.0], [9.0, -1.0]], np.float32)
  order = np.array([[[3.0, 2.0], [0.0, 1.0]]])
  curves = sanity.curves(said_by(weights), field, order)
  # The flux is 10: after 0.1, 0.5 and 1 of it, the pixels -1, 4 and 5 are gone; the logit is 3 + (-1 + 4 - 5) at first.
  at = {round(share, 2): number for number, share in enumerate(sanity.SHARES)}
  shares = (0.0, 0.1, 0.4, 0.5, 0.9, 1.0)
  assert [curves['deletion'][0, at[share]] for share in shares] == [1, 2, 2, -2, -2, 3]
  assert [curves['insertion'][0, at[share]] for share in shares] == [3, 2, 2, 6, 6, 1]


def test_the_true_order_beats_chance_and_the_reverse_order_loses():
  rng = np.random.default_rng(0)
  field = rng.normal(0, 10, (6, SIZE, SIZE)).astype(np.float32)
  weights = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
  true, chance, reverse = (
    sanity.curves(said_by(weights), field, order)
    for order in (weights * field, rng.random(field.shape), -weights * field)
  )
  for check in sanity.CHECKS:
    assert np.all(sanity.area_beyond(true[check], chance[check], check) > 0)
    assert np.all(sanity.area_beyond(reverse[check], chance[check], check) < 0)


def test_networks_are_checked_and_their_claims_told(run, members):  # noqa: F811
  methods = ('gradient_x_input', 'integrated_gradients')
  draws = Draws.of(run.survey, 20, 0)
  settings, attribution = SanitySettings(pairs=2, smooth_mm=3.0), AttributionSettings(steps=4)
  alike, followed = sanity.measure(members, run.survey, methods, settings, attribution, seed=0)
  claims = sanity_tables.claims(alike, followed, draws)
  assert len(claims[PLACES][MEMBERS]) == 4
  assert LEARNT not in claims  # There are no untrained networks to compare with.
  table, curves = sanity_tables.sanity_table(alike, followed, draws), sanity_tables.curve_table(followed)
  assert set(table['check']) == {sanity.RESEMBLANCE, *sanity.CHECKS}
  assert np.all(table['low'] <= table['high'])
  whole = curves[(curves['check'] == 'deletion') & (curves['share'] == 0)]
  np.testing.assert_allclose(whole['logit'], 0, atol=1e-6)
  assert set(curves['order']) == {*methods, sanity.FIELD, sanity.RANDOM}


def test_networks_are_compared_with_the_next_of_their_kind_and_with_untrained_ones_of_their_test(members):  # noqa: F811
  def other(name, group, like):
    return dataclasses.replace(members[like], name=name, group=group)

  untrained = [
    other(f'u{number}', UNTRAINED, 2 * (number // 2)) for number in range(4)
  ]  # Two for each of the two tests.
  exchanged = [other(f'e{number}', EXCHANGED, 2 * number) for number in range(2)]
  subjects = [*members, other('meter', FIELD_METER, 0), *untrained, *exchanged]

  def found(subject):
    return [(to, each.name) for to, each in sanity._others(subjects, subject)]

  names = [member.name for member in members]
  kin, strangers = sanity.KIN, sanity.STRANGERS
  assert found(members[0]) == [(kin, names[1]), (strangers, 'u0'), (strangers, 'u1')]
  assert found(members[3]) == [(kin, names[0]), (strangers, 'u2'), (strangers, 'u3')]
  assert found(exchanged[1]) == [(kin, 'e0'), (strangers, 'u2'), (strangers, 'u3')]
  assert found(untrained[0]) == [(kin, 'u1'), (strangers, 'u3')]
  assert found(subjects[4]) == []
  alone = [members[0], untrained[0]]  # No kin: nothing to compare with but a stranger.
  assert [to for to, _ in sanity._others(alone, members[0])] == [strangers]
  assert sanity._others(alone, untrained[0]) == []


def test_what_is_learnt_is_resemblance_beyond_that_to_untrained_networks():
  def row(subject, group, to, region, signed):
    names = {'method': 'occlusion', 'subject': subject, 'group': group, 'other': '', 'to': to}
    return names | {'row': region, 'region': region, 'pair': region, 'signed': signed, 'absolute': 0.0}

  said = {(MEMBERS, sanity.KIN): (0.9, 0.5), (MEMBERS, sanity.STRANGERS): (0.1, -0.1), (UNTRAINED, sanity.KIN): (0, 0)}
  alike = Table([row(group, group, to, region, float(values[region]))
                 for (group, to), values in said.items() for region in (0, 1)])  # fmt: skip
  order = {'by': 'signed', 'subject': 'm', 'group': MEMBERS, 'judge': 'm', 'row': 0, 'region': 0, 'pair': 0}
  fall = {'insertion': 0.0 * sanity.SHARES}
  followed = Table(
    [
      {'order': 'occlusion', **order, 'deletion': -np.minimum(1, 2 * sanity.SHARES), **fall},
      {'order': sanity.FIELD, **order, 'deletion': -sanity.SHARES, **fall},
    ]
  )
  claims = sanity_tables.claims(alike, followed, Draws(np.array([[1, 1], [2, 0]]), 0))
  np.testing.assert_allclose(claims[LEARNT][MEMBERS], [[0.7, 0.8]])
  assert np.isnan(claims[LEARNT][UNTRAINED]).all()  # It has no other untrained network to be compared with.
  np.testing.assert_allclose(claims[PLACES][MEMBERS], [[0.25, 0.25]])  # The area between the two curves.


@pytest.mark.slow
@pytest.mark.parametrize(
  ('world', 'places'), [('pattern_small', [SUPPORTED]), ('flux', [CONTRADICTED, UNKNOWN]), ('null', [UNKNOWN])]
)
def test_places_matter_where_a_pattern_tells_the_classes_apart(known_world, world, places):
  run = known_world(world)  # noqa: F811
  subjects = [*members_of(run), *make_references(run, ReferenceSettings(), seed=0)]
  draws = Draws.of(run.survey, 200, 0)
  found = sanity.measure(subjects, run.survey, ['expected_gradients'], SanitySettings(), AttributionSettings(), seed=0)
  claims = sanity_tables.claims(*found, draws)
  verdicts = judge({SKILL: skill(subjects, run.survey, draws), **claims}, seed=0)
  verdict = dict(zip(verdicts['claim'], verdicts['verdict'], strict=True))
  assert verdict['places'] in places
  assert verdict['learnt'] == (UNKNOWN if world == 'null' else SUPPORTED)


def test_regions_are_the_units(run):  # noqa: F811
  draws = Draws(np.array([[1, 1], [2, 0]]), 0)
  rows = {'region': np.array([0, 0, 1]), 'pair': np.array([0, 0, 1])}
  found = sanity_tables.of_regions(np.array([1.0, 3.0, 6.0]), rows, draws)
  np.testing.assert_allclose(found, [4.0, 2.0])


@pytest.mark.parametrize('wrong', [{'pairs': 0}, {'maps': 0}, {'smooth_mm': float('inf')}])
def test_settings_that_make_no_sense(wrong):
  with pytest.raises(UserError):
    SanitySettings(**wrong)
