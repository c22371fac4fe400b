"""Building a survey: what is made, what is not made again, and what a failure leaves."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.observe.averaging import MappingSettings, MeanPatch, mean_patch
from hearjax.observe.building import build, parts
from hearjax.observe.building.build import Built, build_survey, remove_survey
from hearjax.observe.building.cluster import Crew
from hearjax.observe.building.parts import BuildSettings
from hearjax.observe.region_table import Region
from hearjax.observe.sources.frames import FolderSource, Frame
from hearjax.survey.archive import read_survey
from hearjax.survey.intervals import CENTRE_HOURS, WINDOW_HOURS
from tests.observe.sources.disk_frames import CADENCE_S, FIRST, PLACE, write_frame, write_frames

EMERGENCE = FIRST.utc + 12 * u.hour
SETTINGS = BuildSettings(intervals=(-2, -1), mapping=MappingSettings(size=8))
FRAMES = 64  # 12.8 h: both intervals.


def region(name: str, kind: str, pair: str = 'p1', **changes) -> Region:
  known = {'longitude': PLACE[0], 'latitude': PLACE[1], 'emergence': EMERGENCE, 'noaa': 11158 * (kind == 'EAR')}
  return Region(name, pair, kind, **(known | changes), cmd=None, b0=None, fields={})


REGIONS = [region('a-cr', 'CR', longitude=60.0), region('a', 'EAR')]
OTHERS = [region('b-cr', 'CR', 'p2', longitude=20.0), region('b', 'EAR', 'p2', longitude=40.0)]


@dataclasses.dataclass
class Mapper:
  """Stands for the mapping: a field that tells its place and its frames; keeps count, and fails as told."""

  mapped: list[tuple[float, float]] = dataclasses.field(default_factory=list)
  fails_at: set[float] = dataclasses.field(default_factory=set)
  missing: float = 0.0

  def __call__(
    self, frames: Sequence[Frame], longitude: float, latitude: float, settings: MappingSettings
  ) -> MeanPatch:
    self.mapped.append((longitude, frames[0].mjd))
    if longitude in self.fails_at:
      raise UserError(f'{frames[0].path} does not say where its observer was.')
    field = np.full((settings.size, settings.size), longitude, np.float32)
    field.flat[: round(self.missing * field.size)] = np.nan
    return MeanPatch(
      field=field,
      n_frames=len(frames),
      mu=0.9,
      cmd=10.0,
      b0=-6.8,
      missing=self.missing,
      start_mjd=frames[0].mjd,
      end_mjd=frames[-1].mjd,
      mjd=(frames[0].mjd + frames[-1].mjd) / 2,
      quality=0,
      unsigned_change=-0.01,
      net_change=0.001,
      notes='',
      skipped=(),
    )


@pytest.fixture
def mapper(monkeypatch: pytest.MonkeyPatch) -> Mapper:
  mapper = Mapper()
  monkeypatch.setattr(parts, 'mean_patch', mapper)
  return mapper


@pytest.fixture(scope='module')
def frames(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return write_frames(tmp_path_factory.mktemp('frames'), range(FRAMES))


@pytest.fixture
def make(tmp_path: pathlib.Path, frames: pathlib.Path, mapper: Mapper) -> Iterator[Callable[..., Built]]:
  """Returns a function that builds a survey in `tmp_path`, as a program does each time that it is started."""
  with concurrent.futures.ThreadPoolExecutor(2) as executor:

    def make(regions=tuple(REGIONS), settings=SETTINGS, folder=frames, **changes) -> Built:
      source = FolderSource(folder)
      settings = dataclasses.replace(settings, **changes)
      return build_survey(regions, source, tmp_path / 'out', settings, Crew(executor, ahead=2))

    yield make


def test_a_survey_of_what_the_frames_show(make, tmp_path):
  built = make()
  assert (built.magnetograms, built.pairs, built.made, built.is_whole) == (4, 1, 4, True)
  survey = read_survey(tmp_path / 'out')
  assert survey.region_names().tolist() == ['a', 'a', 'a-cr', 'a-cr']
  assert survey.interval.tolist() == [-2, -1, -2, -1]
  np.testing.assert_allclose(survey.field[:, 0, 0], [PLACE[0]] * 2 + [60] * 2)
  nominal = [CENTRE_HOURS[number] for number in survey.interval]
  np.testing.assert_allclose(survey.hours, nominal, atol=CADENCE_S / 3600)
  np.testing.assert_allclose(survey.hours_end - survey.hours_start, WINDOW_HOURS, atol=CADENCE_S / 3600)
  assert set(survey.n_frames.tolist()) <= {34, 35}
  np.testing.assert_allclose(survey.mjd, EMERGENCE.mjd + survey.hours / 24, atol=1e-6)
  assert survey.noaa.tolist() == [11158, 11158, 0, 0]
  assert survey.source == 'folder'


def test_the_archive_tells_how_it_was_made_and_keeps_no_parts(make, tmp_path):
  make()
  out = tmp_path / 'out'
  assert not (out / 'parts').exists()
  told = Table.read(out / 'survey.ecsv', format='ascii.ecsv').meta['build']
  assert told['instrument'] == 'SDO/HMI HMI 720 s' and told['mapping']['size'] == 8 and told['is_whole']
  mapping = Table.read(out / 'plan' / 'mapping.ecsv', format='ascii.ecsv')
  assert mapping['b0'].unit == u.deg and set(mapping['unsigned_change']) == {-0.01}
  assert len(mapping) == 4


def test_simulated_frames_never_pass_for_observed_ones(make, tmp_path):
  folder = write_frames(tmp_path / 'frames', range(FRAMES), TELESCOP='SIMULATED')
  make(folder=folder)
  assert read_survey(tmp_path / 'out').source == 'simulated'
  assert fits.getheader(tmp_path / 'out' / 'regions' / 'a.fits', 'MAGNETOGRAM')['SOURCE'] == 'simulated'


def test_frames_after_emergence_are_left_out_when_told(make, tmp_path):
  make(until_emergence=True, intervals=(-1, 0))
  survey = read_survey(tmp_path / 'out')
  assert set(survey.interval.tolist()) == {-1}
  assert np.all(survey.hours_end <= CADENCE_S / 3600)


# --- Again ------------------------------------------------------------------------------------------------------------


def test_again_makes_nothing(make, mapper):
  make()
  del mapper.mapped[:]
  again = make()
  assert (again.made, again.known, again.magnetograms, again.pairs) == (0, 4, 4, 1)
  assert not mapper.mapped


def test_a_build_that_was_killed_makes_what_is_missing(make, mapper, tmp_path, monkeypatch):
  class Killed(BaseException):
    pass

  run = Crew.run

  def killed(self: Crew, jobs, source) -> Iterator:
    outcomes = run(self, jobs, source)
    yield next(outcomes)
    yield next(outcomes)
    raise Killed

  monkeypatch.setattr(Crew, 'run', killed)
  with pytest.raises(Killed):
    make(regions=[*REGIONS, *OTHERS])
  monkeypatch.setattr(Crew, 'run', run)
  del mapper.mapped[:]
  again = make(regions=[*REGIONS, *OTHERS])
  assert 2 <= again.known < 8 and again.known + again.made == 8
  assert len(mapper.mapped) <= again.made + 2  # What was under way when it was killed.
  assert len(read_survey(tmp_path / 'out')) == 8


def test_what_failed_is_left_out_and_made_by_the_next_run(make, mapper, tmp_path):
  mapper.fails_at = {40.0}
  first = make(regions=[*REGIONS, *OTHERS])
  assert sorted(first.failed) == ['b TI-01', 'b TI-02'] and not first.is_whole
  assert all(reason.endswith('does not say where its observer was.') for reason in first.failed.values())
  assert first.left_out == ('pair p2 left out whole: b has no magnetogram',)
  assert read_survey(tmp_path / 'out').pair_ids == ('p1',)
  mapper.fails_at = set()
  del mapper.mapped[:]
  second = make(regions=[*REGIONS, *OTHERS])
  assert {longitude for longitude, _ in mapper.mapped} == {40.0}
  assert second.is_whole and (second.known, second.made) == (6, 2)
  assert read_survey(tmp_path / 'out').pair_ids == ('p1', 'p2')
  assert not (tmp_path / 'out' / 'parts').exists()


def test_a_frame_that_is_added_makes_its_interval_anew(make, mapper, tmp_path):
  folder = write_frames(tmp_path / 'frames', range(FRAMES - 3))
  mapper.fails_at = {60.0}
  with pytest.raises(UserError, match='no pair with a magnetogram in both halves: of 4, 2 failed'):
    make(folder=folder)
  mapper.fails_at = set()
  write_frame(folder / 'new.fits', FRAMES - 3)
  del mapper.mapped[:]
  with pytest.warns(UserWarning, match='1 magnetograms of an earlier run are made again'):
    make(folder=folder)
  assert len(mapper.mapped) == 3  # The two that failed, and the last interval of the other region.


def test_a_region_that_is_moved_is_made_anew(make, mapper):
  mapper.fails_at = {60.0}
  with pytest.raises(UserError, match='2 failed'):
    make()
  mapper.fails_at = set()
  moved = [REGIONS[0], dataclasses.replace(REGIONS[1], latitude=-18.0)]
  with pytest.warns(UserWarning, match='2 magnetograms of an earlier run are made again'):
    assert make(regions=moved).made == 4


def test_another_survey_is_not_overwritten(make, tmp_path):
  make()
  for changes in ({'min_frames': 0.4}, {'regions': OTHERS}, {'mapping': MappingSettings(size=10)}):
    with pytest.raises(FileExistsError, match='already holds a survey archive, of other regions, frames or settings'):
      make(**changes)
  remove_survey(tmp_path / 'out')
  assert not list((tmp_path / 'out').rglob('*.fits'))
  assert make(regions=OTHERS).made == 4


def test_a_part_whose_file_and_record_do_not_belong_together_is_made_again(make, mapper, tmp_path):
  make(keep_parts=True)
  path = next((tmp_path / 'out' / 'parts').rglob('a.fits'))
  fits.setval(path, 'STAMP', value='of others')
  (tmp_path / 'out' / 'survey.ecsv').unlink()
  del mapper.mapped[:]
  with pytest.warns(UserWarning, match='1 magnetograms'):
    assert make().made == len(mapper.mapped) == 1


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_too_few_frames_leave_a_magnetogram_out_and_are_not_tried_again(make, mapper, tmp_path):
  folder = write_frames(tmp_path / 'frames', [*range(8), *range(30, FRAMES)])
  built = make(folder=folder, keep_parts=True)
  assert built.is_whole and built.magnetograms == 2
  assert 'a TI-02: 12 good frames 12 min apart in 410 min' in built.left_out
  (tmp_path / 'out' / 'survey.ecsv').unlink()
  del mapper.mapped[:]
  assert make(folder=folder, keep_parts=True).made == 0
  assert not mapper.mapped


def test_nothing_is_left(make, mapper):
  mapper.missing = 0.5
  with pytest.raises(UserError, match=r'of 4, 4 were left out\. The first is a.*: 50% of its pixels are missing'):
    make()


def test_all_fail(make, mapper):
  mapper.fails_at = {60.0, PLACE[0]}
  with pytest.raises(UserError, match=r'of 4, 4 failed\. The first is a.*does not say where its observer was'):
    make()


def test_observed_and_simulated_frames_are_not_mixed(make, monkeypatch):
  monkeypatch.setattr(parts, 'source_of', lambda frame, source: f'source {frame.mjd % 1 > 0.5}')
  with pytest.raises(UserError, match=r'are of several sources, source False\+source True; use those of one'):
    make()


def test_frames_without_their_observer(make, tmp_path, monkeypatch):
  monkeypatch.setattr(parts, 'mean_patch', mean_patch)
  nowhere = {'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': 1.6e11}
  folder = write_frames(tmp_path / 'frames', range(FRAMES), **nowhere)
  with pytest.raises(UserError, match=r'4 failed\. The first is .*None of 3\d frames can be used; .* an observer'):
    make(folder=folder)


def test_a_frame_that_cannot_be_used_is_told_of(make, mapper, monkeypatch):
  def skip_one(frames: Sequence[Frame], *place) -> MeanPatch:
    return dataclasses.replace(mapper(frames[1:], *place), skipped=(f'{frames[0].path} is damaged.',))

  monkeypatch.setattr(parts, 'mean_patch', skip_one)
  built = make()
  assert built.is_whole and len(built.left_out) == 4
  assert built.left_out[0].startswith('a-cr TI-0') and '1 of its frames, the first since: ' in built.left_out[0]


def test_a_disk_that_is_full_keeps_what_is_done(make, monkeypatch, tmp_path):
  collect = FolderSource.collect

  def full(self: FolderSource, need) -> list[Frame]:
    if need.longitude == 40.0 and build_has_begun:
      raise OSError(28, 'No space left on device')
    return collect(self, need)

  build_has_begun = False
  monkeypatch.setattr(FolderSource, 'collect', full)
  make_missing = build._make_missing

  def begin(*arguments) -> dict[str, str]:
    nonlocal build_has_begun
    build_has_begun = True
    return make_missing(*arguments)

  monkeypatch.setattr(build, '_make_missing', begin)
  built = make(regions=[*REGIONS, *OTHERS])
  assert set(built.failed.values()) == {'[Errno 28] No space left on device'}
  assert len(built.failed) + built.untried == 2
  assert read_survey(tmp_path / 'out').pair_ids == ('p1',)


def test_a_region_beyond_the_limb(make):
  hidden = [region('c-cr', 'CR', 'p3', longitude=200.0), region('c', 'EAR', 'p3')]
  with pytest.raises(UserError, match=r'c-cr \(Carrington longitude 200\.0, latitude -20\.5 deg\) lies beyond'):
    make(regions=[*REGIONS, *hidden])


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'intervals': (-6,)}, 'from -5 to 1, got -6'),
    ({'intervals': (0,), 'until_emergence': True}, 'centred after emergence'),
    ({'min_frames': 1.5}, 'min_frames is a fraction'),
  ],
)
def test_settings_that_make_no_sense(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    BuildSettings(**changes)
