"""Figures of the skill."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from hearjax.report import skill_plots
from hearjax.report.skill_plots import plot_reliability, plot_skill
from hearjax.verification.skill import skill_table
from tests.hand_made import random_table


def test_figures_are_written_whole_and_without_warnings(tmp_path):
  tables = [random_table(skill=1.0, model=name, seed=index) for index, name in enumerate(('cnn', 'da_flux', 'theirs'))]
  skill = skill_table(tables, 50, 0)
  skill.meta['survey_source'] = 'simulated'
  skill['tss'][0] = np.nan
  plot_skill(skill, tmp_path / 'figures' / 'skill.png')
  plot_reliability(tables, -1, tmp_path / 'figures' / 'reliability.png')
  assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['reliability.png', 'skill.png']
  with pytest.raises(ValueError, match='No model has forecasts for both classes at interval 1'):
    plot_reliability(tables, 1, tmp_path / 'none.png')


def test_figures_of_a_simulation_say_so(tmp_path, monkeypatch):
  figures = []
  monkeypatch.setattr(skill_plots, 'Figure', lambda **keywords: figures.append(Figure(**keywords)) or figures[-1])
  table = random_table(skill=1.0)
  skill = skill_table([table], 50, 0)
  skill.meta['survey_source'] = 'simulated'
  plot_skill(skill, tmp_path / 'skill.png')
  plot_reliability([table], -1, tmp_path / 'reliability.png')
  texts = [' '.join(text.get_text() for text in figure.findobj(Text)) for figure in figures]
  assert len(texts) == 2 and all('Simulated survey: no evidence about the Sun' in text for text in texts)
