"""An active region on its way up: fragments of flux that emerge one after another and gather in two polarities.

NumPy, for one region, in the coordinates of `quiet_sun`: x west and y north of the centre of the patch [Mm].
Also here: the compact bipoles of the world `pattern`, which take the place of an emergence there.
"""

import dataclasses
import math

import numpy as np
from scipy.special import erf, expit, logit

from hearjax.checks import UserError
from hearjax.simulate.quiet_sun import Elements
from hearjax.simulate.sun import MM_PER_HOUR, Sun

POLE_ELEMENTS = 40  # Of a pole that has a width: so many that none is seen on its own.


@dataclasses.dataclass(frozen=True)
class Region:
  """What distinguishes one emerging region from another.

  Attributes:
    flux: Largest unsigned flux, both polarities [Mx].
    growth_hours: E-folding time of its early growth [h].
    leading: Sign of the leading (western) polarity.
    axis: `[2]` unit vector from the trailing to the leading polarity.
    centre: `[2]` place of emergence [Mm].
  """

  flux: float
  growth_hours: float
  leading: int
  axis: np.ndarray
  centre: np.ndarray


def emerged_fraction(hours: np.ndarray, growth_hours: float, sun: Sun) -> np.ndarray:
  """Returns the fraction of a region's largest flux that has emerged.

  A logistic curve, our choice, which has `sun.emergence_fraction` at the emergence time by definition.

  Args:
    hours: Time relative to the emergence time [h].
    growth_hours: E-folding time of the early growth [h].
    sun: Parameters.
  """
  return expit(hours / growth_hours + logit(sun.emergence_fraction))


def separation(hours: np.ndarray, sun: Sun) -> np.ndarray:
  """Returns the distance between the two polarities [Mm] at a time relative to the emergence time [h].

  The integral of a speed that rises as a Gaussian to its peak and falls off linearly until the separation ends.
  """
  speed = sun.separation_m_s * MM_PER_HOUR
  since_peak = hours - sun.separation_peak_hours
  fall = sun.separation_end_hours - sun.separation_peak_hours
  rise = sun.separation_start_hours
  before = speed * rise * np.sqrt(np.pi / 2) * (1 + erf(np.minimum(since_peak, 0) / rise / np.sqrt(2)))
  u = np.clip(since_peak, 0, fall)
  return before + speed * (u - u**2 / (2 * fall))


def draw_region(rng: np.random.Generator, latitude: float, sun: Sun) -> Region:
  """Draws an emerging region: flux, growth, polarity by Hale's law (cycle 24), tilt by Joy's law, place.

  Args:
    rng: Generator of the region.
    latitude: Heliographic latitude [deg]; in cycle 24 the leading polarity is negative in the north.
    sun: Parameters.
  """
  north = 1 if latitude >= 0 else -1
  joy = np.arcsin(sun.joy_slope * np.sin(np.deg2rad(abs(latitude))) + sun.joy_offset)
  tilt = joy + np.deg2rad(sun.tilt_scatter_deg) * rng.normal()
  return Region(
    flux=sun.region_mx * np.exp(sun.region_scatter * rng.normal()),
    growth_hours=sun.growth_hours * np.exp(sun.growth_scatter * rng.normal()),
    leading=north if rng.random() < sun.anti_hale else -north,
    # Joy's law: the leading polarity lies nearer to the equator.
    axis=np.array([np.cos(tilt), -north * np.sin(tilt)]),
    centre=sun.centre_mm * rng.normal(size=2),
  )


def emerging_elements(rng: np.random.Generator, region: Region, hours: np.ndarray, sun: Sun) -> Elements:
  """Simulates an emergence, one fragment after another, so that the sum of their fluxes is the region's.

  Args:
    rng: Generator of the region.
    region: The region.
    hours: `[step]` times relative to the emergence time [h].
    sun: Parameters.

  Returns:
    The leading elements of all fragments, then the trailing ones.
  """
  weight = rng.random(sun.fragments)
  weight /= np.sum(weight)
  begun = np.cumsum(weight) - weight
  emerged = emerged_fraction(hours, region.growth_hours, sun)[:, None]
  flux = region.flux / 2 * region.leading * np.clip(emerged - begun, 0, weight)

  half_up = region.growth_hours * (logit(begun + weight / 2) - logit(sun.emergence_fraction))
  gathered = -np.expm1(-np.maximum(hours[:, None] - half_up, 0) / sun.gather_hours)
  parted = gathered * separation(hours, sun)[:, None]
  shares = np.array([sun.leading_share, sun.leading_share - 1])[:, None, None]
  scatter = sun.cluster_mm * (region.flux / sun.region_mx) ** 0.25 * rng.normal(size=(2, 1, sun.fragments, 2))
  position = region.centre + scatter + (shares * parted)[..., None] * region.axis
  return Elements(np.concatenate(position, axis=1), np.concatenate([flux, -flux], axis=1))


def pattern_elements(rng: np.random.Generator, is_ear: bool, steps: int, sun: Sun) -> Elements:
  """Draws the elements of the world `pattern`: compact bipoles in an EAR, the same elements torn apart in a CR.

  Every element has the same distribution of places in both; only whether the two of a bipole belong together differs.
  Where a CR has a pole distance of its own, its bipoles stay together, too. A pole that has a width is a group of
  elements in its place.

  Args:
    rng: Generator of the region.
    is_ear: Whether the region is an EAR.
    steps: Number of times; nothing moves.
    sun: Parameters.

  Returns:
    The elements of the positive poles, then those of the negative ones.

  Raises:
    UserError: A pole is to be narrower than an element is observed.
  """
  shape = (2, sun.pattern_bipoles)
  radius = sun.pattern_radius_mm * np.sqrt(rng.random(shape))
  middle = radius[..., None] * _unit(rng.uniform(0, 2 * np.pi, size=shape))
  scale = sun.pattern_scale_mm if is_ear else sun.pattern_control_scale_mm or sun.pattern_scale_mm
  width = sun.pattern_width_mm if is_ear else sun.pattern_control_width_mm or sun.pattern_width_mm
  half = scale / 2 * _unit(rng.uniform(0, 2 * np.pi, size=shape))
  together = is_ear or sun.pattern_control_scale_mm > 0
  negative = middle[0] - half[0] if together else middle[1] + half[1]
  position = np.concatenate([middle[0] + half[0], negative])
  flux = sun.pattern_mx * np.repeat([1.0, -1.0], sun.pattern_bipoles)
  if max(sun.pattern_width_mm, sun.pattern_control_width_mm) > 0:  # As many elements in both classes.
    position = (position[:, None] + _pole(width, sun)).reshape(-1, 2)
    flux = np.repeat(flux / POLE_ELEMENTS, POLE_ELEMENTS)
  return Elements(np.broadcast_to(position, (steps, *position.shape)), np.broadcast_to(flux, (steps, *flux.shape)))


def _pole(width_mm: float, sun: Sun) -> np.ndarray:
  """Returns `[element, 2]` places about the middle of a Gaussian pole that is observed with a width [Mm].

  They lie on a sunflower, at the quantiles of the distance; all in the middle for the width 0.
  """
  variance = width_mm**2 / (8 * math.log(2)) - sun.element_variance_mm2 if width_mm else 0.0
  if variance < 0:
    narrowest = math.sqrt(8 * math.log(2) * sun.element_variance_mm2)
    raise UserError(
      f'A pole cannot be observed {width_mm:g} Mm wide, since a single element is {narrowest:.3g} Mm; give a larger '
      'width, or 0 for a single element.'
    )
  number = np.arange(POLE_ELEMENTS)
  quantile = (number + 0.5) / POLE_ELEMENTS
  distance = np.sqrt(-2 * np.log1p(-quantile))
  distance *= np.sqrt(2 * variance / np.mean(distance**2))  # The quantiles of a few lack some of the tail.
  return distance[:, None] * _unit(number * math.pi * (3 - math.sqrt(5)))


def _unit(angle: np.ndarray) -> np.ndarray:
  return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
