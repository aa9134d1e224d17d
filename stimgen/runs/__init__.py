"""A run: a manifest made into a folder of stimuli, records and tables."""
