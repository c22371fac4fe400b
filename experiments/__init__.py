"""The scripts of hearjax; run them as `python -m experiments.NAME --help`."""

import os

os.environ['MPLBACKEND'] = 'agg'  # They only write files; the backend that a notebook hands down may not be installed.
