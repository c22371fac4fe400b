"""The sections of what the networks learnt: pruning to completeness, error rates of the methods, maps of the disk."""

import numpy as np
from astropy.table import Table

from hearjax.report.page.captions import (
  ATTRIBUTION,
  CAPTIONS,
  HISTORY,
  INVARIANCE,
  PRUNING,
  RESPONSE,
  SCALE,
  caption_of_disk,
)
from hearjax.report.page.contents import Contents
from hearjax.report.page.parts import Cell, Part, Picture, Section, Words, interval, number, sheet, text
from hearjax.report.page.remedies import command, pictures, section

FIXED = {'total': 'total flux', 'window': 'flux in the central window'}
MOST_PLACES = 20  # A longer table is no reading.


def pruning_section(contents: Contents) -> Section:
  """Returns which filters respond to flux, and how few keep the skill."""
  pruned, compacted = (contents.tables.get(f'pruning/{name}') for name in ('pruned', 'compacted'))
  remedy = command(contents, 'prune', again=pruned is not None)
  parts = pictures(contents, PRUNING, remedy)
  if pruned is not None:
    parameters = {row['member']: row for row in compacted} if compacted is not None else {}
    rows = []
    for row in pruned:
      small = parameters.get(row['member'])
      rows.append(
        [
          text(row['member']),
          number(row['n_filters'], '.0f'),
          number(row['n_filters_left'], '.0f'),
          number(row['test_tss_full']),
          interval(row['gain'], row['gain_low'], row['gain_high'], '+.2f'),
          Cell('', np.nan) if small is None else number(small['parameters'], '.0f'),
          Cell('', np.nan) if small is None else number(small['parameters_compacted'], '.0f'),
        ]
      )
    columns = ('Network', 'Filters', 'Left', 'TSS of all', 'TSS gained [95 %]', 'Parameters', 'Left')
    parts.append(sheet('Pruned networks', columns, rows, 'Stopped on validation pairs, scored on test pairs.'))
  lead = 'Which filters answer to the unsigned flux, and how few of them keep the skill.'
  return section('pruning', 'Pruning path and filters', lead, parts, remedy)


def response_section(contents: Contents) -> Section:
  """Returns how the networks answer to synthetic fields."""
  effects = contents.tables.get('response/effects')
  remedy = command(contents, 'respond', again=effects is not None)
  parts = pictures(contents, RESPONSE, remedy)
  if effects is not None:
    groups = list(dict.fromkeys(effects['networks']))
    rows = []
    for key in dict.fromkeys(zip(effects['family'], effects['axis'], effects['fixed'], strict=True)):
      family, axis, fixed = map(str, key)
      of_key = effects[(effects['family'] == family) & (effects['axis'] == axis) & (effects['fixed'] == fixed)]
      cells = {row['networks']: interval(row['effect'], row['low'], row['high'], '+.2f') for row in of_key}
      what = [text(family), text(axis), text(FIXED.get(fixed, fixed))]
      rows.append([*what, *(cells.get(group, Cell('', np.nan)) for group in groups)])
    columns = ('Family', 'Along', 'At equal', *(f'{group[0].upper()}{group[1:]} [95 %]' for group in groups))
    note = (
      'Mean output for the smallest third of the sizes less that for the largest third (of flux: the strongest less '
      'the weakest), in standard deviations of what a network says of the fields of the family.'
    )
    parts.append(sheet('Effects', columns, rows, note, folded=True))
  lead = 'What the networks say of fields that are made, one parameter changed at a time.'
  return section('response', 'Synthetic response', lead, parts, remedy)


def attribution_section(contents: Contents) -> Section:
  """Returns where the networks look, and whether such maps can be believed."""
  sanity = contents.tables.get('attribution/sanity')
  remedy = command(contents, 'attribute', again=sanity is not None)
  parts = pictures(contents, ATTRIBUTION, remedy)
  if sanity is not None:
    rows = [
      [
        *(text(row[name].replace('_', ' ')) for name in ('check', 'order', 'by', 'against')),
        interval(row['value'], row['low'], row['high'], '+.2f'),
      ]
      for row in sanity
    ]
    columns = ('Check', 'Order of', 'By values', 'Against', 'Value [95 %]')
    note = (
      'Resemblance: rank correlation of maps. Deletion and insertion: the area by which an order does better than the '
      'one that it is compared with, in standard deviations of the output.'
    )
    parts.append(sheet('Sanity checks', columns, rows, note, folded=True))
  lead = 'Where in the maps the output comes from, and the mean maps of both classes.'
  return section('attribution', 'Attributions and composites', lead, parts, remedy)


def invariance_section(contents: Contents) -> Section:
  """Returns what changes of the maps cost."""
  remedy = command(contents, 'respond')
  parts = pictures(contents, INVARIANCE, remedy)
  lead = 'Which changes of the maps leave the skill as it is, and which do not.'
  return section('invariance', 'Invariance', lead, parts, remedy)


def scale_section(contents: Contents) -> Section:
  """Returns the scales that the networks prefer, and which bipoles they detect."""
  limits = contents.tables.get('response/detection_limit')
  remedy = command(contents, 'respond', again=limits is not None)
  parts = pictures(contents, SCALE, remedy)
  if limits is not None:
    apart = limits[np.isfinite(limits['separation_mm'])]
    groups = list(dict.fromkeys(apart['networks']))
    rows = []
    for separation in np.unique(apart['separation_mm']):
      of_separation = {row['networks']: row for row in apart[apart['separation_mm'] == separation]}
      rows.append([number(separation, '.1f'), *(_flux(of_separation.get(group)) for group in groups)])
    columns = ('Poles apart [Mm]', *(f'{group[0].upper()}{group[1:]}: flux [Mx, 95 %]' for group in groups))
    parts.append(sheet('Flux of which half is detected', columns, rows))
  lead = 'Which sizes the networks prefer, and from which flux on bipoles are found in quiet Sun.'
  return section('scale', 'Scale and completeness', lead, parts, remedy)


def _flux(row) -> Cell:
  return Cell('', np.nan) if row is None else interval(row['flux_mx'], row['low'], row['high'], '.1e')


# --- Error rates of the methods ---------------------------------------------------------------------------------------


def rates_section(contents: Contents) -> Section:
  """Returns how often each method claims what is not so."""
  remedy = f'hearjax study --of=findings --out={contents.folder / "rates.ecsv"}'
  rates, parts = contents.rates, []
  if rates is not None:
    rows = [
      [
        text(row['claim']),
        text(row['worlds_without']),
        _share(row['claimed_without'], row['without']),
        text(row['worlds_with']),
        _share(row['claimed_with'], row['with']),
      ]
      for row in rates
    ]
    columns = ('Claim', 'Worlds without the effect', 'Claimed in', 'Worlds with it', 'Claimed in')
    note = 'Counted on small simulated surveys whose answer is known. 0 of 60 means at most 5 %.'
    parts = [sheet('Claims where the answer is known', columns, rows, note)]
  lead = 'How often each claim is made where it is false, and where it is true: the error rates behind the findings.'
  return section('rates', 'Error rates of the methods', lead, parts, remedy)


def _share(claimed: int, among: int) -> Cell:
  return Cell(f'{claimed} of {among}', claimed / among) if among else Cell('', np.nan)


# --- Maps of the disk -------------------------------------------------------------------------------------------------


def scan_section(contents: Contents) -> Section:
  """Returns what the networks say of the whole disk."""
  remedy = f'{command(contents, "scan", with_survey=False)} --fits=FRAMES --out={contents.folder / "scan"}'
  parts: list[Part] = []
  if HISTORY in contents.pictures:
    parts.append(Picture(contents.pictures[HISTORY], CAPTIONS[HISTORY]))
  shown = [name for name in contents.scanned if name in contents.pictures]
  parts += [Picture(contents.pictures[name], caption_of_disk(name, len(contents.scanned))) for name in shown]
  emergences, places = (contents.tables.get(f'scan/{name}') for name in ('emergences', 'places'))
  if emergences is not None:
    rows = [
      [
        text(f'{row["noaa"]:.0f}'),
        text(row['emergence_time'][:16]),
        number(row['looks'], '.0f'),
        text(row['first_alarm'][:16] or 'never'),
        number(row['lead_hours'], '+.1f'),
        number(row['by_chance'], '.0%'),
      ]
      for row in emergences
    ]
    columns = ('Region', 'Emerged', 'Frames before', 'First alarm', 'Ahead by [h]', 'By chance')
    note = (
      'By chance: the share of places east and west of it, at its latitude, that had an alarm before that time, too. '
      'Where it is not small, a warning says little.'
    )
    parts.append(sheet('Known emergences', columns, rows, note))
  if places is not None:
    parts += _places(places)
  lead = 'The networks laid over full disks: maps, alarms, and known emergences.'
  return section('scan', 'Scan of the disk', lead, parts, remedy)


def _places(places: Table) -> list[Part]:
  highest = places[np.argsort(-places['peak'], kind='stable')][:MOST_PLACES]
  rows = [
    [
      number(row['place'], '.0f'),
      number(row['longitude'], '.1f'),
      number(row['latitude'], '+.1f'),
      number(row['alarms'], '.0f'),
      number(row['peak'], '.3f'),
      text(f'{row["noaa"]:.0f}' if row['noaa'] else ''),
    ]
    for row in highest
  ]
  columns = ('Place', 'Longitude [deg]', 'Latitude [deg]', 'Alarms', 'Highest probability', 'Region')
  told = f'{len(places)} places had an alarm; the table shows those of highest probability, {len(highest)} at most.'
  return [Words((told,)), sheet('Places with alarms', columns, rows, folded=True)]
