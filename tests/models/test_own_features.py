"""Features of one's own in a discriminant analysis: they count as those that are built in."""

import numpy as np
import pytest

from hearjax.checks import UserError
from hearjax.models.discriminant import DISCRIMINANTS, DiscriminantSettings, discriminant_analysis
from hearjax.survey.folds import make_splits
from tests.conftest import make_survey
from tests.models.test_discriminant import COLUMN, make_features


@pytest.fixture(scope='module')
def survey():
  return make_survey(pairs=18, intervals=(-3, -1), size=8)


@pytest.mark.parametrize('model', [model for model in DISCRIMINANTS if model != 'da_flux'])
def test_a_copy_of_a_feature_does_what_the_feature_does(survey, model):
  splits, features = make_splits(survey, 3, 0), make_features(survey, signal=1)
  both = DiscriminantSettings(features=('net_flux', 'length_scale'))
  one = DiscriminantSettings(features=('net_flux',))
  expected = discriminant_analysis(survey, splits, model, both, features)
  own = {'mine': features[:, COLUMN['length_scale']]}
  found = discriminant_analysis(survey, splits, model, one, features, own)
  for name in ('logit', 'threshold'):
    np.testing.assert_array_equal(found[name], expected[name])
  assert found.meta['settings']['features'] == ['net_flux', 'mine']
  without = discriminant_analysis(survey, splits, model, one, features)
  assert not np.allclose(without['logit'], found['logit'])


def test_the_flux_alone_may_have_company(survey):
  splits, features = make_splits(survey, 3, 0), make_features(survey)
  rng = np.random.default_rng(0)
  table = discriminant_analysis(
    survey, splits, 'da_flux', features=features, own={'mine': survey.label + 0.01 * rng.normal(size=len(survey))}
  )
  assert np.all((table['logit'] > 0) == (table['label'] == 1))


@pytest.mark.parametrize(
  ('own', 'sentence'),
  [
    ({'skewness': np.zeros(72)}, "a feature 'skewness' already"),
    ({'mine': np.zeros(71)}, "'mine' needs a value for each of 72 magnetograms, got shape"),
    ({'mine': np.full(72, np.nan)}, 'must be finite, got nan'),
  ],
)
def test_a_feature_that_cannot_be_used_is_refused(survey, own, sentence):
  with pytest.raises(UserError, match=sentence):
    discriminant_analysis(survey, make_splits(survey, 3, 0), 'da_linear', features=make_features(survey), own=own)
