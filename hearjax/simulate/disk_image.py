"""From elements on the Sun to the image that a telescope near the Earth has of its disk.

Perspective, the point spread, saturation, projection and noise are those of the survey's instrument (`instrument`), on
the plane of the image instead of a Postel map. Arrays are `[y, x]` as in the file, turned by its roll.
"""

import dataclasses
import math

import numpy as np

from hearjax.simulate.instrument import SIGMA_OF_FWHM, colour, gaussian_transfer, smooth
from hearjax.simulate.sun import Sun
from hearjax.solar import CM2_PER_MM2, SOLAR_RADIUS_MM, direction
from hearjax.survey.intervals import FRAMES_PER_INTERVAL

AU_MM = 149_597.8707  # IAU 2012 Resolution B2.
RADIUS_MM = 696.0  # RSUN_REF of HMI, which says where a point of the disk lies on the Sun.
HMI_SIZE, HMI_ARCSEC = 4096, 0.504  # Side and scale of an HMI image.
SPOILT_GAUSS = 500.0  # Noise in a spoilt frame; our choice: so that a mean with one of them in it is spoilt.


@dataclasses.dataclass(frozen=True)
class View:
  """How the Sun is seen.

  Attributes:
    l0, b0: Carrington longitude and latitude of the observer [deg].
    distance_mm: Of the observer from the centre of the Sun [Mm].
    size: Side of the image [px].
    roll_deg: CROTA2 [deg].
  """

  l0: float
  b0: float
  distance_mm: float
  size: int
  roll_deg: float

  @property
  def arcsec(self) -> float:
    """Angle of a pixel [arcsec]: the whole field of HMI, whatever the size."""
    return HMI_ARCSEC * HMI_SIZE / self.size

  @property
  def radian(self) -> float:
    """Angle of a pixel [rad]."""
    return math.radians(self.arcsec / 3600)


def locate(position: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns where places are in the image, a gnomonic projection about the middle of the disk.

  Args:
    position: `[n, 3]` unit vectors in Carrington's frame.
    view: The view.

  Returns:
    `[n, 2]` pixel (x, y), from 0; `[n]` mu, the cosine of the angle between the vertical and the ray to the observer,
    negative where the Sun itself is in between; `[n]` the distance along that ray [Mm].
  """
  toward = direction(view.l0, view.b0)
  west = direction(view.l0 + 90, 0.0)
  north = np.cross(toward, west)
  x, y, z = RADIUS_MM * (position @ np.stack([west, north, toward], axis=1)).T
  depth = view.distance_mm - z
  distance = np.sqrt(x**2 + y**2 + depth**2)
  mu = (view.distance_mm * z / RADIUS_MM - RADIUS_MM) / distance
  cosine, sine = math.cos(math.radians(view.roll_deg)), math.sin(math.radians(view.roll_deg))
  # The image is turned by CROTA2 (Thompson 2006, equation 32): back from the plane of the sky to pixels.
  plane = np.stack([cosine * x + sine * y, cosine * y - sine * x], axis=1) / depth[:, None]
  return plane / view.radian + (view.size - 1) / 2, mu, distance


def mu_image(view: View) -> np.ndarray:
  """Returns `[size, size]` mu of the pixels, as `locate` has it; NaN off the disk."""
  axis = (np.arange(view.size) - (view.size - 1) / 2) * view.radian
  square = axis[:, None] ** 2 + axis**2
  impact = (view.distance_mm / RADIUS_MM) ** 2 * square / (1 + square)
  return np.sqrt(np.where(impact < 1, 1 - impact, np.nan))


def spread(pixel: np.ndarray, value: np.ndarray, size: int) -> np.ndarray:
  """Spreads values on the four nearest pixels, bilinearly.

  Args:
    pixel: `[n, 2]` x and y, from 0, within the image.
    value: `[n]` what to spread.
    size: Side of the image [px].

  Returns:
    `[size, size]` sums.
  """
  low = np.floor(pixel).astype(int)
  upper = pixel - low
  image = np.zeros(size * size)
  for dy in (0, 1):
    for dx in (0, 1):
      weight = np.abs(1 - dx - upper[:, 0]) * np.abs(1 - dy - upper[:, 1])
      image += np.bincount((low[:, 1] + dy) * size + low[:, 0] + dx, value * weight, minlength=size * size)
  return image.reshape(size, size)


def observe(
  rng: np.random.Generator, position: np.ndarray, flux: np.ndarray, view: View, n_45s: float, sun: Sun
) -> np.ndarray:
  """Observes a full-disk magnetogram.

  Noise, internetwork and residual are drawn anew for each frame, as strong as it takes for the mean of all frames in
  410 min to have what it has in a survey.

  Args:
    rng: Generator of the frame.
    position: `[n, 3]` places of the elements, unit vectors in Carrington's frame; their field is radial.
    flux: `[n]` their signed flux [Mx].
    view: How the Sun is seen.
    n_45s: Number of frames of 45 s that it is the mean of.
    sun: Parameters; `pixel_scale_mm` counts for nothing.

  Returns:
    `[size, size]` line-of-sight field [G], float32, NaN off the disk.
  """
  # On a Sun at 1 AU: the scale of the frame's own day would differ by 2 % at most.
  sun = dataclasses.replace(sun, pixel_scale_mm=AU_MM * view.radian)
  pixel, mu, distance = locate(position, view)
  is_seen = (mu > 0) & (flux != 0)
  pixel, mu, distance = pixel[is_seen], mu[is_seen], distance[is_seen]
  # Of the surface, of nominal radius as everywhere in hearjax, a pixel shows more toward the limb.
  area_cm2 = (view.radian * distance * SOLAR_RADIUS_MM / RADIUS_MM) ** 2 * CM2_PER_MM2 / mu
  radial = spread(pixel, flux[is_seen] / area_cm2, view.size).astype(np.float32)
  radial = np.asarray(smooth(radial, gaussian_transfer(view.size, sun.psf_fwhm_mm * SIGMA_OF_FWHM, sun)))
  radial = sun.strongest_gauss * np.tanh(radial / sun.strongest_gauss)
  mu = mu_image(view).astype(np.float32)
  white = rng.standard_normal((3, view.size, view.size), np.float32)
  each = math.sqrt(FRAMES_PER_INTERVAL / n_45s)
  internetwork = each * sun.internetwork_gauss * np.asarray(colour(white[0], sun.internetwork_mm, sun))
  residual = each * sun.residual_gauss * np.asarray(colour(white[1], sun.residual_mm, sun))
  noise = sun.noise_gauss / math.sqrt(n_45s) * white[2]
  return mu * radial + internetwork + (1 + sun.noise_limb * (1 - mu)) * (residual + noise)


def spoil(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
  """Spoils a magnetogram [G], of any shape, so that nobody can use it."""
  return field + SPOILT_GAUSS * rng.standard_normal(field.shape, np.float32)
