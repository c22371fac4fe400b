"""Asks which filters of the networks of a work directory respond to flux, and how few filters keep the skill.

Of every network, and of the references that cannot know of it: what the filters of the last layer add to the logit
against flux. Of the networks: what each filter is worth, in every layer, and pruning down to one filter in each. What
is reported comes from the test pairs of each network, which together are the whole survey. What pruning leaves is
saved, compacted.

hearjax prune --workdir=work
"""

import pathlib

import numpy as np
from astropy import units
from astropy.table import Table

from hearjax.interpret import compaction, filter_tables, filters, pruning, variants
from hearjax.interpret.filters import FilterSettings
from hearjax.interpret.maps import MEMBERS, Subject
from hearjax.interpret.pruning import Pruned, PruningSettings
from hearjax.progress import meter
from hearjax.report import pruning_plots
from hearjax.survey.survey import Survey

from . import cli, interpreting

FOLDER = 'pruning'


def define_flags(flags: cli.Flags) -> None:
  interpreting.define_flags(flags)
  flags.integer('members', 0, 'Networks to ask, the first ones; 0 for all.', lower_bound=0)
  flags.settings(FilterSettings)
  flags.settings(PruningSettings)


def main(flags: cli.Flags) -> None:
  of_filters, of_pruning = flags.build(FilterSettings), flags.build(PruningSettings)
  cli.check_unused(flags, pathlib.Path(flags.workdir) / FOLDER / 'filters.ecsv')
  run, subjects, draws = interpreting.load(flags)
  survey, directory = run.survey, pathlib.Path(run.directory) / FOLDER
  members = [subject for subject in subjects if subject.group == MEMBERS][: flags.members or None]
  subjects = members + [subject for subject in subjects if subject.group != MEMBERS]
  responses = [
    filters.measure(subject, survey, draws, of_filters) for subject in meter('reading filters', 'network')(subjects)
  ]
  along = -(-of_pruning.random_orders // len(members))
  pruned = [
    pruning.prune(subject, survey, draws, of_pruning, along, compaction.kernels(subject.params))
    for subject in meter('pruning', 'network')(members)
  ]
  references = [subject for subject in subjects if subject.group in pruning.FEW.references]
  pruned_references = [
    pruning.prune(subject, survey, draws, of_pruning) for subject in meter('pruning references', 'network')(references)
  ]
  swept = {
    subject.name: variants.sweep_table(subject, survey, draws)
    for subject in meter('leaving out filters', 'network')(members)
  }
  minimal = {each.subject.name: each.minimal for each in pruned}
  filter_rows = filter_tables.filter_table(responses, swept, minimal)
  contributions = filter_tables.contribution_table(responses, survey)
  patches = show_filters(members[0], survey, filter_rows)
  products = {
    'path': pruning.path_table(pruned, draws),
    'pruned': pruning.pruned_table(pruned, draws),
    'compacted': compact_all(pruned, survey, directory / 'compacted'),
    'lead_time': filter_tables.lead_time_table(responses, survey, draws),
    'filters': filter_rows,  # Last: where it is, the others are.
  }
  interpreting.write(flags, run, f'{FOLDER}/contributions.fits', contributions)
  interpreting.write(flags, run, f'{FOLDER}/patches.fits', patches)
  for name, table in products.items():
    interpreting.write(flags, run, f'{FOLDER}/{name}.ecsv', table, filters=of_filters, pruning=of_pruning)
  claims = {claim: interpreting.by_group(responses, claim) for claim in filters.CLAIMS}
  claims[pruning.FEW] = interpreting.by_group(pruned + pruned_references, pruning.FEW)
  interpreting.tell(flags, run, subjects, draws, claims)
  print_summary(products)
  print(f'All tables and figures are in {directory}.')
  draw(survey, products, contributions, patches, directory)


def show_filters(subject: Subject, survey: Survey, table: Table) -> Table:
  """Returns what excites the filters of a network without which it would lose most."""
  loss = np.asarray(table['delta_test_loss'][table['name'] == subject.name])
  important = np.argsort(-loss, kind='stable')[: pruning_plots.SHOWN_FILTERS]
  return filter_tables.patch_table(subject, survey, important, pruning_plots.SHOWN_PATCHES)


def compact_all(pruned: list[Pruned], survey: Survey, directory: pathlib.Path) -> Table:
  """Saves what is left of each network, compacted; returns `compacted.ecsv`."""
  table = Table(
    [
      compaction.compact_pruned(each, survey, directory / each.subject.name)
      for each in meter('compacting', 'network')(pruned)
    ]
  )
  for name in ('seconds_per_1000', 'seconds_per_1000_compacted'):
    table[name].unit = units.s
  return table


def draw(
  survey: Survey, products: dict[str, Table], contributions: Table, patches: Table, directory: pathlib.Path
) -> None:
  """Writes the figures; the last one tells reproduce that all is there."""
  source, of_filters = survey.source, products['filters']
  first = of_filters['name'][0]
  one = of_filters[of_filters['name'] == first]
  of_first = contributions[contributions['name'] == first]
  drawings = (
    lambda: pruning_plots.plot_path(products['path'], source, directory / 'path.png'),
    lambda: pruning_plots.plot_lead_time(products['lead_time'], source, directory / 'lead_time.png'),
    lambda: pruning_plots.plot_filters(one, patches, survey.pixel_scale_mm, source, directory / 'filters.png'),
    lambda: pruning_plots.plot_contribution(one, of_first, source, directory / 'contribution.png'),
  )
  for drawing in meter('drawing', 'figure')(drawings):
    drawing()


def print_summary(products: dict[str, Table]) -> None:
  """Prints what pruning leaves."""
  mean = products['pruned'][-1]
  compacted = products['compacted']
  times = np.median(compacted['seconds_per_1000'] / compacted['seconds_per_1000_compacted'])
  left = compacted['n_filters_compacted']
  print(
    f'Pruned to {left.min()} to {left.max()} of {mean["n_filters"]} filters: '
    f'TSS {mean["test_tss_full"]:.2f} -> {mean["test_tss"]:.2f} '
    f'({mean["gain"]:+.2f} [{mean["gain_low"]:+.2f}, {mean["gain_high"]:+.2f}]); compacted, '
    f'{np.median(compacted["parameters_compacted"]):.0f} parameters instead of {compacted["parameters"][0]}, '
    f'{times:.1f} times as fast.'
  )


if __name__ == '__main__':
  cli.run(__name__)
