"""Real workers on this machine make the bytes of a run in one process, also if some are killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml
from commands import ended, is_worker, until, workers_of
from same_runs import differences

from stimgen.verify.run import verify_run

pytestmark = pytest.mark.slow

STIMULI = 20
TWO = ("--devices", "cpu:2", "--no-report")


def check_complete(folder: Path, local: Path) -> None:
    """Check that a run is complete, and has the bytes of a run in one process."""
    assert verify_run(folder).findings == ()
    assert differences(folder, local, without={"logs"}) == []


def made(folder: Path) -> int:
    return len(list(folder.glob("records/*.json")))


def test_two_workers_make_the_bytes_of_one_process(bench, local):
    outcome = bench.run("run", bench.manifest, "--out", "run", *TWO)
    assert outcome.code == 0, outcome.output
    assert f"{STIMULI} made, 0 kept, 0 failed" in outcome.output
    assert f"{STIMULI}/{STIMULI}" in outcome.output
    assert "distributed" not in outcome.output
    check_complete(bench.folder / "run", local)
    assert {path.name for path in (bench.folder / "run" / "logs").iterdir()} >= {
        "worker-cpu-0.log",
        "worker-cpu-1.log",
    }
    again = bench.run("run", bench.manifest, "--out", "run", *TWO)
    assert again.code == 0
    assert f"all {STIMULI} stimuli are there" in again.output


def test_killed_worker_is_replaced(bench, local):
    run = bench.folder / "run"
    process = bench.start("run", bench.manifest, "--out", run, *TWO)
    until(lambda: made(run) >= 9)  # in the syntheses
    victim = until(lambda: workers_of(process)).pop()
    victim.kill()
    outcome = ended(process)
    assert outcome.code == 0, outcome.output
    assert "1 worker ended, and what was under way there is made again" in " ".join(outcome.output.split())
    check_complete(run, local)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_driver_that_is_ended_leaves_no_worker_and_goes_on(bench, local, kill):
    run = bench.folder / "run"
    process = bench.start("run", bench.manifest, "--out", run, *TWO)
    until(lambda: made(run) >= 9)
    workers = until(lambda: workers_of(process))
    process.send_signal(kill)
    outcome = ended(process, timeout=40)
    until(lambda: not any(map(is_worker, workers)))
    if kill == signal.SIGINT:
        assert outcome.code == 130, outcome.output
        assert "the tables are being written" in outcome.output
        severities = {finding.severity for finding in verify_run(run).findings}
        assert not severities & {"wrong", "warning"}
    assert bench.run("run", bench.manifest, "--out", run, *TWO).code == 0
    check_complete(run, local)


@pytest.fixture
def certificates(bench) -> Path:
    assert bench.run("cluster", "certs", "tls").code == 0
    return bench.folder / "tls"


@pytest.fixture
def scheduler(bench, certificates):
    """A scheduler with certificates: its file, and a function that starts a worker."""
    tls = ["--tls-ca-file", certificates / "ca.pem", "--tls-cert", certificates / "certificate.pem"]
    tls += ["--tls-key", certificates / "key.pem"]
    file = bench.folder / "scheduler.json"

    def start(program: str, *arguments: str | Path) -> None:
        where = ["--no-dashboard", "--host", "tls://127.0.0.1"]
        bench.start(*arguments, *where, *tls, module=f"distributed.cli.dask_{program}")

    start("scheduler", "--port", "0", "--scheduler-file", file)
    until(file.exists)
    return file, lambda: start("worker", "--scheduler-file", file, "--nthreads", "1")


def site(bench, certificates: Path, scheduler: Path, **more: object) -> Path:
    files = {"ca": "ca.pem", "certificate": "certificate.pem", "key": "key.pem"}
    tls = {name: str(certificates / file) for name, file in files.items()}
    path = bench.folder / "site.yaml"
    section = {"name": "dask", "scheduler": str(scheduler), "tls": tls, **more}
    path.write_text(yaml.safe_dump({"executor": section}))
    return path


def test_scheduler_accepts_only_its_certificates(bench, local, certificates, scheduler):
    file, start_worker = scheduler
    start_worker()
    start_worker()
    address = json.loads(file.read_text())["address"]
    refused = bench.run("run", bench.manifest, "--out", "run", "--no-report", "--scheduler", address)
    assert refused.code == 2, refused.output
    assert "asks for certificates" in refused.output
    assert bench.run("cluster", "certs", "others").code == 0
    path = site(bench, bench.folder / "others", file)
    refused = bench.run("run", bench.manifest, "--out", "run", "--no-report", "--site", path)
    assert refused.code == 4, refused.output
    assert "no connection to the scheduler" in refused.output
    assert "tls in the site file" in refused.output
    assert made(bench.folder / "run") == 0
    path = site(bench, certificates, file)
    outcome = bench.run("run", bench.manifest, "--out", "run", "--no-report", "--site", path)
    assert outcome.code == 0, outcome.output
    check_complete(bench.folder / "run", local)
