"""The scripts of hearjax; run them as `python -m experiments.NAME --help`."""
