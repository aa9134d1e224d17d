"""Pixels in and out: source images, crop, colour, resize, PNG files."""
