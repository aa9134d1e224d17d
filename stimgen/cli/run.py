"""The command `stimgen run`."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stimgen.cli.arguments import Device, ManifestPath, NetworkName, Seeds, parse_seeds
from stimgen.cli.errors import say
from stimgen.cli.executors import Devices, ExecutorName, SchedulerAt, SitePath, executor_spec, opened
from stimgen.counting import counted
from stimgen.errors import InputError, StimgenError

LOGGER = logging.getLogger("stimgen")
MOST_REPORTED = 10_000
"""Most stimuli of which a run writes a report unasked: it holds a picture of each, 8 kB large."""

if TYPE_CHECKING:
    from stimgen.manifest.resolved import Manifest
    from stimgen.report.preview import Preview
    from stimgen.runs.progress import Progress
    from stimgen.runs.results import Shard
    from stimgen.runs.runner import RunResult
    from stimgen.runs.unplanned import Unplanned


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
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Make part I of N only. Parts can be made at the same time; stimgen tables joins them.",
        ),
    ] = None,
    executor: ExecutorName = None,
    devices: Devices = None,
    scheduler: SchedulerAt = None,
    site: SitePath = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Remove stimuli and trial lists in the folder that this command does not ask for."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them without a question.")] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html, the run on one page.")
    ] = True,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Open a page in the browser that shows the run while it works."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
) -> None:
    """Make the stimuli of a manifest: images, records and tables.

    Stimuli that are done are kept, so the same command goes on after an interruption. Those that exceed the
    manifest's thresholds (accept) are kept too, marked in the table, and no failure. What is there and not
    asked for is named and kept; with --prune it is removed in the end, after a question. Workers and
    shards are explained in docs/scale.md.

    For example:

      stimgen run manifests/exp1.yaml

      stimgen run manifests/exp1.yaml --device cuda:0 --out /data/exp1

      stimgen run manifests/exp1.yaml --network vgg16 --seeds 1-10

      stimgen run manifests/exp1.yaml --watch

      stimgen run manifests/exp1.yaml --devices cuda:0,cuda:1

      stimgen run manifests/exp1.yaml --devices cpu:8

      stimgen run manifests/exp1.yaml --site slurm.yaml

      stimgen run manifests/exp1.yaml --shard 3/8
    """
    from stimgen.manifest.load import load_manifest

    if yes and not prune:
        raise InputError("--yes goes with --prune.", "Give both, or neither.")
    from stimgen.runs.results import parse_shard

    part = parse_shard(shard) if shard is not None else None
    if part is not None and (prune or watch or executor == "dask" or devices or scheduler or site):
        raise InputError(
            "--shard goes without --prune, --watch, and workers.",
            "Leave them out: a shard is made by this process alone.",
        )
    if part is not None:
        executor = "local"  # whatever the site file says
    spec = executor_spec(executor, devices, scheduler, site)
    if spec.name != "local" and device != "auto":
        raise InputError(
            "--device is for a run in this process, and this one has workers.",
            "Leave it out, or add --executor local.",
        )
    loaded = load_manifest(manifest, network=network, seeds=parse_seeds(seeds))

    from stimgen.runs.progress import Progress
    from stimgen.runs.runner import run as run_manifest

    progress = Progress(quiet=quiet)
    if part is not None:
        made = run_manifest(
            loaded, shard=part, out=out, device=device, batch_size=batch_size, progress=progress
        )
        _end_shard(made, part, quiet=quiet)
        return
    to_remove = _to_remove(loaded, out or loaded.output, ask=not yes) if prune else None
    with _watched(loaded, out or loaded.output, progress) if watch else contextlib.nullcontext() as preview:
        with opened(spec, out or loaded.output) as makers:
            result = run_manifest(
                loaded,
                out=out,
                device=device,
                batch_size=batch_size,
                progress=progress,
                prune=to_remove,
                executor=makers,
            )
        few = result.made + result.kept <= MOST_REPORTED
        page = _write_report(result.folder) if report and few else None
        if preview is not None:
            preview.end(_outcome(result, page), page)
    if not quiet:
        for line in _sentences(result, page, report_left_out=report and not few, trials=bool(loaded.trials)):
            say(line)
    if result.failures and prune:
        say("Nothing is removed, because stimuli could not be made.")
    if result.failures:
        say(f"{counted(len(result.failures))} could not be made; why is in {result.folder / 'failures.csv'}")
        raise typer.Exit(3)


def _sentences(result: RunResult, page: Path | None, *, report_left_out: bool, trials: bool) -> Iterator[str]:
    """Yield what a run did, in sentences."""
    stimuli, folder = result.made + result.kept, result.folder
    done = f"{result.made} made, {result.kept} kept, {len(result.failures)} failed"
    if not result.made and not result.failures:
        done = f"Nothing to do: all {counted(result.kept)} are there, and the tables are written anew"
    yield f"{done}. Table: {folder / 'stimuli.csv'}{f', report: {page}' if page else ''}"
    if report_left_out:
        yield f"No report of so many stimuli is written unasked; stimgen report {folder} does it."
    if result.rejected:
        yield (
            f"{result.rejected} of {counted(stimuli)} exceed the thresholds of the "
            "manifest's section accept. They are kept; why is in the table's column reject_reason."
        )
    if result.trial_lists:
        yield f"Trial lists: {', '.join(map(str, result.trial_lists))}"
        if result.changed_lists:
            lists = ", ".join(result.changed_lists)
            yield f"Not as they were before: {lists}. Sessions that began with the earlier ones cannot go on."
    elif trials:
        yield (
            "The trial lists are not written, because stimuli are missing. Do not use any that are there "
            "from an earlier run: their stimuli may be replaced."
        )
    if result.removed:
        yield f"Removed {counted(len(result.removed), 'file', 'files')}: {', '.join(result.removed)}"
    if others := result.unplanned:
        names = f"{', '.join(others[:5])}{', …' if len(others) > 5 else ''}"
        yield (
            f"{counted(len(others))} in {folder / 'stimuli'} {'is' if len(others) == 1 else 'are'} not what "
            f"this command asks for, and not in the tables: {names} (--prune removes those that stimgen made)"
        )
    if page is None and (result.made or result.removed) and (folder / "report.html").exists():
        yield f"report.html there shows an earlier state; stimgen report {folder} draws it anew."


def _end_shard(result: RunResult, shard: Shard, *, quiet: bool) -> None:
    """Say what a shard did, and what comes next."""
    from stimgen.runs.store import RunFolder

    if not quiet:
        done = f"{result.made} made, {result.kept} kept, {len(result.failures)} failed"
        if not result.made + result.kept + len(result.failures):
            done = "nothing to do, because there are more shards than batches"
        say(f"Shard {shard}: {done}. When all are made: stimgen tables {shlex.quote(str(result.folder))}")
    if result.failures:
        note = shard.note(RunFolder(result.folder))
        say(f"{counted(len(result.failures))} could not be made; why is in {note}")
        raise typer.Exit(3)


def _to_remove(manifest: Manifest, folder: Path, *, ask: bool) -> Unplanned | None:
    """Say what a run will remove, and ask on a terminal; None for nothing.

    Before the run, because afterwards nobody may be there to answer.
    """
    from stimgen.manifest.plan import plan
    from stimgen.runs.store import RunFolder
    from stimgen.runs.unplanned import find_unplanned

    planned = {stimulus.stimulus_id for stimulus in plan(manifest)}
    found = find_unplanned(RunFolder(folder.absolute()), planned, {spec.id for spec in manifest.trials})
    for file, reason in found.others:
        say(f"{folder / file} is not asked for and not removed: {reason}.")
    if not found:
        say("There is nothing to remove.")
        return None
    kinds = ((found.stimuli, "stimuli with their records"), (found.trial_lists, "trial lists"))
    found_names = " and ".join(f"{len(names)} {kind}" for names, kind in kinds if names)
    say(f"Not asked for are {found_names}: {', '.join((*found.stimuli, *found.trial_lists))}")
    if ask and not sys.stdin.isatty():
        raise InputError(
            "Nobody can be asked here whether to remove them.", "Add --yes, or leave out --prune."
        )
    if ask and not typer.confirm("Remove them when the run is done?", err=True):
        say("Nothing is removed.")
        return None
    return found


@contextlib.contextmanager
def _watched(manifest: Manifest, folder: Path, progress: Progress) -> Iterator[Preview]:
    """Show the progress on a page too; if the run ends with an error, the page says so."""
    from stimgen.report.preview import Preview
    from stimgen.runs.store import RunFolder

    preview = Preview(RunFolder(folder.absolute()), manifest.name, progress.note)
    progress.watcher = preview
    try:
        yield preview
    except KeyboardInterrupt:
        preview.end(
            "The run was interrupted. What was finished is kept; the same command goes on from there."
        )
        raise
    except BaseException:
        preview.end("The run ended with an error; the terminal says which. What was finished is kept.")
        raise


def _outcome(result: RunResult, page: Path | None) -> str:
    failed = f", {len(result.failures)} failed" if result.failures else ""
    done = f"The run is done: {counted(result.made)} made, {result.kept} kept{failed}."
    return done if page else f"{done} stimgen report {result.folder} writes its report."


def _write_report(folder: Path) -> Path | None:
    """Write the report of a run; without it, the run is what it is, and only a line says so."""
    from stimgen.report.page import write_report

    try:
        return write_report([folder])
    except Exception as error:
        LOGGER.exception("no report")
        problem = error.problem if isinstance(error, StimgenError) else f"{type(error).__name__}: {error}"
        say(f"The report was not written ({' '.join(problem.split())}); stimgen report {folder} tries again.")
        return None
