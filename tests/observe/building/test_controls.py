"""Control regions: proposed, matched, written down."""

import dataclasses
import itertools

import numpy as np
import pytest
from astropy.table import Table

from hearjax.files import write_table
from hearjax.observe.building.catalogue import Emerger
from hearjax.observe.building.controls import (
  WINDOW_DAYS,
  ControlSettings,
  emerger_places,
  match_controls,
  propose_controls,
)
from hearjax.observe.building.pair_tables import control_balance, region_table
from hearjax.observe.building.sightings import disk_centre
from hearjax.observe.region_table import read_regions
from hearjax.solar import mu, separation
from tests.observe.building.reports import daily, longitude_at, make_sightings

FIRST, DAYS = 55600.0, 60
START, END = FIRST + 3, FIRST + DAYS - 4  # Of the frames.


def emerger(noaa, mjd, cmd=-20.0, latitude=15.0, flux=None):
  """Returns a region that emerges at some time and place of the disk, and is first reported at the next midnight."""
  longitude, report = longitude_at(mjd, cmd), np.floor(mjd) + 1
  seen = float((longitude - disk_centre(report)[0] + 180) % 360 - 180)
  return Emerger(noaa, longitude, latitude, float(report), seen, mjd, flux)


def sightings_of(emergers, others=()):
  rows = [row for one in emergers for row in daily(one.noaa, one.first_report_mjd, 6, one.longitude, one.latitude)]
  return make_sightings([*rows, *others], FIRST, DAYS)


EMERGERS = [emerger(11500 + number, FIRST + 15.3 + 6 * number, 14.0 * number - 30, 18.0) for number in range(5)]


def candidate_table(rows):
  """Returns candidates of `(mjd, cmd, latitude, flux)` with B0 = 0 and a longitude of their own."""
  mjd, cmd, latitude, flux = np.array(rows, float).T
  b0 = np.zeros(len(rows))
  columns = {'noaa': np.zeros(len(rows), int), 'mjd': mjd, 'latitude': latitude, 'longitude': (37.0 * mjd) % 360}
  return Table(columns | {'cmd': cmd, 'b0': b0, 'mu': mu(cmd, latitude, b0), 'flux_mx': flux})


# --- Candidates ---------------------------------------------------------------------------------------------------


def test_candidates_stand_where_the_regions_stood_at_other_times():
  settings = ControlSettings(candidates=6)
  found = propose_controls(EMERGERS, sightings_of(EMERGERS), START, END, settings)
  places = emerger_places(EMERGERS)
  assert list(np.unique(found['noaa'], return_counts=True)[1]) == [6] * len(EMERGERS)
  for row in found:
    place = places[places['noaa'] == row['noaa']][0]
    assert abs(row['latitude'] - place['latitude']) <= settings.latitude_tolerance_deg
    assert abs(row['cmd'] - place['cmd']) <= settings.cmd_tolerance_deg
    assert row['longitude'] == pytest.approx(longitude_at(row['mjd'], row['cmd']))
    days = row['mjd'] - place['mjd']
    assert abs(days) >= 1 and days == pytest.approx(round(days))  # The same time of the day.
    assert row['mjd'] + WINDOW_DAYS[0] >= START and row['mjd'] + WINDOW_DAYS[1] <= END
    assert row['b0'] == pytest.approx(disk_centre(row['mjd'])[1])
    assert row['mu'] == pytest.approx(mu(row['cmd'], row['latitude'], row['b0']))
    assert np.isnan(row['flux_mx'])


def test_no_candidate_has_a_region_near_while_it_is_looked_at():
  """A crowded Sun; all sightings and regions are looked at, one by one."""
  rng = np.random.default_rng(0)
  others = []
  for number in range(60):
    mjd = FIRST + int(rng.integers(0, DAYS - 8))
    others += daily(11600 + number, mjd, 8, longitude_at(mjd, rng.uniform(-80, 60)), 18 + rng.normal(scale=6))
  sightings = sightings_of(EMERGERS, others)
  found = propose_controls(EMERGERS, sightings, START, END, ControlSettings())
  assert len(found) > 10 and np.any(found['latitude'] != 18)  # Of some, places around were tried.
  for row in found:
    for seen in sightings:
      if row['mjd'] + WINDOW_DAYS[0] - 2 < seen['mjd'] < row['mjd'] + WINDOW_DAYS[1] + 2:
        assert separation(row['longitude'], row['latitude'], seen['longitude'], seen['latitude']) >= 10
    for one in EMERGERS:
      if abs(one.emergence_mjd - row['mjd']) < WINDOW_DAYS[1] - WINDOW_DAYS[0]:
        assert separation(row['longitude'], row['latitude'], one.longitude, one.latitude) >= 10


def test_an_occupied_sun_has_no_candidates_and_says_so():
  others = [row for number in range(48) for row in daily(11600 + number, FIRST, DAYS, 7.5 * number, 18.0)]
  found = propose_controls(EMERGERS[:2], sightings_of(EMERGERS[:2], others), START, END, ControlSettings())
  assert len(found) == 0 and found.colnames == emerger_places(EMERGERS).colnames
  with pytest.raises(ValueError, match='too few candidates for controls: of 2 regions 2 get none out of 0 candidates'):
    match_controls(EMERGERS[:2], found, ControlSettings())


def test_times_without_reports_are_not_proposed():
  sightings = sightings_of(EMERGERS)
  sightings.meta['reports'] = [mjd for mjd in sightings.meta['reports'] if not FIRST + 20 < mjd < FIRST + 40]
  found = propose_controls(EMERGERS, sightings, START, END, ControlSettings(candidates=60))
  window = found['mjd'] + WINDOW_DAYS[0] - 2, found['mjd'] + WINDOW_DAYS[1] + 2
  assert len(found) and np.all((window[1] <= FIRST + 20) | (window[0] >= FIRST + 40))
  with pytest.warns(UserWarning, match='Without reports nothing keeps NOAA regions out'):
    assert len(propose_controls(EMERGERS, None, START, END, ControlSettings(candidates=60))) > len(found)


def test_proposals_do_not_hang_on_the_order():
  sightings = sightings_of(EMERGERS)
  first, second = (
    propose_controls(order, sightings, START, END, ControlSettings()) for order in (EMERGERS, EMERGERS[::-1])
  )
  assert all(list(first[name]) == list(second[name]) for name in first.colnames if name != 'flux_mx')


def test_what_cannot_be_proposed_for_is_refused():
  unknown = dataclasses.replace(EMERGERS[0], emergence_mjd=None)
  with pytest.raises(ValueError, match='The emergence time of NOAA 11500 is not known'):
    propose_controls([unknown], sightings_of(EMERGERS), START, END, ControlSettings())
  with pytest.raises(ValueError, match='There is no emerging region'):
    propose_controls([], sightings_of(EMERGERS), START, END, ControlSettings())
  with pytest.raises(ValueError, match='must begin before it ends'):
    propose_controls(EMERGERS, sightings_of(EMERGERS), END, START, ControlSettings())
  with pytest.raises(ValueError, match='latitude_tolerance_deg must be positive'):
    ControlSettings(latitude_tolerance_deg=0)


# --- Pairs --------------------------------------------------------------------------------------------------------


def cheapest(emergers, candidates, settings):
  """Returns the least cost of one candidate for each region, all choices tried."""
  regions, costs = emerger_places(emergers), np.full((len(emergers), len(candidates)), np.inf)
  for (i, region), (j, other) in itertools.product(enumerate(regions), enumerate(candidates)):
    scaled = [
      (region['latitude'] - other['latitude']) / settings.latitude_tolerance_deg,
      (abs(region['cmd']) - abs(other['cmd'])) / settings.cmd_tolerance_deg,
      (region['mu'] - other['mu']) / settings.mu_tolerance,
      (np.log10(region['flux_mx']) - np.log10(other['flux_mx'])) / settings.flux_tolerance_dex,
    ]
    if max(map(abs, scaled)) <= 1:
      costs[i, j] = sum(value**2 for value in scaled)
  choices = itertools.permutations(range(len(candidates)), len(emergers))
  return min(sum(costs[i, j] for i, j in enumerate(choice)) for choice in choices)


@pytest.mark.parametrize('seed', range(4))
def test_pairs_are_the_cheapest_of_all(seed):
  rng = np.random.default_rng(seed)
  emergers = [
    emerger(
      11500 + number, FIRST + 10.3 + 10 * number, rng.uniform(-1, 1), rng.uniform(-1, 1), 10 ** rng.uniform(21, 21.2)
    )
    for number in range(4)
  ]
  candidates = candidate_table(
    [
      (FIRST + 100 + 10 * number, rng.uniform(-1, 1), rng.uniform(-1, 1), 10 ** rng.uniform(21, 21.2))
      for number in range(7)
    ]
  )
  settings = ControlSettings(latitude_tolerance_deg=1.5, cmd_tolerance_deg=0.8)
  pairs = match_controls(emergers, candidates, settings)
  assert np.sum(pairs['cost']) == pytest.approx(cheapest(emergers, candidates, settings))
  assert len(set(pairs['cr_mjd'].tolist())) == 4

  order = rng.permutation(7)
  again = match_controls(emergers[::-1], candidates[order], settings)
  for name in pairs.colnames:
    assert list(again[name]) == list(pairs[name])


def test_flux_counts_where_it_is_known():
  """The second candidate is as far in flux as the first in latitude, but nothing is known of the first."""
  region = emerger(11500, FIRST + 10.3, 0.0, 0.0, 1e21)
  settings = ControlSettings(flux_tolerance_dex=0.5)
  rows = [(FIRST + 100, 0.0, 1.0, np.nan), (FIRST + 110, 0.0, 0.0, 1e21 * 10**0.4)]
  assert match_controls([region], candidate_table(rows), settings)['cr_latitude'][0] == 1.0  # 0.25 against 0.64.
  rows[1] = (FIRST + 110, 0.0, 0.0, 1e21 * 10**0.1)
  assert match_controls([region], candidate_table(rows), settings)['cr_latitude'][0] == 0.0
  rows = [(FIRST + 110, 0.0, 0.0, 1e21 * 10**0.6)]
  with pytest.raises(ValueError, match='too few candidates'):
    match_controls([region], candidate_table(rows), settings)


def test_chosen_controls_do_not_overlap():
  """Both regions are nearest to the same piece of the Sun, seen at almost the same time."""
  emergers = [emerger(11500, FIRST + 10.3, 0.0, 10.0), emerger(11501, FIRST + 20.3, 0.0, 10.0)]
  candidates = candidate_table(
    [(FIRST + 100.0, 0.0, 10.0, np.nan), (FIRST + 100.1, 0.1, 10.2, np.nan), (FIRST + 120.0, 0.5, 11.0, np.nan)]
  )
  pairs = match_controls(emergers, candidates, ControlSettings())
  assert sorted(pairs['cr_mjd']) == [FIRST + 100.0, FIRST + 120.0]
  with pytest.raises(ValueError, match=r'of 2 regions 1 get none out of 2 candidates \(NOAA 1150\d\); loosen latitude'):
    match_controls(emergers, candidates[:2], ControlSettings())
  apart = candidates[:2]
  apart['longitude'][1] += 20
  assert len(match_controls(emergers, apart, ControlSettings())) == 2


def test_regions_without_a_control_may_be_left_out():
  emergers = [emerger(11500, FIRST + 10.3, 0.0, 10.0), emerger(11501, FIRST + 20.3, 0.0, -30.0)]
  candidates = candidate_table([(FIRST + 100.0, 0.0, 10.0, np.nan)])
  message = r'too few candidates for controls: of 2 regions 1 get none out of 1 candidates \(NOAA 11501\)'
  with pytest.raises(ValueError, match=message + '; loosen .* or set allow_unmatched'):
    match_controls(emergers, candidates, ControlSettings())
  with pytest.warns(UserWarning, match=message + '; they are left out'):
    pairs = match_controls(emergers, candidates, ControlSettings(allow_unmatched=True))
  assert list(pairs['pair_id']) == ['ar11500']
  with pytest.raises(ValueError, match='of 1 regions 1 get none'):
    match_controls(emergers[1:], candidates, ControlSettings(allow_unmatched=True))


# --- What is written ----------------------------------------------------------------------------------------------


def test_pairs_become_a_region_table_that_is_read(tmp_path):
  candidates = propose_controls(EMERGERS, sightings_of(EMERGERS), START, END, ControlSettings())
  pairs = match_controls(EMERGERS, candidates, ControlSettings())
  write_table(tmp_path / 'regions.ecsv', region_table(pairs))
  regions = read_regions(tmp_path / 'regions.ecsv')
  assert len(regions) == 10
  for control, region, one in zip(regions[::2], regions[1::2], EMERGERS, strict=True):
    assert (region.region_id, region.pair_id, region.kind) == (f'ar{one.noaa}', f'ar{one.noaa}', 'EAR')
    assert (control.region_id, control.pair_id, control.kind) == (f'ar{one.noaa}-cr', f'ar{one.noaa}', 'CR')
    assert (region.noaa, control.noaa) == (one.noaa, 0)
    assert region.emergence.mjd == pytest.approx(one.emergence_mjd, abs=1e-8)
    assert (region.longitude, region.latitude) == (one.longitude, one.latitude)
    for each in (region, control):  # The control was where its region was, by the Sun's rotation.
      assert each.cmd == pytest.approx((each.longitude - disk_centre(each.emergence.mjd)[0] + 180) % 360 - 180)
      assert each.b0 == pytest.approx(disk_centre(each.emergence.mjd)[1])
    assert abs(region.cmd - control.cmd) <= 2 and abs(region.latitude - control.latitude) <= 2


def test_the_balance_by_hand():
  one = {'pair_id': 'ar11500', 'ear_noaa': 11500, 'ear_longitude': 0.0, 'cr_longitude': 0.0, 'cost': 0.0}
  rows = []
  for ear, cr in ((10.0, 9.0), (12.0, 11.5), (-14.0, -16.0)):
    values = {'mjd': FIRST, 'cmd': 5.0, 'b0': 0.0, 'mu': 0.9, 'flux_mx': np.nan}
    row = one | {f'{kind}_{name}': value for kind in ('ear', 'cr') for name, value in values.items()}
    rows.append(row | {'ear_latitude': ear, 'cr_latitude': cr})
  rows[0] |= {'ear_flux_mx': 2e21, 'cr_flux_mx': 1e21}
  balance = control_balance(Table(rows))
  assert list(balance['quantity'][:2]) == ['latitude', '|latitude|']
  latitude = balance[0]
  assert (latitude['unit'], latitude['n_pairs']) == ('deg', 3)
  assert latitude['mean_ear'] == pytest.approx(8 / 3) and latitude['mean_cr'] == pytest.approx(1.5)
  assert latitude['difference'] == pytest.approx(3.5 / 3)
  assert latitude['deviation'] == pytest.approx(np.std([1, 0.5, 2], ddof=1))
  scatter = np.sqrt((np.var([10, 12, -14], ddof=1) + np.var([9, 11.5, -16], ddof=1)) / 2)
  assert latitude['standardised'] == pytest.approx(3.5 / 3 / scatter)
  flux = balance[balance['quantity'] == 'flux_mx'][0]
  assert flux['n_pairs'] == 1 and flux['difference'] == pytest.approx(1e21) and np.isnan(flux['standardised'])
  assert balance[balance['quantity'] == 'mu']['standardised'][0] == 0


def test_a_whole_catalogue_is_in_balance():
  """The same places at other times: nothing but chance and the season may differ."""
  rng = np.random.default_rng(3)
  emergers = [
    emerger(11500 + number, FIRST + 6 + 2.5 * number, rng.uniform(-50, 50), rng.choice([-1, 1]) * rng.uniform(8, 25))
    for number in range(16)
  ]
  candidates = propose_controls(emergers, sightings_of(emergers), START, END, ControlSettings())
  balance = control_balance(match_controls(emergers, candidates, ControlSettings()))
  known = balance[balance['n_pairs'] > 0]
  assert len(known) == 8 and np.all(np.abs(known['standardised']) < 0.2)
