"""How the run was made: settings, versions, device, seeds, folds, checksums, times."""

from collections.abc import Iterator, Mapping
from typing import Any

from hearjax.report.page.contents import Contents, entry
from hearjax.report.page.parts import Cell, NotRun, Part, Section, number, sheet, text
from hearjax.report.page.remedies import command, section

PLAIN = (str, int, float, bool)
# Which parts of config.json are shown, and what they are called.
PARTS = {
  'settings': 'Settings',
  'execution': 'How it was computed (changes no prediction but by rounding)',
  'domain': 'Domain of the training',
  'environment': 'Versions and device',
}


def flatten(value: Any, name: str = '') -> Iterator[tuple[str, str]]:
  """Yields every entry of nested settings: its name with dots, and its value as text."""
  if isinstance(value, Mapping):
    for key, inner in value.items():
      yield from flatten(inner, f'{name}.{key}' if name else str(key))
  elif isinstance(value, list):
    yield name, ', '.join(map(str, value)) if value else 'none'
  else:
    yield name, 'none' if value is None else str(value)


def making_section(contents: Contents) -> Section:
  """Returns all that is known of how the files came to be."""
  parts: list[Part] = []
  for key, title in PARTS.items():
    rows = [[text(name), text(value)] for name, value in flatten(shown(contents, key))]
    if rows:
      parts.append(sheet(title, ('Entry', 'Value'), rows, folded=key in ('execution', 'domain')))
  if not contents.config:
    parts.append(NotRun('Training: its settings, versions and device', command(contents, 'train')))
  if contents.splits:
    parts.append(sheet('Folds', ('Entry', 'Value'), [[text(name), text(value)] for name, value in _folds(contents)]))
  if contents.checksums:
    rows = [[text(one)] for one in contents.checksums]
    parts.append(sheet('Checksums of the survey (SHA-256)', ('In the files of this folder',), rows))
  if contents.reproduce:
    rows = [[text(name), text(value)] for name, value in flatten(without_paths(contents.reproduce))]
    parts.append(sheet('reproduce was called with', ('Entry', 'Value'), rows, folded=True))
  rows = list(_times(contents))
  if rows:
    note = 'Each as it was when the step was last done; programs are those that JAX compiled or found kept.'
    parts.append(sheet('Times', ('Step', 'Seconds', 'Programs'), rows, note))
  lead = 'Enough to do it again: the same seed, versions and machine give the same predictions.'
  return section('making', 'How it was made', lead, parts, command(contents, 'train'))


def shown(contents: Contents, part: str) -> Any:
  """Returns a part of config.json as it is shown: without the path of the survey, since pages are sent."""
  found = contents.config.get(part, {})
  return without_paths(found) if isinstance(found, Mapping) else {part: found}


def without_paths(entries: Mapping[str, Any]) -> dict[str, Any]:
  """Returns entries, of a folder only its name."""
  return {
    key: str(value).rstrip('/').rpartition('/')[2] if key == 'survey' and value else value
    for key, value in entries.items()
  }


def _folds(contents: Contents) -> Iterator[tuple[str, str]]:
  folds = contents.splits.get('folds')
  if isinstance(folds, list):
    sizes = (len(fold.get('test', ())) for fold in folds if isinstance(fold, Mapping))
    yield 'Test pairs of each fold', ', '.join(map(str, sizes))
  for key, name in (
    ('seed', 'Seed of the deal'),
    ('separation_deg', 'Regions nearer than this stay together [deg]'),
    ('gap_days', '… within this time [d]'),
  ):
    value = contents.splits.get(key)
    if isinstance(value, PLAIN):
      yield name, str(value)
  linked = entry(contents.splits, 'certificate', 'linked_pairs_kept_together')
  if linked is not None:
    yield 'Linked pairs kept together', str(linked)


def _times(contents: Contents) -> Iterator[list[Cell]]:
  for name, taken in contents.timing.items():
    seconds, programs = entry(taken, 'seconds'), entry(taken, 'programs')
    if isinstance(seconds, (int, float)):
      counted = number(programs, '.0f') if isinstance(programs, int) else Cell('', float('nan'))
      yield [text(name), number(seconds, '.1f'), counted]
