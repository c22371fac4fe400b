"""Where magnetograms come from: the survey archive and what fills it."""
