"""Maps that several files of tests look at."""

import pytest
from astropy.io import fits
from sunpy.map import GenericMap

from hearjax.observe.magnetogram import read_magnetogram
from tests.real_maps import CUTOUT, FULL_DISK


@pytest.fixture(scope='session')
def cutout() -> GenericMap:
  return read_magnetogram(CUTOUT)


@pytest.fixture(scope='session')
def disk_header() -> fits.Header:
  """Header of a full disk of 1000 x 1000 px with the roll, distance and observer of a real HMI frame."""
  header = fits.getheader(FULL_DISK, ignore_blank=True)
  for key in ('CRPIX1', 'CRPIX2'):
    header[key] = (header[key] - 0.5) * 10 + 0.5
  for key in ('CDELT1', 'CDELT2'):
    header[key] /= 10
  header['BUNIT'] = 'Gauss'
  header.remove('BLANK', ignore_missing=True)
  return header
