"""The script `build_survey`: from simulated disks to a survey whose truth is known, and what users do wrong."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from astropy.table import Table

from experiments import reproduce
from hearjax.simulate.disk import DiskSettings, Site, emerging_elements, plan_sites
from hearjax.simulate.disk_files import earth_views, simulate_frames
from hearjax.simulate.sun import Sun
from hearjax.solar import DEFAULT_PIXEL_SCALE_MM, SOLAR_RADIUS_MM, direction, separation
from hearjax.survey.archive import read_survey
from hearjax.survey.intervals import SPACING_HOURS
from hearjax.survey.survey import checksum
from tests.observe.building.dask_cluster import dask_cluster
from tests.observe.sources.jsoc_server import jsoc_server
from tests.scripts import ROOT, command, fail, succeed

# Four regions emerge, and there are controls for all of them.
SUN = DiskSettings(seed=0, **reproduce.FEW_FRAMES)
FLAGS = (f'--emergence_max_gap_hours={reproduce.MAX_GAP_HOURS}', '--intervals=-2,-1,0')


@pytest.fixture(scope='module')
def simulated(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('simulated')
  simulate_frames(folder, SUN)
  return folder


@pytest.fixture(scope='module')
def planted() -> dict[int, Site]:
  l0 = earth_views(SUN.first_time.reshape(1), SUN)[0].l0
  return {site.noaa: site for site in plan_sites(SUN, l0, Sun())}


@pytest.fixture(scope='module')
def built(simulated: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A survey that was built on a cluster of two workers, one of which was killed in the middle."""
  out, folder = simulated / 'survey', tmp_path_factory.mktemp('dask')
  arguments = f'--catalogue={simulated}/sightings.ecsv', f'--frames={simulated}/frames', f'--out={out}', *FLAGS
  with dask_cluster(folder, 2) as (address, _, workers):
    line = command('build_survey', *arguments, f'--scheduler={address}')
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
      while process.poll() is None and len(list(out.glob('parts/*/*.json'))) < 4:
        time.sleep(0.05)
      workers[0].send_signal(signal.SIGKILL)
      printed = process.communicate(timeout=200)[0]
  assert process.returncode == 0, printed
  assert f'24 magnetograms of 4 pairs in {out}; 24 made in this run, 0 before.' in printed
  return out


def alive_in_group(number: int) -> list[psutil.Process]:
  """Returns the processes of a group that are more than an entry in a table."""
  alive = []
  for one in psutil.process_iter(['status']):
    with contextlib.suppress(ProcessLookupError):  # It has just ended.
      if os.getpgid(one.pid) == number and one.info['status'] != psutil.STATUS_ZOMBIE:
        alive.append(one)
  return alive


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_all_processes_and_what_was_made_stays(built, simulated, tmp_path):
  out, log = tmp_path / 'survey', tmp_path / 'log'
  arguments = f'--regions={built}/regions.ecsv', f'--frames={simulated}/frames', f'--out={out}', '--intervals=-2,-1,0'
  hearing = 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'
  line = [sys.executable, '-c', hearing, *command('build_survey', *arguments, '--workers=2')]
  with log.open('w') as file:
    process = subprocess.Popen(line, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
  deadline = time.monotonic() + 200
  while len(list(out.glob('parts/*/*.json'))) < 4 and time.monotonic() < deadline:
    assert process.poll() is None, log.read_text()
    time.sleep(0.02)
  os.killpg(process.pid, signal.SIGINT)  # As a terminal does.
  assert process.wait(60) == 130
  while (left := alive_in_group(process.pid)) and time.monotonic() < deadline:  # The last ones may be about to end.
    time.sleep(0.05)
  assert not left
  told = log.read_text()
  assert 'Traceback' not in told
  assert f'magnetograms that were ready are kept; go on with: hearjax build_survey --regions={built}' in told
  assert not (out / '.build_survey.lock').exists()
  made, known = re.search(r'(\d+) made in this run, (\d+) before', succeed('build_survey', *arguments)).groups()
  assert int(made) + int(known) == 24 and int(known) >= 4
  assert checksum(read_survey(out, 1.0)) == checksum(read_survey(built, 1.0))


# --- What is known of the simulated Sun -------------------------------------------------------------------------------


@pytest.mark.slow
def test_emergence_times_are_within_an_interval_of_the_truth(built, simulated):
  truth = Table.read(simulated / 'truth.ecsv', format='ascii.ecsv')
  pairs = Table.read(built / 'plan' / 'pairs.ecsv', format='ascii.ecsv')
  assert pairs['ear_noaa'].tolist() == truth['noaa'].tolist()
  np.testing.assert_allclose(pairs['ear_mjd'], truth['emergence_mjd'], rtol=0, atol=SPACING_HOURS / 24)


@pytest.mark.slow
def test_patches_are_centred_on_what_was_planted(built, planted):
  survey = read_survey(built)
  assert survey.source == 'simulated'
  rows = np.flatnonzero((survey.label == 1) & (survey.interval == 0))
  for row in rows:
    site = planted[int(survey.noaa[row])]
    hours = 24 * (survey.mjd[row] - SUN.first_time.utc.mjd)
    place, flux = emerging_elements(SUN.seed, site, hours, Sun())
    expected = middle_of_poles(*in_pixels(place, site), flux)
    size = survey.field.shape[1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    strong = np.where((np.abs(survey.field[row]) > 40) & (np.hypot(x, y) < 12), survey.field[row], 0)
    np.testing.assert_allclose(middle_of_poles(x, y, strong), expected, atol=1.0)  # [px]
  assert len(rows) == 4


def in_pixels(place: np.ndarray, site: Site) -> tuple[np.ndarray, np.ndarray]:
  """Returns how far west and north of a site places `[n, 3]` are [px]; a plane does for a region."""
  west, north = direction(site.longitude + 90, 0), direction(site.longitude, site.latitude + 90)
  return tuple(place @ axis * SOLAR_RADIUS_MM / DEFAULT_PIXEL_SCALE_MM for axis in (west, north))


def middle_of_poles(x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
  """Returns the middle between the centroids of the two polarities."""
  weights = np.maximum(flux, 0), np.maximum(-flux, 0)
  return np.mean([[np.sum(one * x), np.sum(one * y)] / np.sum(one) for one in weights], axis=0)


@pytest.mark.slow
def test_nothing_was_planted_near_a_control(built, planted):
  survey = read_survey(built)
  controls = np.flatnonzero((survey.label == 0) & (survey.interval == -1))
  assert len(controls) == 4
  for row in controls:
    hours = 24 * (survey.mjd[row] - SUN.first_time.utc.mjd)
    there = [site for site in planted.values() if (site.emergence_hours or 0) < hours + 24]
    apart = [
      separation(survey.longitude[row], survey.latitude[row], site.longitude_at(hours), site.latitude) for site in there
    ]
    assert min(apart) > 10


@pytest.mark.slow
def test_controls_are_like_their_regions(built):
  pairs = Table.read(built / 'plan' / 'pairs.ecsv', format='ascii.ecsv')
  for name, tolerance in (('latitude', 2), ('cmd', 2), ('mu', 0.05)):
    np.testing.assert_allclose(np.abs(pairs[f'cr_{name}']), np.abs(pairs[f'ear_{name}']), atol=tolerance)
  np.testing.assert_allclose(np.log10(pairs['cr_flux_mx']), np.log10(pairs['ear_flux_mx']), atol=0.3)


@pytest.mark.slow
def test_the_way_from_frames_to_a_map_of_the_disk(built, simulated, tmp_path, monkeypatch):
  workdir = tmp_path / 'work'
  workdir.mkdir()
  (workdir / 'sky').symlink_to(simulated)
  shutil.copytree(built, workdir / 'survey')
  monkeypatch.setattr(reproduce, 'SCANNED', ('*.20110214_120000_TAI.fits', '*.20110215_120000_TAI.fits'))
  monkeypatch.setattr(reproduce, 'QUICK', {**reproduce.QUICK, 'epochs': 3})
  printed = succeed('reproduce', '--from_frames', '--quick', f'--workdir={workdir}', '--resamples=50')
  steps = [line.split()[2] for line in printed.splitlines() if line.startswith('$ hearjax')]
  assert steps == ['simulate_frames', 'train', 'verify', 'scan', 'report']
  assert printed.endswith(f'The report: {workdir / "report.html"}\n')
  assert 'folds:       certified: 4 pairs in 3 folds' in printed
  assert 'trained on a simulated survey: the probability is no forecast' in printed
  known = Table.read(workdir / 'scan' / 'emergences.ecsv', format='ascii.ecsv')
  assert len(known) == 4
  maps = sorted((workdir / 'scan').glob('*.emergence.fits'))
  assert len(maps) == 2
  assert 'not both' in fail('reproduce', '--from_frames', f'--survey={built}', f'--workdir={workdir}')


# --- Again, and from JSOC ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_again_makes_nothing(built, simulated):
  before = checksum(read_survey(built))
  arguments = f'--catalogue={simulated}/sightings.ecsv', f'--frames={simulated}/frames', f'--out={built}', *FLAGS
  printed = succeed('build_survey', *arguments)
  assert f'24 magnetograms of 4 pairs in {built}; 0 made in this run, 24 before.' in printed
  assert checksum(read_survey(built)) == before


@pytest.mark.slow
def test_frames_from_jsoc_give_the_same_survey_and_are_removed(built, simulated, tmp_path):
  table = Table.read(built / 'regions.ecsv', format='ascii.ecsv')
  table[:2].write(tmp_path / 'regions.ecsv')
  out = tmp_path / 'survey'
  with jsoc_server(simulated / 'frames', cadence_s=7200.0) as server:
    flags = '--jsoc_min_free_gb=0', '--jsoc_first_pause_s=0.05', f'--jsoc_server={server.url}', *FLAGS[1:]
    arguments = f'--regions={tmp_path}/regions.ecsv', '--jsoc_email=a@example.org', f'--out={out}', *flags
    succeed('build_survey', *arguments)
  survey, expected = read_survey(out), read_survey(built)
  expected = expected.select(np.isin(expected.region_names(), survey.region_names()))
  assert survey.source == 'simulated' and len(survey) == 6
  np.testing.assert_array_equal(survey.n_frames, expected.n_frames)
  np.testing.assert_allclose(survey.field, expected.field, atol=0.5)
  assert not list((out / 'jsoc').rglob('*.fits'))


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('flags', 'sentence'),
  [
    (('--catalogue={here}/none',), 'There is no table of sightings {here}/none'),
    (('--regions={here}/none.ecsv',), 'There is no region table {here}/none.ecsv'),
    (('--frames={here}',), 'Name the regions: --catalogue or --emergers'),
    (('--regions={here}/regions.ecsv',), 'Say where frames come from: --frames names a folder of them, --jsoc_email'),
    (
      ('--regions={here}/regions.ecsv', '--frames={here}', '--jsoc_email=a@example.org'),
      'Frames come from --frames or from JSOC (--jsoc_email); name one of them.',
    ),
    (('--regions={here}/regions.ecsv', '--frames={here}/none'), 'There is no folder {here}/none'),
    (('--regions={here}/regions.ecsv', '--frames={here}', '--scheduler=here'), "named as tcp://host:8786, got 'here'"),
  ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, flags, sentence):
  monkeypatch.delenv('JSOC_EMAIL', raising=False)
  write_regions(tmp_path / 'regions.ecsv')
  told = fail('build_survey', f'--out={tmp_path}/out', *(flag.format(here=tmp_path) for flag in flags))
  assert sentence.format(here=tmp_path) in told
  assert not (tmp_path / 'out').exists()


def write_regions(path: pathlib.Path) -> None:
  path.write_text(
    'region_id,pair_id,kind,latitude,longitude,emergence_time,noaa\n'
    'a,p,EAR,-20.5,34.9,2011-02-15T08:00:00,11158\n'
    'b,p,CR,-20.5,60,2011-02-15T08:00:00,0\n'
  )
