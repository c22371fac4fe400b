"""Real observations on their way to a survey: FITS magnetograms, Postel patches, HEAR cubes."""
