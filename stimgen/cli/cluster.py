"""The commands `stimgen cluster …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli.errors import say

app = typer.Typer(no_args_is_help=True)


@app.callback()
def cluster_options() -> None:
    """Dask clusters: certificates for connections between machines.

    For example:

      stimgen cluster certs ~/.config/stimgen/tls
    """


@app.command()
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
