"""The script `report`: where the page goes, what it replaces, what it says of a run that is not whole."""

import shutil

import numpy as np
import pytest
from astropy.table import Table
from bs4 import BeautifulSoup

from experiments.report import CARD_MARK
from experiments.studying.error_rates import TRUTH
from hearjax.files import write_table
from hearjax.report.page.render import NOTE_SIMULATED
from hearjax.verification.predictions import write_predictions
from tests.hand_made import random_table
from tests.report.page import folders
from tests.scripts import fail, succeed


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  return folders.write_whole_run(tmp_path_factory.mktemp('run') / 'whole')


@pytest.fixture
def run(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / 'run')


def page_of(path) -> BeautifulSoup:
  return BeautifulSoup(path.read_text(encoding='utf-8'), 'html.parser')


def test_it_says_where_the_page_is_and_makes_it_anew(run):
  printed = succeed('report', f'--workdir={run}')
  assert printed.splitlines()[-1].startswith(f'The report: {run / "report.html"} (')
  assert 'Not run: Error rates of the methods.' in printed
  assert NOTE_SIMULATED in page_of(run / 'report.html').text
  before = (run / 'report.html').read_text()
  succeed('report', f'--workdir={run}')
  assert (run / 'report.html').read_text() == before  # The same files, the same page.


def test_what_is_no_page_of_ours_is_not_replaced(run, tmp_path):
  thesis = tmp_path / 'thesis.html'
  thesis.write_text('<html>Years of work</html>')
  assert 'is no report of hearjax; replace it with --overwrite' in fail('report', f'--workdir={run}', f'--out={thesis}')
  assert thesis.read_text() == '<html>Years of work</html>'
  succeed('report', f'--workdir={run}', f'--out={thesis}', '--overwrite')
  assert page_of(thesis).select_one('#verdict') and not (run / 'report.html').exists()
  assert 'is a folder; name the page to write' in fail('report', f'--workdir={run}', f'--out={tmp_path}')


def test_cards_lie_beside_the_page_and_are_left_to_who_changes_them(run, tmp_path):
  succeed('report', f'--workdir={run}', f'--out={tmp_path}/elsewhere.html')
  assert not list(run.glob('*.md')) and not list(tmp_path.glob('*.md'))
  succeed('report', f'--workdir={run}')
  cards = {path.name: path for path in run.glob('*.md')}
  assert set(cards) == {'DATASET_CARD.md', 'MODEL_CARD.md'}
  written = cards['MODEL_CARD.md'].read_text()
  assert written.startswith('---\n') and 'simulated' in written
  own = written.replace(CARD_MARK, '') + 'Do not use it on Tuesdays.\n'
  cards['MODEL_CARD.md'].write_text(own)
  cards['DATASET_CARD.md'].write_text(f'old\n{CARD_MARK}\n')
  printed = succeed('report', f'--workdir={run}')
  assert f'Left as it is: {cards["MODEL_CARD.md"]}' in printed
  assert cards['MODEL_CARD.md'].read_text() == own and len(cards['DATASET_CARD.md'].read_text()) > 1000
  succeed('report', f'--workdir={run}', '--overwrite')
  assert cards['MODEL_CARD.md'].read_text() == written


def test_two_runs_on_one_page(run, whole):
  succeed('report', f'--workdir={run}', f'--compare={whole}')
  assert 'A is run, the run of this page; B is whole.' in page_of(run / 'report.html').select_one('#comparison').text
  assert 'names the work directory itself' in fail('report', f'--workdir={run}', f'--compare={run}/.')
  assert 'There is nothing of a run in' in fail('report', f'--workdir={run}', f'--compare={run}/predictions')


def test_rates_are_counted_from_what_the_study_kept(run):
  worlds = [(claim, world) for claim, both in TRUTH.items() for side in both for world in side]
  rows = [
    {'claim': claim, 'world': world, 'survey': n, 'verdict': 'supported'} for claim, world in worlds for n in (0, 1)
  ]
  write_table(run / 'rates.ecsv', Table(rows=rows))
  assert 'Not run' not in succeed('report', f'--workdir={run}')
  cells = [cell.text for cell in page_of(run / 'report.html').select('#rates tbody tr')[0].find_all('td')]
  assert cells == ['skill', 'null', '2 of 2', 'flux, distance, width, narrow, close', '10 of 10']
  write_table(run / 'rates.ecsv', Table({'claim': ['skill']}))
  printed = succeed('report', f'--workdir={run}')
  assert f'Left out: {run / "rates.ecsv"} is damaged' in printed and 'Not run: Error rates of the methods.' in printed


def test_predictions_of_another_program_and_their_scores(tmp_path):
  write_predictions(tmp_path / 'predictions' / 'theirs.ecsv', random_table(n_pairs=12, model='theirs', skill=1.0))
  printed = succeed('report', f'--workdir={tmp_path}')
  assert 'Not run: Verdict, Findings, Survey, Training, Verification,' in printed
  succeed('verify', f'--workdir={tmp_path}', '--resamples=20')
  printed = succeed('report', f'--workdir={tmp_path}')
  assert 'Not run: Findings, Survey, Training, Pruning' in printed
  page = page_of(tmp_path / 'report.html')
  assert len(page.select('#verdict dl > div')) == 7 and len(page.select('#skill .mark')) == 2
  assert {image['alt'][:10] for image in page.select('#verification img')} and page.select('#verification .not-run')


def test_a_trained_run_before_it_is_scored(finished, quick_survey, tmp_path):
  copy = shutil.copytree(finished, tmp_path / 'work')
  printed = succeed('report', f'--workdir={copy}')
  assert 'Left out' not in printed and 'Not run: Verdict, Findings, Verification' in printed
  page = page_of(copy / 'report.html')
  assert len(page.select('#training .chart')) == 2 and page.select('#survey img')
  assert 'all of them trained to their end' in page.select_one('#training').text
  shutil.rmtree(copy / 'predictions')
  last = (copy / 'metrics.jsonl').read_text().splitlines()
  (copy / 'metrics.jsonl').write_text('\n'.join(last[:2]) + '\n{"fold": 1, "se')
  succeed('report', f'--workdir={copy}', f'--survey={quick_survey}')
  assert 'INTERRUPTED: of 2 networks' in page_of(copy / 'report.html').select_one('#training').text
  assert str(copy) not in page_of(copy / 'report.html').select_one('#making').text


def test_what_is_damaged_is_left_out_and_told(run):
  (run / 'skill.ecsv').write_bytes(np.random.default_rng(0).bytes(200))
  (run / 'config.json').write_text('{')
  printed = succeed('report', f'--workdir={run}')
  assert printed.count('Left out: ') == 2
  assert len(page_of(run / 'report.html').select('.warning')) == 2


def test_a_folder_of_no_run_is_told_in_one_sentence(run, tmp_path):
  (tmp_path / 'empty').mkdir()
  assert 'There is nothing of a run in' in fail('report', f'--workdir={tmp_path}/empty')
  assert 'There is no folder' in fail('report', f'--workdir={tmp_path}/none')
  assert 'is a survey archive; give it as --survey' in fail('report', f'--workdir={run}/survey')
  assert not (tmp_path / 'none').exists()
