"""Reading of real magnetograms: what is in them, and every fault of a header named."""

import gzip
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from hearjax.observe.magnetogram import EARTH_NOTE, read_magnetogram
from hearjax.observe.postel import observer_position, postel_patch
from tests.real_maps import CENTRE_11158, CUTOUT, FULL_DISK, SHARP_14159, SHARP_14182, SHARP_14237, SHARPS, edited
from tests.scripts import ROOT


@pytest.mark.parametrize('path', [CUTOUT, *SHARPS], ids=lambda path: path.name[:24])
def test_reads_real_files(path):
  magnetogram = read_magnetogram(path)
  header = fits.getheader(path, 0 if path == CUTOUT else 1, ignore_blank=True)
  assert magnetogram.data.shape == (header['NAXIS2'], header['NAXIS1'])
  assert magnetogram.data.dtype == np.float32
  assert magnetogram.unit == u.G
  assert magnetogram.meta['quality'] == 0
  assert 'notes' not in magnetogram.meta
  assert observer_position(magnetogram) == pytest.approx((header['CRLN_OBS'], header['CRLT_OBS']), abs=1e-3)
  assert 1000 < np.nanmax(np.abs(magnetogram.data)) < 2200 or path == SHARP_14159


def test_time_is_the_middle_of_the_exposure_in_utc(cutout):
  assert cutout.reference_date.utc.isot.startswith('2011-02-14T20:34:35')  # T_OBS 20:35:09 TAI less 34 s.


@pytest.mark.parametrize('unit', ['Gauss', 'gauss', 'G', 'Mx/cm^2', 'Mx/cm2', 'Mx cm-2', ' Mx/cm^2 '])
def test_unit_in_any_spelling(tmp_path, unit):
  assert read_magnetogram(edited(SHARP_14237, tmp_path / 'a.fits', BUNIT=unit)).unit == u.G


@pytest.mark.parametrize(
  ('cards', 'sentence'),
  [
    ({'BUNIT': 'kG'}, "BUNIT 'kG'; a magnetogram in Gauss"),
    ({'BUNIT': None}, 'does not say its unit'),
    ({'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN'}, 'solar coordinates are needed'),
    ({'CTYPE1': None, 'CTYPE2': None}, 'solar coordinates are needed'),
    ({'CRVAL1': None}, 'lacks CRVAL1'),
    ({'CUNIT2': None}, 'lacks CUNIT2'),
    ({'CUNIT1': 'Mm', 'CUNIT2': 'Mm'}, 'units of angle are needed'),
    ({'DATE_OBS': None, 'T_OBS': None}, 'does not say when it was observed'),
    ({'DATE_OBS': 'soon', 'T_OBS': None}, "keyword DATE-OBS: 'soon' is not a time"),
    ({'CRLN_OBS': 'west'}, "CRLN_OBS = 'west'; a number is needed"),
    ({'QUALITY': 'bad'}, "QUALITY 'bad'"),
    ({'CDELT1': 1.3}, 'synoptic map'),
  ],
)
def test_rejects_a_header_in_one_sentence(tmp_path, cards, sentence):
  path = edited(SHARP_14237, tmp_path / 'a.fits', **cards)
  with pytest.raises(ValueError, match=sentence) as caught:
    read_magnetogram(path)
  assert str(path) in str(caught.value)


def test_rejects_continuum():
  with pytest.raises(ValueError, match="BUNIT 'DN/s'; a magnetogram in Gauss or Mx/cm"):
    read_magnetogram(FULL_DISK)


@pytest.mark.parametrize('source', [CUTOUT, SHARP_14182])
def test_rejects_a_truncated_file(tmp_path, source):
  path = tmp_path / 'cut.fits'
  path.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
  with pytest.raises(ValueError, match='truncated or damaged'):
    read_magnetogram(path)


def test_rejects_what_is_no_fits_image(tmp_path):
  (tmp_path / 'text.fits').write_text('no FITS at all')
  (tmp_path / 'empty.fits').touch()
  fits.PrimaryHDU(np.zeros((2, 3, 4), np.float32)).writeto(tmp_path / 'cube.fits')
  edited(SHARP_14237, tmp_path / 'blank.fits')
  with fits.open(tmp_path / 'blank.fits', mode='update') as hdus:
    hdus[0].data[:] = np.nan
  for name, sentence in (
    ('blank', 'no pixel of its image is a number'),
    ('text', 'truncated or damaged: No SIMPLE card'),
    ('empty', 'truncated or damaged'),
    ('cube', r'axes \[y, x\], got shape \(2, 3, 4\)'),
  ):
    with pytest.raises(ValueError, match=sentence):
      read_magnetogram(tmp_path / f'{name}.fits')
  with pytest.raises(FileNotFoundError, match='There is no file'):
    read_magnetogram(tmp_path / 'none.fits')


def test_missing_observer_becomes_earth_with_a_note(tmp_path, cutout):
  path = edited(CUTOUT, tmp_path / 'a.fits', CRLN_OBS=None, CRLT_OBS=None)
  magnetogram = read_magnetogram(path)
  # SDO circles the Earth, which is up to 0.02 deg; L0 of JSOC headers is larger than the ephemeris by 0.07 deg.
  assert observer_position(magnetogram) == pytest.approx(observer_position(cutout), abs=0.1)
  assert postel_patch(magnetogram, *CENTRE_11158).notes == EARTH_NOTE


def test_quality_is_kept_and_absent_means_good(tmp_path):
  flagged = read_magnetogram(edited(SHARP_14237, tmp_path / 'a.fits', QUALITY=66560))
  plain = read_magnetogram(edited(SHARP_14237, tmp_path / 'b.fits', QUALITY=None))
  assert postel_patch(flagged, 91.7, 15.9).quality == 66560
  assert postel_patch(plain, 91.7, 15.9).quality == 0


def test_gzip_is_read(tmp_path):
  with CUTOUT.open('rb') as plain, gzip.open(tmp_path / 'a.fits.gz', 'wb', compresslevel=1) as packed:
    shutil.copyfileobj(plain, packed)
  assert read_magnetogram(tmp_path / 'a.fits.gz').data.shape == (496, 495)


def test_a_home_that_cannot_be_written(tmp_path):
  """sunpy writes its settings there; what has been read by then must be read all the same."""
  code = f'from hearjax.observe.magnetogram import read_magnetogram; print(read_magnetogram({str(SHARP_14237)!r}).unit)'
  surroundings = {name: value for name, value in os.environ.items() if not name.startswith(('XDG_', 'SUNPY_'))}
  done = subprocess.run(
    [sys.executable, '-c', code],
    env=surroundings | {'HOME': '/proc/none', 'MPLCONFIGDIR': str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
  )
  assert (done.stdout.strip(), done.returncode) == ('G', 0), done.stderr
