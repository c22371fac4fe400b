"""Work directories made by hand: every file that a page reads, small, and nothing trained."""

import io
import json
import pathlib

import numpy as np
from astropy.table import Table
from PIL import Image

from hearjax.files import write_json, write_table
from hearjax.report.page.captions import CAPTIONS
from hearjax.report.page.contents import TABLES, VERDICT_NAME
from hearjax.survey.archive import write_survey
from hearjax.survey.survey import Survey, checksum
from hearjax.verification.predictions import build_predictions, write_predictions
from tests.conftest import make_survey

MODELS = ('cnn', 'da_flux')
HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">\'"&'
VERDICT = {
  'leak': 'none seen: metadata alone have a TSS of 0.01 [-0.16, 0.19].',
  'folds': 'NOT CERTIFIED, cnn: one fold alone.',
  'skill': 'cnn has a TSS of 0.63 [0.50, 0.75] before emergence.',
}
# Rows of the tables of which something matters; all other columns are numbers that count up.
ROWS = {
  'skill': [
    {'model': model, 'threshold_rule': rule, 'interval': interval, 'hours': hours}
    for model in MODELS
    for rule in ('train', '0.5', 'one', 'each')
    for interval, hours in ((-5, -24.27), (-1, -2.93))
  ],
  'skill_mean': [{'model': model, 'threshold_rule': 'each'} for model in MODELS],
  'differences_mean': [{'model': 'cnn', 'baseline': 'da_flux', 'threshold_rule': 'each'}],
  'findings': [
    {'claim': claim, 'text': f'The networks know {claim}', 'networks': networks, 'role': role, 'verdict': verdict}
    for claim, verdict in (('skill', 'supported'), ('sign', 'contradicted'), ('width', 'cannot tell'))
    for networks, role in (('members', 'claim'), ('untrained', 'cannot have it'), ('meter of |B|', 'beside'))
    if (claim, networks) != ('skill', 'untrained')
  ],
  'verification/calibration': [{'model': 'cnn', 'of': of} for of in ('probability', 'calibrated')],
  'verification/first_alarm_summary': [{'model': 'cnn', 'alarm': alarm} for alarm in ('any', 'kept')],
  'response/effects': [
    {'family': 'bipole', 'axis': axis, 'fixed': 'total', 'networks': networks}
    for axis in ('width', 'distance')
    for networks in ('members', 'untrained')
  ],
  'response/detection_limit': [{'networks': networks} for networks in ('members', 'meter of flux')],
}


def small_survey(source: str = 'simulated') -> Survey:
  """Returns three pairs at two intervals."""
  return make_survey().replace(source=source)


def picture(width: int = 40, height: int = 30) -> bytes:
  """Returns the content of a PNG file."""
  content = io.BytesIO()
  ramp = np.linspace(0, 255, width).astype(np.uint8)
  Image.fromarray(np.tile(ramp, (height, 1))).convert('RGB').save(content, 'PNG')
  return content.getvalue()


def table_of(name: str, survey_checksum: str, source: str) -> Table:
  """Returns a table with the columns that the page needs."""
  rows = ROWS.get(name, [{}, {}])
  columns: dict[str, list] = {}
  for column in TABLES[name].split():
    plain = column.lstrip('*')
    default = f'{plain} of this' if column.startswith('*') else 0.1
    columns[plain] = [row.get(plain, default if isinstance(default, str) else 0.1 * n) for n, row in enumerate(rows)]
  for low, high in (('low', 'high'), ('tss_low', 'tss_high'), ('tss_refit_low', 'tss_refit_high')):
    if low in columns:
      columns[low], columns[high] = [-0.5] * len(rows), [0.9] * len(rows)
  return Table(columns, meta={'survey_checksum': survey_checksum, 'survey_source': source})


def log_lines(folds: int = 2, epochs: int = 4, finished: bool = True) -> list[dict]:
  """Returns lines of a training log: the validation loss is lowest in the last epoch but one."""
  return [
    {
      'fold': fold,
      'seed': 0,
      'epoch': epoch,
      'loss': 0.7 - 0.05 * epoch,
      'validation_loss': 0.6 + 0.01 * abs(epoch - (epochs - 1)) + 0.1 * fold,
      'validation_tss': 0.1 * epoch,
      'seconds': 1.0,
      'finished': finished and epoch == epochs,
    }
    for fold in range(folds)
    for epoch in range(1, epochs + 1)
  ]


def write_log(folder: pathlib.Path, lines: list[dict]) -> None:
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def config_of(survey_checksum: str, survey: pathlib.Path | str, source: str) -> dict:
  """Returns what config.json says, as far as the page reads it."""
  return {
    'settings': {'survey_checksum': survey_checksum, 'seed': 7, 'folds': 2, 'seeds': 1, 'model': {'widths': [4, 8]}},
    'execution': {'members_at_once': 0},
    'domain': {'source': source},
    'environment': {'hearjax': '0.1.0', 'versions': {'jax': '0.10'}, 'device': 'cpu cpu', 'survey': str(survey)},
  }


def write_whole_run(
  folder: pathlib.Path, source: str = 'simulated', models: tuple[str, ...] = MODELS, width: int = 40
) -> pathlib.Path:
  """Writes all that a page can show, made by hand, figures of a width [px]; the survey lies within."""
  survey = small_survey(source)
  identity = checksum(survey)
  write_survey(folder / 'survey', survey)
  write_json(folder / 'config.json', config_of(identity, folder / 'survey', source))
  write_json(folder / 'reproduce.json', {'survey': None, 'seed': 7})
  write_json(folder / 'timing.json', {'train': {'seconds': 12.5, 'programs': 3}})
  write_json(folder / 'splits.json', {'folds': [{'test': ['pair000', 'pair001']}, {'test': ['pair002']}], 'seed': 7})
  write_log(folder, log_lines())
  for model in models:
    write_predictions(folder / 'predictions' / f'{len(model)}.ecsv', predictions_of(survey, model))
  for name in TABLES:
    write_table(folder / f'{name}.ecsv', table_of(name, identity, source))
  (folder / VERDICT_NAME).write_text(''.join(f'{name + ":":<13}{sentence}\n' for name, sentence in VERDICT.items()))
  for name in (*CAPTIONS, 'scan/a.png', 'scan/b.png', 'scan/c.png'):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(picture(width))
  return folder


def predictions_of(survey: Survey, model: str) -> Table:
  """Returns forecasts that know the label a little."""
  rng = np.random.default_rng(len(model))
  columns = {
    'row': np.arange(len(survey)),
    'fold': survey.pair % 2,
    'seed': np.zeros(len(survey), int),
    'logit': survey.label - 0.5 + rng.normal(0, 0.5, len(survey)),
    'threshold': np.full(len(survey), 0.5),
  }
  return build_predictions(survey, columns, model, {})
