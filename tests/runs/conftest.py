from __future__ import annotations

import pytest
from launching import launcher
from run_fixtures import as_finished, control, finished, one_thread, weights_read_once

from stimgen.controls import Control
from stimgen.runs import make

__all__ = ["as_finished", "control", "finished", "one_thread", "weights_read_once"]


@pytest.fixture
def nothing_is_made(monkeypatch):
    """Neither a texture nor a control can be made."""

    def made(*arguments, **options):
        raise AssertionError("made from the start")

    monkeypatch.setattr(make, "synthesise", made)
    monkeypatch.setattr(Control, "make", made)


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """What starts command lines in processes of their own."""
    with launcher(tmp_path_factory.mktemp("forks")) as server:
        yield server
