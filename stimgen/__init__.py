"""Texture stimuli for vision science, with the statistics that prove what was shown."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

# Without it, Python prints to the standard error what nobody asked to be logged.
logging.getLogger("stimgen").addHandler(logging.NullHandler())

# Maps of large images are allocated anew in each evaluation, which takes Linux less time in huge pages.
# PyTorch reads this at its first tensor; it does nothing where there are no such pages.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from stimgen.runs.load import Run as Run
    from stimgen.runs.load import load_run as load_run
    from stimgen.texture.model import TextureModel as TextureModel
    from stimgen.texture.presets import Gatys2015 as Gatys2015
    from stimgen.texture.presets import Multiscale as Multiscale
    from stimgen.texture.saved import TextureStatistics as TextureStatistics
    from stimgen.texture.saved import mix as mix

_PUBLIC = {
    "Gatys2015": "stimgen.texture.presets",
    "Multiscale": "stimgen.texture.presets",
    "Run": "stimgen.runs.load",
    "TextureModel": "stimgen.texture.model",
    "TextureStatistics": "stimgen.texture.saved",
    "load_run": "stimgen.runs.load",
    "mix": "stimgen.texture.saved",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import stimgen` takes no time."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
