"""Prunes and probes a network that hearjax did not make: a small Flax CNN, trained here in a few lines.

It stands for any network of convolutions and ReLUs that somebody has. What interpretation needs of it is here: the
module with its parameters (`interpret.network.adapt`), maps with labels (`interpret.maps.survey_of_maps`), which of
them it has learnt from, and the same network untrained and trained on exchanged labels, to compare with. There is no
work directory.

hearjax foreign --out=runs/foreign
"""

import functools
import itertools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import hearjax
from hearjax.files import write_table
from hearjax.interpret.findings import NAME, SKILL, judge, skill, told
from hearjax.interpret.maps import MEMBERS, Subject, survey_of_maps
from hearjax.interpret.network import Params, adapt, with_channel
from hearjax.interpret.references import EXCHANGED, FIELD_METER, FLUX_METER, UNTRAINED, exchange_labels, make_meter
from hearjax.interpret.statistics import Draws
from hearjax.models.network import ModelSettings
from hearjax.progress import counted, meter
from hearjax.report.finding_plots import plot_findings
from hearjax.survey.fold_rows import FoldRows
from hearjax.survey.survey import Survey

from . import cli
from .interpreting import measure_all

FOLDS = 2
WINDOW_MM = 5.0  # In which the network below looks hardest: nobody told it so.
KINDS = {MEMBERS: 2, UNTRAINED: 4, EXCHANGED: 2}  # Networks for each fold.


def define_flags(flags: cli.Flags) -> None:
  flags.path('out', 'runs/foreign', 'Folder for the findings and their figure.')
  flags.integer('pairs', 80, 'Simulated pairs that it is trained and tested on.', lower_bound=8)
  flags.integer('steps', 300, 'Steps of its training.', lower_bound=1)
  flags.integer('resamples', 300, 'Bootstrap samples of the pairs and networks.', lower_bound=20)
  flags.common('seed', 'overwrite')
  flags.writes('out')


class Theirs(nn.Module):
  """Three layers of convolutions, the mean over the map and the largest value of each filter, one logit."""

  @nn.compact
  def __call__(self, maps: jax.Array) -> jax.Array:
    maps = jnp.arcsinh(maps / 20)
    for width, stride in ((8, 2), (16, 2), (16, 1)):
      maps = nn.relu(nn.Conv(width, (3, 3), strides=stride)(maps))
    return nn.Dense(1)(jnp.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=-1))[:, 0]


def main(flags: cli.Flags) -> None:
  out = pathlib.Path(flags.out)
  cli.check_unused(flags, out / NAME)
  simulated = hearjax.simulate_survey(flags.seed, flags.pairs, (-1,), 48)
  survey = survey_of_maps(simulated.field, simulated.label, simulated.pixel_scale_mm, simulated.pair)
  subjects = make_subjects(survey, flags.steps, flags.seed)
  draws = Draws.of(survey, flags.resamples, flags.seed)
  claims, _ = measure_all(subjects, survey, draws, WINDOW_MM, flags.seed)
  found = judge({SKILL: skill(subjects, survey, draws), **claims}, flags.seed)
  write_table(out / NAME, found)
  plot_findings(found, simulated.source, out / 'findings.png')
  print(told(found))
  print(f'The survey is simulated, which says nothing about the Sun. Table and figure are in {out}.')


def make_subjects(survey: Survey, steps: int, seed: int) -> list[Subject]:
  """Returns the networks, each with the maps that it has learnt from and those that it is tested on."""
  module = Theirs()
  init = jax.jit(module.init)
  subjects = []
  count = counted(meter('training', 'network'), FOLDS * sum(KINDS.values()))
  for fold in range(FOLDS):
    rows = split(survey, fold)
    for group, of_centre in ((FIELD_METER, True), (FLUX_METER, False)):
      made = make_meter(ModelSettings(crop_px=0), survey.pixel_scale_mm, of_centre, WINDOW_MM)
      subjects.append(Subject(f'{group}, fold {fold}', group, *made, rows))
    for (group, n), key in zip(KINDS.items(), jax.random.split(jax.random.key(seed + fold), len(KINDS)), strict=True):
      for number, one in enumerate(jax.random.split(key, n)):
        params = init(one, with_channel(survey.field[:1]))
        if group != UNTRAINED:
          exchanged = exchange_labels(survey.label, survey.pair, [seed, fold, number])
          params = train(module, params, survey, rows.train, survey.label if group == MEMBERS else exchanged, steps)
        network = adapt(module, params, survey.field[:2], survey.pixel_scale_mm)
        subjects.append(Subject(f'{group} {number}, fold {fold}', group, network, params, rows))
        count()
  return subjects


def split(survey: Survey, fold: int) -> FoldRows:
  """Returns the rows of a fold: every other pair for the test, of the others one in five for the validation."""
  place = survey.pair // FOLDS
  test, validation = survey.pair % FOLDS == fold, place % 5 == 0
  return FoldRows(*map(np.flatnonzero, (~test & ~validation, ~test & validation, test)))


def train(module: nn.Module, params: Params, survey: Survey, rows: np.ndarray, label: np.ndarray, steps: int) -> Params:
  """Returns parameters after some steps of Adam on batches of 32 maps, turned and mirrored at random."""
  tx = optax.adam(3e-3)
  step = functools.partial(_step, module=module, tx=tx)
  state, rng = tx.init(params), np.random.default_rng(0)
  for _ in itertools.repeat(None, steps):
    batch = rng.choice(rows, 32)
    field = np.rot90(survey.field[batch], rng.integers(4), axes=(1, 2)) * rng.choice((-1, 1))
    params, state = step(params, state, np.ascontiguousarray(field), label[batch])
  return params


@functools.partial(jax.jit, static_argnames=('module', 'tx'))
def _step(params, state, field, label, *, module, tx):
  def loss(params: Params) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(module.apply(params, with_channel(field)), label).mean()

  updates, state = tx.update(jax.grad(loss)(params), state, params)
  return optax.apply_updates(params, updates), state


if __name__ == '__main__':
  cli.run(__name__)
