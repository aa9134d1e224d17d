"""What a worker does with an order, and refuses; in this process."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stimgen.errors import StimgenError
from stimgen.executors import dask_executor, worker
from stimgen.executors.dask_executor import _written
from stimgen.executors.worker import (
    MARGIN,
    NoTimeLeftError,
    SupersededError,
    Workbench,
    job_end,
)
from stimgen.runs.job import Job
from stimgen.runs.lock import OWNER


def told(number: int, share: float) -> None:
    assert 0 <= share <= 1


def test_a_batch_is_made_once(run, monkeypatch):
    bench, order = Workbench(run.order, "one"), run.batch_order(run.batches[0])
    first = bench.make(order, told)
    assert first.made == tuple(order.hashes)
    assert first.failures == ()
    monkeypatch.setattr(Job, "make", lambda *_: pytest.fail("it is done"))
    again = bench.make(order, told)
    assert (again.made, again.seconds) == (first.made, None)
    # The driver knows of it.
    assert bench.make(replace(order, done=frozenset(order.hashes)), told).made == ()


def test_a_worker_that_comes_back_late_writes_nothing_over_what_another_made(run, monkeypatch):
    order, name = run.batch_order(run.batches[0]), next(iter(run.batch_order(run.batches[0]).hashes))
    describe, written = Job._describe, []

    def overtaken(self, *arguments):
        found = describe(self, *arguments)
        if not written:
            monkeypatch.undo()
            Workbench(run.order, "other").make(order, told)
            written.append((run.folder.png(name).stat().st_ino, run.folder.record(name).stat().st_ino))
        return found

    monkeypatch.setattr(Job, "_describe", overtaken)
    assert Workbench(run.order, "late").make(order, told).made == (name,)
    assert written == [(run.folder.png(name).stat().st_ino, run.folder.record(name).stat().st_ino)]


def test_a_worker_writes_for_no_driver_but_its_own(run, monkeypatch):
    monkeypatch.setattr(worker, "SHARED_FOLDER_S", 0.5)
    order = run.batch_order(run.batches[0])
    another = replace(run.order, owner=run.order.owner.model_copy(update={"pid": 1}))
    with pytest.raises(SupersededError, match="no longer that of process 1 on"):
        Workbench(another, "one").make(order, told)
    elsewhere = replace(run.order, folder=run.folder.path / "nowhere")
    with pytest.raises(SupersededError, match=r"nobody.*\n.*all machines"):
        Workbench(elsewhere, "one").make(order, told)
    assert not list(run.folder.records.iterdir())


def test_a_worker_whose_run_is_taken_over_ends_its_synthesis(run, monkeypatch):
    monkeypatch.setattr(worker, "TELL_EVERY_S", 0.0)
    texture = next(one for one in run.batches if one.stimuli[0].kind == "texture")
    shares = []

    def told(number: int, share: float) -> None:
        shares.append(share)
        other = run.order.owner.model_copy(update={"pid": 1})
        (run.folder.path / OWNER).write_text(other.model_dump_json())

    with pytest.raises(SupersededError, match="writes nothing more"):
        Workbench(run.order, "one").make(run.batch_order(texture), told)
    assert len(shares) == 1  # at its begin, and never again
    assert not list(run.folder.records.iterdir())


def test_a_lock_that_is_seen_late_is_waited_for(run, monkeypatch):
    found = [OSError("stale"), None, run.order.owner]

    def reads(folder):
        owner = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(owner, OSError):
            raise owner
        return owner

    monkeypatch.setattr(worker, "read_owner", reads)
    assert Workbench(run.order, "one").make(run.batch_order(run.batches[0]), told).made


def test_a_worker_refuses_other_files_and_another_version(run):
    order = run.batch_order(run.batches[0])
    with pytest.raises(StimgenError, match="another source or other weights"):
        Workbench(run.order, "one").make(replace(order, hashes=dict.fromkeys(order.hashes, "0")), told)
    with pytest.raises(StimgenError, match=r"has stimgen .*, not 0\.0\.0"):
        Workbench(replace(run.order, version="0.0.0"), "one")


def test_no_batch_is_begun_that_its_job_cannot_finish(run, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1000))
    bench = Workbench(run.order, "one")
    order = run.batch_order(run.batches[0], expected_s=1010 / MARGIN)
    with pytest.raises(NoTimeLeftError) as raised:
        bench.make(order, told)
    assert 900 < raised.value.left_s <= raised.value.whole_s <= 1000
    assert not list(run.folder.records.iterdir())
    assert bench.make(replace(order, expected_s=900 / MARGIN), told).made
    # Nobody knows yet how long one takes.
    assert bench.make(run.batch_order(run.batches[1]), told).made


def test_when_a_job_ends(monkeypatch, tmp_path):
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(name, raising=False)
    assert job_end(60) is None
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", str(tmp_path))  # no squeue
    assert job_end(None) is None
    assert job_end(60) == pytest.approx(time.time() + 60, abs=5)
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 2026-01-02T03:04:05\n")
    squeue.chmod(0o755)
    assert job_end(60) == datetime(2026, 1, 2, 3, 4, 5).astimezone(UTC).timestamp()
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1234")
    assert job_end(60) == 1234


def test_what_is_not_in_the_shared_folder_is_said(run, monkeypatch):
    monkeypatch.setattr(dask_executor, "SHARED_FOLDER_S", 0.1)
    with pytest.raises(StimgenError, match="Worker w has made x, and it is not in") as raised:
        _written(run.folder, "x", "0", "w")
    assert "all machines share" in raised.value.cure
