"""One process at a time writes the same into a folder (`files.sole_writer`)."""

import errno
import os

import pytest

from hearjax.files import sole_writer, visible_files
from tests.scripts import written_elsewhere


def test_a_second_process_is_refused_and_the_first_one_goes_on(tmp_path):
  with written_elsewhere(tmp_path, 'train') as first:
    with pytest.raises(BlockingIOError, match=f'^{tmp_path} is being written by another train; wait until it has'):
      sole_writer(tmp_path, 'train').__enter__()
    assert first.poll() is None and (tmp_path / '.train.lock').exists()
    with sole_writer(tmp_path, 'prune'):  # Something else.
      pass
  with sole_writer(tmp_path, 'train'):
    pass


def test_a_folder_is_the_same_by_each_of_its_names(tmp_path):
  (tmp_path / 'work').mkdir()
  (tmp_path / 'link').symlink_to('work')
  with written_elsewhere(tmp_path / 'work', 'train'), pytest.raises(BlockingIOError, match='link is being written'):
    sole_writer(tmp_path / 'link', 'train').__enter__()


def test_a_killed_process_leaves_no_lock(tmp_path):
  with written_elsewhere(tmp_path, 'train') as first:
    first.kill()
    first.wait()
    assert (tmp_path / '.train.lock').exists()
    with sole_writer(tmp_path, 'train'):
      pass
  assert not list(tmp_path.iterdir())


def test_it_may_be_taken_again_on_the_way(tmp_path):
  with sole_writer(tmp_path, 'train'):
    with sole_writer(f'{tmp_path}/.', 'train'):
      pass
    assert (tmp_path / '.train.lock').exists()
  assert not (tmp_path / '.train.lock').exists()


def test_folders_without_products_do_not_stay(tmp_path):
  with pytest.raises(KeyError), sole_writer(tmp_path / 'a' / 'b', 'train'):
    raise KeyError
  assert not list(tmp_path.iterdir())
  (tmp_path / 'mine').mkdir()  # Empty, but it was there.
  for name in ('mine', 'new'):
    with sole_writer(tmp_path / name / 'b', 'train'):
      (tmp_path / name / 'file').touch()
  assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*')) == [
    'mine',
    'mine/file',
    'new',
    'new/file',
  ]
  with sole_writer(tmp_path, 'train'):
    pass
  assert tmp_path.exists()


def test_a_folder_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').touch()
  for place in (tmp_path / 'file', tmp_path / 'file' / 'work'):
    with pytest.raises(OSError, match=f'^Cannot write {place}: [A-Z][a-z ]+\\.$'):
      sole_writer(place, 'train').__enter__()


def test_a_file_system_that_cannot_lock_is_told_and_used(tmp_path, monkeypatch):
  fcntl = pytest.importorskip('fcntl')

  def refuse(*_: int) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(fcntl, 'flock', refuse)
  told = f'The file system of {tmp_path} cannot lock files .*: no other train may write there'
  with pytest.warns(UserWarning, match=told), sole_writer(tmp_path, 'train'):
    assert not list(tmp_path.iterdir())
  assert tmp_path.exists()


def test_hidden_files_are_nobodys(tmp_path):
  for name in ('b.ecsv', 'a.ecsv', '.a.ecsv.42.partial.ecsv', '._a.ecsv', 'c.txt'):
    (tmp_path / name).touch()
  assert visible_files(tmp_path, '*.ecsv') == [tmp_path / 'a.ecsv', tmp_path / 'b.ecsv']
  assert visible_files(tmp_path / 'none', '*.ecsv') == []
