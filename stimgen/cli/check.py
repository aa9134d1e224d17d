"""The commands `stimgen check` and `stimgen schema`."""

from __future__ import annotations

import json
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
    from stimgen.manifest.check import summary
    from stimgen.manifest.estimate import estimate
    from stimgen.manifest.load import load_manifest
    from stimgen.manifest.plan import check_paths, plan
    from stimgen.runs.recipe import outlook
    from stimgen.runs.store import RunFolder

    loaded = load_manifest(manifest, network=network, seeds=parse_seeds(seeds))
    stimuli = plan(loaded)
    folder = (out or loaded.output).absolute()
    check_paths(folder, stimuli)
    typer.echo(summary(loaded, stimuli, estimate(loaded, stimuli, device=device), folder, list_all=show_all))
    found = outlook(loaded, RunFolder(folder))
    if found:
        unread = " (PNG files not compared)" if found.keep else ""
        more = f"; {found.unplanned} others are there, not asked for" if found.unplanned else ""
        rest = f"to make {found.make}, to replace {found.replace}{more}"
        typer.echo(f"There:     to keep {found.keep}{unread}, {rest}")


def schema() -> None:
    """Print the JSON Schema of manifests, for editors that check YAML while you type.

    For example:

      stimgen schema > stimgen.schema.json
    """
    from stimgen.manifest.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
