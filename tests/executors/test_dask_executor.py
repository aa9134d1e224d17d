"""What the driver does when batches and workers end; in this process, without workers."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from distributed import KilledWorker
from distributed.client import FutureCancelledError

from stimgen.errors import StimgenError
from stimgen.executors import dask_executor as module
from stimgen.executors.dask_executor import UNFIT_IN_A_ROW, Dispatcher, Workers, _written
from stimgen.executors.site import ExecutorSpec, SlurmSpec
from stimgen.executors.worker import BatchReport, NoTimeLeftError, UnfitError
from stimgen.runs.progress import Progress

LOCAL = ExecutorSpec(name="dask", devices="cpu:1", restarts=4)
SLURM = ExecutorSpec(name="dask", slurm=SlurmSpec(jobs=2), restarts=4)
CLUSTER = ExecutorSpec(name="dask", scheduler="tls://here:1", restarts=4)
REPORT = BatchReport((), (), (), 1.0, "cpu", "one")


class Ended:
    """A future that has ended, with an error or a report."""

    def __init__(self, error: BaseException | None = None):
        self._error = error

    def result(self, timeout: float) -> BatchReport:
        if self._error is not None:
            raise self._error
        return REPORT


def unfit(worker: int) -> Ended:
    return Ended(UnfitError(StimgenError("There is no GPU.", "Ask for one."), f"tls://{worker}"))


@pytest.fixture
def dispatcher(run):
    """Return a dispatcher whose client only remembers which workers are retired."""

    def make(spec: ExecutorSpec = LOCAL, expected_s: float = 100.0) -> Dispatcher:
        progress = Progress(quiet=True)
        progress.expected_s = lambda batch: expected_s  # type: ignore[method-assign]
        client = SimpleNamespace(
            retired=[], retire_workers=lambda addresses, close_workers: client.retired.extend(addresses)
        )
        job = SimpleNamespace(folder=run.folder, done={}, recipes=run.recipes)
        return Dispatcher(spec, client, "topic", job, progress, deque())

    return make


@pytest.fixture
def batch(run):
    return run.batches[3]


def test_worker_without_time_is_retired_and_its_batch_sent_again(dispatcher, batch):
    sent = dispatcher(SLURM)
    assert sent.result(3, batch, Ended(NoTimeLeftError(3600.0, "tcp://somewhere"))) is None
    assert sent.client.retired == ["tcp://somewhere"]
    assert list(sent.waiting) == [(3, batch)]


def test_jobs_too_short_for_a_batch_end_the_run(dispatcher, batch):
    ended = Ended(NoTimeLeftError(3600.0, "a"))
    with pytest.raises(StimgenError, match=r"50\.0 min, and a job has 60\.0 min") as raised:
        dispatcher(SLURM, 3000.0).result(3, batch, ended)
    assert "walltime" in raised.value.cure
    # Workers of another's cluster may have begun long before this run.
    assert dispatcher(CLUSTER, 3000.0).result(3, batch, ended) is None


@pytest.mark.parametrize(
    "lost", [TimeoutError("no answer"), ConnectionError("closed"), FutureCancelledError("key", "gone")]
)
def test_lost_report_is_asked_for_again_a_limited_number_of_times(dispatcher, batch, lost):
    sent = dispatcher()
    for number in range(LOCAL.restarts):
        assert sent.result(3, batch, Ended(lost)) is None
        assert list(sent.waiting) == [(3, batch)] * (number + 1)
    with pytest.raises(StimgenError, match="sent to workers 5 times, and nothing came back"):
        sent.result(3, batch, Ended(lost))
    assert sent.result(3, batch, Ended()) == REPORT


def test_batch_that_no_worker_survives_is_a_failure(dispatcher, batch):
    error = KilledWorker("key", SimpleNamespace(address="a"), 3)
    failures = dispatcher(CLUSTER).result(3, batch, Ended(error)).failures
    assert [failure.stimulus_id for failure in failures] == [s.stimulus_id for s in batch.stimuli]
    assert "4 workers ended" in failures[0].error


def test_unfit_jobs_are_replaced_until_several_in_a_row_are_unfit(dispatcher, batch):
    sent = dispatcher(SLURM)
    for worker in range(UNFIT_IN_A_ROW - 1):
        for _ in range(2):  # each has two batches
            assert sent.result(3, batch, unfit(worker)) is None
    assert sent.client.retired == [f"tls://{worker}" for worker in range(UNFIT_IN_A_ROW - 1)]
    assert sent.result(3, batch, Ended()) == REPORT
    for worker in range(10, 10 + UNFIT_IN_A_ROW - 1):
        assert sent.result(3, batch, unfit(worker)) is None
    with pytest.raises(StimgenError, match="There is no GPU"):
        sent.result(3, batch, unfit(20))


def test_unfit_workers_that_are_not_jobs_and_bugs_end_the_run(dispatcher, batch, run):
    for spec in (LOCAL, CLUSTER):
        sent = dispatcher(spec)
        with pytest.raises(StimgenError, match="There is no GPU"):
            sent.result(3, batch, unfit(0))
        assert sent.client.retired == []
    with pytest.raises(StimgenError, match="A worker failed: ZeroDivisionError: no") as raised:
        dispatcher().result(3, batch, Ended(ZeroDivisionError("no")))
    assert str(run.folder.logs) in raised.value.cure


def test_run_without_workers_ends_after_its_patience(tmp_path, monkeypatch):
    now, connected = [0.0], [1]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client = SimpleNamespace(nthreads=lambda: dict.fromkeys(range(connected[0])))
    workers = Workers(LOCAL.model_copy(update={"wait_s": 5.0}), client, tmp_path)
    assert workers.count() == 1
    now[0], connected[0] = 100.0, 0  # nobody counted in between
    assert workers.count() == 0
    now[0] = 104.0
    workers.count()
    now[0] = 106.0
    with pytest.raises(StimgenError, match="no worker"):
        workers.count()
    # So does one that loses its scheduler.
    client.nthreads = lambda: (_ for _ in ()).throw(OSError("gone"))
    with pytest.raises(StimgenError, match="connection to the scheduler is lost: gone"):
        Workers(LOCAL, client, tmp_path).count()


def test_record_that_is_not_in_the_shared_folder_is_an_error(run, monkeypatch):
    monkeypatch.setattr(module, "SHARED_FOLDER_S", 0.1)
    with pytest.raises(StimgenError, match="Worker w has made x, and it is not in") as raised:
        _written(run.folder, "x", "0", "w")
    assert "all machines share" in raised.value.cure
