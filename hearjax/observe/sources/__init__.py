"""Where frames come from: a folder of magnetograms, or JSOC."""
