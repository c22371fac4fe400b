"""The work directory: started once, resumed with the same settings, never overwritten."""

import json
import os
import pathlib

import pytest

from hearjax.training import workdir
from hearjax.training.workdir import MetricsLog, read_metrics

DOMAIN = {'source': 'test'}
SETTINGS = {'folds': 3, 'model': {'widths': (4, 8)}}


def test_a_new_directory_records_settings_and_environment(tmp_path):
  directory = workdir.open_workdir(tmp_path / 'run', SETTINGS, 'predictions/cnn.ecsv', DOMAIN, 'survey')
  config = workdir.read_config(directory)
  assert config['settings'] == {'folds': 3, 'model': {'widths': [4, 8]}}
  assert config['domain'] == DOMAIN
  assert config['environment']['versions']['jax']
  assert config['environment']['survey'] == str(pathlib.Path('survey').resolve())
  assert config['environment']['device'].startswith(('cpu', 'gpu', 'tpu'))


def test_the_same_settings_resume_and_others_are_named(tmp_path):
  workdir.open_workdir(tmp_path, SETTINGS, 'done', DOMAIN, 'survey')
  assert workdir.open_workdir(tmp_path, SETTINGS, 'done', DOMAIN, 'survey') == tmp_path
  with pytest.raises(ValueError, match=r'folds: was 3, now 5; model.widths: was \[4, 8\], now \[4, 9\]'):
    workdir.open_workdir(tmp_path, {'folds': 5, 'model': {'widths': (4, 9)}}, 'done', DOMAIN, 'survey')


def test_a_finished_run_is_not_overwritten(tmp_path):
  (tmp_path / 'done').write_text('')
  with pytest.raises(FileExistsError, match='finished run'):
    workdir.open_workdir(tmp_path, SETTINGS, 'done', DOMAIN, 'survey')


def test_what_is_no_work_directory(tmp_path):
  with pytest.raises(FileNotFoundError, match='not a work directory'):
    workdir.read_config(tmp_path)
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(ValueError, match='damaged'):
    workdir.read_config(tmp_path)


@pytest.mark.skipif(os.name != 'posix', reason='needs a path below a file')
def test_an_unwritable_directory(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError, match='Cannot write'):
    workdir.open_workdir(tmp_path / 'file' / 'run', SETTINGS, 'done', DOMAIN, 'survey')


def line(epoch, **more):
  return {'fold': 0, 'seed': 1, 'epoch': epoch, 'loss': 0.5, 'validation_loss': 0.6, 'validation_tss': 0.1, **more}


def test_metrics_of_a_resumed_run_are_written_once(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  log = MetricsLog(path)
  log(line(1))
  log(line(2))
  with path.open('a') as file:
    file.write('{"fold": 0, "se')  # What a killed run leaves behind.
  resumed = MetricsLog(path)
  resumed(line(2))
  resumed(line(3))
  assert [entry['epoch'] for entry in read_metrics(path)] == [1, 2, 3]
  assert json.loads(path.read_text().splitlines()[0]) == line(1)


def test_tensorboard_files_are_written_where_asked_for(tmp_path):
  MetricsLog(tmp_path / 'metrics.jsonl', tensorboard=True)(line(1))
  assert list((tmp_path / 'tensorboard').glob('events.out.tfevents.*'))
