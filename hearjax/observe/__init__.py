"""Real observations on their way to a survey: FITS magnetograms, Postel patches, HEAR cubes."""

import os
import tempfile


def _is_writable(folder: str) -> bool:
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError:
    return False
  return os.access(folder, os.W_OK)


# sunpy keeps settings in the home and cannot even be imported where that cannot be written.
_settings = os.environ.get('SUNPY_CONFIGDIR') or os.environ.get('XDG_CONFIG_HOME') or os.path.expanduser('~/.config')
if not _is_writable(_settings):
  os.environ['SUNPY_CONFIGDIR'] = tempfile.mkdtemp(prefix='sunpy-')
