"""The simulated Sun of full disks: the sphere against a survey's square, geometry by other means, what is planted."""

import dataclasses

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from scipy.spatial import cKDTree

from hearjax.checks import UserError
from hearjax.simulate import disk_image, quiet_sun, sphere
from hearjax.simulate.disk import APART_DEG, DiskSettings, Site, emerging_elements, plan_sites
from hearjax.simulate.disk_image import View, locate, mu_image
from hearjax.simulate.emergence import Region
from hearjax.simulate.quiet_sun import Lives, QuietSun
from hearjax.simulate.sun import Sun
from hearjax.solar import SOLAR_RADIUS_MM, direction, wrap_degrees

SUN = Sun()
SILENT = dataclasses.replace(SUN, internetwork_gauss=0.0, residual_gauss=0.0, noise_gauss=0.0, strongest_gauss=1e9)
L0, B0, DISTANCE_MM = 40.0, -6.8, 147_700.0


def view(size=512, roll_deg=179.93, **changes):
  return View(**({'l0': L0, 'b0': B0, 'distance_mm': DISTANCE_MM, 'size': size, 'roll_deg': roll_deg} | changes))


def angles(place):
  """Returns longitude and latitude [deg] of `[..., 3]` unit vectors."""
  return np.rad2deg(np.arctan2(place[..., 1], place[..., 0])), np.rad2deg(np.arcsin(place[..., 2]))


# --- The sphere -------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def drawn():
  return sphere.draw_sphere(0, SUN.spin_up_hours + 4, SUN)


def facing(hours):
  return direction(L0 - 360 / 27.2753 * hours / 24, B0)


@pytest.fixture(scope='module')
def evolved(drawn):
  return next(sphere.evolve(0, drawn, [0.0], facing, SUN))


def test_what_survey_and_sphere_share():
  cells = quiet_sun.draw_cells(np.random.default_rng(0), 200.0, SUN, quiet_sun.total_hours(SUN))
  # A sixth of a life after birth the sine is a half.
  weights = quiet_sun.cell_weights(cells, cells.hours / 6, SUN)
  np.testing.assert_allclose(weights, 32.0**2 * (1 - np.sqrt(0.5)), rtol=1e-5)
  growth = quiet_sun.bipole_growth(cells, np.minimum(1.0, cells.hours), SUN)
  np.testing.assert_allclose(growth, 0.5)  # It takes 2 h.
  # 80 km^2/s along an axis: the variance of 2 D t, in 80 min.
  assert quiet_sun.walk_mm(80 / 60, SUN) == pytest.approx(np.sqrt(2 * 80 * 4800) / 1e3)


def test_the_sun_has_the_same_field_at_all_latitudes(drawn):
  sine = drawn.bipoles.birthplace[:, 0, 2]
  flux, _ = np.histogram(sine, np.linspace(-1, 1, 7), weights=2 * drawn.bipole_flux)
  area_cm2 = 4 * np.pi * (SOLAR_RADIUS_MM * 1e8) ** 2 / 6
  np.testing.assert_allclose(flux / area_cm2, 7.0, rtol=0.1)
  assert np.linalg.norm(drawn.surplus_position, axis=1) == pytest.approx(1)


def test_supergranules_keep_their_distance_whatever_square_they_come_from(drawn):
  place = drawn.cells.birthplace[:, 1]
  assert len(place) == pytest.approx(4 * np.pi * (SOLAR_RADIUS_MM / 32) ** 2, rel=0.02)
  nearest = cKDTree(SOLAR_RADIUS_MM * place).query(SOLAR_RADIUS_MM * place, k=2)[0][:, 1]
  assert np.median(nearest) > 22
  # Neither at the borders of squares nor near the poles closer than elsewhere.
  longitude, latitude = angles(place)
  at_border = np.abs((longitude % (360 / 19)) - 180 / 19) > 180 / 19 - 1.5
  for part in (at_border & (np.abs(latitude) < 30), np.abs(latitude) > 60):
    assert np.median(nearest[part]) == pytest.approx(np.median(nearest), rel=0.1)


def test_elements_are_swept_into_the_same_network_as_in_a_survey(drawn, evolved):
  """How far elements are from the edge of their cell after a day, against what the square does."""
  position, flux = evolved
  near = (position @ facing(0) > 0.9) & (flux != 0)
  generation, age = drawn.cells.at(SUN.spin_up_hours)
  centre = drawn.cells.birthplace[np.arange(len(generation)), generation]
  around = centre @ facing(0) > 0.8
  weights = np.asarray(quiet_sun.cell_weights(drawn.cells, age, SUN))[around]
  to_edge = edge_distance(SOLAR_RADIUS_MM * position[near], SOLAR_RADIUS_MM * centre[around], weights)
  side = SUN.padded_size(128) * SUN.pixel_scale_mm
  on_square = []
  evolve = jax.jit(quiet_sun.evolve, static_argnames=('side_mm', 'sun'))
  for seed in range(6):
    rng = np.random.default_rng(seed)
    quiet = quiet_sun.draw_quiet_sun(rng, quiet_sun.draw_level(rng, SUN), 1, side, SUN)
    kept = evolve(jax.random.key(seed), quiet, side_mm=side, sun=SUN)
    generation, age = quiet.cells.at(SUN.spin_up_hours)
    inner = np.all(np.abs(kept.position[0]) < side / 4, axis=1) & (kept.flux[0] != 0)
    weights = np.asarray(quiet_sun.cell_weights(quiet.cells, age, SUN))
    place = np.asarray(quiet.cells.place(generation))
    on_square.append(edge_distance(np.asarray(kept.position[0])[inner], place, weights))
  on_square = np.concatenate(on_square)
  for reach in (2.0, 4.0):
    assert np.mean(to_edge < reach) == pytest.approx(np.mean(on_square < reach), rel=0.15)
  # Where there is no order, half of them are not as near.
  assert np.mean(to_edge < 4.0) > 0.6


def edge_distance(position, centre, weights):
  power = np.sum((position[:, None] - centre[None]) ** 2, axis=-1) + weights
  first, second = np.partition(power, 1, axis=1)[:, :2].T
  return (second - first) / (2 * SUN.cell_mm)


def test_elements_turn_as_small_magnetic_features_do():
  models = pytest.importorskip('sunpy.sun.models')
  latitude = np.array([-60.0, -20.0, 0.0, 15.0, 40.0])
  nothing = np.zeros(0)
  none = Lives(hours=nothing, phase=nothing, birthplace=np.zeros((0, 2, 3)))
  centres = np.tile(direction(np.arange(2.0), np.zeros(2))[:, None], (1, 4, 1))
  cells = Lives(hours=np.array([40.0, 40.0]), phase=np.array([0.2, 0.7]), birthplace=centres)
  start = direction(np.full(5, 30.0), latitude)
  quiet = QuietSun(cells, none, np.zeros((0, 2)), nothing, start, np.full(5, 1e19))
  still = dataclasses.replace(SUN, outflow_m_s=0.0, diffusion_km2_s=0.0)
  (first, _), (last, flux) = sphere.evolve(0, quiet, [0.0, 48.0], facing, still)
  np.testing.assert_array_equal(flux, 1e19)
  moved = wrap_degrees(angles(last)[0] - angles(first)[0])
  expected = models.differential_rotation(2 * u.day, latitude * u.deg, model='howard').deg - 2 * 14.1844
  np.testing.assert_allclose(moved, expected, atol=1e-3)
  np.testing.assert_allclose(angles(last)[1], latitude, atol=1e-9)
  # At the equator they overtake Carrington's longitudes, far from it they fall behind.
  assert moved[2] > 0 > moved[4]


def test_going_along_the_sphere_agrees_with_astropy():
  rng = np.random.default_rng(0)
  longitude, latitude = rng.uniform(0, 360, 20), rng.uniform(-80, 80, 20)
  offset = rng.normal(0, 60, (20, 2))
  found = angles(sphere.displaced(direction(longitude, latitude), offset))
  angle = np.linalg.norm(offset, axis=1) / SOLAR_RADIUS_MM * u.rad
  expected = SkyCoord(longitude * u.deg, latitude * u.deg).directional_offset_by(
    np.arctan2(offset[:, 0], offset[:, 1]) * u.rad, angle
  )
  np.testing.assert_allclose(wrap_degrees(found[0] - expected.ra.deg), 0, atol=1e-9)
  np.testing.assert_allclose(found[1], expected.dec.deg, atol=1e-9)


# --- The image --------------------------------------------------------------------------------------------------


def test_mu_is_the_angle_to_the_ray():
  rng = np.random.default_rng(0)
  place = direction(L0 + rng.uniform(-80, 80, 200), rng.uniform(-70, 70, 200))
  pixel, mu, distance = locate(place, view())
  ray = DISTANCE_MM * direction(L0, B0) - disk_image.RADIUS_MM * place
  length = np.linalg.norm(ray, axis=1)
  np.testing.assert_allclose(mu, np.sum(ray * place, axis=1) / length, atol=1e-9)
  np.testing.assert_allclose(distance, length, rtol=1e-9)
  # The image has the same at that pixel.
  image = mu_image(view(2048))
  pixel, mu, _ = locate(place[mu > 0.1], view(2048))
  x, y = np.round(pixel).astype(int).T
  np.testing.assert_allclose(image[y, x], mu, atol=0.01)
  # The disk has the radius RSUN_OBS.
  assert np.sum(np.isfinite(image)) == pytest.approx(
    np.pi * (np.arcsin(696 / DISTANCE_MM) / view(2048).radian) ** 2, rel=1e-3
  )


def test_a_place_behind_the_limb_is_not_seen():
  place = direction(L0 + np.array([0.0, 88.0, 92.0, 180.0]), np.zeros(4))
  assert (locate(place, view())[1] > 0).tolist() == [True, True, False, False]


REGION = Region(flux=6e21, growth_hours=6.0, leading=-1, axis=np.array([1.0, 0.0]), centre=np.zeros(2))


@pytest.mark.parametrize(('size', 'cmd', 'tolerance'), [(1024, 0.0, 0.01), (1024, 55.0, 0.02), (512, -40.0, 0.02)])
def test_planted_flux_is_on_the_disk(size, cmd, tolerance):
  site = Site(90001, L0 + cmd, 12.0, REGION, emergence_hours=0.0)
  position, flux = emerging_elements(0, site, 55.0, SUN)  # Its polarities lie apart.
  assert np.sum(np.abs(flux)) == pytest.approx(6e21, rel=0.01)
  field = disk_image.observe(np.random.default_rng(0), position, flux, view(size), 80, SILENT)
  mu = mu_image(view(size))
  pixel_cm2 = (view(size).radian * (DISTANCE_MM - 695.7 * mu) * 1e8) ** 2 * (695.7 / 696) ** 2
  assert np.nansum(np.abs(field) / mu * pixel_cm2 / mu) == pytest.approx(np.sum(np.abs(flux)), rel=tolerance)
  assert np.nansum(field / mu * pixel_cm2 / mu) == pytest.approx(0, abs=tolerance * 6e21)


def test_the_leading_polarity_is_west_and_north_is_up_after_the_roll():
  site = Site(90001, L0, 12.0, REGION, emergence_hours=0.0)
  position, flux = emerging_elements(0, site, 55.0, SUN)
  field = disk_image.observe(np.random.default_rng(0), position, flux, view(256), 80, SILENT)
  upright = np.nan_to_num(field[::-1, ::-1])
  y, x = np.mgrid[:256, :256] - 127.5
  (west, north), (east, _) = [
    [np.sum(part * axis) / np.sum(part) for axis in (x, y)] for part in (upright.clip(max=0), upright.clip(min=0))
  ]
  assert west > east + 4
  # 12 - B0 deg north of the middle of the disk.
  radius = np.arcsin(696 / DISTANCE_MM) / view(256).radian
  assert north == pytest.approx(radius * np.sin(np.deg2rad(12 - B0)), abs=1)


def test_noise_of_a_frame_and_of_the_mean_of_410_min():
  nothing = np.array([[1.0, 0.0, 0.0]])
  frames = [
    disk_image.observe(np.random.default_rng(n), nothing, np.zeros(1), view(), n_45s=80.0, sun=SUN) for n in range(7)
  ]
  centre = mu_image(view()) > 0.97
  # Of 7 frames of an hour, 420 min in all, what a survey has in 410 min.
  per_frame = np.sqrt(547 / 80) * np.sqrt(2.0**2 + 0.4**2 + 0.436**2)
  assert np.std(frames[0][centre]) == pytest.approx(per_frame, rel=0.03)
  survey_like = np.sqrt(2.0**2 + 0.4**2 + 0.436**2)
  assert np.std(np.mean(frames, axis=0)[centre]) == pytest.approx(survey_like, rel=0.04)
  bare = dataclasses.replace(SUN, internetwork_gauss=0.0)
  field = disk_image.observe(np.random.default_rng(0), nothing, np.zeros(1), view(), 80.0, bare)
  limb = mu_image(view()) < 0.2
  assert np.std(field[limb]) / np.std(field[centre]) == pytest.approx(1.5, rel=0.07)
  assert np.isnan(field[0, 0])


# --- What is planted --------------------------------------------------------------------------------------------


def test_emerging_elements_are_those_of_one_region_through_time():
  site = Site(90001, 100.0, -20.0, REGION, emergence_hours=30.0)
  total = [np.sum(np.abs(emerging_elements(5, site, hours, SUN)[1])) for hours in (0.0, 30.0, 300.0)]
  np.testing.assert_allclose(np.array(total) / 6e21, [1 / (1 + 9 * np.exp(5)), 0.1, 1.0], rtol=1e-6)
  early, late = emerging_elements(5, site, 20.0, SUN), emerging_elements(5, site, 25.0, SUN)
  assert np.all(np.abs(late[1]) >= np.abs(early[1]))
  assert np.max(np.linalg.norm(early[0] - late[0], axis=1)) * SOLAR_RADIUS_MM < 5
  longitude, latitude = angles(early[0])
  assert np.mean(wrap_degrees(longitude - 100)) == pytest.approx(0, abs=0.3)
  assert np.mean(latitude) == pytest.approx(-20, abs=0.3)


def test_sites_are_where_they_can_be_observed_and_apart():
  settings = DiskSettings(seed=4, days=8.0, emergences=5, decaying=4)
  sites = plan_sites(settings, 100.0, SUN)
  emerging = [site for site in sites if site.emergence_hours is not None]
  assert [site.noaa for site in sites] == list(range(90001, 90010))
  assert len(emerging) == 5
  for site in emerging:
    assert site.emergence_hours > 27.68  # TI-05 begins 24.27 + 3.42 h before.
    assert site.emergence_hours < site.report_hours < 8 * 24 - 37
    for hours in (site.emergence_hours - 27.68, site.report_hours + 36):
      assert abs(wrap_degrees(site.longitude - 100.0 + 360 / 27.2752316 * hours / 24)) <= 60.001
    report = Time(settings.start, scale='tai').utc.mjd + site.report_hours / 24
    assert report == pytest.approx(round(report), abs=1e-6)
    assert site.flux_at(site.report_hours, SUN) >= 0.3 * site.region.flux
    assert site.flux_at(site.report_hours - 24, SUN) < 0.3 * site.region.flux
    for other in sites:
      apart = direction(site.longitude, site.latitude) @ direction(other.longitude, other.latitude)
      assert other is site or apart < np.cos(np.deg2rad(APART_DEG))
  assert plan_sites(settings, 100.0, SUN)[0].longitude == sites[0].longitude
  assert plan_sites(dataclasses.replace(settings, seed=5), 100.0, SUN)[0].longitude != sites[0].longitude


def test_an_old_region_is_carried_along_its_parallel():
  old = Site(90001, 359.9, 35.0, REGION)
  # By hand: 2.894 - 0.428 sin^2 35 - 0.370 sin^4 35 are 2.7131 microradian/s, 13.431 deg/day, 0.753 less than 14.184.
  assert old.longitude_at(240.0) == pytest.approx(359.9 - 7.53, abs=0.01)
  assert Site(90001, 10.0, 35.0, REGION, 5.0).longitude_at(240.0) == 10.0


@pytest.mark.parametrize(('emergences', 'days'), [(200, 8.0), (1, 2.0)])
def test_too_many_regions_are_refused(emergences, days):
  with pytest.raises(UserError, match=rf'Of {emergences} regions no more than \d+ can emerge in'):
    plan_sites(DiskSettings(emergences=emergences, days=days), 100.0, SUN)


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'seed': -1}, 'seed must be finite and not negative, got -1'),
    ({'start': 'soon'}, "start is 'soon'; a time is needed"),
    ({'start': '2020-01-01T00:00:00'}, 'between May 2010 and November 2012, got 2020'),
    ({'days': 0.0}, 'days must be positive'),
    ({'days': 900.0}, 'days may be 60 at most'),
    ({'cadence_minutes': 0.1}, 'cadence_minutes must lie between 0.75 and 360'),
    ({'cadence_minutes': 1.001}, 'whole seconds'),
    ({'size': 16}, 'at least 64 px'),
    ({'emergences': -1}, 'emergences must be finite and not negative'),
    ({'max_cmd_deg': 100.0}, 'between 0 and 90, got 100'),
    ({'lost': 0.7, 'bad': 0.4}, 'leave none good'),
    ({'bad': -0.1}, 'bad must be finite and not negative'),
    ({'roll_deg': 400.0}, 'between -360 and 360'),
  ],
)
def test_settings_that_make_no_sense(change, sentence):
  with pytest.raises(UserError, match=sentence):
    DiskSettings(**change)
