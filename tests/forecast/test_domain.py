"""The training domain, by hand."""

import json

import numpy as np
import pytest

from hearjax.forecast.domain import outside_domain, training_domain
from tests.hand_made import DOMAIN


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
