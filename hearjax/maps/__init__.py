"""Pure functions of a map: changes, features, synthetic fields."""
