"""Orbax in one place: a member's checkpoint, written after epochs and read to resume or to predict."""

import os
import pathlib
from typing import Any

import orbax.checkpoint as ocp

from hearjax.training import MemberState


def _manager(directory: str | os.PathLike, **options: Any) -> ocp.CheckpointManager:
  # Synchronous: a member's checkpoint is about a megabyte, and a killed run then never leaves a torn one behind.
  return ocp.CheckpointManager(
    pathlib.Path(directory).resolve(),
    options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False, **options),
  )


class MemberCheckpoint:
  """The checkpoint of one member: only the latest epoch is kept, since the state itself carries the best parameters.

  Two items are stored apart: `params`, what predictions are made with, and `training`, all that resuming needs.
  """

  def __init__(self, directory: str | os.PathLike):
    self._manager = _manager(directory)

  def __enter__(self) -> 'MemberCheckpoint':
    return self

  def __exit__(self, *_: Any) -> None:
    self._manager.close()

  def save(self, state: MemberState) -> None:
    """Writes the state as that of its epoch."""
    items = ocp.args.Composite(params=ocp.args.StandardSave(state.best), training=ocp.args.StandardSave(state))
    self._manager.save(int(state.epoch), args=items, force=True)

  def restore(self, like: MemberState) -> MemberState | None:
    """Returns the latest state, or None where there is none.

    Raises:
      ValueError: The checkpoint is of another model or optimiser than `like`.
    """
    return _restore(self._manager, 'training', like)


def restore_params(directory: str | os.PathLike, like: Any) -> Any:
  """Returns the parameters of a member for prediction.

  Args:
    directory: The member's folder.
    like: Parameters (or their shapes) of the network that is to use them.

  Raises:
    FileNotFoundError: There is no checkpoint.
    ValueError: It is of another model.
  """
  if not pathlib.Path(directory).is_dir():
    raise FileNotFoundError(f'There is no checkpoint {directory}; has the training finished?')
  with _manager(directory, read_only=True) as manager:
    params = _restore(manager, 'params', like)
  if params is None:
    raise FileNotFoundError(f'There is no checkpoint in {directory}; has the training finished?')
  return params


def _restore(manager: ocp.CheckpointManager, item: str, like: Any) -> Any:
  step = manager.latest_step()
  if step is None:
    return None
  try:
    return manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(like)}))[item]
  except (ValueError, KeyError) as error:  # Orbax compares tree and shapes; its message is a page long.
    raise ValueError(
      f'The checkpoint {manager.directory} is of another model: its layers or their shapes differ from what is asked '
      'for; use the work directory with the settings that made it.'
    ) from error
