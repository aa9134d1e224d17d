from __future__ import annotations

import pytest

from benchmarks import workers


@pytest.mark.slow
def test_each_way_has_its_seconds(capsys, monkeypatch):
    # One thread each: two that share busy cores wait for each other most of the time.
    monkeypatch.setattr(workers, "WAYS", {way: (1, options) for way, (_, options) in workers.WAYS.items()})
    workers.main(["--size", "32", "--seeds", "1", "--repeats", "1"])
    machine, what, _, *rows = capsys.readouterr().out.splitlines()
    assert "threads, python" in machine
    assert what.startswith("2 textures of 32 px")
    assert [row[:30].strip() for row in rows] == [
        "one worker, one thread",
        "two workers, one thread each",
        "one process, two threads",
    ]
    assert rows[0].endswith("1.00")
    assert all(float(row.split()[-4]) > float(row.split()[-3]) > 0 for row in rows)
