"""What a card says is used or refused."""

import pathlib

import pytest
from astropy.io import fits

from hearjax.survey.headers import is_gauss, quality_bits, read_cards

PATH = pathlib.Path('some.fits')


def cards(**values):
  return read_cards(PATH, fits.Header(values))


@pytest.mark.parametrize(
  ('value', 'bits'),
  [
    (0, 0),
    (66560, 0x10400),
    (66560.0, 0x10400),
    ('66560', 0x10400),
    ('6.656E4', 0x10400),
    ('0x00010400', 0x10400),
    ('00010400', 0x10400),  # Eight digits: as JSOC prints it, without 0x.
    ('80000000', 0x80000000),
    (-2147483648, -0x80000000),
    ('', 0),
    (None, 0),
  ],
)
def test_quality_in_any_form(value, bits):
  assert quality_bits(cards(QUALITY=value)) == bits


@pytest.mark.parametrize('value', ['good', 0.5, 'nan', '0x', '0xGG', True, 2.0**40])
def test_quality_that_is_none(value):
  with pytest.raises(ValueError, match=f"some.fits has QUALITY '?{value}'?; a whole number is needed"):
    quality_bits(cards(QUALITY=value))


def test_numbers():
  assert cards(A=1.5).number('A') == cards(A='1.5').number('A') == cards(A=' 1.5 ').number('A') == 1.5
  assert cards(A='').number('A') is None is cards().number('A')
  for value in ('west', 'nan', 'inf', True):
    with pytest.raises(ValueError, match=f"A = '?{value}'?; a number is needed"):
      cards(A=value).number('A')


def test_the_unit_may_be_that_of_a_segment():
  assert is_gauss(cards(BUNIT='Gauss')) and is_gauss(cards(_BUNIT='Mx/cm^2')) and is_gauss(cards(BUNIT='', _BUNIT='G'))
  for unit in ('Gauss', ' mx/cm2', 'Mx / cm^2', 'maxwell/cm2', 'Mx.cm-2', 'Gs'):
    assert is_gauss(cards(BUNIT=unit))
  for unit in ('m/s', 'kG', 'T', 'DN'):
    assert is_gauss(cards(BUNIT=unit)) is False
  assert is_gauss(cards()) is None
