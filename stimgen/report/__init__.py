"""Finished runs shown to people: figures of their stimuli."""
