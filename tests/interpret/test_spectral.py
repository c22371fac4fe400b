"""Spectral response: networks that read one scale by construction, and what all bands must leave alone."""

import jax
import numpy as np
import pytest
from astropy.table import Table
from scipy.special import j0

from hearjax.interpret import spectral
from hearjax.interpret.maps import changed_logits
from hearjax.interpret.statistics import POLE_DISTANCE_PER_WAVELENGTH
from hearjax.maps import transforms
from hearjax.report.panel_plots import describe_peak, plot_spectral
from tests.conftest import make_survey
from tests.hand_made import make_run, one_layer, polarity_flux, with_fields

PIXEL_MM = 1.39


def noise(rng, label):
  """Returns 48 x 48 px of white noise, stronger in PE."""
  return rng.normal(0, 20 + 10 * label, (48, 48))


def ring_kernel(wavelength_px):
  """Returns `[y, x]` J0(2 pi r / wavelength) under a Gaussian: plane waves of one wavelength, in all directions."""
  y, x = np.mgrid[-10:11, -10:11]
  r = np.hypot(y, x)
  kernel = j0(2 * np.pi * r / wavelength_px) * np.exp(-0.5 * (r / 5.0) ** 2)
  return kernel - kernel.mean()


def ring_network(wavelength_px):
  """Returns a network of the mean of |B| after filtering with such a kernel."""
  kernel = ring_kernel(wavelength_px)
  return one_layer(np.stack([kernel, -kernel], axis=-1), strides=(3,))


@pytest.fixture(scope='module')
def noisy_survey():
  return with_fields(make_survey(pairs=4, intervals=(-1,), size=48), noise)


# --- Known truth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('wavelength_px', [6.0, 12.0])
def test_response_is_largest_at_the_scale_that_the_network_reads(noisy_survey, wavelength_px):
  # Where the kernel, zero outside its 21 px, passes most: along a row of its transform.
  transform = np.abs(np.fft.fft2(ring_kernel(wavelength_px), (1024, 1024)))[0, 1:512]
  passed_best_mm = 1024 / (1 + np.argmax(transform)) * PIXEL_MM
  table = spectral.spectral_table(make_run(noisy_survey, *ring_network(wavelength_px)), resamples=50)
  meta = table.meta
  assert meta['peak_inside'] and meta['peak_bounded']
  # White noise has most power at the short end of a band, so that its centre comes out too long.
  assert meta['peak_wavelength_mm'] == pytest.approx(passed_best_mm, rel=0.25)
  assert meta['peak_wavelength_mm_low'] <= meta['peak_wavelength_mm'] <= meta['peak_wavelength_mm_high']
  assert meta['peak_pole_distance_mm'] == pytest.approx(POLE_DISTANCE_PER_WAVELENGTH * meta['peak_wavelength_mm'])


def test_response_to_strength_is_flat(noisy_survey):
  # The mean of |B| is what is held: the network cannot notice that anything was done.
  run = make_run(noisy_survey, *polarity_flux())
  table = spectral.spectral_table(run, resamples=50)
  logit, label = changed_logits(run), noisy_survey.label
  for name, expected in (('logit_pe', logit[label == 1].mean()), ('logit_ne', logit[label == 0].mean())):
    np.testing.assert_allclose(table[name], expected, rtol=1e-5)
  np.testing.assert_allclose(table['difference'], table['logit_pe'] - table['logit_ne'])
  assert np.all(table['auc'] == 1) and np.all(table['auc_without'] == 1)
  assert table.meta['flat'] and table.meta['auc_range'] == 0
  assert 'does not depend' in describe_peak(table.meta)


def test_flux_is_kept_within_the_visible_square_and_a_dead_map_stays():
  field = np.random.default_rng(0).normal(0, 10, (3, 20, 20)).astype(np.float32)
  field[1] = 0
  field[2, 8, 8] = np.nan
  kept = spectral.keep_flux(jax.jit(transforms.band_pass)(field, PIXEL_MM, 8.0, 1.0), field, 10)

  def flux(maps):
    return np.nansum(np.abs(maps[:, 5:15, 5:15]), axis=(1, 2))

  np.testing.assert_allclose(flux(np.asarray(kept)), flux(field), rtol=1e-5)
  assert np.all(np.asarray(kept)[1] == 0)


def test_bands_share_one_compilation(noisy_survey):
  field = noisy_survey.field[:2]
  passed = spectral._filtered(field, PIXEL_MM, 8.0, 1.0, False, 48)
  before = spectral._filtered._cache_size()
  stopped = spectral._filtered(field, 2 * PIXEL_MM, 16.0, 1.5, True, 48)
  assert spectral._filtered._cache_size() == before
  assert np.all(np.isfinite(passed)) and np.all(np.isfinite(stopped))


def test_default_bands_run_from_three_pixels_to_the_square():
  wavelengths = spectral.default_wavelengths(48, 2.0)
  np.testing.assert_allclose(wavelengths[[0, -1]], [6.0, 96.0])
  np.testing.assert_allclose(np.diff(np.log2(wavelengths)), 1 / 3)


def test_folds_with_different_networks_show_in_the_spread(noisy_survey):
  settings, params = polarity_flux()
  other = {'params': params['params'] | {'logit': {'kernel': np.full((2, 1), 3.0), 'bias': np.zeros(1)}}}
  run = make_run(noisy_survey, settings, [params, other], folds=2)
  table = spectral.spectral_table(run, resamples=20)
  means = [changed_logits(run)[noisy_survey.pair % 2 == fold].mean() for fold in range(2)]
  np.testing.assert_allclose(table['logit_fold_std'], np.std(means, ddof=1), rtol=1e-4)


# --- Bad input, files, figures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'wavelengths_mm': []}, 'at least 4 bands, got 0'),
    ({'wavelengths_mm': [5, 10, 20]}, 'at least 4 bands, got 3'),
    ({'wavelengths_mm': [5, 10, 8, 20]}, 'finite and ascending'),
    ({'wavelengths_mm': [5, 10, 20, np.nan]}, 'finite and ascending'),
    ({'wavelengths_mm': [2, 5, 10, 20]}, 'do not fit the map.*from 2.78 to 66.72 Mm'),
    ({'wavelengths_mm': [5, 10, 20, 70]}, 'do not fit the map'),
    ({'octaves': 0.0}, 'positive number of octaves'),
    ({'octaves': float('nan')}, 'positive number of octaves'),
    ({'resamples': 0}, 'at least one sample'),
  ],
)
def test_bad_settings_are_refused(noisy_survey, settings, message):
  run = make_run(noisy_survey, *polarity_flux())
  with pytest.raises(ValueError, match=message):
    spectral.spectral_table(run, **settings)


def test_maps_too_small_for_the_bands_are_refused():
  run = make_run(make_survey(size=8), *polarity_flux(crop_px=4))
  with pytest.raises(ValueError, match=r'at least 4 bands, got 2 on the square of 4 px'):
    spectral.spectral_table(run)


def test_one_class_is_refused(noisy_survey):
  run = make_run(noisy_survey.replace(label=np.ones_like(noisy_survey.label)), *polarity_flux())
  with pytest.raises(ValueError, match=r'no two classes to tell apart \(labels 1\)'):
    spectral.spectral_table(run)


def test_parameters_that_are_not_finite_are_refused(noisy_survey):
  run = make_run(noisy_survey, *polarity_flux(logit=np.nan))
  with pytest.raises(ValueError, match=r'logits of the networks in .* are not finite'):
    spectral.spectral_table(run, resamples=5)


@pytest.mark.parametrize('network', [ring_network(6.0), polarity_flux()])
def test_table_and_figure(tmp_path, noisy_survey, network):
  table = spectral.spectral_table(make_run(noisy_survey, *network), resamples=20)
  table.write(tmp_path / 'spectral.ecsv')
  read = Table.read(tmp_path / 'spectral.ecsv')
  assert read.meta == table.meta and str(read['wavelength_mm'].unit) == 'Mm'
  plot_spectral(read, tmp_path / 'spectral.png')
  assert (tmp_path / 'spectral.png').stat().st_size > 10_000
