"""Two images one after the other."""
