from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_way_has_its_seconds():
    command = [sys.executable, "-m", "benchmarks.workers", "--size", "32", "--seeds", "1", "--repeats", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300, env=os.environ
    )
    machine, what, _, *rows = done.stdout.splitlines()
    assert "threads, python" in machine
    assert what.startswith("2 textures of 32 px")
    assert [row[:30].strip() for row in rows] == [
        "one worker, one thread",
        "two workers, one thread each",
        "one process, two threads",
    ]
    assert rows[0].endswith("1.00")
    assert all(float(row.split()[-4]) > float(row.split()[-3]) > 0 for row in rows)
