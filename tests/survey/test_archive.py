"""The survey archive: what is written comes back, whoever wrote it, and what is wrong is named."""

import errno
import os
import pathlib
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from hearjax import files
from hearjax.survey import archive
from hearjax.survey.archive import read_region, read_survey, write_region, write_survey
from hearjax.survey.survey import Survey, checksum
from tests.conftest import make_survey
from tests.survey.test_survey import assert_same


@pytest.fixture
def root(tmp_path, tiny_survey) -> pathlib.Path:
  """A written archive of the tiny survey."""
  write_survey(tmp_path / 'survey', tiny_survey, {'seed': 0})
  return tmp_path / 'survey'


def edit_index(root: pathlib.Path, edit) -> None:
  table = Table.read(root / 'survey.ecsv', format='ascii.ecsv')
  edited = edit(table)
  table = table if edited is None else edited
  table.write(root / 'survey.ecsv', format='ascii.ecsv', overwrite=True)


def set_entry(column: str, row: int, value) -> None:
  """Returns an edit of the index that puts `value` into one entry."""

  def edit(table):
    values = table[column].tolist()
    values[row] = value
    table[column] = values

  return edit


def rewrite_region(root: pathlib.Path, edit, name: str = 'EAR000', **options) -> None:
  """Rewrites a region file, with right checksums, after `edit(maps, header)` returned new maps."""
  path = root / 'regions' / f'{name}.fits'
  with fits.open(path, memmap=False) as hdus:
    image = hdus['MAGNETOGRAM']
    maps = edit(image.data, image.header)
    image.data = image.data if maps is None else maps
    hdus.writeto(path, overwrite=True, checksum=True, **options)


# --- Round trip -------------------------------------------------------------------------------------------------


def test_maps_in_a_file_are_those_in_memory(root, tmp_path):
  mapped = read_survey(root, scratch=tmp_path)
  assert isinstance(mapped.field, np.memmap)
  assert_same(read_survey(root), mapped)
  assert [path.name for path in tmp_path.iterdir()] == ['survey']  # The file has no name.


def test_a_disk_without_room_for_the_maps_is_told(root, tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 10, 0))
  with pytest.raises(OSError, match=r'has 0 MB left, and the maps need .* MB'):
    read_survey(root, scratch=tmp_path)


def test_round_trip_is_exact(root, tiny_survey):
  back = read_survey(root)
  assert_same(back, tiny_survey)
  assert back.source == 'test'
  assert back.field.dtype == np.float32
  assert back.mjd.dtype == np.float64


def test_order_of_writing_does_not_matter(tmp_path, tiny_survey):
  shuffled = tiny_survey.select(np.random.default_rng(1).permutation(len(tiny_survey)))
  write_survey(tmp_path, shuffled)
  assert_same(read_survey(tmp_path), tiny_survey)


def test_missing_pixels_come_back_and_are_counted_anew(tmp_path, tiny_survey):
  field = tiny_survey.field.copy()
  field[3, :8] = np.nan
  write_survey(tmp_path, tiny_survey.replace(field=field))
  back = read_survey(tmp_path, max_missing=0.25)
  np.testing.assert_array_equal(back.field, field)
  np.testing.assert_allclose(back.missing, np.where(np.arange(len(back)) == 3, 0.25, 0.0))
  with pytest.raises(ValueError, match=r'1 of 12 magnetograms have more than 20% missing.*25% \(CR001, interval -1\)'):
    read_survey(tmp_path)


def test_region_file_stands_alone(root, tiny_survey):
  alone = read_region(root / 'regions' / 'EAR001.fits')
  expected = tiny_survey.select(tiny_survey.region_names() == 'EAR001')
  assert checksum(alone) == checksum(expected)
  np.testing.assert_array_equal(alone.mjd, expected.mjd)
  with fits.open(root / 'regions' / 'EAR001.fits') as hdus:
    assert [hdu.name for hdu in hdus[1:]] == ['MAGNETOGRAM', 'INTERVALS']
    assert hdus['MAGNETOGRAM'].data.dtype == np.dtype('>f4')
    assert all({'CHECKSUM', 'DATASUM'} <= set(hdu.header) for hdu in hdus[1:])


def test_wcs_of_a_region_file(tmp_path):
  survey = make_survey(pairs=1, size=33)
  write_survey(tmp_path, survey)
  longitude, latitude = float(survey.longitude[-1]), float(survey.latitude[-1])
  wcs = WCS(fits.getheader(tmp_path / 'regions' / 'EAR000.fits', 'MAGNETOGRAM')).celestial
  np.testing.assert_allclose(wcs.all_pix2world(16, 16, 0), (longitude, latitude), atol=1e-10)
  np.testing.assert_allclose(wcs.all_world2pix(longitude, latitude, 0), (16, 16), atol=1e-8)
  arc = np.rad2deg(1.39 / 695.7)
  np.testing.assert_allclose(wcs.all_pix2world(16, 17, 0), (longitude, latitude + arc), atol=1e-10)
  # To the west (right) along a great circle: longitude grows, by the arc over cos(latitude) to first order.
  west = wcs.all_pix2world(17, 16, 0)[0]
  np.testing.assert_allclose(west - longitude, arc / np.cos(np.deg2rad(latitude)), rtol=1e-4)


def test_even_maps_are_centred_between_pixels(root, tiny_survey):
  wcs = WCS(fits.getheader(root / 'regions' / 'EAR000.fits', 'MAGNETOGRAM')).celestial
  centre = float(tiny_survey.longitude[-5]), float(tiny_survey.latitude[-5])
  assert tiny_survey.region_names()[-5] == 'EAR000'
  np.testing.assert_allclose(wcs.all_pix2world(15.5, 15.5, 0), centre, atol=1e-10)


# --- From another program ---------------------------------------------------------------------------------------


def write_elsewhere(root: pathlib.Path, survey: Survey) -> None:
  """Writes an archive as another program might: astropy only, other order, units, spellings and file names."""
  (root / 'maps').mkdir(parents=True)
  table = Table()
  table['mu'], table['plane'] = survey.mu, 0
  table['comment'] = 'nothing hearjax knows'
  table['hours'] = np.asarray(survey.hours, float) * 60 * u.min
  for name in ('hours_start', 'hours_end'):
    table[name] = np.asarray(getattr(survey, name), float) * 3600 * u.s
  for name in ('latitude', 'longitude', 'cmd'):
    table[name] = np.deg2rad(np.asarray(getattr(survey, name), float)) * u.rad
  for name in ('interval', 'label', 'noaa', 'quality', 'n_frames', 'missing'):
    table[name] = np.asarray(getattr(survey, name), float)
  table['kind'] = np.where(survey.label == 1, 'EAR', 'CR')
  table['time_mid'] = Time(survey.mjd, format='mjd', scale='utc', precision=9).tai
  table['pair_id'], table['region_id'] = survey.pair_names(), survey.region_names()
  table['file'] = [f'maps/{name}.fits' for name in survey.region_names()]
  for region in np.unique(survey.region_names()):
    rows = np.flatnonzero(survey.region_names() == region)[::-1]
    table['plane'][rows] = np.arange(len(rows)) + 1
    unused = np.zeros((1, *survey.field.shape[1:]), np.float32)
    maps = np.concatenate([unused, survey.field[rows]])
    # quantize_level 0 is compression without loss.
    hdu = fits.CompImageHDU(maps, name='MAGNETOGRAM', compression_type='GZIP_2', quantize_level=0)
    hdu.header['BUNIT'], hdu.header['ORIGIN'] = 'Mx/cm^2', 'elsewhere'
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(root / 'maps' / f'{region}.fits')
  table.meta = {'format_version': 1, 'pixel_scale_mm': 1.39, 'source': 'elsewhere', 'weather': 'fair'}
  table.write(root / 'survey.ecsv', format='ascii.ecsv')


def test_archive_of_another_program_is_read_as_well(tmp_path, tiny_survey):
  order = np.random.default_rng(2).permutation(len(tiny_survey))
  shuffled = tiny_survey.select(order)
  write_elsewhere(tmp_path / 'other', shuffled)
  back = read_survey(tmp_path / 'other')
  assert back.source == 'elsewhere'
  assert back.region_ids == tiny_survey.region_ids
  for name in ('field', 'label', 'interval', 'noaa', 'region', 'pair', 'quality', 'n_frames', 'mu'):
    np.testing.assert_array_equal(getattr(back, name), getattr(shuffled, name), err_msg=name)
    assert getattr(back, name).dtype == getattr(shuffled, name).dtype
  for name in ('hours', 'hours_start', 'hours_end', 'latitude', 'longitude', 'cmd', 'mjd'):
    np.testing.assert_allclose(getattr(back, name), getattr(shuffled, name), rtol=1e-6, err_msg=name)


# --- Bad input --------------------------------------------------------------------------------------------------

INDEX_FAULTS = {
  'label against kind': (
    set_entry('label', 0, 1),
    'region CR000 has label 1 and kind .CR.; label 1 goes with kind EAR',
  ),
  'unknown label': (set_entry('label', 0, 2), 'region CR000 has label 2'),
  'unknown kind': (set_entry('kind', 0, 'QS'), "region CR000 has label 0 and kind 'QS'"),
  'half a pair': (
    lambda t: t[t['region_id'] != 'CR001'],
    r'pair pair001 must be one EAR and one CR; .* EAR001 \(EAR\)',
  ),
  'two of a kind': (lambda t: t.replace_column('pair_id', ['a'] * len(t)), 'pair a must be one EAR and one CR'),
  'region in two pairs': (set_entry('pair_id', 0, 'pair001'), 'region CR000 is in two pairs'),
  'interval twice': (set_entry('interval', 1, -2), 'region CR000 has interval -2 twice'),
  'missing columns': (lambda t: t.remove_columns(['mu', 'cmd']), 'lacks the columns cmd, mu; a survey archive needs'),
  'wrong unit': (lambda t: setattr(t['hours'], 'unit', 'G'), 'Column hours of .* is in G; h is needed'),
  'unit of a pure number': (lambda t: setattr(t['mu'], 'unit', 'Mm'), 'Column mu of .* is in Mm; a pure number'),
  'not a number': (set_entry('hours', 2, np.nan), 'Column hours of .* not finite numbers'),
  'turned sign': (lambda t: t.replace_column('hours', -t['hours']), r'interval -2 at \+8.27 h; hours are negative'),
  'middle outside': (set_entry('hours', 0, -20.0), r'interval -2 lasts from .* but its middle is given as -20 h'),
  'text for a number': (lambda t: t.replace_column('mu', ['?'] * len(t)), 'Column mu of .* not finite numbers'),
  'half an interval': (lambda t: t.replace_column('interval', t['interval'] + 0.5), 'Column interval .* whole numbers'),
  'too large': (lambda t: t.replace_column('quality', t['quality'].astype(int) + 2**31), 'Column quality .* 32 bits'),
  'empty name': (set_entry('pair_id', 2, ''), 'Column pair_id of .* empty'),
  'not a time': (set_entry('time_mid', 0, 'yesterday'), 'Column time_mid of .* is not ISO time'),
  'plane out of range': (set_entry('plane', 1, 2), 'asks for plane 2 of regions/CR000.fits, which has planes 0 to 1'),
  'negative plane': (set_entry('plane', 1, -1), 'asks for plane -1'),
  'upward path': (set_entry('file', 0, '../../etc/x.fits'), r"file '../../etc/x.fits', which lies outside"),
  'absolute path': (set_entry('file', 0, '/etc/hosts'), "file '/etc/hosts', which lies outside the archive"),
  'no rows': (lambda t: t[:0], 'has no rows: the survey is empty'),
  'format version': (lambda t: t.meta.update(format_version=2), 'has format version 2; this hearjax reads version 1'),
  'no meta key': (lambda t: t.meta.pop('source') and None, 'lacks the meta keys source'),
  'negative scale': (lambda t: t.meta.update(pixel_scale_mm=-1), 'pixel_scale_mm = -1; a positive number'),
  'scale in words': (lambda t: t.meta.update(pixel_scale_mm='fine'), "pixel_scale_mm = 'fine'; a positive number"),
}


@pytest.mark.parametrize('fault', INDEX_FAULTS)
def test_fault_in_the_index_is_named(root, fault):
  edit, sentence = INDEX_FAULTS[fault]
  edit_index(root, edit)
  with pytest.raises(ValueError, match=sentence):
    read_survey(root)


def test_unreadable_index(root):
  (root / 'survey.ecsv').write_bytes(b'\x00\xffnot a table')
  with pytest.raises(ValueError, match=r'survey.ecsv cannot be read as a survey index'):
    read_survey(root)


def test_no_archive_there(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'is not a survey archive: there is no survey.ecsv'):
    read_survey(tmp_path)


def test_root_that_is_a_file(tmp_path):
  (tmp_path / 'file').write_text('not a folder')
  with pytest.raises(FileNotFoundError, match=r'file is not a survey archive: there is no survey.ecsv'):
    read_survey(tmp_path / 'file')


@pytest.mark.parametrize('name', ['survey.ecsv', 'regions/EAR001.fits'])
def test_folder_in_place_of_a_file(root, name):
  (root / name).unlink()
  (root / name).mkdir()
  with pytest.raises(IsADirectoryError, match=f'^Cannot read {root / name}: Is a directory.$'):
    read_survey(root)


@pytest.mark.parametrize('name', ['survey.ecsv', 'regions/EAR001.fits'])
def test_file_that_may_not_be_read(root, monkeypatch, name):
  def refuse(path, *rest, **options):
    if path == root / name:
      raise PermissionError(errno.EACCES, 'Permission denied', str(path))
    return open(path, *rest, **options)

  # Modes of files would not stop the tests of a superuser.
  for module in (archive, files):
    monkeypatch.setattr(module, 'open', refuse, raising=False)
  with pytest.raises(PermissionError, match=f'^Cannot read {root / name}: Permission denied.$'):
    read_survey(root)


def test_missing_region_file(root):
  (root / 'regions' / 'EAR001.fits').unlink()
  with pytest.raises(FileNotFoundError, match=r"names the file 'regions/EAR001.fits', which is not there"):
    read_survey(root)


def test_symlink_out_of_the_archive(root, tmp_path):
  path = root / 'regions' / 'EAR000.fits'
  shutil.move(path, tmp_path / 'elsewhere.fits')
  path.symlink_to(tmp_path / 'elsewhere.fits')
  with pytest.raises(ValueError, match='lies outside the archive'):
    read_survey(root)


@pytest.mark.parametrize('kept', [0, 1000, 2880, 6000, 11000])
def test_truncated_region_file(root, kept):
  path = root / 'regions' / 'EAR000.fits'
  assert path.stat().st_size > 11000
  os.truncate(path, kept)
  with pytest.raises(ValueError, match=r'EAR000.fits (is truncated or damaged|has no image extension MAGNETOGRAM)'):
    read_survey(root)


def test_one_flipped_byte_is_noticed(root):
  path = root / 'regions' / 'EAR000.fits'
  with fits.open(path) as hdus:
    offset = hdus['MAGNETOGRAM'].fileinfo()['datLoc'] + 100
  content = bytearray(path.read_bytes())
  content[offset] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'EAR000.fits is truncated or damaged: .*[Cc]hecksum'):
    read_survey(root)


def _set_unit(maps, header):
  header['BUNIT'] = 'm/s'


REGION_FAULTS = {
  'velocity': (_set_unit, "EAR000.fits has BUNIT 'm/s'; the field must be in Gauss"),
  'no unit': (lambda maps, header: header.remove('BUNIT'), 'has BUNIT None'),
  'two axes': (lambda maps, header: maps[0], r'axes \[plane, y, x\], got shape \(32, 32\)'),
  'other size': (
    lambda maps, header: maps[:, :16, :16],
    r'EAR000.fits holds maps of \(16, 16\) px, other files of \(32, 32\)',
  ),
  'not square': (lambda maps, header: maps[:, :16], r'EAR000.fits holds maps of \(16, 32\) px; they must be square'),
  'too few planes': (lambda maps, header: maps[:1], 'asks for plane 1 of regions/EAR000.fits, which has planes 0 to 0'),
  'not finite': (lambda maps, header: np.where(maps > 0, np.inf, maps), r'2 of 12 magnetograms .* missing pixels'),
  'no image': (lambda maps, header: header.update(EXTNAME='OTHER'), 'has no image extension MAGNETOGRAM'),
}


@pytest.mark.parametrize('fault', REGION_FAULTS)
def test_fault_in_a_region_file_is_named(root, fault):
  edit, sentence = REGION_FAULTS[fault]
  rewrite_region(root, edit)
  with pytest.raises(ValueError, match=sentence):
    read_survey(root)


def test_region_without_rows_does_not_stand_alone(root):
  path = root / 'regions' / 'EAR000.fits'
  with fits.open(path, memmap=False) as hdus:
    del hdus['INTERVALS']
    hdus.writeto(path, overwrite=True, checksum=True)
  assert len(read_survey(root)) == 12
  with pytest.raises(ValueError, match='does not stand alone'):
    read_region(path)


def test_rows_of_a_region_must_fit_its_planes(root):
  rewrite_region(root, lambda maps, header: maps[:1])
  with pytest.raises(ValueError, match='INTERVALS must describe the 1 planes of one region'):
    read_region(root / 'regions' / 'EAR000.fits')


# --- Writing where it cannot be ---------------------------------------------------------------------------------


def test_empty_survey_is_not_written(tmp_path, tiny_survey):
  with pytest.raises(ValueError, match='The survey is empty: there is nothing to write'):
    write_survey(tmp_path / 'new', tiny_survey.select(slice(0)))
  assert not (tmp_path / 'new').exists()


def test_archive_that_exists_is_not_overwritten(root):
  before = {path: path.read_bytes() for path in root.rglob('*.*')}
  with pytest.raises(FileExistsError, match='already holds a survey archive'):
    write_survey(root, make_survey(seed=1))
  assert {path: path.read_bytes() for path in root.rglob('*.*')} == before


@pytest.mark.parametrize('name', ['../outside', 'a/b', '.hidden', ''])
def test_region_id_that_cannot_name_a_file(tmp_path, tiny_survey, name):
  ids = (name, *tiny_survey.region_ids[1:])
  with pytest.raises(ValueError, match=r'region_id .* cannot name a file'):
    write_survey(tmp_path / 'new', tiny_survey.replace(region_ids=ids))
  assert not list(tmp_path.rglob('*.fits'))


def _full_disk(*_, **__):
  raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('where', ['write', 'rename'])
def test_full_disk_leaves_nothing_half_written(root, tiny_survey, monkeypatch, where):
  before = {path: path.read_bytes() for path in root.rglob('*.*')}
  if where == 'rename':
    monkeypatch.setattr(os, 'replace', _full_disk)
  else:
    monkeypatch.setattr(fits.file._File, 'writearray', _full_disk)
  region = tiny_survey.select(tiny_survey.region == 0)
  with pytest.raises(OSError, match=r'Cannot write .*CR000.fits: the disk is full; nothing was left half written'):
    write_region(root, region.replace(field=-region.field))
  with pytest.raises(OSError, match='the disk is full'):
    write_survey(root.parent / 'new', tiny_survey)
  monkeypatch.undo()
  assert {path: path.read_bytes() for path in root.rglob('*.*')} == before
  assert not [path for path in (root.parent / 'new').rglob('*') if path.is_file()]


def test_disk_that_fills_up_before_the_index_leaves_no_archive(tmp_path, tiny_survey, monkeypatch):
  monkeypatch.setattr(Table, 'write', _full_disk)
  with pytest.raises(OSError, match=r'survey.ecsv: the disk is full'):
    write_survey(tmp_path, tiny_survey)
  monkeypatch.undo()
  assert not [path for path in tmp_path.rglob('*') if 'survey' in path.name or 'partial' in path.name]
  write_survey(tmp_path, tiny_survey)
  assert_same(read_survey(tmp_path), tiny_survey)


def test_folder_that_cannot_be_written(tmp_path, tiny_survey, monkeypatch):
  (tmp_path / 'file').write_text('not a folder')
  with pytest.raises(OSError, match=r'Cannot write .*file/regions/CR000.fits: Not a directory'):
    write_survey(tmp_path / 'file', tiny_survey)

  def refuse(*_, **__):
    raise PermissionError(errno.EACCES, 'Permission denied')

  monkeypatch.setattr(fits.HDUList, 'writeto', refuse)
  with pytest.raises(OSError, match=r'Cannot write .*CR000.fits: Permission denied'):
    write_survey(tmp_path / 'new', tiny_survey)


def test_checksum_is_of_the_content(root, tiny_survey):
  expected = checksum(tiny_survey)
  assert checksum(read_survey(root)) == expected
  assert checksum(tiny_survey.select(np.arange(len(tiny_survey))[::-1])) == expected
  rewrite_region(root, lambda maps, header: maps[::-1].copy())
  edit_index(
    root, lambda t: t.replace_column('plane', np.where(t['region_id'] == 'EAR000', 1 - t['plane'], t['plane']))
  )
  assert checksum(read_survey(root)) == expected
