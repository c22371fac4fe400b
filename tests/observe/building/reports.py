"""Tables of sightings made by hand."""

import numpy as np
from astropy.table import Table

from hearjax.observe.building.sightings import disk_centre
from hearjax.solar import wrap_degrees
from tests.scripts import ROOT

SRS = ROOT / 'tests' / 'data' / 'srs'


def daily(noaa, first_mjd, days, longitude, latitude, section='I'):
  """Returns rows of a region that stands still on the Carrington grid for some days, one a day."""
  return [(noaa, first_mjd + day, latitude, longitude % 360, section) for day in range(days)]


def make_sightings(rows, first_mjd, days):
  """Returns the table of sightings of daily reports, those without regions among them.

  Args:
    rows: `(noaa, mjd, latitude, longitude, section)` of each.
    first_mjd: Of the first report.
    days: How many there are.
  """
  rows = sorted(rows, key=lambda row: (row[1], row[0]))
  noaa, mjd, latitude, longitude, section = zip(*rows, strict=True) if rows else ((),) * 5
  mjd, longitude = np.array(mjd, float), np.array(longitude, float)
  return Table(
    {
      'noaa': np.array(noaa, int),
      'mjd': mjd,
      'latitude': np.array(latitude, float),
      'longitude': longitude,
      'cmd': wrap_degrees(longitude - disk_centre(mjd)[0]) if rows else longitude,
      'area': np.full(len(rows), 10.0),
      'section': np.array(section, 'U2'),
    },
    meta={'reports': [float(first_mjd + day) for day in range(days)]},
  )


def longitude_at(mjd, cmd):
  """Returns the Carrington longitude [deg] of what is `cmd` degrees west of the central meridian."""
  return float((disk_centre(mjd)[0] + cmd) % 360)
