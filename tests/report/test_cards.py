"""The cards say what the files say, and what a user called his things stays text."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import yaml
from astropy.table import Table

from hearjax.files import read_table, write_table
from hearjax.report.cards import dataset_card, model_card
from hearjax.survey.archive import read_survey, write_survey
from hearjax.survey.survey import checksum
from tests.conftest import make_survey
from tests.scripts import succeed

HOSTILE = 'x"\n---\nlicense: mit\n# | <script>alert(1)</script> ```\n- [a](b) `c` *d*'


def parted(card: str) -> tuple[dict, str]:
  """Returns the YAML and the markdown of a card."""
  empty, head, body = re.split('^---\n', card, maxsplit=2, flags=re.MULTILINE)
  assert not empty
  return yaml.safe_load(head), body


def rows_of(body: str, section: str) -> list[list[str]]:
  """Returns the cells of all tables of a section, the heads among them."""
  part = re.search(rf'^## {section}\n(.*?)(?=^## |\Z)', body, re.MULTILINE | re.DOTALL)
  lines = [line for line in part.group(1).splitlines() if line.startswith('|')] if part else []
  return [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in lines if '---' not in line]


def headings(body: str) -> list[str]:
  return [line for line in body.splitlines() if line.startswith('#')]


@pytest.fixture(scope='module')
def judged(finished: pathlib.Path, quick_survey: pathlib.Path) -> pathlib.Path:
  """A run that was scored."""
  succeed('baseline', f'--survey={quick_survey}', f'--workdir={finished}', '--models=da_flux')
  succeed('verify', f'--survey={quick_survey}', f'--workdir={finished}', '--resamples=50')
  return finished


# --- The dataset card -------------------------------------------------------------------------------------------


def test_a_dataset_card_counts_what_the_archive_holds(quick_survey):
  survey = read_survey(quick_survey)
  head, body = parted(dataset_card(quick_survey))
  assert head['checksum'] == checksum(survey)
  assert (head['pairs'], head['magnetograms'], head['size_px']) == (12, len(survey), 32)
  assert head['simulated'] is True
  told = dict(row for row in rows_of(body, 'What is in it') if len(row) == 2)
  assert told['emerging regions (EAR)'] == f'12 with {np.sum(survey.label == 1)} magnetograms'
  assert told['mu'] == f'{survey.mu.min():.2f} to {survey.mu.max():.2f}'
  by_interval = {row[0]: row for row in rows_of(body, 'What is in it') if row[0].startswith('TI')}
  assert set(by_interval) == {'TI-03', 'TI-01'}
  assert by_interval['TI-01'][3:5] == ['12', '12']
  assert by_interval['TI-01'][-1] == '7%'  # -6.35 h to +0.48 h.
  assert by_interval['TI-03'][-1] == '0%'
  assert 'seed: 5' in body
  assert dataset_card(survey) == dataset_card(quick_survey)


def test_a_simulated_survey_is_never_called_data_about_the_sun(quick_survey, tmp_path):
  _, body = parted(dataset_card(quick_survey))
  assert 'Nothing here is data about the Sun' in body
  survey = make_survey().replace(source='hear+simulated')  # A part of it is enough.
  assert parted(dataset_card(survey))[0]['simulated'] is True


def test_a_survey_of_another_source_is_described_as_such(tmp_path):
  survey = make_survey().replace(source='hear')
  write_survey(tmp_path, survey, {'license': 'CC0-1.0', 'query': 'hmi.M_720s[2011.01.01]'})
  head, body = parted(dataset_card(tmp_path))
  assert head['license'] == 'CC0-1.0'
  assert head['simulated'] is False
  assert 'simulat' not in body
  assert 'NASA/SDO' in body
  assert 'query: hmi.M_720s[2011.01.01]' in body.replace("'", '')
  assert '3 pairs are too few' in body


def test_a_survey_in_memory_says_that_nothing_is_known_of_its_making():
  assert 'no index on disk' in dataset_card(make_survey())


def test_what_a_user_called_his_survey_stays_text(tmp_path):
  survey = make_survey().replace(source=HOSTILE)
  plain = headings(parted(dataset_card(make_survey()))[1])
  table = Table(meta={'creator': HOSTILE, HOSTILE: HOSTILE})
  write_survey(tmp_path, make_survey(), dict(table.meta))
  for card in (dataset_card(survey), dataset_card(tmp_path)):
    head, body = parted(card)
    assert head['license'] == 'unknown'
    assert len(headings(body)) == len(plain)
    assert not re.search(r'^(---|- \[a\]|license)', body, re.MULTILINE)
    shown = '\n'.join(line for line in body.splitlines() if not line.startswith('    '))
    assert '<script>' not in shown.replace('\\<', '')
    assert '```' not in shown.replace('\\`', '')
  assert parted(dataset_card(survey))[0]['source'] == HOSTILE


def test_missing_pixels_are_counted(tmp_path):
  survey = make_survey()
  field = survey.field.copy()
  field[0, :16] = np.nan  # Half of one of twelve maps.
  _, body = parted(dataset_card(survey.replace(field=field, missing=np.mean(np.isnan(field), axis=(1, 2)))))
  told = dict(row for row in rows_of(body, 'What is in it') if len(row) == 2)
  assert told['missing pixels'] == '4.17% on average, 50.00% at most'


# --- The model card ---------------------------------------------------------------------------------------------


def test_a_model_card_repeats_the_numbers_of_the_tables(judged):
  head, body = parted(model_card(judged))
  skill, mean = (read_table(judged / f'{name}.ecsv') for name in ('skill', 'skill_mean'))
  wanted = skill[(skill['model'] == 'cnn') & (skill['threshold_rule'] == 'each')]
  told = [row for row in rows_of(body, 'Skill') if row[0].startswith('TI')]
  assert len(told) == len(wanted) == 2
  for row, line in zip(told, wanted, strict=True):
    assert row[0] == f'TI{line["interval"]:+03d}'
    numbers = [float(text) for text in re.findall(r'-?\d+\.\d+', row[3])]
    assert numbers == pytest.approx([line['tss'], line['tss_refit_low'], line['tss_refit_high']], abs=0.0051)
    assert float(row[7]) == pytest.approx(line['auc'], abs=0.0051)
  line = mean[(mean['model'] == 'cnn') & (mean['threshold_rule'] == 'each')][0]
  (result,) = head['model-index'][0]['results']
  assert result['metrics'][0]['value'] == line['tss']
  config = json.loads((judged / 'config.json').read_text())
  assert result['dataset']['revision'] == config['settings']['survey_checksum']
  assert 'no skill here is evidence about the Sun' in body
  domain = dict(row for row in rows_of(body, 'Where it may be used'))
  assert domain['mu'] == f'{config["domain"]["min_mu"]:.2f} and more'
  assert [row[1:] for row in rows_of(body, 'Model')[1:]] == [['4', '3', '2'], ['8', '3', '2']]
  assert str(config['environment']['survey']) not in body  # A place on one machine.
  for sentence in (judged / 'verification' / 'verdict.txt').read_text().splitlines():
    assert ' '.join(sentence.split()) in re.sub(r'\\(.)', r'\1', body)
  assert 'findings.ecsv is written by' in re.sub(r'\\(.)', r'\1', body)
  assert 'skill.ecsv is written by' not in re.sub(r'\\(.)', r'\1', body)


def test_what_was_not_run_is_named_and_nothing_is_made_up(quick_run):
  head, body = parted(model_card(quick_run))
  assert head['model-index'][0]['results'] == []
  assert 'Not run: skill' in body
  assert '## Skill' not in headings(body)
  assert '## Not in this card' in headings(body)


def test_predictions_of_another_program_alone_make_a_card(judged, tmp_path):
  for name in ('skill.ecsv', 'skill_mean.ecsv'):
    table = read_table(judged / name)
    table['model'] = [HOSTILE if model == 'cnn' else model for model in table['model']]
    write_table(tmp_path / name, table)
  head, body = parted(model_card(tmp_path))
  assert 'was not trained by hearjax' in body
  assert len([row for row in rows_of(body, 'Skill') if row[0].startswith('TI')]) == 2
  assert '## Where it may be used' in headings(body)
  assert not re.search(r'^license', body, re.MULTILINE)
  assert '<script>' not in body.replace('\\<', '')
  assert head['license'] == 'unknown'


def test_a_table_of_another_survey_is_left_out_and_a_damaged_one_too(judged, tmp_path):
  work = shutil.copytree(judged, tmp_path / 'work')
  table = read_table(work / 'skill.ecsv')
  table.meta['survey_checksum'] = 'another'
  write_table(work / 'skill.ecsv', table)
  (work / 'verification' / 'calibration.ecsv').write_text('# %ECSV 1.0\nnothing')
  body = re.sub(r'\\(.)', r'\1', parted(model_card(work))[1])
  assert 'skill.ecsv (it is of another survey than the run was trained on)' in body
  assert 'Not usable: calibration.ecsv' in body
  assert not rows_of(body, 'Skill')


def test_a_damaged_config_is_told(judged, tmp_path):
  work = shutil.copytree(judged, tmp_path / 'work')
  (work / 'config.json').write_text('{')
  body = parted(model_card(work))[1]
  assert 'Not usable: config.json' in body
  assert len(rows_of(body, 'Skill')) > 2


def test_a_folder_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='There is no work directory'):
    model_card(tmp_path / 'nothing')
