"""Where workers come from, and who is kept out."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest

from stimgen.errors import InputError, StimgenError
from stimgen.executors import clusters
from stimgen.executors.site import ExecutorSpec, SlurmSpec

LOCAL = ExecutorSpec(name="dask", devices="cpu:1")


@pytest.fixture
def no_connection(monkeypatch):
    import distributed

    def connects(*arguments, **options):
        pytest.fail("a connection was tried")

    monkeypatch.setattr(distributed, "Client", connects)


def test_workers_here_take_nothing_from_who_has_no_certificate(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from distributed import Client

    with clusters.connected(LOCAL, tmp_path, 1) as client:
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler.address
        (worker,) = client.nthreads()
        assert address.startswith("tls://127.0.0.1:")
        assert worker.startswith("tls://127.0.0.1:")
        with pytest.raises((OSError, TimeoutError)):
            Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False)
        assert client.submit(abs, -1).result(timeout=30) == 1
        (scratch,) = tmp_path.glob("stimgen-workers-*")
        assert [stat.S_IMODE(key.parent.stat().st_mode) for key in scratch.glob("tls-*/key.pem")] == [0o700]
    assert not scratch.exists()


def test_workers_keep_their_memory_as_other_processes_do(monkeypatch, tmp_path):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with clusters.connected(LOCAL, tmp_path, 1) as client:
        client.wait_for_workers(1, timeout=60)
        (found,) = client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()
    assert found is None


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:8786", "tls://127.0.0.1:8786", "tls://192.0.2.1:8786"])
@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.usefixtures("no_connection")
def test_without_certificates_nothing_beyond_this_machine_is_spoken_to(tmp_path, address, by_file):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    spec = ExecutorSpec(name="dask", scheduler=str(file) if by_file else address)
    with pytest.raises(InputError, match=r"certificates|without encryption") as raised:
        clusters.connected(spec, tmp_path, 1).__enter__()
    assert "section tls" in raised.value.cure


@pytest.mark.parametrize("content", [None, "", "[", "[1]", "{}", '{"address": 1}', "[" * 100_000])
@pytest.mark.usefixtures("no_connection")
def test_what_is_no_scheduler_file(tmp_path, content):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"scheduler file .*scheduler\.json") as raised:
        clusters.connected(ExecutorSpec(name="dask", scheduler=str(file)), tmp_path, 1).__enter__()
    assert "tls://" in raised.value.cure


@pytest.mark.usefixtures("no_connection")
def test_logs_are_written_through_no_link(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "driver.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        clusters.connected(LOCAL, tmp_path, 1).__enter__()
    assert not (tmp_path / "elsewhere").exists()


def slurm(**more: object) -> ExecutorSpec:
    return ExecutorSpec(name="dask", slurm=SlurmSpec(jobs=1, queue="gpu", **more))


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Puts a script in the place of sbatch."""

    def place(script: str) -> None:
        path = tmp_path / "sbatch"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return place


def test_what_slurm_has_against_jobs_is_said_before_any_is_submitted(tmp_path, sbatch):
    refuses = "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    sbatch(f"[ $1 = --test-only ] || exit 9; {refuses}")
    with pytest.raises(StimgenError, match=r"refuses.*invalid partition") as raised:
        clusters.connected(slurm(interface="lo"), tmp_path / "run", 1).__enter__()
    assert "section slurm" in raised.value.cure
    assert not list(Path(tmp_path / "run").glob("logs/tls-*"))  # no keys are left


@pytest.mark.parametrize("of_nodes", [None, "ib0"])
def test_the_interface_of_the_driver_is_not_that_of_the_nodes(tmp_path, sbatch, of_nodes):
    script = tmp_path / "script"
    sbatch(f"cat > {script}; exit 1")
    with pytest.raises(StimgenError):
        clusters.connected(slurm(interface="lo", node_interface=of_nodes), tmp_path / "run", 1).__enter__()
    text = script.read_text()
    assert "tls://127.0.0.1:" in text  # the driver listens on lo
    assert "--interface lo" not in text
    assert ("--interface ib0" in text) == bool(of_nodes)


def test_an_interface_that_this_machine_does_not_have(tmp_path):
    with pytest.raises(InputError, match="no network interface nope0") as raised:
        clusters.connected(slurm(interface="nope0"), tmp_path, 1).__enter__()
    assert "lo" in raised.value.cure
