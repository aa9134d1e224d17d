"""What goes wrong with an image file."""

from __future__ import annotations

from stimgen.errors import InputError


class ImageError(InputError):
    """A source image that cannot be used as it is; names the file, the cause and the cure."""
