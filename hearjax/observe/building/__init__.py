"""From reports of regions and frames of the Sun to a survey archive."""
