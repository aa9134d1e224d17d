"""Shares the processor between tests that run side by side, and keeps the user's cache out of them."""

from __future__ import annotations

import os

import pytest

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own: the user's speeds, weights and activations are never read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIMGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
