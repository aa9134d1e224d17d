"""Where workers come from, and who can connect to them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from stimgen.errors import InputError, StimgenError
from stimgen.executors import clusters
from stimgen.executors.site import ExecutorSpec, SlurmSpec, parse_devices

LOCAL = ExecutorSpec(name="dask", devices="cpu:1")


def connected(spec: ExecutorSpec, folder: Path):
    local = parse_devices(spec.devices) if spec.devices else ()
    return clusters.connected(spec, folder, local, 1)


@pytest.fixture
def no_connection(monkeypatch):
    import distributed

    def connects(*arguments, **options):
        pytest.fail("a connection was tried")

    monkeypatch.setattr(distributed, "Client", connects)


def test_local_workers_accept_nobody_without_their_certificate(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    from distributed import Client
    from distributed.security import Security

    with connected(LOCAL, tmp_path) as client:
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler.address
        (worker,) = client.nthreads()
        assert address.startswith("tls://127.0.0.1:")
        assert worker.startswith("tls://127.0.0.1:")
        with pytest.raises((OSError, TimeoutError)):
            Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False)
        with pytest.raises((OSError, TimeoutError)):
            Client(address, security=Security.temporary(), timeout=2, set_as_default=False)
        assert client.submit(abs, -1).result(timeout=30) == 1
        # Without Dask's setting, which makes syntheses slow.
        assert list(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == [None]
        (scratch,) = tmp_path.glob("stimgen-workers-*")
        assert not list(tmp_path.rglob("*.pem"))  # keys are in memory alone
    assert not scratch.exists()


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:8786", "tls://127.0.0.1:8786", "tls://192.0.2.1:8786"])
@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.usefixtures("no_connection")
def test_connections_beyond_this_machine_need_certificates(tmp_path, address, by_file):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    spec = ExecutorSpec(name="dask", scheduler=str(file) if by_file else address)
    with pytest.raises(InputError, match=r"certificates|without encryption") as raised:
        connected(spec, tmp_path).__enter__()
    assert "section tls" in raised.value.cure


@pytest.mark.parametrize("content", [None, "[", "[1]", "{}", '{"address": 1}', "[" * 100_000])
@pytest.mark.usefixtures("no_connection")
def test_wrong_scheduler_file_is_an_error(tmp_path, content):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"scheduler file .*scheduler\.json") as raised:
        connected(ExecutorSpec(name="dask", scheduler=str(file)), tmp_path).__enter__()
    assert "tls://" in raised.value.cure


@pytest.mark.usefixtures("no_connection")
def test_logs_are_not_written_through_links(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "driver.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        connected(LOCAL, tmp_path).__enter__()
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


def test_jobs_that_slurm_would_refuse_are_not_submitted(tmp_path, sbatch):
    refuses = "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    sbatch(f"[ $1 = --test-only ] || exit 9; {refuses}")
    with pytest.raises(StimgenError, match=r"refuses.*invalid partition") as raised:
        connected(slurm(interface="lo"), tmp_path / "run").__enter__()
    assert "section slurm" in raised.value.cure
    assert not list(Path(tmp_path / "run").glob("logs/tls-*"))  # no keys are left


@pytest.mark.parametrize("of_nodes", [None, "ib0"])
def test_driver_and_nodes_may_have_different_network_interfaces(tmp_path, sbatch, of_nodes):
    script = tmp_path / "script"
    sbatch(f"cat > {script}; exit 1")
    with pytest.raises(StimgenError):
        connected(slurm(interface="lo", node_interface=of_nodes), tmp_path / "run").__enter__()
    text = script.read_text()
    assert "tls://127.0.0.1:" in text  # the driver listens on lo
    assert "--interface lo" not in text
    assert ("--interface ib0" in text) == bool(of_nodes)
    with pytest.raises(InputError, match="no network interface nope0") as raised:
        connected(slurm(interface="nope0"), tmp_path).__enter__()
    assert "lo" in raised.value.cure
