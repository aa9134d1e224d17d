"""Numbers of things in sentences."""

from __future__ import annotations


def counted(count: int, one: str = "stimulus", many: str = "stimuli") -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1), counted(2), counted(1, "file", "files")
    ('1 stimulus', '2 stimuli', '1 file')
    """
    return f"{count} {one if count == 1 else many}"
