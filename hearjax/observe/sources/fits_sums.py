"""Whether a FITS file came through whole: its length, and the checksums that it carries.

The sums are those of the bytes in the file. astropy sums up the header as it would write it, and finds fault with
files of JSOC whose sums are right but that have cards such as `R_VALUE = nan`.
"""

import pathlib

import numpy as np
from astropy.io import fits

from hearjax.checks import UserError
from hearjax.survey.headers import told_as_damage

ALL_ONES = 0xFFFFFFFF  # What an HDU with a CHECKSUM sums up to (FITS Standard 4.0, appendix J), 0 counting as well.


def damage(path: pathlib.Path) -> str | None:
  """Returns what is wrong with a FITS file, in words; None where nothing is."""
  try:
    with (
      told_as_damage(path),
      path.open('rb') as file,
      fits.open(file, memmap=False, disable_image_compression=True) as hdus,
    ):
      parts = [(hdu.fileinfo(), hdu.header.get('CHECKSUM'), hdu.header.get('DATASUM')) for hdu in hdus]
  except UserError as error:
    return f'the file is damaged: {error.__cause__}'
  content = path.read_bytes()
  for number, (place, checksum, datasum) in enumerate(parts):
    start, end = place['datLoc'], place['datLoc'] + place['datSpan']
    if len(content) < end:
      return f'the file is truncated: it has {len(content)} of {end} bytes'
    if checksum and ones_sum(content[place['hdrLoc'] : end]) not in (0, ALL_ONES):
      return f'the CHECKSUM of HDU {number} is another one'
    if datasum and str(ones_sum(content[start:end])) != str(datasum).strip():
      return f'the DATASUM of HDU {number} is another one'
  return None


def ones_sum(content: bytes) -> int:
  """Returns the sum of the 32-bit words of some bytes in ones' complement (FITS Standard 4.0, appendix J)."""
  total = int(np.frombuffer(content, '>u4').sum(dtype=np.uint64))
  while total >> 32:
    total = (total & ALL_ONES) + (total >> 32)
  return total
