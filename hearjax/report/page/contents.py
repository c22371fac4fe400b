"""What a work directory holds: each part read and checked once, what cannot be read told in a sentence."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import read_table, told_as_damaged, visible_files
from hearjax.progress import Progress, silent
from hearjax.report.page.captions import CAPTIONS
from hearjax.report.page.images import Embedded, embed
from hearjax.report.style import is_simulated
from hearjax.survey.archive import INDEX_NAME, read_survey
from hearjax.survey.survey import Survey, checksum
from hearjax.training.workdir import CONFIG_NAME, LOG_NAME, SPLITS_NAME, read_metrics
from hearjax.verification.predictions import PREDICTIONS, read_predictions
from hearjax.verification.verdict import VERDICT_NAME

Read = TypeVar('Read')

JSON_NAMES = ('reproduce.json', 'timing.json', SPLITS_NAME, CONFIG_NAME)
SCAN = 'scan'  # Folder of the maps of the disk, as `reproduce` calls it.
# Tables that the page reads, with the columns that it needs; those with a star hold text.
TABLES = {
  'skill': '*model *threshold_rule interval hours n_pairs tss tss_low tss_high tss_refit_low tss_refit_high auc',
  'skill_mean': '*model *threshold_rule n_pairs tss tss_refit_low tss_refit_high',
  'differences_mean': '*model *baseline *threshold_rule difference refit_low refit_high',
  'findings': '*claim *text *networks *role n effect low high *unit smallest *verdict *reason',
  'verification/balance': '*quantity *unit mean_ear mean_cr standardised standardised_low standardised_high unbalanced',
  'verification/calibration': '*model *of brier miscalibration threshold_gap',
  'verification/budget': '*model hours budget pofd pod resolved',
  'verification/first_alarm_summary': '*model *alarm median_hours never never_cr',
  'verification/matched_mean': '*model tolerance_dex n_couples tss tss_low tss_high p',
  'pruning/pruned': '*member n_filters n_filters_left test_tss_full test_tss gain gain_low gain_high',
  'pruning/compacted': '*member parameters parameters_compacted',
  'response/effects': '*family *axis *fixed *networks n effect low high',
  'response/detection_limit': '*networks separation_mm inner_mm outer_mm flux_mx low high',
  'attribution/sanity': '*order *by *check *against n value low high',
  f'{SCAN}/emergences': 'noaa *emergence_time looks *first_alarm lead_hours by_chance',
  f'{SCAN}/places': 'place longitude latitude alarms peak noaa',
}


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a work directory holds; a part that is not there is empty.

  Attributes:
    folder: The work directory.
    config, reproduce, timing, splits: Its JSON files.
    metrics: Lines of the training log.
    predictions: Model -> its predictions table.
    tables: Name of a table (`TABLES`) -> the table.
    pictures: Path within the folder -> the picture.
    scanned: Names of all pictures of disks; few of them are among `pictures`.
    verdict: The lines of the verdict: what each is about, and the sentence.
    survey: The survey that the run is of, where it was found.
    survey_place: Its folder.
    rates: How often each claim was made in worlds without and with the effect, where that was counted; not read
      here, since what is true in which world stands with the study.
    checksums: Of the surveys that the files of the folder are of: one, where they belong together.
    damaged: Sentences about files that are there and could not be read, or do not belong to the run.
  """

  folder: pathlib.Path
  config: Mapping[str, Any]
  reproduce: Mapping[str, Any]
  timing: Mapping[str, Any]
  splits: Mapping[str, Any]
  metrics: tuple[Mapping[str, Any], ...]
  predictions: Mapping[str, Table]
  tables: Mapping[str, Table]
  pictures: Mapping[str, Embedded]
  scanned: tuple[str, ...]
  verdict: tuple[tuple[str, str], ...]
  survey: Survey | None
  survey_place: pathlib.Path | None
  rates: Table | None
  checksums: tuple[str, ...]
  damaged: tuple[str, ...]

  @property
  def name(self) -> str:
    """What the run is called: the name of its folder."""
    return self.folder.resolve().name

  @property
  def sources(self) -> tuple[str, ...]:
    """Where the magnetograms come from, each source that a file of the folder names once."""
    named = [self.survey.source] if self.survey is not None else []
    named += [entry(self.config, 'domain', 'source')]
    every = [*self.predictions.values(), *self.tables.values()]
    named += [table.meta.get('survey_source') for table in every]
    return tuple(dict.fromkeys(str(name) for name in named if name))

  @property
  def is_simulated(self) -> bool:
    """Whether anything in the folder is of a simulated survey: then nothing of it is evidence about the Sun."""
    return any(map(is_simulated, self.sources))

  @property
  def reference(self) -> str:
    """The model that the verdict is about: the network where there is one, else the first."""
    models = list(self.tables['skill']['model']) if 'skill' in self.tables else list(self.predictions)
    return 'cnn' if 'cnn' in models or not models else str(models[0])


def entry(parts: Any, *names: str) -> Any:
  """Returns an entry of nested dictionaries; None where it is not there."""
  for name in names:
    if not isinstance(parts, Mapping):
      return None
    parts = parts.get(name)
  return parts


def read_contents(
  workdir: str | os.PathLike, survey: str | os.PathLike | None = None, progress: Progress = silent
) -> Contents:
  """Reads a work directory, whatever there is of it.

  Args:
    workdir: The folder.
    survey: Folder of the survey archive; None for where the run found it, or in the work directory.
    progress: Shows how many pictures are packed.

  Raises:
    FileNotFoundError: There is no such folder, or no archive in `survey`.
    UserError: It holds nothing of a run, or `survey` is damaged or not the one that the run is of.
  """
  folder = pathlib.Path(workdir)
  if not folder.is_dir():
    raise FileNotFoundError(f'There is no folder {folder}; name the work directory of a run.')
  damaged: list[str] = []
  scanned = tuple(f'{SCAN}/{path.name}' for path in visible_files(folder / SCAN, '*.png') if path.stem != 'history')
  there = [name for name in (*CAPTIONS, *middle(scanned)) if (folder / name).exists()]
  with concurrent.futures.ThreadPoolExecutor() as pool:  # Pictures are packed while all else is read.
    packing = {name: pool.submit(_read_picture, folder / name) for name in there}
    reproduce, timing, splits, config = (_or_told(damaged, {}, _read_json, folder / name) for name in JSON_NAMES)
    metrics = tuple(_or_told(damaged, [], read_metrics, folder / LOG_NAME))
    predictions = _read_all_predictions(folder, damaged)
    tables = _read_tables(folder, damaged)
    verdict = _or_told(damaged, (), _read_verdict, folder / VERDICT_NAME)
    place = _find_survey(folder, survey, config)
    if not any((there, reproduce, splits, config, metrics, predictions, tables, verdict, damaged)):
      raise _nothing(folder)
    checksums = _checksums(config, predictions, tables)
    own = None
    if place and survey:  # The one that was asked for: without it there is no page.
      own = _read_own_survey(place, checksums)
    elif place:
      own = _or_told(damaged, None, _read_own_survey, place, checksums)
    pictures = {name: _or_told(damaged, None, picture.result) for name, picture in progress(list(packing.items()))}
  return Contents(
    folder=folder,
    config=config,
    reproduce=reproduce,
    timing=timing,
    splits=splits,
    metrics=metrics,
    predictions=predictions,
    tables=tables,
    pictures={name: picture for name, picture in pictures.items() if picture is not None},
    scanned=scanned,
    verdict=verdict,
    survey=own,
    survey_place=place,
    rates=None,
    checksums=checksums,
    damaged=tuple(sentence.replace(f'{folder}/', '') for sentence in damaged),
  )


def middle(names: tuple[str, ...], least: int = 1) -> tuple[str, ...]:
  """Returns the name in the middle: chosen by its place and not by what it shows."""
  return names[len(names) // 2 :][:least]


def _read_all_predictions(folder: pathlib.Path, damaged: list[str]) -> dict[str, Table]:
  predictions: dict[str, Table] = {}
  for path in visible_files(folder / PREDICTIONS, '*.ecsv'):
    table = _or_told(damaged, None, read_predictions, path)
    if table is None:
      continue
    if table.meta['model'] in predictions:
      damaged.append(f'{path} is of the model {table.meta["model"]}, as another table here: it is left out.')
    predictions.setdefault(table.meta['model'], table)
  return predictions


def _read_tables(folder: pathlib.Path, damaged: list[str]) -> dict[str, Table]:
  paths = {name: folder / f'{name}.ecsv' for name in TABLES}
  read = {
    name: _or_told(damaged, None, _read_columns, path, TABLES[name]) for name, path in paths.items() if path.exists()
  }
  return {name: table for name, table in read.items() if table is not None}


# --- One file -----------------------------------------------------------------------------------------------------


def _or_told(damaged: list[str], instead: Read, read: Callable[..., Read], *arguments: Any) -> Read:
  """Returns what a reader gives; what it cannot read is told, and something else returned."""
  try:
    return read(*arguments)
  except (UserError, OSError) as error:
    damaged.append(' '.join(str(error).split()))
    return instead


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  if not path.exists():
    return {}
  with told_as_damaged(path, 'it is left out here'):
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
      raise ValueError(f'a {type(content).__name__} instead of named entries')
  return content


def _read_columns(path: pathlib.Path, columns: str) -> Table:
  """Reads a table and brings the columns that are needed to text without masks, or to numbers with NaN for them."""
  table = read_table(path)
  read = Table(meta=table.meta)
  for name in columns.split():
    is_text, name = name.startswith('*'), name.lstrip('*')
    if name not in table.colnames:
      raise UserError(f'{path} lacks the column {name}; make it again.')
    column = np.ma.asarray(table[name])
    if is_text:
      read[name] = np.ma.filled(column.astype(str), '')
    elif column.dtype.kind in 'iufb':
      read[name] = np.ma.filled(column.astype(float), np.nan)
    else:
      raise UserError(f'{path} has no numbers in the column {name}; make it again.')
  return read


def _read_picture(path: pathlib.Path) -> Embedded:
  return embed(path.read_bytes(), str(path))


def _read_verdict(path: pathlib.Path) -> tuple[tuple[str, str], ...]:
  if not path.exists():
    return ()
  with told_as_damaged(path, 'run verify again'):
    parts = [line.partition(':') for line in path.read_text().splitlines() if line.strip()]
    if not all(sentence.strip() for _, _, sentence in parts):
      raise ValueError('a line says nothing')
  return tuple((name.strip(), sentence.strip()) for name, _, sentence in parts)


# --- The survey ---------------------------------------------------------------------------------------------------


def _find_survey(
  folder: pathlib.Path, survey: str | os.PathLike | None, config: Mapping[str, Any]
) -> pathlib.Path | None:
  """Returns the folder of the archive: the one named, where the run was trained, or the one in the work directory."""
  if survey:
    return pathlib.Path(survey)
  trained_on = entry(config, 'environment', 'survey')
  places = [pathlib.Path(trained_on)] if isinstance(trained_on, str) else []
  return next((place for place in (*places, folder / 'survey') if (place / INDEX_NAME).is_file()), None)


def _read_own_survey(place: pathlib.Path, checksums: tuple[str, ...]) -> Survey:
  """Reads the survey and makes sure that the run is of it."""
  survey = read_survey(place, max_missing=1.0)
  if checksums and checksum(survey) not in checksums:
    raise UserError(f'The survey in {place.name} is not the one that this run is of (checksums differ); give that one.')
  return survey


def _checksums(
  config: Mapping[str, Any], predictions: Mapping[str, Table], tables: Mapping[str, Table]
) -> tuple[str, ...]:
  named = [entry(config, 'settings', 'survey_checksum')]
  named += [table.meta.get('survey_checksum') for table in (*predictions.values(), *tables.values())]
  return tuple(dict.fromkeys(str(one) for one in named if one))


def _nothing(folder: pathlib.Path) -> UserError:
  """Returns what is said of a folder that holds nothing of a run."""
  if (folder / INDEX_NAME).exists():
    return UserError(f'{folder} is a survey archive; give it as --survey, and the folder of a run as --workdir.')
  return UserError(
    f'There is nothing of a run in {folder}: no config.json, predictions, tables or figures; name the work directory '
    'of a run, or make one with reproduce.'
  )
