"""What the reference pages of the manual hold, made from the code at every build, so that it cannot grow old."""

import ast
import importlib
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a type may be of beside hearjax: not looked up.
ELSEWHERE = r'(?!hearjax\b).*'
FLAG = re.compile(r'^  --(?P<name>\w+): (?P<text>.*?)(?: \(default: (?P<default>.*)\))?$', flags=re.S)


def fill(_, docname: str, source: list[str]) -> None:
  """Adds to a page that is being read what the code says: to `scripts`, and to the pages of `api`."""
  if docname == 'scripts':
    source[0] += '\n'.join(map(script_section, script_names()))
  elif docname == 'api/hearjax':
    source[0] += public_names()
  elif docname.startswith('api/') and docname != 'api/index':
    source[0] += '\n'.join(map(module_section, modules(docname.removeprefix('api/'))))


# --- Scripts ------------------------------------------------------------------------------------------------------


def script_names() -> list[str]:
  from experiments.__main__ import scripts

  return list(scripts())


def script_section(name: str) -> str:
  """Returns what `hearjax NAME --help` says, as a section."""
  from experiments.flags import Flags

  script = importlib.import_module(f'experiments.{name}')
  flags = Flags()
  script.define_flags(flags)
  listed = '\n'.join(map(flag_entry, re.split(r'\n(?=  --)', flags.help())))
  return f'\n## {name}\n\n{script_text(script.__doc__)}\n\n{listed}\n'


def script_text(text: str) -> str:
  """Returns the docstring of a script with its commands as blocks."""
  parts = []
  for paragraph in text.strip().split('\n\n'):
    lines = [line.strip() for line in paragraph.splitlines()]
    commands = lines[0].startswith(('hearjax ', '$ '))
    parts.append('\n'.join(['```sh', *lines, '```']) if commands else '\n'.join(lines))
  return '\n\n'.join(parts)


def flag_entry(paragraph: str) -> str:
  """Returns one flag as an entry of a list; what is between <> are the values that it may have."""
  found = FLAG.match(' '.join(paragraph.split()).join(['  ', '']))
  text, default = found['text'], (found['default'] or '').replace(os.path.expanduser('~'), '~')
  chosen = re.match(r'<([^>]*)>: (.*)', text)
  if chosen:
    text = f'{chosen[2]} One of {", ".join(f"`{value}`" for value in chosen[1].split("|"))}.'
  told = f' = `{default}`' if default else ''
  return f'`--{found["name"]}`{told}\n: {escape(text)}\n'


def escape(text: str, marks: str = '*_<[]|$') -> str:
  """Returns a text in which nothing outside of code is taken for markup."""
  parts = text.split('`')
  found = re.compile(f'([{re.escape(marks)}])')
  return '`'.join(found.sub(r'\\\1', part) if i % 2 == 0 else part for i, part in enumerate(parts))


# --- Docstrings ---------------------------------------------------------------------------------------------------


def prepare(_, what: str, *rest: object) -> None:
  """Reads docstrings as they were meant: |B| is no substitution, and what a module indents is shown as it stands."""
  lines = rest[-1]
  kept = []
  is_literal = False
  for before, line in zip(['', *lines], lines, strict=False):
    indented = what == 'module' and line.startswith('  ')
    if indented and not is_literal and not before.strip():
      kept += ['::', '']
      is_literal = True
    is_literal = is_literal and (indented or not line)
    kept.append(line if is_literal else escape(line, '|'))
  lines[:] = kept


def skip(_, what: str, name: str, *rest: object) -> bool | None:
  """Leaves out what scikit-learn adds to an estimator."""
  return True if re.fullmatch(r'set_\w+_request', name) else None


# --- Modules ------------------------------------------------------------------------------------------------------


def modules(room: str) -> list[str]:
  """Returns the modules of a room, itself first; `ground` stands for those that lie in no room."""
  library = ROOT / 'hearjax'
  if room == 'ground':
    paths = sorted(path for path in library.glob('*.py') if path.stem != '__init__')
  else:
    paths = sorted((library / room).rglob('*.py'))
  names = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in paths]
  return [name for name in names if not name.endswith('.__init__')]


def type_variables() -> list[str]:
  """Returns the full names of the type variables of the library."""
  found = []
  for path in (ROOT / 'hearjax').rglob('*.py'):
    module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    names = re.findall(r'^(\w+) = (?:TypeVar|ParamSpec)\(', path.read_text(), flags=re.M)
    found += [f'{module}.{name}' for name in names]
  return found


def module_section(name: str) -> str:
  title = name.removeprefix('hearjax.').partition('.')[2] or name.removeprefix('hearjax.')
  return f'\n## {title}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n'


def public_names() -> str:
  """Returns a line for each public name of the package, which leads to where it is documented."""
  import hearjax

  lines = []
  for name in sorted(hearjax.__all__, key=str.lower):
    where = origin(name)
    if name.isupper():  # A constant; its module says what it is.
      lines.append(f'| {{py:mod}}`{name} <{where}>` | {", ".join(f"`{value}`" for value in getattr(hearjax, name))} |')
    else:
      first = getattr(hearjax, name).__doc__.strip().partition('\n')[0]
      lines.append(f'| {{py:obj}}`{name} <{where}.{name}>` | {escape(first)} |')
  return '\n'.join(['', '| name | what it is |', '|---|---|', *lines, ''])


def origin(name: str) -> str:
  """Returns the module that a public name is of."""
  tree = ast.parse((ROOT / 'hearjax' / '__init__.py').read_text())
  (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
  (attached,) = (keyword.value for keyword in call.keywords if keyword.arg == 'submod_attrs')
  (module,) = (module for module, names in ast.literal_eval(attached).items() if name in names)
  return f'hearjax.{module}'
