"""Errors that an experimenter sees, and the one event that is not an error: escape."""

from __future__ import annotations


class ExperimentError(Exception):
    """Something is wrong before or during a session; shown without a traceback.

    Parameters
    ----------
    problem
        What is wrong, with the file, name or number concerned.
    cure
        What the experimenter can do next.
    """

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem}\n{cure}")
        self.problem = problem
        self.cure = cure


class EscapePressed(Exception):  # noqa: N818 (not an error)
    """The escape key was pressed: the trial on the screen is dropped, all trials before it are on disk."""
