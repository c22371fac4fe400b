"""The work directory: started once, resumed with the same settings, never overwritten."""

import json
import os
import pathlib

import pytest

from hearjax.checks import UserError
from hearjax.training import workdir
from hearjax.training.settings import Execution
from hearjax.training.workdir import MetricsLog, read_metrics

DOMAIN = {'source': 'test'}
SETTINGS = {'folds': 3, 'model': {'widths': (4, 8)}}


def opened(directory: pathlib.Path, settings: dict = SETTINGS, execution: Execution | None = None, survey='survey'):
  return workdir.open_workdir(directory, settings, execution or Execution(), DOMAIN, survey)


def finish(directory: pathlib.Path) -> None:
  (directory / workdir.PRODUCT).parent.mkdir(parents=True)
  (directory / workdir.PRODUCT).touch()


def test_a_new_directory_records_settings_and_environment(tmp_path):
  directory = opened(tmp_path / 'run', execution=Execution(lowering='lax'))
  config = json.loads((directory / 'config.json').read_text())
  assert config['settings'] == {'folds': 3, 'model': {'widths': [4, 8]}}
  assert config['domain'] == DOMAIN
  assert config['environment']['versions']['jax']
  assert config['environment']['survey'] == str(pathlib.Path('survey').resolve())
  assert config['environment']['device'].startswith(('cpu', 'gpu', 'tpu'))
  assert config['execution']['lowering'] == 'lax'
  in_memory = opened(tmp_path / 'memory', survey='')
  assert json.loads((in_memory / 'config.json').read_text())['environment']['survey'] is None


def test_the_same_settings_resume_and_others_are_named(tmp_path):
  opened(tmp_path)
  assert opened(tmp_path) == tmp_path
  assert opened(tmp_path, execution=Execution(checkpoint_every=1)) == tmp_path
  with pytest.raises(ValueError, match=r'folds: was 3, now 5; model.widths: was \[4, 8\], now \[4, 9\]'):
    opened(tmp_path, {'folds': 5, 'model': {'widths': (4, 9)}})


def test_a_finished_run_is_not_overwritten(tmp_path):
  finish(tmp_path)
  with pytest.raises(FileExistsError, match='finished run'):
    opened(tmp_path)


def test_what_training_left_is_removed_and_nothing_else(tmp_path):
  workdir.remove_run(tmp_path)  # Of which there is none.
  opened(tmp_path)
  finish(tmp_path)
  for name in ('checkpoints/fold00_seed0/5/params', 'figures/skill.png', 'predictions/da_flux.ecsv', 'skill.ecsv'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  for name in ('splits.json', 'metrics.jsonl'):
    (tmp_path / name).touch()
  workdir.remove_run(tmp_path)
  left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file()}
  assert left == {'figures/skill.png', 'predictions/da_flux.ecsv', 'skill.ecsv'}


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
    opened(tmp_path / 'file' / 'run')


def line(epoch, **more):
  return {'fold': 0, 'seed': 1, 'epoch': epoch, 'loss': 0.5, 'validation_loss': 0.6, 'validation_tss': 0.1, **more}


def test_metrics_of_a_resumed_run_are_written_once(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  log = MetricsLog(path)
  assert log.append(line(1)) and log.append(line(2))
  with path.open('a') as file:
    file.write('{"fold": 0, "se')  # What a killed run leaves behind.
  resumed = MetricsLog(path)
  assert not resumed.append(line(2))
  assert resumed.append(line(3))
  assert [entry['epoch'] for entry in read_metrics(path)] == [1, 2, 3]
  assert json.loads(path.read_text().splitlines()[0]) == line(1)
  assert read_metrics(tmp_path / 'none.jsonl') == []
  for damaged in ('{"fold": 0}\n', 'no JSON\n'):
    path.write_text(damaged)
    with pytest.raises(UserError, match=r'is damaged \(.*\); remove its damaged lines'):
      read_metrics(path)
