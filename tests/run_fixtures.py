from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_manifests import tiny

from stimgen.controls import CONTROLS, Control
from stimgen.controls.registration import options_model
from stimgen.runs import preparation
from stimgen.runs.runner import run
from stimgen.runs.store import RunFolder


@pytest.fixture(autouse=True)
def one_thread(request):
    """Images of 32 px are done before several threads have met; slow tests use them all."""
    before = torch.get_num_threads()
    if not request.node.get_closest_marker("slow"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def weights_read_once():
    """The real weights of the installed package, read from its file once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "find_weights", functools.cache(preparation.find_weights))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> RunFolder:
    """The finished run of the tiny manifest; copy it before changing it."""
    manifest = tiny(tmp_path_factory.mktemp("finished"))
    result = run(manifest)
    assert result.made == 7
    return RunFolder(result.folder)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that registers a control for one test."""

    def register(name: str, function: Callable[..., object], *, seeded: bool = False) -> None:
        assert "original" in CONTROLS
        entry = Control(name, function, seeded, options_model(name, function))
        monkeypatch.setitem(CONTROLS._entries, name, entry)

    return register


@pytest.fixture
def as_finished(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the finished run where the tiny manifest in `tmp_path` expects it."""
    folder = tmp_path / "results" / "tiny"
    shutil.copytree(finished.path, folder)
    return RunFolder(folder)
