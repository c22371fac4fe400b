"""What `benchmark` times: a group is asked for by name and yields one or more `Group`s."""

from collections.abc import Callable, Iterator

from . import interpreting, learning, whole
from .timing import Group

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
  'archive': whole.archive,
  'reproduce': whole.reproduction,
  'suite': whole.suite,
}
