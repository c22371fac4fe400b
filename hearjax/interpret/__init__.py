"""What trained members look at: pruning, response to synthetic fields, attribution."""
