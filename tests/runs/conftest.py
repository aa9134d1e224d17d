from __future__ import annotations

import pytest
from launching import launcher
from run_fixtures import as_finished, control, finished, one_thread, weights_read_once

__all__ = ["as_finished", "control", "finished", "one_thread", "weights_read_once"]


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """What starts command lines in processes of their own."""
    with launcher(tmp_path_factory.mktemp("forks")) as server:
        yield server
