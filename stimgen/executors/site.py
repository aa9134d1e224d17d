"""The site file: where runs are made here, so that manifests stay about science."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stimgen.bounded import read_file
from stimgen.errors import InputError
from stimgen.manifest.document import MAX_BYTES, parse, shorten
from stimgen.manifest.problems import ManifestError
from stimgen.manifest.wording import complain_all

WAIT_S = {"local": 120.0, "slurm": 3600.0, "scheduler": 120.0}
"""How long a run waits for a first worker, or for one after all were lost, if the site file does not say."""


def _like(pattern: str, form: str) -> AfterValidator:
    """Return what refuses a text of another form, with the form in words."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f'expected {form}, got "{shorten(text)}"')
        return text

    return AfterValidator(checked)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TlsFiles(_Section):
    """Certificates, as `stimgen cluster certs` makes them."""

    ca: Annotated[str, Field(description="Certificate of the authority that signed all others.")]
    certificate: Annotated[str, Field(description="Certificate of scheduler, workers and clients.")]
    key: Annotated[str, Field(description="Its private key.")]


class SlurmSpec(_Section):
    """What a job of a worker asks Slurm for; one worker per job."""

    jobs: Annotated[int, Field(ge=1, le=10_000, description="Most jobs at a time.")]
    walltime: Annotated[
        str,
        _like(r"([0-9]+-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", 'hours:minutes:seconds such as "04:00:00"'),
        Field(description="Longest time of a job."),
    ] = "04:00:00"
    memory: Annotated[
        str,
        _like(r"[0-9]+ ?(MB|GB|MiB|GiB)", "a number with MB or GB, such as 16GB"),
        Field(description="Memory of a job."),
    ] = "16GB"
    cores: Annotated[int, Field(ge=1, le=1024, description="Cores of a job, for one worker.")] = 4
    queue: Annotated[str | None, Field(description="Partition.")] = None
    account: Annotated[str | None, Field(description="Account that pays.")] = None
    gres: Annotated[str | None, Field(description="Generic resources, such as gpu:1.")] = None
    device: Annotated[str, Field(description="What a worker computes on: auto, cpu or cuda:0.")] = "auto"
    directives: Annotated[
        tuple[str, ...], Field(description="More lines for sbatch, such as --constraint=a100.")
    ] = ()
    prologue: Annotated[
        tuple[str, ...], Field(description="Commands before a worker, such as module load cuda.")
    ] = ()
    python: Annotated[
        str | None, Field(description="Python on the nodes, if it is not the one that runs stimgen.")
    ] = None
    interface: Annotated[
        str | None, Field(description="Network interface of the driver that nodes can reach, such as ib0.")
    ] = None
    node_interface: Annotated[
        str | None, Field(description="Network interface of the nodes, if it is not the one of their route.")
    ] = None

    @property
    def walltime_s(self) -> float:
        """The walltime in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


class ExecutorSpec(_Section):
    """Who makes the batches."""

    name: Annotated[Literal["local", "dask"], Field(description="This process, or workers.")] = "local"
    devices: Annotated[str | None, Field(description="Workers on this machine: cuda:0,cuda:1 or cpu:4.")] = (
        None
    )
    scheduler: Annotated[
        str | None, Field(description="Address or scheduler file of a Dask cluster that is there.")
    ] = None
    slurm: Annotated[SlurmSpec | None, Field(description="Workers that are jobs of Slurm.")] = None
    tls: Annotated[TlsFiles | None, Field(description="Certificates for all connections.")] = None
    wait_s: Annotated[
        float | None, Field(gt=0, description="Longest time to wait while there is no worker, s.")
    ] = None
    restarts: Annotated[
        int, Field(ge=0, le=10_000, description="How often a batch is begun again after its worker died.")
    ] = 20

    @model_validator(mode="after")
    def _one_kind(self) -> ExecutorSpec:
        given = [name for name in ("devices", "scheduler", "slurm") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one")
        if self.name == "local" and given:
            raise ValueError(f"{given[0]} needs name: dask")
        return self

    @property
    def has_workers(self) -> bool:
        """Whether it is said where workers come from."""
        return any((self.devices, self.scheduler, self.slurm))

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
    """Return where the site file is looked for: stimgen/site.yaml in the folder of configurations."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "stimgen" / "site.yaml"


def load_site(path: Path | None = None) -> ExecutorSpec:
    """Return the section `executor` of a site file.

    Parameters
    ----------
    path
        The file; by default `default_path`, if it is there.

    Raises
    ------
    InputError
        With everything that is wrong in the file, by line and column; paths in it are relative to the file.
    """
    if path is None:
        path = default_path()
        if not path.exists():
            return ExecutorSpec()
    try:
        text = read_file(path, MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"The site file {path} cannot be read: {reason}.", "Mend it, or name another with --site."
        ) from None
    document = parse(text, str(path), start="executor:")
    data = document.data
    if not isinstance(data, dict):
        raise InputError(
            f"The site file {path} is no mapping.", "It starts with executor:, see docs/scale.md."
        )
    try:
        site = SiteFile.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        complain_all(error, document, (), _keys_at(error))
        raise ManifestError(document.problems) from None
    if document.problems:
        raise ManifestError(document.problems)
    return _absolute(site.executor, path.absolute().parent)


def _keys_at(error: ValidationError) -> list[str]:
    """Return the keys that the innermost section with an unknown key knows."""
    models: dict[str, type[BaseModel]] = {"executor": ExecutorSpec, "slurm": SlurmSpec, "tls": TlsFiles}
    for detail in error.errors(include_url=False):
        if detail["type"] == "extra_forbidden":
            inside = [models[str(step)] for step in detail["loc"][:-1] if str(step) in models]
            return list((inside[-1] if inside else SiteFile).model_fields)
    return []


def _absolute(spec: ExecutorSpec, folder: Path) -> ExecutorSpec:
    if spec.tls is not None:
        files = {name: str(folder / Path(file).expanduser()) for name, file in spec.tls.model_dump().items()}
        spec = spec.model_copy(update={"tls": TlsFiles(**files)})
    if spec.scheduler is not None and "://" not in spec.scheduler:
        spec = spec.model_copy(update={"scheduler": str(folder / Path(spec.scheduler).expanduser())})
    return spec
