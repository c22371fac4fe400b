"""The work directory of a run: its config, and the rule that nothing finished is overwritten in silence."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import subprocess
from typing import Any

import jax

import hearjax
from hearjax.files import write_whole

CONFIG_NAME = 'config.json'
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'astropy', 'scikit-learn')


def describe_environment() -> dict[str, Any]:
  """Returns versions, device and git commit of this run: for the record, never compared."""
  commit = subprocess.run(
    ['git', 'describe', '--always', '--dirty'],
    cwd=pathlib.Path(hearjax.__file__).parent,
    capture_output=True,
    text=True,
    check=False,
  ).stdout.strip()
  device = jax.devices()[0]
  return {
    'hearjax': hearjax.__version__,
    'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
    'device': f'{device.platform} {device.device_kind}',
    'commit': commit or None,
  }


def open_workdir(
  workdir: str | os.PathLike, settings: dict[str, Any], product: str, domain: dict[str, Any], survey: str | os.PathLike
) -> pathlib.Path:
  """Starts a work directory, or enters an interrupted one to resume it.

  Args:
    workdir: The folder; made if it is not there.
    settings: What determines the result (JSON-able, or dataclasses); a resumed run must have the same.
    product: File within it whose presence means that the run is finished.
    domain: What the run is trained on (`scoring.training_domain`): kept beside the settings, not compared.
    survey: Folder of the survey archive, where later scripts look for it; not compared either.

  Returns:
    The folder, with `config.json` written.

  Raises:
    FileExistsError: The run is finished, or the folder holds something else.
    ValueError: The interrupted run had other settings.
    OSError: The folder cannot be written.
  """
  workdir = pathlib.Path(workdir)
  config_path = workdir / CONFIG_NAME
  settings = plain(settings)
  if (workdir / product).exists():
    raise FileExistsError(f'{workdir} already holds a finished run ({product}); name another work directory.')
  if config_path.exists():
    different = compare(read_config(workdir)['settings'], settings)
    if different:
      raise ValueError(
        f'{workdir} holds an interrupted run with other settings ({"; ".join(different)}); '
        'resume it with its own, or name another work directory.'
      )
    return workdir
  environment = {**describe_environment(), 'survey': str(pathlib.Path(survey).resolve())}
  content = {'settings': settings, 'domain': domain, 'environment': environment}
  text = json.dumps(content, indent=1)
  write_whole(config_path, lambda temporary: temporary.write_text(text + '\n'))
  return workdir


def read_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """Reads config.json.

  Raises:
    FileNotFoundError: `workdir` is not a work directory.
    ValueError: The file is damaged.
  """
  path = pathlib.Path(workdir) / CONFIG_NAME
  if not path.is_file():
    raise FileNotFoundError(f'{workdir} is not a work directory: there is no {CONFIG_NAME} in it; run train first.')
  try:
    content = json.loads(path.read_text())
    return {part: dict(content[part]) for part in ('settings', 'domain', 'environment')}
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f'{path} is damaged ({error}).') from error


def plain(value: Any) -> Any:
  """Returns settings as JSON would give them back: dataclasses as dicts, tuples as lists."""
  return json.loads(json.dumps(value, default=dataclasses.asdict))


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
