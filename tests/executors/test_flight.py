"""What the driver does about what becomes of batches and workers; in this process, without workers."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from distributed import KilledWorker
from distributed.client import FutureCancelledError

from stimgen.errors import StimgenError
from stimgen.executors import flight as module
from stimgen.executors.flight import UNFIT_IN_A_ROW, Flight, Watch
from stimgen.executors.site import ExecutorSpec, SlurmSpec
from stimgen.executors.worker import BatchReport, NoTimeLeftError, UnfitError
from stimgen.runs.progress import Progress

LOCAL = ExecutorSpec(name="dask", devices="cpu:1", restarts=4)
SLURM = ExecutorSpec(name="dask", slurm=SlurmSpec(jobs=2), restarts=4)
FOREIGN = ExecutorSpec(name="dask", scheduler="tls://here:1", restarts=4)
REPORT = BatchReport((), (), (), 1.0, "cpu", "one")


class Ended:
    """A future that has ended: with an error, or with a result that may not come any more."""

    def __init__(self, error: BaseException | None = None, result: BatchReport | BaseException = REPORT):
        self.status = "error" if error else "finished"
        self._error, self._result = error, result

    def exception(self) -> BaseException | None:
        return self._error

    def result(self, timeout: float) -> BatchReport:
        assert timeout < 100
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


@pytest.fixture
def sent(run):
    """The driver's side, with a client that only notes whom it is to retire."""

    def make(spec: ExecutorSpec = LOCAL, expected_s: float = 100.0) -> Flight:
        progress = Progress(quiet=True)
        progress.expected_s = lambda batch: expected_s  # type: ignore[method-assign]
        client = SimpleNamespace(
            retired=[], retire_workers=lambda them, close_workers: client.retired.extend(them)
        )
        job = SimpleNamespace(folder=run.folder, done={}, hashes=run.hashes)
        return Flight(spec, client, "topic", job, progress, deque())

    return make


@pytest.fixture
def batch(run):
    return run.batches[3]


def test_a_worker_without_time_is_retired_and_its_batch_sent_again(sent, batch):
    flight = sent(SLURM)
    error = NoTimeLeftError(10.0, 3600.0, "tcp://somewhere")
    assert flight.outcome(3, batch, Ended(error)) is None
    assert flight.client.retired == ["tcp://somewhere"]
    assert list(flight.waiting) == [(3, batch)]


def test_jobs_too_short_for_any_batch_end_the_run(sent, batch):
    flight, error = sent(SLURM, 3000.0), NoTimeLeftError(10.0, 3600.0, "a")
    with pytest.raises(StimgenError, match=r"50\.0 min, and a job has 60\.0 min") as raised:
        flight.outcome(3, batch, Ended(error))
    assert "walltime" in raised.value.cure
    # Another's jobs may have begun long before this run.
    assert sent(FOREIGN, 3000.0).outcome(3, batch, Ended(error)) is None


@pytest.mark.parametrize(
    "lost", [TimeoutError("no answer"), ConnectionError("closed"), FutureCancelledError("key", "gone")]
)
def test_a_report_that_does_not_come_any_more_is_made_again_but_not_for_ever(sent, batch, lost):
    flight = sent()
    for number in range(LOCAL.restarts):
        assert flight.outcome(3, batch, Ended(result=lost)) is None
        assert list(flight.waiting) == [(3, batch)] * (number + 1)
    with pytest.raises(StimgenError, match="sent to workers 5 times, and nothing came back"):
        flight.outcome(3, batch, Ended(result=lost))
    assert flight.outcome(3, batch, Ended()) == REPORT


def test_what_no_worker_survives_is_a_failure_that_says_how_many_there_were(sent, batch):
    error = KilledWorker("key", SimpleNamespace(address="a"), 3)
    failures = sent(FOREIGN).outcome(3, batch, Ended(error))
    assert [one.stimulus_id for one in failures] == [one.stimulus_id for one in batch.stimuli]
    assert "4 workers ended" in failures[0].error


def test_a_job_on_an_unfit_machine_is_replaced_and_only_all_of_them_end_the_run(sent, batch):
    flight = sent(SLURM)

    def no_card(worker: int) -> Ended:
        return Ended(UnfitError(StimgenError("There is no GPU.", "Ask for one."), f"tls://{worker}"))

    for worker in range(UNFIT_IN_A_ROW - 1):
        for _ in range(2):  # it had two batches
            assert flight.outcome(3, batch, no_card(worker)) is None
    assert flight.client.retired == [f"tls://{worker}" for worker in range(UNFIT_IN_A_ROW - 1)]
    assert flight.outcome(3, batch, Ended()) == REPORT
    for worker in range(10, 10 + UNFIT_IN_A_ROW - 1):
        assert flight.outcome(3, batch, no_card(worker)) is None
    with pytest.raises(StimgenError, match="There is no GPU"):
        flight.outcome(3, batch, no_card(20))


@pytest.mark.parametrize("spec", [LOCAL, FOREIGN])
def test_workers_that_are_no_jobs_are_not_replaced(sent, batch, spec):
    flight = sent(spec)
    with pytest.raises(StimgenError, match="There is no GPU"):
        flight.outcome(3, batch, Ended(UnfitError(StimgenError("There is no GPU."), "a")))
    assert flight.client.retired == []


def test_a_fault_in_a_worker_is_said_with_its_log(sent, batch, run):
    with pytest.raises(StimgenError, match="A worker failed: ZeroDivisionError: no") as raised:
        sent().outcome(3, batch, Ended(ZeroDivisionError("no")))
    assert str(run.folder.logs) in raised.value.cure


def test_time_in_which_nobody_looked_is_not_time_without_workers(tmp_path, monkeypatch):
    now, there = [0.0], [1]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client = SimpleNamespace(nthreads=lambda: dict.fromkeys(range(there[0])))
    watch = Watch(LOCAL.model_copy(update={"wait_s": 5.0}), client, tmp_path)
    watch.look()
    assert watch.workers == 1
    now[0], there[0] = 100.0, 0  # the driver was busy with something else
    watch.look()
    now[0] = 104.0
    watch.look()
    now[0] = 106.0
    with pytest.raises(StimgenError, match="no worker"):
        watch.look()


def test_a_scheduler_that_is_gone_is_said(tmp_path):
    def nthreads():
        raise OSError("gone")

    with pytest.raises(StimgenError, match="connection to the scheduler is lost: gone"):
        Watch(LOCAL, SimpleNamespace(nthreads=nthreads), tmp_path).look()
