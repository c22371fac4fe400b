"""metrics.jsonl: one JSON object per epoch of each member."""

import json
import os
import pathlib
from typing import Any

from hearjax.ensemble import member_name
from hearjax.files import write_whole

BOARD_KEYS = ('loss', 'validation_loss', 'validation_tss')


class MetricsLog:
  """Appends lines to metrics.jsonl, and to TensorBoard event files where that is asked for.

  A resumed run trains the epochs since its last checkpoint again, with the same result; their lines are not written
  twice. A line that a killed run left half written is dropped.
  """

  def __init__(self, path: str | os.PathLike, tensorboard: bool = False):
    """Opens the log.

    Args:
      path: The file; it goes on where it stops.
      tensorboard: Also write event files into the folder `tensorboard` beside it.

    Raises:
      ValueError: TensorBoard is asked for, but tensorboardX is not installed.
    """
    self._path = pathlib.Path(path)
    lines = read_metrics(self._path)
    write_whole(self._path, lambda temporary: temporary.write_text(''.join(json.dumps(line) + '\n' for line in lines)))
    self._written = {_key(line) for line in lines}
    self._board = _summary_writer(self._path.parent / 'tensorboard') if tensorboard else None

  def __call__(self, line: dict[str, Any]) -> None:
    if _key(line) in self._written:
      return
    self._written.add(_key(line))
    with self._path.open('a') as file:
      file.write(json.dumps(line) + '\n')
    if self._board:
      name = member_name(line['fold'], line['seed'])
      for key in BOARD_KEYS:
        self._board.add_scalar(f'{name}/{key}', line[key], line['epoch'])
      self._board.flush()


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
  """Reads the whole lines of metrics.jsonl; none where the file is not there."""
  path = pathlib.Path(path)
  if not path.is_file():
    return []
  text = path.read_text()
  return [json.loads(line) for line in text[: text.rfind('\n') + 1].splitlines()]


def _key(line: dict[str, Any]) -> tuple[int, int, int]:
  return line['fold'], line['seed'], line['epoch']


def _summary_writer(directory: pathlib.Path) -> Any:
  try:
    from tensorboardX import SummaryWriter
  except ImportError as error:
    raise ValueError('--tensorboard needs the package tensorboardX: pip install "hearjax[tensorboard]".') from error
  return SummaryWriter(str(directory))
