"""What tells PE from NE: the network, and discriminant analysis."""
