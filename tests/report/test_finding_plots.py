"""The figure of the findings, from the table alone."""

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from hearjax.interpret.findings import SKILL, Claim, add_findings, judge
from hearjax.interpret.maps import MEMBERS
from hearjax.interpret.references import FLUX_METER, UNTRAINED
from hearjax.report import finding_plots, style


def test_every_claim_is_drawn_with_its_verdict(tmp_path, monkeypatch):
  effect = lambda mean: [np.append(mean, mean + 0.1 * np.linspace(-1, 1, 50))] * 3  # noqa: E731
  claims = {
    SKILL: {MEMBERS: effect(0.3)},
    Claim('a', 'Narrow is better', 'sd', 0.2, (UNTRAINED,)): {
      MEMBERS: effect(1.0),
      UNTRAINED: effect(0.0),
      FLUX_METER: effect(2.0),
    },
    Claim('b', 'Close is better', 'sd', 0.2, (UNTRAINED,)): {MEMBERS: effect(-1.0), UNTRAINED: effect(0.0)},
  }
  path = tmp_path / 'findings.ecsv'
  add_findings(path, judge(claims, 0), {'survey_checksum': 'a'})
  drawn: list[Figure] = []
  monkeypatch.setattr(style, 'save', lambda figure, file: drawn.append(figure))
  finding_plots.plot_findings(Table.read(path), 'simulated', tmp_path / 'findings.png')
  (figure,) = drawn
  texts = [{text.get_text() for text in axes.texts} for axes in figure.axes]
  assert [len(axes.get_lines()) for axes in figure.axes[1:]] == [7, 5]  # Interval and effect of each, and zero.
  assert 'supported' in texts[1]
  assert 'contradicted' in texts[2]
  assert any('no evidence about the Sun' in text.get_text() for text in figure.texts)
