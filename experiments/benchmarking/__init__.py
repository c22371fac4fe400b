"""What `benchmark` measures and how."""
