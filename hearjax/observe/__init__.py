"""Real observations on their way to a survey: FITS magnetograms, Postel patches, HEAR cubes."""

import contextlib
import importlib
import os
import tempfile

_PLACES = ('HOME', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME')


def _is_writable(folder: str) -> bool:
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError:
    return False
  return os.access(folder, os.W_OK)


def _import_sunpy_elsewhere() -> None:
  """Imports sunpy with another home for that moment: it cannot be imported where it cannot write its settings."""
  kept = dict(os.environ)
  with tempfile.TemporaryDirectory(prefix='hearjax-') as folder:
    os.environ.update(dict.fromkeys(_PLACES, folder))
    try:
      with contextlib.suppress(ImportError):  # The extra `sun` is not installed: whoever needs it says so.
        importlib.import_module('sunpy.map')
    finally:
      os.environ.clear()
      os.environ.update(kept)


if not all(map(_is_writable, [os.path.expanduser('~'), *filter(None, map(os.environ.get, _PLACES[1:]))])):
  _import_sunpy_elsewhere()
