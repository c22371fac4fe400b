"""Simulated frames as files: read back as HMI's are, reported and planted as told, made again only where they lack."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from hearjax.checks import UserError
from hearjax.observe.building.catalogue import CatalogueSettings, find_emergers
from hearjax.observe.building.sightings import read_sightings
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import carrington_pixels, observer_position, postel_patch
from hearjax.observe.sources.frames import FolderSource, Need
from hearjax.simulate import disk_image
from hearjax.simulate.disk import DiskSettings
from hearjax.simulate.disk_files import BAD_QUALITY, earth_views, frame_header, simulate_frames, write_frame
from hearjax.simulate.sun import Sun
from hearjax.solar import direction

# Few elements: a sixth of the Sun's, so that the tests take seconds.
SPARSE = dataclasses.replace(Sun(), bipole_gauss=1.0, unipolar_gauss=0.3, cell_mm=64.0)
SETTINGS = DiskSettings(seed=3, days=5.0, cadence_minutes=240.0, size=128, emergences=2, decaying=3, lost=0.1, bad=0.1)


@pytest.fixture(scope='module')
def sky(tmp_path_factory):
  out = tmp_path_factory.mktemp('sky') / 'out'
  simulate_frames(out, SETTINGS, SPARSE)
  return out


def contents(out):
  return {path.name: path.read_bytes() for path in sorted((out / 'frames').iterdir())}


@pytest.mark.parametrize('roll_deg', [179.93, 0.0, 33.0])
def test_a_spot_is_where_sunpy_says(tmp_path, roll_deg):
  settings = dataclasses.replace(SETTINGS, size=512, roll_deg=roll_deg)
  silent = dataclasses.replace(Sun(), internetwork_gauss=0.0, residual_gauss=0.0, noise_gauss=0.0, strongest_gauss=1e9)
  time = Time('2011-09-05T12:00:00', scale='tai')
  (view,) = earth_views(Time([time]), settings)
  for number, (cmd, latitude) in enumerate([(0.0, 7.0), (-50.0, 25.0), (62.0, -18.0)]):
    longitude = (view.l0 + cmd) % 360
    place = direction(np.array([longitude]), np.array([latitude]))
    field = disk_image.observe(np.random.default_rng(0), place, np.array([2e20]), view, 80.0, silent)
    path = tmp_path / f'{number}.fits'
    write_frame(path, field, frame_header(time, view, settings, 0))
    magnetogram = read_magnetogram(path)
    observed = np.nan_to_num(magnetogram.data)
    y, x = np.mgrid[:512, :512]
    centroid = [np.sum(observed * axis) / np.sum(observed) for axis in (x, y)]
    np.testing.assert_allclose(centroid, carrington_pixels(magnetogram, longitude, latitude), atol=0.1)


def test_a_frame_is_read_as_one_of_hmi_and_says_that_it_is_none(sky):
  path = sorted((sky / 'frames').glob('*.fits'))[0]
  magnetogram = read_magnetogram(path)
  assert 'notes' not in magnetogram.meta
  header = fits.getheader(path, 1)
  assert header['TELESCOP'] == 'SIMULATED'
  assert 'no observation' in str(header['HISTORY'])
  # T_REC is TAI: 34 s ahead of UTC in 2011. DATE-OBS is the begin, in UTC.
  nominal = Time(header['T_REC'][:19].replace('.', '-', 2).replace('_', 'T'), scale='tai')
  assert abs((magnetogram.reference_date - nominal).sec) < 1e-3
  assert header['T_REC'].endswith(':00:00_TAI') and ':59:26' in header['DATE-OBS']
  # The observer is at the Earth.
  assert abs(magnetogram.heliographic_longitude.deg) < 0.01
  assert magnetogram.dsun.to_value('AU') == pytest.approx(0.987, abs=0.002)
  assert header['RSUN_OBS'] == pytest.approx(972.3, abs=0.6)
  assert header['CAR_ROT'] == 2106
  assert observer_position(magnetogram)[1] == pytest.approx(-6.6, abs=0.3)
  disk = np.isfinite(magnetogram.data)
  assert np.mean(disk) == pytest.approx(np.pi * (972.3 / 0.504 / 4096) ** 2, rel=0.02)


def test_lost_and_bad_frames_are_as_set(sky):
  frames = sorted((sky / 'frames').glob('*.fits'))
  assert len(frames) == 30 - 3
  quality = [fits.getval(path, 'QUALITY', 1) for path in frames]
  assert sorted(set(quality)) == [0, BAD_QUALITY]
  assert quality.count(BAD_QUALITY) == 3
  noise = [np.nanmedian(np.abs(read_magnetogram(path).data)) for path in frames]
  good, bad = (np.array(noise)[np.array(quality) == bits] for bits in (0, BAD_QUALITY))
  assert good.max() < 10 and bad.min() > 200
  source = FolderSource(sky / 'frames')
  start = Time(SETTINGS.start, scale='tai').utc.mjd
  need = Need(40.0, 10.0, start - 1, start + 9, 60.0)
  found = source.collect(need)
  assert len(found) == 24 and source.count_bad(need) == 3
  steps = (np.array([frame.mjd for frame in found]) - start) * 6
  np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)


def test_what_is_planted_is_found_in_the_reports(sky):
  truth = Table.read(sky / 'truth.ecsv')
  assert truth['noaa'].tolist() == [90001, 90002]
  np.testing.assert_allclose(Time(truth['emergence_time'].tolist()).mjd, truth['emergence_mjd'], atol=1e-7)
  sightings = read_sightings(sky / 'sightings.ecsv')
  emergers, _ = find_emergers(sightings, CatalogueSettings())
  assert [emerger.noaa for emerger in emergers] == [90001, 90002]
  for emerger, row in zip(emergers, truth, strict=True):
    assert emerger.first_report_mjd == pytest.approx(row['first_report_mjd'], abs=1e-6)
    assert 0 < emerger.first_report_mjd - row['emergence_mjd'] < 2.5
    assert emerger.longitude == pytest.approx(row['longitude'])
    assert emerger.latitude == pytest.approx(row['latitude'])
  # Old regions are there from the first report on, and drift; none of them has spots.
  first = sightings[sightings['mjd'] == sightings['mjd'].min()]
  assert len(first) and np.all(first['noaa'] > 90002)
  assert set(sightings['section'][sightings['noaa'] > 90002]) == {'IA'}


def test_a_region_is_seen_at_its_site_after_its_emergence_and_not_before(sky):
  row = Table.read(sky / 'truth.ecsv')[0]
  frames = FolderSource(sky / 'frames').collect(Need(0.0, 0.0, 55000.0, 56000.0, 60.0))
  flux = []
  for hours in (-25, 45):
    frame = min(frames, key=lambda frame: abs(frame.mjd - row['emergence_mjd'] - hours / 24))
    patch = postel_patch(read_magnetogram(frame.path), row['longitude'], row['latitude'], size=16, pixel_scale_mm=6.0)
    flux.append(np.nansum(np.abs(patch.field)) * (6e8) ** 2 / patch.mu)
  assert flux[0] < 0.2 * row['flux_mx']
  assert flux[1] == pytest.approx(row['flux_mx'], rel=0.35)  # Pixels of 12 Mm: polarities touch, noise adds.


def test_the_same_settings_give_the_same_frames_and_what_is_there_is_not_made_again(sky, tmp_path):
  before = contents(sky)
  names = list(before)
  kept = sky / 'frames' / names[0]
  stamp = kept.stat().st_mtime_ns
  for name in (names[5], names[11]):
    (sky / 'frames' / name).unlink()
  gone_through = []
  simulate_frames(sky, SETTINGS, SPARSE, lambda numbers: gone_through.extend(numbers) or numbers)
  assert contents(sky) == before
  assert kept.stat().st_mtime_ns == stamp
  assert len(gone_through) < 20  # Not beyond the last one that was missing.
  simulate_frames(sky, SETTINGS, SPARSE, lambda numbers: pytest.fail('made again') if numbers else numbers)
  # Longer, from another process or not: the quiet Sun and the noise are those of the seed.
  short = dataclasses.replace(SETTINGS, emergences=0, days=0.5, lost=0.0, bad=0.0)
  one, other = (contents(simulate_frames(tmp_path / name, short, SPARSE).parent) for name in 'ab')
  assert one == other and len(one) == 3
  reseeded = contents(simulate_frames(tmp_path / 'c', dataclasses.replace(short, seed=4), SPARSE).parent)
  assert reseeded.keys() == one.keys() and reseeded != one


def test_another_simulation_is_not_mixed_in(sky, tmp_path):
  before = contents(sky)
  with pytest.raises(FileExistsError, match='a simulation with other settings; name another folder'):
    simulate_frames(sky, dataclasses.replace(SETTINGS, seed=9), SPARSE)
  assert contents(sky) == before
  (tmp_path / 'frames').mkdir()
  with pytest.raises(FileExistsError, match='frames of something else'):
    simulate_frames(tmp_path, SETTINGS, SPARSE)
  (tmp_path / 'simulation.json').write_text(json.dumps({})[:1])
  with pytest.raises(UserError, match=r'simulation\.json is damaged'):
    simulate_frames(tmp_path, SETTINGS, SPARSE)


def test_no_file_is_written_where_there_is_no_room_for_the_regions(tmp_path):
  with pytest.raises(UserError, match='give more days, or fewer emergences'):
    simulate_frames(tmp_path / 'out', dataclasses.replace(SETTINGS, emergences=90), SPARSE)
  assert not (tmp_path / 'out').exists()
