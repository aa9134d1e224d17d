"""Texture models: Gram statistics, the objective, and the procedures that minimise it."""
