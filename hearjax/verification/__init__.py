"""What forecasts are worth, from predictions tables alone; without JAX."""
