"""The command `stimgen check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli.arguments import Device, ManifestPath, NetworkName, Seeds, parse_seeds


def check(
    manifest: ManifestPath,
    device: Device = "auto",
    network: NetworkName = None,
    seeds: Seeds = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder, if it will be given to stimgen run.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="List every source and stimulus.")] = False,
) -> None:
    """Say what a manifest would make, how long that takes, and what is wrong with it.

    For example:

      stimgen check manifests/exp1.yaml

      stimgen check manifests/exp1.yaml --all
    """
    from stimgen.manifest.check import check_report
    from stimgen.manifest.load import load_manifest
    from stimgen.runs.outlook import outlook
    from stimgen.runs.store import RunFolder

    numbers = parse_seeds(seeds)
    typer.echo(
        check_report(manifest, network=network, seeds=numbers, device=device, out=out, list_all=show_all)
    )
    loaded = load_manifest(manifest, network=network, seeds=numbers)
    found = outlook(loaded, RunFolder((out or loaded.output).absolute()))
    if found:
        unread = " (PNG files not compared)" if found.keep else ""
        more = f"; {found.unplanned} others are there, not asked for" if found.unplanned else ""
        rest = f"to make {found.make}, to replace {found.replace}{more}"
        typer.echo(f"There:     to keep {found.keep}{unread}, {rest}")
