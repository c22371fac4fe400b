"""From the keywords of a file to the standard ones of place (Thompson 2006, A&A 449, 791): axes, observer, radius.

Headers of the field say the same in many ways. Each is brought to one form here or refused; what a header says twice
must agree.
"""

import itertools
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning

from hearjax.checks import UserError
from hearjax.solar import SOLAR_RADIUS_MM, wrap_degrees
from hearjax.survey.headers import Cards

AXES = (('HPLN', 'HPLT'), ('CRLN', 'CRLT'), ('HGLN', 'HGLT'))
OLD_AXES = {'SOLAR-X': 'HPLN-TAN', 'SOLAR_X': 'HPLN-TAN', 'SOLAR-Y': 'HPLT-TAN', 'SOLAR_Y': 'HPLT-TAN'}
HELIOGRAPHIC = ('CRLN', 'HGLN')
ANGLES = {'deg': 1.0, 'arcmin': 1 / 60, 'arcsec': 1 / 3600, 'rad': 180 / math.pi, 'mas': 1 / 3.6e6}
_ANGLE_NAMES = {
  'deg': r'deg(ree)?s?',
  'arcmin': r'(arc|a)[ -]?min(ute)?s?',
  'arcsec': r'(arc|a)[ -]?sec(ond)?s?',
  'rad': r'rad(ian)?s?',
  'mas': r'mas|milliarcsec(ond)?s?',
}
ROLLS = ('CROTA2', 'CROTA1', 'CROTA')
OTHER_ROLLS = (
  'SC_ROLL',
  'ROLL',
  'ROLLANGL',
  'ROT_ANG',
  'POSANGLE',
  'P_ANGLE',
  'CROT',
  'CROTA_2',
  'CROTACN1',
  'INST_ROT',
  'SAT_ROT',
)
# Older names of the matrices, which neither astropy nor sunpy read.
OLD_MATRIX = re.compile(r'(PC|CD)\d{6}|.*[ .]CROTA\d?')
MOST_TURNS_DEG = 720.0
DISTORTIONS = ('A_ORDER', 'B_ORDER', 'CPDIS1', 'CPDIS2', 'CQDIS1', 'CQDIS2', 'D2IMDIS1', 'D2IMDIS2')
MATRIX_TOLERANCE = 2e-3  # Between two ways to tell roll and scale: 0.1 deg, which is 2 arcsec at the limb.

LATITUDES = ('CRLT_OBS', 'HGLT_OBS', 'SOLAR_B0', 'SOLAR-B0', 'OBS_B0', 'B0')
CARRINGTON_LONGITUDES = ('CRLN_OBS', 'SOLAR_L0', 'SOLAR-L0', 'OBS_L0', 'L0')
STONYHURST_LONGITUDES = ('HGLN_OBS',)
DISTANCES = {'DSUN_OBS': 'm', 'DSUN': 'm', 'DSUN_AU': 'AU', 'OBS_DIST': 'AU'}  # And the unit of each by its name.
OTHER_OBSERVERS = re.compile(r'(HEE|HEQ|HAE|HCI|HEC|GEO|GSE)[XYZ]_OBS')
ELSEWHERE = re.compile(r'stereo|solo|solar orbiter|parker|psp', re.IGNORECASE)
OBSERVER_TOLERANCE_DEG = 0.5  # L0 of JSOC headers is 0.07 deg larger than that of the ephemeris.
AU = 149_597_870_700.0  # IAU 2012 Resolution B2 [m].
LENGTHS = {'m': 1.0, 'km': 1e3, 'Mm': 1e6, 'AU': AU}
LENGTH_TOLERANCE = 0.02  # Between two ways to tell one; Earth and L1 differ by 1 %.
# What can be meant, whatever the unit [m]: the photosphere of any author; 0.03 AU, within Parker's orbit, to 6 AU.
RADIUS_RANGE = (6.9e8, 7.05e8)
DISTANCE_RANGE = (0.03 * AU, 6 * AU)
SEEN_FROM = (0.25 * AU, 2 * AU)  # Where RSUN_OBS tells the distance: it is often one in pixels.


def standard_geometry(cards: Cards, shape: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
  """Returns the standard FITS keywords of an image's place, and what was assumed to get them.

  Args:
    cards: Its keywords.
    shape: Its size along y and x [px].

  Returns:
    CTYPEi, CUNITi, CRPIXi, CRVALi, CDELTi, PCi_j, PVi_m, and RSUN_REF [m]; where the header tells them HGLT_OBS and
    HGLN_OBS or CRLT_OBS and CRLN_OBS [deg], and DSUN_OBS [m]. Then what was assumed, in words.

  Raises:
    UserError: What places the pixels lacks, contradicts itself, or is not understood.
  """
  notes: list[str] = []
  axes = _axes(cards, shape)
  radius = _length(cards, {'RSUN_REF': 'm'}, RADIUS_RANGE, 'a radius of the Sun', notes)
  distance = _length(cards, DISTANCES, DISTANCE_RANGE, 'a distance from the Sun', notes)
  radius, distance = _by_angular_radius(cards, radius, distance, notes)
  if radius is None:
    radius = SOLAR_RADIUS_MM * 1e6
    notes.append(f'radius of the Sun not in the header, {SOLAR_RADIUS_MM} Mm assumed')
  return {**axes, **_observer(cards, distance), 'RSUN_REF': radius}, notes


def angle_unit(text: str) -> str | None:
  """Returns the name in FITS of a unit of angle in any usual spelling (`arcsecs`, `Degree`); None for any other."""
  text = text.strip().lower().rstrip('.')
  return next((name for name, pattern in _ANGLE_NAMES.items() if re.fullmatch(pattern, text)), None)


def roll(cards: Cards) -> float:
  """Returns how far an image is turned [deg], in the sense of CROTA2; raises as `scale_and_matrix`."""
  told = _told_roll(cards)
  if told is not None:
    return told
  matrix = _matrix(cards, 'PC', 1.0)
  matrix = _matrix(cards, 'CD', 0.0) if matrix is None else matrix
  return 0.0 if matrix is None else math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def scale_and_matrix(cards: Cards, units: np.ndarray) -> dict[str, float]:
  """Returns CDELTi and PCi_j; a header may tell them as CD matrix, as CDELT with PC matrix, or as CDELT with a roll.

  Args:
    cards: The keywords.
    units: `[2]` unit of each axis in that of the first.

  Raises:
    UserError: Two ways tell different things, or the scale is 0.
  """
  own_roll = _told_roll(cards)
  ways = {}  # Keywords -> scale, and the matrix that it is multiplied with.
  cd = _matrix(cards, 'CD', 0.0)
  given = [cards.number(key) for key in ('CDELT1', 'CDELT2')]
  if cd is not None and given == [1.0, 1.0]:
    given = [None, None]  # The default of the standard beside a CD matrix: it says nothing.
  if cd is not None:
    cd = cd * units[:, None]
    length = np.linalg.norm(cd, axis=1)
    ways['CD'] = (length, cd / np.where(length > 0, length, 1)[:, None])
  if None not in given:
    scale = np.array(given) * units
    pc = _matrix(cards, 'PC', 1.0)
    if pc is not None:
      ways['PC'] = (scale, pc)
    if own_roll is not None or not ways:
      ways['CROTA'] = (scale, _turned(scale, own_roll or 0.0))
  elif own_roll is not None:
    ways['CROTA'] = (length, _turned(length, own_roll))
  for (name, one), (other_name, other) in itertools.combinations(ways.items(), 2):
    one, other = (scale[:, None] * matrix for scale, matrix in (one, other))
    if np.abs(one - other).max() > MATRIX_TOLERANCE * np.abs(one).max():
      raise UserError(
        f'{cards.path} contradicts itself: its {name} and {other_name} keywords tell different scales or rolls; remove '
        'the wrong ones.'
      )
  scale, matrix = ways.get('PC') or ways.get('CD') or ways['CROTA']
  if not abs(np.linalg.det(scale[:, None] * matrix)) > 0:
    raise UserError(f'{cards.path} has a scale of 0 (CDELT, PC or CD): its pixels have no place on the Sun.')
  entries = {f'PC{i + 1}_{j + 1}': float(matrix[i, j]) for i in range(2) for j in range(2)}
  return {'CDELT1': float(scale[0]), 'CDELT2': float(scale[1]), **entries}


# --- Axes -------------------------------------------------------------------------------------------------------


def _axes(cards: Cards, shape: tuple[int, int]) -> dict[str, Any]:
  names = [(cards.text(key) or '').upper() for key in ('CTYPE1', 'CTYPE2')]
  names = [OLD_AXES.get(name, name) for name in names]
  if tuple(name[:4] for name in names) not in AXES:
    raise UserError(
      f'{cards.path} has the axes {names[0]!r} and {names[1]!r} (CTYPE1, CTYPE2); solar coordinates are needed, '
      'longitude first: HPLN/HPLT, CRLN/CRLT or HGLN/HGLT.'
    )
  distortion = cards.first(*DISTORTIONS, *(f'PV1_{number}' for number in range(5)))
  if distortion or any(name.endswith('-SIP') for name in names):
    raise UserError(
      f'{cards.path} has a distortion, or a native pole, of its own ({distortion or "-SIP"}), which is not understood.'
    )
  scale = () if cards.first('CD1_1', 'CD1_2') else ('CDELT1', 'CDELT2')
  needed = ('CRPIX1', 'CRPIX2', 'CRVAL1', 'CRVAL2', 'CUNIT1', 'CUNIT2', *scale)
  absent = [key for key in needed if key not in cards.values]
  if absent:
    raise UserError(f'{cards.path} lacks {", ".join(absent)}: without them its pixels have no place on the Sun.')
  units = [angle_unit(cards.text(key)) for key in ('CUNIT1', 'CUNIT2')]
  step = cards.number('CDELT1' if scale else 'CD1_1') or 0.0
  if names[0][:4] in HELIOGRAPHIC and abs(step) * ANGLES.get(units[0], 0) * shape[1] > 180:
    raise UserError(
      f'{cards.path} covers more than half the circumference: a synoptic map, which shows no single moment.'
    )
  if None in units:
    raise UserError(
      f'{cards.path} has axes in {cards.text("CUNIT1")!r} and {cards.text("CUNIT2")!r} (CUNIT1, CUNIT2); units of '
      f'angle are needed: {", ".join(ANGLES)}.'
    )
  axes: dict[str, Any] = {'CTYPE1': names[0], 'CTYPE2': names[1], 'CUNIT1': units[0], 'CUNIT2': units[0]}
  axes |= {key: cards.number(key) for key in needed[:4]}
  axes |= {key: cards.number(key) for key in sorted(cards.values) if re.fullmatch(r'PV2_\d+', key)}
  to_first_unit = ANGLES[units[1]] / ANGLES[units[0]]  # sunpy mistakes axes in two units.
  axes['CRVAL2'] *= to_first_unit
  axes |= scale_and_matrix(cards, np.array([1.0, to_first_unit]))
  _check_native_pole(cards, axes)
  return axes


def _told_roll(cards: Cards) -> float | None:
  """Returns the roll that a keyword tells [deg], None where none does.

  Raises:
    UserError: The keywords contradict each other or are no numbers, or a roll is told in no way that is understood.
  """
  told = {keyword: cards.number(keyword) for keyword in ROLLS if keyword in cards.values}
  if len(told) > 1 and told.get('CROTA1') == 0:
    del told['CROTA1']  # By the older convention the roll stands at the second axis alone.
  if told:
    _check_agreement(cards, told, 0.1)
    value = next(iter(told.values()))
    if abs(value) > MOST_TURNS_DEG:
      raise UserError(f'{cards.path} is turned by {value:g} deg (CROTA2); an angle in degrees is needed.')
    return value
  if _has_matrix(cards):
    return None
  old = [keyword for keyword in cards.values if OLD_MATRIX.fullmatch(keyword)]
  other = next((keyword for keyword in (*OTHER_ROLLS, *old) if abs(cards.number(keyword) or 0) > 0.01), None)
  if other:
    raise UserError(
      f'{cards.path} has {other} = {cards.number(other):g} but no CROTA2; say with CROTA2 how far the image is turned.'
    )
  return None


def _has_matrix(cards: Cards) -> bool:
  return any(cards.first(f'{name}1_1', f'{name}1_2', f'{name}2_1', f'{name}2_2') for name in ('CD', 'PC'))


def _matrix(cards: Cards, name: str, diagonal: float) -> np.ndarray | None:
  keys = [f'{name}{i}_{j}' for i in (1, 2) for j in (1, 2)]
  if not cards.first(*keys):
    return None
  defaults = (diagonal, 0.0, 0.0, diagonal)
  values = [
    default if (value := cards.number(key)) is None else value for key, default in zip(keys, defaults, strict=True)
  ]
  return np.array(values).reshape(2, 2)


def _turned(scale: np.ndarray, roll_deg: float) -> np.ndarray:
  """Returns the PC matrix of a roll (Thompson 2006, equation 32)."""
  cosine, sine = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
  ratio = scale[1] / scale[0] if scale[0] else 0.0
  return np.array([[cosine, -sine * ratio], [sine / ratio if ratio else 0.0, cosine]])


def _check_native_pole(cards: Cards, axes: dict[str, Any]) -> None:
  """Refuses a native pole that is not that of the standard: sunpy takes no notice of it."""
  wcs = WCS(naxis=2)
  wcs.wcs.ctype = [axes['CTYPE1'], axes['CTYPE2']]
  wcs.wcs.cunit = [axes['CUNIT1'], axes['CUNIT2']]
  wcs.wcs.crval = [axes['CRVAL1'], axes['CRVAL2']]
  wcs.wcs.set_pv([(int(key[2]), int(key[4:]), value) for key, value in axes.items() if key.startswith('PV')])
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', FITSFixedWarning)
      wcs.wcs.set()
  except Exception as error:  # Of several types, for a projection that there is not.
    raise UserError(f'{cards.path} has coordinates that are not valid ({axes["CTYPE1"]}): {error}') from error
  told, usual = cards.number('LONPOLE'), wcs.wcs.lonpole
  if told is not None and abs(wrap_degrees(told - usual)) > 0.01:
    raise UserError(f'{cards.path} has LONPOLE = {told:g} instead of the usual {usual:g}, which is not understood.')


# --- Observer ---------------------------------------------------------------------------------------------------


def _observer(cards: Cards, distance: float | None) -> dict[str, float]:
  """Returns the position of the observer in the standard keywords; without angles where the header tells none.

  Args:
    cards: The keywords.
    distance: From the centre of the Sun [m], None where it is not told.
  """
  latitude = agreed(cards, *LATITUDES)
  carrington, stonyhurst = agreed(cards, *CARRINGTON_LONGITUDES), agreed(cards, *STONYHURST_LONGITUDES)
  if latitude is None and carrington is None and stonyhurst is None:
    other = next(filter(OTHER_OBSERVERS.fullmatch, cards.values), None)
    told = ' '.join(cards.text(keyword) or '' for keyword in ('TELESCOP', 'OBSRVTRY', 'INSTRUME'))
    if other or ELSEWHERE.search(told):
      raise UserError(
        f'{cards.path} gives the observer as {other or told.strip()}, which does not tell his place in a way that is '
        'understood; add HGLN_OBS, HGLT_OBS and DSUN_OBS.'
      )
    return {} if distance is None else {'DSUN_OBS': distance}
  longitude = stonyhurst if carrington is None else carrington
  needed = {'CRLT_OBS': latitude, 'CRLN_OBS': longitude, 'DSUN_OBS': distance}
  lacking = [keyword for keyword, value in needed.items() if value is None]
  if lacking:
    raise UserError(
      f'{cards.path} gives only part of the position of the observer; add {", ".join(lacking)} (angles in deg, '
      'distance in m).'
    )
  system = 'HG' if carrington is None else 'CR'
  return {f'{system}LN_OBS': longitude, f'{system}LT_OBS': latitude, 'DSUN_OBS': distance}


def _by_angular_radius(
  cards: Cards, radius: float | None, distance: float | None, notes: list[str]
) -> tuple[float | None, float | None]:
  """Returns radius and distance [m]; RSUN_OBS [arcsec] ties them together, and gives the one that is not told."""
  angle = cards.number('RSUN_OBS')
  if angle is None:
    return radius, distance
  sine = math.sin(math.radians(angle / 3600))
  if distance is None:
    reference = radius or SOLAR_RADIUS_MM * 1e6
    if not SEEN_FROM[0] * sine < reference < SEEN_FROM[1] * sine:
      raise UserError(f'{cards.path} has RSUN_OBS = {angle:g}, which is no radius of the Sun in arcsec.')
    notes.append('distance of the observer from RSUN_OBS')
    return radius, reference / sine
  if radius is None and RADIUS_RANGE[0] < distance * sine < RADIUS_RANGE[1]:
    return distance * sine, distance
  if radius is None or abs(distance * sine / radius - 1) > LENGTH_TOLERANCE:
    raise UserError(
      f'{cards.path} contradicts itself: RSUN_OBS is {angle:g} arcsec, at the distance of {distance:.4g} m the radius '
      'of the Sun is another one; remove the wrong card.'
    )
  return radius, distance


def agreed(cards: Cards, *keywords: str) -> float | None:
  """Returns the angle [deg] that keywords of one meaning tell, None where there is none of them.

  Raises:
    UserError: They do not agree, or one is no number.
  """
  told = {keyword: cards.number(keyword) for keyword in keywords if keyword in cards.values}
  _check_agreement(cards, told, OBSERVER_TOLERANCE_DEG)
  return next(iter(told.values()), None)


def _check_agreement(cards: Cards, told: dict[str, float], tolerance_deg: float) -> None:
  for (name, value), (other_name, other) in itertools.combinations(told.items(), 2):
    if abs(wrap_degrees(value - other)) > tolerance_deg:
      raise UserError(
        f'{cards.path} contradicts itself: {name} is {value:g} and {other_name} is {other:g}; remove the wrong card.'
      )


def _length(
  cards: Cards, keywords: Mapping[str, str], limits: tuple[float, float], meaning: str, notes: list[str]
) -> float | None:
  """Returns a length [m] in whichever unit it is told; one that is told in another than the usual one is noted.

  Args:
    cards: The keywords of the image.
    keywords: Keywords of the length, and the usual unit of each.
    limits: Between which it must lie [m].
    meaning: What it is.
    notes: Where to note.
  """
  found: dict[str, float] = {}
  for keyword, usual in keywords.items():
    value = cards.number(keyword)
    if value is None:
      continue
    unit = next((unit for unit, factor in LENGTHS.items() if limits[0] < value * factor < limits[1]), None)
    if unit is None:
      raise UserError(f'{cards.path} has {keyword} = {value:g}, which is not {meaning} in m, km, Mm or AU.')
    if unit != usual:
      notes.append(f'{keyword} taken to be in {unit}')
    found[keyword] = value * LENGTHS[unit]
  for (name, one), (other_name, other) in itertools.combinations(found.items(), 2):
    if abs(one / other - 1) > LENGTH_TOLERANCE:
      raise UserError(
        f'{cards.path} contradicts itself: {name} is {one:.4g} m and {other_name} is {other:.4g} m; remove the wrong '
        'card.'
      )
  return next(iter(found.values()), None)
