"""What every section is made with: pictures of the folder, and the commands that make what is missing."""

import pathlib
import shlex
from collections.abc import Iterable, Sequence

from hearjax.report.page.captions import CAPTIONS, OPTIONAL
from hearjax.report.page.contents import Contents
from hearjax.report.page.parts import NotRun, Part, Picture, Section


def command(contents: Contents, script: str, with_survey: bool = True, again: bool = False) -> str:
  """Returns the command that makes what is missing, with the folders of this page."""
  words = ['hearjax', script, f'--workdir={contents.folder}']
  if with_survey:
    words.append(f'--survey={_shown_place(contents)}')
  return shlex.join([*words, *(['--overwrite'] if again else [])])


def _shown_place(contents: Contents) -> pathlib.Path | str:
  """Returns the folder of the survey where it lies in the work directory; a page that is sent tells no other path."""
  place, folder = contents.survey_place, contents.folder
  if place is not None and place.resolve().is_relative_to(folder.resolve()):
    return folder / place.resolve().relative_to(folder.resolve())
  return 'SURVEY'


def pictures(contents: Contents, names: Iterable[str], remedy: str) -> list[Part]:
  """Returns the pictures of these names; those that are missing as not run, with the command that draws them."""
  parts: list[Part] = []
  for name in names:
    if name in contents.pictures:
      parts.append(Picture(contents.pictures[name], CAPTIONS[name]))
    elif name not in OPTIONAL:
      parts.append(NotRun(CAPTIONS[name].title, remedy))
  return parts


def section(anchor: str, title: str, lead: str, parts: Sequence[Part], remedy: str) -> Section:
  """Returns a section; one in which nothing was run says so once."""
  if not any(part.kind != 'not run' for part in parts):
    parts = [NotRun(title, remedy)]
  return Section(anchor, title, lead, tuple(parts))
