"""Prunes the trained members of a work directory: what each filter does, and how few of them keep the skill.

Every filter is dropped alone, then filters are dropped one after the other, chosen on validation pairs. What is
reported comes from the test pairs of each member, which together are the whole survey. The minimal network is saved,
compacted.

hearjax prune --workdir=work
"""

import dataclasses
import functools
import pathlib

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from tqdm import tqdm

from hearjax.files import write_table
from hearjax.interpret import compaction, filters, pole_pairs, pruning
from hearjax.interpret.ablation import Sweep, count_parameters, even_chunk, masked_logits, sweep
from hearjax.interpret.pole_pairs import PairResponse, PairSettings
from hearjax.interpret.pruning import Part, Path, Scores
from hearjax.interpret.statistics import POLE_DISTANCE_PER_WAVELENGTH
from hearjax.models.network import build_model
from hearjax.report import pruning_plots
from hearjax.training.run import Member, Run
from hearjax.verification.resampling import confidence_interval

from . import cli

COMMON_MAPS = 200  # On which filters of different members are compared.
TIMED_MAPS = 256
UNITS = {
  'pole_distance_mm': u.Mm,
  'wavelength_mm': u.Mm,
  'seconds_per_1000': u.s,
  'seconds_per_1000_compacted': u.s,
}


@dataclasses.dataclass(frozen=True)
class Pruned:
  """What was found about one member; arrays as their makers describe them."""

  member: Member
  validation: Part
  test: Part
  swept: Sweep
  single: Scores
  paths: dict[str, Path]
  correlated: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
  labels: list[str]
  pairs: PairResponse | None
  unsigned_flux: np.ndarray
  common: np.ndarray


def define_flags(flags: cli.Flags) -> None:
  flags.common('workdir', 'survey', 'seed', 'overwrite')
  flags.integer('resamples', 500, 'Bootstrap samples of the pairs.', lower_bound=20)
  flags.integer('members', 0, 'Networks to prune, the first ones; 0 for all.', lower_bound=0)
  flags.switch('filter_pairing', False, 'Also find the pole distance that each filter rewards.')
  flags.settings(PairSettings, prefix='planted_', pole_mx='pole_mx')
  flags.require('workdir')
  flags.writes('workdir', must_exist=True)


def main(flags: cli.Flags) -> None:
  directory = pathlib.Path(flags.workdir) / 'pruning'
  cli.check_unused(flags, directory / 'filters.ecsv')
  planted = flags.build(PairSettings) if flags.filter_pairing else None
  run = cli.load_run(flags)
  members = list(run.members())[: flags.members or None]
  bar = functools.partial(tqdm, unit='step', disable=None, leave=False)
  chunk = even_chunk(max(len(member.rows.validation) for member in members))  # One size: everything compiles once.
  draws = {'resamples': flags.resamples, 'seed': flags.seed}
  pruned = [
    prune_member(run, member, planted, chunk, functools.partial(bar, desc=member.name), **draws) for member in members
  ]
  again = filters.stability(run.ensemble.model.settings, np.stack([each.common for each in pruned]))
  of_filters = [describe_filters(run, each, row) for each, row in zip(pruned, again, strict=True)]
  products = {
    'compacted': vstack([compact_member(run, each, directory / 'compacted', **draws) for each in pruned]),
    'stability': Table([summarise(each, row) for each, row in zip(pruned, again, strict=True)]),
    'path': vstack([pruning.path_table(run.ensemble.model.settings, each.member, each.paths) for each in pruned]),
    'filters': vstack(of_filters),  # Last: where it is, the others are.
  }
  for name, table in products.items():
    for column in set(UNITS) & set(table.colnames):
      table[column].unit = UNITS[column]
    table.meta = run.describe({**draws, 'planted_pairs': planted})
    write_table(directory / f'{name}.ecsv', table)
  draw(run, pruned, products, directory)
  print_summary(run, products, directory)


def prune_member(
  run: Run,
  member: Member,
  planted: PairSettings | None,
  chunk: int,
  progress: pruning.Progress,
  resamples: int,
  seed: int,
) -> Pruned:
  """Drops the filters of one member, alone and one after the other, and finds what each responds to."""
  model, params = run.ensemble.model, member.params
  validation = pruning.take_part(run, member.rows.validation, f'validation magnetograms of {member.name}')
  test = pruning.take_part(run, member.rows.test, f'test magnetograms of {member.name}')
  weights = {
    'validation': validation.resamples(resamples, seed),
    'test': test.resamples(resamples, seed),
  }

  def contributions(field: np.ndarray) -> np.ndarray:
    return sweep(model, params, field, chunk=chunk).contributions

  controls = test.field[test.label == 0]
  swept, on_validation = (sweep(model, params, part.field, chunk=chunk) for part in (test, validation))
  stacked = [np.vstack([each.logits, each.without]) for each in (on_validation, swept)]
  orders = {
    'greedy': pruning.eliminate(model, params, validation, progress, chunk),
    'random': pruning.random_order(model.settings, seed),
    'magnitude': pruning.magnitude_order(model.settings, params),
  }
  visible = model.settings.visible_px(test.field.shape[-1])
  quantities = filters.describe(run.survey.select(member.rows.test), visible)
  correlated = filters.correlations(swept.contributions, quantities, test, weights['test'])
  common = np.linspace(0, len(run.survey) - 1, min(COMMON_MAPS, len(run.survey))).astype(int)
  return Pruned(
    member=member,
    validation=validation,
    test=test,
    swept=swept,
    single=pruning.score_variants(validation, test, *stacked, weights['test']),
    paths={
      name: pruning.follow(model, params, validation, test, order, weights, chunk) for name, order in orders.items()
    },
    correlated=correlated,
    labels=filters.label_filters(correlated, swept.strength.max(axis=1) == 0),
    pairs=planted
    and pole_pairs.respond_to_pairs(contributions, controls, model.pixel_scale_mm, visible, planted, seed),
    unsigned_flux=quantities[filters.QUANTITIES.index(filters.FLUX)],
    common=contributions(run.survey.field[common]),
  )


def describe_filters(run: Run, pruned: Pruned, stability: np.ndarray) -> Table:
  """Returns the rows of `filters.ecsv` of one member."""
  columns = {
    'minimal': pruned.paths['greedy'].minimal,
    'label': pruned.labels,
    **filters.correlation_columns(pruned.correlated),
    'stability': stability,
  }
  if pruned.pairs:
    distance = pruned.pairs.preferred_mm()
    columns['pole_distance_mm'] = distance
    columns['wavelength_mm'] = distance / POLE_DISTANCE_PER_WAVELENGTH
    columns['pairing'] = pruned.pairs.largest
  return filters.filter_table(
    run.ensemble.model.settings, pruned.member, pruned.test, pruned.swept, pruned.single, columns
  )


def summarise(pruned: Pruned, stability: np.ndarray) -> dict:
  """Returns the row of `stability.ecsv` of one member."""
  greedy = pruned.paths['greedy']
  return {
    'member': pruned.member.name,
    'n_filters': len(pruned.labels),
    'n_dead': pruned.labels.count(filters.DEAD),
    'n_flux_positive': pruned.labels.count('flux+'),
    'n_flux_negative': pruned.labels.count('flux-'),
    'n_minimal': int(greedy.minimal.sum()),
    'n_minimal_random': int(pruned.paths['random'].minimal.sum()),
    'n_minimal_magnitude': int(pruned.paths['magnitude'].minimal.sum()),
    **({'pole_distance_mm': pruned.pairs.median_mm()} if pruned.pairs else {}),
    'stability': float(np.nanmedian(stability)) if np.isfinite(stability).any() else np.nan,
    'stability_minimal': _median(stability[greedy.minimal]),
  }


def compact_member(run: Run, pruned: Pruned, directory: pathlib.Path, resamples: int, seed: int) -> Table:
  """Saves the minimal network without the filters that it does not need; returns its row of `compacted.ecsv`."""
  full, params, kept = run.ensemble.model, pruned.member.params, pruned.paths['greedy'].minimal
  settings, smaller = compaction.compact(full.settings, params, kept)
  model = build_model(settings, full.pixel_scale_mm)
  size = pruned.test.field.shape[-1]
  compaction.save_compacted(directory / pruned.member.name, model, smaller, kept, size)
  model, smaller = compaction.load_compacted(directory / pruned.member.name)
  everything = np.ones((1, len(kept)), bool)
  logits = [
    np.vstack(
      [masked_logits(full, params, part.field, everything), masked_logits(model, smaller, part.field, kept[None, kept])]
    )
    for part in (pruned.validation, pruned.test)
  ]
  masked = masked_logits(full, params, pruned.test.field, kept[None])[0]
  weights = pruned.test.resamples(resamples, seed)
  scores = pruning.score_variants(pruned.validation, pruned.test, *logits, weights)
  low, high = confidence_interval(scores.samples, axis=-1)
  row = {
    'member': pruned.member.name,
    'n_filters': len(kept),
    'n_filters_compacted': int(kept.sum()),
    'parameters': count_parameters(full.settings, np.ones_like(kept)),
    'parameters_compacted': count_parameters(full.settings, kept),
    'seconds_per_1000': compaction.seconds_per_1000(full, params, pruned.test.field[:TIMED_MAPS]),
    'seconds_per_1000_compacted': compaction.seconds_per_1000(model, smaller, pruned.test.field[:TIMED_MAPS]),
    'largest_difference': float(np.abs(logits[1][1] - masked).max()),
  }
  for number, ending in enumerate(('', '_compacted')):
    row |= {f'test_tss{ending}': scores.test_tss[number], f'test_tss_low{ending}': low[number]}
    row |= {f'test_tss_high{ending}': high[number]}
  return Table([row])


def draw(run: Run, pruned: list[Pruned], products: dict[str, Table], directory: pathlib.Path) -> None:
  """Writes the figures: the paths of all members, and the filters of the first one."""
  first, source = pruned[0], run.survey.source
  pruning_plots.plot_path(products['path'], source, directory / 'path.png')
  table = products['filters'][products['filters']['member'] == first.member.name]
  important = np.argsort(-np.asarray(table['delta_test_loss']), kind='stable')[: pruning_plots.SHOWN_FILTERS]
  patches = [
    filters.strongest_patches(
      run.ensemble.model,
      first.member.params,
      first.test,
      first.swept.strength[number],
      number,
      pruning_plots.SHOWN_PATCHES,
    )
    for number in important
  ]
  pruning_plots.plot_filters(table[important], patches, run.survey.pixel_scale_mm, source, directory / 'filters.png')
  pruning_plots.plot_contribution(
    table, first.swept.contributions, first.unsigned_flux, first.test.label, source, directory / 'contribution.png'
  )


def print_summary(run: Run, products: dict[str, Table], directory: pathlib.Path) -> None:
  """Prints a line for every member."""
  print('Filters kept (of all), test TSS full -> minimal, responders to flux (+/-), stability:')
  for line, compacted in zip(products['stability'], products['compacted'], strict=True):
    print(
      f'  {line["member"]}: {line["n_minimal"]} of {line["n_filters"]} ({line["n_dead"]} dead; random order '
      f'{line["n_minimal_random"]}, by magnitude {line["n_minimal_magnitude"]}), TSS {compacted["test_tss"]:.2f} '
      f'[{compacted["test_tss_low"]:.2f}, {compacted["test_tss_high"]:.2f}] -> {compacted["test_tss_compacted"]:.2f} '
      f'[{compacted["test_tss_low_compacted"]:.2f}, {compacted["test_tss_high_compacted"]:.2f}], '
      f'+{line["n_flux_positive"]}/-{line["n_flux_negative"]}, {line["stability"]:.2f}'
    )
  ratio = np.median(products['compacted']['seconds_per_1000'] / products['compacted']['seconds_per_1000_compacted'])
  parameters = np.median(products['compacted']['parameters_compacted'])
  print(f'Compacted: median {parameters:.0f} parameters instead of {products["compacted"]["parameters"][0]}, ', end='')
  print(f'{ratio:.1f} times as fast.')
  if run.survey.source == 'simulated':
    print('The survey is simulated: this says what the networks learnt of the simulation, and nothing about the Sun.')
  print(f'All tables and figures are in {directory}.')


def _median(values: np.ndarray) -> float:
  finite = values[np.isfinite(values)]
  return float(np.median(finite)) if finite.size else np.nan


if __name__ == '__main__':
  cli.run(__name__)
