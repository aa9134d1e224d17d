"""Where runs are made: the site file, and the workers on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stimgen.bounded import read_file
from stimgen.counting import counted
from stimgen.errors import InputError
from stimgen.manifest.document import MAX_BYTES, ManifestError, parse, shorten
from stimgen.manifest.sections import read

WAIT_S = {"local": 120.0, "slurm": 3600.0, "scheduler": 120.0}
"""How long a run waits while it has no worker, in seconds, if the site file does not say."""


def _like(pattern: str, form: str) -> AfterValidator:
    """Return a validator for texts of a form, which it names in its message."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f'expected {form}, got "{shorten(text)}"')
        return text

    return AfterValidator(checked)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TlsFiles(_Section):
    """Paths of certificates, as `stimgen cluster certs` makes them."""

    ca: str  # certificate of the authority that signed the other
    certificate: str  # of scheduler, workers and clients
    key: str


class SlurmSpec(_Section):
    """What a job asks Slurm for; each job is one worker. The keys are described in docs/scale.md."""

    jobs: int = Field(ge=1, le=10_000)
    walltime: Annotated[
        str, _like(r"([0-9]+-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", 'hours:minutes:seconds such as "04:00:00"')
    ] = "04:00:00"
    memory: Annotated[str, _like(r"[0-9]+ ?(MB|GB|MiB|GiB)", "a number with MB or GB, such as 16GB")] = "16GB"
    cores: int = Field(default=4, ge=1, le=1024)
    queue: str | None = None
    account: str | None = None
    gres: str | None = None
    device: str = "auto"
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    node_interface: str | None = None

    @property
    def walltime_s(self) -> float:
        """The walltime in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


class ExecutorSpec(_Section):
    """Who makes the batches. The keys are described in docs/scale.md."""

    name: Literal["local", "dask"] = "local"
    devices: str | None = None
    scheduler: str | None = None
    slurm: SlurmSpec | None = None
    tls: TlsFiles | None = None
    wait_s: float | None = Field(default=None, gt=0)
    restarts: int = Field(default=20, ge=0, le=10_000)

    @model_validator(mode="after")
    def _one_kind(self) -> ExecutorSpec:
        given = [name for name in ("devices", "scheduler", "slurm") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        if self.name == "local" and given:
            raise ValueError(f"{given[0]} needs name: dask")
        return self

    @property
    def kind(self) -> Literal["local", "slurm", "scheduler"]:
        """Where workers come from."""
        if self.slurm is not None:
            return "slurm"
        return "scheduler" if self.scheduler is not None else "local"

    @property
    def patience_s(self) -> float:
        """How long to wait while there is no worker, in seconds."""
        return self.wait_s or WAIT_S[self.kind]


class SiteFile(_Section):
    """A site file."""

    executor: ExecutorSpec = ExecutorSpec()


def default_path() -> Path:
    """Return the path of the site file: stimgen/site.yaml in the user's folder of configurations."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "stimgen" / "site.yaml"


def load_site(path: Path | None = None) -> ExecutorSpec:
    """Return the section `executor` of a site file, with absolute paths."""
    if path is None:
        path = default_path()
        if not path.exists():
            return ExecutorSpec()
    try:
        text = read_file(path, MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"The site file {path} cannot be read: {reason}.", "Correct it, or name another with --site."
        ) from None
    document = parse(text, str(path), start="executor:")
    data = document.data
    if not isinstance(data, dict):
        raise InputError(
            f"The site file {path} is not a mapping.", "It starts with executor:, see docs/scale.md."
        )
    site: SiteFile | None = read(SiteFile, data, document)
    if site is None or document.problems:
        raise ManifestError(document.problems)
    spec, folder = site.executor, path.absolute().parent
    if spec.tls is not None:
        files = {name: str(folder / Path(file).expanduser()) for name, file in spec.tls.model_dump().items()}
        spec = spec.model_copy(update={"tls": TlsFiles(**files)})
    if spec.scheduler is not None and "://" not in spec.scheduler:
        spec = spec.model_copy(update={"scheduler": str(folder / Path(spec.scheduler).expanduser())})
    return spec


@dataclass(frozen=True)
class LocalWorker:
    """A worker on this machine."""

    name: str
    device: str  # as the worker sees it
    visible: str  # its CUDA_VISIBLE_DEVICES: one card, which is cuda:0 there; empty for none
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """Its environment variables."""
        libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return dict.fromkeys(libraries, str(self.threads)) | {"CUDA_VISIBLE_DEVICES": self.visible}


def parse_devices(text: str, cores: int | None = None) -> tuple[LocalWorker, ...]:
    """Return the workers for "cuda:0,cuda:1" or "cpu:4"; the cores are divided among them.

    Examples
    --------
    >>> [worker.threads for worker in parse_devices("cpu:2", cores=8)]
    [4, 4]
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    present = cores or (len(affinity(0)) if affinity else os.cpu_count() or 1)
    wished = os.environ.get("OMP_NUM_THREADS", "")
    cores = cores or (int(wished) if wished.isdecimal() and int(wished) > 0 else present)
    if form := re.fullmatch(r"cpu:([0-9]{1,9})", text):
        count = int(form[1])
        if not 1 <= count <= present:
            raise InputError(
                f"{text}: each worker needs a core, and {counted(present, 'is there', 'are there')}.",
                f"Write cpu:{present}, or a smaller number of workers, at least 1.",
            )
        return tuple(LocalWorker(f"cpu-{i}", "cpu", "", max(1, cores // count)) for i in range(count))
    if re.fullmatch(r"cuda:[0-9]{1,4}(,cuda:[0-9]{1,4})*", text):
        indices = [int(name.removeprefix("cuda:")) for name in text.split(",")]
        if len(set(indices)) < len(indices):
            raise InputError(f"{text}: a GPU is named twice.", "Name each once; its worker uses all of it.")
        threads = max(1, cores // len(indices))
        seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        # The names that CUDA has for the cards that this process sees under these numbers.
        visible = {i: (seen[i : i + 1] or [""])[0] or str(i) for i in indices}
        return tuple(LocalWorker(f"cuda-{i}", "cuda:0", visible[i], threads) for i in indices)
    raise InputError(f'"{text}" names no devices.', "Write cuda:0,cuda:1 for GPUs, or cpu:4 for 4 workers.")
