"""Which pairs know each other: by place and time, and by NOAA number."""

import numpy as np

from hearjax.survey.links import group_pairs
from tests.conftest import make_survey, survey_apart


def test_regions_at_one_place_and_time_stay_together_but_not_half_a_year_apart():
  survey = survey_apart(4, size=4)
  near = survey.pair == 1
  emerging = (survey.pair == 0) & (survey.label == 1)
  time = survey.mjd[emerging].mean()
  same_place = survey.replace(
    longitude=np.where(near, np.float32(30.0), survey.longitude),
    latitude=np.where(near, np.float32(20.0), survey.latitude),
    mjd=np.where(near, time + 1, survey.mjd),
  )
  assert group_pairs(same_place, 15.0, 3.0)[0] == group_pairs(same_place, 15.0, 3.0)[1]
  later = same_place.replace(mjd=np.where(near, time + 200, survey.mjd))
  assert len(set(group_pairs(later, 15.0, 3.0))) == 4


def test_longitudes_close_across_zero_are_close():
  survey = make_survey(pairs=2, size=4)
  longitude = np.where(survey.pair == 0, np.float32(359.0), np.float32(1.0))
  survey = survey.replace(
    longitude=longitude, latitude=np.full_like(longitude, 10.0), mjd=np.full(len(survey), 55500.0)
  )
  assert len(set(group_pairs(survey, 15.0, 3.0))) == 1
