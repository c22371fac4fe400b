"""Discriminant analysis of features: what the network is measured against.

Four models, each fitted per interval on the training pairs of a fold, with equal class priors:

  da_flux       linear, on the unsigned flux alone
  da_linear     linear, on all features, covariance shrunk after Ledoit & Wolf (2004, J. Multivar. Anal. 88, 365)
  da_quadratic  quadratic, on all features, the covariance of each class shrunk likewise
  da_kernel     non-parametric: one Epanechnikov kernel density per class, as in Barnes et al. (2014, ApJ 786, 19), on
                at most two features; which ones, and the bandwidth, are chosen within the training part

The feature list, the logarithms, the shrinkage, and how the kernel's features and bandwidth are chosen are our choice.
Everything that is fitted (means, scales, densities, choices, thresholds) is fitted without the fold's test pairs.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hearjax.checks import UserError, check_choices, check_finite
from hearjax.files import plain
from hearjax.maps import transforms
from hearjax.maps.features import FEATURES, feature_table
from hearjax.survey.fold_rows import rows_of
from hearjax.survey.folds import Splits
from hearjax.survey.survey import Survey
from hearjax.verification.predictions import build_predictions
from hearjax.verification.scores import steady_threshold

DISCRIMINANTS = ('da_flux', 'da_linear', 'da_quadratic', 'da_kernel')
# Positive features whose distribution over regions has a long tail.
HEAVY_TAILED = (
  'unsigned_flux',
  'central_unsigned_flux',
  'mean_unsigned_field',
  'standard_deviation',
  'kurtosis',
  'kurtosis_unsigned',
  'peak_field',
  'gradient',
)
LOGIT_LIMIT = 20.0  # Log odds are clipped to ± this: odds of 5e8, and still no probability that rounds to 0 or 1.
INNER_FOLDS = 5
PLACES_AT_ONCE = 256  # Bounds the memory of distances: 17 MB for 2,000 samples.
MIN_TRAINING_PAIRS = 4


@dataclasses.dataclass(frozen=True)
class DiscriminantSettings:
  """What a discriminant analysis reads and how.

  Attributes:
    crop_px: Side of the central square in which features are taken [px]; 0 for the whole map. The default network sees
      60 px, on which the analyses are worse: a larger square dilutes their fluxes and moments.
    features: Names of the features of the multi-variable models. The default leaves out the mean unsigned field: it is
      the unsigned flux over the area, the same number for maps of one size.
    logarithm: Whether the heavy-tailed features, the unsigned flux of `da_flux` among them, enter as log10. Without
      it `da_flux` is linear in the flux itself, and a few regions of large flux set the variance of their class.
    bandwidths: Radii that `da_kernel` may choose from, in standard deviations of a feature.
    kernel_features: Largest number of features of `da_kernel`.
  """

  crop_px: int = 48
  features: tuple[str, ...] = dataclasses.field(
    default=tuple(name for name in FEATURES if name != 'mean_unsigned_field'), metadata={'choices': tuple(FEATURES)}
  )
  logarithm: bool = True
  bandwidths: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
  kernel_features: int = 2

  def __post_init__(self):
    check_choices(self)
    if not self.features:
      raise UserError(f'A discriminant analysis needs features; name some of {", ".join(FEATURES)}.')
    if self.crop_px < 0:
      raise UserError(f'crop_px must not be negative, got {self.crop_px}.')
    if not self.bandwidths or min(self.bandwidths) <= 0 or self.kernel_features < 1:
      raise UserError(
        f'da_kernel needs positive bandwidths and at least one feature, got {self.bandwidths}, {self.kernel_features}.'
      )


def discriminant_analysis(
  survey: Survey,
  splits: Splits,
  model: str = 'da_linear',
  settings: DiscriminantSettings | None = None,
  features: np.ndarray | None = None,
  own: Mapping[str, np.ndarray] | None = None,
) -> Table:
  """Fits a discriminant analysis on each fold and interval, and forecasts the test pairs.

  The threshold of a fold and interval maximises the TSS of probabilities that are cross-validated by pair within the
  training and validation pairs: those of the fitted samples themselves would make it too bold.

  Args:
    survey: The survey.
    splits: Its folds.
    model: One of `DISCRIMINANTS`.
    settings: The default ones for None.
    features: What `survey_features` returns, where it is at hand already.
    own: Further features, name -> `[n]` value for each magnetogram, read beside those of the model as they are.

  Returns:
    A predictions table with the seed 0: nothing here is random.

  Raises:
    UserError: The model is unknown, a feature is not finite, one of `own` has another name or shape than it must have,
      or an interval has too few training pairs, for any model or for this one.
  """
  settings = settings or DiscriminantSettings()
  names = feature_names(model, settings)
  if features is None:
    features = survey_features(survey, settings)
  values = features[:, [list(FEATURES).index(name) for name in names]].astype(np.float64)
  values = np.column_stack([values, *_own_columns(own or {}, len(survey))])
  check_finite('The features of a discriminant analysis', values)
  names = (*names, *(own or ()))
  classifier = build_classifier(model, settings, names)
  label, interval, pair = (survey.label, survey.interval, survey.pair)
  columns: dict[str, list[np.ndarray]] = {name: [] for name in ('row', 'fold', 'seed', 'logit', 'threshold')}
  for number, fold in enumerate(splits.folds):
    training, test = rows_of(survey, fold.train + fold.validation), rows_of(survey, fold.test)
    for time in np.unique(interval[test]):
      fitted, scored = (rows[interval[rows] == time] for rows in (training, test))
      _check_training_part(number, int(time), pair[fitted], label[fitted])
      try:
        threshold = choose_threshold(classifier, values[fitted], label[fitted], pair[fitted])
        classifier.fit(values[fitted], label[fitted])
      except UserError:
        raise
      except (ValueError, np.linalg.LinAlgError) as error:  # Of finite values: classes too small for what is estimated.
        raise UserError(
          f'{model} cannot be fitted in fold {number} at interval {time}: its {len(np.unique(pair[fitted]))} training '
          f'pairs, or the parts of them on which the threshold is chosen, are too few for the distribution of each '
          f'class in {len(names)} features; use more pairs, fewer folds or fewer features, or leave the model out.'
        ) from error
      log_odds = classifier.decision_function(values[scored])
      columns['row'].append(scored)
      columns['logit'].append(np.clip(log_odds, -LOGIT_LIMIT, LOGIT_LIMIT))
      for name, value in (('fold', number), ('seed', 0), ('threshold', threshold)):
        columns[name].append(np.full(len(scored), value))
  described = dataclasses.asdict(settings) | {'features': names, 'logit_limit': LOGIT_LIMIT}
  joined = {name: np.concatenate(parts) for name, parts in columns.items()}
  return build_predictions(survey, joined, model, plain(described))


def survey_features(survey: Survey, settings: DiscriminantSettings) -> np.ndarray:
  """Returns `[n, n_features]` all features of each magnetogram, taken in its central square."""
  size = survey.field.shape[-1]
  return feature_table(transforms.crop(survey.field, min(settings.crop_px or size, size)), survey.pixel_scale_mm)


def feature_names(model: str, settings: DiscriminantSettings) -> tuple[str, ...]:
  """Returns the features that a model reads.

  Raises:
    UserError: The model is unknown.
  """
  if model not in DISCRIMINANTS:
    raise UserError(f'There is no discriminant analysis {model!r}; choose from {", ".join(DISCRIMINANTS)}.')
  return ('unsigned_flux',) if model == 'da_flux' else settings.features


def build_classifier(model: str, settings: DiscriminantSettings, names: Sequence[str] = ()) -> Pipeline:
  """Returns the unfitted pipeline of a model: logarithm, standardisation, discriminant; equal class priors.

  Args:
    model: One of `DISCRIMINANTS`.
    settings: Which features enter as logarithms, and more.
    names: Of the columns that it reads; those of the model for none.
  """
  names = names or feature_names(model, settings)
  priors = [0.5, 0.5]
  if model == 'da_kernel':
    discriminant = KernelDiscriminant(settings.bandwidths, settings.kernel_features)
  elif model == 'da_quadratic':
    discriminant = QuadraticDiscriminantAnalysis(priors=priors, solver='eigen', shrinkage='auto')
  else:
    shrinkage = None if model == 'da_flux' else 'auto'
    discriminant = LinearDiscriminantAnalysis(priors=priors, solver='lsqr', shrinkage=shrinkage)
  logarithmic = np.array([settings.logarithm and name in HEAVY_TAILED for name in names])
  logarithm = FunctionTransformer(log_columns, kw_args={'chosen': logarithmic})
  return make_pipeline(logarithm, StandardScaler(), discriminant)


def log_columns(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
  """Returns `[n, n_features]` values with log10 of the `chosen` columns; 0 counts as the smallest float32."""
  return np.where(chosen, np.log10(np.maximum(values, np.finfo(np.float32).tiny)), values)


def choose_threshold(classifier: Pipeline, values: np.ndarray, label: np.ndarray, pair: np.ndarray) -> float:
  """Returns the (steady) threshold of largest TSS of probabilities cross-validated by pair within the training part.

  Args:
    classifier: Unfitted pipeline.
    values: `[n, n_features]` features.
    label: `[n]` 1 for PE, 0 for NE.
    pair: `[n]` index of the pair; both regions of a pair are forecast together.
  """
  inner = GroupKFold(min(INNER_FOLDS, len(np.unique(pair))))
  log_odds = cross_val_predict(classifier, values, label, groups=pair, cv=inner, method='decision_function')
  return steady_threshold(label, expit(np.clip(log_odds, -LOGIT_LIMIT, LOGIT_LIMIT)), pair)


class KernelDiscriminant(ClassifierMixin, BaseEstimator):
  """Discriminant analysis with one Epanechnikov kernel density per class, equal priors, for scikit-learn.

  Kernel densities fail in many dimensions: features are therefore chosen one after another, each with the bandwidth
  that gives the smallest leave-one-out Brier score, until none improves it or `max_features` are there. Features must
  be standardised before.

  Attributes:
    features_: Columns that were chosen.
    bandwidth_: Radius of the kernel.
  """

  def __init__(self, bandwidths: tuple[float, ...] = (1.0,), max_features: int = 2):
    self.bandwidths = bandwidths
    self.max_features = max_features

  def fit(self, values: np.ndarray, label: np.ndarray) -> 'KernelDiscriminant':
    """Chooses features and bandwidth; `[n, n_features]` standardised values and `[n]` labels of 0 and 1."""
    self.classes_, self.values_, self.label_ = np.array([0, 1]), values, label
    best, chosen = np.inf, []
    for _ in range(min(self.max_features, values.shape[1])):
      candidates = []
      for column in set(range(values.shape[1])) - set(chosen):
        samples = values[:, [*chosen, column]]
        found = log_odds_at(samples, samples, self.bandwidths, label, leave_one_out=True)
        for bandwidth, log_odds in zip(self.bandwidths, found, strict=True):
          candidates.append((np.mean((expit(log_odds) - label) ** 2), column, bandwidth))
      brier, column, bandwidth = min(candidates)
      if brier >= best:
        break
      best, self.bandwidth_ = brier, bandwidth
      chosen.append(column)
    self.features_ = np.array(chosen)
    return self

  def decision_function(self, values: np.ndarray) -> np.ndarray:
    """Returns `[n]` log odds of class 1."""
    places, samples = (each[:, self.features_] for each in (values, self.values_))
    return log_odds_at(places, samples, (self.bandwidth_,), self.label_)[0]

  def predict(self, values: np.ndarray) -> np.ndarray:
    """Returns `[n]` the likelier class."""
    return self.classes_[(self.decision_function(values) > 0).astype(int)]


def epanechnikov(square: np.ndarray, bandwidth: float, dimensions: int) -> np.ndarray:
  """Returns the radial Epanechnikov kernel, (d + 2) / (2 V_d h^d) (1 - r^2 / h^2) within r < h (Epanechnikov 1969).

  Args:
    square: Squared distance r^2, any shape.
    bandwidth: Radius h, in the unit of r.
    dimensions: Number of dimensions d; V_d is the volume of their unit ball.
  """
  ball = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)
  return (dimensions + 2) / (2 * ball * bandwidth**dimensions) * np.maximum(1 - square / bandwidth**2, 0)


def log_odds_at(
  places: np.ndarray,
  samples: np.ndarray,
  bandwidths: Sequence[float],
  label: np.ndarray,
  leave_one_out: bool = False,
) -> np.ndarray:
  """Returns `[bandwidth, n]` the `kernel_log_odds` at some places, found for a part of them at a time.

  Args:
    places: `[n, dimensions]`.
    samples: `[m, dimensions]` of the training part.
    bandwidths: Of the kernel, see `epanechnikov`.
    label: `[m]` class of the sample, 0 or 1.
    leave_one_out: The places are the samples, and none counts for its own.
  """
  parts = []
  for start in range(0, len(places), PLACES_AT_ONCE):
    some = places[start : start + PLACES_AT_ONCE]
    square = sum((place[:, None] - sample) ** 2 for place, sample in zip(some.T, samples.T, strict=True))
    there = np.ones_like(square)
    if leave_one_out:
      np.fill_diagonal(there[:, start:], 0)
    parts.append([kernel_log_odds(square, bandwidth, samples.shape[1], label, there) for bandwidth in bandwidths])
  return np.concatenate(parts, axis=1)


def kernel_log_odds(
  square: np.ndarray, bandwidth: float, dimensions: int, label: np.ndarray, there: np.ndarray
) -> np.ndarray:
  """Returns `[n]` log of the ratio of the two class densities at `n` places.

  Far from all samples both densities vanish. Each is therefore raised by a hundredth (our choice) of what one sample
  adds at its own place, so that the log odds are finite, and about 0 where nothing is known.

  Args:
    square: `[n, m]` squared distance between a place and a sample of the training part.
    bandwidth, dimensions: Of the kernel, see `epanechnikov`.
    label: `[m]` class of the sample, 0 or 1.
    there: `[n, m]` 1 where a sample counts for a place, 0 where it is left out.
  """
  members = np.stack([label == 0, label == 1], axis=-1).astype(float)
  kernel = epanechnikov(square, bandwidth, dimensions) * there
  floor = 0.01 * epanechnikov(np.zeros(()), bandwidth, dimensions)
  density = (kernel @ members + floor) / np.maximum(there @ members, 1)
  return np.log(density[:, 1]) - np.log(density[:, 0])


def _own_columns(own: Mapping[str, np.ndarray], n: int) -> list[np.ndarray]:
  for name, values in own.items():
    if name in FEATURES:
      raise UserError(f'There is a feature {name!r} already; give your own another name.')
    if np.shape(values) != (n,):
      raise UserError(f'The feature {name!r} needs a value for each of {n} magnetograms, got shape {np.shape(values)}.')
  return [np.asarray(values, np.float64) for values in own.values()]


def _check_training_part(fold: int, interval: int, pair: np.ndarray, label: np.ndarray) -> None:
  n_pairs = len(np.unique(pair))
  if n_pairs < MIN_TRAINING_PAIRS or min(np.sum(label == 0), np.sum(label == 1)) < MIN_TRAINING_PAIRS:
    raise UserError(
      f'Fold {fold} has only {n_pairs} pairs to fit a discriminant analysis on at interval {interval}; '
      f'at least {MIN_TRAINING_PAIRS} of both classes are needed: use more pairs or fewer intervals.'
    )
