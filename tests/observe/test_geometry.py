"""Headers as people have them: a spot of known flux on a known place is found there, or the header is refused.

The disk is drawn by `real_maps.disk_positions`, without sunpy, from the plain header; what its header then says in
another way must lead to the same patch.
"""

import functools

import numpy as np
import pytest
from astropy.io import fits

from hearjax.observe.geometry import AU, angle_unit
from hearjax.observe.magnetogram import EARTH_NOTE, read_magnetogram
from hearjax.observe.postel import Patch, postel_patch
from tests.real_maps import disk_positions, distance_mm

SIZE = 256
PLACE = (130.0, 12.0)  # Carrington longitude and latitude of the spot [deg].
PEAK_GAUSS, SIGMA_MM = 300.0, 8.0
FLUX_MX = 2 * np.pi * SIGMA_MM**2 * PEAK_GAUSS * 1e16
DISTANCE = 1.48e11


def plain_header(**cards) -> fits.Header:
  """Returns a header in the standard keywords, turned by 30 deg; `cards` are set, or removed for None."""
  header = fits.Header({'CTYPE1': 'HPLN-TAN', 'CTYPE2': 'HPLT-TAN', 'BUNIT': 'Gauss', 'CROTA2': 30.0})
  for axis in '12':
    header.update({f'CRPIX{axis}': SIZE / 2 + 0.5, f'CRVAL{axis}': 0.0, f'CDELT{axis}': 8.0, f'CUNIT{axis}': 'arcsec'})
  header.update({'CRLN_OBS': 120.0, 'CRLT_OBS': -5.0, 'DSUN_OBS': DISTANCE, 'RSUN_REF': 6.96e8})
  header['DATE-OBS'] = '2012-03-06T14:22:14.600'
  for keyword, value in cards.items():
    keyword = keyword.replace('__', '-')
    header.remove(keyword, ignore_missing=True)
    if value is not None:
      header[keyword] = value
  return header


@functools.cache
def spot() -> np.ndarray:
  """Returns the field of the spot as the plain header shows it."""
  away = distance_mm(*disk_positions(plain_header(), SIZE), PLACE)
  return (PEAK_GAUSS * np.exp(-(away**2) / 2 / SIGMA_MM**2)).astype(np.float32)


def read_spot(path, **cards) -> Patch:
  fits.PrimaryHDU(spot(), plain_header(**cards)).writeto(path / 'spot.fits')
  return postel_patch(read_magnetogram(path / 'spot.fits'), *PLACE)


def check_spot(patch: Patch) -> None:
  assert np.nansum(patch.field) * 1.39**2 * 1e16 == pytest.approx(FLUX_MX, rel=0.01)
  y, x = np.unravel_index(np.nanargmax(patch.field), patch.field.shape)
  assert abs(y - 63.5) < 2 and abs(x - 63.5) < 2  # In the middle of 128 px.
  assert np.nanmax(patch.field) == pytest.approx(PEAK_GAUSS, rel=0.05)


COSINE, SINE = np.cos(np.pi / 6), np.sin(np.pi / 6)
CD = {'CD1_1': 8 * COSINE, 'CD1_2': -8 * SINE, 'CD2_1': 8 * SINE, 'CD2_2': 8 * COSINE}
PC = {key.replace('CD', 'PC'): value / 8 for key, value in CD.items()}
NO_ROLL = {'CROTA2': None}
NO_SCALE = {'CDELT1': None, 'CDELT2': None}
# HGLN_OBS at the time of the header, from L0 = 333.87 of the almanac.
STONYHURST = {'CRLN_OBS': None, 'CRLT_OBS': None, 'HGLN_OBS': 120 - 333.87, 'HGLT_OBS': -5.0}

SAME = {
  'plain': {},
  'roll in CROTA': {**NO_ROLL, 'CROTA': 30.0},
  'roll in CROTA1': {**NO_ROLL, 'CROTA1': 30.0},
  'roll at both axes': {'CROTA1': 30.0},
  'roll 0 at the first axis': {'CROTA1': 0.0},
  'roll as text': {'CROTA2': '30.0'},
  'roll of a further turn': {'CROTA2': 390.0},
  'CD matrix': {**NO_ROLL, **NO_SCALE, **CD},
  'CD matrix and CDELT': {**NO_ROLL, **CD},
  'CD matrix, roll, and the CDELT that says nothing': {**CD, 'CDELT1': 1.0, 'CDELT2': 1.0},
  'CD matrix and roll': {**NO_SCALE, **CD},
  'PC matrix': {**NO_ROLL, **PC},
  'PC matrix and roll': PC,
  'units of IDL': {'CUNIT1': 'arcsecs', 'CUNIT2': 'arc-sec'},
  'degrees': {'CUNIT1': 'Degree', 'CUNIT2': 'degrees', 'CDELT1': 8 / 3600, 'CDELT2': 8 / 3600},
  'mixed units': {'CUNIT2': 'arcmin', 'CDELT2': 8 / 60},
  'distance in AU': {'DSUN_OBS': None, 'DSUN_AU': DISTANCE / AU},
  'distance in AU under the name of metres': {'DSUN_OBS': DISTANCE / AU},
  'distance in km': {'DSUN_OBS': DISTANCE / 1e3},
  'distance from the radius that is seen': {
    'DSUN_OBS': None,
    'RSUN_OBS': np.rad2deg(np.arcsin(6.96e8 / DISTANCE)) * 3600,
  },
  'distance told twice': {'DSUN_AU': DISTANCE / AU},
  'radius in km': {'RSUN_REF': 696000.0},
  'radius in Mm': {'RSUN_REF': 696.0},
  'radius not told': {'RSUN_REF': None},
  'axes as they were called once': {'CTYPE1': 'SOLAR-X', 'CTYPE2': 'SOLAR-Y'},
  'observer of ground-based telescopes': {'CRLN_OBS': None, 'CRLT_OBS': None, 'SOLAR-L0': 120.0, 'SOLAR-B0': -5.0},
  'observer as others call it': {'CRLN_OBS': None, 'CRLT_OBS': None, 'L0': 120.0, 'B0': -5.0},
  'Stonyhurst observer': STONYHURST,
  'Stonyhurst observer, date and time apart': {**STONYHURST, 'DATE__OBS': '2012/03/06', 'TIME__OBS': '14:22:14.600'},
  'Stonyhurst observer, midnight and time': {
    **STONYHURST,
    'DATE__OBS': '2012-03-06T00:00:00',
    'TIME__OBS': '14:22:14',
  },
  'Stonyhurst observer, old keywords': {
    **STONYHURST,
    'DATE__OBS': None,
    'DATE_OBS': '2012-03-06',
    'TIME_OBS': '14:22:14Z',
  },
  'Stonyhurst observer, missing T_OBS': {**STONYHURST, 'T_OBS': '-4712.01.01_11:59:28_TAI'},
  'Stonyhurst observer, begin and end': {
    **STONYHURST,
    'DATE__OBS': '2012-03-06T02:22:14',
    'DATE__BEG': '2012-03-06T02:22:14',
    'DATE__END': '2012-03-07T02:22:14',
  },
  'Stonyhurst observer, a day and a time': {
    **STONYHURST,
    'DATE__OBS': '2012-03-06',
    'DATE__AVG': '2012-03-06T14:22:14.6',
    'MJD-OBS': 55992.0,
  },
  'modified Julian date': {**STONYHURST, 'DATE__OBS': None, 'MJD-OBS': 55992.59878009},
  'lower case': {'CTYPE1': 'hpln-tan', 'CTYPE2': 'hplt-tan'},
  'usual native pole': {'LONPOLE': 180.0},
  'empty cards': {'CROTA1': '', 'HGLN_OBS': '', 'QUALITY': ''},
}


@pytest.mark.parametrize('cards', SAME.values(), ids=SAME)
def test_the_spot_is_where_it_is(tmp_path, cards):
  patch = read_spot(tmp_path, **cards)
  check_spot(patch)
  assert patch.time.startswith('2012-03-06T14:22:14')
  assert EARTH_NOTE not in patch.notes


@pytest.mark.parametrize(
  ('cards', 'note'),
  [
    ({'DSUN_OBS': DISTANCE / 1e3}, 'DSUN_OBS taken to be in km'),
    ({'DSUN_OBS': 1.0}, 'DSUN_OBS taken to be in AU'),
    ({'DSUN_OBS': None, 'DSUN_AU': 1.0}, ''),
    ({'RSUN_REF': None}, 'radius of the Sun not in the header, 695.7 Mm assumed'),
    ({'RSUN_REF': 695700.0}, 'RSUN_REF taken to be in km'),
    ({'DSUN_OBS': None, 'RSUN_OBS': 970.0}, 'distance of the observer from RSUN_OBS'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': None}, EARTH_NOTE),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': 0.992 * AU}, EARTH_NOTE),
    ({}, ''),
  ],
)
def test_what_was_assumed_is_told(tmp_path, cards, note):
  assert read_spot(tmp_path, **cards).notes == note


@pytest.mark.parametrize(
  ('cards', 'sentence'),
  [
    ({'CROTA2': 'north'}, "CROTA2 = 'north'; a number is needed"),
    ({'CROTA': 10.0}, 'CROTA2 is 30 and CROTA is 10'),
    ({'CROTA2': 0.0, 'CROTA1': 30.0}, 'CROTA2 is 0 and CROTA1 is 30'),
    ({'CROTA2': None, 'SC_ROLL': 30.0}, 'SC_ROLL = 30 but no CROTA2'),
    ({**CD, 'CROTA2': 10.0}, 'CD and CROTA keywords tell different'),
    ({'PC1_1': 1.0}, 'PC and CROTA keywords tell different'),
    ({**NO_ROLL, **CD, **PC, 'CDELT1': 7.0}, 'CD and PC keywords tell different'),
    ({'CDELT1': 0.0}, 'scale of 0'),
    ({'CDELT1': None}, 'lacks CDELT1'),
    ({'CUNIT1': 'furlong'}, "'furlong' and 'arcsec' .* units of angle are needed: deg, arcmin, arcsec"),
    ({'CTYPE1': 'HPLT-TAN', 'CTYPE2': 'HPLN-TAN'}, 'longitude first'),
    ({'CTYPE2': 'CRLT-TAN'}, 'longitude first'),
    ({'CTYPE1': 'HPLN-XYZ', 'CTYPE2': 'HPLT-XYZ'}, 'coordinates that are not valid'),
    ({'A_ORDER': 2}, 'a distortion, or a native pole, of its own .A_ORDER.'),
    ({'PV1_3': 0.0}, 'a native pole, of its own .PV1_3.'),
    ({'CROTA2': 1e10}, r'turned by 1e\+10 deg'),
    ({'CROTA2': None, 'CD001001': 7.0}, 'CD001001 = 7 but no CROTA2'),
    ({'CROTA2': None, 'INST_ROT': 30.0}, 'INST_ROT = 30 but no CROTA2'),
    ({'DATE__OBS': None, 'MJD-OBS': 55992.0}, 'MJD-OBS = 55992, a day without a time of day'),
    ({'DATE__OBS': None, 'MJD-OBS': 1e300}, 'no modified Julian date of our time'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'TELESCOP': 'Solar Orbiter'}, 'observer as Solar Orbiter'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': None, 'RSUN_OBS': 240.0}, 'RSUN_OBS = 240, which is no radius'),
    ({'LONPOLE': 90.0}, 'LONPOLE = 90 instead of the usual 180'),
    ({'DSUN_OBS': None}, 'only part of the position of the observer; add DSUN_OBS'),
    ({'CRLN_OBS': None}, 'only part of the position of the observer; add CRLN_OBS'),
    ({'CRLT_OBS': None}, 'add CRLT_OBS'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'HEEX_OBS': 1.4e11}, 'observer as HEEX_OBS, which does not tell his place'),
    ({'DSUN_AU': 0.5}, 'DSUN_OBS is 1.48e.11 m and DSUN_AU is 7.48e.10 m'),
    ({'DSUN_OBS': -1.0}, 'DSUN_OBS = -1, which is not a distance from the Sun in m, km, Mm or AU'),
    ({'DSUN_OBS': None, 'RSUN_OBS': 0.27}, 'RSUN_OBS = 0.27, which is no radius of the Sun in arcsec'),
    ({'RSUN_REF': 1.0}, 'RSUN_REF = 1, which is not a radius of the Sun'),
    ({'RSUN_REF': None, 'RSUN_OBS': 500.0}, 'RSUN_OBS is 500 arcsec, at the distance of 1.48e.11 m the radius'),
    ({'RSUN_OBS': 1900.0}, 'RSUN_OBS is 1900 arcsec, at the distance of 1.48e.11 m the radius'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': 0.5 * AU}, 'where the Earth is not .* add CRLN_OBS and CRLT_OBS'),
    ({'CRLN_OBS': None, 'CRLT_OBS': None, 'DSUN_OBS': None, 'RSUN_OBS': 1900.0}, 'where the Earth is not'),
    ({'T_OBS': '2011.03.06_14:22:00_TAI'}, 'T_OBS is 2011-03-06T14:21:26.000 and DATE-OBS is 2012'),
    ({'DATE__BEG': '2012-03-07T00:00:00', 'DATE__END': '2012-03-06T00:00:00'}, 'DATE-END lies before DATE-BEG'),
    ({'TIME__OBS': 14}, "'14' is no time of day"),
    ({'DATE__OBS': '2012-03-06T24:00:00'}, 'is not a time'),
    ({'CTYPE2': 'HPLT-TAN-SIP'}, 'a distortion, or a native pole, of its own .-SIP.'),
    ({'CROTA2': None, 'ROLL': 0.7}, 'ROLL = 0.7 but no CROTA2'),
    ({'HGLT_OBS': 6.0}, 'CRLT_OBS is -5 and HGLT_OBS is 6'),
    ({'HGLN_OBS': 0.0, 'HGLT_OBS': -5.0}, 'HGLN_OBS is 0, but CRLN_OBS at its time means 146'),
    ({'DATE__OBS': '2012-03-06'}, "keyword DATE-OBS: '2012-03-06' is a day without a time of day"),
    ({'TIME__OBS': '03:00:00'}, 'two times of day'),
    ({'DATE__OBS': '06/03/12'}, 'is not a time'),
    ({'DATE__OBS': '2012-13-06T00:00:00'}, 'is not a time'),
    ({'DATE__OBS': '-4712.01.01_11:59:28_TAI'}, 'does not say when it was observed'),
    ({'TIMESYS': 'SUNDIAL'}, "TIMESYS 'SUNDIAL'"),
  ],
)
def test_what_cannot_be_used_is_refused(tmp_path, cards, sentence):
  with pytest.raises(ValueError, match=sentence) as caught:
    read_spot(tmp_path, **cards)
  assert str(tmp_path / 'spot.fits') in str(caught.value)


def test_a_card_twice(tmp_path):
  path = tmp_path / 'twice.fits'
  header = plain_header()
  header.append(('CRVAL1', 0.0), end=True)
  header.append(('ODD', 1), end=True)
  header.append(('ODD', 2), end=True)  # Nobody asks for it.
  fits.PrimaryHDU(spot(), header).writeto(path)
  check_spot(postel_patch(read_magnetogram(path), *PLACE))
  header.append(('CRVAL1', 200.0), end=True)
  fits.PrimaryHDU(spot(), header).writeto(path, overwrite=True)
  with pytest.raises(ValueError, match=r'contradicts itself: CRVAL1 is 0.0 and 200.0; remove the wrong card'):
    read_magnetogram(path)


def test_a_card_that_breaks_the_standard_is_refused_where_it_is_used(tmp_path):
  path = tmp_path / 'nan.fits'
  fits.PrimaryHDU(spot(), plain_header(R_VALUE=7.5)).writeto(path)
  check_spot(postel_patch(read_magnetogram(path), *PLACE))
  content = path.read_bytes()
  path.write_bytes(content.replace(b'R_VALUE =                  7.5', b'R_VALUE =                  nan'))
  check_spot(postel_patch(read_magnetogram(path), *PLACE))
  path.write_bytes(content.replace(b'CROTA2  =                 30.0', b'CROTA2  =                  nan'))
  with pytest.raises(ValueError, match=r'cannot be read, CROTA2  = .*nan.*; write CROTA2 as FITS has it'):
    read_magnetogram(path)


@pytest.mark.parametrize('keyword', ['BSCALE', 'BZERO', 'BLANK'])
def test_a_scale_told_twice_is_refused(tmp_path, keyword):
  image = fits.PrimaryHDU(np.nan_to_num(spot()).astype(np.int16), plain_header())
  image.writeto(tmp_path / 'plain.fits')
  content = (tmp_path / 'plain.fits').read_bytes()
  end = content.index(b'END' + 77 * b' ')
  cards = b''.join(f'{keyword:8}= {value:20}'.ljust(80).encode() for value in (1, 2))
  (tmp_path / 'twice.fits').write_bytes(
    (content[:end] + cards + b'END').ljust(-(-(end + 163) // 2880) * 2880) + content[-(-(end + 80) // 2880) * 2880 :]
  )
  with pytest.raises(ValueError, match=f'contradicts itself: {keyword} is 1 and 2'):
    read_magnetogram(tmp_path / 'twice.fits')


def test_keywords_of_the_primary_header_are_inherited(tmp_path):
  path = tmp_path / 'inherits.fits'
  for inherit in (True, None, False, 'F'):
    image = fits.ImageHDU(spot(), fits.Header({'BUNIT': 'Gauss', 'CRVAL1': 0.0}))
    if inherit is not None:
      image.header['INHERIT'] = inherit
    hdus = fits.HDUList([fits.PrimaryHDU(header=plain_header(CRVAL1=5.0)), image])  # Its own CRVAL1 counts.
    hdus.writeto(path, overwrite=True)
    if inherit in (False, 'F'):
      with pytest.raises(ValueError, match='solar coordinates are needed'):
        read_magnetogram(path)
    else:
      check_spot(postel_patch(read_magnetogram(path), *PLACE))


def test_an_image_beside_the_field_is_not_taken_for_it(tmp_path):
  path = tmp_path / 'several.fits'
  field = fits.ImageHDU(spot(), plain_header(), name='MAGNETOGRAM')
  beside = [
    fits.ImageHDU(np.full_like(spot(), 7), plain_header(), name=name) for name in ('ERROR', 'BP_ERR', 'Quality map')
  ]
  fits.HDUList([fits.PrimaryHDU(), *beside, field]).writeto(path)
  check_spot(postel_patch(read_magnetogram(path), *PLACE))
  # In the unit of another quantity, it needs no name.
  velocity = fits.PrimaryHDU(np.full_like(spot(), 7), plain_header(BUNIT='m/s'))
  fits.HDUList([velocity, fits.ImageHDU(spot(), plain_header())]).writeto(path, overwrite=True)
  check_spot(postel_patch(read_magnetogram(path), *PLACE))
  for hdus, told in (
    ([fits.PrimaryHDU(np.full_like(spot(), 7), plain_header()), fits.ImageHDU(spot(), plain_header())], '2 may be it'),
    ([fits.PrimaryHDU(spot(), plain_header()), fits.ImageHDU(spot(), plain_header(BUNIT=None))], '2 may be it'),
    ([fits.PrimaryHDU(spot(), plain_header()), fits.ImageHDU(spot(), plain_header(BUNIT='kG'))], '2 may be it'),
    ([fits.PrimaryHDU(spot(), plain_header()), fits.ImageHDU(np.stack([spot()] * 2), plain_header())], '2 may be it'),
    ([fits.PrimaryHDU(), beside[0]], r'of its 1 images \(ERROR\) 0 may be it'),
  ):
    fits.HDUList(hdus).writeto(path, overwrite=True)
    with pytest.raises(ValueError, match=told):
      read_magnetogram(path)


@pytest.mark.parametrize(
  ('text', 'unit'),
  [
    *[(text, 'arcsec') for text in ('arcsec', 'arcsecs', 'ARCSEC', 'arc-sec', 'asec', 'arcseconds', ' arcsec. ')],
    *[(text, 'deg') for text in ('deg', 'Degree', 'DEGREES', 'degs')],
    ('radian', 'rad'),
    ('arcmin', 'arcmin'),
    ('mas', 'mas'),
    *[(text, None) for text in ('', 'd', 'm', 'Mm', 'sec', 'solRad', 'pixel', 'Sine Latitude')],
  ],
)
def test_units_of_angle_in_any_spelling(text, unit):
  assert angle_unit(text) == unit


# --- Pixels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('lost', [np.inf, -np.inf, np.nan, 1e30, -2147483648.0, -9999.0])
def test_scattered_lost_pixels_cost_their_own_flux(tmp_path, lost):
  """The source is coarser than the patch here: each lost pixel is a hole of 5.8 Mm, 1 % of them 1 % of the area."""
  field = spot().copy()
  scattered = np.random.default_rng(0).random(field.shape) < 0.01
  field[scattered] = lost
  fits.PrimaryHDU(field, plain_header()).writeto(tmp_path / 'lost.fits')
  patch = postel_patch(read_magnetogram(tmp_path / 'lost.fits'), *PLACE)
  fits.PrimaryHDU(spot(), plain_header()).writeto(tmp_path / 'whole.fits')
  whole = postel_patch(read_magnetogram(tmp_path / 'whole.fits'), *PLACE)
  assert whole.missing == 0 and 0.003 < patch.missing < 0.03
  seen = np.isfinite(patch.field)
  # Beside the holes the field is what it was but for the weights within a footprint.
  np.testing.assert_allclose(patch.field[seen], whole.field[seen], atol=0.06 * PEAK_GAUSS)
  assert np.nansum(patch.field) / whole.field.sum() > 0.97


def test_lost_pixels_of_a_fine_source_are_left_out_of_the_means(tmp_path):
  """At 1.39 / 3 Mm a patch pixel is the mean of nine and more: no hole is left, and 1 % of them cost no flux."""
  step = np.rad2deg(1.39 / 3 * 1e6 / 6.957e8)
  header = plain_header(CROTA2=None, CTYPE1='CRLN-CEA', CTYPE2='CRLT-CEA', CUNIT1='deg', CUNIT2='deg')
  header.update({'CDELT1': step, 'CDELT2': step, 'CRVAL1': PLACE[0], 'CRVAL2': 0.0, 'CRPIX1': 150.5})
  header['CRPIX2'] = 150.5 - np.rad2deg(np.sin(np.deg2rad(PLACE[1]))) / step
  rng = np.random.default_rng(0)
  field = rng.normal(100, 30, (300, 300)).astype(np.float32)
  fits.PrimaryHDU(field, header).writeto(tmp_path / 'whole.fits')
  field[rng.random(field.shape) < 0.01] = np.inf
  fits.PrimaryHDU(field, header).writeto(tmp_path / 'lost.fits')
  whole, lost = (postel_patch(read_magnetogram(tmp_path / f'{n}.fits'), *PLACE, size=64) for n in ('whole', 'lost'))
  assert (whole.missing, lost.missing) == (0, 0)
  assert lost.field.sum() / whole.field.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize('kind', [fits.ImageHDU, fits.CompImageHDU])
def test_a_block_whose_blank_keyword_was_lost_is_missing(tmp_path, kind):
  integers = np.nan_to_num(np.round(spot() / 0.1), nan=-32768).astype(np.int16)
  integers[:, 128:] = -32768  # -3276.8 G, the west.
  image = kind(integers, plain_header(CROTA2=0.0))
  image.header['BSCALE'] = 0.1
  fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / 'lost.fits')
  magnetogram = read_magnetogram(tmp_path / 'lost.fits')
  assert np.isnan(magnetogram.data[:, 128:]).all()
  assert np.nanmax(np.abs(magnetogram.data)) <= PEAK_GAUSS


@pytest.mark.parametrize('fill', [-999.0, -3276.8, -32768.0, 9.97e36])
def test_a_block_of_a_fill_value_among_floats_is_missing(tmp_path, fill):
  field = spot().copy()
  field[:, 128:] = fill
  fits.PrimaryHDU(field, plain_header()).writeto(tmp_path / 'fill.fits')
  magnetogram = read_magnetogram(tmp_path / 'fill.fits')
  assert np.isnan(magnetogram.data[:, 128:]).all()
  np.testing.assert_array_equal(magnetogram.data[:, :128], spot()[:, :128])


def test_a_clipped_field_is_left_as_it_is(tmp_path):
  clipped = np.clip(20 * spot(), -1000, 1000)
  fits.PrimaryHDU(-clipped, plain_header()).writeto(tmp_path / 'clipped.fits')
  magnetogram = read_magnetogram(tmp_path / 'clipped.fits')
  np.testing.assert_array_equal(magnetogram.data, -clipped)
  assert np.sum(magnetogram.data == -1000) >= 9


def test_an_image_of_one_plane(tmp_path):
  fits.PrimaryHDU(spot()[None], plain_header()).writeto(tmp_path / 'plane.fits')
  check_spot(postel_patch(read_magnetogram(tmp_path / 'plane.fits'), *PLACE))
