"""Pictures of a scan: what is drawn is where it belongs."""

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.collections import PathCollection

from hearjax.forecast.disk_alarms import find_alarms
from hearjax.forecast.disk_history import history_table, link_alarms, place_table
from hearjax.forecast.disk_maps import draw_disk
from hearjax.forecast.disk_settings import HistorySettings
from hearjax.observe.postel import carrington_pixels
from hearjax.report.scan_plots import plot_history, plot_scan
from tests.forecast.small_disk import centre, small_disk, small_header
from tests.hand_made import DOMAIN

L0, B0 = centre(small_header())


@pytest.fixture(scope='module')
def disk(tmp_path_factory):
  return small_disk(tmp_path_factory.mktemp('disk'))


@pytest.fixture(scope='module')
def places():
  east, north = (axis.ravel() for axis in np.meshgrid(np.arange(-60, 61, 3.0), np.arange(-45, 46, 3.0)))
  table = Table({'longitude': L0 + east, 'latitude': B0 + north, 'cmd': east})
  table['probability'] = 0.1 + 0.8 * np.exp(-0.5 * ((east - 30) ** 2 + (north - 15) ** 2) / 25)
  table['probability'] += 0.6 * np.exp(-0.5 * ((east + 30) ** 2 + (north + 15) ** 2) / 25)
  table['outside'] = np.where(east < 0, 2, 0)
  for name, value in {'mu': 0.9, 'probability_std': 0.1, 'peak_field': 300.0, 'missing': 0.0}.items():
    table[name] = value
  table['unsigned_flux'] = np.where(east < 0, 9e21, 1e21)
  table.meta = {'step_mm': 36.0, 'max_angle_deg': 75.0, 'prior': 0.5}
  return table


@pytest.fixture(scope='module')
def alarms(places):
  return find_alarms(places, 0.5, 50.0, DOMAIN, 'disk.fits', '2014-03-01T00:00:00.000')


def test_field_and_map_side_by_side_with_alarms_and_regions(disk, places, alarms):
  regions = Table({'noaa': [11999, 12000], 'longitude': [L0 + 10, L0 + 180], 'latitude': [B0, B0]})
  figure = plot_scan(disk, draw_disk(disk, places), alarms, regions, DOMAIN, 'a $name$.fits')
  left, right, *_ = figure.axes
  north, south = carrington_pixels(disk, np.array([L0 + 30, L0 - 30]), np.array([B0 + 15, B0 - 15])).T
  for axes in (left, right):
    circles = [item for item in axes.collections if isinstance(item, PathCollection) and len(item.get_offsets())]
    (inside,), (outside,) = (item.get_offsets() for item in circles)
    np.testing.assert_allclose(inside, north, atol=1e-6)
    np.testing.assert_allclose(outside, south, atol=1e-6)
    (solid, _), (dotted, dashes) = circles[0].get_linestyle()[0], circles[1].get_linestyle()[0]
    assert solid == dotted == 0 and dashes
    # Solar north is up and west to the right on the screen, whatever the roll of the instrument.
    (x0, y0), (x1, y1) = axes.transData.transform([south, north])
    assert x1 > x0 and y1 > y0
    texts = [text.get_text() for text in axes.texts]
    assert texts == ['11999', '1', '2'], 'the region behind the Sun is not drawn'
  probability = right.images[0]
  bottom_left = np.array(probability.get_extent())[[0, 2]]
  pitch = (probability.get_extent()[1] - bottom_left[0]) / probability.get_array().shape[1]
  column, row = ((north - bottom_left) / pitch).astype(int)
  assert probability.get_array()[row, column] == pytest.approx(0.9, abs=0.01)
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels[:2] == ['alarm, numbered from the highest (1)', 'alarm outside the training domain (1)']
  said = figure.get_suptitle()
  assert 'no forecast' in said and r'a \$name\$.fits' in said and 'trained on means of 547 frames' in said
  figure.savefig('/dev/null', format='png', dpi=40)


def test_rare_events_and_no_alarm_at_all(disk, places, alarms):
  rare = alarms[:0]
  rare.meta = alarms.meta | {'prior': 0.01, 'threshold': 0.02}
  table = places.copy()
  table['probability'] = table['probability'] / 100
  figure = plot_scan(disk, draw_disk(disk, table), rare, None, DOMAIN, 'a.fits')
  _, right, *bars = figure.axes
  assert right.images[0].norm.vmax == pytest.approx(0.024)
  assert any('where 0.01 of the places emerge\n(line: the threshold, 0.02)' in bar.get_xlabel() for bar in bars)


def test_places_over_time(disk, places):
  frames, parts = [], []
  for hour, factor in enumerate((0.5, 0.9, 1.0)):
    table, time = places.copy(), f'2014-03-01T{hour:02d}:00:00.000'
    table['probability'] = table['probability'] * factor
    parts.append(find_alarms(table, 0.5, 50.0, DOMAIN, f'{hour}.fits', time))
    parts[-1].meta = {}
    frames.append((f'{hour}.fits', time, draw_disk(disk, table)))
  from astropy.table import vstack

  alarms = link_alarms(vstack(parts), HistorySettings())
  found = place_table(alarms)
  history = history_table(found, frames)
  known = Table({'noaa': [11158], 'longitude': [L0 + 31], 'latitude': [B0 + 15]})
  known['emergence_time'] = '2014-03-01T01:30:00.000'
  figure = plot_history(history, found, 0.5, 'simulated', known)
  first, second = figure.axes
  np.testing.assert_allclose(first.lines[0].get_ydata(), np.array([0.45, 0.81, 0.9]), atol=0.01)
  assert [text.get_text() for text in first.texts] == ['NOAA 11158 emerges'] and not second.texts
  assert 'first of 2 alarms' in first.get_title(loc='left') and 'no forecast' in figure.get_suptitle()
  # A place that no map shows, at the edge of the last ones, has a panel without a line.
  empty, _ = plot_history(history[np.asarray(history['place']) != found['place'][0]], found, 0.5, 'hear').axes
  assert not len(empty.lines[0].get_xdata())
