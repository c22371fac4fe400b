"""What forecasts are worth, from predictions tables and the survey that they are of; scores need no JAX."""
