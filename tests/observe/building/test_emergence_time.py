"""The emergence time from a curve of flux."""

import dataclasses

import numpy as np
import pytest

from hearjax.observe.building.emergence_time import EmergenceSettings, emergence_time, flux_before, is_quiet
from hearjax.simulate.emergence import emerged_fraction
from hearjax.simulate.sun import Sun

DAY = 55600.0
PLAIN = EmergenceSettings(smoothing_hours=0)
HOURS = np.arange(0.0, 90.0)  # One frame an hour.


def ramp(hours=HOURS, start=30.0):
  """Returns a flux of 1e21 Mx of quiet Sun that grows by 1e20 Mx an hour from some hour on."""
  return 1e21 + 1e20 * np.maximum(np.asarray(hours) - start, 0)


def told(flux, settings=PLAIN, hours=HOURS, report=40.0):
  """Returns what is told of a curve, and the emergence time in hours."""
  found = emergence_time(DAY + np.asarray(hours) / 24, flux, DAY + report / 24, settings)
  return found, None if found.mjd is None else 24 * (found.mjd - DAY)


def test_a_ramp_by_hand():
  """The last frame that counts is at 76 h, with 46e20 Mx of the region: a tenth of that is reached at 34.6 h."""
  found, hours = told(ramp())
  assert hours == pytest.approx(34.6, abs=1e-6) and found.reason == ''
  assert found.background_mx == pytest.approx(1e21) and found.largest_mx == pytest.approx(4.6e21)
  assert told(ramp(), dataclasses.replace(PLAIN, share=0.5))[1] == pytest.approx(53.0, abs=1e-6)
  assert told(ramp(), dataclasses.replace(PLAIN, hours_after=26))[1] == pytest.approx(33.6, abs=1e-6)
  assert told(ramp(), report=30)[1] == pytest.approx(33.6, abs=1e-6)


def test_without_a_background_all_flux_is_the_regions():
  settings = dataclasses.replace(PLAIN, background_hours=0)
  assert told(ramp() - 1e21, settings)[1] == pytest.approx(34.6, abs=1e-6)
  assert told(ramp(), settings)[0].reason.startswith('has flux from the first frame on')  # 1e21 of 5.6e21 Mx.


def test_the_units_and_the_order_do_not_matter():
  flux = ramp() * np.random.default_rng(0).uniform(0.97, 1.03, len(HOURS))
  hours = told(flux)[1]
  assert told(1e-16 * flux)[1] == pytest.approx(hours, abs=1e-6)
  assert told(flux + 3e21)[1] == pytest.approx(hours, abs=1e-6)  # A stronger network.
  order = np.random.default_rng(1).permutation(len(HOURS))
  assert told(flux[order], hours=HOURS[order])[1] == hours
  assert told(np.append(flux, np.nan), hours=np.append(HOURS, 34.5))[1] == hours


def test_what_passes_before_is_not_the_emergence():
  flux = ramp()
  flux[15:19] += 1e21  # A bipole of some hours, stronger than a tenth of the region.
  assert told(flux)[1] == pytest.approx(34.6, abs=1e-6)


@pytest.mark.parametrize('cadence_hours', [0.2, 1.0])
@pytest.mark.parametrize('growth_hours', [4.0, 8.0])
@pytest.mark.parametrize('report_hours', [16.0, 40.0])
def test_a_simulated_emergence_is_found_within_an_hour(cadence_hours, growth_hours, report_hours):
  """The curve of the simulated regions, which has a tenth of its flux at its emergence time, here after 60 h."""
  hours = np.arange(0, 140, cadence_hours)
  flux = 1e22 * emerged_fraction(hours - 60, growth_hours, Sun())
  assert told(flux, EmergenceSettings(), hours, 60 + report_hours)[1] == pytest.approx(60, abs=1)
  noise = 3e20 * (1 + 0.02 * np.random.default_rng(2).normal(size=len(hours)))
  assert told(flux + noise, EmergenceSettings(), hours, 60 + report_hours)[1] == pytest.approx(60, abs=1)


def test_smoothing_keeps_a_straight_rise_where_it_is():
  hours = np.arange(0, 90, 0.2)
  assert told(ramp(hours), EmergenceSettings(smoothing_hours=2), hours)[1] == pytest.approx(34.6, abs=0.02)


@pytest.mark.parametrize(
  ('flux', 'keep', 'reason'),
  [
    (ramp(), HOURS < 70, 'lacks frames for 7.0 h within the 36 h after its first report'),
    (ramp(), (HOURS < 50) | (HOURS > 55), 'lacks frames for 7.0 h within the 36 h after its first report'),
    (ramp(), HOURS < 0, 'lacks frames for 36.0 h within'),
    (ramp(), (HOURS < 31) | (HOURS > 36), 'lacks frames for 7.0 h while it emerges'),
    (ramp(), (HOURS > 70), 'lacks frames for 31.0 h within'),
    (ramp(), HOURS > 37, 'has flux from the first frame on'),
    (ramp(start=-50), HOURS > -1, 'has flux from the first frame on'),
    (2e22 - ramp(), HOURS >= 38, 'lacks frames: no 12 h without a gap come before its largest flux'),
    (np.full(90, 1e21), HOURS > -1, 'does not gain flux'),
  ],
)
def test_what_cannot_be_told_has_its_reason(flux, keep, reason):
  found, _ = told(flux[keep], hours=HOURS[keep])
  assert found.mjd is None and found.reason.startswith(reason)
  assert np.isnan(found.background_mx) and np.isnan(found.largest_mx)


def test_gaps_that_do_not_matter_are_let_pass():
  keep = ((HOURS < 14) | (HOURS > 20)) & (HOURS < 80)
  assert told(ramp()[keep], hours=HOURS[keep])[1] == pytest.approx(34.6, abs=1e-6)


def test_the_flux_before_is_that_of_the_first_interval():
  """TI-05 lasts from 27.7 h to 20.9 h before the emergence."""
  hours = np.array([-30.0, -27.6, -24.0, -21.0, -20.8, 0.0])
  flux = np.array([100.0, 1.0, 2.0, 6.0, 100.0, 100.0])
  assert flux_before(DAY + hours / 24, flux, DAY) == pytest.approx(3.0)
  assert flux_before(DAY + hours / 24, flux, DAY + 5) is None


def test_strong_field_before_is_not_quiet_sun():
  """10 G over 1000 Mm^2 are 1e20 Mx."""
  assert is_quiet(1e20, 1000.0, EmergenceSettings(quiet_gauss=10.1))
  assert not is_quiet(1e20, 1000.0, EmergenceSettings(quiet_gauss=9.9))


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'share': 1.0}, 'share must lie between 0 and 1, got 1.0'),
    ({'hours_after': 0.0}, 'hours_after must be positive'),
    ({'background_hours': -1.0}, 'background_hours must be finite and not negative'),
    ({'max_gap_hours': 40.0}, 'max_gap_hours must be shorter than hours_after'),
  ],
)
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    EmergenceSettings(**settings)
