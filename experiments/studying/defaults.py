"""The study behind the defaults: one change at a time, on simulated surveys, scored on held-aside pairs.

Each variant changes one thing of the default run. All are cross-validated on the same simulated surveys with the same
folds; what is reported is the skill on the test pairs, averaged over the surveys and over the intervals. The defaults
of the settings (`hearjax/models/network.py`, `training/settings.py`, `maps/augmentation.py`) follow this table. It says
nothing about the Sun.
"""

import dataclasses

import numpy as np
from astropy.table import Table

import hearjax
from hearjax.checks import UserError
from hearjax.models.discriminant import DISCRIMINANTS, DiscriminantSettings, survey_features
from hearjax.progress import counted, meter, say
from hearjax.survey.folds import Splits
from hearjax.survey.survey import Survey
from hearjax.training.settings import RunSettings
from hearjax.verification.skill import skill_mean_table, skill_table

from ..flags import Flags
from .kept import KeptRows

PAIRS = 120

NO_AUGMENTATION = {'polarity': False, 'mirror': False, 'transpose': False, 'shift_px': 0}
MIRRORS = ('mirror_longitude', 'mirror_latitude')
DESIGN_SHAPE = {'widths': (16, 32, 64, 64), 'strides': (2, 2, 2, 2)}

# Name -> what it changes of the default run, by group of settings.
VARIANTS: dict[str, dict[str, dict]] = {
  'default': {},
  'trained on the last interval': {'run': {'train_intervals': (-1,)}},
  'three seeds, averaged': {'run': {'seeds': 3}},
  'no augmentation': {'augmentation': NO_AUGMENTATION},
  'shifts to 6 px': {'augmentation': {'shift_px': 6}},
  'polarity exact': {'augmentation': {'polarity': False}, 'model': {'symmetries': ('polarity',)}},
  'mirrors exact': {'augmentation': {'mirror': False}, 'model': {'symmetries': MIRRORS}},
  'whole map, average pooling': {'model': {'crop_px': 0, 'centre_mm': 0.0, 'log_pool': 0.0, **DESIGN_SHAPE}},
  'no central window': {'model': {'centre_mm': 0.0}},
  'no logarithm': {'model': {'log_pool': 0.0}},
  'strides 2, 2, 2, 2': {'model': {'strides': (2, 2, 2, 2)}},
  'clip 50 G, scale 50 G': {'model': {'limit_gauss': 50.0, 'scale_gauss': 50.0}},
}


def apply(change: dict[str, dict]) -> RunSettings:
  """Returns the default run with the changes of a variant."""
  run = RunSettings(**change.get('run', {}))
  augmentation = dataclasses.replace(run.training.augmentation, **change.get('augmentation', {}))
  training = dataclasses.replace(run.training, augmentation=augmentation, **change.get('training', {}))
  return dataclasses.replace(run, training=training, model=dataclasses.replace(run.model, **change.get('model', {})))


def scores(predictions: Table) -> dict[str, float]:
  """Returns the TSS of each interval and on average (threshold chosen in training), and the mean AUC."""
  skill = skill_table([predictions], resamples=1, seed=0)
  skill = skill[skill['threshold_rule'] == 'train']
  mean = skill_mean_table([predictions], resamples=1, seed=0)
  row = {f'tss_{-round(float(r["hours"]))}h': float(r['tss']) for r in skill}
  return row | {'tss': float(mean['tss'][mean['threshold_rule'] == 'train'][0]), 'auc': float(np.mean(skill['auc']))}


def run_variant(survey: Survey, splits: Splits, change: dict[str, dict]) -> dict[str, float]:
  """Cross-validates one variant on one survey."""
  return scores(hearjax.fit(survey, splits, apply(change)).predictions)


def run_baselines(survey: Survey, splits: Splits) -> dict[str, dict[str, float]]:
  """Cross-validates the discriminant analyses on one survey, for comparison."""
  settings = DiscriminantSettings()
  features = survey_features(survey, settings)
  analyse = hearjax.discriminant_analysis
  return {model: scores(analyse(survey, splits, model, settings, features)) for model in DISCRIMINANTS}


def print_markdown(table: Table) -> None:
  """Prints the table as the manual shows it: each survey beside the other, empty where a variant was not run on it."""
  seeds = sorted(set(table['survey_seed']))
  shown = [('tss', 'mean TSS'), ('auc', 'mean AUC'), ('tss_24h', 'TSS, 24 h'), ('tss_3h', 'TSS, 3 h')]
  heads = [f'{title}, survey {seed}' for _, title in shown for seed in seeds]
  print('| variant | ' + ' | '.join(heads) + ' |\n|' + '---|' * (len(heads) + 1))
  for variant in dict.fromkeys(table['variant']):
    rows = {row['survey_seed']: row for row in table[table['variant'] == variant]}
    cells = [f'{rows[seed][name]:.2f}' if seed in rows else '' for name, _ in shown for seed in seeds]
    print(f'| {variant} | ' + ' | '.join(cells) + ' |')


def run(flags: Flags) -> None:
  """Makes the study, or goes on with it."""
  unknown = set(flags.variants) - set(VARIANTS)
  if unknown:
    raise UserError(f'Unknown variants {sorted(unknown)}; known are {", ".join(VARIANTS)}.')
  pairs = flags.pairs or PAIRS
  settings = {'pairs': pairs, 'folds': flags.folds, 'default': dataclasses.asdict(apply({}))}
  kept = KeptRows(flags.out, settings, flags.overwrite)

  def record(variant: str, seed: int, row: dict[str, float]) -> None:
    kept.add([{'variant': variant, 'survey_seed': seed, **row}])
    say(f'{variant}, survey {seed}: mean TSS {row["tss"]:.3f}, mean AUC {row["auc"]:.3f}')

  done = {(row['variant'], row['survey_seed']) for row in kept.rows}
  missing = {
    seed: [variant for variant in flags.variants or VARIANTS if (variant, seed) not in done]
    for seed in flags.survey_seeds
  }
  count = counted(meter('training', 'variant'), sum(map(len, missing.values())))
  for seed in flags.survey_seeds:
    survey = hearjax.simulate_survey(seed, pairs)
    splits = hearjax.make_splits(survey, flags.folds, seed=0)
    if (DISCRIMINANTS[0], seed) not in done:
      for model, row in run_baselines(survey, splits).items():
        record(model, seed, row)
    for variant in missing[seed]:
      record(variant, seed, run_variant(survey, splits, VARIANTS[variant]))
      count()
  print_markdown(Table(rows=kept.rows))
