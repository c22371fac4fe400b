"""Simulated full disks as files: FITS frames as JSOC has them of HMI, daily reports, and what was planted.

    OUT/frames/simulated.M_<cadence>s.<T_REC>.fits    Rice-compressed, in steps of 0.1 G
    OUT/sightings.ecsv     which regions the daily reports list, and where
    OUT/truth.ecsv         when and where each region emerged
    OUT/simulation.json    settings

The observer is at the Earth, by sunpy's ephemeris. Needs the extra `sun`.
"""

import json
import math
import os
import pathlib

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time, TimeDelta
from sunpy.coordinates import sun as ephemeris

from hearjax.files import plain, told_as_damaged, write_json, write_table, write_whole
from hearjax.progress import Progress, silent
from hearjax.simulate.disk import DiskSettings, Site, elements, plan_sites
from hearjax.simulate.disk_image import RADIUS_MM, View, observe, spoil
from hearjax.simulate.sun import Sun
from hearjax.solar import mu, wrap_degrees

SIMULATED = 'SIMULATED'  # TELESCOP: no observation is called so.
BAD_QUALITY = 66560  # As some blurred frames of HMI have; any bit would do.
STEP_GAUSS, BLANK = 0.1, -(2**31)  # BSCALE of HMI's magnetograms, and what stands for NaN in them.
REPORT_DAYS = 5  # The reports begin so long before the frames, and end so long after; our choice.
SEEN_MU = 0.15  # A region nearer to the limb is not reported; our choice: 81 deg from disk centre.
MX_PER_MILLIONTH = 4e19  # Of the area of sunspots; our choice: 250 millionths of the hemisphere for 1e22 Mx.
# Streams of random numbers.
KINDS, FRAME = 30, 31
GOOD, LOST, BAD = range(3)


def simulate_frames(
  out: str | os.PathLike,
  settings: DiskSettings,
  sun: Sun = Sun(),  # noqa: B008
  progress: Progress = silent,
) -> pathlib.Path:
  """Simulates full-disk frames; the same settings give the same.

  Frames are written one by one. What is there is not made again: an interrupted simulation goes on.

  Args:
    out: Folder to write.
    settings: What to simulate.
    sun: Parameters of the physics.
    progress: Goes through the frames, and may show how far it is.

  Returns:
    The folder of the frames.

  Raises:
    FileExistsError: The folder holds another simulation.
    UserError: There is no room, or no time, for so many regions.
    OSError: A file cannot be written.
  """
  out = pathlib.Path(out)
  times = settings.first_time + TimeDelta(3600 * settings.hours, format='sec')
  views = earth_views(times, settings)
  sites = plan_sites(settings, views[0].l0, sun)
  _claim(out, settings, sun)
  write_table(out / 'truth.ecsv', truth_table(sites, settings))
  write_table(out / 'sightings.ecsv', sightings_table(sites, settings, sun))
  kinds = draw_kinds(settings)
  paths = [frame_path(out, time, settings) for time in times]
  missing = [n for n, path in enumerate(paths) if kinds[n] != LOST and not path.exists()]
  simulated = elements(settings, sites, views[0].l0, views[0].b0, sun) if missing else iter(())
  for number, (position, flux) in zip(progress(range(max(missing, default=-1) + 1)), simulated, strict=False):
    if number in missing:
      rng = np.random.default_rng([settings.seed, FRAME, number])
      field = observe(rng, position, flux, views[number], settings.n_45s, sun)
      is_bad = kinds[number] == BAD
      header = frame_header(times[number], views[number], settings, BAD_QUALITY if is_bad else 0)
      write_frame(paths[number], spoil(rng, field) if is_bad else field, header)
  return out / 'frames'


def _claim(out: pathlib.Path, settings: DiskSettings, sun: Sun) -> None:
  """Writes the settings down; raises FileExistsError where a folder holds frames of others."""
  path = out / 'simulation.json'
  told = plain({'settings': settings, 'sun': sun})
  if path.exists():
    with told_as_damaged(path, 'remove the folder and simulate again'):
      known = json.loads(path.read_text())
    if known != told:
      raise FileExistsError(f'{out} holds a simulation with other settings; name another folder, or remove it.')
  elif (out / 'frames').exists():
    raise FileExistsError(f'{out} holds frames of something else; name another folder.')
  else:
    write_json(path, told)


def draw_kinds(settings: DiskSettings) -> np.ndarray:
  """Draws `[frame]` which frames are good, lost or bad: as many of each as the settings say, rounded."""
  count = len(settings.hours)
  kinds = np.full(count, GOOD)
  n_lost, n_bad = round(settings.lost * count), round(settings.bad * count)
  kinds[:n_lost] = LOST
  kinds[n_lost : n_lost + n_bad] = BAD
  return np.random.default_rng([settings.seed, KINDS]).permutation(kinds)


# --- Frames -----------------------------------------------------------------------------------------------------


def earth_views(times: Time, settings: DiskSettings) -> list[View]:
  """Returns how the Sun is seen from the Earth at some times."""
  l0, b0 = ephemeris.L0(times).to_value(u.deg), ephemeris.B0(times).to_value(u.deg)
  distance = ephemeris.earth_distance(times).to_value(u.Mm)
  rows = zip(l0.tolist(), b0.tolist(), distance.tolist(), strict=True)
  return [View(*row, settings.size, settings.roll_deg) for row in rows]


def frame_path(out: pathlib.Path, time: Time, settings: DiskSettings) -> pathlib.Path:
  """Returns where a frame lies."""
  return out / 'frames' / f'simulated.M_{settings.cadence_s}s.{time.tai.strftime("%Y%m%d_%H%M%S")}_TAI.fits'


def frame_header(time: Time, view: View, settings: DiskSettings, quality: int) -> fits.Header:
  """Returns the header of a frame: the cards that JSOC writes for HMI and that place it on the Sun and in time.

  T_REC, the nominal time, is also T_OBS, the middle of the observation; DATE-OBS is its begin, and in UTC.
  """
  header = fits.Header()
  nominal = time.tai.strftime('%Y.%m.%d_%H:%M:%S_TAI')
  start = (time - TimeDelta(settings.cadence_s / 2, format='sec')).utc.isot
  header['TELESCOP'] = (SIMULATED, 'no observation')
  header['INSTRUME'], header['CONTENT'], header['ORIGIN'] = SIMULATED, 'MAGNETOGRAM', 'hearjax'
  header['BUNIT'] = 'Gauss'
  header['T_REC'], header['T_OBS'], header['DATE-OBS'] = nominal, nominal, start[:22]
  header['CADENCE'] = float(settings.cadence_s)
  header['QUALITY'] = quality
  header['WCSNAME'] = 'Helioprojective-cartesian'
  for axis, name in ((1, 'HPLN-TAN'), (2, 'HPLT-TAN')):
    header[f'CTYPE{axis}'], header[f'CUNIT{axis}'] = name, 'arcsec'
    header[f'CRPIX{axis}'], header[f'CRVAL{axis}'] = (view.size + 1) / 2, 0.0
    header[f'CDELT{axis}'] = view.arcsec
  header['CROTA2'] = view.roll_deg
  header['CRLN_OBS'], header['CRLT_OBS'] = round(view.l0, 6), round(view.b0, 6)
  header['CAR_ROT'] = math.floor(ephemeris.carrington_rotation_number(time))
  header['DSUN_OBS'], header['DSUN_REF'] = round(1e6 * view.distance_mm, 2), 149597870691
  header['RSUN_REF'] = 1e6 * RADIUS_MM
  header['RSUN_OBS'] = round(math.degrees(math.asin(RADIUS_MM / view.distance_mm)) * 3600, 6)
  header['HISTORY'] = 'Simulated by hearjax: no observation, and no evidence about the Sun.'
  return header


def write_frame(path: pathlib.Path, field: np.ndarray, header: fits.Header) -> None:
  """Writes a frame `[y, x]` [G], NaN where blank; whole or not at all, and raises as `write_whole`."""
  counts = np.where(np.isfinite(field), np.round(field / STEP_GAUSS), BLANK).astype(np.int32)
  hdu = fits.CompImageHDU(counts, header, compression_type='RICE_1')
  # Only now: from the header that it is given astropy drops them.
  hdu.header['BSCALE'], hdu.header['BZERO'], hdu.header['BLANK'] = STEP_GAUSS, 0.0, BLANK
  write_whole(path, fits.HDUList([fits.PrimaryHDU(), hdu]).writeto)


# --- Tables -----------------------------------------------------------------------------------------------------


def truth_table(sites: list[Site], settings: DiskSettings) -> Table:
  """Returns a row for each region that emerges, by number."""
  emerging = [site for site in sites if site.emergence_hours is not None]
  hours = np.array([[site.emergence_hours, site.report_hours] for site in emerging]).reshape(-1, 2)
  emergence, report = ((settings.first_time + TimeDelta(3600 * column, format='sec')).utc for column in hours.T)
  table = Table()
  table['noaa'] = np.array([site.noaa for site in emerging], int)
  table['longitude'] = np.array([site.longitude for site in emerging]) * u.deg
  table['latitude'] = np.array([site.latitude for site in emerging]) * u.deg
  table['emergence_time'], table['first_report_time'] = _iso(emergence), _iso(report)
  table['emergence_mjd'], table['first_report_mjd'] = emergence.mjd, report.mjd
  table['flux_mx'] = np.array([site.region.flux for site in emerging], float)
  table['growth_hours'] = np.array([site.region.growth_hours for site in emerging], float) * u.h
  table['leading'] = np.array([site.region.leading for site in emerging], int)
  table.meta['about'] = 'What was planted in a simulation: no observation.'
  return table


def sightings_table(sites: list[Site], settings: DiskSettings, sun: Sun) -> Table:
  """Returns what daily reports tell: a row for each region and midnight (24:00 UTC), as `section` I or IA (no spots).

  A region is listed where it is in Carrington's frame at that time; not rounded, as NOAA's positions are.
  """
  start = settings.first_time.utc.mjd
  mjd = np.arange(math.floor(start) - REPORT_DAYS, math.ceil(start + settings.days) + REPORT_DAYS + 1)
  midnights = Time(mjd, format='mjd', scale='utc')
  l0, b0 = ephemeris.L0(midnights).to_value(u.deg), ephemeris.B0(midnights).to_value(u.deg)
  hours = 24 * (mjd - start)
  rows = []
  for site in sites:
    longitude = np.broadcast_to(site.longitude_at(hours), mjd.shape)
    is_old = site.emergence_hours is None
    area = np.zeros(len(mjd)) if is_old else np.round(site.flux_at(hours, sun) / MX_PER_MILLIONTH)
    listed = mu(wrap_degrees(longitude - l0), site.latitude, b0) > SEEN_MU
    listed &= hours > site.report_hours - 0.5  # The first one itself, whatever the last digit.
    for n in np.flatnonzero(listed):
      rows.append((site.noaa, str(midnights[n].isot), site.latitude, longitude[n], area[n], 'IA' if is_old else 'I'))
  rows.sort(key=lambda row: (row[1], row[0]))
  names = ('noaa', 'time', 'latitude', 'longitude', 'area', 'section')
  table = Table(rows=rows or None, names=names, dtype=(int, str, float, float, float, str))
  table['latitude'].unit = table['longitude'].unit = u.deg
  return table


def _iso(times: Time) -> list[str]:
  return [str(time) for time in times.isot]
