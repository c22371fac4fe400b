"""The README: what it shows runs as it stands."""

import re

import numpy as np

from experiments.__main__ import scripts
from tests.scripts import ROOT, succeed
from tests.test_docs import FENCE, commands

README = (ROOT / 'README.md').read_text()


def test_it_is_short_and_warns_on_top():
  assert len(README.splitlines()) <= 200
  assert README.index('Simulated skill is no evidence about the Sun') < README.index('![')


def test_its_table_names_every_script():
  cells = re.findall(r'^\| (`.*?`) \|', README, flags=re.M)
  assert sorted(re.findall(r'`(\w+)`', ' '.join(cells))) == sorted(scripts())


def test_targets_of_make_are_there():
  targets = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), flags=re.M))
  shown = ' '.join(block for _, block in FENCE.findall(README))
  assert set(re.findall(r'^make ([\w-]+)', shown, flags=re.M) + re.findall(r'\nmake ([\w-]+)', shown)) <= targets


def test_the_notebook_of_the_readme_runs():
  blocks = re.findall(r'^```python\n(.*?)^```$', README, flags=re.M | re.S)
  (block,) = (block for block in blocks if 'hearjax.fit(' in block)
  assert 'pairs=80' in block
  names = {}
  exec(compile(block.replace('pairs=80', 'pairs=12'), 'README.md', 'exec'), names)
  survey, splits, run = (names[name] for name in ('survey', 'splits', 'run'))
  assert len(survey.pair_ids) == 12 and run.splits is splits
  models = set(names['skill']['model'])
  assert 'cnn' in models and any(name.startswith('da_') for name in models)
  assert len(names['tables']) == len(models)
  assert np.isfinite(names['skill']['tss']).any()


def test_the_command_of_the_report_runs(finished, tmp_path):
  """Others that the README shows run, smaller, in the tests of their scripts."""
  (command,) = (words for words in commands(README) if words[0] == 'report')
  places = {'runs/mine': str(finished), 'runs/quick': str(tmp_path / 'quick')}
  (tmp_path / 'quick').mkdir()
  for name in ('config.json', 'splits.json', 'metrics.jsonl', 'predictions'):
    (tmp_path / 'quick' / name).symlink_to(finished / name)
  name, *arguments = command
  for shown, there in places.items():
    arguments = [argument.replace(shown, there) for argument in arguments]
  assert 'The report: ' in succeed(name, *arguments, f'--out={tmp_path}/report.html')
  assert (tmp_path / 'report.html').stat().st_size > 10_000
