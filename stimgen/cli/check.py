"""The commands that check manifests and runs: `stimgen check`, `schema`, `verify` and `tables`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from stimgen.cli.arguments import Device, ManifestPath, NetworkName, RunPath, Seeds, option, parse_seeds
from stimgen.cli.errors import say
from stimgen.counting import counted, first_few
from stimgen.errors import printable


def check(
    manifest: ManifestPath,
    device: Device = "auto",
    network: NetworkName = None,
    seeds: Seeds = None,
    out: Annotated[Path | None, option("The run folder, if it will be given to stimgen run.")] = None,
    show_all: Annotated[bool, option("List every source and stimulus.", "--all")] = False,
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
    from stimgen.runs.recipe import outlook, steps_in_words
    from stimgen.runs.store import RunFolder

    loaded = load_manifest(manifest, network=network, seeds=parse_seeds(seeds), open_images=True)
    stimuli = plan(loaded)
    folder = (out or loaded.output).absolute()
    check_paths(folder, stimuli)
    found = outlook(loaded, RunFolder(folder))
    to_make = [one for one in stimuli if found is None or one.stimulus_id in found.to_make]
    cost = estimate(loaded, to_make, device=device)
    typer.echo(summary(loaded, stimuli, cost, folder, list_all=show_all))
    if found:
        replaced = f", {found.replace} of them in place of others" if found.replace else ""
        more = f"; {found.unplanned} others are there, not asked for" if found.unplanned else ""
        typer.echo(f"There:     {steps_in_words(found.steps)}{replaced} (files not compared){more}")


def schema() -> None:
    """Print the JSON Schema of manifests, for editors that check YAML while you type.

    For example:
      stimgen schema > stimgen.schema.json
    """
    from stimgen.manifest.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def verify(
    run_folder: RunPath,
    recompute: Annotated[
        bool, option("Measure every PNG file again, which needs the sources and the weights.", "--recompute")
    ] = False,
    device: Device = "auto",
    as_json: Annotated[bool, option("Print the result as JSON.", "--json")] = False,
) -> None:
    """Compare every file of a run with what its records and its manifest say.

    Names each file that is missing, altered or not the run's, and the first cell of each table that does not
    follow from the records. Writes nothing. Ends with 0 if all is right, and with 3 if not, or if stimuli are
    not made yet.

    For example:
      stimgen verify results/exp1
      stimgen verify results/exp1 --recompute
      stimgen verify results/exp1 --json > verified.json
    """
    from stimgen.verify.report import as_data, bar, sentences
    from stimgen.verify.run import verify_run

    with bar("verifying", run_folder) as advance:
        result = verify_run(run_folder, advance=advance)
    if recompute:
        from stimgen.verify.recompute import recompute_statistics

        with bar("measuring", run_folder) as advance:
            result = recompute_statistics(result, device=device, advance=advance)
    if as_json:
        typer.echo(json.dumps(as_data(result), indent=2, ensure_ascii=False))
    else:
        for line in sentences(result):
            typer.echo(printable(line).replace("\n", "\\n"))
    if not result.right:
        raise typer.Exit(3)
    if result.unmeasured:
        say("Not everything could be measured again: sources or weights are not at hand.")
        raise typer.Exit(4)


def tables(run_folder: RunPath) -> None:
    """Write the tables of a run again, from its records: also the data dictionaries and the trial lists.

    Needs neither weights nor sources. Records that are damaged, and PNG files that are not those that their
    records describe, are named, and nothing is written. Joins the shards of a run. Ends with 3 if stimuli are
    missing.

    For example:
      stimgen tables results/exp1
    """
    from stimgen.verify.rebuild import rebuild_tables

    rebuilt = rebuild_tables(run_folder)
    say(f"{counted(rebuilt.stimuli)}. Table: {rebuilt.folder / 'stimuli.csv'}")
    if rebuilt.outdated:
        say(
            "Left out, because made or measured with other settings than the manifest's: "
            f"{counted(len(rebuilt.outdated))}, {first_few(rebuilt.outdated)}"
        )
    if rebuilt.unknown_columns:
        say(
            f"Left out, because this stimgen does not measure them: {first_few(rebuilt.unknown_columns)}. "
            "The records keep them until stimgen run measures the PNG files again."
        )
    if rebuilt.stimuli < rebuilt.planned:
        cure = f"Run the manifest again with --out {shlex.quote(str(rebuilt.folder))}."
        if rebuilt.missing_shards:
            shards = first_few(rebuilt.missing_shards)
            cure = f"Give the command of the shards that are not done, {shards}, and then this one again."
        say(f"Missing: {rebuilt.planned - rebuilt.stimuli} of {counted(rebuilt.planned)}. {cure}")
        raise typer.Exit(3)
    if rebuilt.trial_lists:
        say(f"Trial lists: {', '.join(map(str, rebuilt.trial_lists))}")
