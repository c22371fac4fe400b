"""The work directory of a run: its config, its log, and the rule that nothing finished is overwritten in silence."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
from typing import Any

import jax

import hearjax
from hearjax.checks import UserError
from hearjax.files import plain, sole_writer, told_as_damaged, write_json, write_whole
from hearjax.forecast.domain import DOMAIN_ENTRIES
from hearjax.training.placement import is_first_process
from hearjax.training.settings import RunSettings
from hearjax.verification.predictions import PREDICTIONS, tuned_name

CONFIG_NAME = 'config.json'
SPLITS_NAME = 'splits.json'
LOG_NAME = 'metrics.jsonl'
CHECKPOINTS = 'checkpoints'
# What later scripts read in config.json.
NEEDED = {
  'settings': ('survey_checksum', 'splits_checksum', *(field.name for field in dataclasses.fields(RunSettings))),
  'domain': DOMAIN_ENTRIES,
  'environment': ('survey',),
}
PRODUCT = f'{PREDICTIONS}/cnn.ecsv'  # Its presence marks a run as finished.
TUNED = f'{PREDICTIONS}/{tuned_name("cnn")}.ecsv'
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'astropy', 'scikit-learn')


def describe_environment() -> dict[str, Any]:
  """Returns versions, device and git commit of this run: for the record, never compared."""
  try:
    commit = subprocess.run(
      ['git', 'describe', '--always', '--dirty'],
      cwd=pathlib.Path(hearjax.__file__).parent,
      capture_output=True,
      text=True,
      check=False,
    ).stdout.strip()
  except OSError:  # No git on this machine.
    commit = ''
  device = jax.devices()[0]
  return {
    'hearjax': hearjax.__version__,
    'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
    'device': f'{device.platform} {device.device_kind}',
    'commit': commit or None,
  }


def sole_training(workdir: str | os.PathLike | None) -> contextlib.AbstractContextManager[None]:
  """Returns what keeps any other training out of a work directory; the first process does it for all of its run."""
  return sole_writer(workdir, 'train') if workdir and is_first_process() else contextlib.nullcontext()


def open_workdir(
  workdir: str | os.PathLike, identity: dict[str, Any], execution: Any, domain: dict[str, Any], survey: str
) -> pathlib.Path:
  """Starts a work directory, or enters an interrupted one to resume it.

  Args:
    workdir: The folder; made if it is not there.
    identity: What determines the result (JSON-able, or dataclasses); a resumed run must have the same.
    execution: How it is computed: kept beside it, not compared.
    domain: What the run is trained on (`forecast.domain.training_domain`); not compared either.
    survey: Folder of the survey archive, where later scripts look for it; not compared either.

  Returns:
    The folder, with `config.json` written.

  Raises:
    FileExistsError: The run is finished.
    UserError: The interrupted run had another identity.
    OSError: The folder cannot be written.
  """
  workdir = pathlib.Path(workdir)
  identity = plain(identity)
  if (workdir / PRODUCT).exists():
    raise FileExistsError(f'{workdir} already holds a finished run ({PRODUCT}); name another work directory.')
  if (workdir / CONFIG_NAME).exists():
    different = compare(_read_parts(workdir)['settings'], identity)
    if different:
      raise UserError(
        f'{workdir} holds an interrupted run with other settings ({"; ".join(different)}); '
        'resume it with its own, or name another work directory.'
      )
    return workdir
  environment = {**describe_environment(), 'survey': str(pathlib.Path(survey).resolve()) if survey else None}
  content = {'settings': identity, 'execution': execution, 'domain': domain, 'environment': environment}
  write_json(workdir / CONFIG_NAME, content)
  return workdir


def remove_run(workdir: str | os.PathLike) -> None:
  """Removes what training left in a work directory, its folds included; what others left stays."""
  workdir = pathlib.Path(workdir)
  for name in (PRODUCT, TUNED, CONFIG_NAME, SPLITS_NAME, LOG_NAME):
    (workdir / name).unlink(missing_ok=True)
  if (workdir / CHECKPOINTS).exists():
    shutil.rmtree(workdir / CHECKPOINTS)


def read_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """Reads config.json.

  Raises:
    FileNotFoundError: `workdir` is not a work directory.
    UserError: The file is damaged, or of a version that wrote something else.
  """
  parts = _read_parts(workdir)
  with told_as_damaged(pathlib.Path(workdir) / CONFIG_NAME, 'bring it back, or train again'):
    for part, names in NEEDED.items():
      for name in names:
        parts[part][name]
  return parts


def _read_parts(workdir: str | os.PathLike) -> dict[str, Any]:
  """Returns the parts of config.json, whatever is in them: an interrupted run may be of another version."""
  path = pathlib.Path(workdir) / CONFIG_NAME
  if not path.is_file():
    raise FileNotFoundError(f'{workdir} is not a work directory: there is no {CONFIG_NAME} in it; run train first.')
  with told_as_damaged(path, 'bring it back, or train again'):
    content = json.loads(path.read_text())
    return {part: dict(content[part]) for part in NEEDED}


def compare(old: dict[str, Any], new: dict[str, Any], prefix: str = '') -> list[str]:
  """Names what differs between two nested settings, as `key: old, now new`."""
  lines = []
  for key in sorted(set(old) | set(new)):
    before, after = old.get(key), new.get(key)
    if isinstance(before, dict) and isinstance(after, dict):
      lines += compare(before, after, f'{prefix}{key}.')
    elif before != after:
      lines.append(f'{prefix}{key}: was {before!r}, now {after!r}')
  return lines


def member_name(fold: int, seed: int) -> str:
  """Returns the name of a member, and of its folder among the checkpoints."""
  return f'fold{fold:02d}_seed{seed}'


class MetricsLog:
  """metrics.jsonl: one JSON object per epoch of each member.

  A resumed run trains the epochs since its last checkpoint again, with the same result; their lines are not written
  twice. A line that a killed run left half written is dropped.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens the log; it goes on where it stops."""
    self._path = pathlib.Path(path)
    lines = read_metrics(self._path)
    write_whole(self._path, lambda temporary: temporary.write_text(''.join(json.dumps(line) + '\n' for line in lines)))
    self._written = {_key(line) for line in lines}

  def append(self, line: dict[str, Any]) -> bool:
    """Writes a line unless it is there already; says whether it was new."""
    if _key(line) in self._written:
      return False
    self._written.add(_key(line))
    with self._path.open('a') as file:
      file.write(json.dumps(line) + '\n')
    return True


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
  """Reads the whole lines of metrics.jsonl; none where the file is not there.

  Raises:
    UserError: A line is damaged; one that is only half there at the end is left out.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    return []
  text = path.read_text()
  with told_as_damaged(path, 'remove its damaged lines'):
    lines = [json.loads(line) for line in text[: text.rfind('\n') + 1].splitlines()]
    for line in lines:
      _key(line)
  return lines


def _key(line: dict[str, Any]) -> tuple[int, int, int]:
  return line['fold'], line['seed'], line['epoch']
