"""Frames from JSOC, through requests and files as JSOC's: what is asked, what goes wrong, and what is asked once."""

import dataclasses
import json
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from sunpy.coordinates import get_earth

from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.sources import jsoc, jsoc_service
from hearjax.observe.sources.fits_sums import damage
from hearjax.observe.sources.frames import ALL_BITS, Need
from hearjax.observe.sources.jsoc import JsocSettings, JsocSource
from hearjax.observe.sources.jsoc_cutouts import cutout_process
from hearjax.observe.sources.jsoc_names import Record, jsoc_time, selections, slot_of, slot_time
from tests.observe.sources.disk_frames import (
  CADENCE_S,
  FIRST,
  PLACE,
  frame_header,
  jsoc_text,
  slot,
  write_frame,
  write_frames,
)
from tests.observe.sources.im_patch import place_in_pixels
from tests.observe.sources.jsoc_server import Faults, jsoc_server
from tests.real_maps import SHARP_11158, SHARP_14237
from tests.scripts import ROOT

EMAIL = 'someone@example.org'
QUICK = {'first_pause_s': 0.01, 'longest_pause_s': 0.02, 'timeout_s': 0.3, 'min_free_gb': 0.0, 'email': EMAIL}


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> pathlib.Path:
  """Eight frames, of which number 3 is bad and number 5 has no image."""
  folder = write_frames(tmp_path_factory.mktemp('frames'), range(8))
  write_frame(folder / '003.fits', 3, QUALITY=0x400)
  write_frame(folder / '005.fits', 5, QUALITY=-(2**31), T_OBS='-4712.01.01_11:59_TAI')
  return folder


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
  """Each test talks with a server of its own, which may have the address of an earlier one."""
  monkeypatch.delenv('JSOC_EMAIL', raising=False)
  jsoc._service.cache_clear()


def need(first: float, last: float, radius_mm: float = 89.0) -> Need:
  """A need from half a cadence before a frame to half a cadence after another."""
  half = CADENCE_S / 2 * u.s
  return Need(*PLACE, (slot(first) - half).utc.mjd, (slot(last) + half).utc.mjd, radius_mm)


ALL = need(0, 7)
GOOD = [0, 1, 2, 4, 6, 7]


def source(server, folder, **settings) -> JsocSource:
  return JsocSource(folder, JsocSettings(server=server.url, **(QUICK | settings)))


def numbers(found) -> list[int]:
  """Returns the numbers of frames, by their times."""
  return [round((frame.mjd - FIRST.utc.mjd) * 86400 / CADENCE_S) for frame in found]


def request_of(folder: pathlib.Path) -> dict:
  (path,) = (folder / 'requests').glob('*.json')
  return json.loads(path.read_text())


def leftovers(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in folder.rglob('*') if 'partial' in path.name]


# --- What is asked ------------------------------------------------------------------------------------------------


def test_good_frames_of_the_time_are_brought(tmp_path, frames):
  with jsoc_server(frames, Faults(pending=2)) as server:
    one = source(server, tmp_path)
    assert one.name == 'jsoc' and one.count_bad(ALL) == 0
    found = one.collect(ALL)
    assert numbers(found) == GOOD
    assert all(frame.quality == 0 and damage(pathlib.Path(frame.path)) is None for frame in found)
    assert one.count_bad(ALL) == 2
    # T_OBS of frame 1 is 20:12:08 TAI, which is 34 s less in UTC.
    assert found[1].mjd == pytest.approx(55606 + (20 * 3600 + 11 * 60 + 34) / 86400, abs=1e-8)
    assert [read_magnetogram(frame.path).reference_date.utc.mjd for frame in found] == pytest.approx(
      [frame.mjd for frame in found], abs=1e-8
    )
    (asked,) = server.queries
    assert asked['ds'] == (
      'hmi.M_720s[2011.02.14_20:00:00_TAI-2011.02.14_20:24:00_TAI,2011.02.14_20:48:00_TAI,'
      '2011.02.14_21:12:00_TAI-2011.02.14_21:24:00_TAI]{magnetogram}'
    )
    assert (asked['notify'], asked['method'], asked['protocol']) == (EMAIL, 'url', 'fits')
    assert set(server.downloads.values()) == {1} and len(server.downloads) == len(GOOD)
    # As often as it was in work, and once more.
    assert server.counts['exp_status'] == 3
    assert request_of(tmp_path)['state'] == 'done'
    before = dict(server.counts)
    jsoc._service.cache_clear()
    assert source(server, tmp_path).collect(ALL) == found
    assert dict(server.counts) == before, 'what is done is not asked again'


def test_a_time_in_utc_is_not_taken_for_tai(tmp_path, frames):
  """The frame of 20:12:08 TAI lies at 20:11:34 UTC."""
  at, second = 55606 + (20 * 3600 + 11 * 60 + 34) / 86400, 1 / 86400
  with jsoc_server(frames) as server:
    one = source(server, tmp_path)
    assert numbers(one.collect(Need(*PLACE, at - second, at + second, 89.0))) == [1]
    with pytest.raises(ValueError, match=r'no record of hmi.M_720s from 2011.02.14_20:12:10_TAI to'):
      one.collect(Need(*PLACE, at + 2 * second, at + 40 * second, 89.0))
    assert server.counts['exp_request'] == 1


def test_cutouts_show_the_place_and_little_else(tmp_path):
  """A Gaussian spot stays in the middle of them; JSOC turns what lies upside down."""
  size = 256
  folder = tmp_path / 'frames'
  for number in (0, 20, 40):
    path = write_frame(folder / f'{number}.fits', number, size)
    header = frame_header(number, size)
    y, x = np.mgrid[1 : size + 1, 1 : size + 1]
    x_0, y_0 = place_in_pixels(header, *PLACE)
    fits.PrimaryHDU((500 * np.exp(-((x - x_0) ** 2 + (y - y_0) ** 2) / 8)).astype(np.float32), header).writeto(
      path, overwrite=True
    )
  with jsoc_server(folder) as server:
    found = source(server, tmp_path).collect(need(0, 40))
    assert numbers(found) == [0, 20, 40]
    assert server.queries[0]['process=n'].startswith('0|im_patch,t=0,r=0,c=0,locunits=carrlong,boxunits=arcsec')
  for frame in found:
    cutout = read_magnetogram(frame.path)
    assert fits.getheader(frame.path, 1)['CROTA2'] == pytest.approx(-0.07)
    height, width = cutout.data.shape
    # 178 Mm are 31 px at the middle of the disk.
    assert 31 <= width <= 42 and 31 <= height <= 42
    peak = np.unravel_index(np.nanargmax(cutout.data), cutout.data.shape)
    assert peak == pytest.approx(((height - 1) / 2, (width - 1) / 2), abs=1.1)
    # And its header still tells where it is.
    west, north = place_in_pixels(fits.getheader(frame.path, 1), *PLACE)
    assert peak == pytest.approx((north - 1, west - 1), abs=0.51)


@pytest.mark.parametrize('cmd', [-60.0, -20.0, 0.0, 45.0])
@pytest.mark.parametrize('latitude', [-40.0, 5.0, 35.0])
def test_the_cutout_holds_the_square_of_the_need(cmd, latitude):
  """By sunpy's observer: no pixel of the square is lost, and at most a fifth of each side is more than it takes."""
  time_ = slot(0)
  earth = get_earth(time_)
  header = {'CRLN_OBS': 24.9, 'CRLT_OBS': earth.lat.deg, 'DSUN_OBS': earth.radius.to_value(u.m), 'CROTA2': 0.0}
  header |= {'CDELT1': 0.5, 'CDELT2': 0.5, 'CRPIX1': 0.0, 'CRPIX2': 0.0, 'CRVAL1': 0.0, 'CRVAL2': 0.0}
  place = Need(24.9 + cmd, latitude, time_.utc.mjd - 0.01, time_.utc.mjd + 0.01, 89.0)
  told = cutout_process(place)['im_patch']
  sides = np.array([float(told['width']), float(told['height'])]) / 2
  # The square of a Postel map, on a sphere, point by point along great circles.
  reach = np.zeros(2)
  centre = np.array(place_in_pixels(header, place.longitude, latitude))
  for x, y in np.random.default_rng(0).uniform(-89, 89, (4000, 2)):
    angle, bearing = np.hypot(x, y) / 695.7, np.arctan2(x, y)
    lat = np.arcsin(
      np.sin(np.deg2rad(latitude)) * np.cos(angle) + np.cos(np.deg2rad(latitude)) * np.sin(angle) * np.cos(bearing)
    )
    lon = np.arctan2(
      np.sin(bearing) * np.sin(angle) * np.cos(np.deg2rad(latitude)),
      np.cos(angle) - np.sin(np.deg2rad(latitude)) * np.sin(lat),
    )
    pixel = place_in_pixels(header, place.longitude + np.rad2deg(lon), np.rad2deg(lat))
    reach = np.maximum(reach, np.abs(np.array(pixel) - centre) * 0.5)
  assert np.all(sides > reach + 1)
  assert np.all(sides < 1.2 * reach + 6)


def test_the_rotation_is_that_of_the_crossing():
  """Rotation 2107 began on 2011-02-16: places west of the central meridian then crossed it in 2106."""
  start = 55608.6  # L0 is 349 deg.
  rotations = {
    cmd: cutout_process(Need((349 + cmd) % 360, 0.0, start, start + 0.1, 89.0))['im_patch']['car_rot']
    for cmd in (-40, 0, 40)
  }
  assert rotations == {-40: '2107', 0: '2107', 40: '2106'}


def test_whole_disks_are_shared(tmp_path, frames):
  with jsoc_server(frames) as server:
    one = source(server, tmp_path, cutouts=False)
    first = one.collect(need(0, 4))
    elsewhere = dataclasses.replace(need(2, 7), longitude=10.0)
    second = one.collect(elsewhere)
    assert numbers(first) == [0, 1, 2, 4] and numbers(second) == [2, 4, 6, 7]
    assert {frame.path for frame in first[2:]} == {frame.path for frame in second[:2]}
    assert fits.getheader(first[0].path)['NAXIS1'] == 64
    assert server.downloads.total() == len(server.downloads) == 6
    assert [query['process=n'] for query in server.queries] == ['0', '0']
    assert '20:24' not in server.queries[1]['ds']
    # A frame goes when nobody has it any more.
    one.release(need(0, 4))
    assert [os.path.exists(frame.path) for frame in first] == [False, False, True, True]
    one.release(elsewhere)
    assert not any(os.path.exists(frame.path) for frame in second)


def test_a_longer_cadence(tmp_path, frames):
  with jsoc_server(frames) as server:
    found = source(server, tmp_path, cadence_s=1440.0).collect(ALL)
    assert numbers(found) == [0, 2, 4, 6]
    assert server.queries[0]['ds'].startswith('hmi.M_720s[2011.02.14_20:00:00_TAI-2011.02.14_21:12:00_TAI@1440s]')


def test_which_bits_are_bad_is_a_setting(tmp_path, frames):
  with jsoc_server(frames) as server:
    found = source(server, tmp_path, quality_mask=ALL_BITS & ~0x400).collect(ALL)
    assert numbers(found) == [0, 1, 2, 3, 4, 6, 7]
    assert found[3].quality == 0x400


def test_frames_that_are_all_bad(tmp_path, frames):
  with jsoc_server(frames) as server:
    one = source(server, tmp_path)
    assert one.collect(need(3, 3)) == [] and one.count_bad(need(3, 3)) == 1
    assert server.counts['exp_request'] == 0


def test_release(tmp_path, frames):
  with jsoc_server(frames) as server:
    source(server, tmp_path, keep_frames=True).release(ALL)  # Nothing yet.
    one = source(server, tmp_path)
    one.release(ALL)
    paths = [frame.path for frame in one.collect(ALL)]
    source(server, tmp_path, keep_frames=True).release(ALL)
    assert all(map(os.path.exists, paths))
    one.release(ALL)
    assert not any(map(os.path.exists, paths)) and not list((tmp_path / 'cutouts').iterdir())
    assert request_of(tmp_path)['state'] == 'released'
    asked = server.counts['exp_request']
    one.release(ALL)
    assert server.counts['exp_request'] == asked
    assert numbers(one.collect(ALL)) == GOOD  # Whoever wants them after all gets them.


def test_frames_that_somebody_removed(tmp_path, frames):
  with jsoc_server(frames) as server:
    one = source(server, tmp_path)
    found = one.collect(ALL)
    os.unlink(found[2].path)
    assert one.collect(ALL) == found
    assert server.queries[-1]['ds'] == f'hmi.M_720s[{jsoc_text(slot(2))}]{{magnetogram}}'
    assert server.downloads.total() == len(GOOD) + 1


# --- What goes wrong for a while ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
  'faults',
  [
    Faults(refused=3),
    Faults(garbled=3),
    Faults(truncated=2),
    Faults(short=2),
    Faults(damaged=2),
    Faults(unknown=3, pending=1),
    Faults(queue_full=3),
    Faults(gone=1),
    Faults(partial=1),
  ],
  ids=lambda faults: next(name for name, number in vars(faults).items() if number),
)
def test_what_comes_in_the_end_is_whole(tmp_path, frames, faults):
  with jsoc_server(frames, dataclasses.replace(faults)) as server:
    found = source(server, tmp_path).collect(ALL)
    assert numbers(found) == GOOD
    assert all(damage(pathlib.Path(frame.path)) is None for frame in found)
    assert not leftovers(tmp_path)
    again = {'gone': 1, 'truncated': 2, 'short': 2, 'damaged': 2}
    more = next((again[name] for name in again if getattr(faults, name)), 0)
    assert server.downloads.total() == len(GOOD) + more
    assert server.counts['exp_request'] == 1 + faults.queue_full + faults.partial + faults.gone


def test_a_download_that_stands_still(tmp_path, frames):
  with jsoc_server(frames) as server:
    stuck = []

    def wait_once(kind):
      if kind == 'download' and not stuck:
        stuck.append(kind)
        time.sleep(0.6)

    server.on_request = wait_once
    assert numbers(source(server, tmp_path).collect(ALL)) == GOOD
    assert stuck and server.counts['download'] == len(GOOD) + 1


def test_a_slow_answer(tmp_path, frames):
  """drms takes the time that it may take from the socket."""
  socket.setdefaulttimeout(0.2)
  try:
    with jsoc_server(frames, Faults(slow=2, slow_s=0.5)) as server:
      assert numbers(source(server, tmp_path).collect(ALL)) == GOOD
  finally:
    socket.setdefaulttimeout(None)


def test_pauses_grow(tmp_path, frames, monkeypatch):
  pauses = []
  with jsoc_server(frames, Faults(pending=6)) as server:
    monkeypatch.setattr(jsoc_service.time, 'sleep', pauses.append)
    source(server, tmp_path, first_pause_s=4.0, longest_pause_s=15.0).collect(ALL)
    polls = [pause for pause in pauses if pause]
    assert polls == [4.0, 6.0, 9.0, 13.5, 15.0, 15.0]
    server.stop()
    try:
      pauses.clear()
      with pytest.raises(ConnectionError, match='in 7 attempts'):
        source(server, tmp_path / 'b', first_pause_s=1.0, longest_pause_s=10.0).collect(ALL)
      assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.0]
    finally:
      server.start()


@pytest.mark.parametrize('kind', ['rs_list', 'exp_request', 'exp_status', 'download'])
def test_a_server_that_is_restarted_in_the_middle(tmp_path, frames, kind):
  with jsoc_server(frames, Faults(pending=1)) as server:
    restarts = []

    def restart(now):
      if now == kind and not restarts:
        restarts.append(threading.Thread(target=lambda: (server.stop(), time.sleep(0.05), server.start())))
        restarts[0].start()

    server.on_request = restart
    assert numbers(source(server, tmp_path, longest_pause_s=0.2).collect(ALL)) == GOOD
    restarts[0].join()
    assert len(server.exports) == 1


def test_frames_that_jsoc_never_gives(tmp_path, frames):
  with jsoc_server(frames, Faults(partial=2)) as server:
    with pytest.warns(
      UserWarning, match=r'JSOC does not give 1 of the frames that it lists; they are left out .to ask'
    ):
      found = source(server, tmp_path).collect(ALL)
    assert numbers(found) == GOOD[:-1]
    assert server.queries[1]['ds'] == f'hmi.M_720s[{jsoc_text(slot(7))}]{{magnetogram}}'
    asked = dict(server.counts)
    assert source(server, tmp_path).collect(ALL) == found and dict(server.counts) == asked


# --- What is at an end --------------------------------------------------------------------------------------------


def test_no_network(tmp_path, frames):
  with jsoc_server(frames) as server:
    found = source(server, tmp_path).collect(need(0, 1))
    server.stop()
    try:
      jsoc._service.cache_clear()
      one = source(server, tmp_path, retries=1)
      assert one.collect(need(0, 1)) == found  # Done without JSOC.
      with pytest.raises(
        ConnectionError, match=r'JSOC .http://127.* does not answer .* in 2 attempts .*refused.*; check the network'
      ):
        one.collect(ALL)
    finally:
      server.start()


def test_no_network_in_the_middle(tmp_path, frames):
  """What is there stays there, and is not fetched again."""
  with jsoc_server(frames) as server:
    one = source(server, tmp_path, retries=1)
    server.on_request = lambda kind: setattr(server.faults, 'refused', 9 * (server.downloads.total() == 3))
    with pytest.raises(ConnectionError, match=r'fits cannot be had from JSOC in 2 attempts .*; run again later'):
      one.collect(ALL)
    assert request_of(tmp_path)['state'] == 'downloading' and not leftovers(tmp_path)
    server.on_request = lambda kind: None
    server.faults.refused = 0
    assert numbers(one.collect(ALL)) == GOOD
    assert server.downloads.total() == len(server.downloads) and server.counts['exp_request'] == 1


def test_files_that_stay_damaged(tmp_path, frames):
  with jsoc_server(frames, Faults(damaged=99)) as server:
    with pytest.raises(ConnectionError, match=r'in 3 attempts .the (CHECKSUM|DATASUM) of HDU 1 is another one'):
      source(server, tmp_path, retries=2).collect(ALL)
    assert server.downloads.total() == 3 and not leftovers(tmp_path)


def test_an_export_that_fails_is_asked_for_anew_next_time(tmp_path, frames):
  with jsoc_server(frames, Faults(failed=3)) as server:
    one = source(server, tmp_path)
    for number in (1, 2, 3):
      told = f'not make the export JSOC_20110214_000{number}: Export processing failed .status=4'
      with pytest.raises(OSError, match=told):
        one.collect(ALL)
    assert numbers(one.collect(ALL)) == GOOD
    assert server.counts['exp_request'] == 4


def test_an_export_of_which_there_is_no_trace(tmp_path, frames):
  with jsoc_server(frames, Faults(unknown=99)) as server:
    with pytest.raises(OSError, match='could not make the export JSOC_20110214_0001: it does not know it'):
      source(server, tmp_path).collect(ALL)
    assert server.counts['exp_status'] == 6


def test_patience_has_an_end(tmp_path, frames):
  with jsoc_server(frames, Faults(pending=99)) as server:
    with pytest.raises(TimeoutError, match='JSOC_20110214_0001 is not ready after 5e-05 h; run again to go on waiting'):
      source(server, tmp_path, patience_hours=5e-5).collect(ALL)
    server.exports['JSOC_20110214_0001'].pending = 0
    assert numbers(source(server, tmp_path).collect(ALL)) == GOOD
    assert server.counts['exp_request'] == 1


def test_too_many_exports_in_work(tmp_path, frames):
  told = pytest.raises(OSError, match=f'too many exports of {EMAIL} in work after 5e-05 h; run again later')
  with jsoc_server(frames, Faults(queue_full=9999)) as server, told:
    source(server, tmp_path, patience_hours=5e-5).collect(ALL)


def test_addresses(tmp_path, frames, monkeypatch):
  with jsoc_server(frames, Faults(registered=('known+one@example.org',))) as server:
    with pytest.raises(ValueError, match=r'only to a registered address: register .* environment variable JSOC_EMAIL'):
      source(server, tmp_path, email='').collect(ALL)
    with pytest.raises(ValueError, match=r"does not take the address 'someone@example.org'; register it at http"):
      source(server, tmp_path).collect(ALL)
    assert server.counts['exp_request'] == 0
    monkeypatch.setenv('JSOC_EMAIL', 'known+one@example.org')
    one = source(server, tmp_path, email='')
    assert numbers(one.collect(ALL)) == GOOD
    one.collect(need(0, 1))
    assert server.counts['check_address'] == 2 and server.counts['series_struct'] == 1
    # Taken first, refused then.
    server.faults.registered = ()
    with pytest.raises(OSError, match=r'refuses the export .*: Email address .* is not registered. .status=4'):
      one.collect(need(4, 7))


def test_what_jsoc_does_not_have(tmp_path, frames):
  with jsoc_server(frames) as server:
    with pytest.raises(ValueError, match=r"JSOC has no series 'hmi.M_999s' .*not found.*; .* in hmi.M_720s"):
      source(server, tmp_path, series='hmi.M_999s').collect(ALL)
    with pytest.raises(ValueError, match=r"hmi.M_720s has no segment 'field'; it has magnetogram"):
      source(server, tmp_path, segment='field').collect(ALL)
    with pytest.raises(ValueError, match=r'JSOC has no record of hmi.M_720s from 2011.02.18_\d\d:54:00_TAI to 2011'):
      source(server, tmp_path).collect(need(400, 410))
    assert not server.counts['exp_request'] and not list((tmp_path / 'requests').glob('*.json'))


def test_a_place_beyond_the_limb(tmp_path, frames):
  with jsoc_server(frames) as server:
    with pytest.raises(ValueError, match=r'longitude 210, latitude -20.5 deg lies beyond the limb from 2011-02-14T19'):
      source(server, tmp_path).collect(dataclasses.replace(ALL, longitude=210.0))
    assert not server.counts['exp_request']


def test_a_full_disk(tmp_path, frames, monkeypatch):
  with jsoc_server(frames) as server:
    usage = shutil.disk_usage(tmp_path)
    free = [6e9]
    monkeypatch.setattr(jsoc_service.shutil, 'disk_usage', lambda folder: usage._replace(free=free[0]))
    server.on_request = lambda kind: free.__setitem__(0, 4e9 if server.downloads.total() >= 2 else 6e9)
    one = source(server, tmp_path, min_free_gb=5.0)
    with pytest.raises(OSError, match=r'would have 4 GB left, less than the 5 GB of min_free_gb; make room and run'):
      one.collect(ALL)
    assert len(list((tmp_path / 'cutouts').rglob('*.fits'))) == 2 and not leftovers(tmp_path)
    with pytest.raises(OSError, match='min_free_gb'):
      one.collect(need(0, 1))
    assert server.counts['exp_request'] == 1
    server.on_request = lambda kind: None
    free[0] = 6e9
    assert numbers(one.collect(ALL)) == GOOD


@pytest.mark.parametrize(
  ('settings', 'told'),
  [
    ({'series': 'M_720s'}, "The series must be named as JSOC does, such as hmi.M_720s, got 'M_720s'"),
    ({'server': 'jsoc.stanford.edu'}, 'The server must be an address such as http://jsoc.stanford.edu'),
    ({'quality_mask': 2**40}, 'quality_mask must be a number of 32 bits'),
    ({'first_pause_s': 0.0}, 'first_pause_s must be positive'),
    ({'retries': -1}, 'retries must be finite and not negative'),
    ({'min_free_gb': float('nan')}, 'min_free_gb must be finite'),
  ],
)
def test_settings_that_cannot_be(settings, told):
  with pytest.raises(ValueError, match=told):
    JsocSettings(**settings)


def test_a_damaged_request(tmp_path, frames):
  with jsoc_server(frames) as server:
    one = source(server, tmp_path)
    one.collect(need(0, 1))
    (path,) = (tmp_path / 'requests').glob('*.json')
    path.write_text('{"series": 1}')
    with pytest.raises(ValueError, match=r'json is damaged .*; remove it, and what it stands for is asked for again'):
      one.collect(need(0, 1))


# --- Killed, and asked for once -----------------------------------------------------------------------------------


class Killed(BaseException):
  """As if the program had ended there."""


@pytest.mark.parametrize('cutouts', [True, False], ids=['cutouts', 'disks'])
def test_it_goes_on_wherever_it_was_killed(tmp_path, frames, monkeypatch, cutouts):
  """Killed before and after each file that it writes, one after the other."""
  write_json, write_whole = jsoc.write_json, jsoc_service.write_whole
  left = [0]

  def killing(write):
    def write_or_die(*arguments):
      left[0] -= 1
      if left[0] == 0:
        raise Killed
      write(*arguments)
      left[0] -= 1
      if left[0] == 0:
        raise Killed

    return write_or_die

  monkeypatch.setattr(jsoc, 'write_json', killing(write_json))
  monkeypatch.setattr(jsoc_service, 'write_whole', killing(write_whole))
  few = need(0, 2)
  for moment in range(1, 40):
    with jsoc_server(frames, Faults(pending=1)) as server:
      jsoc._service.cache_clear()
      one = source(server, tmp_path / str(moment), cutouts=cutouts)
      left[0] = moment
      try:
        one.collect(few)
      except Killed:
        is_killed = True
      else:
        is_killed = False
      left[0] = -1
      jsoc._service.cache_clear()
      assert numbers(one.collect(few)) == [0, 1, 2]
      assert len(server.exports) == 1
      # Where it is killed while it writes a file, that one is fetched again.
      assert server.downloads.total() <= 3 + (moment % 2)
    if not is_killed:
      break
  assert moment > 2 * (3 + 5)


KILLED_ITSELF = """
import os, signal, sys
from hearjax.observe.sources import jsoc_service
from hearjax.observe.sources.frames import Need
from hearjax.observe.sources.jsoc import JsocSettings, JsocSource
place, settings, folder, files_left = eval(sys.argv[1])
stream = jsoc_service._stream
def stream_or_die(answer, size, path):
  global files_left
  files_left -= 1
  if files_left < 0:
    path.write_bytes(answer.read(1000))
    os.kill(os.getpid(), signal.SIGKILL)
  stream(answer, size, path)
jsoc_service._stream = stream_or_die
print(len(JsocSource(folder, JsocSettings(**settings)).collect(Need(*place))))
"""


def test_a_process_that_is_killed(tmp_path, frames):
  with jsoc_server(frames, Faults(pending=1)) as server:
    settings = QUICK | {'server': server.url}

    def run(files_left):
      told = repr((dataclasses.astuple(ALL), settings, str(tmp_path / 'frames'), files_left))
      done = subprocess.run(
        [sys.executable, '-c', KILLED_ITSELF, told], cwd=ROOT, capture_output=True, text=True, check=False
      )
      return done.returncode, done.stdout.strip()

    assert run(3) == (-9, '')
    assert request_of(tmp_path / 'frames')['state'] == 'downloading' and len(leftovers(tmp_path)) == 1
    code, counted = run(99)
    assert (code, counted) == (0, str(len(GOOD)))
    assert server.counts['exp_request'] == 1 and server.counts['rs_list'] == 1
    assert sorted(server.downloads.values()) == [1, 1, 1, 1, 1, 2]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize('cutouts', [True, False], ids=['cutouts', 'disks'])
def test_two_at_a_time(tmp_path, frames, cutouts):
  with jsoc_server(frames, Faults(pending=2)) as server:
    found = []
    threads = [
      threading.Thread(target=lambda: found.append(source(server, tmp_path, cutouts=cutouts).collect(ALL)))
      for _ in range(3)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert len(found) == 3 and found[0] == found[1] == found[2]
    assert server.counts['exp_request'] == 1 and server.downloads.total() == len(GOOD)


def test_a_source_can_be_sent(tmp_path, frames):
  with jsoc_server(frames) as server:
    one = source(server, tmp_path)
    found = one.collect(ALL)
    assert len(pickle.dumps(one)) < 2000
    assert pickle.loads(pickle.dumps(one)).collect(ALL) == found


# --- Names and sums -----------------------------------------------------------------------------------------------


def test_times_of_jsoc():
  assert jsoc_time(55606.0) == '2011.02.14_00:00:34_TAI'
  assert jsoc_time(60904.5) == '2025.08.17_12:00:37_TAI'
  assert jsoc_time(55606.0, 720.0) == '2011.02.14_00:00:00_TAI'
  for text in (
    'hmi.M_720s[2011.02.14_20:36:00_TAI][1]{magnetogram}',
    'hmi.m_720s_mod[2011.02.14_20:36:00.000_TAI][3]',
    'hmi.m_720s.20110214_203600_TAI.3.magnetogram.fits',
  ):
    assert slot_of(text) == '20110214_203600_TAI'
  assert slot_of('hmi.sharp_720s[377]') is None and slot_of(None) is None
  assert slot_time('20110214_203600_TAI') == '2011.02.14_20:36:00_TAI'


def test_long_selections_are_parted():
  slots = [f'20110214_{hour:02d}{minute:02d}00_TAI' for hour in range(24) for minute in range(0, 60, 12)]
  records = [Record(one, 0.0, 0) for one in slots]
  (one,) = selections(records, set(slots), '')
  assert one == ('2011.02.14_00:00:00_TAI-2011.02.14_23:48:00_TAI', slots)
  parted = selections(records, set(slots[::2]), '')
  assert [len(chosen) for _, chosen in parted] == [25, 25, 10]
  assert [slot for _, chosen in parted for slot in chosen] == slots[::2]
  assert all(len(text) < 1500 for text, _ in parted)
  assert selections(records, set(), '') == []


def test_many_queries_for_one_need(tmp_path, frames, monkeypatch):
  monkeypatch.setattr('hearjax.observe.sources.jsoc_names.RUNS_PER_QUERY', 1)
  with jsoc_server(frames, Faults(pending=1)) as server:
    assert numbers(source(server, tmp_path).collect(ALL)) == GOOD
    assert server.counts['exp_request'] == 3 and server.downloads.total() == len(GOOD)


def test_sums_of_real_files(tmp_path):
  """astropy finds fault with the header of one, which has cards that break the standard; it came as JSOC wrote it."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    with fits.open(SHARP_11158, disable_image_compression=True) as hdus:
      assert not hdus[1].verify_checksum() and hdus[1].verify_datasum()
  for path in (SHARP_11158, SHARP_14237):
    content = path.read_bytes()
    assert damage(path) is None
    changed = tmp_path / path.name
    for position, told in ((-5000, 'the CHECKSUM of HDU 1'), (8000, 'the CHECKSUM of HDU 1')):
      wrong = bytearray(content)
      wrong[position] ^= 1
      changed.write_bytes(wrong)
      assert damage(changed).startswith(told)
    changed.write_bytes(content[:-2880])
    assert 'truncated' in damage(changed)
    changed.write_bytes(content[:1000])
    assert 'damaged' in damage(changed)
  changed.write_text('<html>')
  assert damage(changed).startswith('the file is damaged: No SIMPLE card')
