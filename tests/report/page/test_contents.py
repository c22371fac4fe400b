"""What is read of a work directory: all of it, a part of it, what is damaged, and what is none."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.files import write_json
from hearjax.report.page.captions import CAPTIONS
from hearjax.report.page.contents import TABLES, middle, read_contents
from hearjax.report.page.render import notes
from hearjax.survey.archive import write_survey
from hearjax.verification.predictions import write_predictions
from tests.hand_made import random_table
from tests.report.page import folders


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  return folders.write_whole_run(tmp_path_factory.mktemp('run') / 'whole')


@pytest.fixture
def run(whole, tmp_path):
  """A copy to spoil, whose survey lies within."""
  copy = shutil.copytree(whole, tmp_path / 'run')
  (copy / 'config.json').write_text((copy / 'config.json').read_text().replace(str(whole), str(copy)))
  return copy


def test_all_of_a_run_is_read(whole):
  contents = read_contents(whole)
  assert contents.damaged == ()
  empty = [field.name for field in dataclasses.fields(contents) if not len_of(getattr(contents, field.name))]
  assert sorted(empty) == ['damaged', 'rates']  # Rates come from elsewhere.
  assert set(contents.tables) == set(TABLES) and set(contents.predictions) == set(folders.MODELS)
  assert set(contents.pictures) == {*CAPTIONS, 'scan/b.png'} and len(contents.scanned) == 3
  assert dict(contents.verdict) == folders.VERDICT
  assert contents.name == 'whole' and contents.reference == 'cnn' and len(contents.checksums) == 1


def len_of(value) -> bool:
  return value is not None and (not hasattr(value, '__len__') or len(value) > 0)


@pytest.mark.parametrize(('source', 'simulated'), [('simulated', True), ('hear', False), ('hear+simulated', True)])
def test_one_simulated_file_makes_a_simulated_run(tmp_path, source, simulated):
  write_predictions(tmp_path / 'predictions' / 'a.ecsv', folders.predictions_of(folders.small_survey(source), 'a'))
  contents = read_contents(tmp_path)
  assert contents.is_simulated is simulated and contents.sources == (source,)


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('config.json', '{"settings": '),
    ('config.json', '[1, 2]'),
    ('timing.json', 'no'),
    ('splits.json', '{'),
    ('metrics.jsonl', '{"fold": 0}\n'),
    ('predictions/3.ecsv', '# %ECSV 1.0\n# ---\n'),
    ('skill.ecsv', 'model,hours\ncnn,1\n'),
    ('findings.ecsv', '# %ECSV 1.0\n'),
    ('figures/scale.png', ''),
    ('figures/scale.png', 'no picture'),
    ('verification/verdict.txt', 'leak\n'),
    ('verification/verdict.txt', 'leak: \n'),
    ('survey/survey.ecsv', 'region_id\n1\n'),
  ],
)
def test_a_damaged_file_is_named_and_the_rest_is_read(whole, run, name, content):
  (run / name).write_text(content)
  contents = read_contents(run)
  (sentence,) = contents.damaged
  # By its place in the folder: a page that is sent tells no path of a machine.
  assert name in sentence and str(run) not in sentence and sentence in notes(contents)
  untouched = read_contents(whole)
  lost = [
    field.name
    for field in dataclasses.fields(contents)
    if len_of(getattr(untouched, field.name)) and not len_of(getattr(contents, field.name))
  ]
  assert len(lost) <= 1


@pytest.mark.parametrize('kept', [0, 8, 0.5, -1])
def test_half_a_picture_is_none(run, kept):
  path = run / 'figures' / 'scale.png'
  content = path.read_bytes()
  path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
  if kept == -1:
    path.write_bytes(content[: len(content) // 2] + b'\x00' * 40 + content[len(content) // 2 + 40 :])
  contents = read_contents(run)
  assert 'figures/scale.png' not in contents.pictures and 'is no whole picture' in contents.damaged[0]


def test_numbers_that_are_text_are_told(run):
  table = Table.read(run / 'skill.ecsv', format='ascii.ecsv')
  table['tss'] = ['high'] * len(table)
  table.write(run / 'skill.ecsv', format='ascii.ecsv', overwrite=True)
  (sentence,) = read_contents(run).damaged
  assert 'has no numbers in the column tss; make it again' in sentence


def test_empty_cells_are_no_numbers(run):
  path = run / 'skill.ecsv'
  table = Table(Table.read(path, format='ascii.ecsv'), masked=True)
  table['tss'].mask[0] = True
  table.write(path, format='ascii.ecsv', overwrite=True)
  assert np.isnan(read_contents(run).tables['skill']['tss'][0])


def test_predictions_of_another_program_are_enough(tmp_path):
  write_predictions(tmp_path / 'predictions' / 'theirs.ecsv', random_table(n_pairs=4, model='theirs'))
  contents = read_contents(tmp_path)
  assert list(contents.predictions) == ['theirs'] and contents.reference == 'theirs' and not contents.damaged


# --- The survey ---------------------------------------------------------------------------------------------------


def test_a_run_that_was_moved_finds_the_survey_in_it(run):
  config = json.loads((run / 'config.json').read_text())
  write_json(run / 'config.json', config | {'environment': {'survey': '/nowhere/at/all'}})
  assert read_contents(run).survey is not None


def test_the_survey_of_another_run_is_not_taken_for_its_own(run, tmp_path):
  other = folders.small_survey()
  write_survey(tmp_path / 'other', other.replace(field=other.field + 1))
  with pytest.raises(UserError, match='is not the one that this run is of'):
    read_contents(run, tmp_path / 'other')
  shutil.rmtree(run / 'survey')
  shutil.copytree(tmp_path / 'other', run / 'survey')
  contents = read_contents(run)
  assert contents.survey is None and 'is not the one that this run is of' in contents.damaged[0]


def test_files_of_two_surveys_are_told(run):
  folders.table_of('skill', 'another', 'simulated').write(run / 'skill.ecsv', format='ascii.ecsv', overwrite=True)
  assert any('of 2 different surveys' in note for note in notes(read_contents(run)))


def test_a_survey_that_is_named_must_be_there(run, tmp_path):
  with pytest.raises(FileNotFoundError, match='is not a survey archive'):
    read_contents(run, tmp_path)


# --- No work directory --------------------------------------------------------------------------------------------


def test_what_is_no_work_directory_is_told_in_a_sentence(whole, tmp_path):
  with pytest.raises(FileNotFoundError, match='There is no folder'):
    read_contents(tmp_path / 'none')
  with pytest.raises(FileNotFoundError, match='There is no folder'):
    read_contents(whole / 'config.json')
  with pytest.raises(UserError, match=r'There is nothing of a run in .*; name the work directory of a run'):
    read_contents(tmp_path)
  with pytest.raises(UserError, match='is a survey archive; give it as --survey'):
    read_contents(whole / 'survey')


def test_the_one_in_the_middle_is_taken():
  assert [middle(tuple('abcde'[:n])) for n in range(4)] == [(), ('a',), ('b',), ('b',)]
