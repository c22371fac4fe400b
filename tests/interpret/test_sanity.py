"""Sanity of attribution: orders and resemblances whose answer is known."""

import numpy as np
import pytest
import scipy.stats

from hearjax.checks import UserError
from hearjax.interpret import sanity, sanity_tables
from hearjax.interpret.attribution import AttributionSettings
from hearjax.interpret.maps import MEMBERS
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


def test_regions_are_the_units(run):  # noqa: F811
  draws = Draws(np.array([[1, 1], [2, 0]]), 0)
  rows = {'region': np.array([0, 0, 1]), 'pair': np.array([0, 0, 1])}
  found = sanity_tables.of_regions(np.array([1.0, 3.0, 6.0]), rows, draws)
  np.testing.assert_allclose(found, [4.0, 2.0])


@pytest.mark.parametrize('wrong', [{'pairs': 0}, {'maps': 0}, {'smooth_mm': float('inf')}])
def test_settings_that_make_no_sense(wrong):
  with pytest.raises(UserError):
    SanitySettings(**wrong)
