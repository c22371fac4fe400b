"""What `study` studies."""
