"""Files that arrive in a folder while it is watched."""

import threading
import time

import pytest

from hearjax.observe.sources.arrivals import arrivals

pytest.importorskip('watchfiles')


def test_files_that_are_there_and_that_come(tmp_path):
  (tmp_path / 'b.fits').write_text('b')
  (tmp_path / 'a.fits').write_text('a')
  for name in ('c.txt', '.d.fits'):
    (tmp_path / name).write_text('no')
  (tmp_path / 'empty.fits').touch()
  late = threading.Timer(0.6, lambda: (tmp_path / 'late.fits').write_text('late'))
  late.start()
  found = [path.name for path in arrivals(tmp_path, '*.fits', 2.5, settle_s=0.3)]
  late.join()
  assert found == ['a.fits', 'b.fits', 'late.fits']


def test_a_file_is_waited_for_until_it_is_whole(tmp_path):
  path = tmp_path / 'slow.fits'

  def write() -> None:
    with path.open('w') as file:
      for _ in range(6):
        file.write('x' * 10)
        file.flush()
        time.sleep(0.15)

  writer = threading.Thread(target=write)
  writer.start()
  (size,) = [path.stat().st_size for path in arrivals(tmp_path, '*.fits', 3.0, settle_s=0.6)]
  writer.join()
  assert size == 60


def test_a_file_that_goes_on_comes_again(tmp_path):
  path = tmp_path / 'paused.fits'
  path.write_text('half')
  seen = []
  for found in arrivals(tmp_path, '*.fits', 4.0, settle_s=0.2):
    seen.append(found.read_text())
    if len(seen) == 1:
      path.write_text('half and half')
  assert seen == ['half', 'half and half']


def test_no_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'There is no folder .* to watch'):
    arrivals(tmp_path / 'none', '*.fits')
