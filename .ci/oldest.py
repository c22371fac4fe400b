"""Prints every requirement of the library and its tests at its lower bound, as pip's arguments: name==version."""

import configparser
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOWER_BOUND = re.compile(r'(?P<name>[\w.-]+(\[[\w,]+\])?)\s*>=\s*(?P<version>[\w.]+)')
EXTRAS = ('sun', 'tensorboard', 'test')


def pins() -> list[str]:
  configuration = configparser.ConfigParser()
  configuration.read(ROOT / 'setup.cfg')
  lines = (ROOT / 'requirements.txt').read_text().splitlines()
  for extra in EXTRAS:
    lines += configuration['options.extras_require'][extra].splitlines()
  found = []
  for line in filter(None, map(str.strip, lines)):
    if line.startswith('hearjax['):  # An extra of our own, listed in EXTRAS.
      continue
    bound = LOWER_BOUND.fullmatch(line)
    if bound is None:
      raise ValueError(f'{line!r} has no lower bound alone.')
    found.append(f'{bound["name"]}=={bound["version"]}')
  return found


if __name__ == '__main__':
  print('\n'.join(pins()))
