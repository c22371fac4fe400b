"""Which pairs of a survey know each other, so that they must stay on one side of a split.

Magnetograms of one region are correlated, and so are regions that share a piece of the Sun: a random split inflates
the skill (Ahmadzadeh et al. 2019, 2021).
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hearjax.survey.survey import Survey

SEPARATION_DEG = 15.0  # About the width of the default patch, so that linked patches overlap.
GAP_DAYS = 3.0


def group_pairs(survey: Survey, separation_deg: float, gap_days: float) -> np.ndarray:
  """Returns `[n_pairs]` the group of every pair of `survey.pair_ids`; linked pairs share a group.

  Two pairs are linked where a region of one and a region of the other carry the same NOAA number, or lie within
  `separation_deg` of each other on the Carrington grid with less than `gap_days` between their time windows.
  """
  first, second = linked_pairs(survey, separation_deg, gap_days)
  n = len(survey.pair_ids)
  graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
  return connected_components(graph, directed=False)[1]


def linked_pairs(survey: Survey, separation_deg: float, gap_days: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the indices of the pairs that are linked (see `group_pairs`), as two `[n_links]` arrays."""
  region = survey.region
  _, row = np.unique(region, return_index=True)
  pair = survey.pair[row]
  noaa = survey.noaa[row]
  latitude, longitude = (np.deg2rad(c.astype(np.float64)[row]) for c in (survey.latitude, survey.longitude))
  half_window = (np.asarray(survey.hours_end, np.float64) - np.asarray(survey.hours_start, np.float64)) / 48
  mjd = np.asarray(survey.mjd, np.float64)
  start, end = np.full(region.max() + 1, np.inf), np.full(region.max() + 1, -np.inf)
  np.minimum.at(start, region, mjd - half_window)
  np.maximum.at(end, region, mjd + half_window)
  start, end = start[region[row]], end[region[row]]
  cosine = np.sin(latitude)[:, None] * np.sin(latitude) + np.cos(latitude)[:, None] * np.cos(latitude) * np.cos(
    longitude[:, None] - longitude
  )
  gap = np.maximum(start[:, None], start) - np.minimum(end[:, None], end)
  linked = (cosine > np.cos(np.deg2rad(separation_deg))) & (gap < gap_days)
  linked |= (noaa[:, None] == noaa) & (noaa > 0)
  first, second = np.nonzero(linked & (pair[:, None] != pair))
  return pair[first], pair[second]
