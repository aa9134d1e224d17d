"""Texture stimuli for vision science, with the statistics that prove what was shown."""

__version__ = "0.1.0.dev0"
