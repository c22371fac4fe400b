"""The flags of a script: defined by name or made of settings, parsed, read as attributes."""

import dataclasses
import inspect
import math
import os
import types
import typing
from collections.abc import Sequence
from typing import Any

import docstring_parser
from absl import flags as absl_flags

from hearjax.checks import UserError

REPEAT = ';\n'  # What absl adds to the help of a flag of several values.


class Flags:
  """The flags of one script: defined, then parsed, then read as attributes."""

  def __init__(self) -> None:
    self._values = absl_flags.FlagValues()
    self._names: list[str] = []
    self._entries: dict[type, dict[str, str]] = {}  # Settings -> entry -> flag.
    self._chosen: list[str] = []  # Of which at least one must be named.
    self._written: dict[str, bool] = {}  # Flag of a folder that the script writes -> whether it must be there before.
    self.switch('debug', False, 'Show the full traceback of an error instead of one sentence.')
    self.path(
      'compilation_cache', default_cache(), 'Folder that keeps compiled programs for later runs; empty for none.'
    )

  # Each defines one flag; `bounds` are `lower_bound` and `upper_bound`, both allowed values.

  def integer(self, name: str, default: int | None, text: str, **bounds: int) -> None:
    self._add(absl_flags.DEFINE_integer, name, default, text, **bounds)

  def number(self, name: str, default: float | None, text: str, **bounds: float) -> None:
    self._add(absl_flags.DEFINE_float, name, default, text, **bounds)

  def switch(self, name: str, default: bool, text: str) -> None:
    self._add(absl_flags.DEFINE_bool, name, default, text)

  def string(self, name: str, default: str | None, text: str) -> None:
    self._add(absl_flags.DEFINE_string, name, default, text)

  def choice(self, name: str, default: str, choices: Sequence[str], text: str) -> None:
    self._add(absl_flags.DEFINE_enum, name, default, choices, text)

  def path(self, name: str, default: str | None, text: str) -> None:
    """Defines a flag of a file or folder; `~` is expanded."""
    self._add(absl_flags.DEFINE, _Path(), name, default, text)

  def paths(self, name: str, text: str) -> None:
    """Defines a flag of files that may be given several times; `~` is expanded."""
    self._add(absl_flags.DEFINE_multi, _Listed(_Path(), commas=False), None, name, [()], text)

  def repeated(self, name: str, text: str) -> None:
    """Defines a flag that may be given several times, each time with one value, whatever is in it."""
    self._add(absl_flags.DEFINE_multi, _Listed(absl_flags.ArgumentParser(), commas=False), None, name, [()], text)

  def listed(self, name: str, default: Sequence, text: str, of: type = str, choices: Sequence[str] = ()) -> None:
    """Defines a flag of several values, with commas between them or given several times."""
    parser = {
      int: absl_flags.IntegerParser,
      float: absl_flags.FloatParser,
      str: lambda: absl_flags.EnumParser(list(choices)) if choices else absl_flags.ArgumentParser(),
    }[of]()
    self._add(absl_flags.DEFINE_multi, _Listed(parser), None, name, [tuple(default)], text)
    if choices and default:
      self._chosen.append(name)

  def require(self, *names: str) -> None:
    """Lets the script not start without these flags."""
    absl_flags.mark_flags_as_required(names, self._values)

  def writes(self, name: str, must_exist: bool = False) -> None:
    """Keeps a second run of the script out of the folder that a flag names, as long as the first one writes there.

    Args:
      name: The flag.
      must_exist: Whether the script only adds to such a folder; it says itself what is wrong where there is none.
    """
    self._written[name] = must_exist

  def common(self, *names: str) -> None:
    """Defines some of the flags that several scripts have: survey, workdir, seed, overwrite, max_missing."""
    definitions = {
      'survey': lambda: self.path('survey', None, 'Folder of the survey archive.'),
      'workdir': lambda: self.path('workdir', None, 'Work directory: what a run writes and later scripts read.'),
      'seed': lambda: self.integer(
        'seed', 0, 'The one random key of the run, a non-negative integer.', lower_bound=0, upper_bound=2**32 - 1
      ),
      'overwrite': lambda: self.switch('overwrite', False, 'Replace what an earlier run of this script left.'),
      'max_missing': lambda: self.number(
        'max_missing',
        0.2,
        'Largest fraction of missing pixels that a magnetogram may have.',
        lower_bound=0.0,
        upper_bound=1.0,
      ),
    }
    for name in names:
      definitions[name]()

  # Settings.

  def settings(self, kind: type, prefix: str = '', **names: str) -> None:
    """Defines a flag for each entry of a settings dataclass: its type and default, and the text that documents it.

    Args:
      kind: The dataclass; its docstring documents the entries under `Attributes`.
      prefix: Before the names of the entries.
      **names: Entry -> name of its flag, where that is another one, or a flag that is there already; for an entry that
        is a dataclass itself, the prefix of its flags.
    """
    self._entries[kind] = {}
    texts = _documented(kind)
    for field in dataclasses.fields(kind):
      if dataclasses.is_dataclass(field.type):
        self.settings(field.type, names.get(field.name, prefix), **names)
        continue
      name = names.get(field.name, prefix + field.name)
      self._entries[kind][field.name] = name
      if name not in self._names:
        self._define_entry(name, field, texts[field.name])

  def build(self, kind: type, **given: Any) -> Any:
    """Returns a settings dataclass with the values of its flags; `given` are entries that do not come from flags."""
    values = {entry: getattr(self, flag) for entry, flag in self._entries[kind].items()}
    nested = {
      field.name: self.build(field.type)
      for field in dataclasses.fields(kind)
      if dataclasses.is_dataclass(field.type) and field.name not in given
    }
    return kind(**(values | nested | given))

  def _define_entry(self, name: str, field: dataclasses.Field, text: str) -> None:
    kind, choices = field.type, field.metadata.get('choices', ())
    default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    if typing.get_origin(kind) is tuple:
      self.listed(name, default, text, typing.get_args(kind)[0], choices)
      return
    if isinstance(kind, types.UnionType):  # Of a type and None.
      kind = next(member for member in kind.__args__ if member is not types.NoneType)
    if choices:
      self.choice(name, default, choices, text)
    else:
      {int: self.integer, float: self.number, bool: self.switch, str: self.string}[kind](name, default, text)

  # Reading.

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_') or name not in self._names:
      raise AttributeError(f'There is no flag {name}.')
    value = self._values[name].value
    return tuple(item for part in value for item in part) if isinstance(value, list) else value

  def given(self, name: str) -> bool:
    """Says whether a flag was on the command line."""
    return self._values[name].present > 0

  def parse(self, argv: Sequence[str]) -> None:
    """Reads a command line, the name of the script first.

    Raises:
      UserError: A flag is unknown, lacks or has a value that it cannot have, or an argument is no flag.
    """
    try:
      rest = self._values(list(argv))
    except absl_flags.Error as error:
      raise UserError(str(error)) from error
    if len(rest) > 1:
      raise UserError(f'unexpected argument {rest[1]!r}; flags are written --name=value (see --help).')
    for name in self._names:
      values = getattr(self, name)
      for value in values if isinstance(values, tuple) else (values,):
        if isinstance(value, float) and not math.isfinite(value):
          raise UserError(f'flag --{name}={value}: a finite number is needed.')
    empty = next((name for name in self._chosen if not getattr(self, name)), None)
    if empty:
      raise UserError(f'flag --{empty}= names nothing; leave it out for the default.')

  def folders_written(self) -> list[str]:
    """Returns the folders that no second run of the script may write."""
    folders = ((getattr(self, name), must_exist) for name, must_exist in self._written.items())
    return [folder for folder, must_exist in folders if folder and (os.path.isdir(folder) or not must_exist)]

  def help(self) -> str:
    """Returns a paragraph for each flag."""
    lines = []
    for name in self._names:
      flag = self._values[name]
      default = ','.join(map(str, getattr(self, name))) if isinstance(flag.default, list) else flag.default
      told = '' if default is None else f' (default: {default})'
      lines.append(absl_flags.text_wrap(f'--{name}: {flag.help.partition(REPEAT)[0]}{told}', 100, '      ', '  '))
    return '\n'.join(lines)

  def _add(self, define: Any, *arguments: Any, **bounds: Any) -> None:
    self._names.append(next(argument for argument in arguments if isinstance(argument, str)))
    define(*arguments, flag_values=self._values, **bounds)


class _Path(absl_flags.ArgumentParser):
  """A path; `~` is expanded."""

  def parse(self, argument: str) -> str:
    return os.path.expanduser(argument)


class _Listed(absl_flags.ArgumentParser):
  """Values, as a rule with commas between them."""

  def __init__(self, parser: absl_flags.ArgumentParser, commas: bool = True) -> None:
    self._parser, self._commas = parser, commas

  def parse(self, argument: str | tuple) -> tuple:
    if isinstance(argument, tuple):  # The default.
      return argument
    parts = [part.strip() for part in argument.split(',')] if self._commas else [argument]
    return tuple(self._parser.parse(part) for part in parts if part)

  def flag_type(self) -> str:
    return f'list of {self._parser.flag_type()}'


def _documented(kind: type) -> dict[str, str]:
  """Returns entry -> text of the `Attributes` in the docstring of a dataclass."""
  texts = {}
  for entry in docstring_parser.parse(inspect.getdoc(kind)).params:
    for name in entry.arg_name.split(', '):
      texts[name] = ' '.join(entry.description.split())
  return texts


def default_cache() -> str:
  """Returns the folder in which compiled programs are kept unless the user says otherwise."""
  return os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'hearjax')
