"""The README: what it shows runs as it stands."""

import re

import numpy as np

from tests.scripts import ROOT


def test_the_notebook_of_the_readme_runs():
  blocks = re.findall(r'^```python\n(.*?)^```$', (ROOT / 'README.md').read_text(), flags=re.M | re.S)
  (block, *_) = (block for block in blocks if 'hearjax.fit(' in block)
  assert 'pairs=80' in block
  names = {}
  exec(compile(block.replace('pairs=80', 'pairs=12'), 'README.md', 'exec'), names)
  survey, splits, run = (names[name] for name in ('survey', 'splits', 'run'))
  assert len(survey.pair_ids) == 12 and run.splits is splits
  models = set(names['skill']['model'])
  assert 'cnn' in models and any(name.startswith('da_') for name in models)
  assert len(names['tables']) == len(models)
  assert np.isfinite(names['skill']['tss']).any()
