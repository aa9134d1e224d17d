"""What a worker does with an order, and what it refuses; in this process."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from stimgen.errors import StimgenError
from stimgen.executors import worker
from stimgen.executors.worker import MARGIN, NoTimeLeftError, WorkerRun, job_end
from stimgen.runs import job, make
from stimgen.runs.job import Job
from stimgen.runs.lock import OWNER
from stimgen.runs.preparation import prepare
from stimgen.runs.store import StoreError


def report(number: int, share: float) -> None:
    assert 0 <= share <= 1


def test_batch_is_made_once(run, monkeypatch):
    worker_run, order = WorkerRun(run.order, "one"), run.batch_order(run.batches[0])
    first = worker_run.make(order, report)
    assert first.made == tuple(order.recipes)
    assert first.failures == ()
    monkeypatch.setattr(Job, "make", lambda *_: pytest.fail("it is done"))
    again = worker_run.make(order, report)
    assert (again.made, again.seconds) == (first.made, None)


def test_worker_goes_on_from_the_image_before_matching(run, monkeypatch):
    batch = next(batch for batch in run.batches if batch.stimuli[0].layer_set)
    order, (name,) = run.batch_order(batch), (stimulus.stimulus_id for stimulus in batch.stimuli)
    assert WorkerRun(run.order, "one").make(order, report).made == (name,)
    before = run.folder.read_record(name)
    monkeypatch.setattr(make, "synthesise", lambda *_: pytest.fail("it is synthesised"))
    manifest = replace(run.order.manifest, image=replace(run.order.manifest.image, bits=16))
    recipe = prepare(manifest, "cpu").recipes()[name]
    changed = WorkerRun(replace(run.order, manifest=manifest), "one")
    assert changed.make(replace(order, recipes={name: recipe}), report).failures == ()
    after = run.folder.read_record(name)
    assert (after.recipe_sha256, after.made) == (recipe, before.made)
    assert (after.optimised_sha256, after.image.bits) == (before.optimised_sha256, 16)


def test_late_worker_does_not_overwrite_what_another_made(run, monkeypatch):
    order, name = run.batch_order(run.batches[0]), next(iter(run.batch_order(run.batches[0]).recipes))
    finish, written = job.finish, []

    def inodes():
        return run.folder.png(name).stat().st_ino, run.folder.record(name).stat().st_ino

    def overtaken(*arguments, **more):
        found = finish(*arguments, **more)
        monkeypatch.undo()
        WorkerRun(run.order, "other").make(order, report)
        written.append(inodes())
        return found

    monkeypatch.setattr(job, "finish", overtaken)
    assert WorkerRun(run.order, "late").make(order, report).made == (name,)
    assert written == [inodes()]


def test_worker_writes_for_no_other_driver(run, monkeypatch):
    monkeypatch.setattr(worker, "SHARED_FOLDER_S", 0.5)
    order = run.batch_order(run.batches[0])
    another = replace(run.order, owner=run.order.owner.model_copy(update={"pid": 1}))
    with pytest.raises(StoreError, match="no longer that of process 1 on"):
        WorkerRun(another, "one").make(order, report)
    elsewhere = replace(run.order, folder=run.folder.path / "nowhere")
    with pytest.raises(StoreError, match=r"nobody.*\n.*all machines"):
        WorkerRun(elsewhere, "one").make(order, report)
    assert not list(run.folder.records.iterdir())


def test_synthesis_ends_when_another_driver_takes_the_folder(run, monkeypatch):
    monkeypatch.setattr(worker, "REPORT_EVERY_S", 0.0)
    texture = next(batch for batch in run.batches if batch.stimuli[0].kind == "texture")
    shares = []

    def take_over(number: int, share: float) -> None:
        shares.append(share)
        other = run.order.owner.model_copy(update={"pid": 1})
        (run.folder.path / OWNER).write_text(other.model_dump_json())

    with pytest.raises(StoreError, match="writes nothing more"):
        WorkerRun(run.order, "one").make(run.batch_order(texture), take_over)
    assert len(shares) == 1
    assert not list(run.folder.records.iterdir())


def test_lock_that_appears_late_is_waited_for(run, monkeypatch):
    found = [OSError("stale"), None, run.order.owner]

    def reads(folder):
        owner = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(owner, OSError):
            raise owner
        return owner

    monkeypatch.setattr(worker, "read_owner", reads)
    assert WorkerRun(run.order, "one").make(run.batch_order(run.batches[0]), report).made


def test_other_sources_or_another_version_are_refused(run):
    order = run.batch_order(run.batches[0])
    with pytest.raises(StimgenError, match="another source or other weights"):
        WorkerRun(run.order, "one").make(replace(order, recipes=dict.fromkeys(order.recipes, "0")), report)
    with pytest.raises(StimgenError, match=r"has stimgen .*, not 0\.0\.0"):
        WorkerRun(replace(run.order, version="0.0.0"), "one")


def test_batch_is_not_begun_if_its_job_cannot_finish_it(run, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1000))
    worker_run = WorkerRun(run.order, "one")
    order = run.batch_order(run.batches[0], expected_s=1010 / MARGIN)
    with pytest.raises(NoTimeLeftError) as raised:
        worker_run.make(order, report)
    assert 900 < raised.value.whole_s <= 1000
    assert not list(run.folder.records.iterdir())
    assert worker_run.make(replace(order, expected_s=900 / MARGIN), report).made
    assert worker_run.make(run.batch_order(run.batches[1]), report).made  # not known how long it takes


def test_end_of_a_job_is_that_of_slurm_or_of_its_walltime(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert job_end(60) == float("inf")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert job_end(None) == float("inf")
    assert job_end(60) == pytest.approx(time.time() + 60, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1234")
    assert job_end(60) == 1234
