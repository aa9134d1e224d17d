"""Statistics that a texture can be made to share with its source: one module each."""
