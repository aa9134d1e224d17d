"""Feature extractors: architectures, their weights, and the explicit forward through named layers."""
