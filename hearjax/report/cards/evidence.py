"""What a work directory says of its run, as far as it is there and whole, and of the survey of the run."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import read_table, told_as_damaged
from hearjax.training.workdir import CONFIG_NAME, PRODUCT, SPLITS_NAME, read_config
from hearjax.verification.verdict import VERDICT_NAME

# Table -> the columns that a card needs, and which script writes it.
TABLES = {
  'skill': (
    'model threshold_rule interval hours n_pairs tss tss_refit_low tss_refit_high pod pofd hss auc brier',
    'verify',
  ),
  'skill_mean': ('model threshold_rule n_intervals tss tss_refit_low tss_refit_high', 'verify'),
  'differences_mean': ('model baseline threshold_rule difference refit_low refit_high', 'baseline and verify'),
  'verification/calibration': ('model of brier miscalibration threshold_gap', 'verify'),
  'verification/base_rates': (
    'model threshold_rule hours rate pod pofd precision precision_low precision_high false_alarms false_alarms_low '
    'false_alarms_high',
    'verify',
  ),
  'verification/strata': ('model quantity low high n_pairs small tss tss_low tss_high', 'verify with a survey'),
  'findings': ('claim text networks effect low high unit verdict reason', 'prune, respond or attribute'),
}


@dataclasses.dataclass(frozen=True)
class Evidence:
  """What is known of a run.

  Attributes:
    name: Of its folder.
    config: `config.json`; empty where the models were not trained by hearjax here.
    splits: `splits.json`; empty where there is none.
    finished: Whether the training has ended.
    tables: Name -> a table of `TABLES`.
    verdict: The lines of the verdict.
    missing: Sentences about what is not there, or cannot be used.
  """

  name: str
  config: Mapping[str, Any]
  splits: Mapping[str, Any]
  finished: bool
  tables: Mapping[str, Table]
  verdict: tuple[str, ...]
  missing: tuple[str, ...]

  @property
  def model(self) -> str:
    """The model that the card is of: the network where there is one, else the first that was scored."""
    scored = list(self.tables['skill']['model']) if 'skill' in self.tables else []
    return str(scored[0]) if scored and 'cnn' not in scored and not self.config else 'cnn'

  @property
  def source(self) -> str | None:
    """Where the magnetograms come from that the run was trained on; None where nothing says it."""
    named = [self.config['domain'].get('source')] if self.config else []
    named += [table.meta.get('survey_source') for table in self.tables.values()]
    return next((str(name) for name in named if name), None)


def read_evidence(workdir: pathlib.Path) -> Evidence:
  """Reads what is there.

  Raises:
    FileNotFoundError: There is no such folder.
  """
  if not workdir.is_dir():
    raise FileNotFoundError(f'There is no work directory {workdir}.')
  missing: list[str] = []
  config = _tolerated(lambda: read_config(workdir), CONFIG_NAME, 'train', missing) or {}
  splits = _tolerated(lambda: _read_json(workdir / SPLITS_NAME), SPLITS_NAME, 'train', missing) or {}
  finished = (workdir / PRODUCT).is_file()
  if config and not finished:
    missing.append('The training is not finished: what stands here may be of an earlier one.')
  trained_on = config['settings']['survey_checksum'] if config else None
  tables = {}
  for name, (columns, script) in TABLES.items():
    path = workdir / f'{name}.ecsv'
    table = _tolerated(lambda path=path, columns=columns: _read(path, columns, trained_on), path.name, script, missing)
    if table is not None:
      tables[name] = table
  verdict = _tolerated(lambda: (workdir / VERDICT_NAME).read_text(), 'verdict.txt', 'verify', missing) or ''
  told = tuple(sentence.replace(f'{workdir}/', '') for sentence in missing)  # A card tells no path of a machine.
  return Evidence(workdir.resolve().name, config, splits, finished, tables, tuple(verdict.splitlines()), told)


def _tolerated(read: Any, name: str, script: str, missing: list[str]) -> Any:
  """Returns what was read; None, and a sentence in `missing`, where it is not there or cannot be used."""
  try:
    return read()
  except FileNotFoundError:
    missing.append(f'Not run: {name} is written by {script}.')
  except (UserError, OSError, UnicodeDecodeError) as error:
    missing.append(f'Not usable: {name} ({error}).' if isinstance(error, UserError) else f'Not readable: {name}.')
  return None


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  text = path.read_text()
  with told_as_damaged(path, 'bring it back, or train again'):
    return dict(json.loads(text))


def _read(path: pathlib.Path, columns: str, trained_on: str | None) -> Table:
  table = read_table(path)
  absent = [name for name in columns.split() if name not in table.colnames]
  if absent:
    raise UserError(f'it lacks the column {absent[0]}')
  of = table.meta.get('survey_checksum')
  if trained_on and of and of != trained_on:
    raise UserError('it is of another survey than the run was trained on')
  return table
