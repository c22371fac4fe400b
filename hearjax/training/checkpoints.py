"""Orbax in one place: a member's checkpoint, written after epochs and read to resume or to predict."""

import logging
import os
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from hearjax.checks import UserError
from hearjax.training.step import MemberState


def save_state(directory: str | os.PathLike, state: MemberState) -> None:
  """Writes the state of a member as that of its epoch, and removes the one before.

  Two items are stored apart: `params`, what predictions are made with, and `training`, all that resuming needs. Only
  the latest epoch is kept.

  Args:
    directory: The member's folder.
    state: Its state, on the host.

  Raises:
    OSError: It cannot be written; the checkpoint before it stays.
  """
  directory = pathlib.Path(directory).resolve()
  items = ocp.args.Composite(params=ocp.args.StandardSave(state.average), training=ocp.args.StandardSave(state))
  # Synchronous: a checkpoint is about a megabyte, and is then complete before the run goes on.
  options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
  try:
    with ocp.CheckpointManager(directory, options=options) as manager:
      manager.save(int(state.epoch), args=items, force=True)
  except Exception as error:  # TensorStore tells a full disk as a ValueError.
    raise OSError(f'Cannot write the checkpoint {directory}: is the disk full, or the folder not writable?') from error


def restore_state(directory: str | os.PathLike, like: MemberState) -> MemberState | None:
  """Returns the latest state of a member, or None where there is none.

  Raises:
    UserError: The checkpoint is of another model or optimiser than `like`.
  """
  path = _latest(directory)
  return None if path is None else _restore(path / 'training', like)


def save_params(directory: str | os.PathLike, params: Any) -> None:
  """Writes parameters alone, where `restore_params` finds them; replaces those that are there.

  Raises:
    OSError: They cannot be written.
  """
  directory = pathlib.Path(directory).resolve()
  try:
    with ocp.StandardCheckpointer() as checkpointer:
      # From the host, so that nothing is said of devices, which may be others where it is restored.
      checkpointer.save(directory / '0' / 'params', jax.device_get(params), force=True)
  except Exception as error:  # TensorStore tells a full disk as a ValueError.
    raise OSError(f'Cannot write {directory}: is the disk full, or the folder not writable?') from error


def restore_params(directory: str | os.PathLike, like: Any) -> Any:
  """Returns the parameters of a member for prediction; nothing is written.

  Args:
    directory: The member's folder.
    like: Parameters (or their shapes) of the network that is to use them.

  Raises:
    FileNotFoundError: There is no checkpoint.
    UserError: It is of another model.
  """
  path = _latest(directory)
  if path is None:
    raise FileNotFoundError(f'There is no checkpoint in {directory}; has the training finished?')
  return _restore(path / 'params', like)


def _latest(directory: str | os.PathLike) -> pathlib.Path | None:
  directory = pathlib.Path(directory).resolve()
  epochs = [int(path.name) for path in directory.glob('*') if path.name.isdigit()]
  return directory / str(max(epochs)) if epochs else None


def _restore(path: pathlib.Path, like: Any) -> Any:
  # A restoration that fails leaves tasks behind, whose tracebacks asyncio would print around the one sentence below.
  asyncio_log = logging.getLogger('asyncio')
  level = asyncio_log.level
  asyncio_log.setLevel(logging.CRITICAL)
  try:
    with ocp.StandardCheckpointer() as checkpointer:
      stored = ocp.PyTreeCheckpointHandler().metadata(path).tree
      # Compared beforehand: what Orbax says of a misfit comes from its threads, and on many lines.
      if _shapes(stored) != _shapes(like):
        raise UserError('The shapes differ.')
      restored = checkpointer.restore(path, like)
  except Exception as error:  # Orbax and TensorStore raise many types, with a message of a page.
    raise UserError(
      f'The checkpoint {path} is damaged or of another model: its layers or their shapes differ from what is asked '
      'for; use the work directory with the settings that made it.'
    ) from error
  asyncio_log.setLevel(level)
  return restored


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Returns the shape of every leaf by its path; dataclasses and the dictionaries that Orbax makes of them agree."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {'.'.join(_name(key) for key in path): tuple(leaf.shape) for path, leaf in leaves}


def _name(key: Any) -> str:
  return str(next(getattr(key, attribute) for attribute in ('name', 'key', 'idx') if hasattr(key, attribute)))
