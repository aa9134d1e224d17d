"""Statistics of finished images."""
