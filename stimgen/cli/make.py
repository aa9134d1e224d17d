"""The commands that make something: `stimgen new`, `run` and `trials`."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stimgen.cli import completion
from stimgen.cli.arguments import Device, ManifestPath, NetworkName, Quiet, Seeds, option, parse_seeds
from stimgen.cli.errors import say
from stimgen.cli.executors import Devices, ExecutorName, SchedulerAt, SitePath, executor_spec, opened
from stimgen.counting import counted, first_few
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


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the stimulus set.")],
    folder: Annotated[
        Path, option("Where manifests/NAME.yaml will be. Default: the current folder.")
    ] = Path(),
    images: Annotated[
        list[str] | None,
        option(
            "Source textures: image files, or a pattern such as textures/*.png. Repeatable. Default: "
            "two photographs that come with scikit-image.",
            metavar="PATTERN",
        ),
    ] = None,
    size: Annotated[int, option("Side of the stimuli, px.")] = 128,
    ppd: Annotated[float | None, option("Pixels per degree of visual angle on your display.")] = None,
    network: Annotated[str, option("Network.", complete=completion.networks)] = "vgg16",
) -> None:
    """Write a first manifest that runs as it is, with a comment on every line and alternatives to switch on.

    Images are read, and refused if they cannot be sources of this size; their ids are their file names.
    Beside the manifest, its JSON Schema is written for editors; without --images also a folder textures that
    says what to put there; and a .gitignore for results. Nothing is ever overwritten.

    For example:
      stimgen new exp1
      stimgen new exp1 --images "textures/*.png" --size 256 --ppd 41
      stimgen new pilot --folder ~/experiments/pilot --network vgg19
    """
    from stimgen.manifest.starter import write_project

    if context.args and not images:
        raise InputError(
            f'There is one NAME, and "{context.args[0]}" is one more argument.', "Name images with --images."
        )
    # A shell replaces a pattern without quotes by files, of which --images takes the first.
    patterns = [*(images or ()), *context.args]
    manifest = write_project(name, folder, patterns, size_px=size, ppd=ppd, network=network, say=say)
    words = shlex.quote(str(manifest))
    say(f"Next:  stimgen check {words}   (what it will make)")
    say(f"       stimgen run {words}     (makes it)")


def run(
    manifest: ManifestPath,
    out: Annotated[
        Path | None,
        option("Run folder. Default: results/NAME beside the folder manifests, or beside MANIFEST."),
    ] = None,
    device: Device = "auto",
    network: NetworkName = None,
    batch_size: Annotated[int | None, option("Most textures synthesised at once.", min=1)] = None,
    seeds: Seeds = None,
    shard: Annotated[
        str | None,
        option(
            "Make part I of N only. Parts can be made at the same time; stimgen tables joins them.",
            metavar="I/N",
        ),
    ] = None,
    executor: ExecutorName = None,
    devices: Devices = None,
    scheduler: SchedulerAt = None,
    site: SitePath = None,
    prune: Annotated[
        bool,
        option("Remove stimuli and trial lists in the folder that this command does not ask for.", "--prune"),
    ] = False,
    yes: Annotated[bool, option("Remove them without a question.", "--yes", "-y")] = False,
    report: Annotated[bool, option("Write report.html, the run on one page.", "--report/--no-report")] = True,
    watch: Annotated[
        bool, option("Open a page in the browser that shows the run while it works.", "--watch")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Make the stimuli of a manifest: images, records and tables.

    Stimuli that are done are kept, so the same command goes on after an interruption. Where only matching or
    measurements have changed, images are matched or measured again, and not synthesised. Stimuli that exceed
    the manifest's thresholds (accept) are kept too, marked in the table, and no failure. What is there and
    not asked for is named and kept; with --prune it is removed in the end, after a question. Workers and
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

    part = None
    if shard is not None:
        part = parse_shard(shard)
        if prune or watch or executor == "dask" or devices or scheduler or site:
            raise InputError(
                "--shard goes without --prune, --watch, and workers.",
                "Leave them out: a shard is made by this process alone.",
            )
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

    progress, folder = Progress(quiet=quiet), out or loaded.output
    to_remove = _to_remove(loaded, folder, ask=not yes) if prune else None
    with _watched(loaded, folder, progress) if watch else contextlib.nullcontext() as preview:
        with opened(spec, folder) as makers:
            result = run_manifest(
                loaded,
                shard=part,
                out=out,
                device=device,
                batch_size=batch_size,
                progress=progress,
                prune=to_remove,
                executor=makers,
            )
        few = result.stimuli <= MOST_REPORTED
        page = _write_report(result.folder) if report and few and part is None else None
        if preview is not None:
            preview.end(_outcome(result, page), page)
    if not quiet:
        for line in _sentences(
            result, part, page, report_left_out=report and not few, trials=bool(loaded.trials)
        ):
            say(line)
    if result.failures:
        from stimgen.runs.store import RunFolder

        if prune:
            say("Nothing is removed, because stimuli could not be made.")
        why = part.note(RunFolder(result.folder)) if part else result.folder / "failures.csv"
        say(f"{counted(len(result.failures))} could not be made; why is in {why}")
        raise typer.Exit(3)


def trials(
    run_folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of a finished run.", autocompletion=completion.run_folders
        ),
    ],
    design: Annotated[
        str | None, option("Design of a list, such as oddity.", complete=completion.designs)
    ] = None,
    settings: Annotated[
        list[str] | None,
        option("Option of the design, as in a manifest. Repeatable.", "--set", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[
        Path | None, option("CSV file for the list of --design, with its data dictionary (.json) beside it.")
    ] = None,
    force: Annotated[
        bool, option("Replace a trial list that is at --out and has other content.", "--force")
    ] = False,
) -> None:
    """Write trial lists for PsychoPy: which stimuli are shown, where, in which order, and what is correct.

    Without --design, writes the lists of the run's manifest (section trials) anew. Every list is
    counterbalanced, and determined by its options, among them its seed. They are listed in docs/trials.md.

    For example:
      stimgen trials results/exp1
      stimgen trials results/exp1 --design oddity --set repeats=10 --set seed=7 --out lists/participant7.csv
      stimgen trials results/exp1 --design rating --set conditions=[pool1,pool4] --out lists/rating.csv
    """
    if (design is None) != (out is None) or ((settings or force) and not design):
        raise InputError(
            "--design and --out go together, and --set and --force go with them.",
            "Name a design and a file, or neither for the lists of the run's manifest.",
        )
    if out is not None and out.suffix.lower() != ".csv":
        raise InputError(
            f"--out {out} is not a CSV file.",
            "Name a file that ends in .csv; its data dictionary gets the same name with .json.",
        )

    from stimgen.runs.load import load_run
    from stimgen.runs.store import RunFolder
    from stimgen.runs.trial_lists import (
        check_replaceable,
        trials_of_command,
        trials_of_manifest,
        write_trial_list,
        write_trial_lists,
    )

    paths: tuple[Path, ...]
    if design is not None and out is not None:
        spec = trials_of_command(design, settings or ())
        loaded = load_run(run_folder)
        check_replaceable(loaded, spec.design, spec.options, out, force=force)
        write_trial_list(loaded, spec.design, spec.options, out)
        paths = (out,)
    else:
        loaded = load_run(run_folder)
        with RunFolder(loaded.folder).locked():
            paths = write_trial_lists(loaded, trials_of_manifest(loaded.folder))
    for path in paths:
        say(f"Trial list: {path}, its columns: {path.with_suffix('.json')}")


def _sentences(
    result: RunResult, shard: Shard | None, page: Path | None, *, report_left_out: bool, trials: bool
) -> Iterator[str]:
    """Yield what a run or a shard did, in sentences."""
    stimuli, folder, done = result.stimuli, result.folder, result.in_words
    if shard is not None:
        if not stimuli and not result.failures:
            done = "nothing to do, because there are more shards than batches"
        yield f"Shard {shard}: {done}. When all are made: stimgen tables {shlex.quote(str(folder))}"
        return
    if stimuli == result.kept and not result.failures:
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
        yield (
            f"{counted(len(others))} in {folder / 'stimuli'} {'is' if len(others) == 1 else 'are'} not what "
            f"this command asks for, and not in the tables: {first_few(others)} "
            "(--prune removes those that stimgen made)"
        )
    if page is None and (stimuli > result.kept or result.removed) and (folder / "report.html").exists():
        yield f"report.html there shows an earlier state; stimgen report {folder} draws it anew."


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
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        how = "was interrupted" if interrupted else "ended with an error, which is on the terminal"
        preview.end(f"The run {how}. What was finished is kept; the same command goes on from there.")
        raise


def _outcome(result: RunResult, page: Path | None) -> str:
    done = f"The run is done: {result.in_words}."
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
