"""Where Dask workers come from: this machine, Slurm, or a scheduler that is there."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import json
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stimgen.bounded import read_file
from stimgen.errors import InputError, StimgenError
from stimgen.executors.certificates import NEEDS, write_certificates
from stimgen.executors.devices import Place, parse_devices
from stimgen.executors.site import ExecutorSpec, SlurmSpec, TlsFiles
from stimgen.runs.store import RunFolder

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

LOOPBACK = "127.0.0.1"
TLS = "tls-"
"""What the folder of a run's own certificates begins with."""

PLAIN_MALLOC = {"MALLOC_TRIM_THRESHOLD_": None}
"""Takes back a setting of Dask that returns each large tensor to the system, and so makes syntheses slow."""

MOST_BYTES = 2**20
"""Largest scheduler file that is read."""

LOGGERS = ("distributed", "dask_jobqueue", "asyncio", "tornado", "tornado.application")
"""What Dask and its parts write to."""


def places_of(spec: ExecutorSpec) -> tuple[Place, ...]:
    """Return the workers on this machine; none if they come from elsewhere."""
    return parse_devices(spec.devices) if spec.devices is not None else ()


def check_installed(spec: ExecutorSpec) -> None:
    """Raise if the packages for an executor are missing.

    Raises
    ------
    StimgenError
        With the command that installs them.
    """
    try:
        import distributed  # noqa: F401

        if spec.slurm is not None:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise StimgenError(
            f"Workers need the Python package {error.name}, which is not installed.", NEEDS
        ) from None


@contextlib.contextmanager
def connected(spec: ExecutorSpec, folder: Path, wanted: int) -> Iterator[Client]:
    """Connect to workers; those that were started for it end with it.

    Parameters
    ----------
    spec
        Where workers come from.
    folder
        The run folder, where logs go.
    wanted
        Most workers that have something to do.

    Raises
    ------
    StimgenError
        If there is no connection.
    InputError
        If a connection would cross a network without TLS, or a log is a link.
    """
    import dask
    from distributed import Client

    logs = RunFolder(folder).logs
    logs.mkdir(parents=True, exist_ok=True)
    _refuse_links(logs)
    settings: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": spec.restarts,
        "distributed.admin.tick.limit": "1h",  # loading weights is no fault
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
        "distributed.comm.timeouts.connect": "30s",
        # No pages about the work for others to look at.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in PLAIN_MALLOC.items()},
        # Of processes on this machine, until their log files take over.
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "warning",
    }
    with dask.config.set(settings), _logged(logs / "driver.log"), contextlib.ExitStack() as stack:
        security = tls_security(spec.tls) if spec.tls is not None else None
        if spec.slurm is not None:
            cluster = stack.enter_context(_slurm(spec.slurm, security, logs, wanted))
            client = Client(cluster, set_as_default=False)
        elif spec.scheduler is not None:
            client = _foreign(spec.scheduler, security)
        else:
            cluster = stack.enter_context(_local(places_of(spec)[:wanted], security, logs))
            client = Client(cluster, set_as_default=False)
        stack.callback(client.close, timeout=5)
        yield client


def tls_security(files: TlsFiles) -> Security:
    """Return what encrypts all connections with certificates of one authority.

    Raises
    ------
    InputError
        If a file is not there.
    """
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
def _local(places: tuple[Place, ...], security: Security | None, logs: Path) -> Iterator[Any]:
    """Start one process per device, which only this machine can reach, and on it who has the certificates."""
    from distributed import Nanny, Scheduler, SpecCluster

    with (
        tempfile.TemporaryDirectory(prefix="stimgen-workers-") as scratch,
        _own_certificates(Path(scratch)) as own,
    ):
        # Other people on this machine reach its loopback too.
        safe = {"security": security or own, "protocol": "tls://", "host": LOOPBACK}
        workers = {
            place.name: {
                "cls": Nanny,
                "options": {
                    "nthreads": 1,
                    "memory_limit": 0,
                    **safe,
                    "local_directory": scratch,
                    "env": _environment(place, logs),
                    "preload": ["stimgen.executors.worker_log"],
                    "dashboard": False,
                },
            }
            for place in places
        }
        options = {**safe, "port": 0, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
        scheduler = {"cls": Scheduler, "options": options}
        with SpecCluster(
            workers=workers, scheduler=scheduler, security=safe["security"], silence_logs=False
        ) as cluster:
            yield cluster


def _environment(place: Place, logs: Path) -> dict[str, str]:
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(place.threads)
    )
    return threads | {
        "CUDA_VISIBLE_DEVICES": place.visible,
        "STIMGEN_WORKER_LOG": str(logs / f"worker-{place.name}.log"),
    }


@contextlib.contextmanager
def _slurm(spec: SlurmSpec, security: Security | None, logs: Path, wanted: int) -> Iterator[Any]:
    """Start workers as jobs, and new ones for those that end, with TLS between the machines."""
    from dask_jobqueue import SLURMCluster

    gres = () if spec.gres is None else (f"--gres={spec.gres}",)
    jobs = min(spec.jobs, wanted)
    if spec.interface is not None:
        _see_interface(spec.interface)
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
            scheduler_options={
                "dashboard": False,
                "dashboard_address": f"{LOOPBACK}:0",
                "port": 0,
                **of_driver,
            },
            security=security or own,
            protocol="tls://",
            silence_logs=False,
        )
        with cluster:
            _try_submission(cluster.job_script())
            # Not scale(), which never comes back after all jobs were preempted.
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs, interval="1s", wait_count=3)
            yield cluster


def _see_interface(name: str) -> None:
    """Raise if this machine has no network interface of a name."""
    there = sorted(name for _, name in socket.if_nameindex())
    if name not in there:
        raise InputError(
            f"This machine has no network interface {name}, which the site file names.",
            f"It has {', '.join(there)}: name the one that nodes reach as interface, or leave it out.",
        )


@contextlib.contextmanager
def _own_certificates(place: Path) -> Iterator[Security]:
    """Make certificates for this run alone, in a folder in `place` that only its owner can read."""
    for old in place.glob(f"{TLS}*"):  # of drivers that were killed: who connects holds the lock of the run
        shutil.rmtree(old, ignore_errors=True)
    private = Path(tempfile.mkdtemp(prefix=TLS, dir=place))
    try:
        files = {name: str(path) for name, path in write_certificates(private).items()}
        yield tls_security(TlsFiles(**files))
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _try_submission(script: str) -> None:
    """Raise what Slurm has against the jobs of workers, without submitting one.

    Raises
    ------
    StimgenError
        With what sbatch says.
    """
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
        said = " ".join(line.removeprefix("sbatch: ") for line in tried.stderr.splitlines())
        raise StimgenError(f"Slurm refuses the jobs of workers: {said}", cure)


def _foreign(scheduler: str, security: Security | None) -> Client:
    from distributed import Client

    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    if security is None and address.startswith("tls://"):
        raise InputError(
            f"The scheduler {address} asks for certificates.",
            "Name those that it has in the section tls of a site file (docs/scale.md).",
        )
    if security is None and not _stays_here(address):
        raise InputError(
            f"The scheduler {address} would be spoken to over a network without encryption: whoever "
            "reaches it could run programs on your account.",
            "Start it with certificates (stimgen cluster certs makes them), and name them in the section tls "
            "of the site file.",
        )
    try:
        client = Client(address, security=security, set_as_default=False, timeout="20s")
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise StimgenError(
            f"There is no connection to the scheduler {scheduler}: {error}.",
            "See that it runs, and that tls in the site file names the certificates that it has.",
        ) from error
    return client


def _address_in(path: Path) -> str:
    """Return the address in the file that a scheduler wrote.

    Raises
    ------
    InputError
        If it holds none.
    """
    cure = (
        "Name the file that dask scheduler --scheduler-file wrote, or an address with tls:// or tcp:// in "
        "front, such as tls://host:8786."
    )
    try:
        data = json.loads(read_file(path, MOST_BYTES))
    except FileNotFoundError:
        raise InputError(f"There is no scheduler file {path}.", cure) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The scheduler file {path} cannot be read: {error}.", cure) from None
    address = data.get("address") if isinstance(data, dict) else None
    if not isinstance(address, str):
        raise InputError(f"The scheduler file {path} has no address.", cure)
    return address


def _stays_here(address: str) -> bool:
    """Return whether an address is of this machine alone."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_links(logs: Path) -> None:
    """Raise if a log is a symbolic link: what workers say would be written outside of the run folder."""
    if link := next((path for path in logs.iterdir() if path.is_symlink()), None):
        raise InputError(
            f"{link} is a symbolic link, and logs would be written outside of the run folder.", "Remove it."
        )


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send what Dask says in this process to a file in place of the terminal, where the display is."""
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
        gc.collect()  # what is left of connections complains when it is collected
        for logger, handlers, propagate in before:
            logger.handlers[:] = handlers
            logger.propagate = propagate
        handler.close()
        if path.exists() and not path.stat().st_size:
            path.unlink()
        with contextlib.suppress(OSError):  # there are other logs
            path.parent.rmdir()
