from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import torch
from small_runs import manifest, noise_run

from benchmarks.browser import browser, missing_programs
from stimgen.report.reported import ReportedRun
from stimgen.runs import preparation
from stimgen.runs.runner import run


@pytest.fixture
def tiny(tmp_path) -> ReportedRun:
    """A run of 14 stimuli of noise."""
    return noise_run(tmp_path / "tiny")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return a function that runs the small manifest with changes and returns its folder."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        # The real weights, read from their package once.
        patch.setattr(preparation, "find_weights", functools.cache(preparation.find_weights))
        torch.set_num_threads(1)

        def make(**changes: object) -> Path:
            return run(manifest(tmp_path_factory.mktemp("made"), **changes), device="cpu").folder

        yield make
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small(made) -> Path:
    """The finished run of the small manifest; copy it before changing it."""
    folder: Path = made()
    return folder


@pytest.fixture(scope="module")
def chromium():
    if missing := missing_programs():
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"needs {' and '.join(missing)}")
    with browser() as driver:
        yield driver
