"""The documents in docs/: their commands, flags and pieces of Python are those of the code."""

import importlib
import pathlib
import re
import shlex

import matplotlib.pyplot as plt
import pytest
import sunpy.map

from experiments import cli
from experiments.__main__ import scripts
from experiments.flags import Flags
from hearjax.checks import UserError
from hearjax.forecast.disk import forecast_disk
from hearjax.forecast.disk_maps import draw_disk, write_disk_map
from tests.forecast.small_disk import SMALL_DOMAIN, mean_network, small_disk
from tests.scripts import ROOT

DOCUMENTS = sorted((ROOT / 'docs').glob('*.md'))
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', flags=re.M | re.S)


def defined(name: str) -> Flags:
  """Returns the flags of a script."""
  assert name in scripts(), f'There is no script {name!r}.'
  flags = Flags()
  importlib.import_module(f'experiments.{name}').define_flags(flags)
  return flags


def blocks(text: str, language: str) -> list[str]:
  return [block for known, block in FENCE.findall(text) if known == language]


def commands(text: str) -> list[list[str]]:
  """Returns the words after `hearjax` of every command in the blocks of a document."""
  lines = [line for _, block in FENCE.findall(text) for line in block.replace('\\\n', ' ').splitlines()]
  words = [shlex.split(line, comments=True) for line in lines if re.match(r'\s*(\$ )?hearjax\b', line)]
  return [line[line.index('hearjax') + 1 :] for line in words]


def check_command(name: str, *arguments: str) -> None:
  """Parses a command as its script does, which it does not run."""
  flags = defined(name)
  if not set(arguments) & set(cli.HELP):
    flags.parse([name, *arguments])


def test_there_is_a_document_with_commands():
  text = (ROOT / 'docs' / 'surveys_from_hmi.md').read_text()
  assert {name for name, *_ in commands(text)} >= {'simulate_frames', 'build_survey', 'scan'}


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_taken_by_their_scripts(path):
  for command in commands(path.read_text()):
    check_command(*command)


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_flags_in_sentences_are_those_of_a_script(path):
  known = {name for script in scripts() for name in flag_names(script)}
  known |= {name.partition('_')[0] + '_' for name in known}  # As in `--catalogue_…`, which stands for several.
  code = ' '.join(re.findall('`([^`]+)`', FENCE.sub('', path.read_text())))
  named = set(re.findall(r'(?<![\w-])--(\w+)', code))
  assert not {name for name in named if not {name, name.removeprefix('no')} & known}


def flag_names(script: str) -> set[str]:
  return set(re.findall(r'^  --(\w+):', defined(script).help(), flags=re.M))


@pytest.mark.parametrize(
  ('text', 'sentence'),
  [
    ('```sh\nhearjax scan --workdir=a --out=b --fit=c\n```\n', "Unknown command line flag 'fit'"),
    ('```sh\nexport A=b\nhearjax train \\\n  --padding=none  # Or so.\n```\n', 'flag --padding=none'),
    ('```\nhearjax scan --workdir=a\n```\n', 'Flag --out must have a value'),
  ],
)
def test_a_command_that_is_none_is_found(text, sentence):
  ((name, *arguments),) = commands(text)
  with pytest.raises(UserError, match=sentence):
    check_command(name, *arguments)


def test_maps_of_a_scan_are_shown_as_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
  time, (model, params) = '2014-03-01T00:00:00', mean_network()
  disk = small_disk(tmp_path, **{'DATE-OBS': time, 'T_OBS': time})
  (tmp_path / 'small.fits').rename(tmp_path / 'frame.fits')
  places = forecast_disk(disk, model, params, SMALL_DOMAIN)
  (tmp_path / 'scan').mkdir()
  write_disk_map(tmp_path / 'scan' / 'frame.emergence.fits', draw_disk(disk, places), {})
  monkeypatch.chdir(tmp_path)
  (block,) = blocks((ROOT / 'docs' / 'surveys_from_hmi.md').read_text(), 'python')
  names = {}
  exec(compile(block, 'surveys_from_hmi.md', 'exec'), names)
  plt.close('all')
  maps = [names[name] for name in ('probability', 'spread', 'mu', 'outside')]
  assert all(isinstance(one, sunpy.map.GenericMap) for one in maps)
  assert [one.meta['extname'].lower() for one in maps] == ['probability', 'spread', 'mu', 'outside']
