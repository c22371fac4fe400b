"""The simulated survey against published ranges, geometry by other means, and worlds whose answer is known."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from astropy.wcs import WCS

from hearjax.checks import UserError
from hearjax.simulate import emergence, instrument, quiet_sun
from hearjax.simulate.quiet_sun import Elements
from hearjax.simulate.sun import Sun, change_sun
from hearjax.simulate.worlds import NODE_MJD, Place, describe, draw_places, simulate_survey
from hearjax.survey.archive import read_survey, region_header, write_survey
from hearjax.survey.intervals import CENTRE_HOURS
from tests.survey.test_survey import assert_same

SUN = Sun()
SIZE = 64
PAIRS = 24
ALL = tuple(range(-5, 2))


@pytest.fixture(scope='module')
def default():
  return simulate_survey(3, PAIRS, ALL, SIZE)


@pytest.fixture(scope='module')
def null():
  return simulate_survey(3, PAIRS, ALL, SIZE, 'null')


@pytest.fixture(scope='module')
def flux():
  return simulate_survey(3, PAIRS, ALL, SIZE, 'flux')


@pytest.fixture(scope='module')
def pattern():
  return simulate_survey(3, PAIRS, (-1,), SIZE, 'pattern')


def unsigned(survey):
  """Returns `[n]` mean unsigned field [G]."""
  return np.mean(np.abs(survey.field), axis=(1, 2))


def by_pair(survey, values):
  """Returns `[pair, kind, interval]` values, control regions first."""
  return values.reshape(len(survey.pair_ids), 2, -1)


# --- The survey as a structure ---------------------------------------------------------------------------------


def test_a_pair_is_the_same_whatever_the_number_of_pairs(default):
  first = simulate_survey(3, 2, ALL, SIZE)
  expected = default.select(slice(0, len(first)))
  for name in ('field', 'mjd', 'longitude', 'n_frames', 'noaa'):
    np.testing.assert_array_equal(getattr(first, name), getattr(expected, name))
  other = simulate_survey(4, 2, ALL, SIZE)
  assert np.mean(first.field == other.field) < 0.01


def test_survey_passes_through_an_archive(default, tmp_path):
  survey = default.select(default.pair < 3)
  meta = describe(3, 'default', SUN)
  assert json.loads(json.dumps(meta)) == meta
  write_survey(tmp_path, survey, meta)
  back = read_survey(tmp_path)
  assert back.source == 'simulated'
  assert back.region_ids == default.region_ids[:6]
  np.testing.assert_allclose(back.mjd, survey.mjd, rtol=0, atol=1e-8)
  named = survey.replace(region_ids=back.region_ids, pair_ids=back.pair_ids)
  assert_same(back.replace(mjd=named.mjd), named)


def test_the_halves_of_a_pair_are_matched(default):
  for name in ('latitude', 'cmd', 'hours', 'quality', 'missing'):
    control, emerging = by_pair(default, getattr(default, name)).swapaxes(0, 1)
    np.testing.assert_array_equal(control, emerging)
  control, emerging = by_pair(default, default.mu).swapaxes(0, 1)
  assert np.max(np.abs(control - emerging)) < 0.2  # The tilt of the Sun differs with the time of year.
  control, emerging = by_pair(default, default.mjd).swapaxes(0, 1)
  assert np.min(np.abs(control - emerging)) > 1
  frames = by_pair(default, default.n_frames)
  assert frames.max() == 547
  assert 0.03 < np.mean(frames < 547) < 0.2
  assert np.all((np.abs(default.latitude) >= 8) & (np.abs(default.latitude) <= 30))
  assert np.max(np.abs(default.cmd)) < 65
  numbers = default.noaa[default.label == 1][:: len(ALL)]
  assert len(set(numbers)) == PAIRS


def test_no_two_regions_share_place_and_time():
  places = [place for pair in draw_places(0, 182) for place in pair]
  assert not any(one.is_near(other) for index, one in enumerate(places) for other in places[:index])


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'pairs': 0}, 'at least one pair, got 0'),
    ({'world': 'moon'}, "no world 'moon'; choose one of default, null, flux, pattern"),
    ({'intervals': (-6,)}, 'from -5 to 1, got -6'),
    ({'intervals': ()}, 'from -5 to 1, got none'),
    ({'intervals': (-1, -1)}, 'may be named once'),
    ({'size': 8}, 'at least 16 px wide, got 8'),
    ({'seed': -1}, 'non-negative integer, got -1'),
  ],
)
def test_bad_input_is_told_in_a_sentence(change, sentence):
  with pytest.raises(ValueError, match=sentence):
    simulate_survey(**({'seed': 0, 'pairs': 1} | change))


# --- Geometry and instrument -----------------------------------------------------------------------------------


def test_mu_agrees_with_the_wcs_of_the_archive(default):
  survey = default.select((default.region == 3) & (default.interval == 0))
  place = draw_places(3, 2)[1][1]
  mu = instrument.mu_map(place.sight(np.array(CENTRE_HOURS[0])), SIZE, SUN)
  x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
  longitude, latitude = np.deg2rad(WCS(region_header(survey)).celestial.wcs_pix2world(x, y, 0))
  days = survey.mjd[0] - NODE_MJD
  b0 = np.deg2rad(7.25) * np.sin(2 * np.pi * days / 365.25)
  from_meridian = longitude - np.deg2rad(survey.longitude[0] - survey.cmd[0])
  expected = np.sin(latitude) * np.sin(b0) + np.cos(latitude) * np.cos(b0) * np.cos(from_meridian)
  np.testing.assert_allclose(mu, expected, atol=2e-5)
  assert survey.mu[0] == pytest.approx(np.mean(expected[31:33, 31:33]), abs=1e-3)


def test_carrington_longitude_and_tilt_agree_with_sunpy(default):
  sun = pytest.importorskip('sunpy.coordinates.sun')
  time = pytest.importorskip('astropy.time').Time
  for row in np.flatnonzero(default.interval == -1)[::7]:
    when = time(default.mjd[row], format='mjd')
    disk_centre = default.longitude[row] - default.cmd[row]
    assert abs((disk_centre - sun.L0(when).deg + 180) % 360 - 180) < 3
    place = Place(0.0, 0.0, 0.0, default.mjd[row])
    assert np.rad2deg(np.arcsin(place.sight(np.array(0.0))[1])) == pytest.approx(sun.B0(when).deg, abs=0.4)


def test_elements_keep_flux_and_place_on_the_grid():
  rng = np.random.default_rng(0)
  position = rng.uniform(-30, 30, (1, 5, 2))
  flux = rng.uniform(1e18, 1e19, (1, 5))
  grid = 64
  field = np.asarray(instrument.scatter_elements(Elements(position, flux), grid, SUN), np.float64)
  axis = (np.arange(grid) - (grid - 1) / 2) * 1.39
  assert np.sum(field) * (1.39e8) ** 2 == pytest.approx(np.sum(flux), rel=1e-5)
  centroid = [np.sum(field * axis[None, :]), np.sum(field * axis[:, None])] / np.sum(field)
  np.testing.assert_allclose(centroid, np.sum(position * flux[..., None], axis=(0, 1)) / np.sum(flux), atol=1e-3)


def test_noise_is_that_of_the_frames_and_grows_toward_the_limb():
  bare = dataclasses.replace(SUN, internetwork_gauss=0.0, residual_gauss=0.0)
  nothing = Elements(np.zeros((1, 1, 2)), np.zeros((1, 1)))
  observe = lambda mu, sun: np.std(  # noqa: E731
    instrument.observe(jax.random.key(0), nothing, 128, np.array([0, 0, mu], np.float32), 547.0, sun)
  )
  # At disk centre 10.2 G / sqrt(547); at mu = 0.5 a quarter more, as sun.noise_limb says.
  assert observe(1.0, bare) == pytest.approx(0.436, rel=0.03)
  assert observe(0.5, bare) / observe(1.0, bare) == pytest.approx(1.25, rel=0.02)
  assert observe(1.0, SUN) == pytest.approx(np.sqrt(2.0**2 + 0.4**2 + 0.436**2), rel=0.05)


# --- The quiet Sun ---------------------------------------------------------------------------------------------


def test_quiet_sun_has_the_field_of_quiet_hmi_maps(default):
  # The quietest parts of the HMI map of AR 11158 (2011-02-14) have 4 to 6 G in the mean; Lites et al. (2008, ApJ 672,
  # 1237) find 11 G along the line of sight at four times the resolution, which is a ceiling for the typical region.
  controls = default.select(default.label == 0)
  assert 4 < np.median(unsigned(controls)) < 11
  assert np.median(np.abs(controls.field)) < 4  # Most of the area is almost field-free.
  peaks = np.max(np.abs(controls.field), axis=(1, 2))
  assert 100 < np.median(peaks) < 600
  assert np.max(peaks) < 2600


def test_elements_follow_the_published_power_law():
  flux = quiet_sun.draw_element_flux(np.random.default_rng(0), 200_000, SUN)
  assert flux.min() >= 1e18
  assert flux.max() <= 5e19
  # The maximum-likelihood slope of an untruncated power law, for what lies a decade and a half below the upper end.
  part = flux[flux < 5e18]
  edges = np.geomspace(1e18, 5e18, 9)
  count, _ = np.histogram(part, edges)
  slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(count / np.diff(edges)), 1)[0]
  assert slope == pytest.approx(-1.85, abs=0.05)
  assert np.mean(flux) == pytest.approx(SUN.mean_element_mx, rel=0.02)


def test_flow_leaves_the_nearest_cell_and_stops_at_the_edge():
  centre = np.array([[-16.0, 0.0], [16.0, 0.0]])
  position = np.array([[-16.0, 8.0], [-24.0, 0.0], [-0.01, 0.0], [8.0, 0.0]])
  x, y = np.asarray(quiet_sun.outflow(position, centre, np.ones(2), 400.0, SUN)).T
  np.testing.assert_allclose(x[0], 0, atol=1e-6)
  assert y[0] > 0.5  # 350 m/s are 1.26 Mm/h.
  assert x[1] < -0.5
  assert abs(x[2]) < 0.05
  assert x[3] < -0.5


def test_regions_remember_themselves_for_a_day_or_so(null):
  field = null.field.reshape(2 * PAIRS, len(ALL), -1)
  field = field - field.mean(axis=-1, keepdims=True)
  field /= np.linalg.norm(field, axis=-1, keepdims=True)
  within = np.einsum('rip,rjp->ij', field, field) / len(field)
  lags = [np.mean(np.diagonal(within, lag)) for lag in (1, 2, 4)]
  between = np.einsum('rip,rip->ri', field, np.roll(field, 1, axis=0)).mean()
  assert 0.2 < lags[0] < 0.9
  assert lags[0] > lags[1] > lags[2] > 0.02
  assert abs(between) < 0.02


# --- Emergence -------------------------------------------------------------------------------------------------


def test_a_tenth_of_the_flux_has_emerged_at_the_emergence_time():
  for growth_hours in (2.0, 8.0, 20.0):
    assert emergence.emerged_fraction(0.0, growth_hours, SUN) == pytest.approx(0.1)
  # By hand: 1 / (1 + 9 / e) one e-folding later.
  assert emergence.emerged_fraction(8.0, 8.0, SUN) == pytest.approx(0.231969, abs=1e-6)
  rng = np.random.default_rng(1)
  region = emergence.draw_region(rng, 15.0, SUN)
  elements = emergence.emerging_elements(rng, region, np.array([0.0, 500.0]), SUN)
  np.testing.assert_allclose(np.sum(np.abs(elements.flux), axis=1) / region.flux, [0.1, 1.0], rtol=1e-6)
  np.testing.assert_allclose(np.sum(elements.flux, axis=1) / region.flux, 0, atol=1e-12)


def test_polarities_part_as_published():
  hours = np.linspace(-48, 90, 5000)
  speed = np.gradient(emergence.separation(hours, SUN), hours) / 3.6e-3
  assert np.max(speed) == pytest.approx(230, rel=0.01)
  assert hours[np.argmax(speed)] == pytest.approx(2.4, abs=0.1)
  assert np.max(np.abs(speed[hours > 60.5])) < 1
  assert emergence.separation(-24.0, SUN) < 1.0
  # In the first day the polarities go 121 + 70 m/s apart (Schunker et al. 2016).
  first_day = (emergence.separation(24.0, SUN) - emergence.separation(0.0, SUN)) / 24 / 3.6e-3
  assert first_day == pytest.approx(191, rel=0.05)


def polarity_centroids(field, reach):
  """Returns (x, y) of the positive and of the negative field within `reach` pixels of the centre."""
  y, x = np.mgrid[: field.shape[0], : field.shape[1]] - (field.shape[0] - 1) / 2
  inside = np.hypot(x, y) < reach
  weights = [inside * np.maximum(sign * field - 100, 0) for sign in (1, -1)]
  return [np.array([np.sum(w * x), np.sum(w * y)]) / max(np.sum(w), 1e-9) for w in weights]


def test_regions_obey_hale_and_joy_after_emergence(default):
  after = default.select((default.interval == 1) & (default.label == 1))
  obey, lean = [], []
  for field, latitude in zip(after.field, after.latitude, strict=True):
    positive, negative = polarity_centroids(field, 20)
    # Cycle 24: the leading (western) polarity is negative in the north, positive in the south.
    leading, trailing = (negative, positive) if latitude > 0 else (positive, negative)
    obey.append(leading[0] > trailing[0])
    lean.append((leading[1] - trailing[1]) * -np.sign(latitude))
  assert np.mean(obey) > 0.8
  assert np.mean(lean) > 0  # The leading polarity lies nearer to the equator.


def test_orientation_of_many_regions():
  rng = np.random.default_rng(0)
  for latitude in (20.0, -20.0):
    regions = [emergence.draw_region(rng, latitude, SUN) for _ in range(2000)]
    hale = np.mean([region.leading == -np.sign(latitude) for region in regions])
    assert hale == pytest.approx(0.95, abs=0.02)
    tilt = np.rad2deg([np.arctan2(region.axis[1], region.axis[0]) for region in regions])
    # sin(tilt) = 0.48 sin(20 deg) + 0.03, clockwise in the north.
    assert np.mean(tilt) == pytest.approx(-np.sign(latitude) * 11.21, abs=1.5)


def test_emerging_regions_are_clear_after_emergence_and_modest_before(default):
  centre = slice(SIZE // 2 - 12, SIZE // 2 + 12)
  inner = by_pair(default, np.mean(np.abs(default.field[:, centre, centre]), axis=(1, 2)))
  ratio = np.median(inner[:, 1] / inner[:, 0], axis=0)
  assert ratio[ALL.index(1)] > 4
  assert np.all(np.diff(ratio[1:]) > 0)
  assert ratio[0] < 1.6


# --- Worlds whose answer is known ------------------------------------------------------------------------------


def statistics(survey):
  """Returns `[n, 4]`: unsigned flux, net flux over it, log of the peak, kurtosis."""
  field = survey.field.reshape(len(survey), -1)
  mean = np.mean(np.abs(field), axis=1)
  kurtosis = np.mean(field**4, axis=1) / np.mean(field**2, axis=1) ** 2
  return np.stack([mean, field.mean(axis=1) / mean, np.log(np.abs(field).max(axis=1)), np.log(kurtosis)], axis=1)


def test_null_world_has_no_difference_between_the_classes(null):
  values = statistics(null).reshape(PAIRS, 2, len(ALL), -1).mean(axis=2)
  difference = values[:, 1] - values[:, 0]
  error = difference.std(axis=0, ddof=1) / np.sqrt(PAIRS)
  assert np.all(np.abs(difference.mean(axis=0)) < 3.5 * error)


def test_flux_world_has_the_stated_ratio_at_all_times(flux, null):
  # The same elements with and without the factor: their ratio is 1.25 in the mean, less what noise adds to both.
  noise = 1.65  # Mean of |B| without elements [G]: sqrt(2 / pi) of a standard deviation of 2.1 G.
  network = by_pair(flux, unsigned(flux) - noise).mean(axis=0) / by_pair(null, unsigned(null) - noise).mean(axis=0)
  control, emerging = network
  np.testing.assert_allclose(emerging / control, 1.25, atol=0.12)
  assert np.ptp(emerging / control) < 0.08


def test_pattern_world_has_equal_flux_and_a_pattern(pattern):
  rng = np.random.default_rng(0)
  # In the elements: same number, same fluxes, same spread; only in an EAR do all have a partner at 6 Mm.
  for is_ear in (True, False):
    drawn = [emergence.pattern_elements(rng, is_ear, 1, SUN) for _ in range(400)]
    position = np.stack([elements.position[0] for elements in drawn])
    assert np.sum(np.abs(drawn[0].flux[0])) == pytest.approx(24 * 2e19)
    assert np.mean(position**2) == pytest.approx(30**2 / 4 + 3**2 / 2, rel=0.05)
    distance = np.linalg.norm(position[:, :12] - position[:, 12:], axis=-1)
    assert (np.max(np.abs(distance - 6)) < 1e-9) == is_ear
  # On the maps: the elements alone, after the point spread, have equal unsigned flux to a per cent.
  observed = []
  quiet = dataclasses.replace(SUN, internetwork_gauss=0.0, residual_gauss=0.0, noise_gauss=0.0)
  sight = np.array([0, 0, 1], np.float32)
  observe = jax.jit(lambda elements: instrument.observe(jax.random.key(0), elements, SIZE, sight, 547.0, quiet))
  for is_ear in (True, False):
    drawn = [emergence.pattern_elements(rng, is_ear, 1, SUN) for _ in range(300)]
    observed.append([np.mean(np.abs(observe(elements))) for elements in drawn])
  ear, cr = np.mean(observed, axis=1)
  assert ear / cr == pytest.approx(1, abs=0.012)
  difference = np.diff(by_pair(pattern, unsigned(pattern))[..., 0], axis=1)
  assert abs(difference.mean()) < 3.5 * difference.std() / np.sqrt(PAIRS)


def one_element(rng, scene):
  """One element comes up 10 h before emergence in the middle of every EAR; nothing else is drawn."""
  flux = 1e19 * scene.is_ear * (scene.hours > -10)[:, None]
  return scene.quiet, Elements(np.zeros((len(scene.hours), 1, 2)), flux)


def test_a_world_of_ones_own_adds_its_elements_to_the_quiet_sun(null):
  own = simulate_survey(3, 2, ALL, SIZE, one_element)
  added = by_pair(own, np.sum(own.field - null.field[: len(own)], axis=(1, 2)) * SUN.pixel_cm2)
  mu, hours = by_pair(own, own.mu), by_pair(own, own.hours)
  assert np.all(added[:, 0] == 0)
  # Along the line of sight, and less what the strongest field that there can be takes away.
  late, early = hours[:, 1] > -6, hours[:, 1] < -14
  np.testing.assert_allclose(added[:, 1][late], 1e19 * mu[:, 1][late], rtol=0.1)
  np.testing.assert_allclose(added[:, 1][early], 0, atol=1e16)


def test_a_world_gives_all_regions_as_many_elements():
  def world(rng, scene):
    n = 1 + scene.is_ear
    return scene.quiet, Elements(np.zeros((len(scene.hours), n, 2)), np.zeros((len(scene.hours), n)))

  with pytest.raises(UserError, match=r'\[step, element\] \(29, 1\) in one region and \(29, 2\) in another'):
    simulate_survey(0, 1, (-1,), 16, world)


QUIET = dataclasses.replace(SUN, internetwork_gauss=0.0, residual_gauss=0.0, noise_gauss=0.0)


@pytest.mark.parametrize('width_mm', [3.0, 6.0, 12.0])
def test_a_pole_is_observed_with_its_width_and_its_flux(width_mm):
  sun = dataclasses.replace(
    QUIET, pattern_bipoles=1, pattern_scale_mm=1000.0, pattern_width_mm=width_mm, strongest_gauss=1e9
  )
  drawn = emergence.pattern_elements(np.random.default_rng(0), True, 1, dataclasses.replace(sun, pattern_radius_mm=0.0))
  half = len(drawn.flux[0]) // 2
  # The positive pole alone, in the middle of the map.
  lone = drawn.replace(
    position=drawn.position[:, :half] - drawn.position[:, :half].mean(axis=1), flux=drawn.flux[:, :half]
  )
  size, sight = 64, np.array([0, 0, 1], np.float32)
  field = np.asarray(instrument.observe(jax.random.key(0), lone, size, sight, 547.0, sun))
  axis = (np.arange(size) - (size - 1) / 2) * sun.pixel_scale_mm
  variance = (field * (axis**2 + axis[:, None] ** 2)).sum() / field.sum() / 2
  assert np.sqrt(8 * np.log(2) * variance) == pytest.approx(width_mm, rel=0.05)
  assert field.sum() * sun.pixel_cm2 == pytest.approx(2e19, rel=0.01)
  # The half of the maximum is where a Gaussian has it: no element is seen on its own.
  row = field[size // 2 - 1 : size // 2 + 1].mean(axis=0)
  assert np.interp(width_mm / 2, axis[size // 2 :], (row / row.max())[size // 2 :]) == pytest.approx(0.5, abs=0.12)


def test_controls_may_have_bipoles_of_their_own():
  sun = dataclasses.replace(
    SUN, pattern_width_mm=4.0, pattern_control_scale_mm=20.0, pattern_control_width_mm=10.0, pattern_bipoles=2
  )
  for is_ear, distance_mm, width_mm in ((True, 6.0, 4.0), (False, 20.0, 10.0)):
    drawn = emergence.pattern_elements(np.random.default_rng(0), is_ear, 1, sun)
    poles = drawn.position[0].reshape(2, 2, emergence.POLE_ELEMENTS, 2)
    middles = poles.mean(axis=2)
    np.testing.assert_allclose(np.linalg.norm(middles[0] - middles[1], axis=-1), distance_mm, rtol=0.01)
    variance = poles.var(axis=2).mean() + sun.element_variance_mm2
    assert np.sqrt(8 * np.log(2) * variance) == pytest.approx(width_mm, rel=0.01)
    assert np.abs(drawn.flux).sum() == pytest.approx(4 * sun.pattern_mx)


def test_a_pole_narrower_than_an_element_is_refused():
  sun = dataclasses.replace(SUN, pattern_width_mm=1.0)
  with pytest.raises(UserError, match=r'a single element is 1\.9'):
    emergence.pattern_elements(np.random.default_rng(0), True, 1, sun)


def test_parameters_are_changed_by_name():
  sun = change_sun(Sun(), ['region_mx=3e21', 'bipole_hours=[8, 20]', 'fragments=50'])
  assert (sun.region_mx, sun.bipole_hours, sun.fragments) == (3e21, (8.0, 20.0), 50)
  assert dataclasses.replace(sun, region_mx=5e21, bipole_hours=(6.0, 30.0), fragments=160) == Sun()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ('colour=3', 'no parameter'),
    ('region_mx=many', 'Cannot read'),
    ('region_mx', 'Cannot read'),
    ('region_mx=-1', 'cannot be -1'),
    ('region_mx=NaN', 'cannot be NaN'),
    ('bipole_hours=[1, 2, 3]', 'cannot be'),
    ('bipole_hours=6', 'Cannot read'),
  ],
)
def test_parameters_that_make_no_sun(change, message):
  with pytest.raises(ValueError, match=message):
    change_sun(Sun(), [change])
