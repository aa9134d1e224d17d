"""Speed and memory, side by side with reference procedures."""
