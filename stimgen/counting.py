"""Numbers of things, and lists of names, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

# How many names a sentence lists.
SHOWN = 6


def counted(count: int, one: str = "stimulus", many: str = "stimuli") -> str:
    """Return a number with its noun: "1 stimulus", "2 stimuli"."""
    return f"{count} {one if count == 1 else many}"


def first_few(names: Sequence[str], most: int = SHOWN) -> str:
    """Return the first names of a list, and the number of the others: "a, b and 2 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
