from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_has_a_row_for_every_size_and_batch():
    command = [sys.executable, "-m", "benchmarks.scaling", "--sizes", "64,32", "--batches", "1,2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    machine, precision, header, *rows = done.stdout.splitlines()
    assert "threads, python" in machine
    assert "torch" in machine
    assert precision == "convolutions in float32"
    table = [dict(zip(header.split(), row.split(), strict=True)) for row in rows]
    assert [(row["size_px"], row["batch"]) for row in table] == [("64", "1"), ("32", "1"), ("64", "2")]
    assert all(float(row["s/evaluation"]) > 0 and row["recomputed"] == "no" for row in table)
    assert float(table[2]["estimated_GB"]) > 0
    assert all(float(row["process_GB"]) > 0.1 for row in table)
