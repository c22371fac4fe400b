"""When a region emerged, from the curve of its unsigned flux."""

import dataclasses
from typing import NamedTuple

import numpy as np

from hearjax.checks import UserError, check_not_negative, check_positive
from hearjax.solar import CM2_PER_MM2
from hearjax.survey.intervals import end_hours, start_hours


@dataclasses.dataclass(frozen=True)
class EmergenceSettings:
  """How the emergence time is told from a curve of flux.

  Attributes:
    share: Share of the largest flux at which a region counts as emerged (Leka et al. 2013, ApJ 762, 130, Schunker et
      al. 2016, A&A 595, A107, from memory: 0.1).
    hours_after: Time after the first report in which the largest flux is sought [h] (the same: 36).
    background_hours: Length of the quietest stretch before the largest flux [h], whose mean flux is taken off, for the
      network and the noise are not the region's; 0 for nothing is taken off. Our choice.
    min_gain: Gain of flux in units of what is taken off, at least: less is not told from changes of the network. Our
      choice.
    smoothing_hours: Width of the running mean over the curve [h], 0 for none; our choice.
    max_gap_hours: Longest gap in the parts of the curve that count [h]; our choice.
    quiet_gauss: Mean unsigned field before the emergence up to which a place counts as quiet Sun [G]; our choice, which
      the noise of the frames must fit (HMI: 5 to 8 G at disk centre, twice that at 60 deg).
  """

  share: float = 0.1
  hours_after: float = 36.0
  background_hours: float = 12.0
  min_gain: float = 0.1
  smoothing_hours: float = 1.0
  max_gap_hours: float = 4.0
  quiet_gauss: float = 20.0

  def __post_init__(self) -> None:
    if not 0 < self.share < 1:
      raise UserError(f'The share must lie between 0 and 1, got {self.share}.')
    for name in ('hours_after', 'max_gap_hours', 'quiet_gauss'):
      check_positive(name, getattr(self, name))
    for name in ('background_hours', 'min_gain', 'smoothing_hours'):
      check_not_negative(name, getattr(self, name))
    if self.max_gap_hours >= self.hours_after:
      raise UserError(
        f'The max_gap_hours must be shorter than hours_after, got {self.max_gap_hours:g} and {self.hours_after:g}.'
      )


@dataclasses.dataclass(frozen=True)
class Emergence:
  """What a curve of flux tells of an emergence.

  Attributes:
    mjd: Emergence time, modified Julian date (UTC); None where it cannot be told.
    reason: Why it cannot, to follow the name of the region; empty where it can.
    background_mx: Unsigned flux that is not the region's [Mx], NaN where the emergence time cannot be told.
    largest_mx: The region's largest flux in the hours after the first report [Mx], without that; NaN likewise.
  """

  mjd: float | None
  reason: str = ''
  background_mx: float = np.nan
  largest_mx: float = np.nan


def emergence_time(
  mjd: np.ndarray, unsigned_flux_mx: np.ndarray, first_report_mjd: float, settings: EmergenceSettings
) -> Emergence:
  """Tells when the flux of a region reached a share of its largest in the hours after the first report, to stay above.

  The rule is that of Leka et al. (2013) and Schunker et al. (2016), see `EmergenceSettings`; of what comes before,
  the last time counts at which the flux goes through that share, so that a short-lived bipole is not taken for the
  region. Between two frames the flux is a straight line.

  Args:
    mjd: `[n]` times of the frames, modified Julian dates (UTC), in any order.
    unsigned_flux_mx: `[n]` unsigned flux around the region, corrected for the line of sight [Mx]; NaN where missing.
    first_report_mjd: When the first report of the region holds.
    settings: Settings.

  Returns:
    The emergence time, or the reason why it cannot be told.
  """
  mjd, flux = _ordered(mjd, unsigned_flux_mx)
  max_gap = settings.max_gap_hours / 24
  end = first_report_mjd + settings.hours_after / 24
  after = (mjd >= first_report_mjd) & (mjd <= end)
  gap = np.diff(np.concatenate([[first_report_mjd], mjd[after], [end]])).max()
  if gap > max_gap:
    return Emergence(
      None, f'lacks frames for {24 * gap:.1f} h within the {settings.hours_after:g} h after its first report'
    )
  smooth = _running_mean(mjd, flux, settings.smoothing_hours / 24)
  top = int(np.argmax(np.where(after, smooth, -np.inf)))
  before = _Background(0.0, 0.0, -np.inf)
  if settings.background_hours:
    before = _background(mjd, flux, top, settings)
  if before is None:
    return Emergence(
      None, f'lacks frames: no {settings.background_hours:g} h without a gap come before its largest flux'
    )
  largest = float(smooth[top]) - before.flux
  if largest <= settings.min_gain * before.flux:
    return Emergence(None, 'does not gain flux')
  level = before.flux + settings.share * largest
  below = np.flatnonzero(smooth[:top] < level)
  # Where the quietest stretch itself gains as much, there was none.
  if not below.size or mjd[below[-1] + 1] <= before.end or before.gain >= settings.share * largest:
    return Emergence(None, 'has flux from the first frame on: it did not emerge within the time of the frames')
  last = below[-1]
  if mjd[last + 1] - mjd[last] > max_gap:
    return Emergence(None, f'lacks frames for {24 * (mjd[last + 1] - mjd[last]):.1f} h while it emerges')
  fraction = (level - smooth[last]) / (smooth[last + 1] - smooth[last])
  return Emergence(float(mjd[last] + fraction * (mjd[last + 1] - mjd[last])), '', before.flux, largest)


def flux_before(mjd: np.ndarray, unsigned_flux_mx: np.ndarray, emergence_mjd: float) -> float | None:
  """Returns the mean flux over the interval TI-05 [Mx], None where no frame falls into it.

  The pre-existing flux of a region, and of a control region, whose reference time stands for the emergence.

  Args:
    mjd: `[n]` times of the frames, modified Julian dates (UTC).
    unsigned_flux_mx: `[n]` unsigned flux [Mx]; NaN where missing.
    emergence_mjd: Emergence time.
  """
  mjd, flux = _ordered(mjd, unsigned_flux_mx)
  hours = 24 * (mjd - emergence_mjd)
  there = (hours >= start_hours(-5)) & (hours <= end_hours(-5))
  return float(np.mean(flux[there])) if np.any(there) else None


def is_quiet(flux_before_mx: float, area_mm2: float, settings: EmergenceSettings) -> bool:
  """Returns whether a place was quiet Sun; HEAR leaves out what emerges into strong field (Schunker et al. 2016).

  Args:
    flux_before_mx: Unsigned flux before the emergence, corrected for the line of sight [Mx].
    area_mm2: Of the part of the surface that it comes from [Mm^2].
    settings: Settings.
  """
  return bool(flux_before_mx / (area_mm2 * CM2_PER_MM2) <= settings.quiet_gauss)


def _ordered(mjd: np.ndarray, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the finite samples in the order of time, as float64."""
  mjd, flux = np.asarray(mjd, np.float64), np.asarray(flux, np.float64)
  order = np.argsort(mjd, kind='stable')
  order = order[np.isfinite(flux[order])]
  return mjd[order], flux[order]


def _running_mean(mjd: np.ndarray, flux: np.ndarray, width: float) -> np.ndarray:
  """Returns `[n]` means of the flux over `width` days around each time; less at the ends, so that they stay centred."""
  half = np.minimum(width / 2, np.minimum(mjd - mjd[0], mjd[-1] - mjd))
  total = np.concatenate([[0.0], np.cumsum(flux)])
  # A hair wider: which samples lie on the edge must not hang on the last digit of a date.
  first = np.searchsorted(mjd, mjd - half - 1e-9)
  last = np.searchsorted(mjd, mjd + half + 1e-9, side='right')
  return (total[last] - total[first]) / (last - first)


class _Background(NamedTuple):
  """The quietest stretch of a curve: its mean flux [Mx], how much that rises by in all [Mx], and its end (mjd)."""

  flux: float
  gain: float
  end: float


def _background(mjd: np.ndarray, flux: np.ndarray, top: int, settings: EmergenceSettings) -> _Background | None:
  """Returns the quietest stretch before the sample `top`, None where there is none without a gap."""
  length, max_gap = settings.background_hours / 24, settings.max_gap_hours / 24
  start = np.arange(top + 1)
  end = np.searchsorted(mjd, mjd[start] + length, side='right')  # Exclusive.
  wide = np.concatenate([[0], np.cumsum(np.diff(mjd) > max_gap)])
  whole = (mjd[start] + length <= mjd[top]) & (wide[end - 1] == wide[start])
  whole &= (mjd[end - 1] - mjd[start] >= length - max_gap) & (end - start > 1)
  if not np.any(whole):
    return None
  total = np.concatenate([[0.0], np.cumsum(flux)])
  quietest = int(np.argmin(np.where(whole, (total[end] - total[start]) / (end - start), np.inf)))
  part = slice(quietest, end[quietest])
  days = mjd[part] - np.mean(mjd[part])
  slope = np.sum(days * flux[part]) / np.sum(days**2)
  return _Background(float(np.mean(flux[part])), float(slope * length), float(mjd[quietest] + length))
