"""How far a step is: bars in a terminal, a few lines elsewhere, nothing for quick steps or to who did not ask."""

import itertools
import os
import pty
import subprocess
import sys
import time

import pytest

import hearjax
from hearjax import progress
from hearjax.progress import Mark, Meter, close_shown, counted, meter, pause_after, say, seconds_left, silent
from tests.scripts import ROOT

DAY_S = 86400.0
# Three parts of half a second, each of which says something; then a quick step.
STEP = """
import time
from hearjax import progress
progress.DELAY_S = 0.3
progress.REFRESH_S = 0.1
for number in progress.meter('pruning', 'network')(range(3)):
  time.sleep(0.5)
  progress.say(f'network {number} is pruned')
for _ in progress.meter('drawing', 'figure')(range(3)):
  pass
"""


@pytest.fixture
def soon(monkeypatch) -> None:
  """Shows a step after a twentieth of a second."""
  monkeypatch.setattr(progress, 'DELAY_S', 0.05)
  yield
  close_shown()


def on_terminal(code: str) -> str:
  """Returns what a program writes to a terminal."""
  ours, its = pty.openpty()
  with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdin=its, stdout=its, stderr=its) as process:
    os.close(its)
    written = b''
    while True:
      try:
        part = os.read(ours, 65536)
      except OSError:  # How a terminal ends on Linux.
        break
      if not part:
        break
      written += part
  os.close(ours)
  assert process.returncode == 0, written.decode()
  return written.decode()


# --- Where it is shown ------------------------------------------------------------------------------------------


def test_a_terminal_shows_a_bar_with_the_time_left():
  written = on_terminal(STEP)
  bars = [text for text in written.replace('\n', '\r').split('\r') if text.startswith('pruning:')]
  assert any('0/3 networks' in bar for bar in bars), 'there before the first part is done'
  assert any('| 1/3 networks, 00:0' in bar and ' left' in bar for bar in bars)
  assert '100%|' in bars[-1] and '3/3 networks' in bars[-1] and 'left' not in bars[-1]
  for number in range(3):  # The bar made room for it.
    assert f' \rnetwork {number} is pruned\r\n' in written
  assert 'drawing' not in written
  assert written.endswith('\n')


def test_elsewhere_plain_lines_tell_the_same():
  done = subprocess.run([sys.executable, '-c', STEP], cwd=ROOT, capture_output=True, text=True, timeout=60)
  assert done.stdout.splitlines() == [f'network {number} is pruned' for number in range(3)]
  lines = done.stderr.splitlines()
  assert '\r' not in done.stderr and 2 <= len(lines) <= 5
  assert all(line.startswith('pruning: ') for line in lines)
  assert lines[0].startswith('pruning: 0/3 networks (0%), 00:00 taken')
  assert lines[-1].startswith('pruning: 3/3 networks (100%), 00:01 taken')


def test_a_part_that_takes_long_does_not_look_dead(soon, capsys):
  for _ in meter('pruning', 'network')(range(2)):
    time.sleep(0.2)
    assert 'pruning: ' in capsys.readouterr().err


def test_a_quick_step_shows_nothing(capsys):
  assert list(meter('drawing', 'figure')(range(100))) == list(range(100))
  assert capsys.readouterr() == ('', '')


def test_a_step_within_another_is_silent_unless_that_has_one_part(soon, capsys):
  for _ in meter('outer')(range(2)):
    for _ in meter('inner')(range(2)):
      time.sleep(0.1)
  told = capsys.readouterr().err
  assert 'outer: ' in told and 'inner: ' not in told
  for _ in meter('outer')([1]):
    for _ in meter('inner')(range(2)):
      time.sleep(0.1)
  told = capsys.readouterr().err
  assert 'inner: ' in told and 'outer: ' not in told


def test_what_an_error_leaves_behind_can_be_ended(soon, capsys):
  parts = iter(meter('failing')(range(3)))
  next(parts)
  time.sleep(0.15)
  close_shown()
  assert 'failing: 0/3 parts' in capsys.readouterr().err
  with Meter('next', 'part', 2) as shown:
    shown.update(note='loss 0.5')
    time.sleep(0.15)
  assert 'next: 1/2 parts (50%), 00:00 taken, loss 0.5' in capsys.readouterr().err.splitlines()[-1]


def test_the_library_is_silent_unless_asked(monkeypatch, capsys):
  monkeypatch.setattr(progress, 'DELAY_S', 0.0)
  hearjax.simulate_survey(0, 9, (-1,), 16)
  assert capsys.readouterr() == ('', '')
  shown = []

  def listen(parts, total=None, initial=0):
    return (shown.append(part) or part for part in parts)

  hearjax.simulate_survey(0, 9, (-1,), 16, progress=listen)
  assert len(shown) > 1


def test_say_prints_where_it_is_told(capsys):
  say('to all')
  say('error: this', sys.stderr)
  assert capsys.readouterr() == ('to all\n', 'error: this\n')


# --- What it counts ---------------------------------------------------------------------------------------------


def test_parts_come_through_as_they_are():
  assert list(silent('abc')) == list('abc')
  assert list(meter('what')(iter('abc'))) == list('abc')
  assert list(meter('what')((part for part in 'abc'), total=5, initial=2)) == list('abc')


def test_parts_of_several_loops_are_counted(soon, capsys):
  count = counted(meter('averaging', 'cube'), total=5, initial=2)
  for _ in range(2):
    count()
  time.sleep(0.15)
  assert 'averaging: 4/5 cubes (80%)' in capsys.readouterr().err
  for _ in range(3):  # One more than there are.
    count()
  assert 'averaging: 5/5 cubes (100%)' in capsys.readouterr().err


def test_the_time_left_is_that_of_the_parts_after_the_first():
  begun = Mark(2, 100.0)  # Two parts were done before.
  assert seconds_left(begun, begun, begun, 10, 130.0) is None
  first = Mark(3, 110.0)
  assert seconds_left(begun, first, first, 10, 110.0) == 7 * 10.0
  last = Mark(7, 114.0)  # A second each: the first one had to compile.
  assert seconds_left(begun, first, last, 10, 114.0) == 3.0
  assert seconds_left(begun, first, last, 10, 114.5) == 2.5
  assert seconds_left(begun, first, last, 10, 130.0) == 2.0, 'the two after the one that takes so long'
  assert seconds_left(begun, first, Mark(10, 117.0), 10, 120.0) == 0.0


def test_lines_are_few_however_long_it_takes():
  times = [progress.DELAY_S]
  while times[-1] < DAY_S:
    times.append(times[-1] + pause_after(times[-1]))
  assert times[:5] == [3, 6, 12, 24, 48]
  assert sum(time < 600 for time in times) <= 25
  assert len(times) < 200
  assert max(after - before for before, after in itertools.pairwise(times)) <= 600


# --- What must not come of it -------------------------------------------------------------------------------------


def test_a_step_that_is_done_before_it_begins_leaves_room_for_the_next(soon):
  with Meter('training', 'epoch', 10, initial=10), Meter('tuning', 'copy', 2) as inner:
    assert Meter._shown is inner


def test_a_step_goes_on_when_nobody_can_look_any_more(soon, monkeypatch):
  class Gone:
    def isatty(self):
      return False

    def write(self, text):
      raise BrokenPipeError

    def flush(self):
      raise BrokenPipeError

  monkeypatch.setattr(sys, 'stderr', Gone())
  done = []
  for number in meter('pruning', 'network')(range(3)):
    time.sleep(0.1)
    done.append(number)
  assert done == [0, 1, 2] and Meter._shown is None


def test_tqdm_will_do():
  from tqdm import tqdm

  count = counted(tqdm, 3, 1)
  count(), count()
