"""Composites: what is planted is found in place, what is not there is found in one survey out of twenty."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from astropy.io import fits
from astropy.wcs import WCS

from hearjax.interpret import composites
from hearjax.report import attribution_plots
from tests.conftest import make_survey

META = {'survey_source': 'test', 'survey_checksum': '0' * 64, 'settings': {'seed': 0}}


def noise_survey(pairs=12, size=10, seed=0):
  """Returns a survey whose classes differ in nothing, with intervals of a region that resemble each other."""
  survey = make_survey(pairs=pairs, size=size)
  rng = np.random.default_rng(seed)
  shared = rng.normal(size=(len(survey.region_ids), size, size))[survey.region]
  return survey.replace(field=(shared + rng.normal(size=survey.field.shape)).astype(np.float32))


def test_without_a_difference_one_survey_in_twenty_has_one():
  found = 0
  for seed in range(100):
    survey = noise_survey(seed=seed)
    found += composites.composite(survey.field, survey, resamples=200, seed=seed).significant.any()
  # Of 100 with 5 %: 0 and more than 11 are both rarer than one in a hundred.
  assert 1 <= found <= 11


def test_a_planted_blob_is_found_in_place():
  survey = noise_survey(pairs=30, size=16)
  field = survey.field.copy()
  there = np.zeros((16, 16), bool)
  there[3:6, 9:13] = True
  planted = (survey.label == 1) & (survey.interval == -1)
  field[planted] += 3.0 * there
  result = composites.composite(field, survey, resamples=500, seed=1)
  assert result.interval.tolist() == [-2, -1] and result.n_pairs.tolist() == [30, 30]
  assert not result.significant[0].any()
  np.testing.assert_array_equal(result.significant[1], there)
  assert np.all(result.difference[1][there] > 2)


def test_t_is_that_of_scipy():
  survey = noise_survey()
  result = composites.composite(survey.field, survey, resamples=20, seed=0)
  rows = [np.flatnonzero((survey.label == label) & (survey.interval == -2)) for label in (1, 0)]
  rows = [part[np.argsort(survey.pair[part])] for part in rows]
  differences = survey.field[rows[0]].astype(float) - survey.field[rows[1]]
  np.testing.assert_allclose(result.t[0], scipy.stats.ttest_1samp(differences, 0).statistic, rtol=1e-5)
  np.testing.assert_allclose(result.difference[0], result.emerging[0] - result.control[0], atol=1e-5)
  np.testing.assert_allclose(result.emerging[0], survey.field[rows[0]].mean(axis=0), rtol=1e-4, atol=1e-6)


def test_pixels_where_no_pair_differs_have_no_t():
  survey = noise_survey()
  field = survey.field.copy()
  field[:, 0, 0] = 0.1
  field[:, 0, 1] = np.where(survey.label, 0.3, 0.1)  # Differs by the same in every pair: no variance to judge it by.
  result = composites.composite(field, survey, resamples=50, seed=0)
  assert np.all(result.t[:, 0, :2] == 0) and np.all(np.isfinite(result.t))


def test_a_southern_copy_gives_the_same_composite():
  north = make_survey(pairs=8)
  north = north.replace(latitude=np.abs(north.latitude))
  southern = north.pair % 2 == 1
  mirrored = np.where(southern[:, None, None], north.field[:, ::-1], north.field)
  mixed = north.replace(latitude=np.where(southern, -north.latitude, north.latitude))
  for signed, maps in ((True, np.where(southern[:, None, None], -mirrored, mirrored)), (False, mirrored)):
    upright = composites.hale_frame(maps, mixed.latitude, signed)
    np.testing.assert_array_equal(upright, north.field)
    expected, result = (composites.composite(each, north, 50, 0) for each in (north.field, upright))
    np.testing.assert_array_equal(result.t, expected.t)
    assert result.t_limit == expected.t_limit


def test_pairs_without_one_half_do_not_count():
  survey = noise_survey()
  lone = (survey.pair == 3) & (survey.label == 0) & (survey.interval == -1)
  result = composites.composite(survey.field[~lone], survey.select(~lone), resamples=20, seed=0)
  assert result.n_pairs.tolist() == [12, 11]
  without = survey.select((survey.pair != 3) & (survey.interval == -1))
  expected = composites.composite(without.field, without, resamples=20, seed=0)
  np.testing.assert_allclose(result.t[1], expected.t[0], rtol=1e-6)


def test_one_class_only():
  survey = noise_survey()
  survey = survey.select(survey.label == 1)
  with pytest.raises(ValueError, match=r'at least two pairs with both .* 24 emerging and 0 control'):
    composites.composite(survey.field, survey, resamples=20, seed=0)


def test_the_file_has_axes_in_megametres_and_the_limit_of_t(tmp_path):
  survey = noise_survey()
  result = composites.composite(survey.field, survey, resamples=50, seed=0)
  composites.write_composites(tmp_path / 'c.fits', {'field': result}, {'field': 'Gauss'}, 1.39, META)
  with fits.open(tmp_path / 'c.fits', checksum=True) as hdus:
    assert [hdu.name for hdu in hdus[1:]] == ['FIELD_PE', 'FIELD_NE', 'FIELD_DIFF', 'FIELD_T', 'FIELD_N']
    assert hdus['FIELD_DIFF'].header['BUNIT'] == 'Gauss'
    np.testing.assert_allclose(hdus['FIELD_T'].header['TLIMIT'], result.t_limit)
    np.testing.assert_allclose(hdus['FIELD_T'].data, result.t, rtol=1e-6)
    wcs = WCS(hdus['FIELD_DIFF'].header, naxis=2)
    np.testing.assert_allclose(wcs.pixel_to_world_values(4.5, 4.5), [0, 0], atol=1e-12)
    np.testing.assert_allclose(wcs.pixel_to_world_values(9, 4.5), [4.5 * 1.39, 0], atol=1e-12)
    assert [str(unit) for unit in wcs.wcs.cunit] == ['Mm', 'Mm']
    assert hdus['FIELD_N'].data['n_pairs'].tolist() == [12, 12]


def test_the_figure_shows_every_interval(tmp_path):
  survey = noise_survey()
  result = composites.composite(survey.field, survey, resamples=50, seed=0)
  result = dataclasses.replace(result, t_limit=1.0)  # So that there is something to outline.
  attribution_plots.plot_composites({'field': result}, {'field': 'Field [G]'}, 1.39, 'test', tmp_path / 'c.png')
  assert (tmp_path / 'c.png').stat().st_size > 10_000
