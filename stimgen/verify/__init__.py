"""A run on disk compared with what it should be, its tables rebuilt, and what a run would change."""
