"""Trial lists of a run on disk: CSV files for PsychoPy, with their data dictionaries."""

from __future__ import annotations

import itertools
import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stimgen.atomic import make_folder
from stimgen.bounded import MOST_TABLE_BYTES, UnreadableError, read_file
from stimgen.controls import shows_source
from stimgen.errors import InputError, nearest
from stimgen.manifest.document import MAX_BYTES, ManifestError, parse
from stimgen.manifest.resolve import read_trials
from stimgen.manifest.resolved import TrialsSpec
from stimgen.runs.csv_files import harmless, in_order, rows_of, table_of, to_csv, to_json
from stimgen.runs.load import Run
from stimgen.runs.store import RunFolder, sha256, storing, write_atomically
from stimgen.trials import DESIGNS, Available, Exemplar, TrialOptions, design_columns, make_trials

if TYPE_CHECKING:
    import pandas as pd

COLON = re.compile(r"""([{,]\s*[^\s{,:"']+):(?=\S)""")
"""A key of a mapping in braces whose colon has no space behind it."""


def trial_list(run: Run, design: str, options: TrialOptions, folder: Path) -> pd.DataFrame:
    """Return a trial list: one row per trial in the order of showing; of `morph`, one per trial and level."""
    if not run.records:
        raise InputError(f"{run.folder} has no stimuli.", "Run its manifest first.")
    image = run.records[0].image
    exemplars: list[Exemplar] = []
    files, hashes = {}, {}
    for record in run.records:
        original = record.control is not None and shows_source(record.control.name)
        exemplars.append(
            Exemplar(record.stimulus_id, record.source.id, record.condition, record.seed, original)
        )
        files[record.stimulus_id] = _path(run, record.filename, folder)
        hashes[record.stimulus_id] = f"sha256:{record.png_sha256}"
    available = Available.of(exemplars, image.size_px)
    if options.accepted_only:
        accepted = itertools.compress(exemplars, run.table["accepted"].tolist())
        available = replace(available, exemplars=tuple(accepted))
    made = make_trials(design, available, options)
    rows = []
    for row in made.rows:
        patches = {}
        for name in DESIGNS[design].patches:
            patches[f"{name}_file"] = files[row[f"{name}_id"]]
            patches[f"{name}_sha256"] = hashes[row[f"{name}_id"]]
        rows.append(row | patches | {"ppd": image.ppd})
    table = table_of(rows)
    return table.assign(seed=table["seed"].astype("Int64"))


def write_trial_list(run: Run, design: str, options: TrialOptions, out: Path) -> None:
    """Write a trial list to the CSV file `out`, and its data dictionary beside it; folders are made."""
    table = trial_list(run, design, options, out.absolute().parent)
    with storing(f"The folder {out.parent}", "made", "Choose a folder that you may write to."):
        make_folder(out.parent)
    ordered, dictionary = in_order(f"trials_{design}", table)
    write_atomically(out, to_csv(ordered))
    write_atomically(out.with_suffix(".json"), to_json(dictionary))


def check_replaceable(run: Run, design: str, options: TrialOptions, out: Path, *, force: bool) -> None:
    """Raise unless a trial list may be written to `out` without a loss."""
    folder, own = out.absolute().parent, RunFolder(run.folder)
    if folder.resolve() in {path.resolve() for path in (own.path, own.stimuli, own.records)}:
        raise InputError(f"{folder} holds the run's own files.", f"Write to {own.trials} or another folder.")
    lists = {name: [column.name for column in design_columns(name)] for name in DESIGNS}
    dictionary = out.with_suffix(".json")
    for path in (out, dictionary):
        if os.path.lexists(path) and _columns_of(path) not in lists.values():
            kind = "trial list" if path is out else "trial list's data dictionary"
            raise InputError(
                f"{path} is there and is no {kind} as stimgen writes it.", "Choose another name with --out."
            )
    if force or not out.exists():
        return
    ordered, _ = in_order(f"trials_{design}", trial_list(run, design, options, folder))
    if out.read_bytes() != to_csv(ordered).encode():
        raise InputError(
            f"{out} is there and is another trial list.",
            "Choose another name with --out, or replace the list with --force.",
        )


def write_trial_lists(run: Run, trials: Iterable[TrialsSpec]) -> tuple[Path, ...]:
    """Write the trial lists of a manifest to the folder `trials` of a run, and return their paths.

    run.json gets their hashes.
    """
    folder = RunFolder(run.folder).trials
    paths = []
    for spec in trials:
        path = folder / f"{spec.id}.csv"
        try:
            write_trial_list(run, spec.design, spec.options, path)
        except InputError as error:
            raise InputError(f"{path} cannot be made: {error.problem}", error.cure) from None
        paths.append(path)
    _note(RunFolder(run.folder), paths)
    return tuple(paths)


def _note(folder: RunFolder, paths: Iterable[Path]) -> None:
    """Write to run.json which lists are stimgen's; needed when the manifest no longer asks for them."""
    summary = folder.read_summary()
    before = folder.noted_lists()
    lists = before | {path.stem: sha256(path.read_bytes()) for path in paths}
    lists = {name: found for name, found in lists.items() if (folder.trials / f"{name}.csv").is_file()}
    if summary and lists != before:
        content = json.dumps(summary | {"trial_lists": lists}, indent=2) + "\n"
        write_atomically(folder.path / "run.json", content)


def trials_of_manifest(folder: Path) -> tuple[TrialsSpec, ...]:
    """Return the trial lists that the manifest of a run asks for; its sources and weights may be gone."""
    path = folder / "manifest.resolved.yaml"
    try:
        document = parse(read_file(path, MAX_BYTES).decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Run the manifest again.") from None
    if not isinstance(document.data, dict) or not document.data.get("trials"):
        raise InputError(
            f"The manifest of {folder} has no trials.",
            "Add the section trials to the manifest and run it again, or name a design with --design.",
        )
    return read_trials(document)


def trials_of_command(design: str, settings: Iterable[str]) -> TrialsSpec:
    """Return the trial list that a command line asks for."""
    lines = ["trials:", f"  design: {json.dumps(design)}"]
    known = list(DESIGNS[design].options.model_fields) if design in DESIGNS else None
    given: set[str] = set()
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or "\n" in setting:
            raise InputError(f"--set {setting}: expected KEY=VALUE.", "Write for example --set repeats=10.")
        key = key.strip()
        if known is not None and key not in known:
            raise InputError(f'--set {setting}: unknown key "{key}". {nearest(key, known)}')
        if key in given:
            raise InputError(f"--set {key} is given twice.", "Give each option once.")
        spaced = COLON.sub(r"\1: ", value)
        if value.strip().startswith("{") and spaced != value:
            # YAML takes {a:b} for one long word, and what it says of that does not help.
            raise InputError(
                f"--set {setting}: a space is missing after a colon.", f"Write --set '{key}={spaced}'."
            )
        given.add(key)
        lines.append(f"  {key}: {value}")
    try:
        (spec,) = read_trials(parse("\n".join(lines), "--set"))
    except ManifestError as error:
        # There are no lines on a command line.
        raise ManifestError(
            replace(one, line=None, column=None, location=one.location.removeprefix("trials").strip("."))
            for one in error.errors
        ) from None
    return spec


def _columns_of(path: Path) -> list[str] | None:
    """Return the names of the columns of a table or a data dictionary; None if it is neither."""
    try:
        content = read_file(path, MOST_TABLE_BYTES)
        if path.suffix != ".json":
            return next(rows_of(content.removeprefix(BOM_UTF8)))
        found = json.loads(content)
    except (OSError, UnreadableError, ValueError, RecursionError):
        return None
    return list(found) if isinstance(found, dict) else None


def _path(run: Run, filename: str, folder: Path) -> str:
    """Return the path of a stimulus relative to a folder.

    Resolved, because what follows ".." depends on where links lead.
    """
    target, base = (run.folder / filename).resolve(), folder.resolve()
    try:
        path = Path(os.path.relpath(target, base)).as_posix()
    except ValueError:  # another drive on Windows
        path = target.as_posix()
    if "," in path or "\\" in path or path != " ".join(path.split()) or path != harmless(path):
        raise InputError(
            f'PsychoPy cannot read the path "{path}" in a table.',
            "Write the list into the run folder, or rename folders with commas, brackets or other signs.",
        )
    return path
