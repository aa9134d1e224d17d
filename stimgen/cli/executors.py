"""Workers: the options of `stimgen run` for them, and the command `stimgen cluster certs`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stimgen.cli.arguments import option
from stimgen.cli.errors import say
from stimgen.errors import InputError

if TYPE_CHECKING:
    from stimgen.executors.dask_executor import DaskExecutor
    from stimgen.executors.site import ExecutorSpec

CLUSTER = """Dask clusters: certificates for connections between machines.

For example:
  stimgen cluster certs ~/.config/stimgen/tls
"""

ExecutorName = Annotated[
    Literal["local", "dask"] | None,
    option(
        "Who makes the stimuli: this process (local) or workers (dask). Default: the site file's, or local.",
        "--executor",
    ),
]
Devices = Annotated[
    str | None,
    option("Workers on this machine: cuda:0,cuda:1 (one per GPU) or cpu:N (cores divided).", "--devices"),
]
SchedulerAt = Annotated[
    str | None, option("Address or scheduler file of a Dask cluster whose workers are used.", "--scheduler")
]
SitePath = Annotated[
    Path | None,
    option(
        "Site file: where runs are made here, such as Slurm. Default: "
        "~/.config/stimgen/site.yaml, if it is there.",
        "--site",
    ),
]


def executor_spec(
    name: str | None, devices: str | None, scheduler: str | None, site: Path | None
) -> ExecutorSpec:
    """Return the executor of the site file, with the options of the command line in place of its own."""
    from stimgen.executors.site import ExecutorSpec, default_path, load_site, parse_devices

    if devices is not None and scheduler is not None:
        raise InputError("--devices and --scheduler exclude each other.", "Give one of them.")
    if name == "local" and (devices or scheduler):
        raise InputError(
            f"--executor local has no {'--devices' if devices else '--scheduler'}.",
            "Leave it out; --device says what this process computes on.",
        )
    if name == "local":
        return ExecutorSpec()
    spec = load_site(site)
    if devices is not None:
        parse_devices(devices)
    if devices is not None or scheduler is not None:
        own = {"name": "dask", "devices": devices, "scheduler": scheduler, "slurm": None}
        spec = spec.model_copy(update=own)
    if (name or spec.name) == "dask" and not any((spec.devices, spec.scheduler, spec.slurm)):
        where = "--executor dask" if name else f"The site file {site or default_path()}"
        raise InputError(
            f"{where} asks for workers, and nothing says where workers come from.",
            "Give --devices or --scheduler, or one of devices, scheduler, slurm in the section executor of "
            "the site file (docs/scale.md).",
        )
    return spec


def opened(spec: ExecutorSpec, folder: Path) -> contextlib.AbstractContextManager[DaskExecutor | None]:
    """Return the executor of a run; None for this process."""
    if spec.name == "local":
        return contextlib.nullcontext()
    from stimgen.executors.clusters import check_installed

    check_installed(spec)
    from stimgen.executors.dask_executor import DaskExecutor

    return DaskExecutor(spec, folder)


def certs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write; only you may read it.")],
) -> None:
    """Make certificates that encrypt all connections of a Dask cluster, and keep everybody else out.

    Without them, whoever reaches a scheduler's port could run programs on your account. The certificates are
    for the scheduler, the workers and stimgen; all machines need to read them, and nobody else may.

    For example:
      stimgen cluster certs ~/.config/stimgen/tls
    """
    from stimgen.executors.clusters import write_certificates

    paths = write_certificates(folder)
    ignored = folder / ".gitignore"  # a key has no place in a repository
    if not ignored.exists():
        ignored.write_text("*\n", "utf-8")
    say(f"Written: {', '.join(map(str, paths.values()))}")
    typer.echo("# For the section executor of a site file:")
    typer.echo("tls:")
    for name, path in paths.items():
        typer.echo(f"  {name}: {path}")
