"""What `benchmark` times: a group is asked for by name and yields one or more `Group`s."""

from collections.abc import Callable, Iterator

from .. import cli
from . import interpreting, learning, whole
from .timing import Group


def disk(size: dict, seed: int) -> Iterator[Group]:
  """Magnetograms of the whole disk; nothing where the extra `sun` is not installed."""
  try:
    from . import disks  # Here, since it needs that extra.
  except ImportError as error:
    sentence = cli.explain(error)
    if sentence is None:
      raise
    print(f'Disks are left out: {sentence}', flush=True)
    return
  yield from disks.disk(size, seed)


GROUPS: dict[str, Callable[[dict, int], Iterator[Group]]] = {
  'step': learning.step,
  'layers': learning.layers,
  'lowerings': learning.lowerings,
  'members': learning.members,
  'survey_size': learning.survey_size,
  'precision': learning.precision,
  'first_step': learning.first_step,
  'whole_run': learning.whole_run,
  'sweep': interpreting.sweep,
  'elimination': interpreting.elimination,
  'response': interpreting.response,
  'disk': disk,
  'archive': whole.archive,
  'reproduce': whole.reproduction,
  'suite': whole.suite,
}
