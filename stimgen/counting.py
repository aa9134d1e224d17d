"""Numbers of things, and lists of names, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 6
"""How many names a sentence lists."""


def counted(count: int, one: str = "stimulus", many: str = "stimuli") -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1), counted(2), counted(1, "file", "files")
    ('1 stimulus', '2 stimuli', '1 file')
    """
    return f"{count} {one if count == 1 else many}"


def first_few(names: Sequence[str], most: int = SHOWN) -> str:
    """Return the first names of a list, and the number of the others.

    Examples
    --------
    >>> first_few(["a", "b"]), first_few("abcd", most=2)
    ('a, b', 'a, b and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
