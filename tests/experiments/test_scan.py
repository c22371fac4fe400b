"""The script `scan` on small disks, with a stand-in for the networks."""

import pathlib
import shutil
import types
from collections.abc import Iterator

import numpy as np
import pytest
import sunpy.map
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from scipy.special import expit

from experiments import scan
from hearjax.forecast.disk_alarms import ALARM_COLUMNS
from hearjax.observe.sources import arrivals
from hearjax.report import style
from hearjax.training.ensemble import Ensemble
from tests.forecast.small_disk import SMALL_DOMAIN, centre, mean_network, small_header, write_small_disk
from tests.observe.test_synoptic import write_synoptic
from tests.real_maps import FULL_DISK, SHARP_14182
from tests.scripts import fail, in_process, succeed

L0, B0 = centre(small_header())
START = Time('2014-03-01T00:00:00')
SPOT = (L0 + 20.0, B0 + 15.0)
SCAN = ('--workdir=none', '--step_mm=16')


def stand_in(workdir: str) -> types.SimpleNamespace:
  """Stands for the trained ensemble."""
  model, params = mean_network()
  return types.SimpleNamespace(model=model, params=params, domain=SMALL_DOMAIN, threshold=0.6, names=('a', 'b'))


@pytest.fixture(autouse=True, scope='module')
def no_training():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Ensemble, 'load', stand_in)
    patch.setattr(style, 'DPI', 30)  # A picture takes longer than all else.
    yield


def write_frame(folder, name: str, hours: float, *spots):
  """Writes a frame some hours after the start, as seen from where the observer then is."""
  folder.mkdir(exist_ok=True)
  moment = START + hours * u.hour
  cards = {'DATE-OBS': moment.isot, 'T_OBS': moment.isot, 'CRLN_OBS': L0 - 13.2 * hours / 24}
  return write_small_disk(folder / name, spots, **cards)


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
  """Four frames whose names are not in the order of time: a place grows, and one flashes up once."""
  folder = tmp_path_factory.mktemp('frames')
  write_frame(folder, 'd.fits', 0.0)
  write_frame(folder, 'a.fits', 6.0, (*SPOT, 80.0))
  write_frame(folder, 'c.fits', 12.0, (SPOT[0] + 0.5, SPOT[1], 300.0), (L0 - 40, B0 - 20, 300.0))
  write_frame(folder, 'b.fits', 18.0, (*SPOT, 400.0))
  return folder


@pytest.fixture(scope='module')
def scanned(frames, tmp_path_factory):
  """Folder and output of a scan of the four, with reports and known emergences."""
  root = tmp_path_factory.mktemp('scanned')
  sightings, emergences = root / 'sightings.csv', root / 'emergences.csv'
  sightings.write_text(f'noaa,time,longitude,latitude\n11999,2014-03-01T20:00:00,{SPOT[0]},{SPOT[1]}\n')
  emergences.write_text(
    'noaa,emergence_time,longitude,latitude\n'
    f'11999,2014-03-01T20:00:00,{SPOT[0]},{SPOT[1]}\n'
    f'12000,2014-03-01T20:00:00,{L0 - 10},{B0 + 30}\n'
  )
  known = [f'--sightings={sightings}', f'--emergences={emergences}']
  return root / 'out', succeed('scan', *SCAN, f'--fits={frames}', *known, f'--out={root}/out')


def test_a_folder_becomes_maps_pictures_and_tables(scanned, frames):
  out, said = scanned
  names = sorted(path.name for path in out.iterdir())
  each = [f'{stem}{suffix}' for stem in 'abcd' for suffix in ('.emergence.fits', '.png')]
  assert names == sorted([*each, 'alarms.ecsv', 'places.ecsv', 'history.ecsv', 'emergences.ecsv', 'history.png'])
  probability = sunpy.map.Map(out / 'b.emergence.fits')[0]
  assert (
    probability.meta['prior'] == 0.5 and probability.meta['members'] == 2 and probability.meta['scanned'] == 'b.fits'
  )
  assert np.nanmax(probability.data) > 0.9
  assert 'd.fits: 0 alarms; highest probability 0.1' in said
  assert 'no forecast' in said and 'single frame; the network was trained on means of 547 frames' in said


def test_alarms_are_linked_in_the_order_of_time(scanned):
  out, said = scanned
  alarms = Table.read(out / 'alarms.ecsv')
  assert tuple(alarms.colnames) == ALARM_COLUMNS
  assert [str(file) for file in alarms['file']] == ['c.fits', 'c.fits', 'b.fits']
  assert alarms.meta['threshold'] == 0.6 and alarms.meta['frames'] == 4
  near = np.hypot(alarms['longitude'] % 360 - SPOT[0] % 360, alarms['latitude'] - SPOT[1]) < 3
  assert near.sum() == 2 and len(set(alarms['place'][near])) == 1
  assert set(alarms['noaa'][near]) == {11999} and set(alarms['noaa'][~near]) == {0}
  places = Table.read(out / 'places.ecsv')
  assert sorted(places['alarms']) == [1, 2]
  history = Table.read(out / 'history.ecsv')
  own = history[history['place'] == alarms['place'][near][0]]
  assert [str(file) for file in own['file']] == ['d.fits', 'a.fits', 'c.fits', 'b.fits']
  assert np.all(np.diff(own['probability']) > -0.02) and own['probability'][0] < 0.2
  assert '3 alarms at 0.6 or more, at 2 places in 4 frames' in said


def test_known_emergences_are_told(scanned):
  out, said = scanned
  first, second = Table.read(out / 'emergences.ecsv')
  assert first['noaa'] == 11999 and first['lead_hours'] == pytest.approx(8, abs=0.1) and first['looks'] == 4
  assert np.isnan(second['lead_hours']) and second['first_alarm'] == '-'
  assert (
    'NOAA 11999: first alarm +8.0 h before, 0% of places beside it had one before, too;' in said
    and 'NOAA 12000: no alarm' in said
  )
  assert '1 of 2 known emergences had an alarm before; 1 of 2 places with alarms are near none of them' in said


def test_probabilities_of_the_sun_and_a_threshold_of_ones_own(frames, tmp_path):
  said = succeed('scan', *SCAN, f'--fits={frames}/b.fits', '--prior=0.01', f'--out={tmp_path}/sun')
  assert 'in which 0.01 of the places emerge' in said
  alarms = Table.read(tmp_path / 'sun' / 'alarms.ecsv')
  # The threshold is turned to the prior with the probabilities: the alarms are the same.
  assert len(alarms) == 1 and alarms.meta['threshold'] == pytest.approx(expit(np.log(0.6 / 0.4) - np.log(99)))
  assert 0.01 < alarms['probability'][0] < 1
  said = succeed('scan', *SCAN, f'--fits={frames}/b.fits', '--threshold=0.999999', f'--out={tmp_path}/none')
  assert '0 alarms at 1 or more' in said
  assert len(Table.read(tmp_path / 'none' / 'places.ecsv')) == 0 and not (tmp_path / 'none' / 'history.ecsv').exists()


def test_a_part_of_the_disk_and_a_bad_file_among_good_ones(frames, tmp_path):
  done = in_process(
    'scan',
    *SCAN,
    f'--fits={SHARP_14182}',
    f'--fits={FULL_DISK}',
    f'--fits={tmp_path}/none.fits',
    f'--out={tmp_path}/out',
  )
  assert done.returncode == 1 and "has BUNIT 'DN/s'" in done.stderr and 'There is no file' in done.stderr
  assert done.stderr.endswith('error: 2 of 3 files could not be scanned.\n')
  (row,) = set(Table.read(tmp_path / 'out' / 'alarms.ecsv')['file']) or {SHARP_14182.name}
  assert row == SHARP_14182.name
  assert (tmp_path / 'out' / f'{SHARP_14182.name.removesuffix(".fits")}.emergence.fits').is_file()


def test_products_are_not_replaced_in_silence(frames, tmp_path):
  one = (*SCAN, f'--fits={frames}/b.fits', f'--out={tmp_path}/out')
  succeed('scan', *one)
  assert 'is there already; replace it with --overwrite' in fail('scan', *one)
  succeed('scan', *one, '--overwrite')


def test_a_disk_made_from_a_synoptic_map(tmp_path):
  pytest.importorskip('h5py')
  path = write_synoptic(
    tmp_path / 'br_cr2252.h5', lambda east, north: np.where(np.hypot(east - 60, north + 20) < 5, 500.0, 1.0)
  )
  said = succeed('scan', *SCAN, f'--synoptic={path}', '--date=2022-01-05T00:00:00', f'--out={tmp_path}/out')
  alarms = Table.read(tmp_path / 'out' / 'alarms.ecsv')
  assert len(alarms) == 1 and np.hypot(alarms['longitude'][0] - 60, alarms['latitude'][0] + 20) < 3
  assert 'made from a synoptic map of the radial field' in said
  assert sunpy.map.Map(tmp_path / 'out' / 'br_cr2252.disk.fits').meta['bunit'] == 'G'


def test_a_synoptic_map_of_another_rotation(tmp_path):
  pytest.importorskip('h5py')
  path = write_synoptic(tmp_path / 'br_cr2252.h5')
  flags = types.SimpleNamespace(synoptic=str(path), date='2023-01-05T00:00:00', out=str(tmp_path))
  with pytest.warns(UserWarning, match='of Carrington rotation 2252 by its name, and 2023-01-05T00:00:00 lies in 2266'):
    scan.read_disk(path, flags)


def test_a_folder_is_watched(frames, tmp_path, monkeypatch):
  pytest.importorskip('watchfiles')
  folder = tmp_path / 'in'
  folder.mkdir()
  shutil.copy(frames / 'd.fits', folder)
  whole = (frames / 'b.fits').read_bytes()

  def arrive(*_: object) -> Iterator[pathlib.Path]:
    yield folder / 'd.fits'
    (folder / 'b.fits').write_bytes(whole[: len(whole) // 2])  # Its writer paused for longer than it was waited for.
    yield folder / 'b.fits'
    (folder / 'b.fits').write_bytes(whole)
    yield folder / 'b.fits'

  monkeypatch.setattr(arrivals, 'arrivals', arrive)
  done = in_process('scan', *SCAN, f'--watch={folder}', f'--out={tmp_path}/out')
  assert done.returncode == 0, done.stderr
  assert 'd.fits: 0 alarms' in done.stdout and 'b.fits: 1 alarms' in done.stdout
  assert 'truncated or damaged' in done.stderr
  assert list(Table.read(tmp_path / 'out' / 'alarms.ecsv')['file']) == ['b.fits']
  assert (tmp_path / 'out' / 'history.png').is_file()


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    ([], 'Name one kind of source'),
    (['--fits=a.fits', '--watch=b'], 'Name one kind of source'),
    (['--fits=nothing*.fits'], 'No file matches'),
    (['--fits={root}'], 'holds no file *.fits; name another folder, or --pattern'),
    (['--fits={frames}', '--out={frames}'], '--out and --fits are one folder'),
    (['--fits={frames}/a.fits', '--fits={frames}/../{name}/a.fits'], 'Several files are called a.fits'),
    (['--watch={root}/none'], 'There is no folder'),
    (['--watch={root}', '--out={root}'], '--out and --watch are one folder'),
    (['--fits={frames}/a.fits', '--prior=1'], 'The prior is a share between 0 and 1, both excluded; got 1.0'),
    (['--fits={frames}/a.fits', '--threshold=1'], 'The threshold is a probability between 0 and 1'),
    (['--fits={frames}/a.fits', '--step_mm=0'], 'step_mm must be positive'),
    (['--fits={frames}/a.fits', '--max_angle=95'], 'max_angle must lie in (0, 90]'),
    (['--fits={frames}/a.fits', '--link_mm=0'], 'link_mm must be positive'),
    (['--fits={frames}/a.fits', '--sightings={root}/none.csv'], 'There is no table of sightings'),
    (['--fits={frames}/a.fits', '--emergences={root}/none.csv'], 'There is no table of emerging regions'),
    (['--synoptic={root}/none.h5'], '--synoptic needs --date'),
    (['--synoptic={root}/none.h5', '--date=yesterday'], "'yesterday' is not a time"),
  ],
)
def test_a_mistake_is_told_in_one_sentence(frames, tmp_path, arguments, sentence):
  given = [text.format(root=tmp_path, frames=frames, name=frames.name) for text in arguments]
  if not any(text.startswith('--out') for text in given):
    given.append(f'--out={tmp_path}/mistake')
  assert sentence in fail('scan', *SCAN, *given)
  assert not (tmp_path / 'mistake').exists()
