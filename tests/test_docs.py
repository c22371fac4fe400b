"""README, manual and citation: their commands, flags and Python are those of the code; what they name is there."""

import importlib
import pathlib
import re
import shlex
import sys

import matplotlib.pyplot as plt
import pytest
import sunpy.map
import yaml

import hearjax
from experiments import cli
from experiments.__main__ import scripts
from experiments.flags import Flags
from hearjax.checks import UserError
from hearjax.forecast.disk import forecast_disk
from hearjax.forecast.disk_maps import draw_disk, write_disk_map
from tests.forecast.small_disk import SMALL_DOMAIN, mean_network, small_disk
from tests.scripts import ROOT

DOCS = ROOT / 'docs'
PAGES = [ROOT / 'README.md', *sorted(path for path in DOCS.rglob('*.md') if '_build' not in path.parts)]
FENCE = re.compile(r'^```([^\n]*)\n(.*?)^```$', flags=re.M | re.S)
# Pages whose Python runs in a test: README.md in test_readme.py, and this one below. Elsewhere it is a notebook cell.
RUN_HERE = ('README.md', 'magnetograms.md')


def every_page(function):
  return pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())(function)


def defined(name: str) -> Flags:
  """Returns the flags of a script."""
  assert name in scripts(), f'There is no script {name!r}.'
  flags = Flags()
  importlib.import_module(f'experiments.{name}').define_flags(flags)
  return flags


def blocks(text: str, language: str) -> list[str]:
  return [block for known, block in FENCE.findall(text) if known == language]


def commands(text: str) -> list[list[str]]:
  """Returns the words after `hearjax` of every command in the blocks of a page, but in Python."""
  shown = [block for known, block in FENCE.findall(text) if not known.startswith(('python', '{'))]
  lines = [line for block in shown for line in block.replace('\\\n', ' ').splitlines()]
  words = [shlex.split(line, comments=True) for line in lines if re.match(r'\s*(\$ |srun )?hearjax [a-z_]+( |$)', line)]
  return [line[line.index('hearjax') + 1 :] for line in words]


def check_command(name: str, *arguments: str) -> None:
  """Parses a command as its script does, which it does not run."""
  flags = defined(name)
  if not set(arguments) & set(cli.HELP):
    flags.parse([name, *arguments])


def test_every_script_has_a_command_somewhere():
  shown = {name for path in PAGES for name, *_ in commands(path.read_text())}
  assert set(scripts()) == shown


@every_page
def test_commands_are_taken_by_their_scripts(path):
  for command in commands(path.read_text()):
    check_command(*command)


@every_page
def test_flags_in_sentences_are_those_of_a_script(path):
  known = {'help', *(name for script in scripts() for name in flag_names(script))}
  known |= {name.partition('_')[0] + '_' for name in known}  # As in `--catalogue_…`, which stands for several.
  text = FENCE.sub('', path.read_text())
  code = ' '.join(part for part in re.findall('`([^`]+)`', text) if not part.startswith(('pip ', 'tensorboard ')))
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
    ('```sh\nsrun hearjax train --survey=a \\\n  --workdir=b --fold=3\n```\n', "Unknown command line flag 'fold'"),
  ],
)
def test_a_command_that_is_none_is_found(text, sentence):
  ((name, *arguments),) = commands(text)
  with pytest.raises(UserError, match=sentence):
    check_command(name, *arguments)


@every_page
def test_code_stands_in_fences_of_a_known_kind(path):
  text = path.read_text()
  kinds = {kind.split()[0] if kind else '' for kind, _ in FENCE.findall(text)}
  known = {'sh', 'text', 'python', 'csv', '{code-cell}', '{toctree}', '{important}', '{literalinclude}', '{note}'}
  assert kinds <= known
  assert not re.search(r'\n\n {4}\S', re.sub(r'^[-\d].*\n(?:(?: .*)?\n)*', '', FENCE.sub('', text), flags=re.M))
  if path.parent != DOCS / 'tutorials':
    assert not blocks(text, 'python') or path.name in RUN_HERE


@every_page
def test_what_a_page_links_to_is_there(path):
  links = re.findall(r'\]\(([^)\s]+)\)', FENCE.sub('', path.read_text()))
  for link in (link for link in links if not link.startswith(('http', '#'))):
    target, _, anchor = link.partition('#')
    there = path.parent / target
    assert there.exists(), f'{link}: there is no {there}'
    if anchor:
      assert anchor in anchors(there), f'{link}: there is no such heading'


def anchors(path: pathlib.Path) -> set[str]:
  """Returns the anchors of the headings of a page, as they are made on GitHub and by MyST."""
  if path == DOCS / 'scripts.md':
    return set(scripts())  # Made when the manual is built.
  headings = re.findall(r'^#+ (.*)$', FENCE.sub('', path.read_text()), flags=re.M)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_every_figure_is_shown():
  named = {name for path in PAGES for name in re.findall(r'figures/([\w.]+)', path.read_text())}
  assert named == {path.name for path in (DOCS / 'figures').iterdir()}


# --- The reference pages ----------------------------------------------------------------------------------------


@pytest.fixture
def reference(monkeypatch):
  monkeypatch.syspath_prepend(str(DOCS))
  yield importlib.import_module('reference')
  sys.modules.pop('reference', None)


def test_flags_of_the_manual_are_those_of_help(reference):
  for name in scripts():
    section = reference.script_section(name)
    assert section.startswith(f'\n## {name}\n')
    assert set(re.findall(r'^`--(\w+)`', section, flags=re.M)) == flag_names(name)
    assert str(pathlib.Path.home()) not in section


def test_text_of_a_flag_is_not_taken_for_markup(reference):
  entry = reference.flag_entry('  --mode: <a|b>: Of x_*; see\n      `y_*`. (default: a)')
  assert entry == '`--mode` = `a`\n: Of x\\_\\*; see `y_*`. One of `a`, `b`.\n'


def test_every_module_is_on_a_page_of_the_manual(reference):
  pages = [path.stem for path in (DOCS / 'api').glob('*.md') if path.stem not in ('index', 'hearjax')]
  shown = {name for page in pages for name in reference.modules(page)}
  files = (path for path in ROOT.glob('hearjax/**/*.py') if path.stem != '__init__')
  assert shown == {'.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in files}


def test_every_public_name_has_a_line(reference):
  assert set(re.findall(r'`(\w+) <hearjax', reference.public_names())) == set(hearjax.__all__)


def test_docstrings_are_shown_as_they_are_meant(reference):
  lines = ['Of |B|, `|B|` and more.', '', '  a|b  c', '', '  d', '', 'End |x|.']
  reference.prepare(None, 'module', 'name', None, None, lines)
  assert lines == ['Of \\|B\\|, `|B|` and more.', '', '::', '', '  a|b  c', '', '  d', '', 'End \\|x\\|.']


# --- What the pages run -----------------------------------------------------------------------------------------


def test_maps_of_a_scan_are_shown_as_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
  time, (model, params) = '2014-03-01T00:00:00', mean_network()
  disk = small_disk(tmp_path, **{'DATE-OBS': time, 'T_OBS': time})
  (tmp_path / 'small.fits').rename(tmp_path / 'frame.fits')
  places = forecast_disk(disk, model, params, SMALL_DOMAIN)
  (tmp_path / 'scan').mkdir()
  write_disk_map(tmp_path / 'scan' / 'frame.emergence.fits', draw_disk(disk, places), {})
  monkeypatch.chdir(tmp_path)
  (block,) = blocks((DOCS / 'magnetograms.md').read_text(), 'python')
  names = {}
  exec(compile(block, 'magnetograms.md', 'exec'), names)
  plt.close('all')
  maps = [names[name] for name in ('probability', 'spread', 'mu', 'outside')]
  assert all(isinstance(one, sunpy.map.GenericMap) for one in maps)
  assert [one.meta['extname'].lower() for one in maps] == ['probability', 'spread', 'mu', 'outside']


# --- Citation ---------------------------------------------------------------------------------------------------


def test_the_citation_is_of_this_version_and_names_the_paper():
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)  # What the format requires.
  assert citation['cff-version'] == '1.2.0'
  assert citation['version'] == hearjax.__version__
  assert citation['license'] in (ROOT / 'setup.cfg').read_text()
  (paper,) = citation['references']
  assert {'type', 'title', 'authors'} <= set(paper)
  readme = (ROOT / 'README.md').read_text()
  assert paper['doi'] in readme
  assert all(author['family-names'] in readme for author in paper['authors'])
