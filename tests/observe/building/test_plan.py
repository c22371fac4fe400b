"""From a catalogue to a region table: emergence times, control regions, what is left out, and going on."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.observe.building import curves
from hearjax.observe.building.catalogue import CatalogueSettings, find_emergers
from hearjax.observe.building.cluster import Crew
from hearjax.observe.building.controls import ControlSettings
from hearjax.observe.building.curves import CurveSettings
from hearjax.observe.building.plan import Catalogue, PlanSettings, plan_regions, read_catalogue
from hearjax.observe.region_table import Region
from hearjax.observe.sources.frames import Frame, Need
from hearjax.solar import separation, wrap_degrees
from tests.observe.building.reports import daily, longitude_at, make_sightings

START, DAYS = 55550.0, 80  # 2010-12-20.
REPORTED = START + 50  # When the first report of the emerging region holds.
EMERGED = REPORTED - 0.4
PLACE = longitude_at(REPORTED, 5.0), 14.0
QUIET_MX, STRONG_MX = 3e20, 6e21  # Of 50 Mm around a place: 4 and 76 G.


class HourlySource:
  """Frames without pixels, one an hour."""

  name = 'folder'

  def collect(self, need: Need) -> list[Frame]:
    hours = np.arange(np.ceil(need.start_mjd * 24), need.end_mjd * 24)
    return [Frame('', float(hour / 24), 0) for hour in hours]

  def release(self, need: Need) -> None:
    pass


@dataclasses.dataclass
class Sun:
  """Stands for the flux of places: quiet, but for one that emerges and those that are told to be strong."""

  before_mx: float = QUIET_MX
  strong: Callable[[float, float], bool] = lambda mjd, longitude: False
  error: Exception | None = None
  followed: int = 0

  def __call__(
    self, frames: Sequence[Frame], longitude: float, latitude: float, radius_mm: float
  ) -> tuple[np.ndarray, np.ndarray]:
    self.followed += 1
    mjd = np.array([frame.mjd for frame in frames])
    if abs(wrap_degrees(longitude - PLACE[0])) < 1 and abs(mjd.mean() - REPORTED) < 3:
      if self.error:
        raise self.error
      gain = np.clip(24 * (mjd - EMERGED) + 2, 0, 20) / 20  # A tenth of the whole at the emergence time.
      return mjd, self.before_mx + 5e21 * gain
    flux = STRONG_MX if self.strong(float(mjd.mean()), longitude) else QUIET_MX
    return mjd, np.full(len(mjd), flux)


@pytest.fixture
def sun(monkeypatch: pytest.MonkeyPatch) -> Sun:
  sun = Sun()
  monkeypatch.setattr(curves, 'flux_curve', sun)
  return sun


@pytest.fixture
def catalogue() -> Catalogue:
  """Reports of a region that emerges, and of another one in the other hemisphere."""
  rows = [*daily(11140, REPORTED, 6, *PLACE), *daily(11100, START, 8, longitude_at(START, -60.0), -20.0)]
  sightings = make_sightings(rows, START, DAYS)
  emergers, rejected = find_emergers(sightings, CatalogueSettings())
  return Catalogue(emergers, sightings, rejected)


@pytest.fixture
def plan(tmp_path: pathlib.Path, sun: Sun, catalogue: Catalogue) -> Iterator[Callable[..., list[Region]]]:
  """Returns a function that plans a survey in a folder, as a program does each time that it is started."""
  with concurrent.futures.ThreadPoolExecutor(2) as executor:

    def plan(catalogue: Catalogue = catalogue, folder: str = 'out', **settings) -> list[Region]:
      crew = Crew(executor, ahead=4)
      return plan_regions(catalogue, HourlySource(), tmp_path / folder, PlanSettings(**settings), crew)

    yield plan


def test_a_region_gets_its_emergence_time_and_a_control_like_it(plan, tmp_path):
  control, region = plan()
  assert (region.region_id, region.kind, region.noaa) == ('ar11140', 'EAR', 11140)
  assert region.emergence.mjd == pytest.approx(EMERGED, abs=1 / 24)
  assert (control.region_id, control.kind, control.noaa) == ('ar11140-cr', 'CR', 0)
  assert control.latitude == pytest.approx(region.latitude, abs=2)
  assert abs(control.cmd) == pytest.approx(abs(region.cmd), abs=2)
  apart = separation(control.longitude, control.latitude, region.longitude, region.latitude)
  assert apart > 10 or abs(control.emergence.mjd - region.emergence.mjd) > 2
  out = tmp_path / 'out' / 'plan'
  pairs = Table.read(out / 'pairs.ecsv', format='ascii.ecsv')
  assert pairs['ear_flux_mx'][0] == pytest.approx(QUIET_MX, rel=0.1)
  assert pairs['cr_flux_mx'][0] == pytest.approx(QUIET_MX)
  assert 'flux_mx' in Table.read(out / 'balance.ecsv', format='ascii.ecsv')['quantity']
  rejected = Table.read(out / 'rejected.ecsv', format='ascii.ecsv')
  assert rejected['noaa'].tolist() == [11100] and 'no report within' in rejected['reason'][0]


def test_a_control_that_is_not_quiet_is_struck_off(plan, sun):
  first = plan()[0].emergence.mjd
  sun.strong = lambda mjd, longitude: abs(mjd - first) < 1.5
  second = plan(folder='other')[0].emergence.mjd
  assert abs(second - first) > 0.9


def test_few_candidates_are_looked_at(plan, sun):
  plan(controls=ControlSettings(candidates=10))
  assert sun.followed == 2


def test_a_control_unlike_its_region_in_flux_is_struck_off(plan, sun):
  sun.before_mx = 2.5 * QUIET_MX  # 0.4 dex.
  with pytest.raises(UserError, match='too few candidates for controls: of 1 regions 1 get none'):
    plan()
  assert plan(controls=ControlSettings(flux_tolerance_dex=0.5))


def test_again_reads_what_is_there(plan, sun, tmp_path):
  first = plan()
  sun.followed = 0
  again = plan()
  assert [region.region_id for region in again] == [region.region_id for region in first]
  assert not sun.followed
  (tmp_path / 'out' / 'regions.ecsv').unlink()
  plan()
  assert not sun.followed  # Curves are kept.


def test_a_plan_with_other_settings_is_not_mixed_with_the_first(plan):
  plan()
  with pytest.raises(FileExistsError, match='was planned with another catalogue, other frames or settings'):
    plan(curves=CurveSettings(radius_mm=40.0))


def test_an_emergence_time_that_is_known_is_kept(plan, catalogue):
  known = dataclasses.replace(catalogue.emergers[0], emergence_mjd=EMERGED + 0.1)
  region = plan(dataclasses.replace(catalogue, emergers=[known]))[1]
  assert region.emergence.mjd == pytest.approx(EMERGED + 0.1, abs=1e-6)


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_region_in_strong_field_is_left_out(plan, sun, tmp_path):
  sun.before_mx = STRONG_MX
  with pytest.raises(UserError, match=r'None of the 2 regions .* NOAA 11140 emerged into strong'):
    plan()
  rejected = Table.read(tmp_path / 'out' / 'plan' / 'rejected.ecsv', format='ascii.ecsv')
  assert rejected['noaa'].tolist() == [11100, 11140]
  assert rejected['reason'][1].startswith('emerged into strong field, 6e+21 Mx')


def test_too_few_candidates_for_controls(plan, sun):
  sun.strong = lambda mjd, longitude: True
  with pytest.raises(UserError, match='too few candidates for controls: of 1 regions 1 get none out of 0 candidates'):
    plan()


def test_no_region_emerged(tmp_path):
  sightings = make_sightings([*daily(11100, START, 8, longitude_at(START, -60.0), -20.0)], START, 8)
  sightings['noaa', 'mjd', 'latitude', 'longitude'].write(tmp_path / 'sightings.ecsv')
  with pytest.raises(UserError, match='no region that emerged on the disk; of 1 others the first is'):
    read_catalogue(tmp_path / 'sightings.ecsv', None, CatalogueSettings())


def test_a_curve_that_fails_stops_the_plan_in_the_end_unless_told(plan, sun):
  sun.error = UserError('frame.fits has no observer.')
  with pytest.raises(UserError, match=r'The flux of 1 of 1 places .* is ar11140: frame\.fits has no observer;'):
    plan()
  with pytest.raises(UserError, match='NOAA 11140 has frames that cannot be used'):
    plan(curves=CurveSettings(allow_failed=True))
