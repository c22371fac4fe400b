"""Studies of the method: how often findings are wrong, what the defaults were chosen by, what intervals hold.

`--of=findings` makes many small surveys of worlds whose answer is known and counts how often each claim is made where
it is true and where it is not. `--of=defaults` changes one setting of the default run at a time. `--of=coverage` counts
how often intervals of the skill hold the truth, on features drawn at random. None says anything about the Sun.

hearjax study --of=findings --out=rates.ecsv
"""

from . import cli
from .studying import coverage, defaults, error_rates


def define_flags(flags: cli.Flags) -> None:
  flags.choice('of', 'findings', ('findings', 'defaults', 'coverage'), 'What to study.')
  flags.path('out', None, 'Table to write (ECSV); what is in it already is not computed again.')
  flags.integer('pairs', 0, 'Pairs of each survey; 0 for the number that suits the study.', lower_bound=0)
  flags.integer('surveys', 20, 'Findings: surveys of each world.', lower_bound=1)
  flags.listed('worlds', tuple(error_rates.WORLDS), 'Findings: worlds.', choices=tuple(error_rates.WORLDS))
  flags.listed('survey_seeds', (101, 102), 'Defaults: seeds of the surveys.', int)
  flags.integer('folds', 3, 'Defaults: folds of the cross-validation.', lower_bound=2)
  flags.repeated('variants', f'Defaults: variant, of {", ".join(map(repr, defaults.VARIANTS))}; all for none.')
  flags.common('overwrite')
  flags.require('out')


def main(flags: cli.Flags) -> None:
  {'findings': error_rates, 'defaults': defaults, 'coverage': coverage}[flags.of].run(flags)


if __name__ == '__main__':
  cli.run(__name__)
