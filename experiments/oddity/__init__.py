"""Spatial three-alternative oddity, and the analysis of its data."""
