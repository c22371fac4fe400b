"""Patch tables, the training domain, and the script that scores real files with a stand-in network."""

import json
import pathlib
import types

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet
from scipy.special import expit

from hearjax.forecast.domain import outside_domain, training_domain
from hearjax.forecast.patches import COLUMNS, score_patches
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.observe.postel import Patch, carrington_pixels, postel_patch, postel_wcs
from hearjax.report.score_plots import plot_scores
from tests.scripts import in_process

DATA = pathlib.Path(__file__).parent / 'data'
SHARP = DATA / 'hmi.sharp_cea_720s.377.20110215_020000_TAI.magnetogram.fits'
SMALL_SHARP = DATA / 'hmi.sharp_cea_720s.13845.20250930_150000_TAI.magnetogram.fits'
CUTOUT = DATA / 'hmi.M_45s.20110214_203515_TAI.cutout_ar11158.fits'
CONTINUUM = DATA / 'resampled_hmi.fits'
CENTRE = (34.9, -20.5)  # AR 11158, Carrington longitude and latitude [deg].
DOMAIN = {
  'unsigned_flux_mx': [1e20, 4e21],
  'peak_gauss': [50.0, 900.0],
  'min_mu': 0.42,
  'max_missing': 0.2,
  'source': 'simulated',
  'pixel_scale_mm': 1.39,
  'size': 48,
  'n_frames': 547,
}


def make_patch(field: np.ndarray, **changes) -> Patch:
  known = {'longitude': 10.0, 'latitude': -5.0, 'cmd': 3.0, 'mu': 0.9, 'missing': 0.0, 'quality': 0}
  return Patch(np.asarray(field, np.float32), **(known | changes), time='2011-02-14T00:00:00.000', pixel_scale_mm=1.0)


def small_domain(**changes) -> dict:
  return DOMAIN | {'size': 4, 'pixel_scale_mm': 1.0, 'peak_gauss': [0.0, 900.0]} | changes


# --- Training domain --------------------------------------------------------------------------------------------


def test_training_domain_by_hand(tiny_survey):
  domain = training_domain(tiny_survey)
  # 1 G over 1.39 Mm squared is 1.39^2 1e16 Mx.
  flux = np.abs(tiny_survey.field).sum(axis=(1, 2), dtype=np.float64) * 1.39**2 * 1e16
  assert domain['unsigned_flux_mx'] == pytest.approx(np.percentile(flux, [1, 99]), rel=1e-4)
  assert domain['peak_gauss'] == pytest.approx(np.percentile(np.abs(tiny_survey.field).max((1, 2)), [1, 99]), rel=1e-4)
  assert domain['min_mu'] == pytest.approx(tiny_survey.mu.min())
  assert (domain['max_missing'], domain['source'], domain['size'], domain['n_frames']) == (0.0, 'test', 32, 547)
  assert json.loads(json.dumps(domain)) == domain


def test_missing_pixels_carry_no_flux(tiny_survey):
  field = np.array(tiny_survey.field)
  field[:, :, 16:] = np.nan
  field[0, :8] = np.nan
  half = training_domain(tiny_survey.replace(field=field))
  # Of the field given, which may be part of the map that survey.missing is about.
  assert half['max_missing'] == 0.5 + 0.25 / 2
  flux = np.nan_to_num(np.abs(field)).sum(axis=(1, 2), dtype=np.float64) * 1.39**2 * 1e16
  assert half['unsigned_flux_mx'] == pytest.approx(np.percentile(flux, [1, 99]), rel=1e-4)


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({}, ''),
    ({'unsigned_flux': 3.1e22}, 'flux 3.1e+22 Mx above 4e+21'),
    ({'unsigned_flux': 9e19}, 'flux 9e+19 Mx below 1e+20'),
    ({'peak_field': 2001.0}, 'peak 2001 G above 900'),
    ({'mu': 0.35}, 'mu 0.35 below 0.42'),
    ({'missing': 0.5}, 'missing 50.0% above 20.0%'),
    ({'unsigned_flux': 3.1e22, 'mu': 0.35}, 'flux 3.1e+22 Mx above 4e+21; mu 0.35 below 0.42'),
    ({'unsigned_flux': 4e21, 'peak_field': 50.0, 'mu': 0.42, 'missing': 0.2}, ''),
  ],
)
def test_outside_domain_names_what_is_outside(changes, said):
  row = {'unsigned_flux': 1e21, 'peak_field': 500.0, 'mu': 0.9, 'missing': 0.0} | changes
  assert outside_domain(DOMAIN, row) == said


# --- Table ------------------------------------------------------------------------------------------------------


def test_score_patches_by_hand():
  first, second = np.full((4, 4), 25.0), np.full((4, 4), -50.0)
  second[0, 0] = np.nan
  patches = [make_patch(first, file='a'), make_patch(second, file='b', missing=1 / 16, quality=66560, notes='said so')]
  logits = np.array([[0.0, 4.0], [2.0, -4.0]])
  given = []
  table = score_patches(lambda field: (given.append(field), logits)[1], patches, small_domain())
  assert tuple(table.colnames) == COLUMNS
  assert given[0].shape == (2, 4, 4) and np.isnan(given[0][1, 0, 0])
  sigmoid = lambda value: 1 / (1 + np.exp(-value))  # noqa: E731
  np.testing.assert_allclose(table['probability'], [sigmoid(1.0), 0.5])
  # Two members: half the difference of their probabilities.
  np.testing.assert_allclose(table['probability_std'], [(sigmoid(2) - 0.5) / 2, (sigmoid(4) - sigmoid(-4)) / 2])
  np.testing.assert_allclose(table['unsigned_flux'].quantity.to_value(u.Mx), [16 * 25e16, 15 * 50e16], rtol=1e-6)
  np.testing.assert_allclose(table['peak_field'].quantity.to_value(u.G), [25, 50])
  assert list(table['note']) == ['', 'QUALITY 0x00010400; said so']
  assert list(table['outside']) == ['flux 4e+18 Mx below 1e+20', 'flux 7.5e+18 Mx below 1e+20']
  assert [table[name].unit for name in ('longitude', 'latitude', 'cmd')] == [u.deg] * 3


def test_score_patches_wants_the_grid_of_the_training():
  with pytest.raises(ValueError, match='no patch to score'):
    score_patches(np.zeros, [], DOMAIN)
  with pytest.raises(ValueError, match='map the patch to that grid'):
    score_patches(np.zeros, [make_patch(np.zeros((5, 5)))], small_domain())
  with pytest.raises(ValueError, match='map the patch to that grid'):
    score_patches(np.zeros, [make_patch(np.zeros((4, 4)))], small_domain(pixel_scale_mm=2.0))


# --- Picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', [SHARP, CUTOUT], ids=['CEA', 'TAN'])
def test_picture_draws_every_patch_where_it_is(path):
  magnetogram = read_magnetogram(path)
  patches = [postel_patch(magnetogram, longitude, CENTRE[1], 48) for longitude in (CENTRE[0], CENTRE[0] + 3)]
  table = score_patches(lambda field: np.array([[1.0, -1.0]]), patches, DOMAIN | {'unsigned_flux_mx': [0, 1e30]})
  table['outside'] = ['', 'flux']
  figure = plot_scores(magnetogram, table, DOMAIN, path.name, step_mm=10)
  axes = figure.axes[0]
  (outlines,) = (item for item in axes.collections if isinstance(item, LineCollection) and len(item.get_paths()) == 2)
  # The lower probability is drawn first.
  for outline, longitude in zip(outlines.get_paths(), (CENTRE[0] + 3, CENTRE[0]), strict=True):
    corner = postel_wcs(magnetogram, longitude, CENTRE[1], (48, 48), 1.39).wcs_pix2world([[-0.5, -0.5]], 0)[0]
    np.testing.assert_allclose(outline.vertices[0], carrington_pixels(magnetogram, *corner), atol=1e-6)
  assert outlines.get_linestyle()[1] == (0, None) and outlines.get_linestyle()[0][1] is not None
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ['within the training domain (1)', 'outside the training domain (1)']
  assert 'no forecast' in axes.get_title(loc='left')
  assert 'single frame; trained on means of 547 frames' in axes.get_title(loc='left')
  # Solar north is up and west to the right on the screen, whatever the roll of the instrument.
  ends = carrington_pixels(
    magnetogram, np.array([CENTRE[0], CENTRE[0] + 2, CENTRE[0]]), CENTRE[1] + np.array([0, 0, 2])
  )
  (x0, x1, _), (y0, _, y2) = axes.transData.transform(ends.T).T
  assert x1 > x0 and y2 > y0


@pytest.mark.parametrize('path', [SHARP, CUTOUT], ids=['CEA', 'TAN'])
def test_many_patches_become_a_mosaic_that_is_hatched_outside(path):
  magnetogram = read_magnetogram(path)
  # Four rows and columns, 10 Mm apart; the probability tells which one it is.
  step = np.rad2deg(10 / 696)
  north, east = (np.arange(16) // 4 - 1.5) * step, (np.arange(16) % 4 - 1.5) * step
  table = Table({'longitude': CENTRE[0] + east / np.cos(np.deg2rad(CENTRE[1])), 'latitude': CENTRE[1] + north})
  table['probability'] = (np.arange(16) + 0.5) / 16
  table['outside'] = np.where(np.arange(16) % 4 == 0, 'flux', '')
  figure = plot_scores(magnetogram, table, DOMAIN, path.name, step_mm=10)
  axes = figure.axes[0]
  _, mosaic = axes.images
  shown, (left, right, bottom, top) = mosaic.get_array(), mosaic.get_extent()
  pixels = carrington_pixels(magnetogram, table['longitude'], table['latitude'])
  column = ((pixels[0] - left) / (right - left) * shown.shape[1]).astype(int)
  row = ((pixels[1] - bottom) / (top - bottom) * shown.shape[0]).astype(int)
  np.testing.assert_allclose(shown[row, column], table['probability'])
  # 20 Mm of 16 x 10 Mm around no centre: nothing is said there.
  far = carrington_pixels(magnetogram, CENTRE[0], CENTRE[1] + 3.5 * step)
  at = [
    int((far[1] - bottom) / (top - bottom) * shown.shape[0]),
    int((far[0] - left) / (right - left) * shown.shape[1]),
  ]
  assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[tuple(at)]
  (hatched,) = (item for item in axes.collections if isinstance(item, QuadContourSet))
  inside = [any(path.contains_point(point) for path in hatched.get_paths()) for point in pixels.T]
  assert inside == [bool(text) for text in table['outside']]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ['within the training domain (12)', 'outside the training domain (4)']


# --- Script -----------------------------------------------------------------------------------------------------


def stand_in_logits(members, field):
  """Returns the logits of two members that only look at the mean |B|."""
  return np.log10(np.nanmean(np.abs(field), axis=(1, 2))) - np.array([[1.0], [0.5]])


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> dict[str, tuple]:
  """Runs the script with `stand_in_logits`; returns exit status, stdout and stderr by name."""
  root = tmp_path_factory.mktemp('runs')
  many = [f'--fits={DATA}/hmi.sharp_cea_720s.1*.fits', f'--fits={CONTINUUM}', f'--fits={CUTOUT}', f'--out={root}/many']
  (root / 'one').mkdir()
  (root / 'one' / 'scores.ecsv').write_text('old')
  one = [f'--fits={SHARP}', '--longitude=34.9', '--latitude=-20.5', f'--out={root}/one', '--overwrite']
  asked = {
    'many': many,
    'again': many,
    'one': one,
    'half': [f'--fits={SHARP}', '--longitude=34.9', f'--out={root}/mistake'],
    'nothing': ['--fits=nothing*.fits', f'--out={root}/mistake'],
    'behind': [f'--fits={SHARP}', '--longitude=200', '--latitude=0', f'--out={root}/mistake'],
    'fine': [f'--fits={SHARP}', '--step_mm=0.1', f'--out={root}/mistake'],
    'twins': [f'--fits={SHARP}', f'--fits={DATA}/../data/{SHARP.name}', f'--out={root}/mistake'],
  }
  results = {'root': root}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ensemble, 'load', lambda workdir: types.SimpleNamespace(domain=DOMAIN))
    patch.setattr(ensemble, 'logits', stand_in_logits)
    for name, arguments in asked.items():
      done = in_process('score', '--workdir=none', *arguments)
      results[name] = (done.returncode, done.stdout, done.stderr)
  return results


def test_script_scores_many_files_and_survives_a_bad_one(runs):
  status, out, err = runs['many']
  assert status == 1 and err.endswith('error: 1 of 6 files could not be scored.\n')
  assert err.count('error:') == 2 and "resampled_hmi.fits has BUNIT 'DN/s'" in err
  table = Table.read(runs['root'] / 'many' / 'scores.ecsv')
  assert tuple(table.colnames) == COLUMNS
  assert len(set(table['file'])) == 5
  assert table['unsigned_flux'].unit == u.Mx
  assert table.meta['domain'] == DOMAIN
  pictures = sorted(path.name for path in (runs['root'] / 'many').glob('*.png'))
  assert pictures == sorted(f'{name}.png' for name in set(table['file']))
  outside = np.sum(table['outside'] != '')
  assert outside > 0 and f'{outside} of {len(table)} patches lie outside what the network was trained on' in out
  assert 'is no forecast' in out
  assert 'single frame; the network was trained on means of 547 frames' in out
  # A line per file says which patch has the highest probability, instead of hundreds of rows.
  own = table[table['file'] == SMALL_SHARP.name]
  best = own[own['probability'].argmax()]
  (line,) = (line for line in out.splitlines() if line.startswith(SMALL_SHARP.name))
  assert f'{len(own)} patches, {np.sum(own["outside"] != "")} outside' in line
  assert f'{best["probability"]:.3f} at longitude {best["longitude"]:.2f}, latitude {best["latitude"]:.2f}' in line
  assert len(table) > 20 and 'unsigned_flux' not in out
  patch = postel_patch(read_magnetogram(SMALL_SHARP), best['longitude'], best['latitude'], 48)
  assert best['probability'] == pytest.approx(expit(np.log10(np.nanmean(np.abs(patch.field))) - 0.75), abs=0.01)


def test_script_overwrites_only_when_told(runs):
  status, _, err = runs['again']
  assert status == 1 and 'is there already; replace it with --overwrite' in err
  status, out, err = runs['one']
  assert status == 0 and not err
  assert 'unsigned_flux' in out, 'a short table is printed'
  table = Table.read(runs['root'] / 'one' / 'scores.ecsv')
  assert (len(table), table['longitude'][0], table['latitude'][0]) == (1, 34.9, -20.5)
  assert table['outside'][0].startswith('flux')


@pytest.mark.parametrize(
  ('name', 'sentence'),
  [
    ('half', 'together, or neither'),
    ('nothing', 'No file matches'),
    ('behind', 'shows nothing of the Sun around'),
    ('fine', 'step_mm must lie between a pixel'),
    ('twins', 'score them into separate folders'),
  ],
)
def test_script_tells_a_mistake_in_one_sentence(runs, name, sentence):
  status, _, err = runs[name]
  assert status == 1 and sentence in err and 'Traceback' not in err
  assert err.splitlines()[-1].startswith('error: ')
  assert not (runs['root'] / 'mistake').exists()
