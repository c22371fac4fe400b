"""Effects of width, distance, scale and flux: by hand, of networks whose preference is known, in worlds that are."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table, vstack

from hearjax.files import write_table
from hearjax.interpret import preferences
from hearjax.interpret.findings import SKILL, SUPPORTED, judge, skill
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.planting import NO_PAIR
from hearjax.interpret.preferences import CLOSE, INTENSE, NARROW, SMALL
from hearjax.interpret.references import (
  EXCHANGED,
  FIELD_METER,
  UNTRAINED,
  ReferenceSettings,
  make_meter,
  make_references,
)
from hearjax.interpret.statistics import Draws
from hearjax.interpret.synthetic import NOTHING, SyntheticSettings, measure
from tests.conftest import make_survey
from tests.hand_made import make_run, polarity_flux

FEW = SyntheticSettings(families=('bipole', 'spot', 'quadrupole'), sizes=4, fluxes=2, samples=4)


@pytest.fixture(scope='module')
def survey():
  return make_survey(pairs=8, size=48)


def effects_of(survey, settings, params, chosen=FEW):
  measured = measure(members_of(make_run(survey, settings, params)), survey, chosen)
  return preferences.effects(measured, Draws.of(survey, 50, 0))


def effect(found, family, axis, fixed):
  return found[family, axis, fixed][MEMBERS][0][0]


# --- By hand ------------------------------------------------------------------------------------------------------


def hand_measured(name, group, sign=1.0, pair=(0, 1)):
  """Bipoles of three widths and two distances: the logit is the width at one background, ten times it at the other."""
  rows = [{'family': NOTHING, 'width_mm': np.nan, 'distance_mm': np.nan, 'fixed': '-', 'flux_mx': 0.0, 'at': 0.0}]
  for fixed in ('total', 'window'):
    for flux in (1e19, 4e19):
      for width in (3.0, 5.0, 8.0):
        for distance in (4.0, 16.0):
          rows.append(
            {
              'family': 'bipole',
              'width_mm': width,
              'distance_mm': distance,
              'fixed': fixed,
              'flux_mx': flux,
              'at': (10 - width + 0.1 * distance) * (1 if flux < 2e19 else 2),
            }
          )
  table = Table(rows)
  at = np.asarray(table['at'])[:, None]
  table['scale_mm'], table['inside'], table['spread'] = np.nan, True, 2.0
  table['subject'], table['group'] = name, group
  table['pair'] = np.broadcast_to(pair, (len(table), 2))
  table['logit'] = 7.0 + sign * at * np.array([1.0, 10.0])
  return table


def hand_draws():
  return Draws(np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 0, 3]]), 0)


def test_effects_by_hand():
  found = preferences.effects(hand_measured('a', MEMBERS), hand_draws())
  assert set(found) == {('bipole', axis, fixed) for axis in ('width', 'distance', 'flux') for fixed in FIXED}
  # Narrow less wide: 5 at the weaker flux and 10 at the stronger; 7.5 on the first background, ten times on the other.
  (widths,) = found['bipole', 'width', 'window'][MEMBERS]
  np.testing.assert_allclose(widths, np.array([7.5 * 5.5, 7.5, 75, np.nan]) / UNIT)
  # Close less distant: -1.2 and -2.4.
  np.testing.assert_allclose(found['bipole', 'distance', 'total'][MEMBERS][0][:2], np.array([-1.8 * 5.5, -1.8]) / UNIT)
  # Much flux less little: the mean of 10 - 16 / 3 + 1.
  np.testing.assert_allclose(found['bipole', 'flux', 'window'][MEMBERS][0][1], (11 - 16 / 3) / UNIT)


# What bipoles give in the mean of both backgrounds, and its standard deviation over all of them.
WEAK = np.array([10 - width + 0.1 * distance for width in (3, 5, 8) for distance in (4, 16)])
UNIT = 5.5 * np.std([*WEAK, *(2 * WEAK)])


FIXED = ('total', 'window')


@pytest.mark.parametrize(('n', 'expected'), [(2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (8, 3)])
def test_thirds(n, expected):
  small, large = preferences.thirds(np.repeat(np.geomspace(3, 20, n), 2))
  assert small.sum() == large.sum() == 2 * expected and not np.any(small & large)


def test_references_of_either_sign_are_turned_and_meters_are_not():
  groups = (MEMBERS, FIELD_METER, UNTRAINED, EXCHANGED)
  parts = [hand_measured(group, group, sign=1.0 if group == MEMBERS else -1.0) for group in groups]
  measured = vstack(parts)
  found = preferences.effects(measured, hand_draws())
  first = {group: found['bipole', 'width', 'window'][group][0][0] for group in groups}
  assert first[MEMBERS] == first[UNTRAINED] == first[EXCHANGED] == -first[FIELD_METER] > 0
  # That the output grows with flux is what is asked of them there.
  flux = found['bipole', 'flux', 'window']
  assert flux[UNTRAINED][0][0] == flux[FIELD_METER][0][0] == -flux[MEMBERS][0][0] < 0
  assert preferences.curve_table(measured, hand_draws()).meta['turned'] == [UNTRAINED, EXCHANGED]
  # Members whose output falls with flux turn them the other way.
  measured['logit'] *= -1
  turned = preferences.effects(measured, hand_draws())['bipole', 'width', 'window']
  assert turned[UNTRAINED][0][0] == turned[MEMBERS][0][0] == -first[MEMBERS]


def test_a_network_that_says_nothing_has_no_effect():
  measured = hand_measured('a', MEMBERS)
  measured['spread'], measured['logit'] = 0.0, 7.0
  assert np.isnan(preferences.effects(measured, hand_draws())['bipole', 'width', 'window'][MEMBERS][0]).all()


def test_backgrounds_of_no_pair_count_in_every_draw():
  found = preferences.effects(hand_measured('a', MEMBERS, pair=(NO_PAIR, NO_PAIR)), hand_draws())
  np.testing.assert_allclose(found['bipole', 'width', 'window'][MEMBERS][0], 7.5 * 5.5 / UNIT)


def test_tables_by_hand():
  measured = vstack([hand_measured('a', MEMBERS), hand_measured('b', UNTRAINED, sign=-1.0)])
  response = preferences.response_table(measured, hand_draws())
  assert len(response) == 2 * 24 and str(response['width_mm'].unit) == 'Mm' and str(response['flux_mx'].unit) == 'Mx'
  (row,) = response[
    (response['networks'] == MEMBERS)
    & (response['fixed'] == 'window')
    & (response['flux_mx'] == 4e19)
    & (response['width_mm'] == 5)
    & (response['distance_mm'] == 16)
  ]
  # 2 x 6.6 on the first background and ten times it on the other, in units of 2; percentiles of the two draws of one.
  np.testing.assert_allclose(row['rise'], 6.6 * 5.5)
  np.testing.assert_allclose((row['low'], row['high']), 6.6 + 59.4 * np.array([0.025, 0.975]))
  curves = preferences.curve_table(measured, hand_draws())
  chosen = (curves['axis'] == 'width') & (curves['fixed'] == 'total') & (curves['networks'] == UNTRAINED)
  np.testing.assert_allclose(curves['value'][chosen], [3, 5, 8])
  np.testing.assert_allclose(curves['rise'][chosen], np.array([8, 6, 3]) * 1.5 * 5.5 / 2)
  table = preferences.effect_table(preferences.effects(measured, hand_draws()), 0)
  assert len(table) == 2 * 3 * 2 and set(table['n']) == {1}


def test_small_is_the_mean_over_the_other_families(survey):
  found = effects_of(survey, *polarity_flux(limit_gauss=100.0))
  claims = preferences.claims(found)
  expected = [
    effect(found, family, axis, 'window') - abs(effect(found, family, 'flux', 'window'))
    for family, axis in (('spot', 'width'), ('quadrupole', 'scale'))
  ]
  assert claims[SMALL][MEMBERS][0][0] == pytest.approx(np.mean(expected))
  assert set(claims) == {NARROW, CLOSE, SMALL, INTENSE}
  alone = {key: samples for key, samples in found.items() if key[0] == 'bipole'}
  assert set(preferences.claims(alone)) == {NARROW, CLOSE, INTENSE}
  assert set(preferences.claims({key: each for key, each in found.items() if key[0] == 'spot'})) == {SMALL}


def test_effects_can_be_made_again_from_what_was_kept(survey, tmp_path):
  subjects = members_of(make_run(survey, *polarity_flux(limit_gauss=100.0), folds=2))
  measured = measure(subjects, survey, dataclasses.replace(FEW, derivatives=True))
  write_table(tmp_path / 'measured.fits', measured)
  draws = Draws.of(survey, 20, 0)
  before, after = (
    preferences.effects(each, draws) for each in (measured, preferences.read_measured(tmp_path / 'measured.fits'))
  )
  assert list(before) == list(after)
  for key, samples in before.items():
    np.testing.assert_array_equal(samples[MEMBERS], after[key][MEMBERS])
  response = preferences.response_table(preferences.read_measured(tmp_path / 'measured.fits'), draws)
  # At fixed shape the rise is nearly the flux: so is its derivative by the logarithm of it.
  near = response[(response['family'] == 'spot') & (response['width_mm'] > 7.9) & (response['fixed'] == 'total')]
  assert np.all(near['d_ln_flux'] > 0.5 * near['rise'])


# --- Networks whose preference is known ---------------------------------------------------------------------------


def test_a_meter_of_the_window_is_blind_at_fixed_window_flux_alone(survey):
  settings, _ = polarity_flux(centre_mm=5.0)
  meter, params = make_meter(settings, 1.39, True, 5.0)
  subjects = members_of(make_run(survey, meter.model.settings, params))
  bare = dataclasses.replace(FEW, background='none')
  measured = measure(subjects, survey, bare)
  rows = measured[measured['fixed'] == 'window']
  # By hand: flux over the area that the window weighs, in units of 100 G.
  axis = (np.arange(48) - 23.5) * 1.39
  window = np.exp(-(axis[:, None] ** 2 + axis**2) / 50)
  expected = np.asarray(rows['flux_mx']) / (1.39**2 * 1e16) * window.max() / window.sum() / 100
  np.testing.assert_allclose(rows['logit'], np.broadcast_to(expected[:, None], rows['logit'].shape), rtol=1e-3)
  draws = Draws.of(survey, 20, 0)
  found = preferences.effects(measured, draws)
  for key, samples in found.items():
    if key[1] != 'flux' and key[2] == 'window':
      assert abs(samples[MEMBERS][0][0]) < 1e-3 * effect(found, key[0], 'flux', 'window')
  # At fixed total flux, poles that part leave the window.
  assert effect(found, 'bipole', 'distance', 'total') > 0.3 * effect(found, 'bipole', 'flux', 'total')
  # So it is in noise of 10 G, which cancels a good part of what is weak and wide.
  found = preferences.effects(measure(subjects, survey, FEW), draws)
  for family, axis in (('bipole', 'width'), ('bipole', 'distance'), ('quadrupole', 'scale')):
    assert abs(effect(found, family, axis, 'window')) < 1e-3 * effect(found, family, 'flux', 'window')


def test_networks_with_a_preference_are_found_out(survey):
  def relative(found, family, axis, fixed):
    return effect(found, family, axis, fixed) / effect(found, family, 'flux', fixed)

  settings, params = polarity_flux(limit_gauss=40.0)  # What is strong is clipped: wide fields give more.
  clipped = effects_of(survey, settings, params)
  assert relative(clipped, 'bipole', 'width', 'total') < -0.2 and relative(clipped, 'spot', 'width', 'total') < -0.2
  settings, params = polarity_flux()
  params['params']['convolution_0']['bias'] = np.full(2, -30.0)  # What is weak gives nothing.
  intense = effects_of(survey, settings, params)
  assert relative(intense, 'bipole', 'width', 'total') > 0.2 and relative(intense, 'spot', 'width', 'window') > 0.2
  assert effect(intense, 'bipole', 'flux', 'total') > 0


# --- Worlds -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('world', ['flux', 'null'])
def test_where_scale_makes_no_difference_none_is_claimed(known_world, world):
  run = known_world(world).at_learnt_intervals()
  subjects = [*members_of(run), *make_references(run, ReferenceSettings(), 0)]
  draws = Draws.of(run.survey, 200, 0)
  measured = measure(subjects, run.survey, SyntheticSettings())
  claims = {SKILL: skill(subjects, run.survey, draws), **preferences.claims(preferences.effects(measured, draws))}
  found = judge(claims, 0)
  for claim in (NARROW, CLOSE, SMALL):
    assert found['verdict'][found['claim'] == claim.name][0] != SUPPORTED
  # Nor by the meter itself, in the place of the networks.
  alone = {claim: {**samples, MEMBERS: samples[FIELD_METER]} for claim, samples in claims.items()}
  found = judge(alone, 0)
  assert all(found['verdict'][found['claim'] == claim.name][0] != SUPPORTED for claim in (NARROW, CLOSE, SMALL))
