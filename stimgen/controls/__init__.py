"""Controls: images that share some statistics of a source and not others.

One module of this package is one control. It decorates one function with `register_control`; the
registry finds it by itself, and no other line changes.
"""

from __future__ import annotations

from stimgen.controls.registration import (
    CONTROLS,
    Control,
    ImageWithResiduals,
    Materials,
    TextureSpec,
    register_control,
    shows_source,
)

__all__ = [
    "CONTROLS",
    "Control",
    "ImageWithResiduals",
    "Materials",
    "TextureSpec",
    "register_control",
    "shows_source",
]
