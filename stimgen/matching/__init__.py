"""Matching of histograms and ranges, of one image or a set."""
