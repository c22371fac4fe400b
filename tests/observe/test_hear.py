"""Import of HEAR cubes: averages against numpy, times and angles against hand values and sunpy, every fault named."""

import gzip
import os
import pathlib
import shutil
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.time import Time

from hearjax.observe import cubes, hear, region_table
from hearjax.observe.hear import ImportSettings
from hearjax.survey.archive import read_survey
from hearjax.survey.intervals import CENTRE_HOURS
from hearjax.survey.survey import checksum

EMERGENCE = Time('2011-02-01T12:00:00', scale='utc')
CADENCE_S = 720.0  # 35 frames fill 410 min, so that test cubes stay small.
N_FRAMES = 35
SETTINGS = ImportSettings(size=8, intervals=(-2, -1, 0))


def cube_header(interval: int, **cards) -> fits.Header:
  """Returns the header of a cube whose frames are centred on the nominal centre of its interval."""
  first = EMERGENCE + (CENTRE_HOURS[interval] * 3600 - CADENCE_S * (N_FRAMES - 1) / 2) * u.s
  header = fits.Header({'BUNIT': 'Gauss', 'CDELT3': CADENCE_S, 'CUNIT3': 's', 'CRLT_OBS': -6.0})
  header['T_REC'] = first.tai.strftime('%Y.%m.%d_%H:%M:%S.%f') + '_TAI'
  for keyword, value in cards.items():
    keyword = keyword.replace('_OBS_', '-OBS')
    header.remove(keyword, ignore_missing=True) if value is None else header.set(keyword, value)
  return header


def write_cube(path: pathlib.Path, interval: int, frames: np.ndarray | None = None, **cards) -> np.ndarray:
  """Writes a cube of noise, `[35, 12, 12]` unless `frames` are given; returns its frames."""
  if frames is None:
    frames = np.random.default_rng(interval + 10).normal(0, 10, (N_FRAMES, 12, 12)).astype(np.float32)
  path.parent.mkdir(parents=True, exist_ok=True)
  fits.PrimaryHDU(frames, cube_header(interval, **cards)).writeto(path, overwrite=True)
  return frames


def region_rows(pairs: int = 2) -> Table:
  rows = []
  for pair in range(pairs):
    for kind in ('EAR', 'CR'):
      rows.append((f'{kind}{pair:04d}', f'{pair:03d}', kind, 20.0, 100.0, EMERGENCE.isot, 11158, 10.0))
  return Table(rows=rows, names=[*region_table.REGION_COLUMNS, 'cmd'])


@pytest.fixture
def survey_files(tmp_path) -> pathlib.Path:
  """Two pairs, three intervals: `cubes/` and `regions.csv`."""
  table = region_rows()
  for region in table['region_id']:
    for interval in SETTINGS.intervals:
      write_cube(tmp_path / 'cubes' / region / f'{region}_TI{interval:+03d}.fits', interval)
  table.write(tmp_path / 'regions.csv', format='ascii.csv')
  return tmp_path


def import_all(folder: pathlib.Path, settings: ImportSettings = SETTINGS, allow_missing: bool = False):
  regions = region_table.read_regions(folder / 'regions.csv')
  paths = region_table.cube_paths(
    folder / 'cubes', region_table.DEFAULT_PATTERN, regions, settings.intervals, allow_missing
  )
  return hear.import_survey(regions, paths, folder / 'out', settings)


def one_region(folder: pathlib.Path, frames: np.ndarray | None = None, settings: ImportSettings = SETTINGS, **cards):
  """Imports interval -1 of one region from one cube."""
  table = region_rows(1)
  table.write(folder / 'regions.csv', format='ascii.csv', overwrite=True)
  region = region_table.read_regions(folder / 'regions.csv')[1]
  write_cube(folder / 'cube.fits', -1, frames, **cards)
  return hear.import_region(region, {-1: folder / 'cube.fits'}, settings)


# --- What comes out ---------------------------------------------------------------------------------------------


def test_archive_holds_the_means_of_the_central_square(survey_files):
  survey, left_out = import_all(survey_files)
  assert left_out == []
  back = read_survey(survey_files / 'out')
  assert (back.source, back.pixel_scale_mm, len(back)) == ('hear', 1.39, 12)
  np.testing.assert_array_equal(back.field, survey.field)
  for row, (region, interval) in enumerate(zip(back.region_names(), back.interval, strict=True)):
    frames = fits.getdata(survey_files / 'cubes' / region / f'{region}_TI{interval:+03d}.fits')
    np.testing.assert_allclose(back.field[row], frames[:, 2:10, 2:10].astype(float).mean(0), rtol=1e-6)
  np.testing.assert_array_equal(back.label, [name.startswith('EAR') for name in back.region_names()])
  np.testing.assert_array_equal(back.n_frames, N_FRAMES)
  np.testing.assert_array_equal(back.noaa, 11158)


def test_hours_are_those_of_the_frames(survey_files):
  import_all(survey_files)
  survey = read_survey(survey_files / 'out')
  centres = np.array([CENTRE_HOURS[int(interval)] for interval in survey.interval])
  np.testing.assert_allclose(survey.hours, centres, atol=1e-4)
  np.testing.assert_allclose(survey.hours_end - survey.hours_start, N_FRAMES * CADENCE_S / 3600, rtol=1e-5)
  np.testing.assert_allclose(survey.mjd, EMERGENCE.mjd + centres / 24, atol=1e-6)


def test_until_emergence_drops_the_frames_after_it(survey_files):
  settings = ImportSettings(size=8, intervals=(-2, -1, 0, 1), until_emergence=True)
  for region in region_rows()['region_id']:
    write_cube(survey_files / 'cubes' / region / f'{region}_TI+01.fits', 1)
  survey, left_out = import_all(survey_files, settings)
  # Frames are 0.2 h apart. TI-01 runs from -6.33 to 0.47 h: midpoints at 0.07 and 0.27 … are after emergence.
  midpoints = -2.93 + 0.2 * (np.arange(N_FRAMES) - 17)
  row = np.flatnonzero((survey.region == 3) & (survey.interval == -1))[0]
  assert survey.n_frames[row] == np.sum(midpoints <= 0) == 32
  np.testing.assert_allclose(survey.hours_end[row], midpoints[31] + 0.1, atol=1e-5)
  np.testing.assert_allclose(survey.hours[row], (midpoints[0] + midpoints[31]) / 2, atol=1e-5)
  region = survey.region_names()[row]
  frames = fits.getdata(survey_files / 'cubes' / region / f'{region}_TI-01.fits')
  np.testing.assert_allclose(survey.field[row], frames[:32, 2:10, 2:10].astype(float).mean(0), rtol=1e-6)
  # TI+00 and TI+01 are centred after it; what TI+00 has before it, 4 frames about -0.8 h, is another thing.
  assert set(survey.interval.tolist()) == {-2, -1}
  assert left_out == []


def test_until_emergence_needs_an_interval_before_it():
  with pytest.raises(ValueError, match=r'intervals \[0, 1\] are centred after emergence'):
    ImportSettings(intervals=(0, 1), until_emergence=True)


@pytest.mark.parametrize(('good', 'is_kept'), [(1, False), (17, False), (18, True)])
def test_too_few_frames_are_no_mean_of_the_interval(tmp_path, good, is_kept):
  frames = np.random.default_rng(0).normal(0, 10, (N_FRAMES, 12, 12)).astype(np.float32)
  frames[good:] = np.nan
  # Half of 410 min are 17.1 frames, whether the others are empty or not there.
  assert (one_region(tmp_path, frames) is not None) == is_kept
  centred = {'T_REC': (EMERGENCE + (-2.93 - 0.1 * (good - 1)) * u.hour).isot}
  assert (one_region(tmp_path, frames[:good], **centred) is not None) == is_kept
  assert one_region(tmp_path, frames, ImportSettings(size=8, min_frames=0)).n_frames[0] == good


def test_missing_frames_and_pixels(tmp_path):
  frames = np.random.default_rng(0).normal(0, 10, (N_FRAMES, 12, 12)).astype(np.float32)
  frames[0], frames[3], frames[-1] = np.nan, 0.0, np.nan
  frames[:16, 5, 5] = np.nan  # Of the 32 frames that are left, 14 lack this pixel: enough are there,
  frames[:24, 6, 6] = np.inf  # and 22 this one: not enough.
  survey = one_region(tmp_path, frames.copy())
  observed = np.delete(frames, [0, 3, N_FRAMES - 1], axis=0)[:, 2:10, 2:10].astype(float)
  expected = np.nanmean(np.where(np.isfinite(observed), observed, np.nan), axis=0)
  expected[4, 4] = np.nan
  np.testing.assert_allclose(survey.field[0], expected, rtol=1e-5)
  assert survey.n_frames[0] == 32
  assert survey.missing[0] == pytest.approx(1 / 64)
  first, last = (-2.93 + 0.2 * (frame - 17) for frame in (1, N_FRAMES - 2))
  np.testing.assert_allclose([survey.hours_start[0], survey.hours_end[0]], [first - 0.1, last + 0.1], atol=1e-5)


def test_a_cube_with_nothing_in_it_is_left_out(tmp_path):
  assert one_region(tmp_path, np.full((N_FRAMES, 12, 12), np.nan, np.float32)) is None
  mostly = np.full((N_FRAMES, 12, 12), np.nan, np.float32)
  mostly[:, :6] = 1.0
  assert one_region(tmp_path, mostly) is None
  assert one_region(tmp_path, mostly, ImportSettings(size=8, max_missing=0.5)).missing[0] == 0.5


@pytest.mark.parametrize('n_frames', [1, cubes.BLOCK_FRAMES, cubes.BLOCK_FRAMES + 1, 3 * cubes.BLOCK_FRAMES])
def test_blocks_do_not_show(tmp_path, n_frames):
  frames = np.random.default_rng(n_frames).normal(0, 10, (n_frames, 11, 13)).astype(np.float32)
  settings = ImportSettings(size=5, cadence_s=45.0, min_frames=0)
  survey = one_region(tmp_path, frames, settings, T_REC=None, DATE_OBS_=(EMERGENCE - 2.93 * u.hour).isot)
  np.testing.assert_allclose(survey.field[0], frames[:, 3:8, 4:9].astype(float).mean(0), rtol=1e-5, atol=1e-6)


def test_compressed_scaled_and_gzipped_cubes(tmp_path):
  counts = np.random.default_rng(3).integers(-20000, 20000, (N_FRAMES, 12, 12)).astype(np.int16)
  counts[4, 7, 7] = -32768
  expected = np.where(counts == -32768, np.nan, counts * 0.1)[:, 2:10, 2:10]
  image = fits.ImageHDU(counts, cube_header(-1))
  image.header['BSCALE'], image.header['BLANK'] = 0.1, -32768
  tiled = fits.CompImageHDU(counts, cube_header(-1), compression_type='RICE_1')
  tiled.header['BSCALE'], tiled.header['BLANK'] = 0.1, -32768
  for name, hdu in (('plain.fits', image), ('tiled.fits', tiled), ('zipped.fits.gz', image)):
    # Written raw, so that BSCALE in the header meets the unscaled integers.
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / name)
    with cubes.open_cube(tmp_path / name) as opened:
      mean, used = cubes.average_frames(opened, np.ones(N_FRAMES, bool), 8, 0.5)
    assert used.all()
    np.testing.assert_allclose(mean, np.nanmean(expected, axis=0), rtol=1e-4, atol=1e-2, err_msg=name)


# --- Times ------------------------------------------------------------------------------------------------------


def test_time_keywords_and_their_scale(tmp_path):
  first = (EMERGENCE - (2.93 + 17 * 0.2) * u.hour).utc
  expected = one_region(tmp_path).hours[0]
  assert one_region(tmp_path, T_REC=None, DATE_OBS_=first.isot).hours[0] == pytest.approx(expected, abs=1e-5)
  assert one_region(tmp_path, T_REC=None, TSTART=first.tai.isot, TIMESYS='TAI').hours[0] == pytest.approx(
    expected, abs=1e-5
  )
  for unit in ('min', 'Minutes', 'MIN'):
    minutes = one_region(tmp_path, CDELT3=12.0, CUNIT3=unit)
    assert minutes.hours_end[0] == pytest.approx(-2.93 + 3.5, abs=1e-5)
  shorter = one_region(tmp_path, settings=ImportSettings(size=8, cadence_s=360.0))  # 3.5 of 6.8 h.
  assert shorter.hours_end[0] - shorter.hours_start[0] == pytest.approx(3.5, abs=1e-5)
  settings = ImportSettings(size=8, min_frames=0)
  plain = one_region(tmp_path, settings=settings, CDELT3=1.0, CUNIT3=None, T_REC=(EMERGENCE - 2.93 * u.hour).isot)
  assert plain.hours_end[0] - plain.hours_start[0] == pytest.approx(N_FRAMES * 45 / 3600, abs=1e-5)


def test_times_as_people_write_them(tmp_path):
  first = (EMERGENCE - (2.93 + 17 * 0.2) * u.hour).utc
  expected = pytest.approx(one_region(tmp_path).hours[0], abs=1e-4)
  day, clock = first.isot.split('T')
  apart = {'DATE_OBS_': day.replace('-', '/'), 'TIME-OBS': clock}
  assert one_region(tmp_path, T_REC=None, **apart).hours[0] == expected
  missing = '-4712.01.01_11:59:28_TAI'
  assert one_region(tmp_path, T_REC=missing, DATE_OBS_=first.isot).hours[0] == expected


def test_the_field_of_a_file_with_other_images(tmp_path):
  frames = write_cube(tmp_path / 'cube.fits', -1)
  header = fits.getheader(tmp_path / 'cube.fits')
  error = fits.ImageHDU(np.full_like(frames, 3.0), header, name='ERROR')
  field = fits.ImageHDU(frames, fits.Header({'BUNIT': 'Gauss'}))  # The rest stands in the primary header.
  fits.HDUList([fits.PrimaryHDU(header=header), error, field]).writeto(tmp_path / 'several.fits')
  region_rows(1).write(tmp_path / 'regions.csv', format='ascii.csv')
  region = region_table.read_regions(tmp_path / 'regions.csv')[1]
  survey = hear.import_region(region, {-1: tmp_path / 'several.fits'}, SETTINGS)
  np.testing.assert_allclose(survey.field[0], frames[:, 2:10, 2:10].mean(0), atol=1e-4)
  assert survey.hours[0] == pytest.approx(-2.93, abs=1e-4)


def test_a_cube_may_lie_up_to_half_the_spacing_off(tmp_path):
  # Half of 320 min is 2.67 h.
  first = EMERGENCE - (2.93 + 17 * 0.2) * u.hour
  for offset in (-2.6, 2.6):
    survey = one_region(tmp_path, T_REC=(first + offset * u.hour).isot)
    assert survey.hours[0] == pytest.approx(-2.93 + offset, abs=1e-5)


@pytest.mark.parametrize('offset', [-5.33, -3.4, 3.4, 5.33])
def test_a_cube_of_another_interval_or_timed_at_its_middle(tmp_path, offset):
  """3.4 h is from the first to the middle frame, 5.33 h from one interval to the next."""
  first = EMERGENCE - (2.93 + 17 * 0.2) * u.hour
  sentence = rf'cube.fits lies \{offset - 2.93:+.1f} h from .* should lie near -2.9 h; .* the middle of the cube rather'
  with pytest.raises(ValueError, match=sentence):
    one_region(tmp_path, T_REC=(first + offset * u.hour).isot)


def test_without_a_time_the_nominal_interval_serves(tmp_path):
  with pytest.warns(UserWarning, match='nominal centres'):
    survey = one_region(tmp_path, T_REC=None)
  assert survey.hours[0] == pytest.approx(-2.93, abs=1e-5)
  assert survey.hours_start[0] == pytest.approx(-2.93 - 3.5, abs=1e-5)


def test_one_fault_of_all_cubes_is_told_once(survey_files):
  for path in (survey_files / 'cubes').rglob('*.fits'):
    fits.delval(path, 'T_REC')
    fits.delval(path, 'CRLT_OBS')
    fits.delval(path, 'BUNIT')
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    import_all(survey_files)
  assert sorted(str(warning.message).split()[0] for warning in caught) == ['B0', 'Some', 'Some']


# --- Angles and the grid ----------------------------------------------------------------------------------------


def test_central_meridian_distance_grows_at_the_synodic_rate(tmp_path):
  survey = one_region(tmp_path)
  assert survey.cmd[0] == pytest.approx(10.0 - 13.1988 * 2.93 / 24, abs=1e-4)
  cmd, latitude, b0 = np.deg2rad([survey.cmd[0], 20.0, -6.0])
  # Independent of the formula: the scalar product of the unit vectors to the region and to the observer.
  region = np.array([np.cos(latitude) * np.cos(cmd), np.cos(latitude) * np.sin(cmd), np.sin(latitude)])
  assert survey.mu[0] == pytest.approx(region @ [np.cos(b0), 0, np.sin(b0)], abs=1e-6)


def test_angles_of_the_header_come_first(tmp_path):
  survey = one_region(tmp_path, LONCM=-31.5, MEANMU=0.75, QUALITY=0x80000000)
  assert (survey.cmd[0], survey.mu[0]) == (-31.5, 0.75)
  assert int(survey.quality[0]) & 0xFFFFFFFF == 0x80000000


@pytest.mark.parametrize('quality', ['0x00000400', '1024', 1024, 1024.0, '00000400'])
def test_quality_may_be_hexadecimal_text(tmp_path, quality):
  assert one_region(tmp_path, QUALITY=quality).quality[0] == 1024


def test_without_b0_mu_is_computed_for_zero(tmp_path):
  with pytest.warns(UserWarning, match='B0 is not known'):
    survey = one_region(tmp_path, CRLT_OBS=None)
  assert survey.mu[0] == pytest.approx(np.cos(np.deg2rad(20)) * np.cos(np.deg2rad(survey.cmd[0])), abs=1e-6)


def test_ephemeris_where_nobody_tells(tmp_path):
  sun = pytest.importorskip('sunpy.coordinates.sun')
  table = region_rows(1)
  table.remove_column('cmd')
  table.write(tmp_path / 'regions.csv', format='ascii.csv')
  region = region_table.read_regions(tmp_path / 'regions.csv')[0]
  write_cube(tmp_path / 'cube.fits', -1, CRLT_OBS=None)
  survey = hear.import_region(region, {-1: tmp_path / 'cube.fits'}, SETTINGS)
  time = EMERGENCE - 2.93 * u.hour
  longitude = sun.L0(time).to_value('deg') + survey.cmd[0]
  assert (longitude - 100.0 + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
  assert -180 <= survey.cmd[0] < 180
  assert sun.B0(time).to_value('deg') == pytest.approx(-6.0, abs=0.3)


@pytest.mark.parametrize(
  ('cards', 'expected'),
  [
    ({'CDELT1': 0.12, 'CDELT2': 0.12, 'CUNIT1': 'deg'}, 0.12 * np.pi / 180 * 695.7),
    ({'CDELT1': 0.12, 'CUNIT1': 'degree'}, 0.12 * np.pi / 180 * 695.7),
    ({'CDELT1': 1.5, 'CUNIT1': 'Mm'}, 1.5),
    ({'CD1_1': 0.12, 'CD2_2': 0.12, 'CUNIT1': 'Degrees', 'CROTA': 0.0}, 0.12 * np.pi / 180 * 695.7),
    ({'CDELT1': 1500.0, 'CUNIT1': 'km'}, 1.5),
    ({}, 1.39),
  ],
)
def test_pixel_scale(tmp_path, cards, expected):
  assert one_region(tmp_path, **cards).pixel_scale_mm == pytest.approx(expected)


def test_pixel_scale_of_the_settings(tmp_path):
  settings = ImportSettings(size=8, pixel_scale_mm=1.4)
  assert one_region(tmp_path, settings=settings).pixel_scale_mm == 1.4
  with pytest.raises(ValueError, match=r'cube.fits has 1.5 Mm per pixel, not 1.4; all maps must share one grid'):
    one_region(tmp_path, settings=settings, CDELT1=1.5, CUNIT1='Mm')


# --- Interruption and resumption --------------------------------------------------------------------------------


def test_interrupted_import_goes_on(survey_files, monkeypatch):
  calls = []
  average = cubes.average_frames

  def until_the_fourth_region(cube, *rest):
    calls.append(cube.cards.path.name)
    if len(calls) == 10:
      raise KeyboardInterrupt
    return average(cube, *rest)

  monkeypatch.setattr(cubes, 'average_frames', until_the_fourth_region)
  with pytest.raises(KeyboardInterrupt):
    import_all(survey_files)
  out = survey_files / 'out'
  assert sorted(path.name for path in out.rglob('*.*')) == ['CR0000.fits', 'EAR0000.fits']
  calls[:] = ['resumed'] * 20
  resumed, _ = import_all(survey_files)
  assert all('0001' in name for name in calls[20:])
  assert len(calls) == 20 + 6
  index = (out / 'survey.ecsv').read_bytes()
  shutil.rmtree(out)
  import_all(survey_files)
  uninterrupted = read_survey(out)
  assert len(uninterrupted) == 12
  assert checksum(uninterrupted) == checksum(resumed)
  np.testing.assert_array_equal(uninterrupted.mjd, resumed.mjd)
  assert (out / 'survey.ecsv').read_bytes() == index


def _other_table(folder):
  path = folder / 'regions.csv'
  path.write_text(path.read_text().replace('T12:00', 'T12:12'))


def _other_cubes(folder):
  (folder / 'cubes' / 'EAR0000' / 'EAR0000_TI-02.fits').unlink()


def _replaced_cube(folder):
  """Another cube of the same name and size, written a second later."""
  path = folder / 'cubes' / 'CR0000' / 'CR0000_TI-01.fits'
  written = path.stat().st_mtime_ns
  write_cube(path, -1, np.ones((N_FRAMES, 12, 12), np.float32))
  os.utime(path, ns=(written, written + 10**9))


def _cubes_of_another_folder(folder):
  """Cubes of the same names, sizes and times."""
  shutil.move(folder / 'cubes', folder / 'others')
  (folder / 'cubes').symlink_to(folder / 'others')


CHANGES = {
  'settings': lambda folder: None,
  'table': _other_table,
  'cubes': _other_cubes,
  'replaced cube': _replaced_cube,
  'folder': _cubes_of_another_folder,
}


@pytest.mark.parametrize('change', CHANGES)
def test_imports_are_not_mixed(survey_files, change):
  import_all(survey_files)
  (survey_files / 'out' / 'survey.ecsv').unlink()
  settings = ImportSettings(size=6, intervals=SETTINGS.intervals) if change == 'settings' else SETTINGS
  CHANGES[change](survey_files)
  with pytest.raises(ValueError, match=r'0000.fits was imported with other settings, cubes or entries'):
    import_all(survey_files, settings, allow_missing=True)


def test_import_resumes_however_the_folder_is_written(survey_files, monkeypatch):
  survey, _ = import_all(survey_files)
  (survey_files / 'out' / 'survey.ecsv').unlink()
  monkeypatch.chdir(survey_files)
  monkeypatch.setattr(cubes, 'average_frames', None)
  resumed, _ = import_all(pathlib.Path('.'))
  assert checksum(resumed) == checksum(survey)


def test_damaged_region_file_is_not_resumed_from(survey_files):
  import_all(survey_files)
  (survey_files / 'out' / 'survey.ecsv').unlink()
  path = survey_files / 'out' / 'regions' / 'EAR0000.fits'
  path.write_bytes(path.read_bytes()[:7000])
  with pytest.raises(ValueError, match=r'EAR0000.fits is truncated or damaged'):
    import_all(survey_files)


def test_archive_that_exists_and_folder_that_cannot_be_written(survey_files):
  (survey_files / 'out').write_text('a file')
  with pytest.raises(OSError, match=r'Cannot write .*out/regions/CR0000.fits: Not a directory'):
    import_all(survey_files)
  (survey_files / 'out').unlink()
  import_all(survey_files)
  with pytest.raises(FileExistsError, match='already holds a survey archive'):
    import_all(survey_files)


# --- Missing and damaged cubes ----------------------------------------------------------------------------------


def test_missing_cubes(survey_files):
  for name in ('EAR0000_TI-02', 'CR0001_TI-02', 'CR0001_TI-01', 'CR0001_TI+00'):
    (survey_files / 'cubes' / name[:-6] / f'{name}.fits').unlink()
  with pytest.raises(FileNotFoundError, match=r'4 of 12 cubes are not there, the first is .*EAR0000_TI-02.fits'):
    import_all(survey_files)
  survey, left_out = import_all(survey_files, allow_missing=True)
  assert left_out[0].startswith('EAR0000: TI-02 left out')
  assert left_out[1].startswith('CR0001: TI-02, TI-01, TI+00 left out')
  assert left_out[2] == 'pair 001 left out whole, as one half has nothing left'
  assert survey.pair_ids == ('000',)
  assert len(read_survey(survey_files / 'out')) == 5
  assert sorted(path.name for path in (survey_files / 'out').rglob('*.fits')) == ['CR0000.fits', 'EAR0000.fits']


def test_no_cube_at_all(survey_files):
  for path in (survey_files / 'cubes').rglob('*.fits'):
    path.unlink()
  with pytest.raises(FileNotFoundError, match='12 of 12 cubes are not there'):
    import_all(survey_files, allow_missing=True)
  with pytest.raises(FileNotFoundError, match='There is no folder'):
    region_table.cube_paths(survey_files / 'none', '{region_id}', [], [], False)


@pytest.mark.parametrize('suffix', ['.fits', '.fits.gz'])
@pytest.mark.parametrize('kept', [0.01, 0.5, 0.9])
def test_truncated_cube(tmp_path, kept, suffix):
  path = tmp_path / f'cube{suffix}'
  frames = np.random.default_rng(0).normal(0, 10, (N_FRAMES, 40, 40)).astype(np.float32)
  write_cube(tmp_path / 'whole.fits', -1, frames)
  content = (tmp_path / 'whole.fits').read_bytes()
  content = gzip.compress(content) if suffix == '.fits.gz' else content
  path.write_bytes(content[: int(kept * len(content))])
  # Centred squares of 8 px end before the last rows do, and frames may be left out: still the file must be whole.
  with pytest.raises(ValueError, match=r'is truncated or damaged'), cubes.open_cube(path) as hdu:
    cubes.average_frames(path, hdu, np.ones(N_FRAMES, bool), 8, 0.5)


@pytest.mark.parametrize(
  ('cards', 'sentence'),
  [
    ({'BUNIT': 'm/s'}, r"cube.fits has BUNIT 'm/s'; a line-of-sight field in Gauss is needed"),
    ({'T_REC': 'yesterday'}, r"cube.fits, keyword T_REC: 'yesterday' is not a time"),
    ({'T_REC': '2011.02.30_00:00:00_TAI'}, r'cube.fits, keyword T_REC'),
    ({'T_REC': '2011.02.03_00:00:00_TAI'}, r'cube.fits lies \+39.4 h from the emergence time of EAR0000'),
    ({'QUALITY': 'good'}, r"cube.fits has QUALITY 'good'; a whole number is needed"),
    ({'CUNIT3': 'deg'}, r'cube.fits has CDELT3 = 720 deg, which is no time between frames'),
    ({'CDELT3': -45.0}, r'the time between frames must be positive'),
    ({'CDELT1': 0.5, 'CUNIT1': 'arcsec'}, r"CUNIT1 'arcsec': that is no map projected onto the Sun"),
    ({'CDELT1': 0.5, 'CUNIT1': 'furlongs'}, r"CUNIT1 'furlongs'; deg or Mm is needed"),
    ({'CDELT1': -0.1, 'CUNIT1': 'deg'}, r'square pixels with north up and west to the right are needed'),
    ({'CDELT1': 0.1, 'CDELT2': 0.2, 'CUNIT1': 'deg'}, r'square pixels with north up'),
    ({'CDELT1': 0.1, 'CROTA2': 180.0, 'CUNIT1': 'deg'}, r'turned by 180 deg'),
    ({'CROTA': 5.0}, r'turned by 5 deg; maps with north up are needed'),
    ({'CROTA1': 'up'}, r"CROTA1 = 'up'; a number is needed"),
    ({'CUNIT1': 'deg', 'CD1_1': 0.0, 'CD1_2': -0.1, 'CD2_1': 0.1, 'CD2_2': 0.0}, r'turned by 90 deg'),
    ({'CDELT1': 0.1}, r'has CDELT1 but no CUNIT1; add the unit, or give the side of a pixel in Mm'),
    ({'MU': 5.0}, r'MU = 5; the cosine of an angle'),
    ({'CMD': 400.0}, r'gives a central-meridian distance of 400 deg'),
    ({'CRLT_OBS': 95.0}, r'gives a B0 of 95 deg'),
    ({'PC1_1': 0.5, 'PC2_1': 0.5}, r'turned by 45 deg'),
    ({'CMD': 10.0, 'LONCM': 20.0}, r'CMD is 10 and LONCM is 20'),
    ({'CDELT1': 0.1, 'CUNIT1': 'deg', 'CUNIT2': 'arcmin'}, r'one unit for both axes'),
    ({'CRLT_OBS': 'south'}, r"CRLT_OBS = 'south'; a number is needed"),
    ({'T_REC': None, 'DATE_OBS_': '2011-02-01'}, r'keyword DATE-OBS: .* a day without a time of day'),
  ],
)
def test_header_that_is_not_as_it_should_be(tmp_path, cards, sentence):
  with pytest.raises(ValueError, match=sentence):
    one_region(tmp_path, **cards)


@pytest.mark.parametrize(
  ('shape', 'sentence'),
  [
    ((12, 12), r'must hold an image with the axes \[frame, y, x\], got shape \(12, 12\)'),
    ((2, 2, 12, 12), r'got shape \(2, 2, 12, 12\)'),
    ((3, 6, 12), r'is 6 px wide: a centred square of 8 px does not fit; choose a size that is no larger, and even'),
    ((3, 13, 13), r'is 13 px wide: .* and odd as the cube is'),
  ],
)
def test_shape_that_is_not_as_it_should_be(tmp_path, shape, sentence):
  with pytest.raises(ValueError, match=sentence):
    one_region(tmp_path, np.ones(shape, np.float32), T_REC=(EMERGENCE - 2.93 * u.hour).isot)


def test_file_without_an_image(tmp_path):
  fits.PrimaryHDU().writeto(tmp_path / 'empty.fits')
  with (
    pytest.raises(ValueError, match=r'must hold one image of a field; of its 0 images'),
    cubes.open_cube(tmp_path / 'empty.fits'),
  ):
    pass


def test_regions_on_two_grids(survey_files):
  for path in (survey_files / 'cubes' / 'EAR0001').glob('*.fits'):
    fits.setval(path, 'CDELT1', value=1.5)
    fits.setval(path, 'CUNIT1', value='Mm')
  with pytest.raises(ValueError, match=r'EAR0001 has 1.5 Mm per pixel, not 1.39; all maps must share one grid'):
    import_all(survey_files)


# --- The region table and the pattern ---------------------------------------------------------------------------


def _drop(name):
  return lambda t: t.remove_column(name)


def _set(name, value, row=0):
  def edit(table):
    values = table[name].tolist()
    values[row] = value
    table[name] = values

  return edit


TABLE_FAULTS = {
  'missing columns': (_drop('noaa'), 'lacks the columns noaa; it needs region_id'),
  'no rows': (lambda t: t.remove_rows(slice(None)), 'has no rows'),
  'unknown kind': (_set('kind', 'QS'), "row 1: kind is 'QS'; it must be EAR or CR"),
  'label against kind': (lambda t: t.add_column([1, 1, 1, 0], name='label'), 'row 2: label 1 contradicts kind CR'),
  'label in words': (lambda t: t.add_column([True, False, True, True], name='label'), 'row 4: label True contradicts'),
  'duplicate': (_set('region_id', 'EAR0001'), 'has the region EAR0001 twice'),
  'noaa beyond': (_set('noaa', 3000000000), 'noaa is 3000000000; a whole number'),
  'half a pair': (lambda t: t.remove_row(1), r'pair 000 must be one EAR and one CR; it holds EAR0000 \(EAR\)'),
  'latitude': (_set('latitude', 120.0), 'row 1: latitude is 120 deg; it must lie between -90 and 90'),
  'not an angle': (_set('longitude', 'west'), 'row 1: longitude is west, which is no angle in degrees'),
  'time': (_set('emergence_time', '1 Feb 2011', 2), "row 3: '1 Feb 2011' is not a time"),
  'noaa': (_set('noaa', 'AR11158'), 'row 1: noaa is AR11158; a whole number is needed'),
  'region_id': (_set('region_id', '../x'), r"row 1: The region_id '../x' cannot name a file"),
  'unit': (lambda t: setattr(t['latitude'], 'unit', u.G), 'row 1: latitude is .* no angle'),
}


@pytest.mark.parametrize('fault', TABLE_FAULTS)
def test_fault_in_the_region_table_is_named(tmp_path, fault):
  edit, sentence = TABLE_FAULTS[fault]
  table = region_rows()
  edit(table)
  table.write(tmp_path / 'regions.ecsv', format='ascii.ecsv')
  with pytest.raises(ValueError, match=sentence):
    region_table.read_regions(tmp_path / 'regions.ecsv')


def test_region_table_that_is_none(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'There is no region table'):
    region_table.read_regions(tmp_path / 'none.csv')
  (tmp_path / 'bad.ecsv').write_text('not a table')
  with pytest.raises(ValueError, match=r'bad.ecsv lacks the columns region_id'):
    region_table.read_regions(tmp_path / 'bad.ecsv')
  for content, sentence in ((b'', 'is empty'), (b'PK\x03\x04', 'a file of a spreadsheet; save the table as CSV')):
    (tmp_path / 'bad.csv').write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
      region_table.read_regions(tmp_path / 'bad.csv')
  region_rows().write(tmp_path / 'good.csv', format='ascii.csv')
  (tmp_path / 'bad.csv').write_text((tmp_path / 'good.csv').read_text().replace('cmd', 'latitude'))
  with pytest.raises(ValueError, match="has the column 'latitude' twice"):
    region_table.read_regions(tmp_path / 'bad.csv')
  (tmp_path / 'bad.csv').write_bytes('region_id;pair_id\nä;1'.encode('latin-1'))
  with pytest.raises(ValueError, match=r"bad.csv cannot be read as a region table \('utf-8' codec"):
    region_table.read_regions(tmp_path / 'bad.csv')


@pytest.mark.parametrize('column', ['region_id', 'pair_id', 'kind', 'latitude', 'longitude', 'emergence_time'])
@pytest.mark.parametrize('suffix', ['csv', 'ecsv'])
def test_an_empty_cell_is_not_zero(tmp_path, column, suffix):
  table = Table(region_rows(), masked=True)
  table[column].mask[2] = True
  table.write(tmp_path / f'regions.{suffix}', format=f'ascii.{suffix}')
  with pytest.raises(ValueError, match=f'row 3: {column} is empty; fill in the cell'):
    region_table.read_regions(tmp_path / f'regions.{suffix}')


@pytest.mark.parametrize('nothing', ['', 'nan', 'None', '--'])
def test_cells_that_may_be_empty(tmp_path, nothing):
  rows = '\n'.join(
    f'{kind},1,{kind},20,100,2011-02-01T12:00:00,{noaa},{cmd}'
    for kind, noaa, cmd in (('EAR', 11158, nothing), ('CR', nothing, 12.5))
  )
  (tmp_path / 'regions.csv').write_text(f'{",".join(region_table.REGION_COLUMNS)},cmd\n{rows}\n')
  control, emerging = region_table.read_regions(tmp_path / 'regions.csv')
  assert (control.noaa, control.cmd) == (0, 12.5)
  assert (emerging.noaa, emerging.cmd) == (11158, None)
  paths = region_table.cube_paths  # The NOAA number is a number in the pattern, too.
  with pytest.raises(FileNotFoundError, match='11158_'):
    paths(tmp_path, '{noaa:d}_{interval}.fits', [emerging], [-1], False)
  with pytest.raises(ValueError, match='the cell cmd of region EAR is empty'):
    paths(tmp_path, '{cmd}_{interval}.fits', [emerging], [-1], False)


@pytest.mark.parametrize('saved', ['utf-8-sig', 'utf-16', 'semicolons', 'tabs', 'ecsv as csv'])
def test_a_table_as_a_spreadsheet_saves_it(tmp_path, saved):
  region_rows().write(tmp_path / 'plain.csv', format='ascii.csv')
  region_rows().write(tmp_path / 'plain.ecsv', format='ascii.ecsv')
  text = (tmp_path / ('plain.ecsv' if saved == 'ecsv as csv' else 'plain.csv')).read_text()
  text = text.replace(',', {'semicolons': ';', 'tabs': '\t'}.get(saved, ','))
  encoding = saved if saved.startswith('utf') else 'utf-8-sig'
  text += '' if saved == 'ecsv as csv' else ',,,,,,,\n'  # Rows of empty cells at the end.
  text = f'sep=;\n{text}' if saved == 'semicolons' else text
  (tmp_path / 'regions.csv').write_bytes(text.replace('\n', '\r\n').encode(encoding))
  plain, saved_regions = (region_table.read_regions(tmp_path / name) for name in ('plain.csv', 'regions.csv'))
  assert [(r.region_id, r.latitude, r.noaa, r.cmd) for r in saved_regions] == [
    (r.region_id, r.latitude, r.noaa, r.cmd) for r in plain
  ]


def test_units_and_times_of_an_ecsv_table(tmp_path):
  table = QTable(region_rows())
  table['latitude'] = np.deg2rad(table['latitude']) * u.rad
  table['emergence_time'] = Time(table['emergence_time'], scale='utc').tai
  table['region_id'] = ['0011', '0012', '0013', '0014']
  table.write(tmp_path / 'regions.ecsv', format='ascii.ecsv')
  table['latitude'] = table['latitude'].to_value('deg')
  table['emergence_time'] = table['emergence_time'].utc.isot
  table.write(tmp_path / 'regions.csv', format='ascii.csv')
  for name in ('regions.ecsv', 'regions.csv'):
    regions = region_table.read_regions(tmp_path / name)
    assert [region.region_id for region in regions] == ['0012', '0011', '0014', '0013']
    assert regions[0].latitude == pytest.approx(20.0)
    assert abs((regions[0].emergence - EMERGENCE).to_value('s')) < 1e-3


@pytest.mark.parametrize(
  ('pattern', 'sentence'),
  [
    ('{harp}.fits', r"cannot be filled: it has no field 'harp'; there are region_id, pair_id"),
    ('{region_id}.fits', r'CR0000.fits more than once; it must hold the region and the interval'),
    ('{interval}.fits', r'more than once; it must hold the region and the interval'),
    ('{region_id:03d}_{interval}.fits', r'cannot be filled: Unknown format code'),
    ('{region_id', r'cannot be filled'),
    ('{}_{interval}', r"it has no field ''"),
  ],
)
def test_pattern_that_does_not_fit(survey_files, pattern, sentence):
  regions = region_table.read_regions(survey_files / 'regions.csv')
  with pytest.raises(ValueError, match=sentence):
    region_table.cube_paths(survey_files / 'cubes', pattern, regions, (-1, 0), False)


def test_pattern_may_use_any_column(survey_files):
  regions = region_table.read_regions(survey_files / 'regions.csv')
  (survey_files / 'flat').mkdir()
  for region in regions:
    (survey_files / 'flat' / f'{region.kind}-{region.pair_id}-11158.TI-01.fits').touch()
  pattern = '{kind}-{pair_id}-{noaa:05d}.TI{interval:+03d}.fits'
  paths = region_table.cube_paths(survey_files / 'flat', pattern, regions, (-1,), False)
  assert paths['CR0001'] == {-1: survey_files / 'flat' / 'CR-001-11158.TI-01.fits'}


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'size': 0}, 'size must be at least 1 px, got 0'),
    ({'cadence_s': 0.0}, r'cadence_s must be positive, got 0.0'),
    ({'pixel_scale_mm': float('nan')}, 'pixel_scale_mm must be positive, got nan'),
    ({'min_valid': 1.5}, r'min_valid is a fraction from 0 to 1, got 1.5'),
    ({'max_missing': -0.1}, r'max_missing is a fraction from 0 to 1, got -0.1'),
    ({'intervals': (2,)}, 'from -5 to 1'),
  ],
)
def test_settings_that_make_no_sense(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    ImportSettings(**settings)
