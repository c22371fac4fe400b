"""An archive whose index is lost, or was never written: its region files stand alone."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.survey.archive import read_survey, write_region, write_survey
from hearjax.survey.standalone import find_regions, index_regions
from hearjax.survey.survey import checksum
from tests.conftest import make_survey


@pytest.fixture
def archive(tmp_path):
  """An archive without its index."""
  write_survey(tmp_path, make_survey())
  (tmp_path / 'survey.ecsv').unlink()
  return tmp_path


def test_the_survey_is_the_same_again(archive):
  assert index_regions(archive) == 6
  survey = read_survey(archive)
  assert checksum(survey) == checksum(make_survey()) and survey.source == 'test'
  with pytest.raises(FileExistsError, match='already holds a survey archive'):
    index_regions(archive)


def test_files_may_have_any_name_and_lie_in_the_folder_itself(archive):
  for number, path in enumerate(find_regions(archive)):
    path.rename(archive / f'map {number}.fits')
  assert index_regions(archive) == 6
  assert checksum(read_survey(archive)) == checksum(make_survey())


def test_rows_in_another_order_keep_their_planes(archive):
  for path in find_regions(archive):
    with fits.open(path, memmap=False) as hdus:
      image, table = hdus['MAGNETOGRAM'].copy(), Table.read(hdus['INTERVALS'])
    rows = fits.table_to_hdu(table[::-1])
    rows.name = 'INTERVALS'
    fits.HDUList([fits.PrimaryHDU(), image, rows]).writeto(path, overwrite=True, checksum=True)
  index_regions(archive)
  assert checksum(read_survey(archive)) == checksum(make_survey())


def test_what_does_not_belong_together_is_told(archive):
  one = make_survey(pairs=4)
  one = one.select(one.pair == 3)
  for region in range(2):
    write_region(archive, one.select(one.region == region).replace(pixel_scale_mm=2.0))
  with pytest.raises(UserError, match=r'differ in pixel_scale_mm \(1.39 in CR000.fits, 2.0 in CR003.fits\)'):
    index_regions(archive)
  assert not (archive / 'survey.ecsv').exists()
  for region in range(2):
    write_region(archive, one.select(one.region == region).replace(source='hear'))
  with pytest.raises(UserError, match=r'differ in source \(test in CR000.fits, hear in CR003.fits\)'):
    index_regions(archive)


def test_half_a_pair_and_a_map_without_rows_are_told(archive):
  find_regions(archive)[0].unlink()
  with pytest.raises(UserError, match='pair pair000 must be one EAR and one CR'):
    index_regions(archive)
  fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 8, 8), np.float32), name='MAGNETOGRAM')]).writeto(
    archive / 'regions' / 'A.fits'
  )
  with pytest.raises(UserError, match=r'A\.fits'):
    index_regions(archive)


def test_an_empty_folder_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'there is neither survey\.ecsv nor a region file'):
    index_regions(tmp_path)
