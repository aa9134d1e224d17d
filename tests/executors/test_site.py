"""Site files, devices, and the options that say who makes a run."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stimgen.cli.executors import executor_spec
from stimgen.errors import InputError
from stimgen.executors.clusters import tls_security, write_certificates
from stimgen.executors.site import ExecutorSpec, TlsFiles, load_site, parse_devices

SLURM = "executor:\n  name: dask\n  slurm:\n    jobs: 2\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_site_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_site() == ExecutorSpec()
    (tmp_path / "stimgen").mkdir()
    written(tmp_path / "stimgen", SLURM)
    assert load_site().kind == "slurm"
    text = SLURM + '    walltime: "1-02:03:04"\n    directives: ["--constraint=a100"]\n  wait_s: 7\n'
    spec = load_site(written(tmp_path, text))
    assert spec.slurm is not None
    assert spec.slurm.walltime_s == 93784
    assert spec.slurm.directives == ("--constraint=a100",)
    assert (spec.patience_s, load_site(written(tmp_path, SLURM)).patience_s) == (7, 3600)
    # Paths are relative to the site file.
    tls = "  tls: {ca: tls/ca.pem, certificate: /etc/c.pem, key: k.pem}\n"
    spec = load_site(written(tmp_path, "executor:\n  name: dask\n  scheduler: s.json\n" + tls))
    assert spec.scheduler == str(tmp_path / "s.json")
    assert spec.tls == TlsFiles(
        ca=str(tmp_path / "tls" / "ca.pem"), certificate="/etc/c.pem", key=str(tmp_path / "k.pem")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SLURM + "    quue: x\n", 'site.yaml:5:5: executor.slurm: unknown key "quue". Did you mean "queue"'),
        (SLURM.replace("jobs: 2", "jobs: 0"), "site.yaml:4:"),
        (
            SLURM + "    walltime: 4 hours\n",
            'executor.slurm.walltime: expected hours:minutes:seconds such as "04:00:00", got "4 hours"',
        ),
        (SLURM + "    memory: lots\n", 'a number with MB or GB, such as 16GB, got "lots"'),
        ("", "the file is empty. It must start with executor:"),
        ("executor: {name: local, devices: 'cpu:2'}\n", "site.yaml:1:"),
        (
            "executor: {name: dask, devices: 'cpu:2', scheduler: x}\n",
            "site.yaml:1:11: executor: devices and scheduler exclude each other; keep one.",
        ),
        ("- 1\n", "is not a mapping"),
        ("executor: [\n", "site.yaml:"),
        (None, "cannot be read"),
    ],
)
def test_mistake_in_a_site_file_is_reported_with_its_place(tmp_path, text, message):
    path = tmp_path / "none.yaml" if text is None else written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_site(path)
    assert message in str(caught.value)


def test_each_worker_has_its_share_of_cores_and_one_gpu(monkeypatch):
    for count, cores in ((1, 7), (3, 8), (4, 4)):
        assert [worker.threads for worker in parse_devices(f"cpu:{count}", cores)] == [cores // count] * count
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers = parse_devices("cuda:0,cuda:3", cores=8)
    assert [(w.name, w.device, w.visible, w.threads) for w in workers] == [
        ("cuda-0", "cuda:0", "0", 4),
        ("cuda-3", "cuda:0", "3", 4),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [w.visible for w in parse_devices("cuda:0,cuda:1", cores=8)] == ["5", "7"]


@pytest.mark.parametrize("text", ["", "gpu", "cpu", "cpu:0", "cuda:0,cuda:0", "cuda:0,", "cpu:5"])
def test_wrong_devices_are_an_error(text):
    with pytest.raises(InputError):
        parse_devices(text, cores=4)


def test_command_line_overrides_the_site_file(tmp_path):
    site = written(tmp_path, SLURM)
    assert executor_spec(None, None, None, site).kind == "slurm"
    assert executor_spec("dask", "cpu:2", None, site).devices == "cpu:2"
    assert executor_spec(None, None, "tls://host:1", site).scheduler == "tls://host:1"
    assert executor_spec("local", None, None, site) == ExecutorSpec()
    for wrong in (("local", "cpu:2", None), (None, "cpu:2", "tls://host:1"), (None, "tpu", None)):
        with pytest.raises(InputError):
            executor_spec(*wrong, site)
    with pytest.raises(InputError, match=r"--executor dask .*where workers come from"):
        executor_spec("dask", None, None, written(tmp_path, "executor: {}\n"))
    alone = written(tmp_path, "executor:\n  name: dask\n  tls: {ca: a, certificate: b, key: c}\n")
    with pytest.raises(InputError, match=r"site\.yaml .*where workers come from"):
        executor_spec(None, None, None, alone)
    # What the command line says completes the file.
    assert executor_spec(None, None, "tls://host:1", alone).tls is not None


def test_only_the_owner_can_read_certificates(tmp_path):
    paths = write_certificates(tmp_path / "tls")
    for path in paths.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    security = tls_security(TlsFiles(**{name: str(path) for name, path in paths.items()}))
    assert security.require_encryption
    assert security.get_connection_args("client")["ssl_context"]
    with pytest.raises(InputError, match="is there already"):
        write_certificates(tmp_path / "tls")
