"""Stamps: by what a product was made from, a program that was interrupted knows its own work again."""

import hashlib
import json
import pathlib
from typing import Any

from hearjax.files import plain
from hearjax.observe.sources.frames import FolderSource, FrameSource, Need


def query(source: FrameSource) -> dict[str, Any]:
  """Returns what was asked of a source, as a survey records it."""
  if isinstance(source, FolderSource):
    return {'frames': source.name, 'folder': source.folder.name, 'instrument': source.index.instrument}
  asked = getattr(source, 'settings', None)
  told = {name: getattr(asked, name) for name in ('series', 'segment', 'cadence_s', 'quality_mask') if asked}
  return {'frames': source.name, **told}


def stamp(source: FrameSource, need: Need, *settings: Any) -> str:
  """Returns what stands for a product: settings, the place and time, and the frames that there are.

  Frames may be added to a folder; those of JSOC are not known before they are there, and what was asked counts.
  """
  frames = source.collect(need) if isinstance(source, FolderSource) else []
  told = [[pathlib.Path(frame.path).name, frame.mjd, frame.quality] for frame in frames]
  return digest(plain(need), query(source), told, *settings)


def digest(*content: Any) -> str:
  """Returns a hash of what JSON can hold."""
  return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()[:32]
