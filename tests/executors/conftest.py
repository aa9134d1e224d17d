from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same manifest made by one process."""
    made = Bench(tmp_path_factory.mktemp("local"))
    outcome = made.run("run", made.manifest, "--out", "run", "--no-report")
    made.stop()
    assert outcome.code == 0, outcome.output
    return made.folder / "run"
