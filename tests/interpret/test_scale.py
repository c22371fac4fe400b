"""Scales: networks that read one width, distance or wavelength by construction, and those that read none."""

import dataclasses

import numpy as np
import pytest
from scipy.special import j0

from hearjax.checks import UserError
from hearjax.interpret import scale
from hearjax.interpret.findings import SKILL, SUPPORTED, judge, skill
from hearjax.interpret.maps import MEMBERS, members_of
from hearjax.interpret.references import ReferenceSettings, make_references
from hearjax.interpret.scale import PAIRING, WIDTH, Responses, ScaleSettings
from hearjax.interpret.statistics import Draws
from hearjax.maps.synthetic import Grid
from tests.conftest import make_survey
from tests.hand_made import make_run, one_layer, polarity_flux, with_fields

PIXEL_MM = 1.39
SETTINGS = ScaleSettings(pole_mx=1e20, maps=40, filtered_maps=16)


@pytest.fixture(scope='module')
def survey():
  """Forty pairs of 48 px of noise, a little stronger in PE."""
  faint = lambda rng, label: rng.normal(0, 12 + 3 * label, (48, 48))  # noqa: E731
  return with_fields(make_survey(pairs=40, intervals=(-1,), size=48), faint)


def respond(survey, network, settings=SETTINGS, resamples=20):
  draws = Draws.of(survey, resamples, 0)
  subjects = members_of(make_run(survey, *network))
  responses = scale.respond(subjects, survey, draws, settings, seed=0)
  table = scale.describe(subjects, survey, responses, settings, seed=0)
  return responses, table, table.meta


def curve(table, kind, group=MEMBERS):
  return table[(table['kind'] == kind) & (table['networks'] == group)]


# --- Width --------------------------------------------------------------------------------------------------------


def test_the_width_is_that_of_which_a_network_sees_most(survey):
  # It sees what of the field lies between 40 and 200 G: narrow poles are cut off above, wide ones below.
  low, high = 40.0, 200.0
  network = one_layer([[[1.0, -1.0]]], bias=-low, limit_gauss=high)
  alone = dataclasses.replace(SETTINGS, poles=1, reach=0.5)  # Few poles lie upon each other.
  responses, table, found = respond(survey, network, alone)
  fine = Grid(480, PIXEL_MM / 5)
  axis = fine.centres_mm()
  seen = []
  for width in curve(table, 'width')['at_mm']:
    # Averaged over pixels, which a pole near the limit of the grid notices.
    sigma = np.hypot(width / 2.3548, PIXEL_MM / np.sqrt(12))
    pole = np.exp(-(axis**2 + axis[:, None] ** 2) / (2 * sigma**2))
    pole *= SETTINGS.pole_mx / (pole.sum() * fine.pixel_cm2)
    seen.append(np.maximum(np.minimum(pole, high) - low, 0).sum())
  response = np.asarray(curve(table, 'width')['response'])
  assert np.corrcoef(response, seen)[0, 1] > 0.97
  assert 0 < np.argmax(response) < len(response) - 1
  expected = scale.highest(np.asarray(curve(table, 'width')['at_mm']), np.array(seen)) * np.exp(-scale.WIDTH_BIAS)
  assert found['width_mm'] == pytest.approx(expected, rel=0.15)
  assert scale.samples(responses)[WIDTH][MEMBERS][0][0] > 0.25


def test_a_meter_of_flux_has_no_width_and_no_distance(survey):
  responses, table, found = respond(survey, polarity_flux())
  samples = scale.samples(responses)
  assert samples[WIDTH][MEMBERS][0][0] < 0.25
  assert np.isnan(found['distance_mm'])
  # At its own flux a map is to it the same in every band.
  np.testing.assert_allclose(curve(table, 'wavelength')['response'], 0, atol=1e-4)


def curves_of(widths_mm, peaks_mm):
  """Returns responses of members that are largest at given widths, all draws alike."""
  nothing = np.zeros((2, 3, 5))
  return [
    Responses(
      'one',
      MEMBERS,
      -(np.log(widths_mm / peak)[:, None] ** 2) * np.ones(201),
      nothing,
      np.ones(3),
      nothing[0],
      nothing[0],
    )
    for peak in peaks_mm
  ]


def test_the_interval_of_a_width_holds_the_scatter_of_the_method():
  widths = np.geomspace(2, 24, 12)
  found = scale.found_width(curves_of(widths, [6.0, 6.0]), widths, seed=0)
  expected = 6.0 * np.exp(-scale.WIDTH_BIAS)
  assert found['width_mm'] == pytest.approx(expected, rel=0.01)
  assert found['width_mm_high'] / found['width_mm'] == pytest.approx(np.exp(1.96 * scale.WIDTH_SCATTER), rel=0.01)
  differing = scale.found_width(curves_of(widths, [3.0, 12.0]), widths, seed=0)
  assert differing['width_mm'] == pytest.approx(expected, rel=0.05)
  assert differing['width_mm_low'] < 0.6 * found['width_mm']


# --- Distance -----------------------------------------------------------------------------------------------------


def ring_kernel(wavelength_px):
  """Returns `[y, x]` J0(2 pi r / wavelength) under a Gaussian: plane waves of one wavelength, in all directions."""
  y, x = np.mgrid[-10:11, -10:11]
  r = np.hypot(y, x)
  kernel = j0(2 * np.pi * r / wavelength_px) * np.exp(-0.5 * (r / 5.0) ** 2)
  return kernel - kernel.mean()


def ring_network(wavelength_px, bias=0.0):
  """Returns a network of the mean of |B| after filtering with such a kernel."""
  kernel = ring_kernel(wavelength_px)
  return one_layer(np.stack([kernel, -kernel], axis=-1), bias=bias, strides=(3,), padding='same')


def test_pairs_are_rewarded_where_both_poles_excite_one_filter(survey):
  responses, table, found = respond(survey, ring_network(12.0, bias=-50.0))
  # Point poles of opposite sign have most power at a wavelength of 1.64 distances: the first zero of J1.
  assert found['distance_mm'] == pytest.approx(12.0 * PIXEL_MM / 1.64, rel=0.3)
  effect = scale.samples(responses)[PAIRING][MEMBERS][0]
  assert effect[0] > 0.5
  assert effect[1:].min() > 0
  pairing = curve(table, 'pairing')
  assert np.all(pairing['low'] <= pairing['response']) and np.all(pairing['response'] <= pairing['high'])


def test_the_best_of_many_distances_is_no_better_than_it_is():
  # Of noise alone the effect is 0 on average, while the largest of twelve rises is not.
  rng = np.random.default_rng(0)
  nothing = np.zeros((4, 1))
  noisy = [
    Responses('a', MEMBERS, nothing, rng.normal(size=(2, 12, 1)), np.ones(12), nothing, nothing) for _ in range(400)
  ]
  effects = np.array(scale.samples(noisy)[PAIRING][MEMBERS])
  assert abs(effects.mean()) < 3 * effects.std() / 20
  assert np.mean([each.pairing.mean(axis=0).max() for each in noisy]) > 0.5


def rises(*peaks, error=0.1):
  """Returns members whose rise is a bump of height 1 at the given places of eight."""
  places = np.arange(8)
  nothing = np.zeros((4, 1))
  return [
    Responses(
      'a',
      MEMBERS,
      nothing,
      np.exp(-((places - peak) ** 2.0))[None, :, None].repeat(2, 0),
      np.full(8, error),
      nothing,
      nothing,
    )
    for peak in peaks
  ]


@pytest.mark.parametrize(
  ('members', 'expected'),
  [
    (rises(3, 3, 3), 8.0),
    (rises(3, 3, 6), 8.0),  # Two of three agree.
    (rises(2, 4, 6), np.nan),
    (rises(0, 0, 0), np.nan),  # At an end: a bound, and no distance.
    (rises(3, 3, 3, error=0.4), np.nan),  # 2.5 standard errors, of eight tried.
  ],
)
def test_a_distance_is_told_where_most_members_share_it(members, expected):
  assert scale.shared_distance(members, 2.0 ** np.arange(8)) == pytest.approx(expected, rel=0.05, nan_ok=True)


def test_planted_poles_have_their_flux_wherever_their_partners_are():
  grid = Grid(96, PIXEL_MM)
  settings = ScaleSettings(poles=2, pole_mx=3e19, reach=0.2)
  together, apart = (scale.plant_pairs(4, grid, 12.0, 4.0, settings, 0, flag) for flag in (True, False))
  for fields in (together, apart):
    positive = np.maximum(fields, 0).sum(axis=(1, 2)) * grid.pixel_cm2
    np.testing.assert_allclose(fields.sum(), 0, atol=1)
    assert np.all(positive < 2 * 3e19 * 1.001)
  # The positive poles stay; the negative ones go to the next map.
  np.testing.assert_allclose(together.sum(axis=0), apart.sum(axis=0), atol=1e-3)
  assert np.abs(together - apart).max() > 1


def test_poles_whose_width_is_asked_for_never_meet_the_opposite_sign():
  grid = Grid(96, PIXEL_MM)
  fields = scale.plant_poles(4, grid, 6.0, ScaleSettings(poles=2, pole_mx=3e19, reach=0.2), 0)
  np.testing.assert_allclose(fields.sum(axis=(1, 2)) * grid.pixel_cm2 / (4 * 3e19), [1, -1, 1, -1], rtol=1e-3)
  np.testing.assert_allclose(np.abs(fields).sum(axis=(1, 2)), np.abs(fields.sum(axis=(1, 2))), rtol=1e-5)


# --- Wavelengths --------------------------------------------------------------------------------------------------


def test_a_band_keeps_its_waves_and_the_flux_of_the_square():
  axis = np.arange(64) * PIXEL_MM
  wave = np.broadcast_to(50 * np.sin(2 * np.pi * axis / (8 * PIXEL_MM)), (1, 64, 64)).astype(np.float32)
  noisy = np.concatenate([wave, 0 * wave, wave])
  noisy[2, 32, 32] = np.nan
  wavelengths = np.array([4.0, 8.0, 16.0]) * PIXEL_MM
  bands = np.asarray(scale.in_band(noisy, PIXEL_MM, wavelengths, 1.0, visible=32))
  assert bands.shape == (3, 3, 32, 32)
  flux = np.abs(np.nan_to_num(noisy[:, 16:48, 16:48])).sum(axis=(1, 2))
  np.testing.assert_allclose(np.nansum(np.abs(bands[:, [0, 2]]), axis=(2, 3)), [flux[[0, 2]]] * 3, rtol=1e-4)
  np.testing.assert_array_equal(bands[:, 1], 0)
  np.testing.assert_allclose(bands[1, 0], wave[0, 16:48, 16:48], atol=0.5)


def test_wavelengths_run_from_three_pixels_to_the_square():
  wavelengths = scale.wavelength_axis(48, 2.0)
  np.testing.assert_allclose(wavelengths[[0, -1]], [6.0, 96.0])
  np.testing.assert_allclose(np.diff(np.log2(wavelengths)), 1 / 2)


def test_the_wavelength_is_that_which_a_network_passes(survey):
  transform = np.abs(np.fft.fft2(ring_kernel(6.0), (1024, 1024)))[0, 1:512]
  passed_best_mm = 1024 / (1 + np.argmax(transform)) * PIXEL_MM
  _, _, found = respond(survey, ring_network(6.0))
  # White noise has most power at the short end of a band, so that its centre comes out too long.
  assert found['wavelength_mm'] == pytest.approx(passed_best_mm, rel=0.3)


# --- Bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'poles': 0}, 'poles of the planted poles must be positive'),
    ({'pole_mx': np.nan}, 'must be finite'),
    ({'octaves': 0.0}, 'octaves'),
    ({'widths': 3}, 'at least 4 widths'),
    ({'maps': 1}, 'and 4 maps'),
  ],
)
def test_impossible_settings_are_refused(change, sentence):
  with pytest.raises(UserError, match=sentence):
    ScaleSettings(**change)


def test_maps_without_room_for_bands_or_quiet_sun_are_refused(survey):
  with pytest.raises(UserError, match='at least 4 bands'):
    scale.wavelength_axis(4, PIXEL_MM)
  subject = members_of(make_run(survey, *polarity_flux()))[0]
  emerging = dataclasses.replace(subject.rows, test=np.flatnonzero(survey.label == 1))
  with pytest.raises(UserError, match='no control region'):
    scale.respond([dataclasses.replace(subject, rows=emerging)], survey, Draws.of(survey, 20, 0), SETTINGS, 0)


def test_a_network_that_always_says_the_same_has_no_scale(survey):
  responses, _, _ = respond(survey, polarity_flux(logit=0.0))
  assert scale.samples(responses)[WIDTH][MEMBERS][0][0] == 0


# --- Worlds whose answer is known ---------------------------------------------------------------------------------


def found_in(run):
  """Returns claim -> verdict, and what is found."""
  subjects = [*members_of(run), *make_references(run, ReferenceSettings(exchanged=2), 0)]
  draws = Draws.of(run.survey, 200, 0)
  responses = scale.respond(subjects, run.survey, draws, ScaleSettings(), 0)
  found = scale.describe(subjects, run.survey, responses, ScaleSettings(), 0).meta
  rows = judge({SKILL: skill(subjects, run.survey, draws), **scale.samples(responses)}, 0)
  return {row['claim']: row['verdict'] for row in rows}, found


@pytest.mark.slow
def test_where_the_poles_are_wide_their_width_is_found(known_world):
  verdicts, found = found_in(known_world('pattern_wide'))
  assert verdicts['width'] == SUPPORTED
  assert found['width_mm'] == pytest.approx(6.0, rel=0.3)  # Of 14 such surveys all but one came to a quarter.
  assert found['width_mm_low'] <= 6.0 <= found['width_mm_high']


@pytest.mark.slow
def test_where_poles_stand_in_pairs_their_distance_is_found(known_world):
  verdicts, found = found_in(known_world('pattern_small'))
  assert verdicts['pairing'] == SUPPORTED
  assert verdicts['width'] != SUPPORTED
  assert found['distance_mm'] == pytest.approx(6.0, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize('world', ['flux', 'null'])
def test_where_no_scale_tells_the_classes_apart_none_is_found(known_world, world):
  verdicts, found = found_in(known_world(world))
  assert SUPPORTED not in {verdicts['width'], verdicts['pairing']}
  assert np.isnan(found['distance_mm'])
