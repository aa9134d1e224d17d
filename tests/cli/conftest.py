from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty folder to type commands in, and an empty cache."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    return folder
