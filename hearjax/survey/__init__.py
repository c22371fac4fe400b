"""A survey: magnetograms and what is known of each, on disk and in memory, and its folds."""
