"""Folders of frames: what is found when, what is left out, what is read anew, and every unusable folder named."""

import os
import pickle
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from hearjax.observe.sources import frame_index
from hearjax.observe.sources.frames import ALL_BITS, FolderSource, Need, is_bad
from tests.observe.sources.disk_frames import CADENCE_S, PLACE, frame_header, slot, write_frame, write_frames
from tests.real_maps import SHARP_14182, SHARP_14237, edited


def need(first: float, last: float) -> Need:
  """A need from half a cadence before a frame to half a cadence after another."""
  half = CADENCE_S / 2 * u.s
  return Need(*PLACE, (slot(first) - half).utc.mjd, (slot(last) + half).utc.mjd, 89.0)


def names(frames) -> list[str]:
  return [frame.path.rpartition('/')[2] for frame in frames]


# --- What is found ------------------------------------------------------------------------------------------------


def test_frames_of_a_time_sorted_without_the_bad_ones(tmp_path):
  write_frames(tmp_path / 'frames' / 'later', range(4, 8))
  write_frames(tmp_path / 'frames', range(4))
  write_frame(tmp_path / 'frames' / '002.fits', 2, QUALITY=0x400)
  write_frame(tmp_path / 'frames' / 'later' / '005.fits', 5, QUALITY=-(2**31))
  (tmp_path / 'frames' / '.hidden.fits').touch()
  source = FolderSource(tmp_path / 'frames')
  assert source.name == 'folder'
  found = source.collect(need(1, 6))
  assert names(found) == ['001.fits', '003.fits', '004.fits', '006.fits']
  assert all(os.path.exists(frame.path) and frame.quality == 0 for frame in found)
  assert source.count_bad(need(1, 6)) == 2
  assert source.collect(need(20, 30)) == [] and source.count_bad(need(20, 30)) == 0
  source.release(need(1, 6))
  assert source.collect(need(1, 6)) == found


def test_which_bits_are_bad_is_a_setting(tmp_path):
  write_frames(tmp_path, range(3))
  write_frame(tmp_path / '001.fits', 1, QUALITY='0x00000400')
  source = FolderSource(tmp_path, quality_mask=ALL_BITS & ~0x400)
  assert [frame.quality for frame in source.collect(need(0, 2))] == [0, 0x400, 0]
  assert is_bad(np.array([0, -(2**31), 2**31, 0x400]), 0x80000000).tolist() == [False, True, True, False]
  with pytest.raises(ValueError, match='quality_mask must be a number of 32 bits'):
    FolderSource(tmp_path, quality_mask=-1)


def test_time_is_the_middle_in_utc(tmp_path):
  """T_OBS 20:12:08 TAI is 20:11:34 UTC in 2011; 34 s either way decide."""
  write_frames(tmp_path, range(3))
  (frame,) = FolderSource(tmp_path).collect(need(1, 1))
  at = 55606 + (20 * 3600 + 11 * 60 + 34) / 86400
  assert frame.mjd == pytest.approx(at, abs=1e-8)
  second = 1 / 86400
  source = FolderSource(tmp_path)
  assert names(source.collect(Need(*PLACE, at - second, at + second, 89.0))) == ['001.fits']
  assert source.collect(Need(*PLACE, at + second, at + 40 * second, 89.0)) == []
  assert names(source.collect(Need(*PLACE, frame.mjd, frame.mjd + second, 89.0))) == ['001.fits']


def test_real_files_whose_pixels_are_not_read(tmp_path):
  shutil.copy(SHARP_14182, tmp_path / 'compressed.fits')
  header = fits.getheader(SHARP_14182, 1)
  content = bytearray((tmp_path / 'compressed.fits').read_bytes())
  content[-20_000:-10_000] = bytes(10_000)  # In the heap of compressed tiles.
  (tmp_path / 'compressed.fits').write_bytes(content)
  index = FolderSource(tmp_path).index
  assert index.instrument == 'SDO/HMI HMI 720 s'
  assert header['T_OBS'] == '2025.08.17_15:00:06.087_TAI'  # 37 s ahead of UTC then.
  assert index.mjd[0] == pytest.approx(60904 + (14 * 3600 + 59 * 60 + 29.087) / 86400, abs=1e-8)


def test_cameras_of_one_instrument_go_together(tmp_path):
  write_frame(tmp_path / 'a.fits', 0)
  write_frame(tmp_path / 'b.fits', 1, INSTRUME='HMI_COMBINED')
  assert len(FolderSource(tmp_path).collect(need(0, 1))) == 2


def test_an_observer_that_is_not_told_is_no_matter_here(tmp_path):
  write_frame(tmp_path / 'a.fits', CRLN_OBS=None, CRLT_OBS=None)
  assert len(FolderSource(tmp_path).collect(need(0, 0))) == 1


# --- What is kept -------------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch) -> list[str]:
  """The names of the files whose headers are read."""
  names, read_header = [], frame_index._read_header
  monkeypatch.setattr(frame_index, '_read_header', lambda path: names.append(path.name) or read_header(path))
  return names


def test_only_what_changed_is_read_again(tmp_path, read):
  folder, index_path = write_frames(tmp_path / 'frames', range(4)), tmp_path / 'cache' / 'index.ecsv'
  first = FolderSource(folder, index_path=index_path).index
  assert len(read) == 4
  again = FolderSource(folder, index_path=index_path).index
  assert len(read) == 4
  assert again.files == first.files and again.instrument == first.instrument
  np.testing.assert_array_equal(again.mjd, first.mjd)
  write_frame(folder / '001.fits', 1, QUALITY=1)
  (folder / '002.fits').unlink()
  write_frame(folder / '007.fits', 7)
  changed = FolderSource(folder, index_path=index_path).index
  assert sorted(read[4:]) == ['001.fits', '007.fits']
  assert changed.files == ('000.fits', '001.fits', '003.fits', '007.fits')
  assert changed.quality.tolist() == [0, 1, 0, 0]


def test_what_was_read_is_kept_when_a_file_is_at_fault(tmp_path, read):
  folder = write_frames(tmp_path / 'frames', range(4))
  (folder / '003.fits').write_text('no FITS')
  with pytest.raises(ValueError, match='truncated or damaged'):
    FolderSource(folder, index_path=tmp_path / 'index.ecsv')
  write_frame(folder / '003.fits', 3)
  FolderSource(folder, index_path=tmp_path / 'index.ecsv')
  assert read == ['000.fits', '001.fits', '002.fits', '003.fits', '003.fits']


def test_an_index_that_cannot_be_used_is_made_again(tmp_path, read):
  folder, index_path = write_frames(tmp_path / 'frames', range(2)), tmp_path / 'index.ecsv'
  for content in ('', 'no table\n1,2', None):
    if content is None:
      Table({'file': ['000.fits']}, meta={'index_version': 0}).write(index_path, format='ascii.ecsv', overwrite=True)
    else:
      index_path.write_text(content)
    assert len(FolderSource(folder, index_path=index_path).index.files) == 2
  assert len(read) == 6


def test_a_source_is_sent_without_its_index(tmp_path, read):
  folder = write_frames(tmp_path / 'frames', range(4))
  source = FolderSource(folder, index_path=tmp_path / 'index.ecsv')
  sent = pickle.dumps(source)
  assert len(sent) < 1000
  assert pickle.loads(sent).collect(need(0, 3)) == source.collect(need(0, 3))
  assert len(read) == 4


# --- What cannot be used ------------------------------------------------------------------------------------------


def test_folders_that_hold_nothing(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'There is no folder .*none; name the one with the frames'):
    FolderSource(tmp_path / 'none')
  write_frame(tmp_path / 'frame.fts')
  with pytest.raises(ValueError, match=r"holds no file '\*.fits'; put frames there, or name another pattern"):
    FolderSource(tmp_path)
  assert len(FolderSource(tmp_path, pattern='*.fts').index.files) == 1


@pytest.mark.parametrize(
  ('cards', 'told'),
  [
    ({'TELESCOP': 'SOHO', 'INSTRUME': 'MDI'}, r'several instruments: SDO/HMI HMI 720 s .000.fits. and SOHO MDI 720 s'),
    ({'CADENCE': 45.0}, r'HMI 720 s .000.fits. and SDO/HMI HMI 45 s .odd.fits.; keep those of one'),
    ({'TELESCOP': None, 'INSTRUME': None, 'CADENCE': None}, 'and one without a name .odd.fits.'),
    ({'CTYPE1': None, 'CTYPE2': None}, 'odd.fits has the axes .* solar coordinates are needed'),
    ({'CRVAL1': None}, 'odd.fits lacks CRVAL1: without them its pixels have no place on the Sun'),
    ({'CRLN_OBS': None}, 'odd.fits gives only part of the position of the observer; add CRLN_OBS'),
    ({'BUNIT': 'm/s'}, "odd.fits has BUNIT 'm/s'; magnetograms in Gauss are needed, narrow the pattern"),
    ({'T_REC': None, 'T_OBS': None, 'DATE_OBS': None}, 'odd.fits does not say when it was observed'),
    ({'T_REC': None, 'T_OBS': 'soon'}, "odd.fits, keyword T_OBS: 'soon' is not a time"),
    ({'QUALITY': 'poor'}, "odd.fits has QUALITY 'poor'; a whole number is needed"),
  ],
)
def test_frames_that_do_not_belong_there(tmp_path, cards, told):
  write_frames(tmp_path, range(2))
  write_frame(tmp_path / 'odd.fits', 2, **cards)
  with pytest.raises(ValueError, match=told):
    FolderSource(tmp_path)


def test_two_frames_of_one_time(tmp_path):
  write_frames(tmp_path, range(3))
  shutil.copy(tmp_path / '001.fits', tmp_path / 'copy.fits')
  with pytest.raises(ValueError, match=r'holds two frames of one time: 001.fits and copy.fits; keep one of them'):
    FolderSource(tmp_path)


def test_utc_and_tai_are_not_two_times_of_one_frame(tmp_path):
  """Without the leap seconds they would be 34 s apart, and pass for two frames."""
  write_frame(tmp_path / 'tai.fits', 0)
  utc = (slot(0) + 8 * u.s).utc.isot
  write_frame(tmp_path / 'utc.fits', 0, T_REC=None, T_OBS=None, DATE_OBS=utc)
  with pytest.raises(ValueError, match=r'two frames of one time: tai.fits and utc.fits'):
    FolderSource(tmp_path)


def test_a_folder_that_is_not_of_magnetograms(tmp_path):
  edited(SHARP_14237, tmp_path / 'a.fits', CDELT1=1.3)
  with pytest.raises(ValueError, match='synoptic map'):
    FolderSource(tmp_path)
  fits.PrimaryHDU(np.zeros((2, 3, 4), np.float32), frame_header()).writeto(tmp_path / 'a.fits', overwrite=True)
  with pytest.raises(ValueError, match=r'axes \[y, x\]'):
    FolderSource(tmp_path)


@pytest.mark.parametrize(
  ('entries', 'told'),
  [
    ((30.0, -20.0, 55607.0, 55606.0, 89.0), 'The time must begin before it ends, got 55607.0 to 55606.0'),
    ((np.nan, -20.0, 55606.0, 55607.0, 89.0), 'A place on the Sun, a time and a size are needed'),
    ((30.0, -120.0, 55606.0, 55607.0, 89.0), 'A place on the Sun'),
    ((30.0, -20.0, 55606.0, 55607.0, 0.0), 'A place on the Sun'),
  ],
)
def test_needs_that_are_none(entries, told):
  with pytest.raises(ValueError, match=told):
    Need(*entries)
