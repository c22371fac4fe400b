"""Writes one page of all that a work directory holds: verdict, findings, survey, skill, figures, how it was made.

The page needs nothing else and loads nothing: it can be sent, printed, read on a phone. What was not run is named, with
the command that runs it. In the work directory it lies beside cards of the survey and of the model.

hearjax report --workdir=work
hearjax report --workdir=work --compare=other
"""

import dataclasses
import functools
import pathlib

from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import read_table, told_as_damaged, write_whole
from hearjax.progress import meter
from hearjax.report.cards import dataset_card, model_card
from hearjax.report.page.contents import Contents, read_contents
from hearjax.report.page.render import MARK, build_sections, render

from . import cli

NAME = 'report.html'
RATES_NAME = 'rates.ecsv'
# Cards are texts that people go on writing: one without its last line is theirs.
CARD_MARK = '<!-- Written by hearjax report, and again by the next one; take this line away to keep what you write. -->'


def define_flags(flags: cli.Flags) -> None:
  flags.path('survey', None, 'Folder of the survey archive; where the run had it, or in the work directory, for none.')
  flags.common('workdir', 'overwrite')
  flags.path('compare', None, 'Another work directory, to be laid beside this one.')
  flags.path('out', None, f'Page to write; {NAME} in the work directory for none.')
  flags.require('workdir')


def main(flags: cli.Flags) -> None:
  workdir = pathlib.Path(flags.workdir)
  path = pathlib.Path(flags.out) if flags.out else workdir / NAME
  check_replaceable(path, flags.overwrite)
  contents = with_rates(read_contents(workdir, flags.survey, meter('packing figures', 'figure')))
  other = read_other(workdir, flags.compare) if flags.compare else None
  sections = build_sections(contents, other)
  page = render(contents, sections, other)
  write_whole(path, lambda temporary: temporary.write_text(page, encoding='utf-8'))
  for sentence in contents.damaged:
    print(f'Left out: {sentence}')
  if not flags.out:
    write_cards(contents, flags.overwrite)
  missing = [section.title for section in sections if not section.is_run]
  if missing:
    print(f'Not run: {", ".join(missing)}.')
  print(f'The report: {path} ({path.stat().st_size / 1e6:.1f} MB)')


def write_cards(contents: Contents, overwrite: bool) -> None:
  """Writes the cards of the survey and of the model into the work directory; one that somebody changed is left."""
  cards = {'MODEL_CARD.md': functools.partial(model_card, contents.folder)}
  if contents.survey is not None:
    cards['DATASET_CARD.md'] = functools.partial(dataset_card, contents.survey)
  for name, write in cards.items():
    path = contents.folder / name
    if path.exists() and not overwrite and CARD_MARK not in path.read_text(encoding='utf-8', errors='replace'):
      print(f'Left as it is: {path}, which somebody has changed; --overwrite writes it anew.')
      continue
    text = f'{write().rstrip()}\n\n{CARD_MARK}\n'
    write_whole(path, lambda temporary, text=text: temporary.write_text(text, encoding='utf-8'))


def check_replaceable(path: pathlib.Path, overwrite: bool) -> None:
  """Raises UserError where a file is there that this script did not write; its own pages are made anew."""
  if path.is_dir():
    raise UserError(f'{path} is a folder; name the page to write with --out=FILE.html.')
  if path.exists() and not overwrite and MARK.encode() not in path.read_bytes()[:2000]:
    raise FileExistsError(f'{path} is there and is no report of hearjax; replace it with --overwrite, or name another.')


def read_other(workdir: pathlib.Path, other: str) -> Contents:
  """Returns what the run holds that this one is compared with."""
  if pathlib.Path(other).resolve() == workdir.resolve():
    raise UserError('--compare names the work directory itself; name that of another run.')
  return read_contents(other)


def with_rates(contents: Contents) -> Contents:
  """Returns the contents with the error rates of the methods, where `study` counted them into the work directory."""
  path = contents.folder / RATES_NAME
  if not path.exists():
    return contents
  try:
    counted = count_rates(path)
  except (UserError, OSError) as error:
    return dataclasses.replace(contents, damaged=(*contents.damaged, str(error)))
  return dataclasses.replace(contents, rates=counted if len(counted) else None)


def count_rates(path: pathlib.Path) -> Table:
  from .studying.error_rates import rates  # Only here: it needs all that trains networks.

  table = read_table(path, 'study')
  with told_as_damaged(path, 'count them again with study'):
    return rates([dict(row) for row in table])


if __name__ == '__main__':
  cli.run(__name__)
