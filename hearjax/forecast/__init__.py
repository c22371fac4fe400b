"""What a network says of a patch of a real magnetogram, and how far that can be trusted."""
