"""Orbax in one place: a member's checkpoint, written after epochs and read to resume or to predict."""

import logging
import os
import pathlib
from typing import Any

import orbax.checkpoint as ocp

from hearjax.training import MemberState


class MemberCheckpoint:
  """The checkpoint of one member: only the latest epoch is kept, since the state itself carries the best parameters.

  Two items are stored apart: `params`, what predictions are made with, and `training`, all that resuming needs.
  """

  def __init__(self, directory: str | os.PathLike):
    # Synchronous: a checkpoint is about a megabyte, and is then complete before the run goes on.
    self._manager = ocp.CheckpointManager(
      pathlib.Path(directory).resolve(),
      options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False),
    )

  def __enter__(self) -> 'MemberCheckpoint':
    return self

  def __exit__(self, *_: Any) -> None:
    self._manager.close()

  def save(self, state: MemberState) -> None:
    """Writes the state as that of its epoch.

    Raises:
      OSError: It cannot be written; the checkpoint before it stays.
    """
    items = ocp.args.Composite(params=ocp.args.StandardSave(state.best), training=ocp.args.StandardSave(state))
    try:
      self._manager.save(int(state.epoch), args=items, force=True)
    except Exception as error:  # TensorStore tells a full disk as a ValueError.
      raise OSError(
        f'Cannot write the checkpoint {self._manager.directory}: is the disk full, or the folder not writable?'
      ) from error

  def restore(self, like: MemberState) -> MemberState | None:
    """Returns the latest state, or None where there is none.

    Raises:
      ValueError: The checkpoint is of another model or optimiser than `like`.
    """
    epoch = self._manager.latest_step()
    return None if epoch is None else _restore(pathlib.Path(self._manager.directory) / str(epoch) / 'training', like)


def restore_params(directory: str | os.PathLike, like: Any) -> Any:
  """Returns the parameters of a member for prediction; nothing is written.

  Args:
    directory: The member's folder.
    like: Parameters (or their shapes) of the network that is to use them.

  Raises:
    FileNotFoundError: There is no checkpoint.
    ValueError: It is of another model.
  """
  directory = pathlib.Path(directory).resolve()
  epochs = [int(path.name) for path in directory.glob('*') if path.name.isdigit()]
  if not epochs:
    raise FileNotFoundError(f'There is no checkpoint in {directory}; has the training finished?')
  return _restore(directory / str(max(epochs)) / 'params', like)


def _restore(path: pathlib.Path, like: Any) -> Any:
  try:
    with ocp.StandardCheckpointer() as checkpointer:
      return checkpointer.restore(path, like)
  except Exception as error:  # Orbax and TensorStore raise many types, with a message of a page.
    # Tasks that Orbax leaves behind would have asyncio print their tracebacks after ours has been told.
    logging.getLogger('asyncio').setLevel(logging.CRITICAL)
    raise ValueError(
      f'The checkpoint {path} is damaged or of another model: its layers or their shapes differ from what is asked '
      'for; use the work directory with the settings that made it.'
    ) from error
