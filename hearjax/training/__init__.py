"""From a survey and settings to a run: trained networks and their forecasts out of fold."""
