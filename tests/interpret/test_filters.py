"""Responders to flux: regression and permutation against other implementations, verdicts in worlds of known answer."""

import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.interpret import filters
from hearjax.interpret.filters import CLAIMS, NEGATIVE, POSITIVE, FilterSettings
from hearjax.interpret.findings import CONTRADICTED, SKILL, SUPPORTED, UNKNOWN, judge, skill
from hearjax.interpret.maps import members_of
from hearjax.interpret.network import EmergenceAdapter
from hearjax.interpret.references import ReferenceSettings, make_meter, make_references
from hearjax.interpret.statistics import Draws
from hearjax.maps.features import central_unsigned_flux, unsigned_flux
from hearjax.models.network import ModelSettings, build_model
from tests.conftest import make_survey
from tests.hand_made import polarity_flux
from tests.interpret.test_variants import subject_of

SETTINGS = FilterSettings(permutations=99)


def numbers(pairs=10, intervals=3, n_filters=4, seed=0):
  """Returns contributions, fluxes, cells, regions, labels and intervals of random maps."""
  rng = np.random.default_rng(seed)
  region, interval = (axis.ravel() for axis in np.indices((2 * pairs, intervals)))
  label = region % 2
  cell = 2 * interval + label
  flux = rng.normal(size=(2, len(label))) + rng.normal(size=(2, 2 * pairs))[:, region] + cell
  flux[1] += 0.5 * flux[0]
  # What a filter says of a region at different times goes together, as the flux does.
  added = rng.normal(size=(n_filters, len(label))) + 2 * rng.normal(size=(n_filters, 2 * pairs))[:, region] + cell
  return added, flux, cell, region, label, interval


# --- Flux ---------------------------------------------------------------------------------------------------------


def test_fluxes_are_those_of_the_square_that_the_network_sees():
  survey = make_survey(size=32)
  network, _ = make_meter(ModelSettings(crop_px=16), survey.pixel_scale_mm, True, 5.0)
  field = survey.field[3, 8:24, 8:24]
  centre, whole = (flux(field, survey.pixel_scale_mm) for flux in (central_unsigned_flux, unsigned_flux))
  found = filters.log_fluxes(network, survey, np.array([1, 3]))
  np.testing.assert_allclose(found[:, 1], np.log10([centre, whole - centre]), rtol=1e-6)


def test_no_flux_has_a_logarithm():
  survey = make_survey(size=32)
  field = survey.field.copy()
  field[0], field[1] = 0, np.nan
  network, _ = make_meter(ModelSettings(crop_px=0), survey.pixel_scale_mm, True, 5.0)
  found = filters.log_fluxes(network, survey.replace(field=field), np.arange(3))
  assert np.isfinite(found).all() and np.all(found[:, :2] < found[:, 2:] - 0.5)
  # A square that is all centre has no rest.
  small, _ = make_meter(ModelSettings(crop_px=6), survey.pixel_scale_mm, True, 5.0)
  rest = filters.log_fluxes(small, survey, np.arange(3))[1]
  assert np.ptp(rest) == 0


# --- Regression ---------------------------------------------------------------------------------------------------


def test_coefficients_are_those_of_least_squares_with_dummies_in_every_draw():
  added, flux, cell, _, _, _ = numbers()
  weight = np.random.default_rng(1).integers(0, 4, (3, len(cell)))
  weight[0] = 1
  found = filters.regress(added, flux, cell, weight, 6)
  for draw, counts in enumerate(weight):
    rows = np.repeat(np.arange(len(cell)), counts)
    design = np.concatenate([flux[:, rows], np.eye(6)[cell[rows]].T]).T
    expected = np.linalg.lstsq(design, added[:, rows].T)[0][:2].T
    np.testing.assert_allclose(found.per_dex[draw], expected, rtol=1e-8)
    means = [flux[:, rows][:, cell[rows] == number].mean(axis=1) for number in range(6)]
    np.testing.assert_allclose(found.means[draw], means, rtol=1e-10)


def test_what_does_not_vary_has_no_coefficient():
  added, flux, cell, _, _, _ = numbers()
  flux[1] = cell
  weight = np.ones((2, len(cell)))
  weight[1, cell == 2] = 0
  found = filters.regress(added, flux, cell, weight, 6)
  assert np.all(found.per_dex[:, :, 1] == 0) and np.all(found.per_dex[:, :, 0] != 0)
  assert np.isnan(found.means[1, 2]).all() and np.isfinite(found.means[0]).all()


def test_whole_regions_of_a_class_and_the_same_intervals_change_places():
  _, _, _, region, label, interval = numbers()
  rows = np.delete(np.arange(len(region)), [0, 7])  # Two regions lack an interval, each another one.
  region, label, interval = region[rows], label[rows], interval[rows]
  moved = filters.permute_regions(region, label, interval, 50, 0)
  assert np.all(label[moved] == label) and np.all(interval[moved] == interval)
  for places in moved:
    assert sorted(places) == list(range(len(rows)))
    for number in np.unique(region):
      assert len(set(region[places[region == number]])) == 1
  assert np.any(moved != np.arange(len(rows)), axis=1).all()
  # The two that lack an interval have no other of their kind.
  alone = np.isin(region, [number for number in np.unique(region) if np.sum(region == number) == 2])
  assert alone.sum() == 4 and np.all(moved[:, alone] == np.flatnonzero(alone))


def test_one_network_in_twenty_is_found_to_respond_where_none_does():
  least = []
  for seed in range(200):
    added, flux, cell, region, label, interval = numbers(n_filters=8, seed=seed)
    moved = filters.permute_regions(region, label, interval, 99, seed)
    least.append(filters.family_wise(added, flux, cell, moved).min())
  assert 0.01 < np.mean(np.array(least) <= 0.05) < 0.1


def test_a_filter_that_follows_a_flux_is_found_and_no_other():
  added, flux, cell, region, label, interval = numbers(pairs=20)
  added[2] += 3 * flux[1]
  added[3] = 0  # A dead filter.
  moved = filters.permute_regions(region, label, interval, 99, 0)
  found = filters.family_wise(added, flux, cell, moved)
  assert found[2, 1] == 0.01 and found[[0, 1, 3]].min() > 0.05
  np.testing.assert_array_equal(found[3], 1)


def test_responders_are_significant_of_one_sign_and_not_small():
  response = np.array([[0.5, -0.1], [-0.5, 0.1], [0.5, 0.1], [0.5, 0.1], [0.005, 0.0], [0.1, -0.5]])
  of_class = np.stack([np.sign(response)] * 2)
  of_class[0, 3, 0] = -1  # Another sign in one of the classes.
  probability = np.full(response.shape, 0.01)
  probability[2, 0] = 0.2
  found = filters.responders(response, of_class, probability, FilterSettings())
  assert found.tolist() == [1, -1, 0, 0, 0, -1]


# --- A network ----------------------------------------------------------------------------------------------------


def bright_survey(pairs=30, ratio=3.0, size=16, seed=0):
  """Returns regions of which the emerging ones have more flux, everywhere, and each its own at all times."""
  survey = make_survey(pairs=pairs, intervals=(-2, -1), size=size)
  rng = np.random.default_rng(seed)
  level = rng.lognormal(3.0, 0.4, len(survey.region_ids))[survey.region]
  level = level * np.where(survey.label == 1, ratio, 1.0) * rng.lognormal(0.0, 0.1, len(survey))
  field = level[:, None, None] * rng.normal(size=(len(survey), size, size))
  return survey.replace(field=field.astype(np.float32))


def meter(survey, weight, **settings):
  """Returns two filters, one for each polarity, with the given weights, and the logarithm of their averages."""
  model, params = polarity_flux(log_pool=0.01, logit=weight, **settings)
  return subject_of(EmergenceAdapter(build_model(model, survey.pixel_scale_mm)), params, survey)


def test_a_meter_responds_positively_and_all_of_its_difference_is_flux():
  survey = bright_survey()
  draws = Draws.of(survey, 100, 0)
  found = filters.measure(meter(survey, [1.0, 1.0]), survey, draws, SETTINGS)
  assert found.sign.tolist() == [1, 1]
  label = survey.label[found.subject.rows.test]
  difference = found.logit[label == 1].mean() - found.logit[label == 0].mean()
  samples = found.samples
  assert samples[POSITIVE.name][0] == pytest.approx(difference / found.added.std(axis=1).sum(), rel=0.05)
  assert np.all(samples[NEGATIVE.name] == 0)
  assert samples[POSITIVE.name].shape == (101,) and np.std(samples[POSITIVE.name][1:]) > 0
  # ln(flux) is 2.3 of each factor of ten, of both fluxes together, in either filter.
  np.testing.assert_allclose(found.per_dex[0].sum(axis=1), np.log(10), rtol=0.03)
  assert found.flow.shape == (101, 2, 2) and found.before.all()


def test_filters_that_cancel_carry_nothing_together():
  survey = bright_survey()
  draws = Draws.of(survey, 100, 0)
  found = filters.measure(meter(survey, [1.0, -0.9]), survey, draws, SETTINGS)
  assert found.sign.tolist() == [1, -1]
  total = sum(found.samples[claim.name][0] for claim in CLAIMS)
  assert found.samples[POSITIVE.name][0] > 0.5 > -0.5 > found.samples[NEGATIVE.name][0]
  assert abs(total) < 0.2


def test_only_intervals_before_emergence_count():
  survey = bright_survey()
  draws = Draws.of(survey, 20, 0)
  after = survey.replace(hours=np.where(survey.interval == -1, 2.4, survey.hours))
  subject = meter(survey, [1.0, 1.0])
  found = filters.measure(subject, after, draws, SETTINGS)
  assert found.before.tolist() == [True, False]
  np.testing.assert_allclose(found.samples[POSITIVE.name], found.flow_by(1)[:, 0])


def test_one_class_has_no_difference():
  survey = bright_survey(pairs=9)
  subject = meter(survey, [1.0, 1.0])
  found = filters.measure(subject, survey.replace(label=np.ones_like(survey.label)), Draws.of(survey, 20, 0), SETTINGS)
  assert np.isnan(found.samples[POSITIVE.name]).all()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'family_error': 0.0}, 'lies between 0 and 1'),
    ({'smallest_response': -0.1}, 'not negative'),
    ({'permutations': 5}, '5 permutations cannot show'),
  ],
)
def test_impossible_settings_are_refused(change, message):
  with pytest.raises(UserError, match=message):
    FilterSettings(**change)


# --- Known worlds -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
  ('world', 'positive', 'negative'),
  [
    ('flux', SUPPORTED, CONTRADICTED),
    ('null', UNKNOWN, UNKNOWN),
    ('pattern_small', CONTRADICTED, CONTRADICTED),
  ],
)
def test_the_verdict_is_that_of_the_world(known_world, world, positive, negative):
  run = known_world(world)
  subjects = [*members_of(run), *make_references(run, ReferenceSettings(), 0)]
  draws = Draws.of(run.survey, 300, 0)
  claims = {SKILL: skill(subjects, run.survey, draws)}
  found = [filters.measure(subject, run.survey, draws, FilterSettings()) for subject in subjects]
  for claim in CLAIMS:
    claims[claim] = {}
    for each in found:
      claims[claim].setdefault(each.subject.group, []).append(each.samples[claim.name])
  verdicts = {row['claim']: row['verdict'] for row in judge(claims, 0)}
  assert verdicts[POSITIVE.name] == positive
  assert verdicts[NEGATIVE.name] == negative
