"""Errors that a user sees: the problem, and what to do about it."""

from __future__ import annotations

import errno
import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class StimgenError(Exception):
    """An error with a cause and a cure, shown to the user without a traceback."""

    exit_code = 4

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem if not cure else f"{problem}\n{cure}")
        self.problem = problem
        self.cure = cure


class InputError(StimgenError):
    """A bad manifest, source image or argument, found before any work starts."""

    exit_code = 2


NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
"""Words in PyTorch's RuntimeError when a GPU or a CPU has no memory left."""


NO_SPACE = "Free the disk, or raise your quota, then run the same command again."


def is_full(error: OSError) -> bool:
    """Return whether a disk or a quota is full."""
    return errno.errorcode.get(error.errno or 0) in ("ENOSPC", "EDQUOT")


def of_the_machine(error: BaseException) -> StimgenError | None:
    """Return a message about memory that ran out or a file that failed; None for other errors."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)
    ):
        return StimgenError(
            "There is not enough memory.",
            "End other programs, use smaller stimuli or shallower layers, or a machine with more memory; "
            "then run the same command again.",
        )
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename is not None else ""
        cure = "Check the file, its folder and its disk, then run the same command again."
        return StimgenError(f"{place}{error.strerror}.", NO_SPACE if is_full(error) else cure)
    return None


def printable(text: str) -> str:
    """Return a text with its control characters escaped, so that a file name cannot steer a terminal."""
    unsafe = {c for c in text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
    return text.translate({ord(c): c.encode("unicode_escape").decode() for c in unsafe})


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `word`: the nearest known one, and all of them."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return f"{hint}Known: {', '.join(names)}."
