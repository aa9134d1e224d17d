"""The command `stimgen run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli.arguments import Device, ManifestPath, NetworkName, Seeds, parse_seeds
from stimgen.cli.errors import say


def run(
    manifest: ManifestPath,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Run folder. Default: results/NAME beside the folder manifests, or beside MANIFEST."
        ),
    ] = None,
    device: Device = "auto",
    network: NetworkName = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Most textures synthesised at once.")
    ] = None,
    seeds: Seeds = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
) -> None:
    """Make the stimuli of a manifest: images, records and tables.

    Stimuli that are done are kept, so the same command goes on after an interruption. Those that exceed the
    manifest's thresholds (accept) are kept too, marked in the table, and no failure.

    For example:

      stimgen run manifests/exp1.yaml

      stimgen run manifests/exp1.yaml --device cuda:0 --out /data/exp1

      stimgen run manifests/exp1.yaml --network vgg16 --seeds 1-10
    """
    from stimgen.manifest.load import load_manifest

    loaded = load_manifest(manifest, network=network, seeds=parse_seeds(seeds))

    from stimgen.runs.progress import Progress
    from stimgen.runs.runner import run as run_manifest

    result = run_manifest(
        loaded, out=out, device=device, batch_size=batch_size, progress=Progress(quiet=quiet)
    )
    if not quiet:
        done = f"{result.made} made, {result.kept} kept, {len(result.failures)} failed"
        if not result.made and not result.failures:
            done = f"Nothing to do: all {result.kept} stimuli are there, and the tables are written anew"
        say(f"{done}. Table: {result.folder / 'stimuli.csv'}")
        if result.rejected:
            say(
                f"{result.rejected} of {result.made + result.kept} stimuli exceed the thresholds of the "
                "manifest's section accept. They are kept; why is in the table's column reject_reason."
            )
        if result.trial_lists:
            say(f"Trial lists: {', '.join(map(str, result.trial_lists))}")
        elif loaded.trials:
            say("The trial lists are not written, because stimuli are missing.")
        if result.strangers:
            say(
                f"{len(result.strangers)} PNG files in {result.folder / 'stimuli'} are not what this "
                f"command asks for, and not in the tables: {', '.join(result.strangers[:5])}"
                f"{', …' if len(result.strangers) > 5 else ''}"
            )
    if result.failures:
        say(f"{len(result.failures)} stimuli could not be made; why is in {result.folder / 'failures.csv'}")
        raise typer.Exit(3)
