"""Ctrl-C, and the signal with which a cluster ends a job: what is left, what is told, and how it goes on."""

import pathlib
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table

from experiments import cli
from experiments.__main__ import scripts
from tests.conftest import QUICK
from tests.scripts import ROOT, command, succeed

# Whoever started the tests may have let them ignore Ctrl-C, as a shell does with what runs behind it.
HEARING = 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'


def interrupt(
  line: list[str], is_time: Callable[[], bool], number: signal.Signals, log: pathlib.Path
) -> tuple[int, str, float]:
  """Starts a program, and sends it a signal when it is time.

  Returns:
    Its exit status, what it has written, and how long it took to end [s].
  """
  with log.open('w') as out:
    process = subprocess.Popen([sys.executable, '-c', HEARING, *line], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
  deadline = time.monotonic() + 240
  while not is_time() and time.monotonic() < deadline:
    assert process.poll() is None, log.read_text()
    time.sleep(0.01)
  sent = time.monotonic()
  process.send_signal(number)
  status = process.wait(60)
  return status, log.read_text(), time.monotonic() - sent


def test_an_interrupted_training_tells_the_command_that_goes_on_to_the_same_end(quick_survey, finished, tmp_path):
  workdir = tmp_path / 'a work'
  arguments = [f'--survey={quick_survey}', f'--workdir={workdir}', *QUICK, '--checkpoint_every=1']
  status, told, _ = interrupt(
    command('train', *arguments),
    lambda: bool(list(workdir.glob('checkpoints/fold01_seed0/1'))),
    signal.SIGINT,
    tmp_path / 'log',
  )
  assert status == 130
  assert not (workdir / 'predictions').exists() and not (workdir / '.train.lock').exists()
  lines = told.splitlines()
  assert len(lines) < 20 and '\r' not in told and 'Traceback' not in told
  sentence, _, go_on = lines[-1].partition(' are kept; go on with: ')
  assert sentence == 'interrupted: the networks up to their last checkpoints'
  assert shlex.split(go_on) == ['hearjax', 'train', *arguments]
  succeed(*shlex.split(go_on)[1:])
  ours, whole = (Table.read(each / 'predictions' / 'cnn.ecsv') for each in (workdir, finished))
  for column in ours.colnames:
    np.testing.assert_array_equal(ours[column], whole[column])


def test_a_cluster_that_ends_reproduce_is_told_its_own_command(tmp_path):
  arguments = ['--quick', f'--workdir={tmp_path}/work']
  status, told, _ = interrupt(
    command('reproduce', *arguments),
    (tmp_path / 'work' / 'survey' / '.simulate_survey.lock').exists,
    signal.SIGTERM,
    tmp_path / 'log',
  )
  assert status == 143
  assert told.splitlines()[-1] == (
    'terminated: the steps that were ready, and the training up to its last checkpoints, are kept; go on with: '
    + shlex.join(['hearjax', 'reproduce', *arguments])
  )
  assert 'Traceback' not in told
  assert [path.name for path in (tmp_path / 'work').rglob('*')] == ['reproduce.json'], 'no lock, nothing half made'


# A script that holds a folder, and takes its time to clean up.
SLOW = """
import sys, time, types
from experiments import cli
def define_flags(flags):
  flags.path('out', None, 'Folder.')
  flags.writes('out')
def main(flags):
  open(sys.argv[2], 'w').close()
  try:
    time.sleep(60)
  finally:
    open(sys.argv[3], 'w').close()
    time.sleep(float(sys.argv[4]))
slow = types.SimpleNamespace(__file__='slow.py', __doc__='', define_flags=define_flags, main=main)
sys.exit(cli.execute(slow, ['slow', f'--out={sys.argv[1]}']))
"""


def slow(folder: pathlib.Path, seconds: float) -> list[str]:
  return [sys.executable, '-c', SLOW, str(folder / 'out'), str(folder / 'begun'), str(folder / 'ending'), str(seconds)]


@pytest.mark.parametrize(
  ('number', 'status', 'word'), [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, 'terminated')]
)
def test_both_signals_end_a_script_with_one_sentence_and_its_own_status(tmp_path, number, status, word):
  ended, told, _ = interrupt(slow(tmp_path, 0), (tmp_path / 'begun').exists, number, tmp_path / 'log')
  assert ended == status
  assert told == f'{word}: nothing is kept; begin again with: hearjax slow --out={tmp_path}/out\n'
  assert not (tmp_path / 'out').exists()


def test_the_second_signal_ends_it_at_once(tmp_path):
  line = [sys.executable, '-c', HEARING, *slow(tmp_path, 60)]
  with subprocess.Popen(line, cwd=ROOT) as process:
    for path in (tmp_path / 'begun', tmp_path / 'ending'):
      while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
      process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


def test_who_ignores_a_signal_goes_on_ignoring_it():
  code = textwrap.dedent("""
    import os, signal
    from experiments import cli
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with cli.interruptible():
      os.kill(os.getpid(), signal.SIGINT)
      print('still there')
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  """)
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=60)
  assert (done.returncode, done.stdout) == (0, 'still there\n')


@pytest.mark.parametrize(
  ('name', 'given', 'told'),
  [
    ('verify', ['--workdir=a b'], "nothing is kept; begin again with: hearjax verify '--workdir=a b'"),
    (
      'train',
      ['--workdir=w', '--overwrite', '--epochs=3'],
      'the networks up to their last checkpoints are kept; go on with: hearjax train --workdir=w --epochs=3',
    ),
    ('reproduce', ['--overwrite'], 'with --overwrite all of it is taken again: hearjax reproduce --overwrite'),
    (
      'scan',
      ['--fits=a*'],
      "the files that were ready are kept; begin again with: hearjax scan '--fits=a*' --overwrite",
    ),
  ],
)
def test_the_command_that_goes_on(name, given, told):
  assert cli.how_to_go_on(name, given) == told


def test_what_is_kept_is_told_of_scripts_that_there_are():
  assert {*cli.KEPT, *cli.LEFT} <= set(scripts())
  assert set(cli.TAKEN_AGAIN) <= set(cli.KEPT)
