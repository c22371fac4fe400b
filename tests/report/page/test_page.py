"""The page of a run as it is written: its sections, its words, what was not run, what is escaped."""

import dataclasses
import importlib
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from astropy.table import Table
from bs4 import BeautifulSoup

from experiments.__main__ import scripts
from experiments.flags import Flags
from hearjax.files import write_json
from hearjax.report.page.captions import CAPTIONS, HISTORY, OPTIONAL
from hearjax.report.page.contents import Contents, read_contents
from hearjax.report.page.parts import bounded, number, text, told
from hearjax.report.page.render import NOTE_SIMULATED, build_sections, headline, render
from hearjax.verification.predictions import write_predictions
from tests.hand_made import random_table
from tests.report.page import folders

ANCHORS = [
  'verdict',
  'findings',
  'survey',
  'training',
  'skill',
  'verification',
  'pruning',
  'response',
  'attribution',
  'invariance',
  'scale',
  'rates',
  'scan',
  'making',
]


def page_of(contents: Contents, other: Contents | None = None) -> BeautifulSoup:
  return BeautifulSoup(render(contents, build_sections(contents, other), other), 'html.parser')


def words_of(node) -> str:
  return ' '.join(node.get_text(' ').split())


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  return folders.write_whole_run(tmp_path_factory.mktemp('run') / 'whole')


@pytest.fixture(scope='module')
def contents(whole):
  rates = {'claim': ['skill', 'few'], 'worlds_without': ['null', 'null'], 'worlds_with': ['flux', '']}
  rates |= {'claimed_without': [0, 1], 'without': [40, 40], 'claimed_with': [19, 0], 'with': [20, 0]}
  return dataclasses.replace(read_contents(whole), rates=Table(rates))


@pytest.fixture(scope='module')
def page(contents):
  return page_of(contents)


# --- Sections -------------------------------------------------------------------------------------------------------


def test_a_whole_run_has_every_section_and_nothing_that_was_not_run(page):
  assert [section['id'] for section in page.find_all('section')] == ANCHORS
  assert not page.select('.not-run') and '(not run)' not in page.text and not page.select('.warning')
  assert [link['href'] for link in page.select('nav a')] == [f'#{anchor}' for anchor in ANCHORS]


def test_every_figure_says_what_it_shows_and_what_would_change_our_mind(page):
  figures = page.find_all('figure')
  assert len(figures) == len(CAPTIONS) + 1 + 1 + 3  # Samples, a disk; loss, validation TSS, skill.
  for figure in figures:
    shows, change = figure.find('figcaption').find_all('p')
    assert words_of(shows).startswith('Shows ') and words_of(change).startswith('Would change our mind ')
    for sentence in (shows, change):
      assert len(words_of(sentence)) > 60 and words_of(sentence).endswith('.')
  assert all(len(image['alt']) > 20 and image['src'].startswith('data:image/') for image in page.find_all('img'))


def test_the_verdict_stands_on_top_and_says_what_is_wrong(page):
  lines = page.select('#verdict dl > div')
  assert [line.dt.contents[0].strip() for line in lines] == list(folders.VERDICT)
  assert [words_of(line.dd) for line in lines] == list(folders.VERDICT.values())
  assert [line.get('class') for line in lines] == [None, ['bad'], None]


def test_findings_stand_beside_their_references(page):
  rows = page.select('#findings tbody tr')
  assert [words_of(row.find_all('td')[1]).partition('reason')[0].strip() for row in rows] == [
    'supported',
    'contradicted',
    'cannot tell',
  ]
  heads = [words_of(head) for head in page.select('#findings th')]
  own, meter, untrained = (
    words_of(rows[0].find_all('td')[heads.index(name)]) for name in ('Effect [95 %]', 'Meter of |B|', 'Untrained')
  )
  assert own == '+0.00 [\N{MINUS SIGN}0.50, +0.90]' and meter == '+0.10*' and untrained == ''


def test_numbers_of_the_survey_are_those_of_the_survey(page):
  told_of = words_of(page.select_one('#survey'))
  assert (
    '3 pairs: 3 emerging regions' in told_of and '12 magnetograms' in told_of and '32 x 32 px of 1.39 Mm' in told_of
  )
  first = [words_of(cell) for cell in page.select('#survey tbody tr')[0].find_all('td')]
  assert first[:4] == ['TI-02', '\N{MINUS SIGN}8.3', '3', '3']


def test_rates_are_told_with_their_number(page):
  cells = [words_of(cell) for cell in page.select('#rates td')]
  assert '0 of 40' in cells and '19 of 20' in cells and 'nan' not in ' '.join(cells)


def test_no_table_shows_what_is_no_number(page):
  cells = [words_of(cell) for cell in page.find_all('td')]
  assert not [cell for cell in cells if re.search(r'\bnan\b|\binf\b|None|masked', cell)]


def test_how_it_was_made_is_told_without_paths(page, whole):
  told_of = words_of(page.select_one('#making'))
  for word in ('seed 7', 'model.widths 4, 8', 'versions.jax 0.10', 'device cpu cpu', 'train 12.5 3'):
    assert word in told_of
  assert str(whole) not in page.text and 'survey survey' in told_of


# --- What was not run -----------------------------------------------------------------------------------------------


def commands(page: BeautifulSoup) -> list[list[str]]:
  return [shlex.split(one) for code in page.select('.not-run code') for one in code.text.split('&&') if one.split()]


def test_what_was_not_run_is_named_with_a_command_that_is_taken(tmp_path):
  write_predictions(tmp_path / 'predictions' / 'theirs.ecsv', random_table(n_pairs=4, model='theirs'))
  page = page_of(read_contents(tmp_path))
  named = {link.text for link in page.select('nav li') if '(not run)' in link.text}
  assert len(named) == len(ANCHORS) - 2  # There are predictions, and the checksum of their survey.
  assert 'predictions of theirs (16 forecasts); they were not scored yet' in page.text
  found = commands(page)
  assert {words[1] for words in found} >= {
    'verify',
    'train',
    'prune',
    'respond',
    'attribute',
    'scan',
    'study',
    'report',
  }
  for program, name, *arguments in found:
    assert program == 'hearjax' and name in scripts()
    flags = Flags()
    importlib.import_module(f'experiments.{name}').define_flags(flags)
    flags.parse([name, *arguments])
    assert str(tmp_path) in ' '.join(arguments)


@pytest.mark.parametrize('name', [name for name in CAPTIONS if name not in OPTIONAL])
def test_each_figure_that_is_missing_is_named(contents, name):
  fewer = {path: image for path, image in contents.pictures.items() if path != name}
  sections = build_sections(dataclasses.replace(contents, pictures=fewer, survey=None))  # No samples to draw.
  missing = [part.what for section in sections for part in section.parts if part.kind == 'not run']
  shown = sum(part.kind == 'picture' for section in sections for part in section.parts)
  assert shown == len(fewer) and len(missing) == 1 + (name != HISTORY)  # The survey, and it.
  assert name in (HISTORY, 'figures/invariance.png') or CAPTIONS[name].title in missing


def test_a_network_alone_lacks_what_it_is_compared_with(contents):
  skill = contents.tables['skill']
  alone = {**contents.tables, 'skill': skill[skill['model'] == 'cnn']}
  page = page_of(dataclasses.replace(contents, tables=alone, survey=None))
  (missing,) = page.select('#skill .not-run')
  assert 'Discriminant analyses to compare with' in missing.text and 'hearjax baseline' in missing.text


def test_an_interrupted_training_is_told(contents):
  lines = [line for line in folders.log_lines(finished=False) if (line['fold'], line['epoch']) < (1, 3)]
  page = page_of(dataclasses.replace(contents, predictions={}, metrics=tuple(lines)))
  assert 'INTERRUPTED: of 2 networks (2 folds, 1 of each) 2 were begun and 0 finished' in page.text
  assert len(page.select('#training .chart')) == 2


def test_a_log_without_numbers_draws_nothing(contents):
  lines = tuple(
    {'fold': 0, 'seed': 0, 'epoch': epoch, 'loss': value} for epoch, value in ((1, None), (2, float('nan')))
  )
  page = page_of(dataclasses.replace(contents, metrics=lines))
  assert not page.select('#training .chart') and page.select('#training table')


# --- What may not be mistaken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('source', 'said'),
  [('simulated', NOTE_SIMULATED), ('hear', 'Survey: hear'), ('hear+simulated', NOTE_SIMULATED)],
)
def test_a_simulation_is_marked_on_top_below_and_in_the_title(tmp_path, source, said):
  run = folders.write_whole_run(tmp_path / 'run', source)
  page = page_of(read_contents(run))
  assert words_of(page.select_one('.headline')) == said and words_of(page.footer).startswith(said)
  assert page.title.text.startswith('Simulated') is (said == NOTE_SIMULATED)
  assert ('@page { @top-center' in page.style.text) is (said == NOTE_SIMULATED)


def test_a_survey_of_unknown_source_is_none_of_the_sun(tmp_path):
  table = random_table(n_pairs=4)
  del table.meta['survey_source']
  write_predictions(tmp_path / 'predictions' / 'cnn.ecsv', table)
  assert headline(read_contents(tmp_path)).startswith('Source of the survey not stated: no evidence')


def test_names_are_shown_and_do_nothing(tmp_path):
  run = folders.write_whole_run(tmp_path / 'run', folders.HOSTILE, models=('cnn', folders.HOSTILE))
  config = json.loads((run / 'config.json').read_text())
  config['settings'][folders.HOSTILE] = folders.HOSTILE
  write_json(run / 'config.json', config)
  for name in ('skill', 'findings'):
    table = Table.read(run / f'{name}.ecsv', format='ascii.ecsv')
    column = 'model' if name == 'skill' else 'text'
    table[column] = [folders.HOSTILE] * len(table)
    table.write(run / f'{name}.ecsv', format='ascii.ecsv', overwrite=True)
  (run / 'verification' / 'verdict.txt').write_text(f'skill: {folders.HOSTILE}\n')
  write_log(run)
  moved = tmp_path / 'a "name" & <b>more</b>'
  shutil.move(run, moved)
  page = page_of(read_contents(moved))
  assert len(page.find_all('script')) == 1 and not page.find_all('b', string='more')
  assert not [image for image in page.find_all('img') if not image['src'].startswith('data:')]
  assert not [node for node in page.find_all(True) if any(name.startswith('on') for name in node.attrs)]
  assert folders.HOSTILE in page.text and moved.name in page.text


def write_log(run) -> None:
  folders.write_log(run, [line | {'fold': 0} for line in folders.log_lines(folds=1)])


def test_the_page_forbids_itself_to_load_anything(page):
  (policy,) = (node['content'] for node in page.find_all('meta') if node.get('http-equiv'))
  assert policy.startswith("default-src 'none'; img-src data:;") and "script-src 'sha256-" in policy
  addresses = [value for node in page.find_all(True) for name, value in node.attrs.items() if name in ('href', 'src')]
  assert all(address.startswith(('#', 'data:')) for address in addresses)
  assert 'http' not in page.style.text and '@import' not in page.style.text and 'url(' not in page.style.text


# --- Side by side ---------------------------------------------------------------------------------------------------


def test_two_runs_stand_side_by_side(contents, whole, tmp_path):
  other = tmp_path / 'other'
  shutil.copytree(whole, other)
  config = json.loads((other / 'config.json').read_text())
  config['settings'] |= {'seed': 8, 'new': True}
  write_json(other / 'config.json', config)
  (other / 'findings.ecsv').unlink()
  page = page_of(contents, read_contents(other))
  assert [section['id'] for section in page.find_all('section')] == ['comparison', *ANCHORS]
  comparison = page.select_one('#comparison')
  tables = {words_of(node.find_previous('h3')): node for node in comparison.find_all('table')}
  differ = [[words_of(cell) for cell in row.find_all('td')] for row in tables['What differs'].select('tbody tr')]
  assert differ == [['settings.seed', '7', '8'], ['settings.new', 'not there', 'True']]
  assert len(tables['Skill by lead time'].select('tbody tr')) == 2 * len(folders.MODELS)
  assert all('not asked' in row.text for row in tables['Findings'].select('tbody tr'))
  assert len(tables['Verdicts'].select('tbody tr')) == len(folders.VERDICT)
  # The same forecasts: no difference, whatever their skill.
  assert 'B less that of A, on the same pairs: +0.00 [+0.00, +0.00]' in words_of(comparison)
  assert len(comparison.select('.chart .series')) == 2


def test_other_surveys_are_not_compared_pair_by_pair(contents, tmp_path):
  write_predictions(tmp_path / 'predictions' / 'cnn.ecsv', random_table(n_pairs=4))
  page = page_of(contents, read_contents(tmp_path))
  comparison = words_of(page.select_one('#comparison'))
  assert 'The runs are of different surveys' in comparison and 'on the same pairs' not in comparison
  assert 'Scoring of' in comparison and 'hearjax verify' in comparison


def test_a_simulation_beside_the_sun_is_a_simulation(contents, tmp_path):
  table = random_table(n_pairs=4)
  table.meta['survey_source'] = 'hear'
  write_predictions(tmp_path / 'predictions' / 'cnn.ecsv', table)
  real = read_contents(tmp_path)
  assert headline(real) == 'Survey: hear' and headline(real, contents) == headline(contents, real) == NOTE_SIMULATED
  page = page_of(real, contents)
  assert page.title.text.startswith('Simulated: ') and words_of(page.select_one('.headline')) == NOTE_SIMULATED
  assert 'B (whole) is of a simulated survey and says nothing about the Sun' in page.select_one('#comparison').text


# --- Numbers --------------------------------------------------------------------------------------------------------


def test_numbers_as_they_are_told():
  assert told(-0.123) == '\N{MINUS SIGN}0.12' and told(np.nan) == '\N{EN DASH}'
  assert bounded(0.5, -0.25, 0.75, '+.2f') == '+0.50 [\N{MINUS SIGN}0.25, +0.75]'
  assert told(3.5e19, '.1e') == '3.5e19' and told(2e-5, '.0e') == '2e\N{MINUS SIGN}05'
  assert number(1234.5, '.0f').key == 1234.5 and text('B').key == 'b'
