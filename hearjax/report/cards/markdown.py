"""Markdown with YAML in front, whatever names and texts the files contain: none of them becomes a heading or a key."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

SIGNS = re.compile(r'([\\`*_\[\]<>|~$#&])')  # What means something within a line of markdown.
SIMULATED_WARNING = (
  'The magnetograms are simulated. Nothing here is data about the Sun, and no number here is evidence about it.'
)


def literal(value: object) -> str:
  """Returns a text of the files as one line that markdown shows letter by letter."""
  line = ' '.join(''.join(letter if letter.isprintable() else ' ' for letter in str(value)).split())
  return SIGNS.sub(r'\\\1', line)


def number(value: Any, digits: str = '.2f') -> str:
  """Returns a number, or a dash where there is none."""
  return format(value, digits) if np.isfinite(value) else '–'


def bounded(row: Mapping[str, float], name: str, bounds: str | None = None, digits: str = '.2f') -> str:
  """Returns a column of a row with its 95 % interval, the columns `bounds` + `low` and `high`."""
  bounds = f'{name}_' if bounds is None else bounds
  low, high = (number(row[bounds + end], digits) for end in ('low', 'high'))
  return f'{number(row[name], digits)} [{low}, {high}]'


def yaml_text(content: Any) -> str:
  """Returns YAML of plain values, in which no text can end the block or add a key; what is no JSON is told as text."""
  content = json.loads(json.dumps(content, default=str))
  return yaml.safe_dump(content, sort_keys=False, allow_unicode=False, default_flow_style=None, width=100)


def front_matter(content: Mapping[str, Any]) -> str:
  """Returns the block of YAML that a card begins with."""
  return f'---\n{yaml_text(content)}---\n'


def verbatim(content: Any) -> str:
  """Returns values as a block of YAML that is shown as it stands: indented, since no text can end such a block."""
  return ''.join(f'    {line}\n' for line in yaml_text(content).splitlines())


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
  """Returns a table; the cells are markdown already."""
  lines = [head, ['---'] * len(head), *rows]
  return ''.join('| ' + ' | '.join(map(str, cells)) + ' |\n' for cells in lines)


def bullets(lines: Sequence[str]) -> str:
  """Returns a list; the lines are markdown already."""
  return ''.join(f'- {line}\n' for line in lines)


def joined(title: str, head: Mapping[str, Any], sections: Sequence[tuple[str, Sequence[str]]]) -> str:
  """Returns a card: YAML, title, and sections of blocks; those without any block are left out."""
  blocks = [front_matter(head), f'# {title}\n']
  for name, parts in sections:
    said = [part if part.endswith('\n') else f'{part}\n' for part in parts if part]
    blocks += [f'## {name}\n', *said] if said and name else said
  return '\n'.join(blocks)
