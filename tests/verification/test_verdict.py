"""The verdict: what it says of tables made by hand, and what it leaves out."""

import numpy as np
import pytest
from astropy.table import Table

from hearjax.verification.certificate import Certificate
from hearjax.verification.reliability import calibration_table
from hearjax.verification.skill import difference_tables, skill_mean_table, skill_table
from hearjax.verification.verdict import verdict
from tests.hand_made import random_table


@pytest.fixture(scope='module')
def products():
  tables = [random_table(skill=skill, model=name, seed=7) for name, skill in (('cnn', 1.5), ('da_flux', 0.5))]
  tables.append(random_table(skill=1.3, model='da_linear', seed=7))
  differences, differences_mean = difference_tables(tables, 'cnn', 50, 0)
  return {
    'skill': skill_table(tables, 50, 0),
    'skill_mean': skill_mean_table(tables, 50, 0),
    'differences': differences,
    'differences_mean': differences_mean,
    'calibration': calibration_table(tables),
  }


def said(products, certificate=None, reference='cnn'):
  lines = verdict(products, reference, {'cnn': certificate} if certificate else {})
  return {line.split(':')[0]: line.split(':', 1)[1].strip() for line in lines}


def test_without_a_survey_it_says_what_it_cannot_say(products):
  lines = said(products)
  assert list(lines) == ['leak', 'folds', 'skill', 'rule', 'rivals', 'calibration']
  assert lines['leak'].startswith('not looked for') and lines['folds'].startswith('not certified')
  mean = products['skill_mean']
  row = mean[(mean['model'] == 'cnn') & (mean['threshold_rule'] == 'each')][0]
  bounds = f'{row["tss"]:.2f} [{row["tss_refit_low"]:.2f}, {row["tss_refit_high"]:.2f}]'
  assert lines['skill'].startswith(f'cnn has a TSS of {bounds} before emergence')
  assert 'da_linear, the best of the 2 others' in lines['rivals']


def nuisance(low):
  columns = {'model': ['nuisance'], 'tss': [0.3], 'tss_refit_low': [low], 'tss_refit_high': [0.5]}
  return Table({**columns, 'threshold_rule': ['0.5']})


@pytest.mark.parametrize(('low', 'start'), [(0.1, 'THE CLASSES DIFFER WITHOUT ANY MAP'), (-0.1, 'none seen')])
def test_a_leak_is_said_first(products, low, start):
  balance = Table({'quantity': ['n_frames', 'mu'], 'unbalanced': [True, False]})
  lines = verdict(products | {'nuisance': nuisance(low), 'balance': balance}, 'cnn', {})
  assert lines[0].startswith('leak:') and start in lines[0]
  assert 'EAR and CR differ in n_frames (' in lines[0] and 'mu' not in lines[0]


def test_a_certificate_that_does_not_hold_stands_out(products):
  parted = Certificate(pairs=9, missing=0, folds=3, links=2, parted=(('a', 'b'),))
  assert said(products, parted)['folds'].startswith('NOT CERTIFIED, cnn: 1 of 2 couples')
  whole = Certificate(9, 0, 3, 0, ())
  assert said(products, whole)['folds'].startswith('certified: 9 pairs in 3 folds')
  # Of the others those that do not hold are told of.
  lines = verdict(products, 'cnn', {'cnn': whole, 'da_flux': whole, 'theirs': parted})
  assert [line.split(':')[1].strip() for line in lines if line.startswith('folds')] == [
    'certified',
    'NOT CERTIFIED, theirs',
  ]


def test_flux_base_rate_alarms_and_frames(products):
  matched = Table(
    {
      'model': ['cnn'] * 3,
      'tolerance_dex': [0.05, 0.1, np.inf],
      'n_couples': [0, 30, 120],
      'tss': [np.nan, 0.21, 0.6],
      'tss_low': [np.nan, 0.05, 0.5],
      'tss_high': [np.nan, 0.4, 0.7],
      'p': [np.nan, 0.012, 0.001],
      'small': [True, False, False],
    }
  )
  rates = Table({'model': ['cnn'] * 2, 'rate': [0.01] * 2, 'hours': [-24.3, -2.9], 'precision': [0.01, 0.12]})
  rates['false_alarms'] = [300.0, 114.0]
  alarms = Table({'model': ['cnn'], 'alarm': ['any'], 'median_hours': [-19.0], 'never': [0.1], 'never_cr': [0.7]})
  frames = Table({'interval': [-5, -1], 'after_emergence': [0.0, 0.07]})
  extra = {'matched_mean': matched, 'base_rates': rates, 'first_alarm_summary': alarms, 'frames': frames}
  lines = said(products | extra)
  # The smallest tolerance that has couples.
  assert lines['flux'].startswith('among regions of equal flux (to 0.1 dex, 30 couples) the TSS is 0.21 [0.05, 0.40]')
  assert lines['base rate'].startswith('where 0.01 of the places emerge, 12% of the alarms at -3 h are right, and 114')
  assert lines['first alarm'].startswith('half of the EARs with an alarm have it by -19 h; 10%')
  assert lines['first alarm'].endswith('30% of the controls do.')
  skill = products['skill']
  early = skill[(skill['model'] == 'cnn') & (skill['threshold_rule'] == 'each') & (skill['interval'] == -5)]['tss'][0]
  assert lines['emergence'] == (
    f'7% of the window at -3 h lie after the emergence time; without that interval the mean TSS is {early:.2f}.'
  )
  assert len(lines) == 10
  matched['n_couples'] = 0
  assert said(products | {'matched_mean': matched})['flux'].startswith('no two regions have equal flux (to 0.1 dex)')


def test_tuned_copies_are_told_of_beside_the_network_and_are_no_rival(products):
  tuned = random_table(skill=3.0, model='cnn_tuned', seed=7)
  tables = [random_table(skill=1.5, model='cnn', seed=7), random_table(skill=0.5, model='da_flux', seed=7), tuned]
  differences, differences_mean = difference_tables(tables, 'cnn', 50, 0)
  mean = skill_mean_table(tables, 50, 0)
  told = products | {'skill_mean': mean, 'differences': differences, 'differences_mean': differences_mean}
  row = mean[(mean['model'] == 'cnn_tuned') & (mean['threshold_rule'] == 'each')][0]
  lines = said(told)
  assert f'copies tuned to each lead time, as analyses are fitted, have {row["tss"]:.2f} [' in lines['rule']
  assert 'da_flux, the best of the 1 others' in lines['rivals']
  only = differences_mean[differences_mean['baseline'] == 'cnn_tuned']
  assert 'rivals' not in said(told | {'differences_mean': only})
  assert 'copies tuned' not in said(products)['rule']
