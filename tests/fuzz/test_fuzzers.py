"""The fuzzers run for a quarter of a minute; `python tests/fuzz/fuzz.py NAME FOLDER` runs without an end."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SECONDS = 15
NEEDED = "atheris is not installed, or has no wheel for this platform: pip install '.[dev]'"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None and "CI" not in os.environ, reason=NEEDED)
@pytest.mark.parametrize("name", ["manifest", "image"])
def test_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "fuzz.py", name, tmp_path / "corpus", f"-max_total_time={SECONDS}"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,  # importing under instrumentation takes minutes where cores are scarce
        check=False,
    )
    runs = re.search(r"Done (\d+) runs in", done.stderr)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    # More than the seeds alone.
    assert runs is not None
    assert int(runs[1]) > 100
