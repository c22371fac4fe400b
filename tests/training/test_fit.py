"""Cross-validation: one compilation, the same result whichever way a run is cut, kept or computed."""

import dataclasses
import json
import pathlib
import shutil

import filelock
import jax
import numpy as np
import pytest

import hearjax
from hearjax.checks import UserError
from hearjax.survey.archive import write_survey
from hearjax.survey.folds import make_splits, read_splits, write_splits
from hearjax.training.checkpoints import save_params
from hearjax.training.run import Run
from hearjax.training.settings import Execution, RunSettings, TrainSettings
from hearjax.training.step import compiled_eval, compiled_step
from hearjax.training.workdir import read_config, read_metrics
from tests.conftest import make_survey
from tests.scripts import written_elsewhere
from tests.training.small_run import (
  EXECUTION,
  NO_CHANGES,
  SETTINGS,
  Killed,
  assert_close_predictions,
  assert_same_predictions,
  kill_at,
  survey_and_splits,
)


def with_training(**training) -> RunSettings:
  """Returns the settings of one network per fold, trained otherwise."""
  return dataclasses.replace(SETTINGS, seeds=1, training=TrainSettings(**training))


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Run:
  """A run in one piece, in a work directory; not to be written to."""
  survey, splits = survey_and_splits()
  return hearjax.fit(survey, splits, SETTINGS, tmp_path_factory.mktemp('fit') / 'whole', EXECUTION)


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
  """A work directory whose run was killed in the second fold, with two members trained and a third begun."""
  workdir = tmp_path_factory.mktemp('fit') / 'cut'
  survey, splits = survey_and_splits()
  with pytest.raises(Killed):
    hearjax.fit(survey, splits, SETTINGS, workdir, EXECUTION, kill_at(1, 0, 3))
  return workdir


@pytest.fixture
def cut(killed, tmp_path):
  """A copy of it."""
  return shutil.copytree(killed, tmp_path / 'cut')


# --- What it gives ----------------------------------------------------------------------------------------------


def test_the_planted_bipoles_are_learnt():
  survey, splits = survey_and_splits()
  settings = with_training(epochs=25, batch_size=8, learning_rate=0.02)
  table = hearjax.fit(survey, splits, settings).predictions
  label = table['label'] == 1
  assert np.mean(table['logit'][label]) > np.mean(table['logit'][~label]) + 1
  forecast = sorted(zip(table['region_id'], table['interval'], strict=True))
  assert forecast == sorted(zip(survey.region_names(), survey.interval, strict=True))
  for row in table:
    assert row['pair_id'] in splits.folds[row['fold']].test


def test_same_seed_same_predictions_other_seed_others(whole):
  again = hearjax.fit(whole.survey, whole.splits, SETTINGS)
  assert_same_predictions(again, whole)
  other = hearjax.fit(whole.survey, whole.splits, dataclasses.replace(SETTINGS, seed=1))
  assert np.abs(other.predictions['logit'] - whole.predictions['logit']).max() > 0


def test_in_memory_in_a_work_directory_and_loaded_are_one_run(whole):
  memory = hearjax.fit(whole.survey, whole.splits, SETTINGS)
  loaded = Run.load(whole.directory, whole.survey)
  assert memory.directory is None and loaded.directory == whole.directory
  field = whole.survey.field
  for run in (memory, loaded):
    assert_same_predictions(run, whole)
    assert run.settings == whole.settings and run.splits == whole.splits
    assert run.ensemble.names == whole.ensemble.names and run.ensemble.domain == whole.ensemble.domain
    np.testing.assert_array_equal(run.ensemble.logits(field), whole.ensemble.logits(field))
    jax.tree.map(np.testing.assert_array_equal, run.ensemble.params, whole.ensemble.params)
  assert loaded.predictions.meta == whole.predictions.meta


def test_the_survey_is_found_where_it_lay_and_no_other_is_taken(whole, tmp_path):
  write_survey(tmp_path / 'survey', whole.survey)
  settings = with_training(epochs=1, batch_size=8)
  survey = hearjax.read_survey(tmp_path / 'survey')
  hearjax.fit(survey, whole.splits, settings, tmp_path / 'work')
  assert repr(Run.load(tmp_path / 'work').survey) == repr(survey)
  (tmp_path / 'survey').rename(tmp_path / 'moved')
  with pytest.raises(FileNotFoundError, match=r'is not in .*/survey; say with --survey where it lies'):
    Run.load(tmp_path / 'work')
  assert len(Run.load(tmp_path / 'work', tmp_path / 'moved').survey) == len(survey)
  with pytest.raises(FileNotFoundError, match='was trained on a survey in memory; say which'):
    Run.load(whole.directory)
  with pytest.raises(ValueError, match=r'on another survey than <Survey: 12 magnetograms .*checksums differ'):
    Run.load(whole.directory, make_survey())


def test_objects_say_what_they_hold(whole):
  assert repr(whole.splits) == '<Splits: 2 folds with 4, 4 test pairs, seed 0>'
  each = sum(leaf.size for leaf in jax.tree.leaves(whole.ensemble.params)) // 4
  assert repr(whole.ensemble) == f'<Ensemble: 4 networks of {each} parameters>'
  said = repr(whole)
  for part in (whole.splits, whole.ensemble, whole.survey, whole.directory):
    assert str(part) in said
  assert 'in ' not in repr(dataclasses.replace(whole, directory=None)).partition('source')[2]


def test_folds_and_settings_need_not_be_given():
  survey, _ = survey_and_splits()
  run = hearjax.fit(survey, settings=with_training(epochs=1, batch_size=8))
  assert run.splits == make_splits(survey, 2, 0) and run.settings.folds == 2
  three = hearjax.fit(survey, make_splits(survey, 3, 0), with_training(epochs=1, batch_size=8))
  assert three.settings.folds == len(three.folds) == 3


# --- Resumption -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('where', [(0, 1, 3), (1, 0, 1), (1, 1, 5)])
def test_a_killed_run_resumes_to_the_same_predictions(whole, tmp_path, where):
  survey, splits = whole.survey, whole.splits
  with pytest.raises(Killed):
    hearjax.fit(survey, splits, SETTINGS, tmp_path, EXECUTION, kill_at(*where))
  lines = []
  resumed = hearjax.fit(survey, splits, SETTINGS, tmp_path, EXECUTION, lines.append)
  assert_same_predictions(resumed, whole)
  # It did resume: nothing before the last checkpoint was trained again.
  assert (lines[0]['fold'], lines[0]['seed']) == where[:2] if where[2] < 5 else not lines
  logged = [(line['fold'], line['seed'], line['epoch']) for line in read_metrics(tmp_path / 'metrics.jsonl')]
  assert len(logged) == len(set(logged)) == 4 * 5


@pytest.mark.parametrize(
  'execution',
  [
    Execution(checkpoint_every=1),
    Execution(lowering='lax', block_maps=30, streamed=True),
    Execution(members_at_once=1, block_maps=1),
  ],
)
def test_a_run_goes_on_however_it_is_computed(whole, cut, execution):
  lines = []
  resumed = hearjax.fit(whole.survey, whole.splits, SETTINGS, cut, execution, lines.append)
  assert_close_predictions(resumed, whole)
  assert (lines[0]['fold'], lines[0]['seed']) == (1, 0)
  assert read_config(cut)['settings'] == read_config(whole.directory)['settings']


def test_a_run_does_not_go_on_with_numbers_of_another_kind(whole, cut):
  with jax.enable_x64(True), pytest.raises(ValueError, match=r'jax\.jax_enable_x64: was False, now True'):
    hearjax.fit(whole.survey, whole.splits, SETTINGS, cut, EXECUTION)


def test_a_run_does_not_go_on_with_other_settings_or_folds(whole, cut):
  survey, other = whole.survey, make_splits(whole.survey, 2, 1)
  with pytest.raises(ValueError, match='seeds: was 2, now 3'):
    hearjax.fit(survey, whole.splits, dataclasses.replace(SETTINGS, seeds=3), cut)
  with pytest.raises(ValueError, match=r'cut/splits.json holds other folds than those given; name another work dir'):
    hearjax.fit(survey, other, SETTINGS, cut)
  with pytest.raises(ValueError, match='holds 2 folds dealt with seed 0, but 2 with seed 1 were asked for'):
    hearjax.fit(survey, None, dataclasses.replace(SETTINGS, seed=1), cut)
  (cut / 'splits.json').unlink()
  with pytest.raises(ValueError, match=r"with other settings \(splits_checksum: was '\w+', now '\w+'\)"):
    hearjax.fit(survey, other, SETTINGS, cut)


def test_a_finished_run_is_replaced_only_when_told(whole, tmp_path):
  workdir = shutil.copytree(whole.directory, tmp_path / 'work')
  (workdir / 'predictions' / 'da_flux.ecsv').write_text('of another script')
  (workdir / 'skill.ecsv').write_text('of another script')
  survey, splits = whole.survey, whole.splits
  with pytest.raises(FileExistsError, match='already holds a finished run'):
    hearjax.fit(survey, splits, SETTINGS, workdir)
  settings = with_training(epochs=1, batch_size=8)
  again = hearjax.fit(survey, make_splits(survey, 3, 5), settings, workdir, overwrite=True)
  assert_same_predictions(Run.load(workdir, survey), again)
  assert len(read_metrics(workdir / 'metrics.jsonl')) == len(list((workdir / 'checkpoints').iterdir())) == 3
  for name in ('predictions/da_flux.ecsv', 'skill.ecsv'):
    assert (workdir / name).read_text() == 'of another script'


def test_a_work_directory_in_which_another_process_trains_is_left_alone(whole, tmp_path):
  directory = shutil.copytree(whole.directory, tmp_path / 'work')
  before = sorted(directory.rglob('*'))
  with written_elsewhere(directory, 'train'):
    with pytest.raises(BlockingIOError, match='is being written by another train'):
      hearjax.fit(whole.survey, whole.splits, SETTINGS, directory, overwrite=True)
    assert sorted(set(directory.rglob('*')) - {directory / '.train.lock'}) == before


def test_a_work_directory_is_kept_from_others_until_the_end(whole, tmp_path):
  epochs = []

  def report(line: dict) -> None:
    epochs.append(line)
    with pytest.raises(filelock.Timeout):
      filelock.FileLock(tmp_path / '.train.lock').acquire(timeout=0)

  hearjax.fit(whole.survey, whole.splits, SETTINGS, tmp_path, EXECUTION, report)
  assert epochs and not (tmp_path / '.train.lock').exists()


def test_folds_that_were_replaced_after_the_training_are_noticed(whole, tmp_path):
  workdir = shutil.copytree(whole.directory, tmp_path / 'work')
  other = make_splits(whole.survey, 2, 1)
  assert other.checksum != whole.splits.checksum
  write_splits(workdir / 'splits.json', other, whole.survey)
  with pytest.raises(ValueError, match=r'was trained on 2 folds, but its splits.json holds 2 others; bring that'):
    Run.load(workdir, whole.survey)
  write_splits(workdir / 'splits.json', whole.splits, whole.survey)
  assert read_splits(workdir / 'splits.json', whole.survey) == Run.load(workdir, whole.survey).splits


# --- Loading ----------------------------------------------------------------------------------------------------


def spoil_checkpoint(workdir):
  """Puts a number that is not finite into the parameters of a member."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf[0]), Run.load(workdir, survey_and_splits()[0]).ensemble.params)
  params['params']['convolution_0']['kernel'].flat[3] = np.nan
  shutil.rmtree(workdir / 'checkpoints' / 'fold01_seed0')
  save_params(workdir / 'checkpoints' / 'fold01_seed0', params)


def change_model(**changes):
  """Returns what writes another network into config.json."""

  def change(workdir):
    config = json.loads((workdir / 'config.json').read_text())
    config['settings']['model'] |= changes
    (workdir / 'config.json').write_text(json.dumps(config))

  return change


def change_domain_away(workdir: pathlib.Path) -> None:
  config = json.loads((workdir / 'config.json').read_text())
  del config['domain']['peak_gauss']
  (workdir / 'config.json').write_text(json.dumps(config))


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    (spoil_checkpoint, r'parameters of fold01_seed0 in .* are not all finite; train that run again'),
    (change_model(widths=[], kernels=[], strides=[]), 'at least one layer'),
    (change_model(widths=[4, 6]), r'checkpoint .*fold00_seed0.* is damaged or of another model'),
    (change_model(colour='red'), "ModelSettings has no entry 'colour'"),
    (lambda workdir: (workdir / 'config.json').write_text('{'), r'config\.json is damaged'),
    (
      lambda workdir: (workdir / 'config.json').write_text('{"settings": {}}'),
      r"damaged \(it lacks 'domain'",
    ),
    (change_domain_away, r"config\.json is damaged \(it lacks 'peak_gauss'\)"),
    (lambda workdir: (workdir / 'splits.json').write_text('{}'), r'splits\.json is damaged'),
    (lambda workdir: shutil.rmtree(workdir / 'checkpoints'), 'There is no checkpoint in'),
    (lambda workdir: (workdir / 'predictions' / 'cnn.ecsv').unlink(), 'holds no finished training'),
  ],
)
def test_a_work_directory_that_cannot_be_loaded(whole, tmp_path, change, sentence):
  workdir = shutil.copytree(whole.directory, tmp_path / 'work')
  change(workdir)
  with pytest.raises((ValueError, FileNotFoundError), match=sentence):
    Run.load(workdir, whole.survey)


# --- The training -----------------------------------------------------------------------------------------------


def test_one_compilation_serves_all_folds_and_seeds():
  survey, splits = survey_and_splits(pairs=9)  # Folds of different sizes.
  step, evaluation = compiled_step(), compiled_eval()
  step.clear_cache()
  evaluation.clear_cache()
  hearjax.fit(survey, splits, SETTINGS)
  assert step._cache_size() == 1
  assert evaluation._cache_size() == 1 + (SETTINGS.training.batch_size != 64)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where():
  survey, splits = survey_and_splits()
  settings = with_training(epochs=3, batch_size=8, learning_rate=1e30, augmentation=NO_CHANGES)
  with pytest.raises(UserError, match='not finite at step'):
    hearjax.fit(survey, splits, settings)
