"""Where Dask workers come from: this machine, Slurm, or a scheduler that runs already; and certificates."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stimgen.bounded import read_file
from stimgen.errors import InputError, StimgenError
from stimgen.executors.site import ExecutorSpec, LocalWorker, SlurmSpec, TlsFiles
from stimgen.runs.store import RunFolder

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

NEEDS = "Install the extra: pip install 'stimgen[cluster]'."
FILES = {"ca": "ca.pem", "certificate": "certificate.pem", "key": "key.pem"}
"""Files of certificates by their keys in the section `tls` of a site file."""
VALID = timedelta(days=5 * 365)
LOOPBACK = "127.0.0.1"
TLS = "tls-"
"""Prefix of the folder with the certificates of one run."""
PLAIN_MALLOC = {"MALLOC_TRIM_THRESHOLD_": None}
"""Undoes a setting of Dask that returns each large tensor to the system, and so makes syntheses slow."""
MOST_BYTES = 2**20
"""Largest scheduler file that is read."""
LOGGERS = ("distributed", "dask_jobqueue", "asyncio", "tornado", "tornado.application")
NO_SERVER = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0", "port": 0}
"""Options of a scheduler without web pages, at any free port."""

SETTINGS: dict[str, Any] = {
    "distributed.admin.tick.limit": "1h",  # loading weights takes long
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "30s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # Of workers on this machine, until their log files take over.
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "warning",
}


def check_installed(spec: ExecutorSpec) -> None:
    """Raise StimgenError if the packages for an executor are missing."""
    try:
        import distributed  # noqa: F401

        if spec.slurm is not None:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise StimgenError(
            f"Workers need the Python package {error.name}, which is not installed.", NEEDS
        ) from None


@contextlib.contextmanager
def connected(
    spec: ExecutorSpec, folder: Path, local: Sequence[LocalWorker], wanted: int
) -> Iterator[Client]:
    """Connect to workers; those that are started for it end with it."""
    import dask
    from distributed import Client

    logs = RunFolder(folder).logs
    logs.mkdir(parents=True, exist_ok=True)
    if link := next((path for path in logs.iterdir() if path.is_symlink()), None):
        raise InputError(
            f"{link} is a symbolic link, and logs would be written outside of the run folder.", "Remove it."
        )
    settings = SETTINGS | {"distributed.scheduler.allowed-failures": spec.restarts}
    with dask.config.set(settings), _logged(logs / "driver.log"), contextlib.ExitStack() as stack:
        security = tls_security(spec.tls) if spec.tls is not None else None
        if spec.scheduler is not None:
            client = _client_of(spec.scheduler, security)
        else:
            started = (
                _local(local[:wanted], security, logs)
                if spec.slurm is None
                else _slurm(spec.slurm, security, logs, wanted)
            )
            client = Client(stack.enter_context(started), set_as_default=False)
        stack.callback(client.close, timeout=5)
        yield client


def tls_security(files: TlsFiles) -> Security:
    """Return settings that encrypt and authenticate all connections."""
    from distributed.security import Security

    for name, file in files.model_dump().items():
        if not Path(file).is_file():
            raise InputError(
                f"There is no file {file} ({name}).", "stimgen cluster certs FOLDER makes certificates."
            )
    sides = {
        f"tls_{side}_{part}": file
        for side in ("client", "scheduler", "worker")
        for part, file in (("cert", files.certificate), ("key", files.key))
    }
    return Security(tls_ca_file=files.ca, require_encryption=True, **sides)


@contextlib.contextmanager
def _local(workers: Sequence[LocalWorker], security: Security | None, logs: Path) -> Iterator[Any]:
    """Start one process per device, on the loopback interface, which other accounts reach too: with TLS."""
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    security = security or Security.temporary()
    safe = {"security": security, "protocol": "tls://", "host": LOOPBACK}
    with tempfile.TemporaryDirectory(prefix="stimgen-workers-") as scratch:
        common = safe | {
            "nthreads": 1,
            "memory_limit": 0,
            "local_directory": scratch,
            "preload": ["stimgen.executors.worker"],
            "dashboard": False,
        }
        specs = {}
        for worker in workers:
            log = {"STIMGEN_WORKER_LOG": str(logs / f"worker-{worker.name}.log")}
            specs[worker.name] = {"cls": Nanny, "options": common | {"env": worker.environment | log}}
        scheduler = {"cls": Scheduler, "options": safe | NO_SERVER}
        with SpecCluster(
            workers=specs, scheduler=scheduler, security=security, silence_logs=False
        ) as cluster:
            yield cluster


@contextlib.contextmanager
def _slurm(spec: SlurmSpec, security: Security | None, logs: Path, wanted: int) -> Iterator[Any]:
    """Start workers as jobs, and new ones for those that end, with TLS between the machines."""
    from dask_jobqueue import SLURMCluster

    interfaces = sorted(name for _, name in socket.if_nameindex())
    if spec.interface is not None and spec.interface not in interfaces:
        raise InputError(
            f"This machine has no network interface {spec.interface}, which the site file names.",
            f"It has {', '.join(interfaces)}: name the one that nodes reach as interface, or leave it out.",
        )
    jobs = min(spec.jobs, wanted)
    gres = () if spec.gres is None else (f"--gres={spec.gres}",)
    of_driver = {} if spec.interface is None else {"interface": spec.interface}
    of_nodes = () if spec.node_interface is None else ("--interface", spec.node_interface)
    with _own_certificates(logs) as own:
        cluster = SLURMCluster(
            cores=1,  # tasks of a worker at a time
            job_cpu=spec.cores,
            processes=1,
            memory=spec.memory.replace(" ", ""),
            walltime=spec.walltime,
            queue=spec.queue,
            account=spec.account,
            python=spec.python or sys.executable,
            job_name="stimgen-worker",
            job_extra_directives=[*gres, *spec.directives],
            job_script_prologue=[
                *spec.prologue,
                f"export OMP_NUM_THREADS={spec.cores}",
                f'export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON="{PLAIN_MALLOC}"',
                'export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES="[]"',
            ],
            log_directory=str(logs),
            worker_extra_args=["--no-dashboard", "--memory-limit", "0", *of_nodes],
            scheduler_options=NO_SERVER | of_driver,
            security=security or own,
            protocol="tls://",
            silence_logs=False,
        )
        with cluster:
            _try_submission(cluster.job_script())
            # Not scale(), which starts no new jobs after all were preempted.
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs, interval="1s", wait_count=3)
            yield cluster


@contextlib.contextmanager
def _own_certificates(place: Path) -> Iterator[Security]:
    """Write certificates for this run to a folder in `place` that only its owner can read."""
    for old in place.glob(f"{TLS}*"):  # of drivers that were killed
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=TLS, dir=place, ignore_cleanup_errors=True) as private:
        files = {name: str(path) for name, path in write_certificates(Path(private)).items()}
        yield tls_security(TlsFiles(**files))


def _try_submission(script: str) -> None:
    """Raise StimgenError with the message of sbatch if Slurm would refuse the jobs; submit none."""
    cure = (
        "Run this where sbatch reaches Slurm, as on a login node, and name in the section slurm of the site "
        "file what Slurm has: sinfo lists partitions."
    )
    try:
        tried = subprocess.run(
            ["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StimgenError(f"Slurm cannot be asked for jobs: {error}.", cure) from None
    if tried.returncode != 0:
        message = " ".join(line.removeprefix("sbatch: ") for line in tried.stderr.splitlines())
        raise StimgenError(f"Slurm refuses the jobs of workers: {message}", cure)


def _client_of(scheduler: str, security: Security | None) -> Client:
    """Connect to a scheduler by its address, or by the file that it wrote."""
    from distributed import Client

    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    host = urlsplit(address).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if security is None and address.startswith("tls://"):
        raise InputError(
            f"The scheduler {address} asks for certificates.",
            "Name those that it has in the section tls of a site file (docs/scale.md).",
        )
    if security is None and not loopback:
        raise InputError(
            f"The scheduler {address} would be spoken to over a network without encryption: whoever "
            "reaches it could run programs on your account.",
            "Start it with certificates (stimgen cluster certs makes them), and name them in the section tls "
            "of the site file.",
        )
    try:
        return Client(address, security=security, set_as_default=False, timeout="20s")
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise StimgenError(
            f"There is no connection to the scheduler {scheduler}: {error}.",
            "See that it runs, and that tls in the site file names the certificates that it has.",
        ) from error


def _address_in(path: Path) -> str:
    try:
        data = json.loads(read_file(path, MOST_BYTES))
        if isinstance(data, dict) and isinstance(data.get("address"), str):
            return str(data["address"])
        problem = "has no address"
    except FileNotFoundError:
        problem = "is not there"
    except (OSError, ValueError, RecursionError) as error:
        problem = f"cannot be read: {error}"
    raise InputError(
        f"The scheduler file {path} {problem}.",
        "Name the file that dask scheduler --scheduler-file wrote, or an address with tls:// or tcp:// "
        "in front, such as tls://host:8786.",
    )


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send the log of Dask in this process to a file, because the terminal has the display."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [handler]
        logger.propagate = False
    try:
        yield
    finally:
        gc.collect()  # connections that are left complain when they are collected
        for logger, handlers, propagate in before:
            logger.handlers[:] = handlers
            logger.propagate = propagate
        handler.close()
        with contextlib.suppress(OSError):
            if path.exists() and not path.stat().st_size:
                path.unlink()
            path.parent.rmdir()  # unless there are other logs


def write_certificates(folder: Path) -> dict[str, Path]:
    """Write a certificate that scheduler, workers and driver share, and its key.

    The certificate is its own authority. It is valid from an hour ago on, because clocks of machines differ.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise StimgenError("Certificates need the Python package cryptography.", NEEDS) from None
    paths = {name: folder.absolute() / file for name, file in FILES.items()}
    if present := [path for path in paths.values() if os.path.lexists(path)]:
        raise InputError(
            f"{present[0]} is there already, and clusters may use it.", "Name another folder, or remove it."
        )
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stimgen")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in zip(paths.values(), (certificate, certificate, private), strict=True):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written: {error.strerror}.", "Name another folder."
        ) from None
    return paths
