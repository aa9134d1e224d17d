"""Texture stimuli for vision science, with the statistics that prove what was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stimgen.runs.load import Run, load_run

__version__ = "0.1.0.dev0"
__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    """Import what needs pandas when it is first asked for, so that `import stimgen` takes no time."""
    if name in ("Run", "load_run"):
        from stimgen.runs import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
