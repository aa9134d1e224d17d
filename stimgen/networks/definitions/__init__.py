"""One module per family of networks; each registers its networks by name."""
