from __future__ import annotations

import pytest
from run_folders import write_run

from stimgen.report.finished import FinishedRun, read_run


@pytest.fixture
def folder(tmp_path):
    """A run folder of 14 stimuli."""
    return write_run(tmp_path / "tiny")


@pytest.fixture
def tiny(folder) -> FinishedRun:
    return read_run(folder)
