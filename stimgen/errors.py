"""Errors that a user sees: what is wrong, and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class StimgenError(Exception):
    """An error with a cause and a cure, shown to the user without a traceback.

    Parameters
    ----------
    problem
        What is wrong, with the file, name or number concerned.
    cure
        What the user can do next; sentences, may be empty only if `problem` says it.
    """

    exit_code = 4

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem if not cure else f"{problem}\n{cure}")
        self.problem = problem
        self.cure = cure


class InputError(StimgenError):
    """A bad manifest, source image or argument, found before any work starts."""

    exit_code = 2


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the sentence that helps after an unknown `word`: the nearest known one, and all of them.

    Examples
    --------
    >>> nearest("pool_4", ["pool3", "pool4"])
    'Did you mean "pool4"? Known: pool3, pool4.'
    """
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return f"{hint}Known: {', '.join(names)}."
