"""The command `hearjax NAME --flag=value`: one of the scripts beside this file; also `python -m experiments NAME`."""

import ast
import importlib
import pathlib
import sys

from . import cli

FOLDER = pathlib.Path(__file__).parent
NO_SCRIPTS = ('__init__', '__main__', 'cli', 'flags', 'interpreting')


def scripts() -> dict[str, str]:
  """Returns the name of every script, and the first line of what it says about itself."""
  paths = sorted(path for path in FOLDER.glob('*.py') if path.stem not in NO_SCRIPTS)
  return {path.stem: ast.get_docstring(ast.parse(path.read_text())).splitlines()[0] for path in paths}


def main() -> int:
  """Runs the script that the command line names; returns the exit status."""
  name = sys.argv[1] if len(sys.argv) > 1 else '--help'
  try:
    with cli.interruptible():  # A script brings JAX, which takes seconds.
      known = scripts()
      if name in known:
        return cli.execute(importlib.import_module(f'.{name}', __package__), sys.argv[1:])
  except KeyboardInterrupt as interrupt:
    return cli.tell_interrupted(interrupt, name, sys.argv[2:])
  if name in cli.HELP:
    print('hearjax NAME --flag=value …; hearjax NAME --help lists the flags.\n')
    for known_name, line in known.items():
      print(f'  {known_name:16} {line}')
    return 0
  print(f'error: there is no script {name!r}; there are {", ".join(known)}.', file=sys.stderr)
  return 1


if __name__ == '__main__':
  sys.exit(main())
